from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dtms.adapters.notify import MemoryNotifier
from dtms.errors import SettingsError
from dtms.platforms.processes import kill
from dtms.ports.notifier import AlertKind
from dtms.services.supervise.supervisor import (
    HANGS_AFTER_S,
    LONGEST_WAIT_S,
    RESTARTS,
    ProcessFailedError,
    Role,
    Supervisor,
)

SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")


@dataclass
class Hand:
    """A supervisor whose clock is moved by hand."""

    folder: Path
    command: tuple[str, ...] = SLEEPER
    now: float = 1_000.0
    alive: bool = True
    notifier: MemoryNotifier = field(default_factory=MemoryNotifier)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(
            log_dir=self.folder / "log",
            environment={},
            notifier=self.notifier,
            command=self.command,
            now_s=lambda: self.now,
        )

    def role(self, name: str = "server", *, restarts: bool = True, ready: bool = True) -> Role:
        return Role(name=name, arguments=(), ready=lambda: ready, alive=lambda: self.alive, restarts=restarts)

    def kill(self, name: str = "server") -> int:
        pid = self.supervisor.pid(name)
        kill(pid)
        while self.supervisor.is_running(name):
            pass
        return pid

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.supervisor.look()


@pytest.fixture
def hand(tmp_path: Path) -> Hand:
    return Hand(tmp_path)


def test_what_dies_is_started_again_after_its_wait(hand: Hand) -> None:
    hand.supervisor.start([hand.role()], timeout_s=5)
    dead = hand.kill()
    try:
        hand.supervisor.look()
        assert (hand.supervisor.is_running("server"), hand.supervisor.restarts("server")) == (False, 0)

        hand.pass_time(0.2)

        assert (hand.supervisor.is_running("server"), hand.supervisor.restarts("server")) == (True, 1)
        assert hand.supervisor.pid("server") != dead
        assert [(alert.kind, alert.subject) for alert in hand.notifier.alerts] == [(AlertKind.PROCESS_DOWN, "server")]
    finally:
        hand.supervisor.stop()


def test_each_death_waits_longer_and_too_many_are_given_up(hand: Hand) -> None:
    hand.supervisor.start([hand.role()], timeout_s=5)
    try:
        waits = []
        for _ in range(RESTARTS):
            hand.kill()
            hand.supervisor.look()
            waited = 0.0
            while not hand.supervisor.is_running("server"):
                hand.pass_time(0.1)
                waited += 0.1
            waits.append(round(waited, 1))
        hand.kill()
        hand.pass_time(0.0)
        hand.pass_time(LONGEST_WAIT_S)

        assert waits == sorted(waits)
        assert waits[-1] > waits[0]
        assert (hand.supervisor.restarts("server"), hand.supervisor.given_up()) == (RESTARTS, ("server",))
        assert hand.supervisor.is_running("server") is False
        assert "is not started again" in hand.notifier.alerts[-1].detail
    finally:
        hand.supervisor.stop()


def test_deaths_long_ago_do_not_count(hand: Hand) -> None:
    hand.supervisor.start([hand.role()], timeout_s=5)
    try:
        for _ in range(RESTARTS + 2):
            hand.kill()
            hand.supervisor.look()
            hand.pass_time(100)

        assert hand.supervisor.given_up() == ()
        assert hand.supervisor.restarts("server") == RESTARTS + 2
    finally:
        hand.supervisor.stop()


def test_a_process_whose_memory_is_the_point_is_not_started_again(hand: Hand) -> None:
    hand.supervisor.start([hand.role("terminal", restarts=False)], timeout_s=5)
    try:
        hand.kill("terminal")
        hand.supervisor.look()
        hand.pass_time(LONGEST_WAIT_S)

        assert (hand.supervisor.is_running("terminal"), hand.supervisor.given_up()) == (False, ("terminal",))
    finally:
        hand.supervisor.stop()


def test_a_process_that_hangs_is_killed_and_started_again(hand: Hand) -> None:
    hand.supervisor.start([hand.role()], timeout_s=5)
    try:
        hand.pass_time(5)
        stuck = hand.supervisor.pid("server")
        hand.alive = False
        hand.pass_time(HANGS_AFTER_S + 1)
        while hand.supervisor.is_running("server"):
            pass
        hand.supervisor.look()
        hand.pass_time(1)

        assert hand.supervisor.restarts("server") == 1
        assert hand.supervisor.pid("server") != stuck
    finally:
        hand.supervisor.stop()


def test_a_process_that_was_never_alive_is_not_taken_for_one_that_hangs(hand: Hand) -> None:
    hand.alive = False
    hand.supervisor.start([hand.role()], timeout_s=5)
    try:
        for _ in range(10):
            hand.pass_time(HANGS_AFTER_S)

        assert (hand.supervisor.is_running("server"), hand.supervisor.restarts("server")) == (True, 0)
    finally:
        hand.supervisor.stop()


def test_stop_leaves_no_process(hand: Hand) -> None:
    hand.supervisor.start([hand.role("gateway"), hand.role("server")], timeout_s=5)
    pids = [hand.supervisor.pid(name) for name in ("gateway", "server")]

    hand.supervisor.stop()

    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    script = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    hand = Hand(tmp_path, command=(sys.executable, "-c", script))
    log = tmp_path / "log" / "server.log"
    role = Role(
        name="server",
        arguments=(),
        ready=lambda: log.read_text(encoding="utf-8") == "up\n",
        alive=lambda: True,
    )
    hand.supervisor.start([role], timeout_s=30)
    pid = hand.supervisor.pid("server")

    hand.supervisor.stop(patience_s=0.2)

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(("code", "error"), [(2, SettingsError), (1, ProcessFailedError)])
def test_a_process_that_ends_while_starting_says_why(code: int, error: type[Exception], tmp_path: Path) -> None:
    script = f"import sys; print('dtms: the port is taken; free it', file=sys.stderr); sys.exit({code})"
    hand = Hand(tmp_path, command=(sys.executable, "-c", script))
    try:
        with pytest.raises(error, match="the port is taken; free it"):
            hand.supervisor.start([hand.role(ready=False)], timeout_s=30)
    finally:
        hand.supervisor.stop()


def test_an_answer_from_elsewhere_is_not_taken_for_a_process_that_has_ended(tmp_path: Path) -> None:
    hand = Hand(tmp_path, command=(sys.executable, "-c", "raise SystemExit(1)"))
    role = Role(
        name="server",
        arguments=(),
        ready=lambda: not hand.supervisor.is_running("server"),
        alive=lambda: True,
    )
    try:
        with pytest.raises(ProcessFailedError, match="ended while it was starting"):
            hand.supervisor.start([role], timeout_s=30)
    finally:
        hand.supervisor.stop()


def test_a_process_that_does_not_become_ready_in_time_is_told(hand: Hand) -> None:
    try:
        with pytest.raises(ProcessFailedError, match="server did not become ready in time"):
            hand.supervisor.start([hand.role(ready=False)], timeout_s=0)
    finally:
        hand.supervisor.stop()

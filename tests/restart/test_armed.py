"""Processes that end, or stand still, at the point that the plan names: real ones, for a signal cannot be played."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.only_posix import os_, signal_

from dtms.adapters.sql import open_ledger
from dtms.domain.units import Millis
from dtms.errors import InvariantError
from dtms.platforms.processes import KILLED, kill
from dtms.ports.crash import POINTS
from dtms.services.armed import DONE_FILE, REACHED_FILE, CrashAt, CrashLedger, crash_points_of, read_plan

NOW = Millis(1_000)


def end_of(work: Callable[[], None]) -> int:
    """Run work in a fork; return how it ended: 0, or the negative number of the signal."""
    pid = os_.fork()
    if pid == 0:
        work()
        os._exit(0)
    _pid, status = os.waitpid(pid, os_.WUNTRACED)
    if os_.WIFSTOPPED(status):
        stopped = os_.WSTOPSIG(status)
        kill(pid)
        os.waitpid(pid, 0)
        return -int(stopped)
    return os.waitstatus_to_exitcode(status)


def passing(plan: str, folder: Path, *names: str, now: int = NOW) -> int:
    """Let a new process pass points under a plan; return how it ended."""

    def work() -> None:
        crash = crash_points_of(plan, folder, lambda: Millis(now))
        for name in names:
            crash.reach(name)

    return end_of(work)


def test_the_process_dies_at_the_nth_passing_and_says_where(tmp_path: Path) -> None:
    plan = "gateway.claimed:2"

    assert passing(plan, tmp_path, "gateway.claimed", "gateway.sent") == 0
    assert passing(plan, tmp_path, "gateway.claimed", "gateway.claimed", "gateway.sent") == KILLED

    assert (tmp_path / DONE_FILE).read_text().split()[:2] == ["0", "gateway.claimed"]
    reached = [line.split()[0] for line in (tmp_path / REACHED_FILE).read_text().splitlines()]
    assert reached == ["gateway.claimed", "gateway.sent", "gateway.claimed", "gateway.claimed"]


def test_an_entry_is_done_once_by_all_processes_together_and_then_the_next_ones_turn_comes(tmp_path: Path) -> None:
    plan = "gateway.claimed,gateway.recovering,api.started"
    passed = ("gateway.recovering", "gateway.claimed", "api.started")

    ends = [passing(plan, tmp_path, *passed) for _start in range(4)]

    assert ends == [KILLED, KILLED, KILLED, 0]
    done = [line.split()[1] for line in (tmp_path / DONE_FILE).read_text().splitlines()]
    assert done == ["gateway.claimed", "gateway.recovering", "api.started"]


def test_an_entry_whose_time_is_over_is_left_out(tmp_path: Path) -> None:
    plan = "gateway.claimed:1@0-500,gateway.sent"

    assert passing(plan, tmp_path, "gateway.claimed", "gateway.sent") == KILLED
    assert (tmp_path / DONE_FILE).read_text().split()[:2] == ["1", "gateway.sent"]


def test_a_process_can_be_frozen_instead(tmp_path: Path) -> None:
    assert passing("gateway.before_send!stop", tmp_path, "gateway.before_send") == -signal_.SIGSTOP


def test_recording_kills_nobody(tmp_path: Path) -> None:
    assert passing("record", tmp_path, *POINTS) == 0
    assert len((tmp_path / REACHED_FILE).read_text().splitlines()) == len(POINTS)


def test_a_point_that_nobody_counts_is_an_error_of_ours(tmp_path: Path) -> None:
    crash = CrashAt(read_plan("gateway.sent"), tmp_path, lambda: NOW)

    with pytest.raises(InvariantError, match=r"'gateway\.somewhere' is not in the registry"):
        crash.reach("gateway.somewhere")


class Passed:
    """Notes what is passed."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def reach(self, name: str) -> None:
        self.names.append(name)


def test_a_commit_has_a_point_on_either_side_named_by_what_is_written() -> None:
    passed = Passed()
    ledger = CrashLedger(open_ledger("sqlite://", account="Demo:1", clock=lambda: NOW), passed, "api")

    with ledger.write() as tx:
        tx.set_fact("word", "value")
        assert passed.names == []
    with ledger.write() as tx:
        assert tx.fact("word") == "value"
    with ledger.write() as tx:
        tx.set_fact("word", "another")
        tx.put_market_state("EURUSD", NOW, b"state")
    with ledger.read() as seen:
        assert seen.fact("word") == "another"

    facts, market = (f"api.{{}}.{kind}" for kind in ("fact", "market"))
    assert passed.names == [
        *(facts.format("committing"), facts.format("committed")),
        *(market.format("committing"), market.format("committed")),
    ]


def test_a_process_that_dies_inside_a_transaction_leaves_nothing_of_it_and_one_that_dies_after_it_leaves_all(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite3"
    open_ledger(url, account="Demo:1", clock=lambda: NOW).close()

    def write(plan: str, value: str) -> int:
        def work() -> None:
            crash = crash_points_of(plan, tmp_path, lambda: NOW)
            with CrashLedger(open_ledger(url, account="Demo:1", clock=lambda: NOW), crash, "server").write() as tx:
                tx.set_fact("word", value)

        return end_of(work)

    plan = "server.committing.fact,server.committed.fact"
    found = []
    for value in ("inside", "after"):
        assert write(plan, value) == KILLED
        ledger = open_ledger(url, account="Demo:1", clock=lambda: NOW)
        with ledger.read() as tx:
            found.append(tx.fact("word"))
        ledger.close()

    assert found == [None, "after"]


def test_the_record_of_the_dead_survives_a_death_in_its_own_millisecond(tmp_path: Path) -> None:
    began = time.monotonic()
    ends = [passing("gateway.*", folder, "gateway.sent") for folder in _folders(tmp_path, 20)]

    assert ends == [KILLED] * 20
    assert [len(path.read_text().splitlines()) for path in sorted(tmp_path.rglob(DONE_FILE))] == [1] * 20
    assert time.monotonic() - began < 60


def _folders(parent: Path, count: int) -> list[Path]:
    made = [parent / str(number) for number in range(count)]
    for folder in made:
        folder.mkdir()
    return made

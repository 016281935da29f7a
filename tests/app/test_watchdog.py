"""A gateway whose executor stands still: a person is called, and the process ends so that it is started again."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import Any

import pytest
from tests.app.rig import Rig
from tests.app.test_gateway import hedge, plan

from dtms import bootstrap
from dtms.ports.notifier import AlertKind
from dtms.services.gateway.loop import ExecutorLoop
from dtms.services.server import LastSeenReads, MonitorLoop
from dtms.services.watchdog import LOOKS, StalledError, Watchdog


class Blocking:
    """A ledger whose disk stops answering, until it is let go."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self.reached, self.freed = threading.Event(), threading.Event()

    def revision(self) -> int:
        self.reached.set()
        assert self.freed.wait(30)
        return int(self._ledger.revision())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


def loop_of(rig: Rig, ledger: Any) -> ExecutorLoop:
    work = rig.work()
    work.ledger = ledger
    return ExecutorLoop(work)


def test_an_executor_that_stands_still_is_alarmed_once_and_the_process_is_ended(rig: Rig) -> None:
    ledger = Blocking(rig.ledger)
    loop = loop_of(rig, ledger)
    ended: list[str] = []
    dog = Watchdog("gateway", "executor", lambda: loop.progress, rig.notifier, lambda: ended.append("end"))
    loop.start()
    assert ledger.reached.wait(30)
    for _ in range(LOOKS):
        dog.look()
    assert (ended, dog.stalled) == ([], False)
    for _ in range(LOOKS):
        dog.look()
    ledger.freed.set()
    assert loop.stop()
    assert ended == ["end"]
    (alert,) = [alert for alert in rig.notifier.alerts if alert.kind is AlertKind.HALT]
    assert (alert.subject, "the executor has done nothing for 60 s" in alert.detail) == ("dtms-gateway stalled", True)
    with pytest.raises(StalledError):
        dog.require_progress()


def test_an_executor_that_works_or_fails_again_and_again_is_not_stalled(rig: Rig) -> None:
    loop = loop_of(rig, rig.ledger)
    ended: list[str] = []
    dog = Watchdog("gateway", "executor", lambda: loop.progress, rig.notifier, lambda: ended.append("end"))
    trade = rig.managed()
    for number in range(3 * LOOKS):
        if number % (LOOKS - 1) == 0:  # a pass that takes almost as long as it may
            plan(rig, trade, hedge(trade), decision=f"d{number}")
            rig.executor.tick()
        dog.look()
    dog.require_progress()
    assert ended == []


def test_a_defence_that_stands_still_is_alarmed_and_its_process_ended(rig: Rig) -> None:
    held = threading.Lock()
    seen = LastSeenReads(rig.broker, rig.clock.boot_ns)
    loop = MonitorLoop(bootstrap.make_monitor_pass(rig.parts, rig.server.monitor, seen, lock=held))
    ended: list[str] = []
    dog = Watchdog("server", "monitor", lambda: loop.progress, rig.notifier, lambda: ended.append("end"))
    with held:  # what a request that never ends would hold
        loop.start()
        for _ in range(2 * LOOKS):
            dog.look()
    assert loop.stop()
    assert (ended, dog.stalled) == (["end"], True)
    (alert,) = [alert for alert in rig.notifier.alerts if alert.kind is AlertKind.HALT]
    assert (alert.subject, "the monitor has done nothing for 60 s" in alert.detail) == ("dtms-server stalled", True)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_process_ends_as_a_supervisor_would_end_it() -> None:
    script = "import time; from dtms.services.watchdog import end_process; end_process(); time.sleep(60)"
    done = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert done.returncode == -signal.SIGTERM

"""Ends a process whose work stands still: whoever supervises it starts it again, and the start recovers.

A thread cannot be ended from outside; what blocked it (a disk that does not answer, a lock that is never freed) would hold
its successor in the same process too. Nothing is lost by an end at any instant: that is what the journal is for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final

import structlog

from dtms.errors import DtmsError
from dtms.platforms.processes import end_this_process
from dtms.ports.notifier import AlertKind, Notifier

LOOK_S: Final = 1.0
LOOKS: Final = 60
"""So many looks without any progress: a call to the broker is ended after 10 s, and a pass makes a few of them."""

GRACE_S: Final = 20.0
"""An ordinary end has so long; what holds the work may hold that too."""

HARD_EXIT: Final = 70
"""EX_SOFTWARE of sysexits.h."""

_log = structlog.get_logger("dtms.services")


class StalledError(DtmsError):
    """The work stood still, and the process has ended for it; start it again, and look for what blocked it."""


class Watchdog:
    """Looks each second whether the work goes on. It counts its own looks: a machine that slept has not stalled.

    Args:
        service: Which process: "gateway", "server", "api".
        work: What of it may stand still, for people: "executor".
        progress: Differs whenever the work has done anything.
        notifier: Called before the end.
        end: Ends the process; called once.
    """

    def __init__(
        self,
        service: str,
        work: str,
        progress: Callable[[], object],
        notifier: Notifier,
        end: Callable[[], object],
    ) -> None:
        self._service = service
        self._work = work
        self._progress = progress
        self._notifier = notifier
        self._end = end
        self._seen: object = None
        self._looks = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dtms-watchdog", daemon=True)
        self.stalled = False

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more: the work is being ended."""
        self._ending.set()

    def look(self) -> None:
        """Look once."""
        now = self._progress()
        if now != self._seen:
            self._seen, self._looks = now, 0
            return
        self._looks += 1
        if self._looks >= LOOKS and not self.stalled:
            self.stalled = True
            detail = (
                f"the {self._work} has done nothing for {LOOKS * LOOK_S:g} s; the {self._service} ends and is started again. "
                "Stops at the broker hold; look at the disk and the terminal"
            )
            _log.error("work stalled", service=self._service, work=self._work, looks=self._looks)
            self._notifier.alert(AlertKind.HALT, f"dtms-{self._service} stalled", detail)
            self._end()

    def require_progress(self) -> None:
        """Raise what ended this process, so that its exit code says so; nothing where it ended by itself."""
        if self.stalled:
            msg = f"the {self._work} stood still for {LOOKS * LOOK_S:g} s and the {self._service} has ended; start it again"
            raise StalledError(msg)

    def _run(self) -> None:
        while not self._ending.wait(LOOK_S):
            self.look()


def end_process() -> None:
    """End this process as SIGTERM does, and without asking where that does not come to an end."""
    threading.Timer(GRACE_S, os._exit, (HARD_EXIT,)).start()
    end_this_process()

"""The thread around the defence's pass, each 250 ms or when woken, and what the service says of its own health."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from dtms.app.defence.cycle import MonitorPass
from dtms.errors import LedgerError
from dtms.services.web.health import ReadyReport, causes_words, ledger_word, progress_word

BEAT_LIMIT_NS: Final = 3_000_000_000
_log = structlog.get_logger("dtms.server")


class Readiness:
    """Whether the server can do its work."""

    def __init__(self, work: MonitorPass) -> None:
        self._work = work

    @property
    def recovered(self) -> bool:
        """Say whether recovery has ended."""
        return self._work.recovered

    def report(self) -> ReadyReport:
        """Return the state of each dependency; blocks for the ledger's."""
        work = self._work
        now_ns = work.clock.boot_ns()
        beat_ns = work.monitor.beat_ns
        beats = beat_ns > 0 and now_ns - beat_ns < BEAT_LIMIT_NS
        answered_ns = work.seen.answered_ns
        answers = answered_ns is not None and now_ns - answered_ns < BEAT_LIMIT_NS
        active = self._active_trades()
        told = work.monitor.modes.told()
        states = {
            "ledger": ledger_word(told, readable=active is not None),
            "recovery": "ok" if self.recovered else "recovering",
            "broker": "ok" if answers else "unreachable",
            "monitor": "ok" if beats else "stalled",
            "progress": progress_word(told),
        }
        return ReadyReport(
            ready=all(state == "ok" for state in states.values()),
            dependencies=states,
            causes=causes_words(told),
            details={
                "dtms_initialized": self.recovered,
                "monitoring_active": self.recovered and beats,
                "active_trades": active,
                "heartbeat_age_s": (now_ns - beat_ns) / 1e9 if beat_ns > 0 else None,
            },
        )

    def _active_trades(self) -> int | None:
        try:
            return len(self._work.monitor.book.page().trades)
        except LedgerError as error:
            _log.warning("readiness: the ledger does not answer", error=repr(error))
            return None


class MonitorLoop:
    """Runs the defence's pass in a thread of its own.

    Args:
        work: The pass.
        pause: Waits so many seconds or until `wake`; replaced in tests.
    """

    def __init__(self, work: MonitorPass, *, pause: Callable[[float], object] | None = None) -> None:
        self.work = work
        self._woken = threading.Event()
        self._ending = threading.Event()
        self._pause = self._woken.wait if pause is None else pause
        self._thread: threading.Thread | None = None
        self._passes = 0

    @property
    def progress(self) -> tuple[int, int]:
        """Return what differs whenever anything was done, or came to nothing, since it was asked last."""
        return self._passes, self.work.monitor.stats.decisions

    @property
    def failures(self) -> int:
        """Return how many passes running have failed."""
        return self.work.health.failures

    def start(self) -> None:
        """Begin, in a thread: recovery first. The HTTP side may be served already; it says 503 until recovery has ended."""
        self._thread = threading.Thread(target=self.run, name="dtms-monitor", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Ask for a pass at once: a new quote was seen, or a trade was registered."""
        self._woken.set()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End after the pass under way; say whether it did in time."""
        self._ending.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def run(self) -> None:
        """Recover, then run passes until `stop`."""
        while not self._ending.is_set():
            self._woken.clear()
            self.work.run()
            self._passes += 1
            if not self._ending.is_set():
                self._pause(self.work.pause_s)

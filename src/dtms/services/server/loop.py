"""The loop that keeps the monitor awake, and what the service says of its own health.

It recovers before anything is answered, runs a pass each 250 ms or when woken, and survives a ledger or broker that
fails: it records, alarms, backs off and comes back. The stops at the broker hold meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from dtms.app.monitor import Monitor
from dtms.errors import BrokerError, BrokerUnavailableError, DtmsError, InvariantError, LedgerError
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger
from dtms.ports.notifier import AlertKind, Notifier
from dtms.services.server.sight import SeenReads
from dtms.services.web.health import ReadyReport, causes_words, progress_word

PASS_EVERY_S: Final = 0.25
LONGEST_PAUSE_S: Final = 2.0
"""Between two tries after failures: shorter than the 3 s after which a beat counts as lost."""

BEAT_LIMIT_NS: Final = 3_000_000_000
_PROBE_AFTER_NS: Final = 1_000_000_000
"""With no trade and no symbol a pass asks the broker nothing; then it is asked so often whether it is there."""

BROKER_PATIENCE: Final = 5
"""Passes running that a silent broker may cost before somebody is called: some 5 s, a restart of the gateway."""

_log = structlog.get_logger("dtms.server")


class Readiness:
    """Whether the server can do its work; `recovered` is set by the loop."""

    def __init__(self, *, ledger: Ledger, monitor: Monitor, seen: SeenReads, clock: Clock) -> None:
        self._ledger = ledger
        self._monitor = monitor
        self._seen = seen
        self._clock = clock
        self.recovered = False

    def report(self) -> ReadyReport:
        """Return the state of each dependency; blocks for the ledger's."""
        now_ns = self._clock.boot_ns()
        beat_ns = self._monitor.beat_ns
        beats = beat_ns > 0 and now_ns - beat_ns < BEAT_LIMIT_NS
        answered_ns = self._seen.answered_ns
        answers = answered_ns is not None and now_ns - answered_ns < BEAT_LIMIT_NS
        active = self._active_trades()
        told = self._monitor.modes.told()
        states = {
            "ledger": "unavailable" if active is None else "ok",
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
            return len(self._monitor.book.page().trades)
        except LedgerError as error:
            _log.warning("readiness: the ledger does not answer", error=repr(error))
            return None


class MonitorLoop:
    """Runs the monitor in a thread of its own.

    Args:
        monitor: The brain.
        seen: The reads that the monitor uses.
        readiness: Told when recovery has ended.
        clock: For ages.
        notifier: Called when the ledger or the broker fails, or we do.
        lock: Taken for each pass; registrations take it too.
        pause: Waits so many seconds or until `wake`; replaced in tests.
    """

    def __init__(
        self,
        *,
        monitor: Monitor,
        seen: SeenReads,
        readiness: Readiness,
        clock: Clock,
        notifier: Notifier,
        lock: threading.Lock,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._monitor = monitor
        self._seen = seen
        self._readiness = readiness
        self._clock = clock
        self._notifier = notifier
        self._lock = lock
        self._woken = threading.Event()
        self._ending = threading.Event()
        self._pause = self._woken.wait if pause is None else pause
        self._thread: threading.Thread | None = None
        self._failures = 0

    @property
    def failures(self) -> int:
        """Return how many passes running have failed."""
        return self._failures

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
            self._guarded(self.step if self._readiness.recovered else self.recover)
            if not self._ending.is_set():
                self._pause(min(PASS_EVERY_S * 2 ** min(self._failures, 10), LONGEST_PAUSE_S))

    def recover(self) -> None:
        """Make one whole pass over ledger and broker: no answer about a trade is given before it.

        Raises:
            BrokerError: The broker does not answer yet.
            LedgerError: The ledger does not.
        """
        self._monitor.crash.reach("server.recovering")
        with self._lock:
            self._seen.account()
            self._seen.positions()
            self._whole_pass()
        self._monitor.crash.reach("server.recovered")
        self._readiness.recovered = True
        _log.info("recovered", trades=len(self._monitor.book.page().trades))

    def step(self) -> None:
        """Run one pass.

        Raises:
            BrokerError: The pass was not whole.
            LedgerError: Nothing could be read or written.
        """
        with self._lock:
            self._whole_pass()
        self._seen.fetch_wanted()
        answered_ns = self._seen.answered_ns
        if answered_ns is None or self._clock.boot_ns() - answered_ns >= _PROBE_AFTER_NS:
            self._seen.account()

    def _whole_pass(self) -> None:
        errors, beat_ns = self._monitor.stats.errors, self._monitor.beat_ns
        self._monitor.tick()
        if self._monitor.beat_ns == beat_ns and self._monitor.stats.errors > errors:
            # The monitor counts a broker that fails instead of raising; here it must not look like a pass.
            raise BrokerUnavailableError("the monitor's pass broke off: the broker did not answer; see the gateway")

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except LedgerError as error:
            self._failed("ledger", AlertKind.HALT, error)
        except BrokerError as error:
            self._failed("broker", AlertKind.PROCESS_DOWN, error)
        except InvariantError as error:
            self._failed("invariant", AlertKind.HALT, error)
        except Exception as error:  # noqa: BLE001 - the supervisor's loop: a thread that dies silently defends nobody
            self._failed("monitor", AlertKind.HALT, error)
        else:
            self._failures = 0

    def _failed(self, what: str, kind: AlertKind, error: Exception) -> None:
        self._failures += 1
        known = isinstance(error, DtmsError)
        _log.error("monitor pass failed", what=what, failures=self._failures, error=repr(error), exc_info=not known)
        if isinstance(error, BrokerError) and self._failures < BROKER_PATIENCE:
            return
        detail = (
            f"the defence's pass failed ({type(error).__name__}): no decisions until it works; stops at the broker hold"
        )
        self._notifier.alert(kind, f"dtms-server {what}", detail)

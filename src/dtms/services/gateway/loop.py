"""The loop of the gateway's hand: carries out what is planned as soon as it is written, settles what is in doubt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from dtms.app.clock_watch import ClockWatch, Jump
from dtms.app.executor import Executor
from dtms.app.lease import LeaseHolder
from dtms.app.reconcile import Reconciler
from dtms.domain.modes import Cause
from dtms.errors import BrokerError, DtmsError, InvariantError, LedgerError, MarketDataError, StaleWriteError
from dtms.ports.clock import Clock
from dtms.ports.lease import EpochOverError, FencedError
from dtms.ports.ledger import Ledger
from dtms.ports.notifier import AlertKind, Notifier
from dtms.services.web.health import ReadyReport

LOOK_EVERY_S: Final = 0.005
"""How often the ledger is asked whether anybody wrote: a decision leaves within a few of these."""

SETTLE_EVERY_NS: Final = 250_000_000
"""How often outcomes in doubt are looked at where nobody writes."""

BEAT_LIMIT_NS: Final = 3_000_000_000
_LONGEST_PAUSE_S: Final = 2.0

_log = structlog.get_logger("dtms.gateway")


class ExecutorLoop:
    """Runs the executor in a thread of its own, until `stop`.

    Args:
        executor: The hand.
        ledger: Asked for its revision.
        clock: For ages.
        notifier: Called when the ledger or the broker fails, or we do.
        reconciler: Compares broker and ledger before anything is sent, and from then on.
        lease: Without it nothing is done; None where one host needs none.
        watch: Looks at the machine's clocks; after a sleep everything is reconciled before anything is sent.
        on_fenced: Ends the process, whose place another has taken.
        pause: Waits so many seconds or until `stop`; replaced in tests.
    """

    def __init__(
        self,
        *,
        executor: Executor,
        ledger: Ledger,
        clock: Clock,
        notifier: Notifier,
        reconciler: Reconciler | None = None,
        lease: LeaseHolder | None = None,
        watch: ClockWatch | None = None,
        on_fenced: Callable[[FencedError], None] = lambda _error: None,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._executor = executor
        self._ledger = ledger
        self._clock = clock
        self._notifier = notifier
        self._reconciler = reconciler
        self._lease = lease
        self._watch = watch
        self._on_fenced = on_fenced
        self._ending = threading.Event()
        self._pause = self._ending.wait if pause is None else pause
        self._thread: threading.Thread | None = None
        self._revision = -1
        self._ticked_ns = 0
        self._failures = 0
        self._passes = 0
        self.beat_ns = 0
        self.recovered = False

    def start(self) -> None:
        """Begin, in a thread: recovery first."""
        self._thread = threading.Thread(target=self.run, name="dtms-executor", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 15.0) -> bool:
        """End after the send under way; say whether it did in time."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def run(self) -> None:
        """Recover, then carry out until `stop`."""
        while not self._ending.is_set():
            self._guarded()
            self._passes += 1
            pause = LOOK_EVERY_S if self._failures == 0 else min(0.1 * 2 ** min(self._failures, 10), _LONGEST_PAUSE_S)
            self._pause(pause)

    @property
    def progress(self) -> tuple[int, int]:
        """Return what differs whenever anything was done, or came to nothing, since it was asked last."""
        return self._passes, self._executor.worked

    def step(self) -> None:
        """Recover where that is still to be done; then do what there is to do, if there is anything.

        Raises:
            LedgerError: Nothing can be read or written.
            BrokerError: What was done could not be concluded now; the ledger has it, and the next step goes on.
        """
        if not self._holds():
            self.beat_ns = self._clock.boot_ns()
            return
        if self._watch is not None and self._watch.look() is Jump.SLEPT:
            self.recovered = False
        if not self.recovered:
            if self._reconciler is not None:
                self._reconciler.start()
            self._executor.recover()
            self.recovered = True
            _log.info("recovered", epoch=self._executor.epoch)
        revision = self._ledger.revision()
        changed = revision != self._revision
        if self._reconciler is not None:
            self._reconciler.step(self._executor.book.page().unfinished if changed else None)
        self._executor.watch()
        now_ns = self._clock.boot_ns()
        if changed or now_ns - self._ticked_ns >= SETTLE_EVERY_NS:
            self._revision, self._ticked_ns = revision, now_ns
            while self._executor.tick() and not self._ending.is_set():
                pass
        if self._watch is not None:
            self._watch.passed()
        self.beat_ns = self._clock.boot_ns()

    def _holds(self) -> bool:
        """Say whether this gateway has its lease; with a new one everything that was on its way is in doubt again."""
        if self._lease is None:
            return True
        if not self._lease.hold():
            self._executor.modes.set(Cause.FENCED, "waiting for the lease of another gateway to run out")
            return False
        if self._lease.epoch != self._executor.epoch:
            self._executor.epoch = self._lease.epoch
            self.recovered = False
        self._executor.modes.clear(Cause.FENCED)
        return True

    def _guarded(self) -> None:
        try:
            self.step()
        except FencedError as error:
            self._failed("fenced", AlertKind.HALT, error)
            if self._lease is not None and self._lease.fenced:
                self._ending.set()
                self._on_fenced(error)
        except EpochOverError as error:
            # A newer gateway has claimed: sending on would be a second writer.
            self._failed("fenced", AlertKind.HALT, error)
        except StaleWriteError as error:
            # Another writer won (a deadlock with a person's query on PostgreSQL, for example): the next pass reads afresh.
            self._failed("conflict", AlertKind.HALT, error)
        except LedgerError as error:
            self._failed("ledger", AlertKind.HALT, error)
        except (BrokerError, MarketDataError) as error:
            self._failed("broker", AlertKind.PROCESS_DOWN, error)
        except InvariantError as error:
            self._failed("invariant", AlertKind.HALT, error)
        except Exception as error:  # noqa: BLE001 - the supervisor's loop: a thread that dies silently sends nothing
            self._failed("executor", AlertKind.HALT, error)
        else:
            self._failures = 0

    def _failed(self, what: str, kind: AlertKind, error: Exception) -> None:
        self._failures += 1
        self._revision = -1
        if self._reconciler is not None:
            self._reconciler.want()
        known = isinstance(error, DtmsError)
        _log.error("pass failed", what=what, failures=self._failures, error=repr(error), exc_info=not known)
        passes = isinstance(error, (BrokerError, StaleWriteError)) and not isinstance(error, EpochOverError)
        if passes and self._failures < 5:  # noqa: PLR2004 - a terminal that reconnects, a person's query that holds a row
            return
        reason = str(error) if known else type(error).__name__
        detail = f"nothing is sent until it works: {reason}; stops at the broker hold"
        self._notifier.alert(kind, f"dtms-gateway {what}", detail)

    def report(self, broker: Callable[[], object]) -> ReadyReport:
        """Return whether the gateway can do its work; blocks for the broker's answer."""
        beats = self.beat_ns > 0 and self._clock.boot_ns() - self.beat_ns < BEAT_LIMIT_NS
        states = {
            "ledger": _state(self._ledger.revision),
            "lease": "ok" if self._lease is None or self._lease.may_send() else "waiting",
            "recovery": "ok" if self.recovered else "recovering",
            "broker": _state(broker),
            "executor": "ok" if beats else "stalled",
        }
        ready = all(state == "ok" for state in states.values())
        gate = self._executor.gate
        details = {
            "sent": self._executor.sent,
            "sent_today": gate.limits.today,
            "breaker": gate.breaker.state.value,
            "account": gate.guard.wrong or "ok",
        }
        return ReadyReport(ready=ready, dependencies=states, details=details)


def _state(ask: Callable[[], object]) -> str:
    try:
        ask()
    except DtmsError as error:
        _log.warning("not ready", error=repr(error))
        return "unavailable"
    return "ok"

"""The gateway's pass with what is done about its failures: what its thread runs, and a drill.

It recovers before anything is sent, carries out what is planned, settles what is in doubt. After a pass that failed
nothing is known any more: the next one compares everything with the broker anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from dtms.app.gateway.executor import Executor
from dtms.app.gateway.lease import LeaseHolder
from dtms.app.gateway.server_offset import OffsetKeeper
from dtms.app.modes.clock_watch import ClockWatch, Jump
from dtms.app.modes.pass_health import PassHealth
from dtms.app.reconcile.reconciler import Reconciler
from dtms.domain.modes import Cause
from dtms.errors import BrokerError, DtmsError, InvariantError, LedgerError, MarketDataError, StaleWriteError
from dtms.ports.clock import Clock
from dtms.ports.lease import EpochOverError, FencedError
from dtms.ports.ledger import Ledger
from dtms.ports.notifier import AlertKind, Notifier

SETTLE_EVERY_NS: Final = 250_000_000
"""How often outcomes in doubt are looked at where nobody writes."""

MOST_ROUNDS: Final = 20
"""Rounds of one pass at most: what goes on changing longer is gone on with in the next, and the beat is not lost."""

LOOK_EVERY_S: Final = 0.005
"""How often the ledger is asked whether anybody wrote: a decision leaves within a few of these."""

LONGEST_PAUSE_S: Final = 2.0
"""Between two tries after failures: shorter than the 3 s after which a beat counts as lost."""

PATIENCE: Final = 5
"""Passes running that a terminal that reconnects, or a person's query that holds a row, may cost before an alarm."""

_log = structlog.get_logger("dtms.gateway")


@dataclass(slots=True, kw_only=True)
class GatewayPass:
    """Runs executor and reconciler once a call.

    Attributes:
        executor: The hand.
        reconciler: Compares broker and ledger before anything is sent, and from then on.
        watch: Looks at the machine's clocks; after a sleep everything is reconciled before anything is sent.
        offset: Keeps in the ledger what quotes show of the trade server's clock.
        lease: Without it nothing is done; None where one host needs none.
        on_fenced: Ends the process, whose place another has taken.
        recovered: Whether what was on its way at the last gateway's end is in doubt now, and known.
        beat_ns: When the last whole pass ended, boot time; 0 before the first.
        changed: How many intents the last pass changed: what another waits for may have come about.
    """

    executor: Executor
    reconciler: Reconciler
    offset: OffsetKeeper
    watch: ClockWatch
    ledger: Ledger
    clock: Clock
    notifier: Notifier
    health: PassHealth
    lease: LeaseHolder | None = None
    on_fenced: Callable[[FencedError], None] = lambda _error: None
    recovered: bool = False
    beat_ns: int = 0
    changed: int = 0
    ending: bool = False
    _started: bool = False
    _revision: int = -1
    _ticked_ns: int = 0

    @property
    def pause_s(self) -> float:
        """Return how long to wait until the next pass: longer after each failure."""
        failures = self.health.failures
        return LOOK_EVERY_S if failures == 0 else min(0.1 * 2.0 ** min(failures, 10), LONGEST_PAUSE_S)

    def run(self) -> Exception | None:
        """Recover where that is still to be done, and do what there is to do; return what it failed on, None: nothing."""
        try:
            self.step()
        except FencedError as error:
            self._failed("fenced", AlertKind.HALT, error)
            if self.lease is not None and self.lease.fenced:
                self.ending = True
                self.on_fenced(error)
            return error
        except EpochOverError as error:
            # A newer gateway has claimed: sending on would be a second writer.
            return self._failed("fenced", AlertKind.HALT, error)
        except StaleWriteError as error:
            # Another writer won (a deadlock with a person's query on PostgreSQL, for example): the next pass reads afresh.
            return self._failed("conflict", AlertKind.HALT, error)
        except LedgerError as error:
            return self._failed("ledger", AlertKind.HALT, error)
        except (BrokerError, MarketDataError) as error:
            return self._failed("broker", AlertKind.PROCESS_DOWN, error)
        except InvariantError as error:
            return self._failed("invariant", AlertKind.HALT, error)
        except Exception as error:  # noqa: BLE001 - the supervisor's loop: a thread that dies silently sends nothing
            return self._failed("executor", AlertKind.HALT, error)
        self._started = True
        self.health.passed()
        return None

    def step(self) -> None:
        """Make one pass.

        Raises:
            LedgerError: Nothing can be read or written.
            BrokerError: What was done could not be concluded now; the ledger has it, and the next pass goes on.
        """
        self.changed = 0
        if not self._holds():
            self.beat_ns = self.clock.boot_ns()
            return
        self.health.ledger.look()
        if self.watch.look() is Jump.SLEPT:
            self.recovered = False
        if not self.recovered:
            self.offset.start()
            self.reconciler.start()
            self.executor.recover()
            self.recovered = True
            _log.info("recovered", epoch=self.executor.epoch)
        revision = self.ledger.revision()
        changed = revision != self._revision
        self.reconciler.step(self.executor.book.page().unfinished if changed else None)
        self.executor.watch()
        now_ns = self.clock.boot_ns()
        if changed or now_ns - self._ticked_ns >= SETTLE_EVERY_NS:
            self._revision, self._ticked_ns = revision, now_ns
            for _ in range(MOST_ROUNDS):
                done = self.executor.tick()
                self.changed += done
                if not done or self.ending:
                    break
            else:
                self._revision = -1
        self.offset.step()
        self.watch.passed()
        self.beat_ns = self.clock.boot_ns()

    def _holds(self) -> bool:
        """Say whether this gateway has its lease; with a new one everything that was on its way is in doubt again."""
        if self.lease is None:
            return True
        if not self.lease.hold():
            self.executor.modes.set(Cause.FENCED, "waiting for the lease of another gateway to run out")
            return False
        if self.lease.epoch != self.executor.epoch:
            self.executor.epoch = self.lease.epoch
            self.recovered = False
        self.executor.modes.clear(Cause.FENCED)
        return True

    def _failed(self, what: str, kind: AlertKind, error: Exception) -> Exception:
        self._revision = -1
        self.reconciler.want()
        self.health.failed(error, started=self._started)
        passes = isinstance(error, (BrokerError, StaleWriteError)) and not isinstance(error, EpochOverError)
        if passes and self.health.failures < PATIENCE:
            return error
        reason = str(error) if isinstance(error, DtmsError) else type(error).__name__
        detail = f"nothing is sent until it works: {reason}; stops at the broker hold"
        self.notifier.alert(kind, f"dtms-gateway {what}", detail)
        return error

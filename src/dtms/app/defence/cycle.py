"""The defence's pass with what is done about its failures: what the server's thread runs, and a drill.

It recovers before anything is answered, and survives a ledger or broker that fails: it logs, alarms and tells the mode.
The stops at the broker hold meanwhile.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from dtms.app.defence.monitor import Monitor
from dtms.app.modes.pass_health import PassHealth
from dtms.domain.position import Account, PositionsRead
from dtms.errors import BrokerError, InvariantError, LedgerError
from dtms.ports.clock import Clock
from dtms.ports.notifier import AlertKind, Notifier

PASS_EVERY_S: Final = 0.25
LONGEST_PAUSE_S: Final = 2.0
"""Between two tries after failures: shorter than the 3 s after which a beat counts as lost."""

BROKER_PATIENCE: Final = 5
"""Passes running that a silent broker may cost before somebody is called for the process: some 5 s."""

_PROBE_AFTER_NS: Final = 1_000_000_000
"""With no trade and no symbol a pass asks the broker nothing; then it is asked so often whether it is there."""

_log = structlog.get_logger("dtms.server")


class Seen(Protocol):
    """The broker's reads, remembered for what is shown of them."""

    @property
    def answered_ns(self) -> int | None:
        """Return when the broker last answered anything, None before the first time."""
        ...

    def account(self) -> Account:
        """Ask for the account."""
        ...

    def positions(self) -> PositionsRead:
        """Ask for the positions."""
        ...

    def fetch_wanted(self) -> None:
        """Ask for what an answer missed."""
        ...


@dataclass(slots=True, kw_only=True)
class MonitorPass:
    """Runs the monitor once a call.

    Attributes:
        monitor: The brain.
        seen: The reads that it uses.
        lock: Taken for each pass; registrations take it too.
        recovered: Whether one whole pass was made: no answer about a trade is given before it.
    """

    monitor: Monitor
    seen: Seen
    clock: Clock
    notifier: Notifier
    health: PassHealth
    lock: AbstractContextManager[object]
    recovered: bool = False

    @property
    def pause_s(self) -> float:
        """Return how long to wait until the next pass, where nobody asks for one: longer after each failure."""
        return min(PASS_EVERY_S * 2.0 ** min(self.health.failures, 10), LONGEST_PAUSE_S)

    def run(self) -> Exception | None:
        """Recover, or make one pass; return what it failed on, None where it was whole."""
        try:
            self.health.ledger.look()
            if self.recovered:
                self.step()
            else:
                self.recover()
        except LedgerError as error:
            return self._failed("ledger", AlertKind.HALT, error)
        except BrokerError as error:
            return self._failed("broker", AlertKind.PROCESS_DOWN, error)
        except InvariantError as error:
            return self._failed("invariant", AlertKind.HALT, error)
        except Exception as error:  # noqa: BLE001 - the supervisor's loop: a thread that dies silently defends nobody
            return self._failed("monitor", AlertKind.HALT, error)
        self.health.passed()
        return None

    def recover(self) -> None:
        """Make one whole pass over ledger and broker.

        Raises:
            BrokerError: The broker does not answer yet.
            LedgerError: The ledger does not.
        """
        self.monitor.crash.reach("server.recovering")
        with self.lock:
            self.seen.account()
            self.seen.positions()
            self._whole()
        self.monitor.crash.reach("server.recovered")
        self.recovered = True
        _log.info("recovered", trades=len(self.monitor.book.page().trades))

    def step(self) -> None:
        """Make one pass.

        Raises:
            BrokerError: The pass was not whole.
            LedgerError: Nothing could be read or written.
        """
        with self.lock:
            self._whole()
        self.seen.fetch_wanted()
        answered_ns = self.seen.answered_ns
        if answered_ns is None or self.clock.boot_ns() - answered_ns >= _PROBE_AFTER_NS:
            self.seen.account()

    def _whole(self) -> None:
        self.monitor.tick()
        if self.monitor.broke is not None:
            raise self.monitor.broke

    def _failed(self, what: str, kind: AlertKind, error: Exception) -> Exception:
        self.health.failed(error, started=self.recovered)
        if isinstance(error, BrokerError) and self.health.failures < BROKER_PATIENCE:
            return error
        detail = (
            f"the defence's pass failed ({type(error).__name__}): no decisions until it works; stops at the broker hold"
        )
        self.notifier.alert(kind, f"dtms-server {what}", detail)
        return error

"""What it means that a pass fails: told in the mode when it fails twice running, whatever it is that fails.

A pass is a loop's work: the defence's, the exits', the gateway's. It has no thread here, so that what runs live, what a
drill runs and what a test runs is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dtms.app.modes.keeper import ModeKeeper
from dtms.app.modes.ledger_watch import LedgerWatch
from dtms.app.modes.rate_limited_log import Seldom
from dtms.app.views.trade_cache import TradeCache
from dtms.domain.modes import Cause
from dtms.errors import BrokerError, DtmsError, LedgerUnavailableError
from dtms.ports.clock import Clock

TWICE: Final = 2
LINK_NS: Final = 3_000_000_000
"""A gateway or terminal that is there again within the moment is no failing pass: both must be passed."""

START_NS: Final = 30_000_000_000
"""A start waits for the gateway, and that for its terminal; a person is called within the minute all the same."""


@dataclass(slots=True, kw_only=True)
class PassHealth:
    """One pass of one process.

    Attributes:
        name: For people: "the defence's pass".
        modes: Where it is told.
        book: For the review that a failed pass did not come to.
        failures: How many passes running have failed.
    """

    name: str
    modes: ModeKeeper
    book: TradeCache
    clock: Clock
    ledger: LedgerWatch
    said: Seldom
    failures: int = 0
    _since_ns: int = field(default=0)

    def passed(self) -> None:
        """Take note of a whole pass."""
        self.failures = 0
        self.modes.clear(Cause.PASS_FAILING)

    def failed(self, error: Exception, *, started: bool = True) -> None:
        """Take note of a pass that broke off: logged, told, and somebody called as the table of causes says.

        Args:
            error: What it broke off on.
            started: Whether a whole pass was ever made; before that the others may be starting too.
        """
        now_ns = self.clock.boot_ns()
        if self.failures == 0:
            self._since_ns = now_ns
        self.failures += 1
        self.said.say(f"{self.name} failed", type(error).__name__, error, failures=self.failures)
        if isinstance(error, LedgerUnavailableError):
            self.ledger.failed(error)
        patience_ns = (LINK_NS if isinstance(error, BrokerError) else 0) if started else START_NS
        if self.failures >= TWICE and now_ns - self._since_ns >= patience_ns:
            why = str(error) if isinstance(error, DtmsError) else type(error).__name__
            self.modes.set(Cause.PASS_FAILING, f"{self.name} fails: {why}")
        self.modes.tell(self.book)

"""What the market's hours do to a planned intent: a new session ends it, a reopening holds it back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dtms.app.witness import Witness
from dtms.core.settle import REOPENING_WAIT
from dtms.domain.action import Close, Reduce
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import Instrument
from dtms.domain.intent import Intent, Planner
from dtms.domain.policy import PolicyBook
from dtms.domain.units import MINUTE, Millis
from dtms.errors import BrokerError, MarketDataError

_REOPENING_MOST = 10 * MINUTE
_REOPENING_SPREADS = 3.0


class HoursSay(StrEnum):
    """Whether an intent may go now."""

    GO = "go"
    WAIT = "wait"
    OVER = "over"


@dataclass(slots=True, kw_only=True)
class HoursGate:
    """Asks the market's hours and, at a reopening, its spread."""

    witness: Witness
    policies: PolicyBook

    def of(self, planned: Intent, symbol: str, now: Millis) -> HoursSay:
        """Return what the hours say; WAIT too where the instrument cannot be read now.

        Raises:
            MarketDataError: The symbol cannot be used.
        """
        try:
            instrument = self.witness.instrument(symbol)
        except BrokerError:
            return HoursSay.WAIT
        hours = MarketHours(instrument.asset)
        if planned.precondition.price_based and hours.session(planned.created_at) is not hours.session(now):
            return HoursSay.OVER
        closing = isinstance(planned.action, Close) or (
            isinstance(planned.action, Reduce) and planned.owner is Planner.DTMS
        )
        return HoursSay.WAIT if closing and self._reopening(symbol, instrument, hours, now) else HoursSay.GO

    def _reopening(self, symbol: str, instrument: Instrument, hours: MarketHours, now: Millis) -> bool:
        """Say whether the market has just opened and its spread is not back: closes wait two minutes, at most ten."""
        opened = hours.last_open(now)
        if opened is None or not hours.is_open(now) or now - opened >= _REOPENING_MOST:
            return False
        if now - opened < REOPENING_WAIT:
            return True
        typical = self.policies.of(instrument.canonical).spread_typical
        try:
            spread = self.witness.reads.quote(symbol).spread
        except (BrokerError, MarketDataError):
            return True
        return typical is not None and spread >= _REOPENING_SPREADS * typical

"""What the market's hours do to a planned intent: a new session ends it, a closed market and a reopening hold it back.

Hours are the calendar's and, before that, the broker's: once it has answered "market closed" every order of the symbol
waits until its quotes move again, and longer each time that this was not enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dtms.app.evidence.broker_lookup import BrokerLookup
from dtms.app.market.closures import Closures
from dtms.app.modes import flatten
from dtms.core.settle import REOPENING_WAIT
from dtms.domain.action import Close, Reduce
from dtms.domain.calendar import MarketHours
from dtms.domain.closure import Closure
from dtms.domain.instrument import Instrument
from dtms.domain.intent import Intent, Planner
from dtms.domain.policy import Policies
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

    witness: BrokerLookup
    policies: Policies
    closures: Closures

    def of(self, planned: Intent, symbol: str, now: Millis, *, flatten_since: Millis | None = None) -> HoursSay:
        """Return what the hours say; WAIT too where the instrument cannot be read now.

        An opening is not held back: who asked for it waits for the broker's answer. `flatten_since` is when a person pressed
        the kill switch to `flatten`, None where nobody has.

        Raises:
            MarketDataError: The symbol cannot be used.
            LedgerError: It cannot be read which markets are closed.
        """
        try:
            instrument = self.witness.instrument(symbol)
        except BrokerError:
            return HoursSay.WAIT
        hours = self.hours(symbol, instrument)
        if planned.precondition.price_based and hours.session(planned.created_at) is not hours.session(now):
            return HoursSay.OVER
        closure = self.closures.present(symbol)
        if closure is not None and _held_by(closure, planned, now, flatten_since):
            return HoursSay.WAIT
        closing = isinstance(planned.action, Close) or (
            isinstance(planned.action, Reduce) and planned.owner is Planner.DTMS
        )
        return HoursSay.WAIT if closing and self._reopening(symbol, instrument, hours, now) else HoursSay.GO

    def hours(self, symbol: str, instrument: Instrument) -> MarketHours:
        """Return the hours of a symbol as far as they are known."""
        return MarketHours(instrument.asset, self.closures.spans(symbol))

    def _reopening(self, symbol: str, instrument: Instrument, hours: MarketHours, now: Millis) -> bool:
        """Say whether the market has just opened and its spread is not back: closes wait two minutes, at most ten."""
        opened = _opened(hours, now)
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


def _held_by(closure: Closure, planned: Intent, now: Millis, flatten_since: Millis | None) -> bool:
    """Say whether an intent waits for a closed market.

    At `flatten` every close is a person's wish, whoever has planned it: one is tried at once, then ever less often.
    """
    wished = planned.rule == flatten.RULE or (flatten_since is not None and isinstance(planned.action, Close))
    pressed = wished and flatten_since is not None and flatten_since > closure.refused_at
    return not pressed and closure.holds(now, wished=wished)


def _opened(hours: MarketHours, now: Millis) -> Millis | None:
    """Return when the market last opened after a pause in which its spread may have gone; None where it never did."""
    calendar = MarketHours(hours.asset).last_open(now)
    reopened = [end for start, end in hours.shut if end is not None and end <= now and end - start >= REOPENING_WAIT]
    return max((at for at in (calendar, *reopened) if at is not None), default=None)

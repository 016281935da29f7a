"""`ServedReads` over values at hand: a broker that says what it was given. For tests and examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dtms.domain.instrument import Instrument
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import Account, Deal, PositionsRead
from dtms.domain.units import Millis
from dtms.errors import BrokerUnavailableError, InvalidDataError, StaleDataError


@dataclass(slots=True, kw_only=True)
class FixedReads:
    """The broker's facts as mappings; change them to move the broker.

    A symbol exists where `instruments` has it. While `down` is set nothing can be told.
    """

    account_now: Account
    positions_now: PositionsRead
    instruments: Mapping[str, Instrument] = field(default_factory=dict)
    quotes: Mapping[str, Quote] = field(default_factory=dict)
    histories: Mapping[tuple[str, Timeframe], tuple[Bar, ...]] = field(default_factory=dict)
    all_deals: tuple[Deal, ...] = ()
    down: bool = False

    def account(self) -> Account:
        """Return the account."""
        self._require_up()
        return self.account_now

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument; raises `InvalidDataError` for an unknown symbol."""
        self._require_up()
        if symbol not in self.instruments:
            msg = f"symbol {symbol!r} is not known; use one of {sorted(self.instruments)}"
            raise InvalidDataError(msg)
        return self.instruments[symbol]

    def positions(self) -> PositionsRead:
        """Return all open positions."""
        self._require_up()
        return self.positions_now

    def market_watch(self) -> tuple[str, ...]:
        """Return every symbol that exists."""
        self._require_up()
        return tuple(self.instruments)

    def quote(self, symbol: str) -> Quote:
        """Return the last quote; raises `StaleDataError` where there has been none."""
        self.instrument(symbol)
        if symbol not in self.quotes:
            msg = f"symbol {symbol!r} has no quote yet; wait for the market"
            raise StaleDataError(msg)
        return self.quotes[symbol]

    def bars(self, symbol: str, timeframe: Timeframe, count: int) -> tuple[Bar, ...]:
        """Return the last `count` bars of the history."""
        self.instrument(symbol)
        return self.histories.get((symbol, timeframe), ())[-count:]

    def deals(self, position: int) -> tuple[Deal, ...]:
        """Return the deals of one position."""
        self._require_up()
        return tuple(deal for deal in self.all_deals if deal.position == position)

    def deals_between(self, start: Millis, end: Millis) -> tuple[Deal, ...]:
        """Return the deals in [start, end]."""
        self._require_up()
        return tuple(deal for deal in self.all_deals if start <= deal.at <= end)

    def _require_up(self) -> None:
        if self.down:
            msg = "the broker is set down; clear `down`"
            raise BrokerUnavailableError(msg)

"""Quotes, bars and timeframes: what the market said."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from dtms.domain.units import DAY, HOUR, MINUTE, Millis, Side
from dtms.errors import InvalidDataError


class Timeframe(Enum):
    """A bar's length; its value is in milliseconds."""

    M1 = MINUTE
    M5 = 5 * MINUTE
    M15 = 15 * MINUTE
    H1 = HOUR
    H4 = 4 * HOUR
    D1 = DAY

    def start_of(self, at: Millis) -> Millis:
        """Return the start of the bar that holds `at`, aligned to UTC multiples of the timeframe."""
        return Millis(at - at % self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """One accepted or offered quote.

    `at` is UTC. `buy_volume` and `sell_volume` are the aggressor volumes since the previous quote where a feed has the
    trade side, else None.
    """

    symbol: str
    at: Millis
    bid: float
    ask: float
    volume: float | None = None
    buy_volume: float | None = None
    sell_volume: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.bid) and math.isfinite(self.ask) and 0 < self.bid <= self.ask):
            msg = (
                f"quote of {self.symbol} at {self.at}: bid {self.bid!r}, ask {self.ask!r} "
                "are not finite, positive and bid <= ask"
            )
            raise InvalidDataError(msg)

    @property
    def spread(self) -> float:
        """Ask minus bid, in price units, >= 0."""
        return self.ask - self.bid

    def executable(self, side: Side) -> float:
        """Return the price at which a position of this side is valued and closed: a BUY at the bid, a SELL at the ask."""
        return self.bid if side is Side.BUY else self.ask

    def opening(self, side: Side) -> float:
        """Return the price at which a position of this side would be opened now."""
        return self.ask if side is Side.BUY else self.bid


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of bid prices; `start` is its first instant, its end is `start` plus the timeframe.

    `volume` is the tick or traded volume, None where the tape has none. `buy_volume` and `sell_volume` are the
    aggressor volumes, None where the tape has no trade side.
    """

    start: Millis
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None
    buy_volume: float | None = None
    sell_volume: float | None = None

    def __post_init__(self) -> None:
        prices = (self.open, self.high, self.low, self.close)
        if not all(math.isfinite(p) and p > 0 for p in prices):
            msg = f"bar at {self.start}: prices {prices} are not all finite and positive"
            raise InvalidDataError(msg)
        if not (self.low <= min(self.open, self.close) and max(self.open, self.close) <= self.high):
            msg = (
                f"bar at {self.start}: low {self.low} and high {self.high} do not enclose {self.open} and {self.close}"
            )
            raise InvalidDataError(msg)
        for volume in (self.volume, self.buy_volume, self.sell_volume):
            if volume is not None and not (math.isfinite(volume) and volume >= 0):
                msg = f"bar at {self.start}: volume {volume!r} is not finite and >= 0"
                raise InvalidDataError(msg)

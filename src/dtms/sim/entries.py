"""Entries for the simulation: the other program whose trades are protected. It knows nothing of dtms."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from dtms.domain.instrument import Instrument
from dtms.domain.market import Quote
from dtms.domain.score import MarketView
from dtms.domain.units import Lots, Price, Side
from dtms.errors import SettingsError

STOP_ATR = 2.0
TARGET_ATR = 4.0
RISK_SHARE = 0.01
RISK_BASE = 10_000.0
MAX_PERIOD = 1_000


@dataclass(frozen=True, slots=True)
class Order:
    """What the other program wants to open at the next quote."""

    side: Side
    volume: Lots
    stop: Price
    target: Price


@dataclass(slots=True)
class SmaCross:
    """Crosses of two simple moving averages on closed M5 bars, both sides."""

    fast: int
    slow: int
    _closes: deque[float] = field(init=False)
    _above: bool | None = None

    def __post_init__(self) -> None:
        self._closes = deque(maxlen=self.slow)

    def on_bar(self, view: MarketView) -> Side | None:
        """Take a closed bar in; return the side of a cross, None where there is none."""
        self._closes.append(view.close)
        if len(self._closes) < self.slow:
            return None
        closes = tuple(self._closes)
        above = sum(closes[-self.fast :]) / self.fast > sum(closes) / self.slow
        before, self._above = self._above, above
        if before is None or before == above:
            return None
        return Side.BUY if above else Side.SELL


def order_for(side: Side, quote: Quote, atr: float, instrument: Instrument) -> Order | None:
    """Return the order of a signal: 1 % of 10,000 at a stop of 2 ATR, target 4 ATR; None below the minimum lot."""
    entry = quote.opening(side)
    stop = instrument.stop(side, entry - side * STOP_ATR * atr)
    target = instrument.nearest(entry + side * TARGET_ATR * atr)
    risk = abs(entry - stop)
    if risk <= 0:
        return None
    volume = instrument.lots_down(min(instrument.volume_max, RISK_SHARE * RISK_BASE / instrument.money(risk, 1.0)))
    return None if volume <= 0 else Order(side, volume, stop, target)


def parse_entries(text: str) -> SmaCross:
    """Return the entries that `sma-cross:20,50` names.

    Raises:
        SettingsError: The text names no entries that we have.
    """
    name, _, numbers = text.partition(":")
    parts = numbers.split(",")
    if name != "sma-cross" or len(parts) != 2 or not all(part.isascii() and part.isdecimal() for part in parts):  # noqa: PLR2004
        raise SettingsError(f"entries {text!r} are not known; write sma-cross:FAST,SLOW, for example sma-cross:20,50")
    fast, slow = (int(part) for part in parts)
    if not 1 <= fast < slow <= MAX_PERIOD:
        raise SettingsError(
            f"entries {text!r}: the fast period must be at least 1 and below the slow one ({MAX_PERIOD})"
        )
    return SmaCross(fast, slow)

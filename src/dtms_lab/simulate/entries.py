"""Entries for the simulation: the other program whose trades are protected. It knows nothing of dtms."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from dtms.domain.instrument import Instrument
from dtms.domain.market import Quote
from dtms.domain.score import MarketView
from dtms.domain.units import MINUTE, Lots, Price, Side
from dtms.errors import SettingsError

STOP_ATR = 2.0
TARGET_ATR = 4.0
RISK_SHARE = 0.01
MAX_PERIOD = 1_000
MAX_STOP_ATR = 50
DAY_MINUTES = 1_440


@dataclass(frozen=True, slots=True)
class Order:
    """What the other program wants to open at the next quote."""

    side: Side
    volume: Lots
    stop: Price
    target: Price


class Entries(Protocol):
    """When the other program enters, how far its stop and target are, how many trades it holds, and its first balance.

    The balance lets a hedge of a quarter of the first volume stay above the minimum lot.
    """

    stop_atr: float
    target_atr: float
    max_open: int
    balance: float

    def on_bar(self, view: MarketView) -> Side | None:
        """Take a closed M5 bar in; return the side to enter at the next quote, None for none."""
        ...


@dataclass(slots=True)
class Every:
    """An entry every so many minutes, BUY and SELL in turn: many trades in all weathers, to see every state."""

    minutes: int
    stop_atr: float
    target_atr: float = field(init=False)
    max_open: int = 8
    balance: float = 100_000.0
    _side: Side = Side.SELL

    def __post_init__(self) -> None:
        self.target_atr = 2 * self.stop_atr

    def on_bar(self, view: MarketView) -> Side | None:
        """Return the next side when its time has come."""
        if view.at % (self.minutes * MINUTE) != 0:
            return None
        self._side = self._side.opposite
        return self._side


@dataclass(slots=True)
class SmaCross:
    """Crosses of two simple moving averages on closed M5 bars, both sides; no reversal while a trade is open."""

    fast: int
    slow: int
    stop_atr: float = STOP_ATR
    target_atr: float = TARGET_ATR
    max_open: int = 1
    balance: float = 10_000.0
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


def order_for(entries: Entries, side: Side, quote: Quote, atr: float, instrument: Instrument) -> Order | None:
    """Return the order of a signal, 1 % of the first balance at risk; None below the minimum lot."""
    entry = quote.opening(side)
    stop = instrument.stop(side, entry - side * entries.stop_atr * atr)
    target = instrument.nearest(entry + side * entries.target_atr * atr)
    risk = abs(entry - stop)
    if risk <= 0:
        return None
    volume = instrument.lots_down(
        min(instrument.volume_max, RISK_SHARE * entries.balance / instrument.money(risk, 1.0))
    )
    return None if volume <= 0 else Order(side, volume, stop, target)


def parse_entries(text: str) -> Entries:
    """Return the entries that a text names: `sma-cross:FAST,SLOW` in bars or `every:MINUTES,STOP_ATR`.

    Raises:
        SettingsError: The text names no entries that we have.
    """
    name, _, numbers = text.partition(":")
    parts = numbers.split(",")
    whole = len(parts) == 2 and all(part.isascii() and part.isdecimal() for part in parts)  # noqa: PLR2004 - a pair
    if name not in ("sma-cross", "every") or not whole:
        raise SettingsError(f"entries {text!r} are not known; write sma-cross:20,50 or every:30,8")
    first, second = (int(part) for part in parts)
    if name == "every":
        if not (5 <= first <= DAY_MINUTES and first % 5 == 0 and 1 <= second <= MAX_STOP_ATR):  # noqa: PLR2004 - M5 bars
            raise SettingsError(f"entries {text!r}: minutes must be a multiple of 5, the stop 1 to {MAX_STOP_ATR} ATR")
        return Every(first, float(second))
    if not 1 <= first < second <= MAX_PERIOD:
        raise SettingsError(
            f"entries {text!r}: the fast period must be at least 1 and below the slow one ({MAX_PERIOD})"
        )
    return SmaCross(first, second)

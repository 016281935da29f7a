"""Bars and ticks of one symbol as the server keeps them: M1 exactly, longer bars folded from M1 on the server's clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dtms.domain.market import Bar, Quote
from dtms.domain.units import DAY, MINUTE, Millis
from dtms_lab.terminal.server_time import ServerOffset

RATES_DTYPE = np.dtype(
    [
        ("time", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("tick_volume", "<u8"),
        ("spread", "<i4"),
        ("real_volume", "<u8"),
    ]
)
TICKS_DTYPE = np.dtype(
    [
        ("time", "<i8"),
        ("bid", "<f8"),
        ("ask", "<f8"),
        ("last", "<f8"),
        ("volume", "<u8"),
        ("time_msc", "<i8"),
        ("flags", "<u4"),
        ("volume_real", "<f8"),
    ]
)
Rates = npt.NDArray[np.void]

_TICKS_KEPT = 50_000
_MINUTE_SECONDS = 60


class _Table:
    """A growing array; the row behind the last one may hold the bar that is still forming."""

    def __init__(self) -> None:
        self._data: Rates = np.empty(1024, dtype=RATES_DTYPE)
        self.size = 0

    def _room(self, extra: int) -> None:
        needed = self.size + extra + 1
        if needed > len(self._data):
            grown: Rates = np.empty(max(needed, 2 * len(self._data)), dtype=RATES_DTYPE)
            grown[: self.size] = self._data[: self.size]
            self._data = grown

    def extend(self, rows: Rates) -> None:
        self._room(len(rows))
        self._data[self.size : self.size + len(rows)] = rows
        self.size += len(rows)

    def append(self, row: tuple[Any, ...]) -> None:
        self._room(1)
        self._data[self.size] = row
        self.size += 1

    def with_live(self, row: tuple[Any, ...] | np.void | None) -> Rates:
        """Return all rows and, where there is one, the live row; a view, valid until the next change."""
        if row is None:
            return self._data[: self.size]
        self._room(1)
        self._data[self.size] = row
        return self._data[: self.size + 1]


class _Folded:
    """The bars of one longer timeframe: those that cannot change any more, and where in M1 the next one begins."""

    def __init__(self) -> None:
        self.table = _Table()
        self.consumed = 0


class RateStore:
    """The M1 history of one symbol, the running minute and its latest ticks.

    `tick_volume` of a closed bar is the tape's, and 0 where the tape has none; of the running minute it is the number of
    quotes seen. Times in the rows are server seconds, as the terminal shows them.
    """

    def __init__(self, point: float, offset: ServerOffset) -> None:
        self._point = point
        self._offset = offset
        self._m1 = _Table()
        self._folded: dict[int, _Folded] = {}
        self._forming: list[Any] | None = None
        self._last_start: Millis | None = None
        self._day = -1
        self.day_range = (0.0, 0.0, 0.0, 0.0)
        """Lowest and highest bid, lowest and highest ask of the server's day."""
        self.ticks: deque[tuple[Millis, float, float]] = deque(maxlen=_TICKS_KEPT)

    def set_offset(self, offset: ServerOffset) -> None:
        """Write the bars from now on by another reading of the server's clock."""
        self._offset = offset

    def _seconds(self, at: Millis) -> int:
        """Return the start of a bar on the server's clock: a whole minute of it, however far that clock has jumped."""
        return round((at + self._offset(at)) / MINUTE) * _MINUTE_SECONDS

    def _row(self, bar: Bar, spread: float) -> tuple[Any, ...]:
        volume = 0 if bar.volume is None else round(bar.volume)
        points = round(spread / self._point)
        return (self._seconds(bar.start), bar.open, bar.high, bar.low, bar.close, volume, points, 0)

    def load(self, bars: Sequence[Bar], spread: float) -> None:
        """Append closed bars, oldest first; bars that are not newer than the last known one are left out."""
        known = self._last_start
        fresh = [bar for bar in bars if known is None or bar.start > known]
        if fresh:
            self._m1.extend(np.array([self._row(bar, spread) for bar in fresh], dtype=RATES_DTYPE))
            self._last_start = fresh[-1].start

    def on_quote(self, quote: Quote) -> None:
        """Let a quote form the bar of its minute; a quote of a later minute closes the bar before it."""
        bid, ask = quote.bid, quote.ask
        self.ticks.append((quote.at, bid, ask))
        self._widen_day(quote.at, bid, ask)
        start = quote.at - quote.at % MINUTE
        forming = self._forming
        if forming is None or forming[0] != start:
            if self._last_start is not None and start <= self._last_start:
                return
            self._close_forming()
            self._forming = [start, bid, bid, bid, bid, 1, ask - bid]
            return
        forming[2] = max(forming[2], bid)
        forming[3] = min(forming[3], bid)
        forming[4] = bid
        forming[5] += 1
        forming[6] = ask - bid

    def _widen_day(self, at: Millis, bid: float, ask: float) -> None:
        day = (at + self._offset(at)) // DAY
        if day != self._day:
            self._day = day
            self.day_range = (bid, bid, ask, ask)
            return
        bid_low, bid_high, ask_low, ask_high = self.day_range
        if not (bid_low <= bid <= bid_high and ask_low <= ask <= ask_high):
            self.day_range = (min(bid_low, bid), max(bid_high, bid), min(ask_low, ask), max(ask_high, ask))

    def on_closed(self, bar: Bar) -> None:
        """Append the true bar of a minute that has ended, in place of what the quotes formed."""
        spread = 0.0
        if self._forming is not None:
            spread = self._forming[6]
            if self._forming[0] < bar.start:
                self._close_forming()
            elif self._forming[0] == bar.start:
                self._forming = None
        if self._last_start is None or bar.start > self._last_start:
            self._m1.append(self._row(bar, spread))
            self._last_start = bar.start

    def _close_forming(self) -> None:
        row = self._live_row()
        if row is not None and self._forming is not None:
            self._m1.append(row)
            self._last_start = self._forming[0]
            self._forming = None

    def _live_row(self) -> tuple[Any, ...] | None:
        if self._forming is None:
            return None
        start, opened, high, low, close, count, spread = self._forming
        return (self._seconds(start), opened, high, low, close, count, round(spread / self._point), 0)

    def rates(self, seconds: int) -> Rates:
        """Return all bars of a timeframe, the running one last; a view, to be copied before the next change."""
        minutes = self._m1.with_live(self._live_row())
        if seconds == _MINUTE_SECONDS:
            return minutes
        folded = self._folded.setdefault(seconds, _Folded())
        rows = minutes[folded.consumed :]
        if len(rows) == 0:
            return folded.table.with_live(None)
        bars, starts = _fold(rows, seconds)
        folded.table.extend(bars[:-1])
        folded.consumed += int(starts[-1])
        return folded.table.with_live(bars[-1])


def _fold(rows: Rates, seconds: int) -> tuple[Rates, npt.NDArray[np.intp]]:
    """Fold M1 rows into bars; a bar begins where the server's clock enters another multiple of the timeframe."""
    bucket = rows["time"] // seconds
    starts = np.flatnonzero(np.concatenate((np.array([True]), bucket[1:] != bucket[:-1])))
    ends = np.concatenate((starts[1:], np.array([len(rows)]))) - 1
    bars: Rates = np.empty(len(starts), dtype=RATES_DTYPE)
    bars["time"] = bucket[starts] * seconds
    bars["open"] = rows["open"][starts]
    bars["high"] = np.maximum.reduceat(rows["high"], starts)
    bars["low"] = np.minimum.reduceat(rows["low"], starts)
    bars["close"] = rows["close"][ends]
    bars["tick_volume"] = np.add.reduceat(rows["tick_volume"], starts)
    bars["spread"] = np.minimum.reduceat(rows["spread"], starts)
    bars["real_volume"] = np.add.reduceat(rows["real_volume"], starts)
    return bars, starts

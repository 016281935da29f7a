"""M5 bars out of closed M1 bars, and the calendar's answers for them, for live use one at a time.

A bar without ticks does not exist. What comes late or twice is ignored and counted: a bar that was closed stays as it
was. Nothing here reads a clock; who calls says what time it is.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from dtms.core._jit import Floats
from dtms.core.params import SESSIONS
from dtms.domain.calendar import MarketHours
from dtms.domain.market import Bar, Timeframe
from dtms.domain.units import HOUR, Millis
from dtms.errors import InvalidDataError

CLOSE_DELAY_MS: Final = 2_000
"""A bar is closed when the clock has passed its end by this much, whether or not a tick followed."""

M1_MS: Final = Timeframe.M1.value
M5_MS: Final = Timeframe.M5.value
FIELDS: Final = 8
"""Numbers of a `Forming` bar, as saved."""


@dataclass(slots=True)
class Forming:
    """An M5 bar that may still grow; volumes are NaN where an M1 bar of it has none."""

    start: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    buys: float
    sells: float

    @property
    def end(self) -> int:
        """The first instant behind the bar."""
        return self.start + M5_MS

    def numbers(self) -> tuple[float, ...]:
        """Return the bar as `FIELDS` doubles, exactly."""
        return (float(self.start), self.open, self.high, self.low, self.close, self.volume, self.buys, self.sells)


class M5Builder:
    """M1 bars in, closed M5 bars out, oldest first.

    Attributes:
        last_m1_start: Start of the newest M1 bar taken, None before the first.
        closed_end: End of the newest M5 bar given out, None before the first.
        revisions: M1 bars that came twice, out of order or for a closed M5 bar, and were ignored.
    """

    __slots__ = ("closed_end", "forming", "last_m1_start", "revisions")

    def __init__(self) -> None:
        self.last_m1_start: Millis | None = None
        self.closed_end: int | None = None
        self.revisions = 0
        self.forming: deque[Forming] = deque()

    def add(self, bar: Bar) -> None:
        """Take a closed M1 bar.

        Raises:
            InvalidDataError: The bar does not start on a whole minute; drop it.
        """
        start = bar.start
        if start % M1_MS:
            msg = f"M1 bar starts at {start} ms, which is no whole minute UTC; drop it or correct the feed's clock"
            raise InvalidDataError(msg)
        late = self.last_m1_start is not None and start <= self.last_m1_start
        if late or (self.closed_end is not None and start < self.closed_end):
            self.revisions += 1
            return
        self.last_m1_start = start
        volume = math.nan if bar.volume is None else bar.volume
        buys = math.nan if bar.buy_volume is None else bar.buy_volume
        sells = math.nan if bar.sell_volume is None else bar.sell_volume
        newest = self.forming[-1] if self.forming else None
        if newest is None or start >= newest.start + M5_MS:
            begun = start - start % M5_MS
            self.forming.append(Forming(begun, bar.open, bar.high, bar.low, bar.close, volume, buys, sells))
            return
        newest.high = max(newest.high, bar.high)
        newest.low = min(newest.low, bar.low)
        newest.close = bar.close
        newest.volume += volume
        newest.buys += buys
        newest.sells += sells

    def close(self, now: Millis) -> Forming | None:
        """Return the oldest M5 bar that is closed by `now` and was not given out yet, None where there is none."""
        if not self.forming or self.forming[0].end + CLOSE_DELAY_MS > now:
            return None
        bar = self.forming.popleft()
        self.closed_end = bar.end
        return bar


class SessionClock:
    """Session and session day of a bar, looked up once an hour: both change on whole hours UTC only.

    A bar belongs to the session and day that its start lies in; no M5 bar straddles a border.
    """

    __slots__ = ("_day", "_hour", "_hours", "_session")

    def __init__(self, hours: MarketHours) -> None:
        self._hours = hours
        self._hour = -1
        self._day = 0.0
        self._session = 0.0

    def at(self, start: int) -> tuple[float, float]:
        """Return the start of the session day and the session's place in `params.SESSIONS`, as doubles."""
        hour = start // HOUR
        if hour != self._hour:
            at = Millis(hour * HOUR)
            self._day = float(self._hours.session_day_start(at))
            self._session = float(SESSIONS.index(self._hours.session(at)))
            self._hour = hour
        return self._day, self._session


def session_table(hours: MarketHours, first: Millis, last: Millis) -> tuple[Floats, Floats]:
    """Return session days and sessions of every hour from that of `first` to that of `last`, for a fold over a tape."""
    clock = SessionClock(hours)
    rows = [clock.at(hour * HOUR) for hour in range(first // HOUR, last // HOUR + 1)]
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])

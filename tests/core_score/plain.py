"""The score once more, slowly: lists, loops and the numbers of behaviour.md, sharing no code with the kernels.

Every comparison that can flip goes through `_Near`, which notes when it was decided by less than 1e-9: those are the
cases that the mirror law leaves out.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from dtms.domain.calendar import MarketHours
from dtms.domain.market import Bar
from dtms.domain.score import Session
from dtms.domain.units import Millis

Values = npt.NDArray[np.float64]
MINUTE = 60_000
BASES = {"XAUUSD": 0.001, "BTCUSD": 0.002, "EURUSD": 0.0005, "GBPUSD": 0.0005, "USDJPY": 0.0007}
SESSIONS = {"asian": 1.5, "london": 1.0, "new_york": 0.8, "overlap": 0.7, "late": 1.5, "weekend": 1.5}
VOLATILITIES = {"low": 1.4, "normal": 1.0, "high": 0.8}
WEIGHTS = (3.0, 2.0, 2.0, 1.5, 1.0, 1.0)
RANGE = (0.7, 1.3, 1.0, 0.8, 1.2, 1.1)
HIGH = (1.2, 0.9, 0.8, 1.0, 1.1, 0.9)


@dataclass
class Series:
    """Bars of one timeframe, as columns."""

    starts: list[int] = field(default_factory=list)
    opens: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)
    lows: list[float] = field(default_factory=list)
    closes: list[float] = field(default_factory=list)
    volumes: list[float | None] = field(default_factory=list)
    signed: list[float | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.starts)


def series_of(bars: Sequence[Bar], minutes: int) -> Series:
    out = Series()
    for bar in bars:
        start = bar.start - bar.start % (minutes * MINUTE)
        both = bar.buy_volume is not None and bar.sell_volume is not None
        signed = (bar.buy_volume or 0.0) - (bar.sell_volume or 0.0) if both else None
        if out.starts and out.starts[-1] == start:
            out.highs[-1] = max(out.highs[-1], bar.high)
            out.lows[-1] = min(out.lows[-1], bar.low)
            out.closes[-1] = bar.close
            out.volumes[-1] = _plus(out.volumes[-1], bar.volume)
            out.signed[-1] = _plus(out.signed[-1], signed)
            continue
        out.starts.append(start)
        out.opens.append(bar.open)
        out.highs.append(bar.high)
        out.lows.append(bar.low)
        out.closes.append(bar.close)
        out.volumes.append(bar.volume)
        out.signed.append(signed)
    return out


def _plus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


def ema(values: Sequence[float], period: int) -> list[float]:
    if len(values) < period:
        return [math.nan] * len(values)
    out = [math.nan] * (period - 1) + [sum(values[:period]) / period]
    for x in values[period:]:
        out.append(out[-1] + (x - out[-1]) * 2 / (period + 1))
    return out


def wilder(values: Sequence[float], period: int) -> list[float]:
    """Smooth values that begin at index 1; the first result is at index `period`."""
    if len(values) <= period:
        return [math.nan] * len(values)
    out = [math.nan] * period + [sum(values[1 : period + 1]) / period]
    for x in values[period + 1 :]:
        out.append((out[-1] * (period - 1) + x) / period)
    return out


def atr(s: Series, period: int = 14) -> list[float]:
    ranges = [math.nan]
    for high, low, before in zip(s.highs[1:], s.lows[1:], s.closes, strict=False):
        ranges.append(max(high - low, abs(high - before), abs(low - before)))
    return wilder(ranges[: len(s)], period)


def rsi(closes: Sequence[float], period: int = 14) -> list[float]:
    changes = [math.nan] + [b - a for a, b in pairwise(closes)]
    gains = wilder([max(x, 0.0) for x in changes], period)
    losses = wilder([max(-x, 0.0) for x in changes], period)
    return [100 * g / (g + b) if g + b > 0 else math.nan for g, b in zip(gains, losses, strict=True)]


def histogram(closes: Sequence[float]) -> list[float]:
    fast = [math.nan] * 14 + ema(closes[14:], 12)
    line = [a - b for a, b in zip(fast, ema(closes, 26), strict=False)]
    signal = [math.nan] * 25 + ema(line[25:], 9)
    return [a - b for a, b in zip(line, signal, strict=False)]


class Plain:
    """All indicator series of a tape, and the score of any of its M5 bars."""

    def __init__(self, bars: Sequence[Bar], hours: MarketHours, symbol: str) -> None:
        self.hours = hours
        self.base = BASES.get(symbol, 0.001)
        self.m5 = series_of(bars, 5)
        self.m15 = series_of(bars, 15)
        closes = self.m15.closes
        self.atr5 = atr(self.m5)
        self.atr15 = atr(self.m15)
        self.rsi = rsi(closes)
        self.histogram = histogram(closes)
        self.ema50 = ema(closes, 50)
        self.ema200 = ema(closes, 200)
        self.widths = [
            math.nan if i < 19 else 4 * statistics.pstdev(closes[i - 19 : i + 1]) for i in range(len(closes))
        ]
        self.limits = [
            math.nan if i < 118 else float(np.percentile(self.widths[max(19, i - 499) : i + 1], 30))
            for i in range(len(closes))
        ]
        self.vwaps = cache(self._vwap_at)
        self.typical = [sum(x) / 3 for x in zip(self.m5.highs, self.m5.lows, self.m5.closes, strict=True)]
        self.sessions = [hours.session(Millis(at)) for at in self.m5.starts]
        self.days = [hours.session_day_start(Millis(at)) for at in self.m5.starts]
        self.first_of_day = [0] * len(self.m5)
        for i in range(1, len(self.m5)):
            self.first_of_day[i] = self.first_of_day[i - 1] if self.days[i] == self.days[i - 1] else i
        self.near = False

    def score(self, t: int, side: int) -> tuple[list[float], float]:
        """Return the six raw values, NaN where unavailable, and the total of M5 bar `t`; `near` says how sure."""
        self.near = False
        m = self._m15_at(t)
        ranging, volatility = self._ranging(m, self.m5.closes[t]), self._volatility(m)
        raws = [
            self._structure(m, side, self.m5.closes[t]),
            self._vwap(t, side, volatility),
            self._momentum(m, side, volatility),
            self._ema(m, side),
            self._delta(t, side),
            self._candle(t, side),
        ]
        total = available = 0.0
        for i, raw in enumerate(raws):
            if math.isnan(raw):
                continue
            factor = (RANGE[i] if ranging else 1.0) * (HIGH[i] if volatility == "high" else 1.0)
            factor *= 0.8 if self.sessions[t] is Session.ASIAN else 1.0
            available += WEIGHTS[i]
            total += raw * WEIGHTS[i] * factor
        return raws, total if available >= 0.6 * sum(WEIGHTS) else math.nan

    def _less(self, a: float, b: float, scale: float = 1.0) -> bool:
        self.near = self.near or abs(a - b) <= 1e-9 * scale
        return a < b

    def _m15_at(self, t: int) -> int:
        """Return the newest M15 bar that ended by the end of M5 bar `t`, -1 for none."""
        return bisect_right(self.m15.starts, self.m5.starts[t] - 10 * MINUTE) - 1

    def _volatility(self, m: int) -> str:
        if m < 34:
            return "normal"
        mean = sum(self.atr15[m - 20 : m]) / 20
        if self._less(self.atr15[m], 0.7 * mean, mean):
            return "low"
        return "high" if self._less(1.3 * mean, self.atr15[m], mean) else "normal"

    def _ranging(self, m: int, close: float) -> bool:
        if m < 19:
            return False
        limit = 0.004 * close if m < 118 else self.limits[m]
        return self._less(self.widths[m], limit, close)

    def _threshold(self, t: int, close: float) -> float:
        m = self._m15_at(t)
        factor = SESSIONS[self.sessions[t].value] * VOLATILITIES[self._volatility(m)]
        factor *= 1.3 if self._ranging(m, close) else 1.0
        return self.base * min(max(factor, 0.5), 1.8)

    def _structure(self, m: int, side: int, close: float) -> float:
        if m < 19:
            return math.nan
        for age in range(min(8, m - 18)):
            e = m - age
            against, kind = self._event(e, -side, close)
            if kind == "character":
                return -1.0 * (1 - age / 8)
            if against and kind != "spent":
                return -2 / 3 * (1 - age / 8)
            if self._event(e, side, close)[0]:
                return 1.0 * (1 - age / 8)
        return 0.0

    def _event(self, e: int, direction: int, close: float) -> tuple[bool, str]:
        """Say whether M15 bar `e` breaks the last swing in a direction, and whether it changes the character."""
        x = [direction * v for v in (self.m15.highs if direction > 0 else self.m15.lows)]
        c = [direction * v for v in self.m15.closes]
        found = [
            i
            for i in range(max(2, e - 60), e - 2)
            if all(x[i] >= x[j] for j in (i - 1, i - 2)) and all(x[i] > x[j] for j in (i + 1, i + 2))
        ]
        if not found or found[-1] < e - 17:
            return False, ""
        last = found[-1]
        level = x[last] + 0.0003 * close
        before = any(self._less(level, c[j], close) for j in range(last + 3, e))

        def changes(j: int) -> bool:
            falling = len(found) > 1 and found[-2] >= j - 17 and x[found[-2]] > x[last]
            return falling and self._less(x[last] + 0.25 * self.atr15[j], c[j], close)

        spent = any(changes(j) for j in range(last + 3, e))
        character = "spent" if spent else "character" if changes(e) and not before else ""
        return self._less(level, c[e], close) and not before, character

    def _vwap(self, t: int, side: int, volatility: str) -> float:
        if t - self.first_of_day[t] < 6:
            return math.nan
        raw = -2 / 3 if self._flip(t, -side) else 1 / 3 if self._flip(t, side) else 0.0
        share = self._share(t, -side)
        if share is None:
            return raw
        if self._less(0.72 if volatility == "low" else 0.65, share):
            return raw - 1 / 3
        if self._less(0.55, share):
            return raw - 1 / 6
        return raw + 1 / 3 if self._less(share, 0.35) else raw

    def _vwap_at(self, t: int) -> float:
        first = self.first_of_day[t]
        if t - first < 6:
            return math.nan
        weights = self.m5.volumes[first : t + 1]
        typical = self.typical[first : t + 1]
        total = 0.0 if None in weights else sum(w for w in weights if w is not None)
        if total <= 0:
            return sum(typical) / len(typical)
        return sum(x * w for x, w in zip(typical, weights, strict=True) if w is not None) / total

    def _beyond(self, t: int, direction: int, scale: float) -> bool:
        away = direction * (self.m5.closes[t] - self.vwaps(t))
        return self._less(0.0, away, scale)

    def _flip(self, t: int, direction: int) -> bool:
        """Run the flip's latch from the day's first bar to `t`, every threshold a share of the close of `t`."""
        close = self.m5.closes[t]
        holds = False
        for i in range(self.first_of_day[t] + 6, t + 1):
            limit = self._threshold(i, close) * close
            impulse = direction * (self.typical[i] - self.typical[i - 3])
            here = self._beyond(i, direction, close)
            if not here or self._less(abs(impulse), 0.7 * limit, close):
                holds = False
            two = here and self._beyond(i - 1, direction, close)
            if two and self.m5.starts[i] - self.m5.starts[i - 1] <= 10 * MINUTE and self._less(limit, impulse, close):
                holds = True
        return holds

    def _share(self, t: int, direction: int) -> float | None:
        mine = total = 0.0
        for i in range(max(self.first_of_day[t], t - 11), t + 1):
            volume = self.m5.volumes[i]
            if volume is None:
                return None
            total += volume
            move = direction * (self.m5.closes[i] - self.m5.opens[i])
            mine += volume if move > 0 else 0.5 * volume if move == 0 else 0.0
        return mine / total if total > 0 else None

    def _momentum(self, m: int, side: int, volatility: str) -> float:
        parts = []
        if m >= 16 and not math.isnan(self.rsi[m]) and not math.isnan(self.rsi[m - 2]):
            now, then = (v if side > 0 else 100 - v for v in (self.rsi[m], self.rsi[m - 2]))
            up, down = self._less(then, now), self._less(now, then)
            if self._less(now, 40 if volatility == "low" else 45) and down:
                parts.append(-2 / 3)
            elif self._less(70, now) and up:
                parts.append(-1 / 3)
            else:
                parts.append(1 / 3 if self._less(50, now) and up else 0.0)
        if m >= 35:
            a, b, c = (side * v for v in self.histogram[m - 2 : m + 1])
            scale = self.m15.closes[m]
            rises = self._less(a, b, scale) and self._less(b, c, scale)
            falls = self._less(b, a, scale) and self._less(c, b, scale)
            parts.append(1 / 3 if rises else -1 / 3 if falls else 0.0)
        return sum(parts) if parts else math.nan

    def _ema(self, m: int, side: int) -> float:
        if m < 209:
            return math.nan
        scale = self.m15.closes[m]

        def slope(values: Sequence[float], flat: float) -> int:
            change = side * (values[m] - values[m - 10])
            flat *= self.atr15[m]
            return 1 if self._less(flat, change, scale) else -1 if self._less(change, -flat, scale) else 0

        fast, slow = slope(self.ema50, 0.15), slope(self.ema200, 0.05)
        if fast > 0 and slow > 0:
            return 2 / 3
        return 0.0 if fast >= 0 else -1.0 if slow < 0 else -2 / 3

    def _delta(self, t: int, side: int) -> float:
        now = self.m5.signed[t]
        past = [x for x in self.m5.signed[:t] if x is not None][-120:]
        if now is None or len(past) < 30 or statistics.pstdev(past) == 0:
            return math.nan
        z = side * (now - statistics.fmean(past)) / statistics.pstdev(past)
        return 1.0 if self._less(0.5, z) else -1.0 if self._less(z, -0.5) else 0.0

    def _candle(self, t: int, side: int) -> float:
        if t < 14:
            return math.nan
        s = self.m5
        body, span = side * (s.closes[t] - s.opens[t]), s.highs[t] - s.lows[t]
        scale = s.closes[t]
        if self._less(abs(body), 0.65 * span, scale) or self._less(span, 0.8 * self.atr5[t], scale) or body == 0:
            return 0.0
        vwap = self.vwaps(t)
        direction = 1 if body > 0 else -1
        opened = side * direction * (s.opens[t] - vwap)
        through = not self._less(0.0, opened, scale) and self._beyond(t, side * direction, scale)
        if math.isnan(vwap):
            through = False
        if body < 0:
            return -1.0 if through else -0.5
        return 0.5 if through else 0.25

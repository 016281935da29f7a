"""Kernels for the regime on M15: volatility, range or trend, and the adaptive impulse threshold.

Range or trend can hang on the evaluated M5 close while few band widths are known; so the state keeps width and code,
and `is_range` decides for a close.
"""

from __future__ import annotations

import math

from dtms.core._jit import Floats, kernel
from dtms.core.indicators import ring_deviation, ring_mean, step_atr, step_ema
from dtms.core.layout import ATR_RING, BAR_RING, S15
from dtms.core.params import HIGH, LOW, NORMAL, RANGE, TREND, P
from dtms.core.windows import percentile, push_ranked


@kernel("void(f8[::1], f8[::1], f8)")
def step_volatility(s: Floats, p: Floats, atr: float) -> None:
    """Rank the newest ATR against the mean of the values before it; Normal while there are too few."""
    bar = int(s[S15.COUNT]) - 1
    mask = ATR_RING - 1
    s[S15.ATRS + (bar & mask)] = atr
    s[S15.VOLATILITY] = NORMAL
    n = int(p[P.ATR_MEAN_BARS])
    if bar < int(p[P.ATR_BARS]) + n:
        return
    mean = ring_mean(s, S15.ATRS, mask, bar, n)
    if atr < p[P.LOW_RATIO] * mean:
        s[S15.VOLATILITY] = LOW
    elif atr > p[P.HIGH_RATIO] * mean:
        s[S15.VOLATILITY] = HIGH


@kernel("void(f8[::1], f8[::1], f8, f8, f8)")
def step_bands(s: Floats, p: Floats, high: float, low: float, close: float) -> None:
    """Measure the Bollinger bands with the newest close, already in its ring: their width's rank, and the squeeze.

    A squeeze is both bands inside the Keltner channel: an EMA of closes plus and minus a multiple of Wilder's ATR, all
    of one period.
    """
    period = int(p[P.SQUEEZE_BARS])
    middle = step_ema(s, S15.KELTNER_EMA, period, close)
    reach = p[P.SQUEEZE_ATR] * step_atr(s, S15.KELTNER_ATR, period, high, low, close)
    count = int(s[S15.COUNT])
    n = int(p[P.BOLLINGER_BARS])
    if count < n:
        return
    mask = BAR_RING - 1
    mean = ring_mean(s, S15.CLOSES, mask, count, n)
    half = p[P.BOLLINGER_DEVIATIONS] * ring_deviation(s, S15.CLOSES, mask, count, n, mean)
    if not math.isnan(middle) and not math.isnan(reach):
        inside = mean + half < middle + reach and mean - half > middle - reach
        s[S15.SQUEEZE] = 1.0 if inside else 0.0
    width = 2.0 * half
    capacity = int(p[P.WIDTH_BARS])
    known = push_ranked(s, S15.WIDTHS, capacity, width)
    if known < int(p[P.WIDTH_BARS_MIN]):
        s[S15.WIDTH] = width
        return
    s[S15.WIDTH] = math.inf
    limit = percentile(s, S15.WIDTHS, capacity, known, p[P.WIDTH_PERCENTILE])
    s[S15.RANGING] = RANGE if width < limit else TREND


@kernel("b1(f8[::1], f8[::1], f8)")
def is_range(s: Floats, p: Floats, close: float) -> bool:
    """Say whether the symbol is in a range: by rank, or while that is unknown by the width's share of the close."""
    return bool(s[S15.RANGING] == RANGE or s[S15.WIDTH] < p[P.WIDTH_FRACTION] * close)


@kernel("f8(f8[::1], f8, f8, i8)")
def impulse_threshold(p: Floats, session: float, volatility: float, ranging: int) -> float:
    """Return the adaptive impulse threshold, a fraction of price."""
    base = p[P.BASE]
    threshold = base * p[P.SESSION + int(session)] * p[P.VOLATILITY + int(volatility)] * p[P.STRUCTURE + ranging]
    return float(min(max(threshold, p[P.CLAMP_LOW] * base), p[P.CLAMP_HIGH] * base))

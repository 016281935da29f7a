"""Kernels for ATR, RSI, EMA, MACD and Bollinger bands, one bar at a time, with TA-Lib's seeding.

Each keeps its few numbers in a block of the state array and returns NaN until it is seeded. Bands use the two-pass
variance: a running sum of squares is wrong by up to 4e-5.

Source:
    TA-Lib 0.6, ta_ATR.c, ta_RSI.c, ta_EMA.c, ta_MACD.c, ta_BBANDS.c; Wilder, New Concepts in Technical Trading Systems
    (1978) for ATR and RSI.
"""

from __future__ import annotations

import math
from typing import Final

from dtms.core._jit import Floats, kernel

RSI_FLAT: Final = 1e-14
"""A mean gain and mean loss that together are below this count as both 0: TA-Lib's own epsilon."""


@kernel("f8(f8[::1], i8, i8, f8)")
def step_ema(s: Floats, at: int, period: int, x: float) -> float:
    """Advance an EMA; the mean of the first `period` values seeds it. Block: count, sum, value."""
    n = s[at] + 1.0
    s[at] = n
    if n < period:
        s[at + 1] += x
        return math.nan
    value = (s[at + 1] + x) / period if n == period else (x - s[at + 2]) * (2.0 / (period + 1.0)) + s[at + 2]
    s[at + 2] = value
    return float(value)


@kernel("f8(f8[::1], i8, i8, f8, f8, f8)")
def step_atr(s: Floats, at: int, period: int, high: float, low: float, close: float) -> float:
    """Advance Wilder's ATR; the first bar has no true range. Block: count, previous close, sum, value."""
    n = s[at]
    s[at] = n + 1.0
    previous = s[at + 1]
    s[at + 1] = close
    if n == 0.0:
        return math.nan
    true_range = high - low
    true_range = max(true_range, abs(high - previous), abs(low - previous))
    if n < period:
        s[at + 2] += true_range
        return math.nan
    summed = s[at + 2] if n == period else s[at + 3] * (period - 1.0)
    value = (summed + true_range) / period
    s[at + 3] = value
    return float(value)


@kernel("f8(f8[::1], i8, i8, f8)")
def step_rsi(s: Floats, at: int, period: int, close: float) -> float:
    """Advance Wilder's RSI; NaN also where there was no movement at all. Block: count, previous close, gain, loss."""
    n = s[at]
    s[at] = n + 1.0
    change = close - s[at + 1]
    s[at + 1] = close
    if n == 0.0:
        return math.nan
    gain = max(change, 0.0)
    loss = max(-change, 0.0)
    if n <= period:
        s[at + 2] += gain
        s[at + 3] += loss
        if n < period:
            return math.nan
    else:
        s[at + 2] = s[at + 2] * (period - 1.0) + gain
        s[at + 3] = s[at + 3] * (period - 1.0) + loss
    s[at + 2] /= period
    s[at + 3] /= period
    both = s[at + 2] + s[at + 3]
    if both < RSI_FLAT:
        return math.nan
    return float(100.0 * (s[at + 2] / both))


@kernel("f8(f8[::1], i8, i8, i8, i8, f8)")
def step_macd(s: Floats, at: int, fast: int, slow: int, signal: int, close: float) -> float:
    """Advance MACD and return its histogram. Block: count, then the fast, the slow and the signal EMA.

    The fast EMA begins late, so that fast and slow are seeded on the same bar.
    """
    n = s[at] + 1.0
    s[at] = n
    slow_value = step_ema(s, at + 4, slow, close)
    if n <= slow - fast:
        return math.nan
    fast_value = step_ema(s, at + 1, fast, close)
    if n < slow:
        return math.nan
    line = fast_value - slow_value
    signal_value = step_ema(s, at + 7, signal, line)
    return line - signal_value


@kernel("f8(f8[::1], i8, i8, i8, i8)")
def ring_mean(s: Floats, at: int, mask: int, end: int, n: int) -> float:
    """Return the mean of the `n` values of a ring before index `end`."""
    total = 0.0
    for i in range(end - n, end):
        total += s[at + (i & mask)]
    return total / n


@kernel("f8(f8[::1], i8, i8, i8, i8, f8)")
def ring_deviation(s: Floats, at: int, mask: int, end: int, n: int, mean: float) -> float:
    """Return the population standard deviation of the `n` values of a ring before index `end`, around their mean."""
    total = 0.0
    for i in range(end - n, end):
        away = s[at + (i & mask)] - mean
        total += away * away
    return math.sqrt(total / n)

"""Kernels for the layers that hang on M15 bars alone: momentum and EMA alignment, worked out once an M15 bar.

Every function returns NaN where its layer is unavailable and puts the branches that fired into the state at `bits`,
numbered as in `layout.BRANCHES`. `side` is +1 for a BUY and -1 for a SELL.
"""

from __future__ import annotations

import math

from dtms.core._jit import Floats, kernel
from dtms.core.layout import BAR_RING, S15, SHORT_RING, Reading
from dtms.core.params import LOW, P


@kernel("f8(f8[::1], f8[::1], f8, i8)")
def _rsi_part(s: Floats, p: Floats, side: float, bits: int) -> float:
    """Return the first RSI rule that matches, a SELL's on 100 - RSI; NaN where RSI is unavailable now or then."""
    newest = int(s[S15.COUNT]) - 1
    mask = SHORT_RING - 1
    lag = int(p[P.RSI_LAG])
    if newest < int(p[P.RSI_BARS]) + lag:
        return math.nan
    now = s[S15.RSIS + (newest & mask)]
    then = s[S15.RSIS + ((newest - lag) & mask)]
    if math.isnan(now) or math.isnan(then):
        return math.nan
    level = now if side > 0.0 else 100.0 - now
    rise = side * (now - then)
    weak = p[P.RSI_WEAK_LOW_VOLATILITY] if s[S15.VOLATILITY] == LOW else p[P.RSI_WEAK]
    if level < weak and rise < 0.0:
        s[bits] += 1.0
        return float(p[P.RSI_WEAK_RAW])
    if level > p[P.RSI_STRETCHED] and rise > 0.0:
        s[bits] += 2.0
        return float(p[P.RSI_STRETCHED_RAW])
    if level > p[P.RSI_SUPPORT] and rise > 0.0:
        s[bits] += 4.0
        return float(p[P.RSI_SUPPORT_RAW])
    return 0.0


@kernel("f8(f8[::1], f8[::1], f8, i8)")
def _macd_part(s: Floats, p: Floats, side: float, bits: int) -> float:
    """Return whether the MACD histogram rose or fell on every one of the last bars; NaN where they are not all known."""
    newest = int(s[S15.COUNT]) - 1
    mask = SHORT_RING - 1
    bars = int(p[P.MACD_BARS])
    first = int(p[P.MACD_SLOW]) + int(p[P.MACD_SIGNAL]) - 2
    if newest < first + bars - 1:
        return math.nan
    rising = True
    falling = True
    for age in range(bars - 1):
        step = side * (s[S15.HISTOGRAMS + ((newest - age) & mask)] - s[S15.HISTOGRAMS + ((newest - age - 1) & mask)])
        rising = rising and step > 0.0
        falling = falling and step < 0.0
    if rising:
        s[bits] += 8.0
        return float(p[P.MACD_RAW])
    if falling:
        s[bits] += 16.0
        return float(-p[P.MACD_RAW])
    return 0.0


@kernel("f8(f8[::1], f8[::1], f8, i8)")
def momentum_raw(s: Floats, p: Floats, side: float, bits: int) -> float:
    """Return the momentum layer: RSI and MACD, or the one of them that is available."""
    s[bits] = 0.0
    rsi = _rsi_part(s, p, side, bits)
    macd = _macd_part(s, p, side, bits)
    if math.isnan(rsi):
        return macd
    if math.isnan(macd):
        return rsi
    return rsi + macd


@kernel("f8(f8[::1], i8, i8, i8)")
def ema_slope(s: Floats, ring: int, period: int, bars: int) -> float:
    """Return the change of an M15 EMA over the last `bars` bars, in price units; NaN where it is not that old."""
    newest = int(s[S15.COUNT]) - 1
    if newest < period - 1 + bars:
        return math.nan
    mask = BAR_RING - 1
    return float(s[ring + (newest & mask)] - s[ring + ((newest - bars) & mask)])


@kernel("f8(f8[::1], f8[::1], f8, i8)")
def ema_raw(s: Floats, p: Floats, side: float, bits: int) -> float:
    """Return the EMA alignment layer from the slopes in the state."""
    s[bits] = 0.0
    atr = s[S15.ATR_NOW]
    fast = side * s[S15.FAST_SLOPE]
    slow = side * s[S15.SLOW_SLOPE]
    if math.isnan(fast) or math.isnan(slow) or math.isnan(atr):
        return math.nan
    fast_flat = p[P.EMA_FAST_FLAT_ATR] * atr
    slow_flat = p[P.EMA_SLOW_FLAT_ATR] * atr
    if fast > fast_flat and slow > slow_flat:
        s[bits] = 1.0
        return float(p[P.EMA_BOTH_WITH])
    if fast < -fast_flat and slow < -slow_flat:
        s[bits] = 4.0
        return float(p[P.EMA_BOTH_AGAINST])
    if fast < -fast_flat:
        s[bits] = 2.0
        return float(p[P.EMA_FAST_AGAINST])
    return 0.0


@kernel("void(f8[::1], f8[::1])")
def step_trend(s: Floats, p: Floats) -> None:
    """Work out both layers for both sides, after the newest M15 bar's indicators are in their rings."""
    bars = int(p[P.EMA_SLOPE_BARS])
    s[S15.FAST_SLOPE] = ema_slope(s, S15.FASTS, int(p[P.EMA_FAST]), bars)
    s[S15.SLOW_SLOPE] = ema_slope(s, S15.SLOWS, int(p[P.EMA_SLOW]), bars)
    momentum = S15.MOMENTUM
    s[momentum + Reading.BUY] = momentum_raw(s, p, 1.0, momentum + Reading.BUY_BITS)
    s[momentum + Reading.SELL] = momentum_raw(s, p, -1.0, momentum + Reading.SELL_BITS)
    ema = S15.EMA
    s[ema + Reading.BUY] = ema_raw(s, p, 1.0, ema + Reading.BUY_BITS)
    s[ema + Reading.SELL] = ema_raw(s, p, -1.0, ema + Reading.SELL_BITS)

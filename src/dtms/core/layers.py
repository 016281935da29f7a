"""Kernels for the layers that are worked out on every M5 bar: vwap and volume, delta, candle.

Every function returns NaN where its layer is unavailable and puts the branches that fired into `out[bits]`, numbered as
in `layout.BRANCHES`. `side` is +1 for a BUY and -1 for a SELL, and enters only as a factor of differences that change
their sign when the market is reflected: that is what makes the mirror law hold.
"""

from __future__ import annotations

import math

from dtms.core._jit import Floats, kernel
from dtms.core.layout import BAR_RING, DAY_RING, S5, SIGNED_RING, Block, Flip
from dtms.core.params import LOW, P


@kernel("b1(f8[::1], f8[::1], f8, f8)")
def flip_holds(s: Floats, p: Floats, direction: float, close: float) -> bool:
    """Say whether the flip in a direction of price holds on the newest M5 bar.

    It begins on a bar with an impulse beyond the threshold and two closes running on that side of VWAP, and ends on a
    bar back on the other side, or with an impulse below the release share. Each bar is held against the threshold of its
    own regime, as a share of the *evaluated* close; so the state is found by looking back to whichever came last.
    """
    newest = int(s[S5.COUNT]) - 1
    for age in range(min(int(s[S5.DAY_BARS]), DAY_RING)):
        bar = S5.FLIPS + Flip.SIZE * ((newest - age) % DAY_RING)
        if s[bar + Flip.SIDE] * direction <= 0.0:
            return False
        threshold = s[bar + Flip.IF_TREND]
        if s[bar + Flip.WIDTH] < p[P.WIDTH_FRACTION] * close:
            threshold = s[bar + Flip.IF_RANGE]
        threshold *= close
        impulse = direction * s[bar + Flip.IMPULSE]
        if abs(impulse) < p[P.VWAP_RELEASE] * threshold:
            return False
        if impulse > threshold and s[bar + Flip.RUNNING] > 0.0:
            return True
    return False


@kernel("f8(f8[::1], f8[::1])")
def sellers_share(s: Floats, p: Floats) -> float:
    """Return the share of volume that went to sellers over the last bars of the session day; NaN without volumes."""
    newest = int(s[S5.COUNT]) - 1
    ups = 0.0
    downs = 0.0
    for age in range(min(int(s[S5.DAY_BARS]), int(p[P.VWAP_SHARE_BARS]))):
        at = (newest - age) & (BAR_RING - 1)
        ups += s[S5.UPS + at]
        downs += s[S5.DOWNS + at]
    both = ups + downs
    # A bar without volume has put NaN into the sums, and no comparison with it holds.
    if both > 0.0:
        return downs / both
    return math.nan


@kernel("f8(f8[::1], f8[::1], f8, f8, f8[::1], i8)")
def vwap_raw(s: Floats, p: Floats, volatility: float, side: float, out: Floats, block: int) -> float:
    """Return the vwap and volume layer from what `step_flow` found; `FLIP_AGAINST` and `SHARE_HIGH` are set, too."""
    bits = block + Block.BITS + 1
    out[bits] = 0.0
    out[block + Block.FLIP_AGAINST] = 0.0
    out[block + Block.SHARE_HIGH] = math.nan
    if math.isnan(s[S5.VWAP]):
        return math.nan
    found = 0.0 if s[S5.WEIGHTED] > 0.0 else 32.0
    raw = 0.0
    if s[S5.FLIP_DOWN if side > 0.0 else S5.FLIP_UP] > 0.0:
        raw += p[P.VWAP_FLIP_AGAINST]
        found += 1.0
        out[block + Block.FLIP_AGAINST] = 1.0
    elif s[S5.FLIP_UP if side > 0.0 else S5.FLIP_DOWN] > 0.0:
        raw += p[P.VWAP_FLIP_WITH]
        found += 2.0
    share = s[S5.SELLERS_SHARE]
    if not math.isnan(share):
        opposite = share if side > 0.0 else 1.0 - share
        high = p[P.VWAP_SHARE_HIGH_LOW_VOLATILITY] if volatility == LOW else p[P.VWAP_SHARE_HIGH]
        out[block + Block.SHARE_HIGH] = 1.0 if opposite > high else 0.0
        if opposite > high:
            raw += p[P.VWAP_SHARE_HIGH_RAW]
            found += 4.0
        elif opposite > p[P.VWAP_SHARE_MID]:
            raw += p[P.VWAP_SHARE_MID_RAW]
            found += 8.0
        elif opposite < p[P.VWAP_SHARE_LOW]:
            raw += p[P.VWAP_SHARE_LOW_RAW]
            found += 16.0
    out[bits] = found
    return raw


@kernel("f8(f8[::1], f8[::1], f8)")
def step_delta(s: Floats, p: Floats, signed: float) -> float:
    """Rank the newest signed volume against the windows before it, then keep it; NaN where there is no z-score.

    A window without the trade side has none and is not kept.
    """
    if math.isnan(signed):
        return math.nan
    added = int(s[S5.SIGNED_COUNT])
    n = min(added, int(p[P.DELTA_BARS]))
    mask = SIGNED_RING - 1
    z = math.nan
    if n >= int(p[P.DELTA_BARS_MIN]):
        total = 0.0
        for i in range(added - n, added):
            total += s[S5.SIGNED + (i & mask)]
        mean = total / n
        total = 0.0
        for i in range(added - n, added):
            away = s[S5.SIGNED + (i & mask)] - mean
            total += away * away
        if total > 0.0:
            z = (signed - mean) / math.sqrt(total / n)
    s[S5.SIGNED + (added & mask)] = signed
    s[S5.SIGNED_COUNT] = added + 1
    return z


@kernel("void(f8[::1], f8[::1], f8, f8)")
def step_flow(s: Floats, p: Floats, close: float, signed: float) -> None:
    """Work out what both sides read of the newest M5 bar: flips, volume share, z-score of its signed volume."""
    s[S5.FLIP_UP] = 1.0 if flip_holds(s, p, 1.0, close) else 0.0
    s[S5.FLIP_DOWN] = 1.0 if flip_holds(s, p, -1.0, close) else 0.0
    s[S5.SELLERS_SHARE] = sellers_share(s, p)
    s[S5.SIGNED_Z] = step_delta(s, p, signed)


@kernel("f8(f8[::1], f8, f8[::1], i8)")
def delta_raw(p: Floats, z: float, out: Floats, bits: int) -> float:
    """Return the delta pressure layer from the z-score times side."""
    out[bits] = 0.0
    if math.isnan(z):
        return math.nan
    if z > p[P.DELTA_Z]:
        out[bits] = 1.0
        return float(p[P.DELTA_WITH])
    if z < -p[P.DELTA_Z]:
        out[bits] = 2.0
        return float(p[P.DELTA_AGAINST])
    return 0.0


@kernel("f8(f8[::1], f8, f8, f8, f8, f8, f8[::1], i8)")
def candle_raw(
    p: Floats, body: float, span: float, open_side: float, close_side: float, atr: float, out: Floats, bits: int
) -> float:
    """Return the candle conviction layer.

    A candle closes through VWAP when its open was on the other side of it, or on it. `body`, `open_side` and
    `close_side` are close - open, open - VWAP and close - VWAP, times side; `span` is high - low; all in price units. Without
    VWAP no candle closes through it.
    """
    out[bits] = 0.0
    if math.isnan(atr):
        return math.nan
    if abs(body) < p[P.CANDLE_BODY] * span or span < p[P.CANDLE_RANGE_ATR] * atr or body == 0.0:
        return 0.0
    if body < 0.0:
        if open_side >= 0.0 and close_side < 0.0:
            out[bits] = 1.0
            return float(p[P.CANDLE_AGAINST_VWAP])
        out[bits] = 2.0
        return float(p[P.CANDLE_AGAINST])
    if open_side <= 0.0 and close_side > 0.0:
        out[bits] = 8.0
        return float(p[P.CANDLE_WITH_VWAP])
    out[bits] = 4.0
    return float(p[P.CANDLE_WITH])

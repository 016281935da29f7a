"""Kernels for market structure on M15: swings, breaks and changes of character.

A swing is a bar whose high is above the highs of the two bars on either side; of equal prices the later one counts, so
towards the left "at least" is enough. It counts from the bar after its confirmation on, as long as it and its two
left neighbours lie in the window that ends with the evaluated bar. Only the last swing of a direction can break, and
once: a change of character is the same break, further, after two swings that ran the other way.

Whether a close is beyond a swing by a share of price depends on the *evaluated* M5 close, not on the bar's own (only
so does a reflected market score alike). So nothing is decided when the bar is stepped: `step_swings` keeps how far
each of the last bars was beyond the last swing, and `structure_raw` reads it for the evaluated close.

Lows are highs of the negated market: every kernel here works on price x direction.
"""

from __future__ import annotations

import math
from typing import Final

from dtms.core._jit import Floats, kernel
from dtms.core.layout import (
    BAR_RING,
    BREAK_DOWN,
    BREAK_UP,
    CHARACTER_DOWN,
    CHARACTER_UP,
    EVENT_RING,
    S15,
    Beyond,
    Event,
    Swings,
)
from dtms.core.params import P

_WINGS: Final = 2
"""A swing is compared with so many bars on either side."""


@kernel("b1(f8[::1], i8, i8, f8)")
def _is_swing(s: Floats, ring: int, i: int, direction: float) -> bool:
    """Say whether bar `i` is beyond its two neighbours on either side."""
    mask = BAR_RING - 1
    x = direction * s[ring + (i & mask)]
    left = x >= direction * s[ring + ((i - 1) & mask)] and x >= direction * s[ring + ((i - 2) & mask)]
    return bool(left and x > direction * s[ring + ((i + 1) & mask)] and x > direction * s[ring + ((i + 2) & mask)])


@kernel("void(f8[::1], f8[::1], i8, i8, i8, f8, f8, f8)")
def step_swings(
    s: Floats, p: Floats, swings: int, ring: int, beyond: int, direction: float, close: float, atr: float
) -> None:
    """Take the newest M15 bar, whose extreme is already in `ring`, and note how far it is beyond the last swing.

    `swings`, `ring` and `beyond` are where the direction's `Swings`, the ring of its extremes and the bar's `Beyond` are;
    `atr` is ATR(M15) with this bar, NaN where there is none yet.
    """
    bar = int(s[S15.COUNT]) - 1
    oldest = max(bar - int(p[P.STRUCTURE_BARS]) + 1 + _WINGS, 0)
    candidate = bar - _WINGS - 1
    if candidate >= _WINGS and _is_swing(s, ring, candidate, direction):
        s[swings + Swings.EARLIER_INDEX] = s[swings + Swings.LATER_INDEX]
        s[swings + Swings.EARLIER] = s[swings + Swings.LATER]
        s[swings + Swings.LATER_INDEX] = candidate
        s[swings + Swings.LATER] = direction * s[ring + (candidate & (BAR_RING - 1))]
        s[swings + Swings.BEST_CLOSE] = -math.inf
        s[swings + Swings.CHANGED] = 0.0
    s[beyond + Beyond.BY] = -math.inf
    s[beyond + Beyond.BEFORE] = -math.inf
    s[beyond + Beyond.CHANGES] = 0.0
    s[beyond + Beyond.SPENT] = s[swings + Swings.CHANGED]
    if s[swings + Swings.LATER_INDEX] < oldest:
        return
    here = direction * close
    later = s[swings + Swings.LATER]
    by = here - later
    s[beyond + Beyond.BY] = by
    s[beyond + Beyond.BEFORE] = s[swings + Swings.BEST_CLOSE] - later
    retreats = s[swings + Swings.EARLIER_INDEX] >= oldest and s[swings + Swings.EARLIER] > later
    if retreats and s[swings + Swings.CHANGED] == 0.0 and by > p[P.STRUCTURE_CHARACTER_ATR] * atr:
        s[beyond + Beyond.CHANGES] = 1.0
        s[swings + Swings.CHANGED] = 1.0
    s[swings + Swings.BEST_CLOSE] = max(s[swings + Swings.BEST_CLOSE], here)


@kernel("void(f8[::1], f8[::1], f8, f8)")
def step_structure(s: Floats, p: Floats, close: float, atr: float) -> None:
    """Take the newest M15 bar, whose high and low are already in their rings; keep an event where it may be one."""
    count = int(s[S15.EVENT_COUNT])
    event = S15.EVENTS + Event.SIZE * (count & (EVENT_RING - 1))
    up = event + Event.UP
    down = event + Event.DOWN
    s[event] = s[S15.COUNT] - 1.0
    step_swings(s, p, S15.SWINGS_UP, S15.HIGHS, up, 1.0, close, atr)
    step_swings(s, p, S15.SWINGS_DOWN, S15.LOWS, down, -1.0, close, atr)
    if s[S15.COUNT] >= p[P.STRUCTURE_BARS] and (s[up + Beyond.BY] > 0.0 or s[down + Beyond.BY] > 0.0):
        s[S15.EVENT_COUNT] = count + 1


@kernel("b1(f8[::1], i8, f8)")
def _breaks(s: Floats, beyond: int, distance: float) -> bool:
    """Say whether the bar was the first to close beyond its swing by `distance`."""
    return bool(s[beyond + Beyond.BY] > distance and s[beyond + Beyond.BEFORE] <= distance)


@kernel("b1(f8[::1], i8, f8)")
def _changes(s: Floats, beyond: int, distance: float) -> bool:
    """Say whether the bar changed the character by a swing that nothing had broken before."""
    return bool(s[beyond + Beyond.CHANGES] > 0.0 and s[beyond + Beyond.BEFORE] <= distance)


@kernel("f8(f8[::1], f8[::1], f8, f8, f8[::1], i8)")
def structure_raw(s: Floats, p: Floats, side: float, close: float, out: Floats, bits: int) -> float:
    """Return the structure layer's raw value for one side, NaN below `structure_bars` bars; branches go to `out[bits]`.

    The newest event decides, faded by its age in M15 bars. On one bar what speaks against the trade comes first.
    """
    out[bits] = 0.0
    if s[S15.COUNT] < p[P.STRUCTURE_BARS]:
        return math.nan
    distance = p[P.STRUCTURE_BREAK] * close
    fade = p[P.STRUCTURE_FADE_BARS]
    newest = s[S15.COUNT] - 1.0
    count = int(s[S15.EVENT_COUNT])
    for back in range(1, min(count, EVENT_RING) + 1):
        event = S15.EVENTS + Event.SIZE * ((count - back) & (EVENT_RING - 1))
        age = newest - s[event]
        if age >= fade:
            return 0.0
        fresh = 1.0 - age / fade
        against = event + Event.DOWN if side > 0.0 else event + Event.UP
        if _changes(s, against, distance):
            out[bits] = 4.0
            return float(p[P.STRUCTURE_CHARACTER] * fresh)
        if s[against + Beyond.SPENT] == 0.0 and _breaks(s, against, distance):
            out[bits] = 2.0
            return float(p[P.STRUCTURE_AGAINST] * fresh)
        if _breaks(s, event + Event.UP if side > 0.0 else event + Event.DOWN, distance):
            out[bits] = 1.0
            return float(p[P.STRUCTURE_WITH] * fresh)
    return 0.0


@kernel("i8(f8[::1], f8[::1], f8)")
def structure_events(s: Floats, p: Floats, close: float) -> int:
    """Return what the newest M15 bar did, as the sum of `BREAK_UP` and its like."""
    count = int(s[S15.EVENT_COUNT])
    event = S15.EVENTS + Event.SIZE * ((count - 1) & (EVENT_RING - 1))
    if count == 0 or s[event] != s[S15.COUNT] - 1.0:
        return 0
    distance = p[P.STRUCTURE_BREAK] * close
    found = 0
    if _breaks(s, event + Event.UP, distance):
        found += BREAK_UP
    if _breaks(s, event + Event.DOWN, distance):
        found += BREAK_DOWN
    if _changes(s, event + Event.UP, distance):
        found += CHARACTER_UP
    if _changes(s, event + Event.DOWN, distance):
        found += CHARACTER_DOWN
    return found

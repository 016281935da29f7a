"""Kernels for windows: the last values in order of time, and the same values in order of size."""

from __future__ import annotations

from dtms.core._jit import Floats, kernel


@kernel("i8(f8[::1], i8, i8, f8)")
def _below(s: Floats, at: int, n: int, x: float) -> int:
    """Return how many of the `n` ascending values from `at` on are below `x`."""
    low = 0
    left = n
    while left > 0:
        # Without a branch: which half it is cannot be predicted, and this runs on every bar.
        half = (left + 1) // 2
        low += half if s[at + low + half - 1] < x else 0
        left -= half
    return low


@kernel("void(f8[::1], i8, i8, i8, f8)")
def _shift_in(s: Floats, at: int, hole: int, place: int, x: float) -> None:
    """Move the values between `hole` and `place` by one over the hole, and put `x` at `place`."""
    # A slice and an index that begins at 0 let the compiler move many values at once.
    if hole < place:
        part = s[at + hole : at + place + 1]
        for j in range(place - hole):
            part[j] = part[j + 1]
    else:
        part = s[at + place : at + hole + 1]
        for j in range(hole - place, 0, -1):
            part[j] = part[j - 1]
    s[at + place] = x


@kernel("i8(f8[::1], i8, i8, f8)")
def push_ranked(s: Floats, at: int, capacity: int, x: float) -> int:
    """Add `x` to a ranked window of at most `capacity` values and return how many it holds.

    Layout from `at` on: how many were ever added, the ring, the same values ascending.
    """
    added = int(s[at])
    ring = at + 1
    ranked = ring + capacity
    place = added % capacity
    if added < capacity:
        _shift_in(s, ranked, added, _below(s, ranked, added, x), x)
    else:
        old = s[ring + place]
        below = _below(s, ranked, capacity, x)
        # The old value's own place is given up, so what lies above it moves down.
        _shift_in(s, ranked, _below(s, ranked, capacity, old), below - 1 if x > old else below, x)
    s[ring + place] = x
    s[at] = added + 1
    return min(added + 1, capacity)


@kernel("f8(f8[::1], i8, i8, i8, f8)")
def percentile(s: Floats, at: int, capacity: int, n: int, percent: float) -> float:
    """Return a percentile of a ranked window of `n` >= 1 values, by linear interpolation between neighbours."""
    ranked = at + 1 + capacity
    position = percent / 100.0 * (n - 1)
    k = int(position)
    low: float = s[ranked + k]
    if k + 1 >= n:
        return low
    return float(low + (position - k) * (s[ranked + k + 1] - low))

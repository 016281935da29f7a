"""The terminal's timeframe constants as lengths."""

from __future__ import annotations

_HOURS_FLAG = 0x4000
_MINUTES = frozenset((1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30))
_HOURS = frozenset((1, 2, 3, 4, 6, 8, 12, 24))


def seconds_of(timeframe: int) -> int | None:
    """Return the length in seconds; None for what is no timeframe, or longer than a day: this terminal has no weeks."""
    if timeframe in _MINUTES:
        return timeframe * 60
    hours = timeframe - _HOURS_FLAG
    return hours * 3600 if hours in _HOURS else None

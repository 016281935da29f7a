"""The broker's clock: UTC inside, server time dressed as an epoch where the terminal shows it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dtms.domain.units import HOUR, Millis, from_utc, to_utc
from dtms.errors import SettingsError

_NEW_YORK = ZoneInfo("America/New_York")
_ROLLOVER = time(17, 0)
_SERVER_AHEAD_OF_NEW_YORK = 7 * HOUR
"""EET with New York's DST, so that the server's midnight is the rollover at 17:00 New York; the usual retail choice."""

NEW_YORK_PLUS_7: Final = "new-york+7"
"""The name of that clock among a terminal's traits."""

_QUARTER = HOUR // 4

ServerOffset = Callable[[Millis], int]
"""Milliseconds that the server's clock is ahead of UTC at an instant."""


@lru_cache(maxsize=4096)
def _new_york_offset(hour: int) -> int:
    """Both offsets of New York change on whole UTC hours, so one value an hour is exact."""
    shift = to_utc(Millis(hour * HOUR)).astimezone(_NEW_YORK).utcoffset()
    if shift is None:  # pragma: no cover - an aware datetime always has one
        msg = "America/New_York has no offset; install tzdata"
        raise RuntimeError(msg)
    return shift // timedelta(milliseconds=1)


def eet_new_york_dst(at: Millis) -> int:
    """Return how far a server on EET with New York's DST is ahead of UTC, in ms: 2 h in winter, 3 h in summer."""
    return _new_york_offset(at // HOUR) + _SERVER_AHEAD_OF_NEW_YORK


def offset_of(zone: str) -> ServerOffset:
    """Return the clock of a server that keeps a zone's time, its summer time with it.

    Raises:
        SettingsError: There is no such zone.
    """
    if zone == NEW_YORK_PLUS_7:
        return eet_new_york_dst
    try:
        known = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = f"there is no zone {zone!r} for the trade server's clock; give {NEW_YORK_PLUS_7!r} or one such as Europe/Athens"
        raise SettingsError(msg) from error

    @lru_cache(maxsize=4096)
    def in_quarter(quarter: int) -> int:
        """Zones of our day change on whole quarters of an hour, so one value a quarter is exact."""
        shift = to_utc(Millis(quarter * _QUARTER)).astimezone(known).utcoffset()
        return 0 if shift is None else shift // timedelta(milliseconds=1)

    return lambda at: in_quarter(at // _QUARTER)


def fixed_offset(ahead: int) -> ServerOffset:
    """Return a clock that is always `ahead` ms before UTC."""

    def offset(_at: Millis) -> int:
        return ahead

    return offset


def next_rollover(after: Millis) -> Millis:
    """Return the first 17:00 New York strictly after an instant."""
    local = to_utc(after).astimezone(_NEW_YORK)
    rollover = from_utc(datetime.combine(local.date(), _ROLLOVER, tzinfo=_NEW_YORK))
    if rollover > after:
        return rollover
    return from_utc(datetime.combine(local.date() + timedelta(days=1), _ROLLOVER, tzinfo=_NEW_YORK))


def new_york_weekday(at: Millis) -> int:
    """Return the weekday in New York, Monday 0."""
    return to_utc(at).astimezone(_NEW_YORK).weekday()

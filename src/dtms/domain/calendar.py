"""When a market is open, which session it is, and how open time is counted.

Weekly hours only: holidays and early closes are not known here, a tape or broker without quotes is just silent then.

Source:
    FX and metals trade from Sunday 17:00 to Friday 17:00 America/New_York; metals and indices pause daily from 17:00 to
    18:00 (seen in every recorded XAUUSD tape). Crypto never closes.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from dtms.domain.instrument import AssetClass
from dtms.domain.score import Session
from dtms.domain.units import DAY, HOUR, Millis, from_utc, to_utc

_NEW_YORK = ZoneInfo("America/New_York")
_ROLLOVER = time(17, 0)
_DAILY_BREAK = timedelta(hours=1)
_WEEK = 7 * DAY
_FAR_WEEKS = 5
_SESSIONS = (
    (8, Session.ASIAN),
    (13, Session.LONDON),
    (16, Session.OVERLAP),
    (21, Session.NEW_YORK),
    (24, Session.LATE),
)
_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class MarketHours:
    """The hours of one asset class.

    `open_between` is what deadlines run on: they count only while the market is open.
    """

    asset: AssetClass

    @property
    def never_closes(self) -> bool:
        """Say whether the market has no hours at all."""
        return self.asset is AssetClass.CRYPTO

    def is_open(self, at: Millis) -> bool:
        """Say whether the market is open at an instant."""
        if self.never_closes:
            return True
        spans = _open_spans(self.asset, _week_index(at))
        place = bisect_right(spans, at)
        return place % 2 == 1

    def open_between(self, start: Millis, end: Millis) -> int:
        """Return the open milliseconds in [start, end); 0 where end <= start."""
        if end <= start:
            return 0
        if self.never_closes:
            return end - start
        total = 0
        for week in range(_week_index(start), _week_index(end) + 1):
            spans = _open_spans(self.asset, week)
            for opened, closed in zip(spans[::2], spans[1::2], strict=True):
                total += max(0, min(closed, end) - max(opened, start))
        return total

    def after_open(self, start: Millis, duration: int) -> Millis:
        """Return the instant at which `duration` ms of open time will have passed since `start`."""
        if self.never_closes:
            return Millis(start + duration)
        left = duration
        for week in range(_week_index(start), _week_index(start) + _FAR_WEEKS + duration // DAY):
            spans = _open_spans(self.asset, week)
            for opened, closed in zip(spans[::2], spans[1::2], strict=True):
                here = max(0, closed - max(opened, start))
                if here and here >= left:
                    return Millis(max(opened, start) + left)
                left -= here
        msg = f"{duration} ms of open time do not fit behind {start}"
        raise AssertionError(msg)

    def next_close(self, at: Millis, longer_than: int = 0) -> Millis | None:
        """Return the next instant at which the market closes for more than `longer_than` ms; None where it never does."""
        if self.never_closes:
            return None
        for week in range(_week_index(at), _week_index(at) + _FAR_WEEKS):
            spans = _open_spans(self.asset, week)
            following = _open_spans(self.asset, week + 1)
            opens = (*spans[2::2], following[0])
            for closed, reopened in zip(spans[1::2], opens, strict=True):
                if closed > at and reopened - closed > longer_than:
                    return Millis(closed)
        return None

    def last_open(self, at: Millis) -> Millis | None:
        """Return when the market last opened, at or before `at`; None where it never closes."""
        if self.never_closes:
            return None
        week = _week_index(at)
        opens = (*_open_spans(self.asset, week - 1)[::2], *_open_spans(self.asset, week)[::2])
        return Millis(opens[bisect_right(opens, at) - 1])

    def session(self, at: Millis) -> Session:
        """Return the session at an instant; `WEEKEND` where the market is closed or, for crypto, on Saturday and Sunday."""
        when = to_utc(at)
        weekend = when.weekday() >= _SATURDAY if self.never_closes else not self.is_open(at)
        if weekend:
            return Session.WEEKEND
        return next(name for until, name in _SESSIONS if when.hour < until)

    def session_day_start(self, at: Millis) -> Millis:
        """Return the start of the session day: 17:00 New York, for crypto 00:00 UTC."""
        if self.never_closes:
            return Millis(at - at % DAY)
        return _new_york_day_start(at // HOUR)


@lru_cache(maxsize=4096)
def _new_york_day_start(hour: int) -> Millis:
    """Both DST offsets of New York are whole hours, so one value an hour is exact."""
    local = to_utc(Millis(hour * HOUR)).astimezone(_NEW_YORK)
    day = local.date() if local.time() >= _ROLLOVER else local.date() - timedelta(days=1)
    return _new_york(day, _ROLLOVER)


def _new_york(day: date, clock: time) -> Millis:
    return from_utc(datetime.combine(day, clock, tzinfo=_NEW_YORK))


def _week_index(at: Millis) -> int:
    """Weeks that run from Saturday to Saturday, UTC: every open span lies inside one. 1970-01-01 was a Thursday."""
    return (at - 2 * DAY) // _WEEK


@cache
def _open_spans(asset: AssetClass, week: int) -> tuple[int, ...]:
    """Return opens and closes in turn, ascending, of one week."""
    saturday = to_utc(Millis(week * _WEEK + 2 * DAY)).date()
    sunday = saturday + timedelta(days=1)
    pauses = asset in (AssetClass.METAL, AssetClass.INDEX)
    spans: list[int] = []
    for offset in range(5):
        day = sunday + timedelta(days=offset)
        opened = _new_york(day, _ROLLOVER)
        closed = _new_york(day + timedelta(days=1), _ROLLOVER)
        if pauses:
            opened = Millis(opened + _DAILY_BREAK // timedelta(milliseconds=1))
        if spans and spans[-1] == opened:
            spans[-1] = closed
        else:
            spans += (opened, closed)
    return tuple(spans)

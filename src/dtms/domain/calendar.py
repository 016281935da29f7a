"""When a market is open, which session it is, and how open time is counted.

The calendar is of weekly hours only. Holidays and early closes are learnt from the broker (`dtms.domain.closure`) and given
to `MarketHours` as closed stretches.

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

from dtms.domain.closure import Span
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
    """The hours of one symbol: those of its asset class, less the stretches in which its broker showed it as closed.

    `open_between` is what deadlines run on: they count only while the market is open. `shut` is in order of time, without
    overlaps; the last one may have no end yet.
    """

    asset: AssetClass
    shut: tuple[Span, ...] = ()

    @property
    def never_closes(self) -> bool:
        """Say whether the market has no hours at all."""
        return self.asset is AssetClass.CRYPTO

    def is_open(self, at: Millis) -> bool:
        """Say whether the market is open at an instant."""
        return self._calendar_open(at) and not self.shut_at(at)

    def shut_at(self, at: Millis) -> bool:
        """Say whether the broker showed the market as closed at an instant, whatever the calendar says."""
        return any(start <= at and (end is None or at < end) for start, end in self.shut)

    def _calendar_open(self, at: Millis) -> bool:
        if self.never_closes:
            return True
        spans = _open_spans(self.asset, _week_index(at))
        place = bisect_right(spans, at)
        return place % 2 == 1

    def open_between(self, start: Millis, end: Millis) -> int:
        """Return the open milliseconds in [start, end); 0 where end <= start."""
        return self._calendar_between(start, end) - self.lost_between(start, end)

    def lost_between(self, start: Millis, end: Millis) -> int:
        """Return the milliseconds in [start, end) that the calendar has as open and the broker showed as closed."""
        return sum(
            self._calendar_between(max(start, shut), end if reopened is None else min(end, reopened))
            for shut, reopened in self.shut
        )

    def put_off(self, deadline: Millis, since: Millis, now: Millis) -> Millis:
        """Return a deadline, set at `since` by the calendar, put off by the open time that was lost until now."""
        lost = self.lost_between(since, now)
        return deadline if lost == 0 else MarketHours(self.asset).after_open(deadline, lost)

    def _calendar_between(self, start: Millis, end: Millis) -> int:
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
        """Return the instant at which `duration` ms of the calendar's open time will have passed since `start`.

        What the broker will show as closed until then nobody knows; `put_off` takes it in once it was.
        """
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
        """Return when the market last opened, at or before `at`; None where it never closes and never was."""
        reopened = max((end for _, end in self.shut if end is not None and end <= at), default=None)
        if self.never_closes:
            return reopened
        week = _week_index(at)
        opens = (*_open_spans(self.asset, week - 1)[::2], *_open_spans(self.asset, week)[::2])
        opened = Millis(opens[bisect_right(opens, at) - 1])
        return opened if reopened is None else max(opened, reopened)

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

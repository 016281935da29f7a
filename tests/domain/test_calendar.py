"""When markets are open, how open time is counted, and which session it is, in summer and in winter."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import AssetClass
from dtms.domain.score import Session
from dtms.domain.units import DAY, HOUR, MINUTE, Millis, from_utc

FX, METAL, INDEX, CRYPTO = (
    MarketHours(asset) for asset in (AssetClass.FX, AssetClass.METAL, AssetClass.INDEX, AssetClass.CRYPTO)
)
CLOSING = [FX, METAL, INDEX, MarketHours(AssetClass.OTHER)]


def at(text: str) -> Millis:
    """Return an instant, written in UTC."""
    return from_utc(datetime.fromisoformat(text).replace(tzinfo=UTC))


_2014 = at("2014-01-01")
instants = st.integers(_2014, _2014 + 4 * 366 * DAY).map(Millis)
spans = st.integers(0, 20 * DAY)
markets = st.sampled_from((FX, METAL, CRYPTO))


@pytest.mark.parametrize("hours", CLOSING)
@pytest.mark.parametrize(
    ("opens", "closes"),
    [
        ("2025-06-15T21:00", "2025-06-20T21:00"),  # New York is four hours behind in summer
        ("2025-01-12T22:00", "2025-01-17T22:00"),  # and five in winter
        ("2025-03-09T21:00", "2025-03-14T21:00"),  # the clocks went forward on this very Sunday morning
        ("2025-11-02T22:00", "2025-11-07T22:00"),  # and back on this one
    ],
)
def test_the_week_opens_on_sunday_and_closes_on_friday_at_five_in_new_york(
    hours: MarketHours, opens: str, closes: str
) -> None:
    pause = HOUR if hours in (METAL, INDEX) else 0
    first = Millis(at(opens) + pause)
    assert (hours.is_open(Millis(first - 1)), hours.is_open(first)) == (False, True)
    assert (hours.is_open(Millis(at(closes) - 1)), hours.is_open(at(closes))) == (True, False)
    assert not hours.is_open(Millis(at(closes) + DAY))


@pytest.mark.parametrize("hours", [METAL, INDEX])
@pytest.mark.parametrize("day", ["2025-06-17T21:00", "2025-01-14T22:00"])
def test_metals_and_indices_pause_an_hour_each_day_and_currencies_do_not(hours: MarketHours, day: str) -> None:
    start = at(day)
    assert [hours.is_open(Millis(start + shift)) for shift in (-1, 0, HOUR - 1, HOUR)] == [True, False, False, True]
    assert FX.is_open(start)


@given(instant=instants)
def test_crypto_never_closes(instant: Millis) -> None:
    assert CRYPTO.is_open(instant)
    assert (CRYPTO.next_close(instant), CRYPTO.last_open(instant)) == (None, None)


@given(hours=markets, start=instants, first=spans, second=spans)
def test_open_time_adds_up(hours: MarketHours, start: Millis, first: int, second: int) -> None:
    middle, end = Millis(start + first), Millis(start + first + second)
    assert hours.open_between(start, middle) + hours.open_between(middle, end) == hours.open_between(start, end)


@given(hours=markets, start=instants, span=spans)
def test_open_time_is_no_longer_than_time_and_never_negative(hours: MarketHours, start: Millis, span: int) -> None:
    assert 0 <= hours.open_between(start, Millis(start + span)) <= span
    assert hours.open_between(Millis(start + span + 1), start) == 0


@given(hours=markets, start=instants, duration=st.integers(1, 5 * DAY))
def test_after_open_is_the_inverse_of_open_between(hours: MarketHours, start: Millis, duration: int) -> None:
    end = hours.after_open(start, duration)
    assert hours.open_between(start, end) == duration
    assert hours.open_between(start, Millis(end - 1)) == duration - 1


@given(hours=st.sampled_from((FX, METAL)), start=instants)
def test_no_duration_at_all_ends_now_or_when_the_market_opens(hours: MarketHours, start: Millis) -> None:
    end = hours.after_open(start, 0)
    assert hours.is_open(end)
    assert end == start or not hours.is_open(start)
    assert hours.open_between(start, end) == 0


@given(hours=st.sampled_from((FX, METAL)), instant=instants)
def test_the_next_close_is_where_an_open_market_closes_first(hours: MarketHours, instant: Millis) -> None:
    close = hours.next_close(instant)
    assert close is not None
    assert close > instant
    assert (hours.is_open(Millis(close - 1)), hours.is_open(close)) == (True, False)
    if hours.is_open(instant):
        assert hours.open_between(instant, close) == close - instant


@given(hours=st.sampled_from((FX, METAL)), instant=instants)
def test_a_long_close_is_the_weekends(hours: MarketHours, instant: Millis) -> None:
    close = hours.next_close(instant, 4 * HOUR)
    assert close is not None
    assert close > instant
    reopened = hours.after_open(close, 0)
    assert 48 * HOUR <= reopened - close <= 50 * HOUR
    assert close - instant <= 7 * DAY + HOUR


def test_the_daily_break_is_a_close_but_no_long_one() -> None:
    noon = at("2025-06-17T12:00")
    assert METAL.next_close(noon) == at("2025-06-17T21:00")
    assert METAL.next_close(noon, HOUR) == at("2025-06-20T21:00")
    assert METAL.next_close(noon, HOUR - 1) == at("2025-06-17T21:00")
    assert FX.next_close(noon) == at("2025-06-20T21:00")


def test_a_close_at_this_instant_has_passed() -> None:
    friday = at("2025-06-20T21:00")
    assert FX.next_close(Millis(friday - 1)) == friday
    assert FX.next_close(friday) == at("2025-06-27T21:00")


def test_the_market_last_opened_on_sunday_or_after_the_break() -> None:
    assert FX.last_open(at("2025-06-17T12:00")) == at("2025-06-15T21:00")
    assert METAL.last_open(at("2025-06-17T12:00")) == at("2025-06-16T22:00")
    assert METAL.last_open(at("2025-06-21T12:00")) == at("2025-06-19T22:00")
    assert FX.last_open(at("2025-06-15T21:00")) == at("2025-06-15T21:00")


def test_a_deadline_set_before_the_weekend_ends_after_it() -> None:
    assert FX.after_open(at("2025-06-20T20:30"), 45 * MINUTE) == at("2025-06-22T21:15")
    assert METAL.after_open(at("2025-06-20T20:30"), 45 * MINUTE) == at("2025-06-22T22:15")


def test_a_weekend_with_a_change_of_clocks_is_an_hour_longer_or_shorter() -> None:
    spring = (at("2025-03-07T22:00"), at("2025-03-09T21:00"))
    autumn = (at("2025-10-31T21:00"), at("2025-11-02T22:00"))
    assert [FX.open_between(*spring), FX.open_between(*autumn)] == [0, 0]
    assert (FX.next_close(Millis(spring[0] - 1)), FX.after_open(spring[0], 0)) == spring
    assert (FX.next_close(Millis(autumn[0] - 1)), FX.after_open(autumn[0], 0)) == autumn


# ----- sessions


@pytest.mark.parametrize(
    ("hour", "session"),
    [
        ("00:00", Session.ASIAN),
        ("07:59:59.999", Session.ASIAN),
        ("08:00", Session.LONDON),
        ("12:59:59.999", Session.LONDON),
        ("13:00", Session.OVERLAP),
        ("15:59:59.999", Session.OVERLAP),
        ("16:00", Session.NEW_YORK),
        ("20:59:59.999", Session.NEW_YORK),
        ("21:00", Session.LATE),
        ("23:59:59.999", Session.LATE),
    ],
)
def test_sessions_are_half_open_by_utc(hour: str, session: Session) -> None:
    instant = at(f"2025-06-17T{hour}")
    assert FX.session(instant) is session
    assert CRYPTO.session(instant) is session


def test_it_is_the_weekend_where_the_market_is_closed_and_for_crypto_on_saturday_and_sunday() -> None:
    assert FX.session(at("2025-06-20T21:00")) is Session.WEEKEND
    assert FX.session(at("2025-06-22T20:59")) is Session.WEEKEND
    assert FX.session(at("2025-06-22T21:00")) is Session.LATE
    assert METAL.session(at("2025-06-17T21:30")) is Session.WEEKEND
    assert CRYPTO.session(at("2025-06-20T23:59:59.999")) is Session.LATE
    assert CRYPTO.session(at("2025-06-21T00:00")) is Session.WEEKEND
    assert CRYPTO.session(at("2025-06-22T23:59:59.999")) is Session.WEEKEND
    assert CRYPTO.session(at("2025-06-23T00:00")) is Session.ASIAN


@pytest.mark.parametrize("hours", [FX, METAL, INDEX])
@pytest.mark.parametrize(
    ("instant", "start"),
    [
        ("2025-06-17T12:00", "2025-06-16T21:00"),
        ("2025-06-17T20:59:59.999", "2025-06-16T21:00"),
        ("2025-06-17T21:00", "2025-06-17T21:00"),
        ("2025-01-14T21:59:59.999", "2025-01-13T22:00"),
        ("2025-01-14T22:00", "2025-01-14T22:00"),
        ("2025-03-09T20:59:59.999", "2025-03-08T22:00"),  # the day of 23 hours
        ("2025-03-09T21:00", "2025-03-09T21:00"),
        ("2025-11-02T21:59:59.999", "2025-11-01T21:00"),  # the day of 25 hours
        ("2025-11-02T22:00", "2025-11-02T22:00"),
    ],
)
def test_the_session_day_starts_at_five_in_new_york(hours: MarketHours, instant: str, start: str) -> None:
    assert hours.session_day_start(at(instant)) == at(start)


def test_the_session_day_of_crypto_starts_at_midnight_utc() -> None:
    assert CRYPTO.session_day_start(at("2025-06-17T00:00")) == at("2025-06-17T00:00")
    assert CRYPTO.session_day_start(at("2025-06-17T23:59:59.999")) == at("2025-06-17T00:00")


@given(hours=markets, instant=instants)
def test_a_session_day_starts_at_most_25_hours_before_and_is_its_own_start(hours: MarketHours, instant: Millis) -> None:
    start = hours.session_day_start(instant)
    assert 0 <= instant - start < 25 * HOUR
    assert hours.session_day_start(start) == start


def test_an_instant_without_a_zone_is_refused() -> None:
    from dtms.errors import InvalidDataError

    with pytest.raises(InvalidDataError, match="has no time zone; give it one"):
        from_utc(datetime(2025, 6, 17))  # noqa: DTZ001 - the fault under test


# ----- what the broker has shown as closed


@st.composite
def shut_markets(draw: st.DrawFn) -> MarketHours:
    """Draw a market with up to four closed stretches in two weeks of 2014."""
    cuts = sorted(draw(st.lists(st.integers(0, 14 * DAY), min_size=2, max_size=8, unique=True)))
    stretches = tuple(
        (Millis(_2014 + start), Millis(_2014 + end)) for start, end in zip(cuts[::2], cuts[1::2], strict=False)
    )
    return MarketHours(draw(markets).asset, stretches)


fortnight = st.integers(_2014, _2014 + 14 * DAY).map(Millis)


@given(hours=shut_markets(), one=fortnight, two=fortnight, three=fortnight)
def test_open_time_with_closures_adds_up_and_is_never_more_than_the_calendars(
    hours: MarketHours, one: Millis, two: Millis, three: Millis
) -> None:
    a, b, c = sorted((one, two, three))
    assert hours.open_between(a, b) + hours.open_between(b, c) == hours.open_between(a, c)
    assert 0 <= hours.open_between(a, c) <= MarketHours(hours.asset).open_between(a, c)


@given(hours=shut_markets(), instant=fortnight)
def test_in_a_closure_a_market_is_closed_and_outside_the_calendar_says(hours: MarketHours, instant: Millis) -> None:
    inside = any(start <= instant < end for start, end in hours.shut if end is not None)
    assert hours.is_open(instant) == (not inside and MarketHours(hours.asset).is_open(instant))
    assert hours.shut_at(instant) == inside


@given(hours=shut_markets(), since=fortnight, duration=st.integers(1, 3 * DAY))
def test_a_deadline_that_is_put_off_passes_when_its_open_time_has(
    hours: MarketHours, since: Millis, duration: int
) -> None:
    deadline = MarketHours(hours.asset).after_open(since, duration)
    early, late = int(since), int(since) + 60 * DAY
    while late - early > 1:
        middle = (early + late) // 2
        early, late = (early, middle) if hours.open_between(since, Millis(middle)) >= duration else (middle, late)
    assert late >= hours.put_off(deadline, since, Millis(late))
    assert late - 1 < hours.put_off(deadline, since, Millis(late - 1))


def test_an_unfinished_closure_stops_the_clock() -> None:
    monday = at("2025-06-16T12:00")
    hours = MarketHours(AssetClass.CRYPTO, ((monday, None),))
    assert hours.open_between(Millis(monday - HOUR), Millis(monday + 50 * HOUR)) == HOUR
    assert (hours.is_open(Millis(monday - 1)), hours.is_open(monday)) == (True, False)
    assert hours.last_open(Millis(monday + HOUR)) is None


def test_the_end_of_a_closure_is_an_opening() -> None:
    opened, shut, reopened = at("2025-06-15T21:00"), at("2025-06-16T12:00"), at("2025-06-16T15:00")
    hours = MarketHours(AssetClass.FX, ((shut, reopened),))
    assert hours.last_open(Millis(reopened - 1)) == opened
    assert hours.last_open(reopened) == reopened

"""Server time to UTC and back, recalled and estimated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.adapters.mt5.server_time import ServerClock, new_york_plus_7
from dtms.domain.server_offset import SeenOffset
from dtms.domain.units import DAY, HOUR, MINUTE, SECOND, Millis, from_utc
from dtms.errors import StaleDataError

SUMMER = from_utc(datetime(2024, 7, 3, 12, tzinfo=UTC))
WINTER = from_utc(datetime(2024, 1, 3, 12, tzinfo=UTC))
TURNED_BACK = from_utc(datetime(2024, 11, 3, 6, tzinfo=UTC))
TURNED_FORWARD = from_utc(datetime(2024, 3, 10, 7, tzinfo=UTC))
LATE = Millis(WINTER + 10_000 * DAY)

instants = st.integers(min_value=WINTER, max_value=WINTER + 600 * DAY).map(Millis)


class Hand:
    """A clock that a test moves."""

    def __init__(self, at: Millis) -> None:
        self.at = at

    def __call__(self) -> Millis:
        return self.at


def usual(now: Callable[[], Millis]) -> ServerClock:
    """Return the clock of a server that was seen to keep New York's time plus 7 h."""
    clock = ServerClock(now)
    clock.recall(SeenOffset(ahead=2 * HOUR, at=WINTER))
    return clock


def observe(clock: ServerClock, hand: Hand, offset: int, times: int, *, symbol: str = "EURUSD") -> None:
    for _ in range(times):
        hand.at = Millis(hand.at + 2 * SECOND)
        clock.observe(symbol, hand.at + offset - 300)


def test_the_usual_server_is_three_hours_ahead_in_summer_and_two_in_winter() -> None:
    assert new_york_plus_7(SUMMER) == 3 * HOUR
    assert new_york_plus_7(WINTER) == 2 * HOUR


@given(instants)
def test_an_instant_survives_the_way_to_the_server_and_back(at: Millis) -> None:
    clock = usual(lambda: LATE)
    back = clock.to_utc(clock.to_server(at))

    read_twice = TURNED_BACK - HOUR <= at < TURNED_BACK
    assert back == (at + HOUR if read_twice else at)


def test_the_hour_that_is_read_twice_is_never_in_the_future() -> None:
    at = Millis(TURNED_BACK - 30 * MINUTE)
    clock = usual(lambda: Millis(at + SECOND))

    assert clock.to_utc(clock.to_server(at)) == at


@given(instants, st.integers(min_value=1, max_value=400))
def test_many_times_convert_like_each_alone(start: Millis, count: int) -> None:
    clock = usual(lambda: LATE)
    times = [start + step * 6 * HOUR for step in range(count)]

    assert clock.all_to_utc(times) == [clock.to_utc(at) for at in times]


def test_nothing_is_known_before_a_fresh_tick() -> None:
    hand = Hand(SUMMER)
    clock = ServerClock(hand)
    clock.observe("EURUSD", hand.at - 50 * HOUR)
    hand.at = Millis(hand.at + SECOND)
    clock.observe("EURUSD", SUMMER - 50 * HOUR)

    assert not clock.known
    with pytest.raises(StaleDataError, match="quote of EURUSD"):
        clock.require_known("quote of EURUSD")


@given(
    st.integers(min_value=-46, max_value=54).map(lambda quarter: quarter * 15 * MINUTE),
    st.integers(min_value=0, max_value=59 * SECOND),
)
def test_one_fresh_tick_gives_the_offset_to_the_quarter_hour(offset: int, age: int) -> None:
    hand = Hand(WINTER)
    clock = ServerClock(hand)
    clock.observe("EURUSD", WINTER + offset - HOUR)
    hand.at = Millis(WINTER + 60 * SECOND)
    clock.observe("EURUSD", hand.at + offset - age)

    assert clock.known
    assert clock.offset(WINTER) == offset


def test_a_tick_that_came_while_nobody_looked_is_no_sample() -> None:
    hand = Hand(WINTER)
    clock = ServerClock(hand)
    clock.observe("EURUSD", WINTER - DAY)
    hand.at = Millis(WINTER + 3 * HOUR)
    clock.observe("EURUSD", WINTER + 2 * HOUR)

    assert not clock.known


def test_the_estimate_changes_only_when_most_of_the_last_ticks_agree() -> None:
    hand = Hand(WINTER)
    clock = ServerClock(hand)
    observe(clock, hand, 5 * HOUR, 12)
    observe(clock, hand, 6 * HOUR, 4)
    four = clock.offset(hand.at)
    observe(clock, hand, 6 * HOUR, 1)

    assert (four, clock.offset(hand.at)) == (5 * HOUR, 6 * HOUR)


def test_an_estimate_that_is_the_usual_server_follows_its_summer_time_into_history() -> None:
    hand = Hand(SUMMER)
    clock = ServerClock(hand)
    observe(clock, hand, 3 * HOUR, 3)

    assert clock.to_utc(WINTER + 2 * HOUR) == WINTER
    assert clock.to_utc(SUMMER + 3 * HOUR) == SUMMER


@pytest.mark.parametrize("change", [TURNED_BACK, TURNED_FORWARD])
def test_the_usual_server_is_followed_over_the_change_of_its_summer_time_at_once(change: Millis) -> None:
    hand = Hand(Millis(change - DAY))
    clock = ServerClock(hand)
    observe(clock, hand, new_york_plus_7(hand.at), 9)
    before = clock.offset(hand.at)
    hand.at = Millis(change + HOUR)

    assert (before, clock.offset(hand.at)) == (new_york_plus_7(Millis(change - DAY)), new_york_plus_7(hand.at))
    assert clock.to_utc(hand.at + new_york_plus_7(hand.at)) == hand.at


@pytest.mark.parametrize("ahead", [2 * HOUR, 3 * HOUR])
def test_a_server_without_summer_time_is_found_out_by_five_ticks_after_the_change(ahead: int) -> None:
    hand = Hand(Millis(TURNED_FORWARD - DAY))
    clock = ServerClock(hand)
    observe(clock, hand, ahead, 9)
    hand.at = Millis(TURNED_FORWARD + DAY)
    observe(clock, hand, ahead, 6)

    assert clock.offset(hand.at) == ahead


def test_an_offset_of_last_season_is_recalled_as_the_convention_that_it_was() -> None:
    clock = ServerClock(Hand(SUMMER))
    clock.recall(SeenOffset(ahead=2 * HOUR, at=WINTER))

    assert (clock.known, clock.offset(SUMMER), clock.offset(WINTER)) == (True, 3 * HOUR, 2 * HOUR)


def test_one_look_at_many_symbols_counts_once() -> None:
    hand = Hand(WINTER)
    clock = ServerClock(hand)
    observe(clock, hand, 5 * HOUR, 9)
    names = [f"S{n}" for n in range(16)]
    for name in names:
        clock.observe(name, hand.at + 6 * HOUR)
    hand.at = Millis(hand.at + SECOND)
    for name in names:
        clock.observe(name, hand.at + 6 * HOUR)

    assert clock.offset(hand.at) == 5 * HOUR

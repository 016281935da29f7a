"""Swings, breaks and changes of character on hand-made M15 bars."""

from __future__ import annotations

import pytest
from tests.core_score.tapes import MINUTE, MONDAY

from dtms.core.market_state import MarketState
from dtms.domain.instrument import AssetClass
from dtms.domain.market import Bar
from dtms.domain.policy.score import RegimePolicy, ScorePolicy
from dtms.domain.score import LayerReading, MarketView, StructureEventKind
from dtms.domain.units import Millis, Side

QUARTER = 15 * MINUTE
QUIET = [(1000.0, 1000.6, 999.4)] * 20
"""M15 bars as close, high and low; equal ones make no swing: of equal prices the later, and there is always one."""


def views(bars: list[tuple[float, float, float]]) -> tuple[MarketView, ...]:
    """Return one view a M15 bar: each is one M1 bar in its last minute, so that M5 and M15 end together."""
    state = MarketState("EURUSD", AssetClass.CRYPTO, ScorePolicy(), RegimePolicy(), canonical="EURUSD")
    for i, (close, high, low) in enumerate(bars):
        start = Millis(MONDAY + i * QUARTER + 14 * MINUTE)
        state.on_m1(Bar(start=start, open=close, high=high, low=low, close=close))
    return state.advance(Millis(MONDAY + (len(bars) + 1) * QUARTER))


def reading(view: MarketView, side: Side) -> LayerReading:
    return view.score(side).layers[0]


def kinds(view: MarketView) -> list[StructureEventKind]:
    return [event.kind for event in view.events]


def swing_high(top: float) -> list[tuple[float, float, float]]:
    """Return five bars whose middle one is the only swing, and a sixth that confirms it strictly before the next."""
    return [(1000.0, top - d, 999.4) for d in (1.0, 0.5, 0.0, 0.5, 1.0, 1.0)]


def swing_low(bottom: float) -> list[tuple[float, float, float]]:
    return [(1000.0, 1000.6, bottom + d) for d in (1.0, 0.5, 0.0, 0.5, 1.0, 1.0)]


def test_a_close_beyond_the_last_swing_is_a_break_once() -> None:
    beyond = (1004.0, 1004.0, 999.4)
    said = views([*QUIET, *swing_high(1003.0), beyond, beyond])
    assert kinds(said[-2]) == [StructureEventKind.BREAK_UP]
    assert kinds(said[-1]) == []
    assert reading(said[-2], Side.BUY).branches == ("break_with",)
    assert reading(said[-2], Side.BUY).raw == 1.0
    assert reading(said[-2], Side.SELL).raw == -2 / 3


def test_a_close_within_three_hundredths_of_a_percent_of_the_swing_is_no_break() -> None:
    said = views([*QUIET, *swing_high(1003.0), (1003.30, 1003.4, 999.4)])
    assert kinds(said[-1]) == []
    assert reading(said[-1], Side.BUY).raw == 0.0
    assert kinds(views([*QUIET, *swing_high(1003.0), (1003.31, 1003.4, 999.4)])[-1]) == [StructureEventKind.BREAK_UP]


def test_a_swing_counts_only_after_the_bar_that_confirms_it() -> None:
    confirming = [*QUIET, *swing_high(1003.0)[:4], (1004.0, 1004.0, 999.4)]
    assert kinds(views(confirming)[-1]) == []


def test_of_two_equal_tops_the_later_is_the_swing() -> None:
    tops = [(1000.0, top, 999.4) for top in (1002.0, 1003.0, 1003.0, 1002.5, 1002.0, 1002.0)]
    assert kinds(views([*QUIET, *tops, (1004.0, 1004.0, 999.4)])[-1]) == [StructureEventKind.BREAK_UP]
    three_later = [(1000.0, top, 999.4) for top in (1003.0, 1002.5, 1002.0, 1003.0, 1003.5, 1003.5)]
    assert kinds(views([*QUIET, *three_later, (1004.0, 1004.0, 999.4)])[-1]) == [StructureEventKind.BREAK_UP]


def test_an_event_fades_by_an_eighth_a_bar() -> None:
    said = views([*QUIET, *swing_high(1003.0), (1004.0, 1004.0, 999.4), *[(1000.0, 1000.6, 999.4)] * 9])
    assert [reading(view, Side.BUY).raw for view in said[-10:]] == [1 - k / 8 for k in range(9)] + [0.0]


def test_the_newest_event_replaces_an_older_one() -> None:
    up = [*QUIET, *swing_high(1003.0), (1004.0, 1004.0, 999.4)]
    said = views([*up, *swing_low(995.0), (994.0, 1000.6, 994.0)])
    assert kinds(said[-1]) == [StructureEventKind.BREAK_DOWN]
    assert reading(said[-1], Side.BUY).raw == -2 / 3
    assert reading(said[-1], Side.SELL).raw == 1.0


def test_a_fall_through_the_later_of_two_rising_lows_changes_the_character_of_a_buy_only() -> None:
    rising = [*QUIET, *swing_low(990.0), *swing_low(994.0)]
    said = views([*rising, (985.0, 1000.6, 985.0)])
    assert kinds(said[-1]) == [StructureEventKind.BREAK_DOWN, StructureEventKind.CHARACTER_DOWN]
    assert reading(said[-1], Side.BUY).branches == ("character_against",)
    assert reading(said[-1], Side.BUY).raw == -1.0
    assert reading(said[-1], Side.SELL).branches == ("break_with",)
    assert said[-1].events[1].changes_against(Side.BUY)
    assert not said[-1].events[1].changes_against(Side.SELL)


def test_falling_lows_break_without_a_change_of_character() -> None:
    falling = [*QUIET, *swing_low(994.0), *swing_low(990.0)]
    said = views([*falling, (985.0, 1000.6, 985.0)])
    assert kinds(said[-1]) == [StructureEventKind.BREAK_DOWN]
    assert reading(said[-1], Side.BUY).raw == -2 / 3


def test_two_equal_lows_are_no_rising_lows_and_change_no_character() -> None:
    double_bottom = [*QUIET, *swing_low(990.0), *swing_low(990.0)]
    said = views([*double_bottom, (985.0, 1000.6, 985.0)])
    assert kinds(said[-1]) == [StructureEventKind.BREAK_DOWN]
    assert reading(said[-1], Side.BUY).branches == ("break_against",)
    assert reading(said[-1], Side.BUY).raw == -2 / 3
    double_top = [*QUIET, *swing_high(1010.0), *swing_high(1010.0)]
    said = views([*double_top, (1015.0, 1015.0, 999.4)])
    assert kinds(said[-1]) == [StructureEventKind.BREAK_UP]
    assert reading(said[-1], Side.SELL).raw == -2 / 3


@pytest.mark.parametrize("least", [990.001, 989.999])
def test_lows_rise_where_the_later_is_higher_by_anything_at_all(least: float) -> None:
    said = views([*QUIET, *swing_low(990.0), *swing_low(least), (985.0, 1000.6, 985.0)])
    assert (StructureEventKind.CHARACTER_DOWN in kinds(said[-1])) is (least > 990.0)


def test_the_layer_is_unavailable_before_20_bars() -> None:
    said = views(QUIET)
    assert [reading(view, Side.BUY).raw for view in said] == [None] * 19 + [0.0]


def test_events_belong_to_the_m5_bar_that_ends_with_its_m15_bar() -> None:
    state = MarketState("EURUSD", AssetClass.CRYPTO, ScorePolicy(), RegimePolicy(), canonical="EURUSD")
    bars = [*QUIET, *swing_high(1003.0), (1004.0, 1004.0, 999.4), (1000.0, 1000.6, 999.4)]
    for i, (close, high, low) in enumerate(bars):
        for minute in (0, 5, 10):
            start = Millis(MONDAY + i * QUARTER + minute * MINUTE)
            state.on_m1(Bar(start=start, open=close, high=high, low=low, close=close))
    said = state.advance(Millis(MONDAY + (len(bars) + 1) * QUARTER))
    with_events = [view.at for view in said if view.events]
    assert with_events == [MONDAY + (len(QUIET) + 7) * QUARTER]
    assert [event.at for view in said for event in view.events] == with_events

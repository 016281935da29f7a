"""The other program's entries on a hand-made tape, and the text that names them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.core_machine.bench import GOLD, make_view

from dtms.domain.market import Quote
from dtms.domain.score import MarketView
from dtms.domain.units import MINUTE, Lots, Millis, Price, Side
from dtms.errors import SettingsError
from dtms_lab.simulate.entries import Every, SmaCross, order_for, parse_entries

T0 = Millis(1_750_161_600_000)


def bar(place: int, close: float) -> MarketView:
    return replace(make_view(Side.BUY, None, at=T0 + place * 5 * MINUTE), close=close)


def signals(entries: SmaCross, closes: list[float]) -> list[Side | None]:
    return [entries.on_bar(bar(place, close)) for place, close in enumerate(closes)]


def test_a_cross_up_buys_and_a_cross_down_sells_on_the_bar_that_crossed() -> None:
    # Two against four bars: the short mean is below at first, goes above with the 13, and below again with the 7.
    closes = [12.0, 11.0, 10.0, 9.0, 9.0, 13.0, 13.0, 12.0, 7.0]
    assert signals(SmaCross(2, 4), closes) == [None, None, None, None, None, Side.BUY, None, None, Side.SELL]


def test_nothing_is_signalled_before_the_slow_mean_is_full_nor_on_its_first_bar() -> None:
    assert signals(SmaCross(2, 4), [1.0, 2.0, 3.0, 4.0]) == [None] * 4


def test_means_that_touch_count_as_not_above() -> None:
    assert signals(SmaCross(1, 2), [2.0, 1.0, 1.0, 1.0, 2.0]) == [None, None, None, None, Side.BUY]


def test_every_so_many_minutes_both_sides_take_turns() -> None:
    every = Every(15, 8.0)
    sides = [every.on_bar(bar(place, 2_000.0)) for place in range(7)]
    assert sides == [Side.BUY, None, None, Side.SELL, None, None, Side.BUY]
    assert every.target_atr == 16.0


@pytest.mark.parametrize("side", Side)
def test_an_order_risks_one_percent_with_its_stop_at_two_atr_and_its_target_at_four(side: Side) -> None:
    quote = Quote(symbol="XAUUSD", at=T0, bid=2_000.0, ask=2_000.2)
    entries = SmaCross(20, 50)
    order = order_for(entries, side, quote, 4.0, GOLD)
    assert order is not None
    entry = quote.opening(side)
    # 100.00 over 8.00 a unit and 100.00 a lot is 0.125 of a lot, down to the step.
    assert (order.volume, order.side) == (Lots(0.12), side)
    assert order.stop == pytest.approx(entry - side * 8.0)
    assert order.target == pytest.approx(entry + side * 16.0)
    assert order.stop == GOLD.nearest(order.stop)
    assert isinstance(Price(order.target), float)


def test_an_order_below_the_minimum_lot_is_no_order() -> None:
    quote = Quote(symbol="XAUUSD", at=T0, bid=2_000.0, ask=2_000.2)
    assert order_for(SmaCross(20, 50), Side.BUY, quote, 60.0, GOLD) is None


@pytest.mark.parametrize("text", ["sma-cross:20,50", "sma-cross:1,1000"])
def test_crosses_are_named_by_their_two_periods(text: str) -> None:
    found = parse_entries(text)
    assert isinstance(found, SmaCross)
    assert f"sma-cross:{found.fast},{found.slow}" == text
    assert (found.stop_atr, found.target_atr, found.max_open) == (2.0, 4.0, 1)


def test_entries_in_turn_are_named_by_minutes_and_stop() -> None:
    found = parse_entries("every:30,8")
    assert isinstance(found, Every)
    assert (found.minutes, found.stop_atr, found.target_atr) == (30, 8.0, 16.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sma-cross",
        "sma-cross:20",
        "sma-cross:20,50,70",
        "sma-cross:50,20",
        "sma-cross:20,20",
        "sma-cross:0,20",
        "sma-cross:20,1001",
        "sma-cross:-1,20",
        "sma-cross:1.5,20",
        "sma-cross:٢,50",
        "SMA-cross:20,50",
        "every:7,8",
        "every:0,8",
        "every:1445,8",
        "every:30,0",
        "every:30,51",
        "rsi:14,70",
    ],
)
def test_entries_that_we_do_not_have_are_refused_by_their_text(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^entries "):
        parse_entries(text)

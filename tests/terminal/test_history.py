"""Deals, orders, bars and ticks as the terminal shows them: on the broker's clock."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from dtms.domain.market import Bar, Quote
from dtms.domain.units import DAY, HOUR, MINUTE, Millis, from_utc, to_utc
from dtms_lab.terminal.desk import MONDAY_NOON, SimDesk
from dtms_lab.terminal.history import RateStore
from dtms_lab.terminal.server_time import eet_new_york_dst, fixed_offset, next_rollover

_AHEAD = 2 * 3600
_M1, _M5, _H1, _H4, _D1 = 1, 5, 16385, 16388, 16408


def bar(start: int, price: float, volume: float | None = 5.0) -> Bar:
    return Bar(
        start=Millis(start), open=price, high=price + 0.002, low=price - 0.001, close=price + 0.001, volume=volume
    )


@pytest.fixture
def desk() -> SimDesk:
    made = SimDesk()
    made.quote("EURUSD", 1.1)
    return made


def test_times_are_the_brokers_clock_dressed_as_an_epoch(desk: SimDesk) -> None:
    opened = desk.buy("EURUSD", 0.1)
    (position,) = desk.terminal.positions_get() or ()
    assert position.time_msc == desk.now + _AHEAD * 1000
    assert position.time == position.time_msc // 1000
    desk.now = Millis(desk.now + MINUTE)
    desk.send(action=6, symbol="EURUSD", position=opened.order, sl=1.09)
    (position,) = desk.terminal.positions_get() or ()
    assert position.time_update_msc - position.time_msc == MINUTE


def test_a_window_of_deals_is_closed_on_both_sides_and_in_server_time(desk: SimDesk) -> None:
    desk.now = MONDAY_NOON
    opened = desk.buy("EURUSD", 0.1)
    at = MONDAY_NOON // 1000 + _AHEAD
    found = desk.terminal.history_deals_get(at, at)
    assert [d.order for d in found or () if d.type != 2] == [opened.order]
    assert desk.terminal.history_deals_get(at + 1, at + 9) == ()
    assert desk.terminal.history_deals_total(at, at) == len(found or ())
    as_dates = desk.terminal.history_deals_get(datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(at, UTC))
    assert as_dates == found


def test_a_window_up_to_the_utc_instant_misses_the_newest_deals(desk: SimDesk) -> None:
    desk.buy("EURUSD", 0.1)
    assert desk.terminal.history_deals_get(0, to_utc(desk.now)) == ()


def test_deals_by_order_by_position_and_by_group(desk: SimDesk) -> None:
    desk.quote("XAUUSD", 2400.0)
    opened = desk.buy("EURUSD", 0.1)
    closed = desk.sell("EURUSD", 0.1, position=opened.order)
    desk.buy("XAUUSD", 0.1)
    assert [d.ticket for d in desk.terminal.history_deals_get(ticket=closed.order) or ()] == [closed.deal]
    assert [d.ticket for d in desk.deals(opened.order)] == [opened.deal, closed.deal]
    grouped = desk.terminal.history_deals_get(0, 2**32, group="XAU*")
    assert [d.symbol for d in grouped or ()] == ["XAUUSD"]
    assert [o.ticket for o in desk.terminal.history_orders_get(position=opened.order) or ()] == [
        opened.order,
        closed.order,
    ]
    assert desk.terminal.history_orders_total(0, 2**32) == 3
    assert desk.terminal.history_deals_get(position=1) == ()


def test_an_amended_stop_leaves_no_order_and_no_deal(desk: SimDesk) -> None:
    opened = desk.buy("EURUSD", 0.1)
    desk.send(action=6, symbol="EURUSD", position=opened.order, sl=1.09, comment="tag")
    assert len(desk.deals(opened.order)) == 1
    assert len(desk.terminal.history_orders_get(position=opened.order) or ()) == 1


def test_m1_bars_come_back_exactly_with_the_running_bar_last(desk: SimDesk) -> None:
    start = MONDAY_NOON - 10 * MINUTE
    desk.server.load_history("GBPUSD", [bar(start + i * MINUTE, 1.25 + i / 1000) for i in range(10)])
    desk.quote("GBPUSD", 1.3, after=30_000)
    desk.quote("GBPUSD", 1.29)
    rates = desk.terminal.copy_rates_from_pos("GBPUSD", _M1, 0, 3)
    assert rates is not None
    second_last = 1.25 + 9 / 1000
    assert [tuple(row)[:5] for row in rates[-2:].tolist()] == [
        (MONDAY_NOON // 1000 - 60 + _AHEAD, second_last, second_last + 0.002, second_last - 0.001, second_last + 0.001),
        (MONDAY_NOON // 1000 + _AHEAD, 1.3, 1.3, 1.29, 1.29),
    ]
    assert rates["tick_volume"].tolist() == [5, 5, 2]
    shifted = desk.terminal.copy_rates_from_pos("GBPUSD", _M1, 1, 2)
    assert shifted is not None
    assert shifted.tolist() == rates[:2].tolist()


def test_a_closed_minute_takes_the_tapes_bar_and_none_is_zero_volume(desk: SimDesk) -> None:
    desk.quote("GBPUSD", 1.3, after=0)
    desk.quote("GBPUSD", 1.31)
    true_bar = Bar(start=Millis(desk.now - desk.now % MINUTE), open=1.3, high=1.32, low=1.29, close=1.31)
    desk.server.on_m1_closed("GBPUSD", true_bar)
    desk.server.on_m1_closed("GBPUSD", true_bar)
    rates = desk.terminal.copy_rates_from_pos("GBPUSD", _M1, 0, 10)
    assert rates is not None
    assert [(r["high"], r["low"], r["tick_volume"]) for r in rates] == [(1.32, 1.29, 0)]


def test_without_a_tapes_bar_the_quotes_make_it(desk: SimDesk) -> None:
    for bid in (1.3, 1.32, 1.31):
        desk.quote("GBPUSD", bid)
    desk.quote("GBPUSD", 1.33, after=MINUTE)
    rates = desk.terminal.copy_rates_from_pos("GBPUSD", _M1, 0, 10)
    assert rates is not None
    assert [(r["open"], r["high"], r["low"], r["close"], r["tick_volume"]) for r in rates] == [
        (1.3, 1.32, 1.3, 1.31, 3),
        (1.33, 1.33, 1.33, 1.33, 1),
    ]


def test_bars_from_a_date_end_at_it_and_a_range_is_closed(desk: SimDesk) -> None:
    start = MONDAY_NOON - 10 * MINUTE
    desk.server.load_history("GBPUSD", [bar(start + i * MINUTE, 1.25) for i in range(10)])
    third = start // 1000 + 120 + _AHEAD
    back = desk.terminal.copy_rates_from("GBPUSD", _M1, third, 2)
    span = desk.terminal.copy_rates_range("GBPUSD", _M1, third - 60, third + 59)
    assert back is not None
    assert span is not None
    assert back["time"].tolist() == [third - 60, third]
    assert span["time"].tolist() == [third - 60, third]


@pytest.mark.parametrize(("timeframe", "seconds"), [(_M5, 300), (15, 900), (_H1, 3600), (_H4, 14400), (_D1, 86400)])
def test_longer_bars_are_folded_on_the_servers_clock(desk: SimDesk, timeframe: int, seconds: int) -> None:
    start = MONDAY_NOON - 30 * HOUR
    bars = [bar(start + i * MINUTE, 1.25 + (i * 7 % 100) / 1000, float(i % 9)) for i in range(30 * 60)]
    half = len(bars) // 2
    desk.server.load_history("GBPUSD", bars[:half])
    desk.terminal.copy_rates_from_pos("GBPUSD", timeframe, 0, 5)
    for one in bars[half:]:
        desk.server.on_m1_closed("GBPUSD", one)
    rates = desk.terminal.copy_rates_from_pos("GBPUSD", timeframe, 0, 10_000)
    assert rates is not None
    groups: dict[int, list[Bar]] = {}
    for one in bars:
        groups.setdefault((one.start // 1000 + _AHEAD) // seconds * seconds, []).append(one)
    expected = [
        (
            time,
            group[0].open,
            max(b.high for b in group),
            min(b.low for b in group),
            group[-1].close,
            sum(int(b.volume or 0) for b in group),
        )
        for time, group in groups.items()
    ]
    assert [row[:6] for row in rates.tolist()] == expected


def test_unknown_symbols_and_timeframes_are_errors(desk: SimDesk) -> None:
    assert desk.terminal.copy_rates_from_pos("NOPE", _M1, 0, 1) is None
    assert desk.terminal.last_error()[0] == -1
    assert desk.terminal.copy_rates_from_pos("EURUSD", 7, 0, 1) is None
    assert desk.terminal.last_error()[0] == -2
    assert desk.terminal.copy_ticks_from("NOPE", 0, 1, -1) is None


def test_returned_arrays_are_the_callers_own(desk: SimDesk) -> None:
    first = desk.terminal.copy_rates_from_pos("EURUSD", _M1, 0, 1)
    assert first is not None
    first["close"] = 9.0
    again = desk.terminal.copy_rates_from_pos("EURUSD", _M1, 0, 1)
    assert again is not None
    assert again["close"].tolist() == [1.1]
    assert again.dtype.names == (
        "time",
        "open",
        "high",
        "low",
        "close",
        "tick_volume",
        "spread",
        "real_volume",
    )


def test_ticks_come_back_by_date_count_and_range(desk: SimDesk) -> None:
    for bid in (1.2, 1.3, 1.4):
        desk.quote("GBPUSD", bid)
    second = desk.now // 1000 + _AHEAD - 1
    two = desk.terminal.copy_ticks_from("GBPUSD", second, 5, -1)
    assert two is not None
    assert two["bid"].tolist() == [1.3, 1.4]
    assert two["time_msc"].tolist() == [second * 1000, second * 1000 + 1000]
    span = desk.terminal.copy_ticks_range("GBPUSD", second - 1, second, 1)
    assert span is not None
    assert span["bid"].tolist() == [1.2, 1.3]
    trades = desk.terminal.copy_ticks_from("GBPUSD", 0, 5, 2)
    assert trades is not None
    assert len(trades) == 0
    assert np.array_equal(trades["bid"], [])


def test_the_server_is_two_hours_ahead_in_winter_and_three_in_summer() -> None:
    # New York changed on 2024-03-10 and 2024-11-03, three weeks before and one week after Europe.
    ahead = [
        eet_new_york_dst(from_utc(datetime(2024, month, day, hour, 59, tzinfo=UTC))) // HOUR
        for month, day, hour in ((3, 10, 6), (3, 10, 7), (11, 3, 5), (11, 3, 6))
    ]
    assert ahead == [2, 3, 3, 2]
    assert fixed_offset(5)(MONDAY_NOON) == 5


def test_the_rollover_is_midnight_on_the_servers_clock() -> None:
    at = MONDAY_NOON
    for _ in range(400):
        following = next_rollover(at)
        assert at < following <= at + DAY + HOUR
        assert (following + eet_new_york_dst(following)) % DAY == 0
        at = following


def test_an_older_quote_does_not_reopen_a_closed_minute() -> None:
    store = RateStore(0.01, fixed_offset(0))
    store.load([bar(0, 1.0)], 0.0)
    store.on_quote(Quote(symbol="X", at=Millis(59_000), bid=9.0, ask=9.1))
    assert store.rates(60)["high"].tolist() == [1.002]


def test_a_closed_bar_of_a_later_minute_closes_what_the_quotes_formed() -> None:
    store = RateStore(0.01, fixed_offset(0))
    assert len(store.rates(300)) == 0
    store.on_quote(Quote(symbol="X", at=Millis(1_000), bid=9.0, ask=9.1))
    store.on_closed(bar(MINUTE, 1.0))
    assert store.rates(60)["close"].tolist() == [9.0, 1.001]
    assert store.rates(300)["open"].tolist() == [9.0]

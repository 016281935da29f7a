"""Tapes as quotes: the path inside a bar, the order of events, what becomes history, what is assumed."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.units import MINUTE, Millis
from dtms.errors import SettingsError
from dtms_lab.terminal.desk import MONDAY_NOON, SimDesk
from dtms_lab.terminal.driver import TapeDriver, TapeEvent
from dtms_lab.terminal.path import low_first, quote_of


@dataclass(frozen=True)
class Tape:
    symbol: str
    bars: tuple[Bar, ...] = ()
    asks: tuple[Bar, ...] | None = None
    quotes: tuple[Quote, ...] | None = None
    timeframe: Timeframe = field(default=Timeframe.M1)


def bars(count: int, *, start: int = MONDAY_NOON, lift: float = 0.0) -> tuple[Bar, ...]:
    return tuple(
        Bar(
            start=Millis(start + i * MINUTE),
            open=1.1 + lift,
            high=1.103 + lift,
            low=1.098 + lift,
            close=1.101 + lift,
            volume=9.0,
        )
        for i in range(count)
    )


def play(desk: SimDesk, driver: TapeDriver, count: int | None = None) -> list[TapeEvent]:
    events: list[TapeEvent] = []
    while driver.next_at is not None and (count is None or len(events) < count):
        desk.now = driver.next_at
        event = driver.step()
        assert event is not None
        events.append(event)
    return events


def bids(events: list[TapeEvent]) -> list[float]:
    return [event.quote.bid for event in events if event.quote is not None]


def test_a_bar_is_four_quotes_and_a_close() -> None:
    desk = SimDesk()
    events = play(desk, TapeDriver(desk.server, [Tape("EURUSD", bars(1))]))
    assert [event.at - MONDAY_NOON for event in events] == [0, 15_000, 30_000, 59_000, 60_000]
    assert bids(events) == [1.1, 1.098, 1.103, 1.101]
    assert events[-1].bar == bars(1)[0]
    rates = desk.terminal.copy_rates_from_pos("EURUSD", 1, 0, 9)
    assert rates is not None
    assert rates["tick_volume"].tolist() == [9]


@pytest.mark.parametrize(
    ("buys", "sells", "path"),
    [
        (0.2, 0.1, [1.1, 1.098, 1.103, 1.101]),
        (0.1, 0.2, [1.1, 1.103, 1.098, 1.101]),
        (0.1, 0.1, [1.1, 1.098, 1.103, 1.101]),
    ],
)
def test_the_extreme_against_the_open_trades_comes_first(buys: float, sells: float, path: list[float]) -> None:
    desk = SimDesk()
    driver = TapeDriver(desk.server, [Tape("EURUSD", bars(2))])
    play(desk, driver, 5)
    desk.buy("EURUSD", buys)
    desk.sell("EURUSD", sells)
    assert bids(play(desk, driver)) == path


def test_a_trade_opened_on_the_open_decides_the_path_of_its_own_bar() -> None:
    desk = SimDesk()
    driver = TapeDriver(desk.server, [Tape("EURUSD", bars(1))])
    play(desk, driver, 1)
    desk.sell("EURUSD", 0.1)
    assert bids(play(desk, driver)) == [1.103, 1.098, 1.101]


def test_a_bar_with_stop_and_target_ends_at_the_stop_on_both_sides() -> None:
    for side in (1, -1):
        desk = SimDesk()
        driver = TapeDriver(desk.server, [Tape("EURUSD", bars(2))])
        play(desk, driver, 5)
        send = desk.buy if side == 1 else desk.sell
        ticket = send("EURUSD", 0.1, sl=round(1.101 - side * 0.002, 5), tp=round(1.101 + side * 0.0015, 5)).order
        play(desk, driver)
        assert desk.deals(ticket)[-1].reason == 4


def test_the_ask_is_the_tapes_own_and_never_under_the_bid() -> None:
    desk = SimDesk()
    asks = (Bar(start=MONDAY_NOON, open=1.1002, high=1.102, low=1.0983, close=1.1012),)
    events = play(desk, TapeDriver(desk.server, [Tape("EURUSD", bars(1), asks)]))
    assert [e.quote.ask for e in events if e.quote is not None] == [1.1002, 1.0983, 1.103, 1.1012]


def test_without_asks_the_typical_spread_is_added_and_declared() -> None:
    desk = SimDesk()
    driver = TapeDriver(desk.server, [Tape("EURUSD", bars(1))])
    events = play(desk, driver)
    assert [e.quote.ask for e in events if e.quote is not None] == [1.1001, 1.0981, 1.1031, 1.1011]
    assert any("EURUSD: the tape has no ask; ask = bid + 0.0001" in line for line in driver.assumptions)
    with_asks = TapeDriver(SimDesk().server, [Tape("EURUSD", bars(1), bars(1))])
    assert not any("no ask" in line for line in with_asks.assumptions)


def test_several_tapes_come_in_the_order_of_time_and_bars_close_before_new_quotes() -> None:
    desk = SimDesk()
    late = bars(2, start=MONDAY_NOON + 2 * MINUTE, lift=0.2)
    events = play(desk, TapeDriver(desk.server, [Tape("EURUSD", bars(3)), Tape("GBPUSD", late)]))
    assert [e.at for e in events] == sorted(e.at for e in events)
    at_two = [(e.symbol, e.bar is not None) for e in events if e.at == MONDAY_NOON + 2 * MINUTE]
    assert at_two == [("EURUSD", True), ("EURUSD", False), ("GBPUSD", False)]


def test_what_lies_before_the_start_is_history_and_its_close_the_last_quote() -> None:
    desk = SimDesk()
    start = Millis(MONDAY_NOON + 3 * MINUTE)
    driver = TapeDriver(desk.server, [Tape("EURUSD", bars(5))], start=start)
    assert driver.next_at == start
    rates = desk.terminal.copy_rates_from_pos("EURUSD", 1, 0, 99)
    assert rates is not None
    assert len(rates) == 3
    assert desk.server.state.quotes["EURUSD"].bid == 1.101
    assert len(play(desk, driver)) == 10
    assert (driver.start, driver.end, driver.step()) == (start, MONDAY_NOON + 5 * MINUTE, None)


def test_advance_applies_everything_up_to_an_instant() -> None:
    desk = SimDesk()
    driver = TapeDriver(desk.server, [Tape("EURUSD", bars(5))])
    assert [e.at - MONDAY_NOON for e in driver.advance(Millis(MONDAY_NOON + 30_000))] == [0, 15_000, 30_000]
    assert driver.advance(Millis(MONDAY_NOON + 30_000)) == ()


def test_a_tape_of_quotes_is_played_as_it_is() -> None:
    desk = SimDesk()
    quotes = tuple(
        Quote(symbol="EURUSD", at=Millis(MONDAY_NOON + i * 20_000), bid=1.1 + i / 1000, ask=1.2) for i in range(5)
    )
    driver = TapeDriver(desk.server, [Tape("EURUSD", quotes=quotes)], start=Millis(MONDAY_NOON + 20_000))
    assert [e.quote for e in play(desk, driver)] == list(quotes[1:])
    rates = desk.terminal.copy_rates_from_pos("EURUSD", 1, 0, 9)
    assert rates is not None
    assert rates["tick_volume"].tolist() == [3, 2]


@pytest.mark.parametrize(
    ("tapes", "sentence"),
    [
        ([], "one tape a symbol"),
        ([Tape("EURUSD", bars(1)), Tape("EURUSD", bars(1))], "one tape a symbol"),
        ([Tape("NOPE", bars(1))], "no symbol 'NOPE'; it has BTCUSD"),
        ([Tape("EURUSD")], "the tape of EURUSD is empty"),
    ],
)
def test_an_unusable_tape_is_refused_with_the_reason(tapes: list[Tape], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        TapeDriver(SimDesk().server, tapes)


def test_a_start_behind_the_tape_is_refused() -> None:
    with pytest.raises(SettingsError, match="choose an earlier start"):
        TapeDriver(SimDesk().server, [Tape("EURUSD", bars(1))], start=Millis(MONDAY_NOON + 5 * MINUTE))


def test_the_path_is_the_mirror_of_the_path_of_the_mirrored_bar() -> None:
    one = bars(1)[0]
    mirrored = Bar(start=one.start, open=2.2 - one.open, high=2.2 - one.low, low=2.2 - one.high, close=2.2 - one.close)
    assert low_first(0.1) is not low_first(-0.1)
    for step in range(4):
        long = quote_of("EURUSD", step, one, None, spread=0.0, digits=5, low=low_first(0.1))
        short = quote_of("EURUSD", step, mirrored, None, spread=0.0, digits=5, low=low_first(-0.1))
        assert short.bid == pytest.approx(2.2 - long.bid, abs=1e-12)

"""The server's clock is learnt from whatever is at hand, in whatever order questions come."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mt5.conftest import BUY, EURUSD, NOW, OFFSET, Bench

from dtms.adapters.mt5 import Mt5Broker
from dtms.adapters.sql import open_ledger
from dtms.app.market.market_data import MarketData
from dtms.domain.market import Timeframe
from dtms.domain.policy import Policies
from dtms.domain.server_offset import SeenOffset
from dtms.domain.units import DAY, HOUR, MINUTE, SECOND, Millis
from dtms.errors import InvalidDataError, StaleDataError

QUESTIONS: dict[str, Callable[[Mt5Broker], object]] = {
    "account": lambda broker: broker.account(),
    "positions": lambda broker: broker.positions(),
    "quote": lambda broker: broker.quote("EURUSD"),
    "bars": lambda broker: broker.bars("EURUSD", Timeframe.M1, 2),
}


class Quiet(Bench):
    """EURUSD does not move; GOLD, which nobody asked about, is in Market Watch and does."""

    def __init__(self, ahead: int = OFFSET) -> None:
        self.ahead = ahead
        super().__init__()
        self.broker = self.make_broker(seen=None)
        self.terminal.symbols["GOLD"] = EURUSD | {"name": "GOLD"}
        self.terminal.symbols["IDLE"] = EURUSD | {"name": "IDLE", "select": False}
        self.terminal.ticks["EURUSD"]["time_msc"] = NOW + ahead - 20 * MINUTE
        self.terminal.ticks["GOLD"] = {"bid": 2000.0, "ask": 2000.2, "time_msc": NOW + ahead - SECOND}
        minute = NOW - NOW % MINUTE
        self.terminal.rates = [((minute - n * MINUTE + ahead) // 1_000, 1.1, 1.2, 1.0, 1.15, 7) for n in (3, 2, 1)]

    def move(self) -> None:
        """Let a second pass, in which GOLD alone is quoted."""
        self.now = Millis(self.now + SECOND)
        self.terminal.ticks["GOLD"]["time_msc"] = self.now + self.ahead - 200

    def ask(self, question: str) -> bool:
        try:
            QUESTIONS[question](self.broker)
        except StaleDataError:
            return False
        return True


@given(
    first=st.lists(st.sampled_from(sorted(QUESTIONS)), min_size=1, max_size=4),
    last=st.sampled_from(sorted(QUESTIONS)),
    quarters=st.integers(-48, 56),
)
def test_any_question_in_any_order_teaches_the_offset(first: list[str], last: str, quarters: int) -> None:
    bench = Quiet(quarters * 15 * MINUTE)
    for question in first:
        bench.ask(question)
    bench.move()

    assert bench.ask(last)
    assert bench.broker.server_clock.offset(bench.now) == bench.ahead


def test_bars_alone_are_had_once_another_symbol_of_market_watch_has_moved() -> None:
    bench = Quiet()
    before = bench.ask("bars")
    bench.move()

    assert (before, bench.ask("bars")) == (False, True)
    assert bench.broker.bars("EURUSD", Timeframe.M1, 1)[0].start == NOW - NOW % MINUTE - MINUTE


def test_the_market_desk_opens_a_symbol_without_having_asked_for_a_quote() -> None:
    bench = Quiet()
    ledger = open_ledger("sqlite://", account="Broker-Live:10000042", clock=lambda: bench.now)
    desk = MarketData(reads=bench.broker, ledger=ledger, policies=Policies())
    with pytest.raises(StaleDataError, match="until a quote of any symbol in Market Watch changes"):
        desk.symbol("EURUSD", bench.now)
    bench.move()

    assert desk.symbol("EURUSD", bench.now).instrument.symbol == "EURUSD"
    ledger.close()


def test_a_closed_market_blocks_neither_account_nor_positions_nor_deals() -> None:
    bench = Quiet()
    bench.terminal.open.append({**BUY})
    for _ in range(20):
        bench.now = Millis(bench.now + MINUTE)
        assert bench.broker.account().login
        assert [p.ticket for p in bench.broker.positions().positions] == [501]
        assert bench.broker.deals(501) == ()
        assert not bench.ask("bars")


def test_a_look_that_fails_costs_nobody_an_answer() -> None:
    bench = Quiet()
    bench.terminal.silent["symbols_get"] = (-1, "Terminal: Call failed")

    assert bench.ask("positions")
    assert bench.ask("account")


def test_a_closed_market_is_not_looked_at_with_every_question() -> None:
    bench = Quiet()
    for _ in range(10):
        bench.ask("positions")

    assert bench.terminal.calls.count("symbol_info_tick") == 2


def test_over_a_weekend_the_ticks_are_looked_at_ever_more_seldom_and_the_opening_is_seen() -> None:
    bench = Quiet()
    for _ in range(4 * 3_600):
        bench.now = Millis(bench.now + SECOND // 4)
        bench.ask("positions")
    looks = bench.terminal.calls.count("symbol_info_tick") // 2  # two symbols a look

    bench.move()
    bench.now = Millis(bench.now + 6 * SECOND)
    bench.ask("positions")

    assert looks <= 3_600 // 5 + 100
    assert bench.broker.server_clock.seen is not None


def test_the_last_known_offset_stands_in_until_a_tick_is_seen() -> None:
    bench = Quiet()
    bench.broker.server_clock.recall(SeenOffset(ahead=OFFSET, at=Millis(NOW - 3 * DAY)))

    had = bench.ask("bars")
    before = (bench.broker.server_clock.recalled, bench.broker.server_clock.seen)
    bench.move()
    bench.ask("account")

    assert had
    assert before == (SeenOffset(ahead=OFFSET, at=Millis(NOW - 3 * DAY)), None)
    after = (bench.broker.server_clock.recalled, bench.broker.server_clock.seen)
    assert after == (None, SeenOffset(ahead=OFFSET, at=bench.now))


@pytest.mark.parametrize("shown_by", ["quote", "bars"])
def test_a_last_known_offset_that_would_put_the_market_into_the_future_is_forgotten(shown_by: str) -> None:
    bench = Quiet()
    bench.terminal.ticks["EURUSD"]["time_msc"] = bench.terminal.ticks["GOLD"]["time_msc"]
    bench.broker.server_clock.recall(SeenOffset(ahead=OFFSET - HOUR, at=Millis(NOW - 3 * DAY)))

    assert not bench.ask(shown_by)
    assert bench.broker.server_clock.recalled is None
    bench.move()
    assert bench.ask(shown_by)


def test_bars_of_the_future_are_refused_until_the_offset_is_learnt_anew() -> None:
    bench = Quiet()
    for _ in range(9):
        bench.move()
        bench.ask("quote")
    bench.terminal.rates = [((bench.now + OFFSET + HOUR) // 1_000, 1.1, 1.2, 1.0, 1.15, 7)]

    with pytest.raises(StaleDataError, match="dated after now"):
        bench.broker.bars("EURUSD", Timeframe.M1, 2)


def test_no_clock_on_earth_is_a_day_ahead() -> None:
    with pytest.raises(InvalidDataError, match="clocks on earth"):
        SeenOffset(ahead=DAY, at=NOW)

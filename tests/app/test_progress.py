"""What is not done is told: symbols that cannot be read, bars that are not decided, errors that keep coming."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.app.rig import SYMBOL, Rig

from dtms.app.journal.mode_facts import read_modes
from dtms.app.modes.error_trend import LASTING_NS, LEAST, QUIET_NS, ErrorTrend
from dtms.domain.market import Quote
from dtms.domain.modes import Cause, Mode
from dtms.domain.trade import Hold, Owner
from dtms.domain.units import DAY
from dtms.errors import BrokerUnavailableError, InvalidDataError
from dtms.ports.notifier import AlertKind

_SECOND_NS = 1_000_000_000


def blind(symbol: str) -> Any:
    raise InvalidDataError(f"bars of {symbol}: the server's offset is not known yet; wait for a quote")


def silent(symbol: str) -> Any:
    raise BrokerUnavailableError(f"bars of {symbol}: no answer")


@dataclass(slots=True)
class Dark:
    """The broker's reads of which those of some symbols' bars go wrong in one way."""

    reads: Any
    goes_wrong: Callable[[str], Any] = blind
    symbols: set[str] = field(default_factory=set)

    def bars(self, symbol: str, *rest: Any) -> Any:
        return self.goes_wrong(symbol) if symbol in self.symbols else self.reads.bars(symbol, *rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reads, name)


@pytest.fixture
def dark(rig: Rig) -> Dark:
    made = Dark(rig.broker)
    reads: Any = rig.reads
    reads.reads = made
    return made


def live(rig: Rig, seconds: int, *, quoted: bool = True, every: int = 5) -> None:
    for _ in range(seconds // every):
        rig.wait(every)
        if quoted:
            rig.price(2_000.0)
        rig.settle()


def standing(rig: Rig) -> dict[Cause, str]:
    with rig.ledger.read() as tx:
        return {told.cause: told.detail for told in read_modes(tx).causes if told.ended is None}


def modes_told(rig: Rig) -> list[tuple[str, str]]:
    return [(alert.subject, alert.detail) for alert in rig.notifier.alerts if alert.kind is AlertKind.MODE]


def test_a_restart_that_cannot_read_the_bars_of_an_open_trade_calls_within_a_minute(rig: Rig, dark: Dark) -> None:
    trade = rig.managed()
    dark.symbols.add(SYMBOL)
    rig.start(epoch=2)
    with capture_logs() as logs:
        live(rig, 120)

    (told,) = modes_told(rig)
    assert told[0] == Mode.DEGRADED
    assert "market_unread: XAUUSD could not be read for 60 s" in told[1]
    assert "the server's offset is not known yet" in told[1]
    assert standing(rig).keys() == {Cause.MARKET_UNREAD}
    written = [line for line in logs if line["event"] == "a symbol cannot be read"]
    assert [line["subject"] for line in written] == [SYMBOL] * 2
    assert written[1]["held_back"] > 0
    dark.symbols.clear()
    live(rig, 5)
    assert standing(rig) == {}
    live(rig, 400)
    assert rig.trade(trade.ticket).last_bar is not None


def test_a_symbol_that_cannot_be_read_while_its_market_is_closed_calls_nobody(rig: Rig, dark: Dark) -> None:
    rig.managed()
    dark.symbols.add(SYMBOL)
    rig.start(epoch=2)
    rig.wait(4 * DAY / 1_000)  # Saturday
    live(rig, 600, quoted=False)
    assert (standing(rig), modes_told(rig)) == ({}, [])


def test_one_symbol_without_an_answer_leaves_the_other_trades_their_decisions(rig: Rig, dark: Dark) -> None:
    trade = rig.managed()
    rig.sim.on_quote(Quote(symbol="EURUSD", at=rig.clock.now, bid=1.1, ask=1.1001))
    rig.server.desk.symbol("EURUSD", rig.clock.now)
    dark.goes_wrong = silent
    dark.symbols.add("EURUSD")
    live(rig, 660)
    last = rig.trade(trade.ticket).last_bar
    assert last is not None
    assert rig.clock.now - last < 310_000


def test_bars_that_stay_away_while_quotes_come_are_told_when_the_second_has_closed(rig: Rig, dark: Dark) -> None:
    trade = rig.managed()
    dark.goes_wrong = lambda _symbol: ()
    dark.symbols.add(SYMBOL)
    live(rig, 600)
    assert standing(rig) == {}
    live(rig, 30)
    assert list(standing(rig)) == [Cause.UNDECIDED]
    assert f"for: {trade.ticket}" in standing(rig)[Cause.UNDECIDED]
    dark.symbols.clear()
    live(rig, 310)
    assert standing(rig) == {}
    assert [subject for subject, _ in modes_told(rig)] == [Mode.DEGRADED]


def test_a_market_without_quotes_owes_nobody_a_decision(rig: Rig, dark: Dark) -> None:
    rig.managed()
    dark.goes_wrong = lambda _symbol: ()
    dark.symbols.add(SYMBOL)
    live(rig, 3_600, quoted=False)
    assert Cause.UNDECIDED not in standing(rig)


@pytest.mark.parametrize("left_alone", [{"hold": Hold.BY_HAND}, {"owner": Owner.NONE}], ids=["held", "advisory"])
def test_a_trade_that_is_left_alone_is_owed_nothing(rig: Rig, dark: Dark, left_alone: dict[str, Any]) -> None:
    rig.put(replace(rig.managed(), **left_alone))
    dark.symbols.add(SYMBOL)
    live(rig, 1_200)
    assert standing(rig) == {}


def test_a_second_symbol_that_goes_dark_is_called_for_although_the_mode_stays(rig: Rig) -> None:
    rig.server.monitor.modes.restate(Cause.MARKET_UNREAD, "EURUSD could not be read")
    rig.settle()
    rig.server.monitor.modes.restate(Cause.MARKET_UNREAD, "EURUSD, XAUUSD could not be read")
    rig.settle()
    assert [subject for subject, _ in modes_told(rig)] == [Mode.DEGRADED, "DEGRADED market_unread"]


@given(st.lists(st.integers(0, 2 * QUIET_NS), max_size=200))
def test_errors_grow_only_where_ten_came_over_a_minute_without_half_a_minute_of_rest(gaps: list[int]) -> None:
    trend, now_ns, series = ErrorTrend(), 0, [0]
    trend.count(0)
    for gap in gaps:
        now_ns += gap
        series = [now_ns] if gap >= QUIET_NS else [*series, now_ns]
        trend.count(now_ns)
        assert trend.grows(now_ns) is (len(series) >= LEAST and series[-1] - series[0] >= LASTING_NS)
    assert trend.grows(now_ns + QUIET_NS) is False

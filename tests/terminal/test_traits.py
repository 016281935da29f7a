"""A terminal that has just been started: nothing in Market Watch, histories that come late, no quote before the next one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.domain.market import Bar, Quote
from dtms.domain.units import HOUR, MINUTE, SECOND, Millis, from_utc
from dtms.errors import SettingsError
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.desk import MONDAY_NOON
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.server_time import offset_of
from dtms_lab.terminal.terminal import SimTerminal
from dtms_lab.terminal.traits import FRESH, RUNNING, Traits, read_traits, traits_text

_M1 = Mt5.TIMEFRAME_M1


class Started:
    """A terminal that is started over a server with a quote of a minute ago and a thousand minutes of history."""

    def __init__(self, traits: Traits = FRESH) -> None:
        self.now = MONDAY_NOON
        self.server = SimServer(now=lambda: self.now, offset=offset_of(traits.zone))
        bars = [
            Bar(start=Millis(MONDAY_NOON - n * MINUTE), open=1.1, high=1.1, low=1.1, close=1.1, volume=1.0)
            for n in range(1_000, 0, -1)
        ]
        self.server.load_history("EURUSD", bars)
        self.server.on_quote(Quote(symbol="EURUSD", at=Millis(MONDAY_NOON - MINUTE), bid=1.1, ask=1.1001))
        self.terminal = SimTerminal(self.server, backend=TerminalBackend(self.server, traits=traits))
        self.terminal.initialize()

    def after(self, ms: int) -> None:
        """Let time pass and a quote come."""
        self.now = Millis(self.now + ms)
        self.server.on_quote(Quote(symbol="EURUSD", at=self.now, bid=1.2, ask=1.2001))

    def tick(self) -> Any:
        return self.terminal.symbol_info_tick("EURUSD")

    def bars(self) -> int | None:
        found = self.terminal.copy_rates_from_pos("EURUSD", _M1, 0, 2_000)
        return None if found is None else len(found)


def test_a_symbol_that_is_not_selected_has_no_quote_however_long_one_waits() -> None:
    desk = Started()
    desk.after(HOUR)
    assert desk.tick() is None
    assert desk.terminal.last_error()[0] == Mt5.RES_E_NOT_FOUND
    info = desk.terminal.symbol_info("EURUSD")
    assert info is not None
    assert (info.select, info.time, info.bid, info.trade_tick_value) == (False, 0, 0.0, 0.0)


def test_a_selected_symbol_has_a_tick_of_zeros_and_after_a_while_its_quote() -> None:
    desk = Started()
    assert desk.terminal.symbol_select("EURUSD")
    desk.after(FRESH.quotes_after - 1)
    assert (desk.tick().time, desk.tick().time_msc, desk.tick().bid) == (0, 0, 0.0)
    assert desk.terminal.last_error()[0] == Mt5.RES_S_OK
    desk.after(1)
    assert desk.tick().bid == 1.2


def test_a_quote_from_before_the_start_is_shown_only_where_the_server_hands_it_out() -> None:
    for traits, bid in ((Traits(), 0.0), (Traits(last_ticks=True), 1.1)):
        desk = Started(traits)
        desk.terminal.symbol_select("EURUSD")
        desk.now = Millis(desk.now + HOUR)
        assert desk.tick().bid == bid


def test_an_open_position_alone_brings_no_quote() -> None:
    desk = Started()
    other = SimTerminal(desk.server)
    other.initialize()
    deal = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "type_filling": 1}
    done = other.order_send(deal)
    assert done is not None
    assert done.retcode == Mt5.TRADE_RETCODE_DONE
    desk.after(HOUR)
    assert desk.terminal.positions_total() == 1
    assert desk.tick() is None


def test_a_history_is_none_then_short_then_whole_for_each_timeframe_by_itself() -> None:
    desk = Started()
    assert desk.bars() is None
    assert desk.terminal.last_error()[0] == Mt5.RES_E_FAIL
    desk.now = Millis(desk.now + FRESH.history_after // 2)
    assert desk.bars() == FRESH.history_first
    desk.now = Millis(desk.now + FRESH.history_after // 2)
    assert desk.bars() == 1_000
    assert desk.terminal.copy_rates_from_pos("EURUSD", Mt5.TIMEFRAME_M5, 0, 9) is None


def test_a_terminal_that_has_run_for_long_has_what_is_asked_for() -> None:
    desk = Started(RUNNING)
    desk.terminal.symbol_select("EURUSD")
    assert desk.tick().bid == 1.1
    assert desk.bars() == 1_000


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("new-york+7", datetime(2024, 3, 10, 7, 0, tzinfo=UTC)),
        ("new-york+7", datetime(2024, 11, 3, 6, 0, tzinfo=UTC)),
        ("Europe/Athens", datetime(2024, 3, 31, 1, 0, tzinfo=UTC)),
        ("Europe/Athens", datetime(2024, 10, 27, 1, 0, tzinfo=UTC)),
    ],
)
def test_stamps_are_of_the_servers_zone_and_change_with_its_summer_time(zone: str, change: datetime) -> None:
    desk = Started(Traits(zone=zone, market_watch=frozenset({"EURUSD"}), quotes_after=0))
    at, ahead = from_utc(change), (3, 2) if change.month > 6 else (2, 3)
    for place, moment in enumerate((Millis(at - SECOND), at)):
        desk.now = moment
        desk.after(0)
        assert desk.tick().time_msc - moment == ahead[place] * HOUR


@given(
    st.builds(
        Traits,
        market_watch=st.frozensets(st.text(min_size=1, max_size=9)),
        quotes_after=st.integers(0, 10**6),
        history_after=st.integers(0, 10**6),
        history_first=st.integers(1, 10**6),
        last_ticks=st.booleans(),
        watches_positions=st.booleans(),
        zone=st.sampled_from(("new-york+7", "Europe/Athens", "UTC")),
    )
)
def test_traits_come_back_from_their_text(traits: Traits) -> None:
    assert read_traits(traits_text(traits)) == traits


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ('{"quotes_after": "soon"}', "cannot be read"),
        ('{"quotes_afer": 1}', "no trait 'quotes_afer'; it has market_watch, quotes_after"),
        ('{"quotes_after": -1}', "quotes_after is -1 ms; it must be 0 or more"),
        ('{"history_first": 0}', "history_first is 0 bars; it must be 1 or more"),
        ('{"zone": "Europe/Atlantis"}', "no zone 'Europe/Atlantis'"),
    ],
)
def test_traits_that_no_terminal_has_are_refused_with_what_there_is(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_traits(text)

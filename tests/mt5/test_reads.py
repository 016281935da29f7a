"""Reads of the terminal: in our words, and never "nothing there" for "could not tell"."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from dtms.domain.instrument import AssetClass
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import AccountKind, DealEntry, DealReason, Position, WorkingOrder
from dtms.domain.units import DAY, HOUR, MINUTE, SECOND, Millis, Side, Ticket
from dtms.errors import BrokerUnavailableError, InvalidDataError, NotEnoughBarsError, StaleDataError

if TYPE_CHECKING:
    from tests.mt5.conftest import Bench

NOW = Millis(1_700_000_000_000)
OFFSET = 2 * HOUR
DEAL: dict[str, Any] = {
    "ticket": 601,
    "order": 501,
    "position_id": 501,
    "symbol": "EURUSD",
    "type": 0,
    "entry": 0,
    "reason": 3,
    "volume": 0.3,
    "price": 1.1,
    "commission": -0.9,
    "comment": "by hand",
    "time_msc": NOW - HOUR + OFFSET,
}

READS: dict[str, Callable[[Bench], object]] = {
    "account": lambda bench: bench.broker.account(),
    "positions": lambda bench: bench.broker.positions(),
    "instrument": lambda bench: bench.broker.instrument("EURUSD"),
    "quote": lambda bench: bench.broker.quote("EURUSD"),
    "bars": lambda bench: bench.broker.bars("EURUSD", Timeframe.M1, 10),
    "deals": lambda bench: bench.broker.deals(501),
    "deals_between": lambda bench: bench.broker.deals_between(Millis(NOW - DAY), NOW),
}
CALLS = {
    "account": "account_info",
    "positions": "positions_get",
    "instrument": "symbol_info",
    "quote": "symbol_info_tick",
    "bars": "copy_rates_from_pos",
    "deals": "history_deals_get",
    "deals_between": "history_deals_get",
}


@pytest.mark.parametrize("read", READS)
def test_none_is_never_an_answer(bench: Bench, read: str) -> None:
    bench.terminal.silent[CALLS[read]] = (-10002, "IPC recv failed")

    with pytest.raises(BrokerUnavailableError, match=rf"{CALLS[read]}.*-10002 \(IPC recv failed\)"):
        READS[read](bench)


@pytest.mark.parametrize("read", READS)
def test_a_bridge_that_raises_is_unavailable(bench: Bench, read: str) -> None:
    bench.terminal.raising[CALLS[read]] = EOFError("connection closed by peer")

    with pytest.raises(BrokerUnavailableError, match="connection closed by peer"):
        READS[read](bench)


@pytest.mark.parametrize("read", ["account", "positions", "deals", "deals_between"])
def test_a_terminal_without_its_server_is_not_believed(bench: Bench, read: str) -> None:
    bench.terminal.terminal["connected"] = False

    with pytest.raises(BrokerUnavailableError, match="no connection to its trade server"):
        READS[read](bench)


@pytest.mark.parametrize("read", ["positions", "deals", "deals_between"])
def test_a_connection_lost_during_the_read_spoils_it(bench: Bench, read: str) -> None:
    bench.terminal.on_call[CALLS[read]] = lambda: bench.terminal.terminal.update(connected=False)

    with pytest.raises(BrokerUnavailableError, match="no connection to its trade server"):
        READS[read](bench)


@pytest.mark.parametrize("read", ["positions", "deals", "deals_between"])
def test_an_account_changed_during_the_read_spoils_it(bench: Bench, read: str) -> None:
    bench.terminal.on_call[CALLS[read]] = lambda: bench.terminal.account.update(login=666)

    with pytest.raises(BrokerUnavailableError, match=r"account 666 .* expected is 10000042"):
        READS[read](bench)


def test_the_first_account_seen_is_the_expected_one_where_none_is_given(bench: Bench) -> None:
    broker = bench.make_broker(expected_login=None, expected_server=None)
    broker.positions()
    bench.terminal.account["server"] = "Other-Live"

    with pytest.raises(BrokerUnavailableError, match="on Other-Live"):
        broker.positions()


def test_an_empty_tuple_is_an_answer(bench: Bench) -> None:
    assert bench.broker.positions().positions == ()
    assert bench.broker.deals(501) == ()


def test_a_broken_link_is_opened_anew_before_the_next_read(bench: Bench) -> None:
    bench.broker.positions()
    bench.terminal.silent["positions_get"] = (-10000, "IPC call failed")
    with pytest.raises(BrokerUnavailableError):
        bench.broker.positions()
    del bench.terminal.silent["positions_get"]
    bench.terminal.calls.clear()
    bench.broker.positions()

    assert bench.terminal.calls[:2] == ["shutdown", "initialize"]


def test_a_failure_of_one_question_keeps_the_link(bench: Bench) -> None:
    bench.broker.positions()
    bench.terminal.silent["positions_get"] = (-1, "Terminal: Call failed")
    with pytest.raises(BrokerUnavailableError):
        bench.broker.positions()
    bench.terminal.calls.clear()
    with pytest.raises(BrokerUnavailableError):
        bench.broker.positions()

    assert "initialize" not in bench.terminal.calls


def test_a_reason_that_cannot_be_read_is_said_to_be_unreadable(bench: Bench) -> None:
    bench.terminal.silent["positions_get"] = (-10002, "IPC recv failed")
    bench.terminal.raising["last_error"] = OSError("pipe is gone")

    with pytest.raises(BrokerUnavailableError, match=r"last_error itself failed.*pipe is gone"):
        bench.broker.positions()


def test_connecting_says_whose_account_it_is_and_a_closed_link_is_opened_by_the_next_read(bench: Bench) -> None:
    key = bench.broker.connect().key
    bench.broker.close()
    bench.terminal.calls.clear()
    bench.broker.account()

    assert (key, bench.terminal.calls[:2]) == ("Broker-Live:10000042", ["shutdown", "initialize"])


def test_a_terminal_that_does_not_start_is_named(bench: Bench) -> None:
    bench.terminal.silent["initialize"] = (-10003, "IPC initialize failed")

    with pytest.raises(BrokerUnavailableError, match=r"initialize.*-10003"):
        bench.broker.connect()


def test_a_position_is_read_in_our_words(bench: Bench) -> None:
    assert bench.hold() == Position(
        ticket=Ticket(501),
        identifier=501,
        symbol="EURUSD",
        side=Side.BUY,
        volume=0.3,
        entry=1.1,
        stop=1.09,
        target=1.12,
        current=1.101,
        profit=30.0,
        swap=-1.5,
        magic=77,
        comment="by hand",
        opened_at=Millis(NOW - HOUR),
    )


def test_a_level_of_zero_is_no_level(bench: Bench) -> None:
    position = bench.hold(sl=0.0, tp=0.0, type=1)

    assert (position.stop, position.target, position.side) == (None, None, Side.SELL)


def test_a_position_of_an_unknown_type_is_an_error(bench: Bench) -> None:
    with pytest.raises(InvalidDataError, match="position 501: type 7"):
        bench.hold(type=7)


def test_each_read_of_positions_has_a_greater_token(bench: Bench) -> None:
    tokens = [bench.broker.positions().token for _ in range(3)]

    assert tokens == [1, 2, 3]
    assert bench.broker.positions().as_of == NOW


def test_the_account_is_read_in_our_words(bench: Bench) -> None:
    account = bench.broker.account()

    assert (account.key, account.kind, account.currency) == ("Broker-Live:10000042", AccountKind.REAL, "USD")
    assert (account.hedging, account.fifo, account.margin_level) == (True, False, 9_118.2)
    assert (account.balance, account.equity, account.margin, account.margin_free) == (10_000, 10_030, 110, 9_920)


@pytest.mark.parametrize(("mode", "kind"), [(0, AccountKind.DEMO), (1, AccountKind.CONTEST), (2, AccountKind.REAL)])
def test_the_kind_of_money_is_the_accounts(bench: Bench, mode: int, kind: AccountKind) -> None:
    bench.terminal.account["trade_mode"] = mode

    assert bench.broker.account().kind is kind


def test_an_unknown_kind_of_money_is_an_error(bench: Bench) -> None:
    bench.terminal.account["trade_mode"] = 3

    with pytest.raises(InvalidDataError, match="trade mode 3"):
        bench.broker.account()


def test_the_simulated_terminal_says_so(bench: Bench) -> None:
    bench.terminal.terminal["name"] = "DTMS Simulated Terminal"

    assert bench.broker.account().kind is AccountKind.SIMULATED


def test_no_margin_used_is_no_margin_level(bench: Bench) -> None:
    bench.terminal.account |= {"margin": 0.0, "margin_level": 0.0}

    assert bench.broker.account().margin_level is None


@pytest.mark.parametrize(
    ("where", "field", "value"),
    [
        ("account", "trade_allowed", False),
        ("account", "trade_expert", False),
        ("terminal", "trade_allowed", False),
        ("terminal", "tradeapi_disabled", True),
    ],
)
def test_trading_is_allowed_only_where_everybody_allows_it(bench: Bench, where: str, field: str, value: bool) -> None:
    before = bench.broker.account().trade_allowed
    getattr(bench.terminal, where)[field] = value

    assert (before, bench.broker.account().trade_allowed) == (True, False)


def test_an_instrument_has_its_levels_in_price_units(bench: Bench) -> None:
    found = bench.broker.instrument("EURUSD")

    assert (found.canonical, found.asset, found.digits) == ("EURUSD", AssetClass.FX, 5)
    assert found.stops_level == pytest.approx(0.0001)
    assert found.freeze_level == pytest.approx(0.00005)
    assert found.value_per_unit == pytest.approx(100_000.0)
    assert (found.volume_limit, found.hedge_allowed, found.opening_allowed) == (None, True, True)


def test_levels_are_counted_in_points_and_value_in_ticks(bench: Bench) -> None:
    bench.terminal.symbols["EURUSD"] |= {
        "digits": 2,
        "point": 0.01,
        "trade_tick_size": 0.25,
        "trade_tick_value_loss": 5.0,
    }
    found = bench.broker.instrument("EURUSD")

    assert (found.point, found.tick_size, found.value_per_unit) == (0.01, 0.25, 20.0)
    assert found.stops_level == pytest.approx(0.1)


def test_a_tick_size_of_zero_is_the_point(bench: Bench) -> None:
    bench.terminal.symbols["EURUSD"]["trade_tick_size"] = 0.0

    assert bench.broker.instrument("EURUSD").tick_size == 0.00001


def test_the_value_of_a_unit_is_the_losing_sides(bench: Bench) -> None:
    bench.terminal.symbols["EURUSD"] |= {"trade_tick_value": 0.9, "trade_tick_value_loss": 0.95}
    losing = bench.broker.instrument("EURUSD").value_per_unit
    bench.terminal.symbols["EURUSD"]["trade_tick_value_loss"] = 0.0

    assert losing == pytest.approx(95_000.0)
    assert bench.broker.instrument("EURUSD").value_per_unit == pytest.approx(90_000.0)


def test_a_tick_value_of_zero_is_not_known_rather_than_worthless(bench: Bench) -> None:
    bench.terminal.symbols["EURUSD"] |= {"trade_tick_value": 0.0, "trade_tick_value_loss": 0.0}

    with pytest.raises(BrokerUnavailableError, match=r"tick value 0\.0"):
        bench.broker.instrument("EURUSD")


def test_an_instrument_follows_its_specification(bench: Bench) -> None:
    before = bench.broker.instrument("EURUSD")
    again = bench.broker.instrument("EURUSD")
    bench.terminal.symbols["EURUSD"] |= {"trade_stops_level": 50, "volume_step": 0.1, "volume_limit": 5.0}
    after = bench.broker.instrument("EURUSD")

    assert again is before
    assert after.stops_level == pytest.approx(0.0005)
    assert (after.volume_step, after.volume_limit) == (0.1, 5.0)


@pytest.mark.parametrize(("mode", "fifo", "allowed"), [(2, False, True), (2, True, False), (0, False, False)])
def test_hedging_needs_a_hedging_account_without_fifo(bench: Bench, mode: int, fifo: bool, allowed: bool) -> None:
    bench.terminal.account |= {"margin_mode": mode, "fifo_close": fifo}

    assert bench.broker.instrument("EURUSD").hedge_allowed is allowed


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_opening_needs_full_trading(bench: Bench, mode: int) -> None:
    bench.terminal.symbols["EURUSD"]["trade_mode"] = mode

    assert not bench.broker.instrument("EURUSD").opening_allowed


def test_a_decorated_symbol_keeps_its_spelling_and_gets_ours(bench: Bench) -> None:
    bench.terminal.symbols["EURUSD.r"] = bench.terminal.symbols["EURUSD"] | {"name": "EURUSD.r"}
    found = bench.broker.instrument("EURUSD.r")

    assert (found.symbol, found.canonical) == ("EURUSD.r", "EURUSD")


@pytest.mark.parametrize(
    ("name", "facts", "canonical", "asset"),
    [
        ("GOLD", {"path": "Metals\\GOLD", "trade_calc_mode": 4, "currency_base": "XAU"}, "XAUUSD", AssetClass.METAL),
        (
            "GOLD",
            {"path": "Stocks\\NYSE\\GOLD", "trade_calc_mode": 2, "currency_base": "USD"},
            "GOLD",
            AssetClass.OTHER,
        ),
        ("GOLD", {"path": "US\\GOLD", "trade_calc_mode": 32, "currency_base": "USD"}, "GOLD", AssetClass.OTHER),
        ("GOLD", {"currency_base": "XAU", "currency_profit": "EUR", "trade_calc_mode": 4}, "XAUEUR", AssetClass.METAL),
        ("Euro-Dollar", {"currency_base": "EUR", "currency_profit": "USD"}, "EURUSD", AssetClass.FX),
        ("Euro-Dollar OTC", {"currency_base": "EUR", "currency_profit": "USD"}, "EURO-DOLLAR OTC", AssetClass.OTHER),
        ("EU6", {"currency_base": "EUR", "currency_profit": "USD", "trade_calc_mode": 1}, "EU6", AssetClass.OTHER),
        ("m.EURUSD", {}, "EURUSD", AssetClass.FX),
        (
            "XAUUSD.£",
            {"currency_base": "USD", "currency_profit": "USD", "trade_calc_mode": 4},
            "XAUUSD",
            AssetClass.METAL,
        ),
    ],
)
def test_a_symbol_is_what_its_name_says_and_the_brokers_facts_bear_out(
    bench: Bench, name: str, facts: dict[str, Any], canonical: str, asset: AssetClass
) -> None:
    bench.terminal.symbols[name] = bench.terminal.symbols["EURUSD"] | {"name": name} | facts
    found = bench.broker.instrument(name)

    assert (found.symbol, found.canonical, found.asset) == (name, canonical, asset)


@pytest.mark.parametrize(
    ("name", "mode", "path", "asset"),
    [
        ("US30", 3, "", AssetClass.INDEX),
        ("US30", 4, "Indices\\US30", AssetClass.INDEX),
        ("GER40", 4, "Cash Index\\GER40", AssetClass.INDEX),
        ("PEPE", 4, "Crypto CFD\\PEPE", AssetClass.CRYPTO),
        ("COPPER", 4, "Metals\\COPPER", AssetClass.METAL),
        ("AAPL", 4, "Shares\\US\\AAPL", AssetClass.OTHER),
        ("EURUSD", 4, "Crypto CFD\\EURUSD", AssetClass.FX),
    ],
)
def test_a_name_that_is_no_pair_is_sorted_as_the_broker_sorts_it(
    bench: Bench, name: str, mode: int, path: str, asset: AssetClass
) -> None:
    bench.terminal.symbols[name] = bench.terminal.symbols["EURUSD"] | {
        "name": name,
        "trade_calc_mode": mode,
        "path": path,
    }

    assert bench.broker.instrument(name).asset is asset


@pytest.mark.parametrize("read", ["instrument", "quote", "bars"])
def test_an_unknown_symbol_is_named(bench: Bench, read: str) -> None:
    bench.terminal.symbols.clear()

    with pytest.raises(InvalidDataError, match="does not know the symbol 'EURUSD'"):
        READS[read](bench)


def test_a_symbol_is_put_into_market_watch_before_its_ticks_are_believed(bench: Bench) -> None:
    seen = []
    for read in ("instrument", "quote"):
        bench.broker = bench.make_broker()
        bench.terminal.symbols["EURUSD"]["select"] = False
        READS[read](bench)
        seen.append(bench.terminal.symbols["EURUSD"]["select"])

    assert seen == [True, True]


def test_a_symbol_without_a_tick_is_put_into_market_watch_again(bench: Bench) -> None:
    bench.broker.quote("EURUSD")
    bench.terminal.symbols["EURUSD"]["select"] = False
    bench.terminal.silent["symbol_info_tick"] = (-4, "Terminal: Not found")
    with pytest.raises(StaleDataError, match="has none yet"):
        bench.broker.quote("EURUSD")
    bench.terminal.silent.clear()
    bench.broker.quote("EURUSD")

    assert bench.terminal.symbols["EURUSD"]["select"]


def test_a_quote_is_dated_in_utc(bench: Bench) -> None:
    assert bench.broker.quote("EURUSD") == Quote(symbol="EURUSD", at=Millis(NOW - 500), bid=1.10100, ask=1.10110)


def test_no_quote_yet_is_stale_not_zero(bench: Bench) -> None:
    bench.terminal.ticks["EURUSD"] = {"bid": 0.0, "ask": 0.0, "time_msc": 0}

    with pytest.raises(StaleDataError, match="EURUSD: no quote yet"):
        bench.broker.quote("EURUSD")


def test_a_crossed_quote_is_invalid(bench: Bench) -> None:
    bench.terminal.ticks["EURUSD"]["ask"] = 1.1

    with pytest.raises(InvalidDataError, match="bid <= ask"):
        bench.broker.quote("EURUSD")


def test_a_quote_without_a_known_offset_is_refused_until_a_fresh_tick(bench: Bench) -> None:
    broker = bench.make_broker(seen=None)
    with pytest.raises(StaleDataError, match="clock offset"):
        broker.quote("EURUSD")
    bench.now = Millis(NOW + SECOND)
    bench.terminal.ticks["EURUSD"]["time_msc"] += SECOND

    assert broker.quote("EURUSD").at == NOW + 500


def rows(*starts: int, volume: int = 7) -> list[tuple[int, float, float, float, float, int]]:
    return [((start + OFFSET) // 1_000, 1.1, 1.2, 1.0, 1.15, volume) for start in starts]


def test_the_forming_bar_is_left_out(bench: Bench) -> None:
    minute = NOW - NOW % MINUTE
    bench.terminal.rates = rows(minute - 2 * MINUTE, minute - MINUTE, minute)

    assert bench.broker.bars("EURUSD", Timeframe.M1, 2) == tuple(
        Bar(start=Millis(start), open=1.1, high=1.2, low=1.0, close=1.15, volume=7.0)
        for start in (minute - 2 * MINUTE, minute - MINUTE)
    )


def test_a_last_bar_whose_end_has_passed_is_closed_although_no_tick_followed(bench: Bench) -> None:
    minute = NOW - NOW % MINUTE
    bench.terminal.rates = rows(minute - 3 * MINUTE, minute - 2 * MINUTE, minute - MINUTE)

    starts = [bar.start for bar in bench.broker.bars("EURUSD", Timeframe.M1, 2)]
    assert starts == [minute - 2 * MINUTE, minute - MINUTE]


def test_bars_without_any_volume_have_none(bench: Bench) -> None:
    bench.terminal.rates = rows(NOW - 5 * MINUTE, NOW - 4 * MINUTE, volume=0)

    assert [bar.volume for bar in bench.broker.bars("EURUSD", Timeframe.M1, 5)] == [None, None]


def test_a_history_that_is_not_loaded_yet_keeps_this_symbol_waiting_alone(bench: Bench) -> None:
    bench.terminal.silent["copy_rates_from_pos"] = (-1, "Terminal: Call failed")

    with pytest.raises(NotEnoughBarsError, match=r"has not loaded its history yet .*-1.*ask again"):
        bench.broker.bars("EURUSD", Timeframe.M1, 10)


@pytest.mark.parametrize("count", [0, -1])
def test_no_bars_cannot_be_asked_for(bench: Bench, count: int) -> None:
    with pytest.raises(InvalidDataError, match=f"count is {count}"):
        bench.broker.bars("EURUSD", Timeframe.M1, count)


def test_a_short_history_gives_fewer_bars(bench: Bench) -> None:
    assert bench.broker.bars("EURUSD", Timeframe.M15, 100) == ()


def test_a_deal_is_read_in_our_words(bench: Bench) -> None:
    bench.terminal.history = [DEAL | {"swap": -0.2, "fee": -0.1, "profit": 5.0}]

    (deal,) = bench.broker.deals(501)
    assert (deal.deal_id, deal.order_id, deal.position, deal.side) == (601, 501, 501, Side.BUY)
    assert (deal.entry, deal.reason, deal.at) == (DealEntry.IN, DealReason.PROGRAM, NOW - HOUR)
    assert deal.net == pytest.approx(3.8)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0, DealReason.MANUAL),
        (1, DealReason.MANUAL),
        (2, DealReason.MANUAL),
        (3, DealReason.PROGRAM),
        (4, DealReason.STOP),
        (5, DealReason.TARGET),
        (6, DealReason.STOP_OUT),
        (7, DealReason.OTHER),
        (42, DealReason.OTHER),
    ],
)
def test_every_reason_of_a_deal_has_our_word(bench: Bench, code: int, reason: DealReason) -> None:
    bench.terminal.history = [DEAL | {"reason": code}]

    assert bench.broker.deals(501)[0].reason is reason


def test_an_unknown_entry_is_an_error_not_an_opening(bench: Bench) -> None:
    bench.terminal.history = [DEAL | {"entry": 9}]

    with pytest.raises(InvalidDataError, match="deal 601: entry 9"):
        bench.broker.deals(501)


def test_deposits_are_no_deals(bench: Bench) -> None:
    bench.terminal.history = [DEAL | {"type": 2, "symbol": "", "profit": 1_000.0}]

    assert bench.broker.deals(501) == ()


def test_an_order_at_the_market_is_one_that_may_still_fill(bench: Bench) -> None:
    bench.terminal.active = [
        {"ticket": 71, "symbol": "EURUSD", "type": 1, "position_id": 501, "comment": "ours"},
        {"ticket": 72, "symbol": "EURUSD", "type": 0, "position_id": 0, "comment": ""},
        {"ticket": 73, "symbol": "EURUSD", "type": 8, "position_id": 502, "comment": ""},
        {"ticket": 74, "symbol": "EURUSD", "type": 2, "position_id": 0, "comment": "waits for a price"},
    ]

    assert bench.broker.working_orders() == (
        WorkingOrder(order=71, symbol="EURUSD", position=501, comment="ours"),
        WorkingOrder(order=72, symbol="EURUSD", position=None, comment=""),
        WorkingOrder(order=73, symbol="EURUSD", position=502, comment=""),
    )


def test_a_window_is_asked_wider_by_a_day_and_cut_exactly(bench: Bench) -> None:
    start, end = Millis(NOW - HOUR), Millis(NOW)
    times = (start - 1, start, end, end + 1)
    bench.terminal.history = [DEAL | {"ticket": 1 + n, "time_msc": at + OFFSET} for n, at in enumerate(times)]

    assert [deal.deal_id for deal in bench.broker.deals_between(start, end)] == [2, 3]
    assert bench.terminal.window == ((start + OFFSET - DAY) // 1_000, (end + OFFSET + DAY) // 1_000)


def test_an_assumed_offset_loses_no_deal_of_a_window(bench: Bench) -> None:
    broker = bench.make_broker(seen=None)
    bench.terminal.history = [DEAL | {"time_msc": NOW + 9 * HOUR}]

    assert [deal.deal_id for deal in broker.deals_between(Millis(NOW - HOUR), NOW)] == [601]


def test_the_commission_is_the_configured_one_or_twice_the_openings(bench: Bench) -> None:
    bench.terminal.history = [DEAL | {"fee": -0.3}]
    configured = bench.make_broker(commission={"EURUSD": 7.0})

    assert configured.commission_per_lot("EURUSD.r", 501) == 7.0
    assert bench.broker.commission_per_lot("EURUSD", 501) == pytest.approx(2 * 1.2 / 0.3)
    with pytest.raises(InvalidDataError, match="commission of EURUSD is not known"):
        bench.broker.commission_per_lot("EURUSD", 999)

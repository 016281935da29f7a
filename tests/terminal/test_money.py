"""Profit, margin, commission, swap, and the account's currency."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dtms.domain.market import Quote
from dtms.domain.units import DAY, HOUR, Millis
from dtms.errors import SettingsError
from dtms_lab.terminal.catalogue import CATALOGUE
from dtms_lab.terminal.desk import MONDAY_NOON, SimDesk
from dtms_lab.terminal.records import AccountSpec


def test_a_round_trip_pays_commission_on_both_deals() -> None:
    desk = SimDesk()
    desk.quote("EURUSD", 1.1)
    opened = desk.buy("EURUSD", 1.0).order
    desk.quote("EURUSD", 1.105)
    desk.sell("EURUSD", 1.0, position=opened)
    deals = desk.deals(opened)
    assert [(d.commission, d.profit, d.swap, d.fee) for d in deals] == [(-3.5, 0.0, 0.0, 0.0), (-3.5, 490.0, 0.0, 0.0)]
    info = desk.terminal.account_info()
    assert info is not None
    assert (info.balance, info.equity, info.margin) == (10_483.0, 10_483.0, 0.0)


def test_commission_per_million_is_on_the_notional() -> None:
    spec = replace(CATALOGUE["EURUSD"], commission_per_lot=0.0, commission_per_million=20.0)
    desk = SimDesk(specs={"EURUSD": spec})
    desk.quote("EURUSD", 1.1)
    opened = desk.sell("EURUSD", 0.5).order
    assert desk.deals(opened)[0].commission == -1.1


def test_an_open_position_shows_profit_margin_and_equity() -> None:
    desk = SimDesk()
    desk.quote("XAUUSD", 2400.0, 2400.2)
    desk.buy("XAUUSD", 0.1)
    desk.quote("XAUUSD", 2410.0, 2410.2)
    info = desk.terminal.account_info()
    assert info is not None
    assert (info.balance, info.profit, info.equity) == (9_999.65, 98.0, 10_097.65)
    assert (info.margin, info.margin_free) == (240.02, 9_857.63)
    assert info.margin_level == round(100 * 10_097.65 / 240.02, 2)
    (position,) = desk.terminal.positions_get() or ()
    assert (position.profit, position.price_current) == (98.0, 2410.0)


def test_the_tick_value_of_a_yen_pair_follows_its_price() -> None:
    desk = SimDesk()
    desk.terminal.symbol_select("USDJPY")
    for bid in (150.0, 100.0):
        desk.quote("USDJPY", bid)
        info = desk.terminal.symbol_info("USDJPY")
        assert info is not None
        assert info.trade_tick_value == pytest.approx(0.001 * 100_000 / bid, rel=1e-12)
    assert desk.terminal.order_calc_profit(0, "USDJPY", 1.0, 100.0, 125.0) == 20_000.0


def test_a_cross_is_converted_with_the_live_rate_and_else_with_the_table() -> None:
    desk = SimDesk()
    desk.quote("EURJPY", 160.0)
    assert desk.terminal.order_calc_profit(0, "EURJPY", 1.0, 160.0, 161.0) == 680.0
    desk.quote("USDJPY", 160.0)
    assert desk.terminal.order_calc_profit(0, "EURJPY", 1.0, 160.0, 161.0) == 625.0
    assert desk.terminal.order_calc_profit(1, "EURJPY", 1.0, 160.0, 161.0) == -625.0


def test_margin_is_taken_in_the_base_currency_of_a_pair_and_on_the_price_of_a_metal() -> None:
    desk = SimDesk()
    assert desk.terminal.order_calc_margin(0, "USDJPY", 1.0, 150.0) == 1_000.0
    assert desk.terminal.order_calc_margin(0, "EURUSD", 1.0, 1.2) == 1_200.0
    assert desk.terminal.order_calc_margin(1, "XAUUSD", 0.5, 2400.0) == 1_200.0
    assert desk.terminal.order_calc_margin(0, "EURJPY", 1.0, 160.0) == 1_100.0
    assert desk.terminal.order_calc_margin(0, "NOPE", 1.0, 1.0) is None
    assert desk.terminal.last_error()[0] == -2


def test_an_account_in_euro_converts_dollars() -> None:
    desk = SimDesk(account=AccountSpec(currency="EUR"))
    desk.quote("EURUSD", 1.25)
    desk.quote("XAUUSD", 2400.0)
    assert desk.terminal.order_calc_profit(0, "XAUUSD", 1.0, 2400.0, 2410.0) == 800.0
    assert desk.terminal.order_calc_profit(0, "EURUSD", 1.0, 1.2, 1.25) == 4_000.0


def test_swap_comes_at_five_in_new_york_and_threefold_on_wednesday() -> None:
    desk = SimDesk()
    desk.quote("XAUUSD", 2400.0)
    long, short = desk.buy("XAUUSD", 1.0).order, desk.sell("XAUUSD", 0.5).order
    swaps = []
    desk.quote("XAUUSD", 2400.0, after=10 * HOUR - 1_001)  # 21:59:59.999 UTC
    before = desk.position(long)
    assert before is not None
    assert before.swap == 0.0
    desk.quote("XAUUSD", 2400.0, after=1)
    for _ in range(7):
        found = desk.position(long), desk.position(short)
        assert found[0] is not None
        assert found[1] is not None
        swaps.append((found[0].swap, found[1].swap))
        desk.quote("XAUUSD", 2400.0, after=DAY)
    # Monday, Tuesday, Wednesday x 3, Thursday, Friday, no Saturday, no Sunday
    assert [s[0] for s in swaps] == [-38.0, -76.0, -190.0, -228.0, -266.0, -266.0, -266.0]
    assert [s[1] for s in swaps] == [8.0, 16.0, 40.0, 48.0, 56.0, 56.0, 56.0]


def test_crypto_is_charged_every_night_once() -> None:
    desk = SimDesk(start=Millis(MONDAY_NOON + 5 * DAY))
    desk.quote("BTCUSD", 40_000.0)
    opened = desk.buy("BTCUSD", 0.1).order
    desk.quote("BTCUSD", 40_000.0, after=2 * DAY)
    position = desk.position(opened)
    assert position is not None
    assert position.swap == -8.0


def test_swap_reaches_the_balance_with_the_part_that_is_closed() -> None:
    desk = SimDesk()
    desk.quote("XAUUSD", 2400.0)
    opened = desk.buy("XAUUSD", 1.0).order
    desk.quote("XAUUSD", 2400.0, after=DAY)
    desk.sell("XAUUSD", 0.25, position=opened)
    left = desk.position(opened)
    assert left is not None
    assert (desk.deals(opened)[-1].swap, left.swap) == (-9.5, -28.5)
    desk.sell("XAUUSD", 0.75, position=opened)
    assert desk.deals(opened)[-1].swap == -28.5


def test_the_first_deposit_is_a_deal() -> None:
    desk = SimDesk()
    (deal,) = desk.terminal.history_deals_get(0, 2**32) or ()
    assert (deal.type, deal.profit, deal.position_id, deal.symbol) == (2, 10_000.0, 0, "")
    desk.server.state.deposit(-500.0, desk.now)
    info = desk.terminal.account_info()
    assert info is not None
    assert info.balance == 9_500.0


def test_symbol_info_shows_the_instrument_and_its_market() -> None:
    desk = SimDesk()
    desk.terminal.symbol_select("XAUUSD")
    desk.quote("XAUUSD", 2400.0, 2400.3)
    desk.quote("XAUUSD", 2390.0, 2390.2)
    desk.quote("XAUUSD", 2395.0, 2395.25)
    info = desk.terminal.symbol_info("XAUUSD")
    assert info is not None
    assert (info.digits, info.point, info.trade_tick_size, info.trade_contract_size) == (2, 0.01, 0.01, 100.0)
    assert (info.volume_min, info.volume_max, info.volume_step) == (0.01, 50.0, 0.01)
    assert (info.filling_mode, info.trade_exemode, info.trade_stops_level) == (3, 2, 20)
    assert (info.bid, info.ask, info.spread, info.bidhigh, info.bidlow) == (2395.0, 2395.25, 25, 2400.0, 2390.0)
    assert (info.askhigh, info.asklow, info.trade_tick_value) == (2400.3, 2390.2, 1.0)
    assert (info.select, info.currency_base, info.currency_profit, info.name) == (True, "XAU", "USD", "XAUUSD")
    assert info.time == desk.now // 1000 + 2 * 3600


def test_a_symbol_in_a_currency_without_a_rate_is_refused() -> None:
    spec = replace(CATALOGUE["EURUSD"], name="EURXXX", currency_profit="XXX")
    with pytest.raises(SettingsError, match="symbol EURXXX: no rate for currency XXX"):
        SimDesk(specs={"EURXXX": spec})


def test_a_quote_or_bars_of_an_unknown_symbol_are_refused() -> None:
    desk = SimDesk()
    with pytest.raises(SettingsError, match="no symbol 'NOPE'"):
        desk.server.on_quote(Quote(symbol="NOPE", at=desk.now, bid=1.0, ask=1.0))


def test_a_base_currency_is_converted_with_the_live_quote() -> None:
    desk = SimDesk()
    desk.quote("EURUSD", 1.2)
    assert desk.terminal.order_calc_margin(0, "EURJPY", 1.0, 160.0) == 1_200.0
    assert desk.terminal.order_calc_profit(7, "EURJPY", 1.0, 160.0, 161.0) is None

"""Every retcode that the server gives of itself, from a state that deserves it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dtms.domain.market import Quote
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.catalogue import CATALOGUE, SymbolSpec
from dtms_lab.terminal.dealer import Fill
from dtms_lab.terminal.desk import SimDesk
from dtms_lab.terminal.records import AccountSpec, Request

_EURUSD = CATALOGUE["EURUSD"]


def desk_with(*, account: AccountSpec | None = None, quoted: bool = True, **change: Any) -> SimDesk:
    desk = SimDesk(account=account, specs={"EURUSD": replace(_EURUSD, **change), "USDJPY": CATALOGUE["USDJPY"]})
    if quoted:
        desk.quote("EURUSD", 1.1)
    return desk


def sltp(desk: SimDesk, ticket: int, sl: float, tp: float = 0.0, **more: Any) -> int:
    request = {"action": 6, "symbol": "EURUSD", "position": ticket, "sl": sl, "tp": tp} | more
    return int(desk.send(**request).retcode)


class _Answering:
    """A dealer with one answer."""

    def __init__(self, fill: Fill) -> None:
        self.fill = fill

    def answer(self, request: Request, quote: Quote | None) -> Fill:
        return self.fill


def test_10004_with_new_prices_where_the_asked_price_has_moved() -> None:
    desk = desk_with(execution=Mt5.SYMBOL_TRADE_EXECUTION_INSTANT)
    result = desk.buy("EURUSD", 0.1, price=1.1003, deviation=10)
    assert (result.retcode, result.bid, result.ask) == (10004, 1.1, 1.1001)
    assert desk.buy("EURUSD", 0.1, price=1.1003, deviation=20).retcode == 10009


def test_10015_where_instant_execution_gets_no_price() -> None:
    assert desk_with(execution=Mt5.SYMBOL_TRADE_EXECUTION_INSTANT).buy("EURUSD", 0.1).retcode == 10015


def test_the_price_is_ignored_by_market_execution() -> None:
    result = desk_with().buy("EURUSD", 0.1, price=5.0)
    assert (result.retcode, result.price) == (10009, 1.1001)


@pytest.mark.parametrize("retcode", [10004, 10006, 10012, 10020, 10024])
def test_a_dealer_refuses_with_its_own_code_and_nothing_changes(retcode: int) -> None:
    desk = SimDesk(dealer=_Answering(Fill(retcode=retcode)))
    desk.quote("EURUSD", 1.1)
    assert desk.buy("EURUSD", 0.1).retcode == retcode
    assert desk.terminal.positions_get() == ()


def test_10010_fills_a_part_only_with_ioc() -> None:
    desk = SimDesk(dealer=_Answering(Fill(volume=0.3)))
    desk.quote("EURUSD", 1.1)
    part = desk.buy("EURUSD", 1.0)
    assert (part.retcode, part.volume) == (10010, 0.3)
    position = desk.position(part.order)
    assert position is not None
    assert position.volume == 0.3
    assert desk.buy("EURUSD", 1.0, type_filling=Mt5.ORDER_FILLING_FOK).retcode == 10006


def test_slippage_fills_away_from_the_quote() -> None:
    desk = SimDesk(dealer=_Answering(Fill(price=1.1005, comment="")))
    desk.quote("EURUSD", 1.1)
    result = desk.buy("EURUSD", 0.1, comment="tag")
    position = desk.position(result.order)
    assert position is not None
    assert (result.price, position.price_open, position.comment) == (1.1005, 1.1005, "")


@pytest.mark.parametrize(
    "request_",
    [
        {"action": 0},
        {"action": 99},
        {"action": 1, "symbol": "NOPE", "volume": 0.1, "type_filling": 1},
        {"action": 6, "symbol": "EURUSD", "sl": 1.0},
        {"action": 6, "symbol": "EURUSD", "position": 12345, "sl": 1.0},
        {"action": 7, "order": 12345, "price": 1.0},
        {"action": 8, "order": 12345},
        {"action": 10, "position": 1},
    ],
)
def test_10013_for_what_makes_no_sense(request_: dict[str, Any]) -> None:
    assert desk_with().send(**request_).retcode == 10013


def test_10013_for_a_close_on_the_positions_own_side_or_of_another_symbol() -> None:
    desk = desk_with()
    opened = desk.buy("EURUSD", 0.1)
    assert desk.buy("EURUSD", 0.1, position=opened.order).retcode == 10013
    desk.quote("USDJPY", 150.0)
    assert desk.sell("USDJPY", 0.1, position=opened.order).retcode == 10013


@pytest.mark.parametrize("volume", [0.0, -0.1, 0.005, 0.015, 100.01])
def test_10014_for_a_volume_off_the_grid_or_outside_the_limits(volume: float) -> None:
    assert desk_with().buy("EURUSD", volume).retcode == 10014


def test_10014_for_a_remainder_under_the_minimum() -> None:
    desk = desk_with(volume_min=0.05)
    opened = desk.buy("EURUSD", 0.1)
    assert desk.sell("EURUSD", 0.06, position=opened.order).retcode == 10014
    assert desk.sell("EURUSD", 0.04, position=opened.order).retcode == 10014
    assert desk.sell("EURUSD", 0.05, position=opened.order).retcode == 10009


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(
    ("stop_points", "target_points", "retcode"),
    [
        (10, 0, 10009),
        (9, 0, 10016),
        (0, 10, 10009),
        (0, 9, 10016),
        (-5, 0, 10016),
        (0, -5, 10016),
        (10.5, 0, 10016),
    ],
)
def test_10016_for_levels_on_the_wrong_side_or_inside_the_stops_level(
    side: int, stop_points: float, target_points: float, retcode: int
) -> None:
    desk = desk_with()
    price = 1.1 if side == 1 else 1.1001
    sl = round(price - side * stop_points * 1e-5, 7) if stop_points else 0.0
    tp = round(price + side * target_points * 1e-5, 7) if target_points else 0.0
    opening = desk.buy if side == 1 else desk.sell
    assert opening("EURUSD", 0.1, sl=sl, tp=tp).retcode == retcode
    opened = opening("EURUSD", 0.1)
    assert sltp(desk, opened.order, sl, tp) == retcode


def test_10016_without_a_stops_level_still_refuses_a_stop_at_the_market() -> None:
    desk = desk_with(stops_level=0)
    opened = desk.buy("EURUSD", 0.1)
    assert sltp(desk, opened.order, 1.1) == 10016
    assert sltp(desk, opened.order, 1.09999) == 10009


def test_10016_for_a_negative_stop() -> None:
    desk = desk_with()
    assert sltp(desk, desk.buy("EURUSD", 0.1).order, -1.0) == 10016


def test_10017_where_symbol_or_account_is_disabled() -> None:
    assert desk_with(trade_mode=Mt5.SYMBOL_TRADE_MODE_DISABLED).buy("EURUSD", 0.1).retcode == 10017
    desk = desk_with()
    desk.server.state.trade_allowed = False
    assert desk.buy("EURUSD", 0.1).retcode == 10017


def test_10018_outside_the_session() -> None:
    open_now = [True]
    desk = SimDesk(market_open=lambda _symbol, _at: open_now[0])
    desk.quote("EURUSD", 1.1)
    opened = desk.buy("EURUSD", 0.1)
    open_now[0] = False
    assert desk.buy("EURUSD", 0.1).retcode == 10018
    assert sltp(desk, opened.order, 1.09) == 10018
    assert desk.sell("EURUSD", 0.1, position=opened.order).retcode == 10018


def test_10019_without_the_margin() -> None:
    desk = desk_with(account=AccountSpec(balance=1_000.0, leverage=100))
    assert desk.buy("EURUSD", 0.91).retcode == 10019
    assert desk.buy("EURUSD", 0.90).retcode == 10009


def test_10021_before_the_first_quote() -> None:
    assert desk_with(quoted=False).buy("EURUSD", 0.1).retcode == 10021


def test_10022_for_an_expiration_in_the_past_or_of_no_kind() -> None:
    desk = desk_with()
    pending = {"action": 5, "symbol": "EURUSD", "volume": 0.1, "type": 2, "price": 1.09, "type_filling": 2}
    server_now = desk.now // 1000 + 2 * 3600
    assert desk.send(**pending, type_time=2, expiration=server_now).retcode == 10022
    assert desk.send(**pending, type_time=9).retcode == 10022
    assert desk.send(**pending, type_time=2, expiration=server_now + 60).retcode == 10009


def test_10025_where_the_levels_are_already_so() -> None:
    desk = desk_with()
    opened = desk.buy("EURUSD", 0.1, sl=1.09, tp=1.2)
    assert sltp(desk, opened.order, 1.09, 1.2) == 10025
    assert sltp(desk, opened.order, 1.09) == 10009
    position = desk.position(opened.order)
    assert position is not None
    assert (position.sl, position.tp) == (1.09, 0.0)


def test_10026_10027_10031_and_the_disabled_api() -> None:
    desk = desk_with()
    desk.server.state.expert_allowed = False
    assert desk.buy("EURUSD", 0.1).retcode == 10026
    assert desk.server.send(Request(action=1, symbol="EURUSD", volume=0.1), reason=Mt5.DEAL_REASON_CLIENT).applied
    flags = desk.terminal.backend.flags
    flags.connected = False
    assert desk.buy("EURUSD", 0.1).retcode == 10031
    flags.trade_allowed = False
    assert desk.buy("EURUSD", 0.1).retcode == 10027
    flags.tradeapi_disabled = True
    assert desk.terminal.order_send({"action": 1}) is None
    assert desk.terminal.last_error()[0] == -8


def test_10029_inside_the_freeze_level() -> None:
    desk = desk_with(stops_level=0, freeze_level=10)
    opened = desk.buy("EURUSD", 0.1, sl=1.0995)
    assert sltp(desk, opened.order, 1.0994) == 10009
    desk.quote("EURUSD", 1.0995)
    assert sltp(desk, opened.order, 1.0993) == 10029
    assert desk.sell("EURUSD", 0.1, position=opened.order).retcode == 10029
    desk.quote("EURUSD", 1.0996)
    assert desk.sell("EURUSD", 0.1, position=opened.order).retcode == 10009


@pytest.mark.parametrize(
    ("mask", "filling", "retcode"),
    [(1, 0, 10009), (1, 1, 10030), (2, 0, 10030), (2, 1, 10009), (3, 2, 10030), (3, 3, 10030), (3, 7, 10030)],
)
def test_10030_for_a_filling_that_the_mask_does_not_have(mask: int, filling: int, retcode: int) -> None:
    assert desk_with(filling_mask=mask).buy("EURUSD", 0.1, type_filling=filling).retcode == retcode


def test_10033_at_the_limit_of_pending_orders() -> None:
    desk = desk_with(account=AccountSpec(limit_orders=1))
    pending = {"action": 5, "symbol": "EURUSD", "volume": 0.1, "type": 2, "price": 1.09, "type_filling": 2}
    assert desk.send(**pending).retcode == 10009
    assert desk.send(**pending).retcode == 10033


def test_10034_at_the_limit_of_volume_orders_included() -> None:
    desk = desk_with(volume_limit=0.3)
    pending = {"action": 5, "symbol": "EURUSD", "volume": 0.1, "type": 2, "price": 1.09, "type_filling": 2}
    assert desk.buy("EURUSD", 0.1).retcode == 10009
    assert desk.send(**pending).retcode == 10009
    assert desk.buy("EURUSD", 0.2).retcode == 10034
    assert desk.send(**pending | {"volume": 0.2}).retcode == 10034
    assert desk.buy("EURUSD", 0.1).retcode == 10009
    assert desk.sell("EURUSD", 0.3).retcode == 10009


def test_10035_for_a_type_that_the_action_or_the_broker_does_not_have() -> None:
    desk = desk_with()
    assert desk.send(action=1, symbol="EURUSD", volume=0.1, type=2, type_filling=1).retcode == 10035
    assert desk.send(action=5, symbol="EURUSD", volume=0.1, type=0, price=1.0, type_filling=2).retcode == 10035
    assert desk.send(action=5, symbol="EURUSD", volume=0.1, type=6, price=1.2, type_filling=2).retcode == 10035


def test_10036_for_a_position_that_was() -> None:
    desk = desk_with()
    opened = desk.buy("EURUSD", 0.1)
    close = {"position": opened.order}
    assert desk.sell("EURUSD", 0.1, **close).retcode == 10009
    assert desk.sell("EURUSD", 0.1, **close).retcode == 10036
    assert sltp(desk, opened.order, 1.0) == 10036


def test_10038_for_more_than_the_position_has() -> None:
    desk = desk_with()
    opened = desk.buy("EURUSD", 0.1)
    assert desk.sell("EURUSD", 0.11, position=opened.order).retcode == 10038


def test_10040_at_the_limit_of_positions() -> None:
    desk = desk_with(account=AccountSpec(limit_positions=1))
    assert desk.buy("EURUSD", 0.1).retcode == 10009
    assert desk.buy("EURUSD", 0.1).retcode == 10040


@pytest.mark.parametrize(
    ("mode", "buying", "selling"),
    [
        (Mt5.SYMBOL_TRADE_MODE_LONGONLY, 10009, 10042),
        (Mt5.SYMBOL_TRADE_MODE_SHORTONLY, 10043, 10009),
        (Mt5.SYMBOL_TRADE_MODE_CLOSEONLY, 10044, 10044),
    ],
)
def test_10042_10043_10044_by_the_symbols_trade_mode(mode: int, buying: int, selling: int) -> None:
    desk = desk_with(trade_mode=mode)
    assert desk.buy("EURUSD", 0.1).retcode == buying
    assert desk.sell("EURUSD", 0.1).retcode == selling


def test_close_only_lets_out_what_is_in() -> None:
    desk = desk_with()
    opened = desk.buy("EURUSD", 0.1)
    desk.server.state.specs["EURUSD"] = replace(_EURUSD, trade_mode=Mt5.SYMBOL_TRADE_MODE_CLOSEONLY)
    assert desk.sell("EURUSD", 0.1, position=opened.order).retcode == 10009


def test_10045_where_an_older_position_must_go_first() -> None:
    desk = desk_with(account=AccountSpec(fifo_close=True))
    older, newer = desk.buy("EURUSD", 0.1), desk.buy("EURUSD", 0.1)
    assert desk.sell("EURUSD", 0.1, position=newer.order).retcode == 10045
    assert desk.sell("EURUSD", 0.1, position=older.order).retcode == 10009
    assert desk.sell("EURUSD", 0.1, position=newer.order).retcode == 10009


def test_10046_where_hedging_is_prohibited() -> None:
    desk = desk_with(account=AccountSpec(hedge_prohibited=True))
    assert desk.buy("EURUSD", 0.1).retcode == 10009
    assert desk.sell("EURUSD", 0.1).retcode == 10046
    assert desk.buy("EURUSD", 0.1).retcode == 10009


def test_the_check_answers_like_the_server_and_changes_nothing() -> None:
    desk = desk_with()
    order = {"action": 1, "symbol": "EURUSD", "volume": 1.0, "type": 0, "type_filling": 1}
    fine = desk.terminal.order_check(order)
    assert fine is not None
    assert (fine.retcode, fine.margin, fine.margin_free, fine.comment) == (0, 1100.1, 8899.9, "Done")
    refused = desk.terminal.order_check(order | {"volume": 0.001})
    assert refused is not None
    assert (refused.retcode, refused.request.volume) == (10014, 0.001)
    assert desk.terminal.positions_get() == ()


def test_a_symbol_that_trades_coarser_than_its_point_wants_its_tick() -> None:
    spec: SymbolSpec = replace(_EURUSD, tick_size=0.00005)
    desk = SimDesk(specs={"EURUSD": spec})
    desk.quote("EURUSD", 1.1)
    opened = desk.buy("EURUSD", 0.1)
    assert sltp(desk, opened.order, 1.09001) == 10016
    assert sltp(desk, opened.order, 1.09005) == 10009


_PENDING = {"action": 5, "symbol": "EURUSD", "volume": 0.1, "type": 2, "price": 1.09, "type_filling": 2}


@pytest.mark.parametrize(
    ("change", "retcode"),
    [
        ({"symbol": "NOPE"}, 10013),
        ({"type_filling": 3}, 10030),
        ({"volume": 0.001}, 10014),
        ({"price": 1.090005}, 10015),
        ({"price": 0.0}, 10015),
    ],
)
def test_a_pending_order_is_refused_like_a_deal(change: dict[str, Any], retcode: int) -> None:
    assert desk_with().send(**_PENDING | change).retcode == retcode


def test_a_pending_order_outside_the_session_is_refused_and_cannot_be_changed() -> None:
    open_now = [True]
    desk = SimDesk(market_open=lambda _symbol, _at: open_now[0])
    desk.quote("EURUSD", 1.1)
    placed = desk.send(**_PENDING)
    open_now[0] = False
    assert desk.send(**_PENDING).retcode == 10018
    assert desk.send(action=7, order=placed.order, price=1.08).retcode == 10018
    assert desk.send(action=8, order=placed.order).retcode == 10009


def test_a_frozen_order_is_neither_changed_nor_removed() -> None:
    desk = desk_with(freeze_level=20)
    placed = desk.send(**_PENDING)
    desk.quote("EURUSD", 1.0901)
    assert desk.send(action=7, order=placed.order, price=1.08).retcode == 10029
    assert desk.send(action=8, order=placed.order).retcode == 10029
    desk.quote("EURUSD", 1.0902)
    assert desk.send(action=8, order=placed.order).retcode == 10009


def test_close_by_is_refused_where_the_broker_has_it_not_or_a_leg_is_frozen_or_the_market_closed() -> None:
    open_now = [True]
    desk = SimDesk(market_open=lambda _symbol, _at: open_now[0])
    desk.quote("EURUSD", 1.1)
    by = {"action": 10, "position": desk.buy("EURUSD", 0.1, sl=1.0998).order}
    by["position_by"] = desk.sell("EURUSD", 0.1).order
    open_now[0] = False
    assert desk.send(**by).retcode == 10018
    open_now[0] = True
    desk.server.state.specs["EURUSD"] = replace(_EURUSD, freeze_level=20)
    assert desk.send(**by).retcode == 10029
    desk.server.state.specs["EURUSD"] = replace(_EURUSD, order_mode=Mt5.SYMBOL_TRADE_MODE_FULL)
    assert desk.send(**by).retcode == 10035


def test_a_turn_on_a_netting_account_is_checked_as_an_opening() -> None:
    desk = desk_with(account=AccountSpec(margin_mode=0), volume_min=0.05)
    assert desk.buy("EURUSD", 0.1).retcode == 10009
    assert desk.sell("EURUSD", 0.12).retcode == 10014
    assert desk.sell("EURUSD", 0.2, sl=1.09).retcode == 10016
    assert desk.sell("EURUSD", 0.2, sl=1.11).retcode == 10009


def test_a_volume_under_the_minimum_is_refused_at_opening() -> None:
    assert desk_with(volume_min=0.05).buy("EURUSD", 0.04).retcode == 10014


def test_the_check_of_what_opens_nothing_leaves_the_margin() -> None:
    desk = desk_with()
    opened = desk.buy("EURUSD", 1.0)
    checked = desk.terminal.order_check({"action": 6, "symbol": "EURUSD", "position": opened.order, "sl": 1.09})
    assert checked is not None
    assert (checked.retcode, checked.margin) == (0, 1100.1)
    desk.terminal.backend.flags.tradeapi_disabled = True
    assert desk.terminal.order_check({"action": 6}) is None
    assert desk.terminal.last_error()[0] == -8

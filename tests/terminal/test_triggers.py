"""What the server does on its own: stops, targets, gaps, stop-out, pending orders."""

from __future__ import annotations

from typing import Any

import pytest

from dtms.domain.units import DAY, HOUR
from dtms_lab.terminal.desk import SimDesk
from dtms_lab.terminal.records import AccountSpec

_SPREAD = 0.0001


@pytest.fixture
def desk() -> SimDesk:
    made = SimDesk()
    made.quote("EURUSD", 1.1)
    return made


def closing(desk: SimDesk, ticket: int) -> tuple[Any, ...]:
    deal = desk.deals(ticket)[-1]
    return deal.price, deal.reason, deal.comment, deal.entry


def quote_side(desk: SimDesk, side: int, price: float) -> None:
    """Quote so that a position of this side is valued at `price`."""
    bid = price if side == 1 else round(price - _SPREAD, 5)
    desk.quote("EURUSD", bid, round(bid + _SPREAD, 5))


def opened(desk: SimDesk, side: int, *, stop: float = 0.0, target: float = 0.0) -> int:
    """Open at a valuation price of 1.1; levels are favourable distances from it."""
    quote_side(desk, side, 1.1)
    sl = round(1.1 + side * stop, 5) if stop else 0.0
    tp = round(1.1 + side * target, 5) if target else 0.0
    result = (desk.buy if side == 1 else desk.sell)("EURUSD", 0.1, sl=sl, tp=tp, comment="tag", magic=7)
    assert result.retcode == 10009
    return int(result.order)


@pytest.mark.parametrize("side", [1, -1])
def test_a_stop_waits_until_the_price_reaches_it(desk: SimDesk, side: int) -> None:
    ticket = opened(desk, side, stop=-0.005)
    stop = round(1.1 - side * 0.005, 5)
    quote_side(desk, side, round(stop + side * 0.00001, 5))
    assert desk.position(ticket) is not None
    quote_side(desk, side, stop)
    assert desk.position(ticket) is None
    assert closing(desk, ticket) == (stop, 4, f"[sl {stop:.5f}]", 1)


@pytest.mark.parametrize("side", [1, -1])
def test_a_gap_through_the_stop_fills_beyond_it(desk: SimDesk, side: int) -> None:
    ticket = opened(desk, side, stop=-0.005)
    gap = round(1.1 - side * 0.02, 5)
    quote_side(desk, side, gap)
    assert closing(desk, ticket) == (gap, 4, f"[sl {round(1.1 - side * 0.005, 5):.5f}]", 1)


@pytest.mark.parametrize("side", [1, -1])
def test_a_target_closes_with_its_own_reason(desk: SimDesk, side: int) -> None:
    ticket = opened(desk, side, target=0.005)
    target = round(1.1 + side * 0.005, 5)
    quote_side(desk, side, round(target - side * 0.00001, 5))
    assert desk.position(ticket) is not None
    quote_side(desk, side, target)
    assert closing(desk, ticket) == (target, 5, f"[tp {target:.5f}]", 1)


def test_a_sells_stop_is_reached_by_the_ask_alone(desk: SimDesk) -> None:
    ticket = opened(desk, -1, stop=-0.005)
    desk.quote("EURUSD", 1.0999, 1.1051)
    assert closing(desk, ticket)[0] == 1.1051


def test_a_moved_stop_is_the_one_that_triggers(desk: SimDesk) -> None:
    ticket = opened(desk, 1, stop=-0.005, target=0.005)
    desk.send(action=6, symbol="EURUSD", position=ticket, sl=1.099, tp=1.11)
    desk.quote("EURUSD", 1.105)
    assert desk.position(ticket) is not None
    desk.quote("EURUSD", 1.0989)
    assert closing(desk, ticket) == (1.0989, 4, "[sl 1.09900]", 1)


def test_the_server_keeps_magic_and_writes_its_own_order(desk: SimDesk) -> None:
    ticket = opened(desk, 1, stop=-0.005)
    desk.quote("EURUSD", 1.09)
    orders = desk.terminal.history_orders_get(position=ticket)
    assert orders is not None
    assert [(o.reason, o.magic, o.comment, o.state, o.type) for o in orders] == [
        (3, 7, "tag", 4, 0),
        (4, 7, "[sl 1.09500]", 4, 1),
    ]
    assert [deal.magic for deal in desk.deals(ticket)] == [7, 7]


def test_quotes_of_another_symbol_trigger_nothing(desk: SimDesk) -> None:
    ticket = opened(desk, 1, stop=-0.005)
    desk.quote("GBPUSD", 1.0)
    assert desk.position(ticket) is not None


def test_the_stop_out_closes_the_worst_first_and_stops_when_it_is_enough() -> None:
    desk = SimDesk(account=AccountSpec(balance=1_000.0))
    desk.quote("EURUSD", 1.1)
    first = desk.buy("EURUSD", 0.3).order
    desk.quote("EURUSD", 1.101)
    second = desk.buy("EURUSD", 0.3).order
    desk.quote("EURUSD", 1.0895)
    assert {p.ticket for p in desk.terminal.positions_get() or ()} == {first, second}
    desk.quote("EURUSD", 1.0894)
    assert [p.ticket for p in desk.terminal.positions_get() or ()] == [first]
    deal = desk.deals(second)[-1]
    assert (deal.reason, deal.entry) == (6, 1)
    assert deal.comment.startswith("[so 4")
    info = desk.terminal.account_info()
    assert info is not None
    assert info.margin_level > 50.0


def test_a_hedge_takes_less_margin_than_two_positions(desk: SimDesk) -> None:
    desk.buy("EURUSD", 1.0)
    desk.sell("EURUSD", 1.0)
    info = desk.terminal.account_info()
    assert info is not None
    assert info.margin == round(0.5 * 100_000 * (1.1001 + 1.1) / 2 / 100, 2)


_PENDING = {"action": 5, "symbol": "EURUSD", "volume": 0.1, "type_filling": 2, "comment": "p", "magic": 9}


@pytest.mark.parametrize(
    ("kind", "price", "before", "at"),
    [
        (2, 1.095, 1.09495, 1.09485),  # buy limit: by the ask
        (3, 1.105, 1.10499, 1.10505),  # sell limit: by the bid
        (4, 1.105, 1.10489, 1.10495),  # buy stop: by the ask
        (5, 1.095, 1.09501, 1.09495),  # sell stop: by the bid
    ],
)
def test_a_pending_order_becomes_a_position_at_the_quote_that_reaches_it(
    desk: SimDesk, kind: int, price: float, before: float, at: float
) -> None:
    placed = desk.send(**_PENDING, type=kind, price=price)
    assert placed.retcode == 10009
    desk.quote("EURUSD", before)
    assert desk.terminal.positions_get() == ()
    desk.quote("EURUSD", at)
    position = desk.position(placed.order)
    assert position is not None
    filled = at if kind in (3, 5) else round(at + _SPREAD, 5)
    assert (position.price_open, position.comment, position.magic) == (filled, "p", 9)
    assert desk.terminal.orders_get() == ()
    (past,) = desk.terminal.history_orders_get(ticket=placed.order) or ()
    assert (past.state, past.type, past.position_id) == (4, kind, placed.order)


def test_a_pending_order_is_changed_and_removed(desk: SimDesk) -> None:
    placed = desk.send(**_PENDING, type=2, price=1.09)
    change = {"action": 7, "order": placed.order, "price": 1.08, "sl": 1.07, "tp": 1.2}
    assert desk.send(**change).retcode == 10009
    assert desk.send(**change).retcode == 10025
    (active,) = desk.terminal.orders_get(ticket=placed.order) or ()
    assert (active.price_open, active.sl, active.tp, active.state) == (1.08, 1.07, 1.2, 1)
    assert desk.send(action=8, order=placed.order).retcode == 10009
    assert desk.terminal.orders_total() == 0
    (past,) = desk.terminal.history_orders_get(ticket=placed.order) or ()
    assert past.state == 2


@pytest.mark.parametrize(("kind", "price"), [(2, 1.10005), (3, 1.10005), (4, 1.10015), (5, 1.09995)])
def test_a_pending_order_keeps_the_stops_level(desk: SimDesk, kind: int, price: float) -> None:
    assert desk.send(**_PENDING, type=kind, price=price).retcode == 10015


def test_a_pending_orders_own_stop_is_checked_against_its_price(desk: SimDesk) -> None:
    assert desk.send(**_PENDING, type=2, price=1.09, sl=1.08995).retcode == 10016
    assert desk.send(**_PENDING, type=2, price=1.09, sl=1.0899).retcode == 10009


def test_a_pending_order_expires(desk: SimDesk) -> None:
    server_now = desk.now // 1000 + 2 * 3600
    timed = desk.send(**_PENDING, type=2, price=1.09, type_time=2, expiration=server_now + 60).order
    daily = desk.send(**_PENDING, type=2, price=1.09, type_time=1).order
    desk.quote("EURUSD", 1.1, after=30_000)
    assert desk.terminal.orders_total() == 2
    desk.quote("EURUSD", 1.1, after=30_000)
    assert [o.ticket for o in desk.terminal.orders_get() or ()] == [daily]
    desk.quote("EURUSD", 1.1, after=DAY - 14 * HOUR)
    assert desk.terminal.orders_total() == 0
    states = {t: (desk.terminal.history_orders_get(ticket=t) or ())[0].state for t in (timed, daily)}
    assert states == {timed: 6, daily: 6}


def test_an_order_without_the_money_is_rejected_when_its_price_comes() -> None:
    desk = SimDesk(account=AccountSpec(balance=1_000.0))
    desk.quote("EURUSD", 1.1)
    placed = desk.send(**_PENDING | {"volume": 5.0}, type=2, price=1.09)
    desk.quote("EURUSD", 1.08)
    assert desk.terminal.positions_get() == ()
    (past,) = desk.terminal.history_orders_get(ticket=placed.order) or ()
    assert past.state == 5


def test_an_order_for_a_day_of_its_own_lives_until_that_day_ends(desk: SimDesk) -> None:
    server_now = desk.now // 1000 + 2 * 3600
    desk.send(**_PENDING, type=2, price=1.09, type_time=3, expiration=server_now + 86_400)
    desk.quote("EURUSD", 1.1, after=DAY)
    assert desk.terminal.orders_total() == 1
    desk.quote("EURUSD", 1.1, after=10 * HOUR)
    assert desk.terminal.orders_total() == 0


def test_an_order_keeps_its_own_filling_when_it_is_filled(desk: SimDesk) -> None:
    placed = desk.send(**_PENDING | {"type_filling": 1}, type=2, price=1.09)
    desk.quote("EURUSD", 1.08)
    (past,) = desk.terminal.history_orders_get(ticket=placed.order) or ()
    assert (past.type_filling, past.state) == (1, 4)

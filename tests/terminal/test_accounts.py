"""Hedging and netting: what a deal against a position does, and closing one position by another."""

from __future__ import annotations

import pytest

from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.desk import SimDesk
from dtms_lab.terminal.records import AccountSpec

_NETTING = AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING)


def netting_desk() -> SimDesk:
    desk = SimDesk(account=_NETTING)
    desk.quote("EURUSD", 1.1)
    return desk


@pytest.fixture
def desk() -> SimDesk:
    made = SimDesk()
    made.quote("EURUSD", 1.1)
    return made


def test_a_hedging_account_holds_both_sides(desk: SimDesk) -> None:
    desk.buy("EURUSD", 0.1)
    desk.sell("EURUSD", 0.2)
    found = desk.terminal.positions_get(symbol="EURUSD")
    assert [(p.type, p.volume) for p in found or ()] == [(0, 0.1), (1, 0.2)]


def test_a_partial_close_leaves_ticket_price_and_comment(desk: SimDesk) -> None:
    opened = desk.buy("EURUSD", 0.3, sl=1.09, tp=1.2, comment="mine", magic=5)
    part = desk.sell("EURUSD", 0.1, position=opened.order, comment="part", magic=6)
    left = desk.position(opened.order)
    assert left is not None
    assert (left.volume, left.price_open, left.sl, left.tp) == (0.2, 1.1001, 1.09, 1.2)
    assert (left.comment, left.magic, left.identifier) == ("mine", 5, opened.order)
    deal = desk.deals(opened.order)[-1]
    assert (deal.ticket, deal.entry, deal.volume, deal.comment, deal.magic) == (part.deal, 1, 0.1, "part", 6)


def test_three_tenths_close_in_three_parts_without_a_rest(desk: SimDesk) -> None:
    opened = desk.buy("EURUSD", 0.3)
    for _ in range(3):
        assert desk.sell("EURUSD", 0.1, position=opened.order).retcode == 10009
    assert desk.terminal.positions_get() == ()


def test_close_by_takes_both_legs_and_pays_no_spread(desk: SimDesk) -> None:
    long = desk.buy("EURUSD", 0.3).order
    desk.quote("EURUSD", 1.11)
    short = desk.sell("EURUSD", 0.1).order
    desk.quote("EURUSD", 1.2)
    result = desk.send(action=10, position=long, position_by=short, symbol="EURUSD", comment="by", magic=4)
    assert (result.retcode, result.volume) == (10009, 0.1)
    left = desk.position(long)
    assert left is not None
    assert left.volume == 0.2
    assert desk.position(short) is None
    first, second = desk.deals(long)[-1], desk.deals(short)[-1]
    assert [(d.entry, d.type, d.price, d.volume) for d in (first, second)] == [(3, 1, 1.11, 0.1), (3, 0, 1.11, 0.1)]
    assert (first.profit, second.profit) == (round((1.11 - 1.1001) * 10_000, 2), 0.0)
    assert {first.order, second.order} == {result.order}
    (order,) = desk.terminal.history_orders_get(ticket=result.order) or ()
    assert (order.type, order.position_id, order.position_by_id) == (8, long, short)


def test_close_by_needs_two_opposite_positions_of_one_symbol(desk: SimDesk) -> None:
    desk.quote("GBPUSD", 1.3)
    long, long2 = desk.buy("EURUSD", 0.1).order, desk.buy("EURUSD", 0.1).order
    other = desk.sell("GBPUSD", 0.1).order
    assert desk.send(action=10, position=long, position_by=long2).retcode == 10013
    assert desk.send(action=10, position=long, position_by=other).retcode == 10013
    short = desk.sell("EURUSD", 0.1).order
    assert desk.send(action=10, position=long, position_by=short).retcode == 10009
    assert desk.send(action=10, position=long, position_by=short).retcode == 10036


def test_netting_adds_at_the_weighted_price() -> None:
    desk = netting_desk()
    opened = desk.buy("EURUSD", 0.1, sl=1.09)
    desk.quote("EURUSD", 1.12)
    desk.buy("EURUSD", 0.3, tp=1.3)
    (position,) = desk.terminal.positions_get() or ()
    assert (position.ticket, position.volume, position.sl, position.tp) == (opened.order, 0.4, 1.09, 1.3)
    assert position.price_open == pytest.approx((1.1001 * 0.1 + 1.1201 * 0.3) / 0.4, abs=1e-12)


def test_netting_reduces_and_closes_without_naming_the_position() -> None:
    desk = netting_desk()
    opened = desk.buy("EURUSD", 0.3)
    desk.sell("EURUSD", 0.1)
    (position,) = desk.terminal.positions_get() or ()
    assert (position.ticket, position.type, position.volume) == (opened.order, 0, 0.2)
    desk.sell("EURUSD", 0.2)
    assert desk.terminal.positions_get() == ()
    assert [d.entry for d in desk.deals(opened.order)] == [0, 1, 1]


def test_netting_turns_round_and_keeps_the_identifier() -> None:
    desk = netting_desk()
    opened = desk.buy("EURUSD", 0.1, sl=1.09)
    desk.quote("EURUSD", 1.11)
    turned = desk.sell("EURUSD", 0.3, sl=1.12)
    (position,) = desk.terminal.positions_get() or ()
    assert (position.ticket, position.identifier) == (turned.order, opened.order)
    assert (position.type, position.volume, position.price_open, position.sl) == (1, 0.2, 1.11, 1.12)
    deal = desk.deals(opened.order)[-1]
    assert (deal.entry, deal.volume, deal.profit) == (2, 0.3, round((1.11 - 1.1001) * 10_000, 2))


def test_netting_amends_by_symbol_and_has_no_close_by() -> None:
    desk = netting_desk()
    desk.buy("EURUSD", 0.1)
    assert desk.send(action=6, symbol="EURUSD", sl=1.09).retcode == 10009
    (position,) = desk.terminal.positions_get() or ()
    assert position.sl == 1.09
    assert desk.send(action=10, position=position.ticket, position_by=position.ticket).retcode == 10013
    assert desk.send(action=6, symbol="GBPUSD", sl=1.09).retcode == 10013


def test_netting_refuses_a_turn_that_the_account_cannot_carry() -> None:
    desk = SimDesk(account=AccountSpec(margin_mode=0, balance=1_000.0))
    desk.quote("EURUSD", 1.1)
    desk.buy("EURUSD", 0.5)
    assert desk.sell("EURUSD", 2.0).retcode == 10019
    assert desk.sell("EURUSD", 1.3).retcode == 10009

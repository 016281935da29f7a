"""What a deal proves of an order: its tag does, its order's number only where nobody else can have made it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.app.rig import SYMBOL, Rig
from tests.app.test_gateway import plan

from dtms.app.evidence import proof
from dtms.app.evidence.proof import Seen
from dtms.domain.action import Close, Reduce
from dtms.domain.intent import IntentState
from dtms.domain.position import Deal, DealEntry, DealReason, PositionsRead
from dtms.domain.receipt import Outcome, Receipt
from dtms.domain.trade import Trade
from dtms.domain.units import Lots, Millis, Side

_NUMBER = 4_711


def opening(trade: Trade) -> Deal:
    return Deal(
        deal_id=1,
        order_id=1,
        position=trade.identifier,
        symbol=SYMBOL,
        side=Side.BUY,
        entry=DealEntry.IN,
        reason=DealReason.MANUAL,
        volume=1.0,
        price=trade.entry,
        profit=0.0,
        commission=0.0,
        swap=0.0,
        fee=0.0,
        magic=0,
        comment="",
        at=Millis(1),
    )


@pytest.mark.parametrize(
    ("reason", "comment", "ours"),
    [
        (DealReason.PROGRAM, "kept by the broker", True),
        (DealReason.STOP, "[sl 1990.00]", False),
        (DealReason.STOP_OUT, "so: 48%", False),
    ],
)
def test_a_deal_under_our_orders_number_is_ours_but_where_a_stop_made_it(
    rig: Rig, reason: DealReason, comment: str, ours: bool
) -> None:
    trade = rig.managed()
    planned = plan(rig, trade, Close(ticket=trade.ticket))
    intent = replace(planned, receipt=Receipt(outcome=Outcome.APPLIED, code=10009, order=_NUMBER))
    opened = opening(trade)
    closed = replace(
        opened, deal_id=2, order_id=_NUMBER, side=Side.SELL, entry=DealEntry.OUT, reason=reason, comment=comment
    )
    gone = PositionsRead(token=1, as_of=rig.clock.now, positions=())
    found = proof.find(intent, gone, (opened, closed), rig.broker.instrument(SYMBOL))
    assert found.seen is Seen.APPLIED
    assert found.receipt is not None
    assert (found.receipt.filled, found.receipt.goal_met) == ((1.0, False) if ours else (0.0, True))


@pytest.mark.parametrize(
    ("reason", "order", "seen"),
    [
        (DealReason.PROGRAM, None, Seen.UNCLEAR),  # perhaps ours, its comment rewritten
        (DealReason.PROGRAM, _NUMBER, Seen.PARTIAL),  # the broker told the number when it took the order
        (DealReason.MANUAL, None, Seen.ABSENT),  # a hand has taken it
    ],
)
def test_what_a_position_lost_while_its_close_is_in_doubt_is_not_called_nothing(
    rig: Rig, reason: DealReason, order: int | None, seen: Seen
) -> None:
    trade = rig.managed()
    planned = plan(rig, trade, Close(ticket=trade.ticket))
    told = None if order is None else Receipt(outcome=Outcome.UNKNOWN, code=10008, order=order)
    taken = replace(
        opening(trade),
        deal_id=2,
        order_id=_NUMBER,
        side=Side.SELL,
        entry=DealEntry.OUT,
        reason=reason,
        comment="another",
        volume=0.4,
    )
    read = rig.broker.positions()
    less = replace(read, positions=tuple(replace(position, volume=0.6) for position in read.positions))
    found = proof.find(replace(planned, receipt=told), less, (opening(trade), taken), rig.broker.instrument(SYMBOL))
    assert found.seen is seen
    assert (found.receipt.filled if found.receipt is not None else 0.0) == (0.4 if seen is Seen.PARTIAL else 0.0)


def test_the_number_of_an_order_that_the_broker_took_is_kept_in_the_journal(rig: Rig) -> None:
    trade = rig.managed()
    rig.writes.fate = lambda _action: "placed"
    intent = plan(rig, trade, Close(ticket=trade.ticket))
    rig.executor.tick()
    with rig.ledger.read() as tx:
        found = tx.intent(intent.intent_id)
    assert found is not None
    assert found.receipt is not None
    assert (found.state, found.receipt.outcome, found.receipt.order) == (
        IntentState.UNKNOWN,
        Outcome.UNKNOWN,
        rig.writes.placed,
    )


@pytest.mark.parametrize(("hidden", "left"), [(False, 0.0), (True, None)])
def test_of_a_position_that_has_ended_nothing_is_left_once_its_deals_prove_it(
    rig: Rig, hidden: bool, left: float | None
) -> None:
    trade = rig.managed()
    planned = plan(rig, trade, Reduce(ticket=trade.ticket, remaining=Lots(0.5)))
    ours = replace(
        opening(trade), deal_id=2, order_id=2, side=Side.SELL, entry=DealEntry.OUT, comment=planned.tag, volume=0.5
    )
    hand = replace(ours, deal_id=3, order_id=3, reason=DealReason.MANUAL, comment="")
    deals = (opening(trade), ours) if hidden else (opening(trade), ours, hand)
    gone = PositionsRead(token=1, as_of=rig.clock.now, positions=())
    found = proof.find(planned, gone, deals, rig.broker.instrument(SYMBOL))
    assert found.seen is Seen.APPLIED
    assert found.receipt is not None
    assert (found.receipt.filled, found.receipt.left) == (0.5, left)


def test_a_close_whose_position_is_not_shown_any_more_waits_for_its_last_deal(rig: Rig) -> None:
    trade = rig.managed()
    planned = plan(rig, trade, Close(ticket=trade.ticket))
    part = replace(
        opening(trade), deal_id=2, order_id=2, side=Side.SELL, entry=DealEntry.OUT, comment=planned.tag, volume=0.6
    )
    instrument, read = rig.broker.instrument(SYMBOL), rig.broker.positions()
    gone = replace(read, positions=())
    rest = replace(read, positions=tuple(replace(position, volume=0.4) for position in read.positions))
    waits, partly = (proof.find(planned, each, (opening(trade), part), instrument) for each in (gone, rest))
    no_deal_yet = proof.find(planned, gone, (opening(trade),), instrument)
    assert (waits.seen, partly.seen, no_deal_yet.seen) == (Seen.UNCLEAR, Seen.PARTIAL, Seen.UNCLEAR)
    assert partly.receipt is not None
    assert (partly.receipt.filled, partly.receipt.left) == (0.6, 0.4)

"""What a deal proves of an order: its tag does, its order's number only where nobody else can have made it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.app.rig import SYMBOL, Rig
from tests.app.test_gateway import plan

from dtms.app.evidence import proof
from dtms.app.evidence.proof import Seen
from dtms.domain.action import Close
from dtms.domain.position import Deal, DealEntry, DealReason, PositionsRead
from dtms.domain.receipt import Outcome, Receipt
from dtms.domain.units import Millis, Side

_NUMBER = 4_711


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
    opened = Deal(
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
    closed = replace(
        opened, deal_id=2, order_id=_NUMBER, side=Side.SELL, entry=DealEntry.OUT, reason=reason, comment=comment
    )
    gone = PositionsRead(token=1, as_of=rig.clock.now, positions=())
    found = proof.find(intent, gone, (opened, closed), rig.broker.instrument(SYMBOL))
    assert found.seen is Seen.APPLIED
    assert found.receipt is not None
    assert (found.receipt.filled, found.receipt.goal_met) == ((1.0, False) if ours else (0.0, True))

"""What a conclusion writes: right after it the ledger's volume and levels are the broker's, and nothing is taken for done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.app.rig import SYMBOL, Rig

from dtms.app.journal import journal
from dtms.domain.action import Action, Close, CloseHedge, OpenHedge, ReAdd, Reduce, SetStop
from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.position import WorkingOrder
from dtms.domain.rules import ExitRule
from dtms.domain.trade import Trade, TradeState
from dtms.domain.units import Lots, Price
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.records import AccountSpec

NETTING = AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING)


def netting() -> Rig:
    return Rig(account=NETTING)


def planned(rig: Rig, trade: Trade, action: Action, decision: str = "one") -> Intent:
    """Write an intent of the exits; the gateway has not acted yet."""
    intent = journal.new_intent(
        rig.trade(trade.ticket),
        action,
        decision_id=f"test {decision} {action}",
        owner=Planner.EXITS,
        rule=ExitRule.PARTIAL,
        now=rig.clock.now,
        priced_expiry_s=60,
    )
    with rig.ledger.write() as tx:
        tx.add_intent(intent)
    return intent


def same_as_the_broker(rig: Rig, trade: Trade) -> bool:
    """Say whether main leg and children have the volume and the levels that the broker shows."""
    known = rig.trade(trade.ticket)
    held = rig.position(trade.identifier)
    main = (known.volume, known.stop, known.target) == (
        (0.0, known.stop, known.target) if held is None else (held.volume, held.stop, held.target)
    )
    legs = {leg.identifier: (leg.volume, leg.stop, leg.target) for leg in known.legs}
    shown = {p.identifier: (p.volume, p.stop, p.target) for p in rig.others(trade)}
    return main and legs == shown


# ----- orders that the broker still works on


def at_work(rig: Rig, comment: str, position: int) -> None:
    """Let the broker work on an order against a position; `comment` is what it kept of ours."""
    rig.reads.working = (WorkingOrder(order=990, symbol=SYMBOL, position=position, comment=comment),)


@pytest.mark.parametrize("action", [Reduce, Close])
@pytest.mark.parametrize("comment", ["", "broker's own", "another order"])
def test_a_reduction_whose_working_order_has_another_comment_is_never_called_not_applied(
    rig: Rig, action: type, comment: str
) -> None:
    trade = rig.managed()
    rig.writes.fate = lambda _action: "lost_on_the_way"
    wanted = Close(ticket=trade.ticket) if action is Close else Reduce(ticket=trade.ticket, remaining=Lots(0.5))
    intent = planned(rig, trade, wanted)
    rig.executor.tick()
    at_work(rig, comment, trade.identifier)
    rig.pass_time(40)
    assert state_of(rig, intent) is IntentState.UNKNOWN
    assert len(rig.writes.sent) == 1
    rig.pass_time(30)
    assert state_of(rig, intent) is IntentState.QUARANTINED
    assert len(rig.writes.sent) == 1


def state_of(rig: Rig, intent: Intent) -> IntentState:
    with rig.ledger.read() as tx:
        found = tx.intent(intent.intent_id)
    assert found is not None
    return found.state


def test_an_order_at_work_on_another_position_holds_up_nothing(rig: Rig) -> None:
    trade = rig.managed()
    rig.writes.fate = lambda _action: "lost_on_the_way"
    intent = planned(rig, trade, Reduce(ticket=trade.ticket, remaining=Lots(0.5)))
    rig.executor.tick()
    at_work(rig, "another", trade.identifier + 1)
    rig.pass_time(20)
    assert state_of(rig, intent) is IntentState.NOT_APPLIED


# ----- part fills


def test_a_part_fill_after_an_earlier_partial_leaves_what_the_broker_has(rig: Rig) -> None:
    trade = rig.managed()
    planned(rig, trade, Reduce(ticket=trade.ticket, remaining=Lots(0.5)))
    rig.carry_out()
    rig.dealer.fills = lambda request: 0.1 if request.position else None
    planned(rig, trade, Reduce(ticket=trade.ticket, remaining=Lots(0.2)), "two")
    rig.executor.tick()
    assert rig.trade(trade.ticket).volume == Lots(0.4)
    assert same_as_the_broker(rig, trade)


def test_a_part_fill_of_a_hedges_close_after_an_earlier_one_leaves_what_the_broker_has(rig: Rig) -> None:
    trade = rig.hedged()
    hedge = trade.hedge
    assert hedge is not None
    parts = iter((0.1, 0.05))
    rig.dealer.fills = lambda request: next(parts) if request.position == hedge.ticket else None
    for left in (0.15, 0.1):
        planned(rig, trade, CloseHedge(ticket=trade.ticket, hedge=hedge.ticket), f"close {left}")
        rig.executor.tick()
        after = rig.trade(trade.ticket).hedge
        assert after is not None
        assert after.volume == pytest.approx(left)
        assert same_as_the_broker(rig, trade)


# ----- netting: what is added grows the position


def reduced(rig: Rig) -> Trade:
    """Return a trade that is HEDGED by a reduction, and whose volume is wanted back on the next bar."""
    trade = rig.fall(rig.managed(), -2.0, -4.0, -6.0)
    assert (trade.state, trade.volume) == (TradeState.HEDGED, Lots(0.25))
    return rig.fall(trade, -1.0)


def restoring(rig: Rig, trade: Trade) -> None:
    rig.next_bar()
    rig.decide(trade, -1.0)
    rig.executor.tick()


def test_a_restoring_on_netting_grows_the_trade_by_what_was_filled() -> None:
    rig = netting()
    trade = reduced(rig)
    restoring(rig, trade)
    assert rig.trade(trade.ticket).volume == Lots(0.5)
    assert same_as_the_broker(rig, trade)


def test_a_restoring_that_shows_late_on_netting_counts_once() -> None:
    rig = netting()
    trade = reduced(rig)
    rig.reads.stuck = rig.broker.positions()
    restoring(rig, trade)
    assert rig.trade(trade.ticket).volume == Lots(0.25)
    rig.reads.stuck = None
    while rig.trade(trade.ticket).pending is not None:
        rig.wait(1)
        rig.executor.tick()
    assert rig.trade(trade.ticket).volume == Lots(0.5)
    assert same_as_the_broker(rig, trade)


def test_a_restoring_whose_answer_was_lost_on_netting_counts_once() -> None:
    rig = netting()
    trade = reduced(rig)
    rig.writes.fate = lambda action: "answer_lost" if isinstance(action, ReAdd) else "answered"
    restoring(rig, trade)
    rig.wait(1)
    rig.executor.tick()
    assert rig.trade(trade.ticket).volume == Lots(0.5)
    assert same_as_the_broker(rig, trade)


def test_a_position_that_takes_over_our_comment_on_netting_grew_by_what_the_deals_say() -> None:
    rig = netting()
    trade = reduced(rig)
    rig.writes.fate = lambda action: "answer_lost" if isinstance(action, ReAdd) else "answered"
    restoring(rig, trade)
    tag = rig.writes.sent[-1][1]
    rig.reads.shown = lambda position: replace(position, comment=tag)
    rig.wait(1)
    rig.executor.tick()
    assert rig.trade(trade.ticket).volume == Lots(0.5)


@pytest.mark.parametrize("made", [Rig, netting])
def test_an_addition_never_brings_back_a_stop_that_was_tightened_since_it_was_planned(made: Callable[[], Rig]) -> None:
    rig = made()
    trade = rig.managed()
    assert trade.stop is not None
    seen = ReAdd(ticket=trade.ticket, side=trade.side, volume=Lots(0.2), stop=trade.stop, target=None)
    tighter = planned(rig, trade, SetStop(ticket=trade.ticket, stop=Price(1_995.0), target=None))
    rig.executor.tick()
    more = planned(rig, trade, seen)
    rig.executor.tick()
    assert [state_of(rig, each) for each in (tighter, more)] == [IntentState.APPLIED, IntentState.REJECTED]
    held = rig.position(trade.identifier)
    assert held is not None
    assert (held.stop, held.volume) == (1_995.0, trade.volume)


def unseen(rig: Rig, kind: type) -> tuple[Trade, Action]:
    """Return a trade and an action on it that suits it."""
    trade = rig.managed()
    if kind is CloseHedge:
        trade = rig.fall(trade, -2.0, -4.0, -6.0)
        assert trade.hedge is not None
        return trade, CloseHedge(ticket=trade.ticket, hedge=trade.hedge.ticket)
    if kind is OpenHedge:
        return trade, OpenHedge(
            ticket=trade.ticket, side=trade.side.opposite, volume=Lots(0.2), stop=Price(2_010.0), target=None
        )
    if kind is ReAdd:
        return trade, ReAdd(ticket=trade.ticket, side=trade.side, volume=Lots(0.2), stop=Price(1_990.0), target=None)
    if kind is SetStop:
        return trade, SetStop(ticket=trade.ticket, stop=Price(1_995.0), target=None)
    return trade, Close(ticket=trade.ticket) if kind is Close else Reduce(ticket=trade.ticket, remaining=Lots(0.5))


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        *((Rig, kind) for kind in (SetStop, Reduce, Close, OpenHedge, CloseHedge, ReAdd)),
        *((netting, kind) for kind in (SetStop, Reduce, Close, ReAdd)),
    ],
)
def test_what_the_broker_does_not_show_is_not_concluded_whatever_it_answered(
    made: Callable[[], Rig], kind: type
) -> None:
    rig = made()
    before, action = unseen(rig, kind)
    rig.reads.stuck, rig.reads.no_deals = rig.broker.positions(), True
    intent = planned(rig, before, action)
    rig.executor.tick()
    after = rig.trade(before.ticket)
    assert state_of(rig, intent) is IntentState.UNKNOWN
    assert (after.volume, after.stop, after.legs) == (before.volume, before.stop, before.legs)
    assert [sent for sent, _ in rig.writes.sent if sent == action] == [action]

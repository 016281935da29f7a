"""Orders whose outcome nobody told us: evidence decides, never a second sending; a hedge is never "not done" by the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.app.rig import Rig

from dtms.app.journal import journal
from dtms.core.settle import StepEnd
from dtms.domain.action import Action, Close, CloseHedge, OpenHedge, Reduce, SetStop
from dtms.domain.intent import Intent, IntentState
from dtms.domain.receipt import Outcome, Receipt
from dtms.domain.trade import Hold, Trade, TradeState
from dtms.domain.units import Lots, Price
from dtms_lab.laws.invariants import check, read_books
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.recorder import AppliedKind

_S = TradeState


def losing(kind: type, how: str) -> Callable[[Action], str]:
    return lambda action: how if isinstance(action, kind) else "answered"


def intents(rig: Rig, trade: Trade, kind: type) -> list[Intent]:
    return [intent for intent in rig.intents(trade) if isinstance(intent.action, kind)]


def states(rig: Rig, trade: Trade, kind: type) -> list[IntentState]:
    return [intent.state for intent in intents(rig, trade, kind)]


def lawful(rig: Rig) -> bool:
    return check(rig.oracle.entries, read_books(rig.ledger, magic=77), until=rig.clock.now) == ()


def at_the_step(rig: Rig, kind: type, how: str) -> Trade:
    """Return a trade whose next action of this kind met this fate; nobody has looked at the broker since."""
    trade = rig.managed()
    scores = {SetStop: (-2.0,), Reduce: (-2.0, -4.0), OpenHedge: (-2.0, -4.0, -6.0)}
    way = scores.get(kind, (-2.0, -4.0, -6.0, -1.0, -1.0) if kind is CloseHedge else (-2.0, -4.0))
    rig.fall(trade, *(way if kind is Close else way[:-1]))
    rig.writes.fate = losing(kind, how)
    rig.next_bar()
    if kind is Close:
        rig.turned(trade)
    else:
        rig.decide(trade, way[-1])
    rig.executor.tick()
    return rig.trade(trade.ticket)


KINDS = [SetStop, Reduce, OpenHedge, CloseHedge, Close]
APPLIED_AS = {
    SetStop: AppliedKind.SLTP,
    Reduce: AppliedKind.PARTIAL,
    OpenHedge: AppliedKind.OPEN,
    CloseHedge: AppliedKind.CLOSE,
    Close: AppliedKind.CLOSE,
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_was_lost_is_found_at_the_broker_and_sent_no_second_time(rig: Rig, kind: type) -> None:
    before = at_the_step(rig, kind, "answer_lost")
    done = rig.applied(APPLIED_AS[kind])
    rig.pass_time(30)
    assert states(rig, before, kind) == [IntentState.APPLIED]
    assert [action for action, _ in rig.writes.sent if isinstance(action, kind)] == [
        intents(rig, before, kind)[0].action
    ]
    assert rig.applied(APPLIED_AS[kind]) == done
    expected = {
        SetStop: _S.WARNING_L1,
        Reduce: _S.WARNING_L2,
        OpenHedge: _S.HEDGED,
        CloseHedge: _S.RECOVERING,
        Close: _S.CLOSED,
    }
    after = rig.trade(before.ticket)
    assert (after.state, after.pending) == (expected[kind], None)
    assert lawful(rig)


@pytest.mark.parametrize("kind", [SetStop, Reduce, CloseHedge, Close])
def test_what_never_arrived_is_not_applied_after_the_settle_time_and_no_sooner(rig: Rig, kind: type) -> None:
    trade = at_the_step(rig, kind, "lost_on_the_way")
    assert states(rig, trade, kind) == [IntentState.UNKNOWN]
    assert rig.alerts() == ["unknown"]
    rig.writes.fate = lambda _action: "answered"
    for _ in range(9):
        rig.pass_time(1)
        assert states(rig, trade, kind) == [IntentState.UNKNOWN]
        assert rig.trade(trade.ticket).state is trade.state
    rig.pass_time(3)
    assert states(rig, trade, kind)[0] is IntentState.NOT_APPLIED


@pytest.mark.parametrize("kind", [Reduce, Close])
def test_a_required_action_that_never_arrived_is_sent_again_as_a_new_attempt(rig: Rig, kind: type) -> None:
    trade = at_the_step(rig, kind, "lost_on_the_way")
    rig.writes.fate = lambda _action: "answered"
    rig.pass_time(20)
    first, second = intents(rig, trade, kind)
    assert (first.state, second.state) == (IntentState.NOT_APPLIED, IntentState.APPLIED)
    assert (second.attempt, second.step, second.decision_id) == (2, first.step, first.decision_id)
    assert second.tag == f"{first.tag}z2"
    assert rig.trade(trade.ticket).state is (_S.WARNING_L2 if kind is Reduce else _S.CLOSED)
    assert lawful(rig)


def test_a_read_that_does_not_change_is_one_read_however_often_it_comes(rig: Rig) -> None:
    trade = at_the_step(rig, Reduce, "lost_on_the_way")
    rig.writes.fate = lambda _action: "answered"
    rig.reads.stuck = rig.broker.positions()
    for _ in range(30):
        rig.wait(1)
        rig.executor.tick()
    assert states(rig, trade, Reduce) == [IntentState.UNKNOWN]
    rig.reads.stuck = None
    rig.pass_time(15)
    assert states(rig, trade, Reduce)[0] is IntentState.NOT_APPLIED


def test_while_the_broker_cannot_be_read_nothing_is_concluded_from_silence(rig: Rig) -> None:
    trade = at_the_step(rig, Reduce, "answer_lost")
    rig.reads.down = True
    for _ in range(50):
        rig.wait(1)
        rig.executor.tick()
    assert states(rig, trade, Reduce) == [IntentState.UNKNOWN]
    rig.reads.down = False
    rig.pass_time(3)
    assert states(rig, trade, Reduce) == [IntentState.APPLIED]


# ----- hedges


def test_a_hedge_that_never_arrived_is_quarantined_never_not_applied_and_never_sent_again(rig: Rig) -> None:
    trade = at_the_step(rig, OpenHedge, "lost_on_the_way")
    rig.writes.fate = lambda _action: "answered"
    for _ in range(59):
        rig.pass_time(1)
        assert states(rig, trade, OpenHedge) == [IntentState.UNKNOWN]
        assert rig.trade(trade.ticket).pending_to is _S.HEDGED
    rig.pass_time(5)
    assert states(rig, trade, OpenHedge) == [IntentState.QUARANTINED]
    assert rig.alerts() == ["unknown", "quarantined"]
    assert len([1 for action, _ in rig.writes.sent if isinstance(action, OpenHedge)]) == 1
    after = rig.trade(trade.ticket)
    assert (after.state, after.volume, after.marks.hedge_used) == (_S.HEDGED, Lots(0.25), True)
    with rig.ledger.read() as tx:
        assert tx.transitions(trade.trade_id)[-1].fallbacks == ("hedge_refused",)


def test_a_hedge_that_appears_while_it_is_in_doubt_is_taken_over_with_its_own_fill(rig: Rig) -> None:
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    rig.writes.fate = losing(OpenHedge, "answer_lost")
    rig.next_bar()
    rig.decide(trade, -6.0)
    rig.price(1_999.0)  # it fills a dollar lower than it was decided
    rig.executor.tick()
    hedge = rig.others(trade)[0]
    rig.reads.hidden = {hedge.identifier}
    rig.pass_time(20)
    assert rig.trade(trade.ticket).legs == ()
    rig.reads.hidden = set()
    rig.writes.fate = lambda _action: "answered"
    rig.pass_time(3)
    leg = rig.trade(trade.ticket).hedge
    assert leg is not None
    assert (leg.ticket, leg.entry, leg.volume, leg.stop) == (hedge.ticket, 1_999.0, Lots(0.25), Price(2_005.2))
    seen = rig.position(hedge.identifier)
    assert seen is not None
    assert (seen.stop, seen.target) == (2_005.2, 1_996.0)


def test_a_way_to_closed_does_not_wait_for_a_hedge_in_doubt_and_a_late_hedge_is_closed(rig: Rig) -> None:
    trade = at_the_step(rig, OpenHedge, "answer_lost")
    hedge = rig.others(trade)[0]
    rig.reads.hidden = {hedge.identifier}
    rig.writes.fate = lambda _action: "answered"
    rig.wait(30)
    rig.turned(trade)
    rig.carry_out()
    assert rig.trade(trade.ticket).state is _S.CLOSED
    rig.reads.hidden = set()
    rig.pass_time(2)
    assert rig.broker.positions().positions == ()
    assert [i.rule for i in rig.intents(trade)][-1] == "defence.orphan"


def test_a_late_hedge_that_cannot_be_closed_at_once_is_tried_again_until_it_is(rig: Rig) -> None:
    trade = at_the_step(rig, OpenHedge, "answer_lost")
    hedge = rig.others(trade)[0]
    rig.reads.hidden = {hedge.identifier}
    rig.writes.fate = lambda _action: "answered"
    rig.wait(30)
    rig.turned(trade)
    rig.carry_out()
    rig.reads.hidden = set()
    rig.dealer.refuses = lambda request: Mt5.TRADE_RETCODE_REQUOTE if request.position == hedge.ticket else None
    rig.pass_time(12)
    assert rig.position(hedge.identifier) is not None
    rig.dealer.refuses = lambda _request: None
    rig.pass_time(8)
    assert rig.position(hedge.identifier) is None
    ends = [i.state for i in rig.intents(trade) if i.rule == "defence.orphan"]
    assert (ends[-1], set(ends[:-1])) == (IntentState.APPLIED, {IntentState.REJECTED})


def test_a_hedge_whose_parent_ends_while_it_is_in_doubt_is_closed_within_ten_seconds(rig: Rig) -> None:
    trade = at_the_step(rig, OpenHedge, "answer_lost")
    rig.hand_close(trade.ticket)
    rig.pass_time(10)
    assert rig.broker.positions().positions == ()
    rig.pass_time(5)
    assert rig.trade(trade.ticket).state is _S.CLOSED
    assert lawful(rig)


def test_a_close_may_pass_a_partial_in_doubt(rig: Rig) -> None:
    trade = rig.managed()
    rig.fall(trade, -2.0)
    rig.writes.fate = losing(Reduce, "lost_on_the_way")
    rig.next_bar()
    rig.decide(trade, -4.0)
    rig.carry_out()
    rig.hand_close(trade.ticket)
    rig.pass_time(15)
    assert rig.trade(trade.ticket).state is _S.CLOSED
    with rig.ledger.read() as tx:
        assert tx.unfinished() == ()


def test_a_stop_in_doubt_does_not_hold_up_the_partial(rig: Rig) -> None:
    trade = rig.managed()
    rig.writes.fate = losing(SetStop, "lost_on_the_way")
    rig.next_bar()
    rig.decide(trade, -2.0)
    rig.carry_out()
    assert rig.trade(trade.ticket).pending_to is _S.WARNING_L1
    rig.pass_time(12)
    assert rig.trade(trade.ticket).state is _S.WARNING_L1
    assert rig.trade(trade.ticket).stop == Price(1_990.0)


# ----- what is not what it seems


def test_a_hand_that_closes_the_same_part_does_not_make_our_partial_done_twice(rig: Rig) -> None:
    trade = at_the_step(rig, Reduce, "lost_on_the_way")
    rig.hand_close(trade.ticket, 0.5)  # the volume is what our partial would have left
    rig.pass_time(20)
    after = rig.trade(trade.ticket)
    assert (after.state, after.volume) == (_S.WARNING_L2, Lots(0.5))
    assert rig.applied(AppliedKind.PARTIAL) == 1


def test_a_hand_that_sets_the_very_stop_we_asked_for_settles_it(rig: Rig) -> None:
    trade = at_the_step(rig, SetStop, "lost_on_the_way")
    rig.hand_stop(trade.ticket, 1_996.0)
    rig.pass_time(3)
    assert states(rig, trade, SetStop) == [IntentState.APPLIED]
    assert rig.trade(trade.ticket).stop == Price(1_996.0)


def test_a_position_that_is_stopped_out_while_its_stop_is_in_doubt_is_simply_gone(rig: Rig) -> None:
    trade = at_the_step(rig, SetStop, "answer_lost")
    rig.wait(1)
    rig.price(1_995.0)  # beyond the new stop of 1,996 and short of the old one
    rig.pass_time(25)
    after = rig.trade(trade.ticket)
    assert (after.state, after.close_reason, after.hold) == (_S.CLOSED, "gone_warning_l1", Hold.NONE)
    assert states(rig, trade, SetStop) == [IntentState.APPLIED]
    with rig.ledger.read() as tx:
        assert tx.unfinished() == ()
    assert lawful(rig)


def test_a_fall_through_both_stops_tells_nothing_of_the_new_one_and_the_trade_is_gone_all_the_same(rig: Rig) -> None:
    trade = at_the_step(rig, SetStop, "lost_on_the_way")
    rig.wait(1)
    rig.price(1_980.0)
    rig.pass_time(25)
    assert states(rig, trade, SetStop) == [IntentState.NOT_APPLIED]
    assert rig.trade(trade.ticket).state is _S.CLOSED


def test_what_is_in_doubt_survives_a_restart_of_every_service(rig: Rig) -> None:
    trade = at_the_step(rig, Reduce, "answer_lost")
    rig.writes.fate = lambda _action: "answered"
    rig.start(epoch=2)
    rig.pass_time(15)
    assert states(rig, trade, Reduce) == [IntentState.APPLIED]
    assert (rig.applied(AppliedKind.PARTIAL), rig.trade(trade.ticket).volume) == (1, Lots(0.5))


def test_a_hedge_found_late_by_the_operator_is_a_hedge_used(rig: Rig) -> None:
    trade = at_the_step(rig, OpenHedge, "answer_lost")
    hedge = rig.others(trade)[0]
    rig.reads.hidden = {hedge.identifier}
    rig.writes.fate = lambda _action: "answered"
    rig.pass_time(75)
    quarantined = intents(rig, trade, OpenHedge)[0]
    receipt = Receipt(
        outcome=Outcome.APPLIED,
        code=0,
        ticket=hedge.ticket,
        position=hedge.identifier,
        filled=hedge.volume,
        price=hedge.entry,
    )
    if quarantined.state is IntentState.QUARANTINED:
        with rig.ledger.write() as tx:
            journal.conclude(tx, quarantined, StepEnd.APPLIED, receipt, rig.scene())
    rig.reads.hidden = set()
    after = rig.trade(trade.ticket)
    assert after.hedge is not None
    assert after.marks.hedge_used
    assert replace(after.hedge, stop=None, target=None).ticket == hedge.ticket

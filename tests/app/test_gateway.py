"""The gateway's checks: each intent against a fresh read of the broker, by kind, just before it is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.app.rig import T0, Crash, Killed, Rig

from dtms.app.journal import journal
from dtms.app.views.trade_cache import KILL_FACT
from dtms.domain.action import Action, Close, CloseHedge, OpenHedge, Reduce, SetStop
from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.receipt import Rejection
from dtms.domain.rules import DefenceRule
from dtms.domain.trade import Hold, Trade, TradeState
from dtms.domain.units import SECOND, Lots, Millis, Price, Side
from dtms.domain.verdict import KillLevel
from dtms.errors import StaleWriteError
from dtms_lab.laws.invariants import check, read_books
from dtms_lab.terminal.recorder import AppliedKind

OPERATIONS = (AppliedKind.SLTP, AppliedKind.PARTIAL, AppliedKind.CLOSE, AppliedKind.CLOSE_BY, AppliedKind.OPEN)


def plan(rig: Rig, trade: Trade, action: Action, *, price_based: bool = False, decision: str = "test") -> Intent:
    """Write an intent as a planner would, from what it knew."""
    intent = journal.new_intent(
        rig.trade(trade.ticket),
        action,
        decision_id=decision,
        owner=Planner.COMMAND,
        rule=DefenceRule.TIGHTEN,
        now=rig.clock.now,
        priced_expiry_s=60.0,
        price_based=price_based,
    )
    with rig.ledger.write() as tx:
        assert tx.add_intent(intent)
    return intent


def ended(rig: Rig, intent: Intent) -> Intent:
    with rig.ledger.read() as tx:
        found = tx.intent(intent.intent_id)
    assert found is not None
    return found


def end_of(rig: Rig, intent: Intent) -> tuple[IntentState, Rejection | None]:
    found = ended(rig, intent)
    return found.state, None if found.receipt is None else found.receipt.rejection


def tighter(trade: Trade) -> SetStop:
    return SetStop(ticket=trade.ticket, stop=Price(1_995.0), target=trade.target)


def hedge(trade: Trade) -> OpenHedge:
    return OpenHedge(ticket=trade.ticket, side=Side.SELL, volume=Lots(0.25), stop=Price(2_006.2), target=Price(1_990.0))


# ----- preconditions, by kind


@pytest.mark.parametrize(
    ("action", "meanwhile"),
    [
        (tighter, lambda rig, t: rig.hand_stop(t.ticket, 1_991.0)),
        (tighter, lambda rig, t: rig.hand_stop(t.ticket, 1_990.0, 2_050.0)),
        (lambda t: Reduce(ticket=t.ticket, remaining=Lots(0.5)), lambda rig, t: rig.hand_close(t.ticket, 0.1)),
        (hedge, lambda rig, t: rig.hand_close(t.ticket, 0.1)),
    ],
    ids=["stop for a stop", "target for a stop", "volume for a partial", "volume for a hedge"],
)
def test_what_was_decided_on_has_changed_so_nothing_is_sent(
    rig: Rig, action: Callable[[Trade], Action], meanwhile: Callable[[Rig, Trade], None]
) -> None:
    trade = rig.managed()
    intent = plan(rig, trade, action(trade))
    meanwhile(rig, trade)
    before = rig.applied(*OPERATIONS)
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.REJECTED, Rejection.PRECONDITION)
    assert (rig.applied(*OPERATIONS), rig.writes.sent) == (before, [])


def test_a_stop_change_does_not_mind_a_changed_volume_nor_a_partial_a_changed_stop(rig: Rig) -> None:
    trade = rig.managed()
    stop, part = plan(rig, trade, tighter(trade)), None
    rig.hand_close(trade.ticket, 0.1)
    rig.carry_out()
    assert end_of(rig, stop) == (IntentState.APPLIED, None)
    other = rig.managed()
    part = plan(rig, other, Reduce(ticket=other.ticket, remaining=Lots(0.5)))
    rig.hand_stop(other.ticket, 1_992.0)
    rig.carry_out()
    assert end_of(rig, part) == (IntentState.APPLIED, None)


def test_a_full_close_goes_by_identity_alone(rig: Rig) -> None:
    trade = rig.managed()
    intent = plan(rig, trade, Close(ticket=trade.ticket))
    rig.hand_stop(trade.ticket, 1_992.0, 2_040.0)
    rig.hand_close(trade.ticket, 0.3)
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.APPLIED, None)
    assert rig.position(trade.identifier) is None


def test_closing_against_a_position_that_is_gone_is_decided_anew(rig: Rig) -> None:
    trade = rig.hedged()
    assert trade.hedge is not None
    intent = plan(rig, trade, Close(ticket=trade.ticket, by=trade.hedge.ticket))
    rig.hand_close(trade.hedge.ticket)
    rig.executor.tick()
    assert end_of(rig, intent) == (IntentState.REJECTED, Rejection.PRECONDITION)
    assert rig.position(trade.identifier) is not None


def test_a_second_hedge_is_not_opened_whatever_was_decided(rig: Rig) -> None:
    trade = rig.hedged()
    intent = plan(rig, trade, hedge(trade))
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.REJECTED, Rejection.HEDGE_PROHIBITED)
    assert len(rig.others(trade)) == 1


def test_a_hedge_is_not_opened_after_one_that_has_come_and_gone(rig: Rig) -> None:
    trade = rig.fall(rig.hedged(), -1.0, -1.0)
    assert (trade.state, trade.legs) == (TradeState.RECOVERING, ())
    intent = plan(rig, trade, hedge(trade))
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.REJECTED, Rejection.HEDGE_PROHIBITED)
    assert rig.others(trade) == ()


def test_a_hedge_that_the_broker_refused_was_none(rig: Rig) -> None:
    trade = rig.managed()
    rig.writes.fate = lambda _action: "not_sent"
    first = plan(rig, trade, hedge(trade), decision="a")
    rig.carry_out()
    rig.writes.fate = lambda _action: "answered"
    second = plan(rig, trade, hedge(trade), decision="b")
    rig.carry_out()
    assert end_of(rig, first) == (IntentState.REJECTED, Rejection.NOT_SENT)
    assert end_of(rig, second) == (IntentState.APPLIED, None)
    assert len(rig.others(trade)) == 1


def test_a_hedge_is_not_opened_where_an_earlier_one_may_have_been(rig: Rig) -> None:
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    rig.writes.fate = lambda action: "lost_on_the_way" if isinstance(action, OpenHedge) else "answered"
    rig.next_bar()
    rig.decide(trade, -6.0)
    rig.carry_out()
    rig.pass_time(70)
    assert "quarantined" in rig.alerts()
    rig.writes.fate = lambda _action: "answered"
    sent = len(rig.writes.sent)
    intent = plan(rig, trade, hedge(trade))
    rig.carry_out()
    assert end_of(rig, intent) != (IntentState.APPLIED, None)
    assert (len(rig.writes.sent), rig.others(trade)) == (sent, ())


@pytest.mark.parametrize("side", Side)
def test_a_stop_that_would_loosen_is_refused_at_the_gateway_too(rig: Rig, side: Side) -> None:
    trade = rig.managed(side)
    looser = SetStop(ticket=trade.ticket, stop=Price(trade.initial_stop - side * 1.0), target=None)
    intent = plan(rig, trade, looser)
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.REJECTED, Rejection.LOOSENS)
    granted = plan(rig, trade, replace(looser, widens=True), decision="granted")
    rig.carry_out()
    assert end_of(rig, granted) == (IntentState.APPLIED, None)


def test_a_reduction_that_reduces_nothing_is_refused(rig: Rig) -> None:
    trade = rig.managed(volume=0.5)
    intent = plan(rig, trade, Reduce(ticket=trade.ticket, remaining=Lots(0.5)))
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.REJECTED, Rejection.PRECONDITION)


# ----- positions that are gone


def test_a_stop_of_a_position_that_is_proved_gone_is_rejected_as_that(rig: Rig) -> None:
    trade = rig.managed()
    intent = plan(rig, trade, tighter(trade))
    rig.hand_close(trade.ticket)
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.REJECTED, Rejection.POSITION_GONE)
    assert rig.writes.sent == []


def test_a_close_of_a_position_that_is_proved_gone_has_met_its_goal_and_sends_nothing(rig: Rig) -> None:
    trade = rig.managed()
    intent = plan(rig, trade, Close(ticket=trade.ticket))
    rig.hand_close(trade.ticket)
    rig.carry_out()
    found = ended(rig, intent)
    assert found.receipt is not None
    assert (found.state, found.receipt.goal_met, rig.writes.sent) == (IntentState.APPLIED, True, [])


@pytest.mark.parametrize("blink", ["flat", "no deals"])
def test_one_empty_read_is_not_the_end_of_a_position_that_had_a_partial_close(rig: Rig, blink: str) -> None:
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    rig.next_bar()
    rig.turned(trade)
    if blink == "flat":
        rig.reads.flat = True
    else:
        rig.reads.hidden, rig.reads.no_deals = {trade.identifier}, True
    rig.carry_out()
    seen = rig.trade(trade.ticket)
    assert (seen.state, seen.volume, seen.pending_to) == (TradeState.WARNING_L2, Lots(0.5), TradeState.CLOSED)
    rig.reads.flat, rig.reads.hidden, rig.reads.no_deals = False, set(), False
    rig.pass_time(3)
    assert (rig.trade(trade.ticket).state, rig.position(trade.identifier)) == (TradeState.CLOSED, None)


# ----- age, hours, switches


def test_an_intent_whose_target_came_from_a_price_dies_after_a_minute(rig: Rig) -> None:
    trade = rig.managed()
    fresh = plan(rig, trade, tighter(trade), price_based=True)
    rig.clock.now = Millis(rig.clock.now + 60 * SECOND - 1)
    rig.carry_out()
    assert end_of(rig, fresh) == (IntentState.APPLIED, None)
    old = plan(
        rig, trade, SetStop(ticket=trade.ticket, stop=Price(1_996.0), target=None), price_based=True, decision="b"
    )
    rig.wait(60)
    rig.carry_out()
    assert end_of(rig, old) == (IntentState.CANCELLED, None)
    assert len(rig.writes.sent) == 1


def test_an_intent_that_came_from_no_price_does_not_grow_old(rig: Rig) -> None:
    trade = rig.managed()
    intent = plan(rig, trade, Reduce(ticket=trade.ticket, remaining=Lots(0.5)))
    rig.wait(3_000)
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.APPLIED, None)


def test_an_intent_whose_target_came_from_a_price_dies_with_its_session(rig: Rig) -> None:
    rig.clock.now = Millis(T0 + 3_600 * SECOND - 1 * SECOND)
    rig.price(2_000.0)
    trade = rig.managed()
    intent = plan(rig, trade, tighter(trade), price_based=True)
    rig.wait(1)  # 13:00 UTC: London becomes the overlap
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.CANCELLED, None)


def test_at_a_reopening_a_close_waits_two_minutes(rig: Rig) -> None:
    trade = rig.managed()
    rig.clock.now = Millis(T0 + 10 * 3_600 * SECOND)  # 22:00 UTC, gold opens after its daily break
    rig.price(2_000.0)
    intent = plan(rig, trade, Close(ticket=trade.ticket))
    rig.carry_out()
    rig.wait(119.999)
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.PLANNED, None)
    rig.wait(0.001)
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.APPLIED, None)


def test_at_a_reopening_a_close_waits_for_the_spread_but_no_longer_than_ten_minutes(rig: Rig) -> None:
    trade = rig.managed()
    rig.clock.now = Millis(T0 + 10 * 3_600 * SECOND)
    rig.price(2_000.0, spread=0.61)
    intent = plan(rig, trade, Close(ticket=trade.ticket))
    rig.wait(599.999)
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.PLANNED, None)
    rig.wait(0.001)
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.APPLIED, None)


def test_a_stop_does_not_wait_for_a_reopening(rig: Rig) -> None:
    trade = rig.managed()
    rig.clock.now = Millis(T0 + 10 * 3_600 * SECOND)
    rig.price(2_000.0)
    intent = plan(rig, trade, tighter(trade))
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.APPLIED, None)


@pytest.mark.parametrize("level", [KillLevel.PROTECT_ONLY, KillLevel.FLATTEN])
def test_a_pressed_kill_switch_stops_what_adds_risk_and_nothing_else(rig: Rig, level: KillLevel) -> None:
    trade = rig.hedged()
    assert trade.hedge is not None
    with rig.ledger.write() as tx:
        tx.set_fact(KILL_FACT, level)
    adds = plan(rig, trade, CloseHedge(ticket=trade.ticket, hedge=trade.hedge.ticket))
    rig.carry_out()
    assert end_of(rig, adds) == (IntentState.REJECTED, Rejection.KILL_SWITCH)
    takes = plan(rig, trade, Close(ticket=trade.ticket), decision="close")
    rig.carry_out()
    assert end_of(rig, takes) == (IntentState.APPLIED, None)


@pytest.mark.parametrize("hold", [hold for hold in Hold if hold is not Hold.NONE])
def test_nothing_that_adds_risk_is_sent_for_a_trade_that_is_only_observed(rig: Rig, hold: Hold) -> None:
    trade = rig.managed()
    intent = plan(rig, trade, hedge(trade))
    rig.put(replace(rig.trade(trade.ticket), hold=hold))
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.REJECTED, Rejection.PRECONDITION)
    closing = plan(rig, trade, Close(ticket=trade.ticket), decision="close")
    rig.carry_out()
    assert end_of(rig, closing) == (IntentState.APPLIED, None)


def test_an_advisory_gateway_has_nothing_to_send_with(rig: Rig) -> None:
    trade = rig.managed()
    rig.start(advisory=True, epoch=2)
    intent = plan(rig, trade, Close(ticket=trade.ticket))
    rig.carry_out()
    assert end_of(rig, intent) == (IntentState.REJECTED, Rejection.NOT_ARMED)
    assert (rig.executor.writes, rig.writes.sent) == (None, [])
    assert rig.position(trade.identifier) is not None


# ----- sending


def test_an_intent_is_sending_in_the_ledger_before_the_first_byte_leaves(rig: Rig) -> None:
    trade = rig.managed()
    intent = plan(rig, trade, tighter(trade))
    seen: list[tuple[str, IntentState, int]] = []

    def look(tag: str) -> None:
        found = ended(rig, intent)
        seen.append((tag, found.state, found.epoch))

    rig.writes.before = look
    rig.carry_out()
    assert seen == [(intent.tag, IntentState.SENDING, 1)]


def test_what_provably_never_left_is_rejected_and_tried_again_as_a_new_attempt(rig: Rig) -> None:
    trade = rig.fall(rig.managed(), -2.0)
    rig.writes.fate = lambda _action: "not_sent"
    rig.next_bar()
    rig.decide(trade, -4.0)
    rig.carry_out()
    rig.writes.fate = lambda _action: "answered"
    rig.pass_time(2)
    tries = [(i.attempt, i.state) for i in rig.intents(trade) if isinstance(i.action, Reduce)]
    assert tries == [(1, IntentState.REJECTED), (2, IntentState.APPLIED)]
    tags = [i.tag for i in rig.intents(trade) if isinstance(i.action, Reduce)]
    assert tags[1] == f"{tags[0]}z2"
    assert rig.trade(trade.ticket).volume == Lots(0.5)


def test_while_the_broker_cannot_be_read_nothing_is_sent(rig: Rig) -> None:
    trade = rig.managed()
    intent = plan(rig, trade, tighter(trade))
    rig.reads.down = True
    rig.executor.tick()
    assert end_of(rig, intent) == (IntentState.REJECTED, Rejection.NOT_SENT)
    assert rig.writes.sent == []


def test_a_gateway_whose_time_is_over_sends_nothing(rig: Rig) -> None:
    trade = rig.managed()
    old = rig.executor
    rig.start(epoch=2)
    first = plan(rig, trade, tighter(trade))
    rig.carry_out()
    assert ended(rig, first).epoch == 2
    second = plan(rig, trade, SetStop(ticket=trade.ticket, stop=Price(1_996.0), target=None), decision="b")
    sent = len(rig.writes.sent)
    with pytest.raises(StaleWriteError, match="epoch 1 is over"):
        old.tick()
    assert (ended(rig, second).state, len(rig.writes.sent)) == (IntentState.PLANNED, sent)


def test_two_gateways_do_not_both_send_one_intent(rig: Rig) -> None:
    trade = rig.managed()
    other = rig.executor
    rig.start(epoch=1)
    plan(rig, trade, tighter(trade))
    rig.executor.book.page()
    other.book.page()
    assert rig.executor.tick() + other.tick() == 1
    assert (len(rig.writes.sent), rig.applied(AppliedKind.SLTP)) == (1, 1)


def test_the_same_decision_written_twice_is_one_intent(rig: Rig) -> None:
    trade = rig.managed()
    intent = plan(rig, trade, tighter(trade))
    with rig.ledger.write() as tx:
        assert not tx.add_intent(replace(intent, intent_id=intent.intent_id))
    rig.carry_out()
    assert len(rig.writes.sent) == 1


def test_a_fault_of_ours_on_one_trade_leaves_the_others_defended(rig: Rig) -> None:
    broken, sound = rig.managed(), rig.managed()
    wrong = replace(hedge(broken), side=Side.BUY, stop=Price(1_980.0))
    first = plan(rig, broken, wrong)
    second = plan(rig, sound, tighter(sound))
    rig.carry_out()
    assert end_of(rig, first) == (IntentState.REJECTED, Rejection.INVALID_REQUEST)
    assert rig.trade(broken.ticket).hold is Hold.INVARIANT
    assert rig.alerts() == ["quarantined"]
    assert end_of(rig, second) == (IntentState.APPLIED, None)
    assert rig.trade(sound.ticket).hold is Hold.NONE


# ----- a kill at every instruction


def _story(rig: Rig) -> Trade:
    """A fall through every warning into a hedge, out of it, and to the end; the market comes back in between."""
    trade = rig.managed()
    for score in (-2.0, -4.0, -6.0, -1.0, -1.0):
        rig.next_bar()
        rig.decide(trade, score)
        rig.carry_out()
    rig.next_bar()
    rig.turned(trade)
    rig.pass_time(15)
    return rig.trade(trade.ticket)


def _told(rig: Rig, trade: Trade) -> tuple[Any, ...]:
    """Return what became of a trade and what the broker did for it, the times left out."""
    done = [
        (entry.kind.value, entry.identifier, entry.stop_after, entry.volume_after)
        for entry in rig.oracle.entries
        if entry.kind in OPERATIONS
    ]
    return (trade.state, trade.volume, trade.legs, trade.marks.hedge_used, rig.rows(trade), done)


ANSWERED = [
    "gateway.before_claim",
    "gateway.sent",
    "gateway.acked",
    "gateway.before_conclude",
    "gateway.concluded",
]
"""Points at which a kill cannot lose what the broker was asked for."""
NOT_SENT = ["gateway.claimed", "gateway.before_send"]
"""Points after which nobody can tell for a while whether the broker was asked."""


def _restarted(rig: Rig) -> None:
    """Start every service with the next epoch; one that is killed while it recovers is started again."""
    for _ in range(20):
        try:
            rig.start(epoch=rig.executor.epoch + 1)
        except Killed:
            continue
        return


def _survived(rig: Rig) -> None:
    """Carry out; whoever is killed on the way is started anew until all is done."""
    for _ in range(20):
        try:
            rig.carry_out()
        except Killed:
            _restarted(rig)
        else:
            return


def _killed_story(point: str, times: int) -> Rig:
    """The same story with one kill in it; after each bar there is time to settle what is in doubt."""
    rig = Rig(crash=Crash(at=point, times=times))
    trade = rig.managed()
    for score in (-2.0, -4.0, -6.0, -1.0, -1.0):
        rig.next_bar()
        rig.decide(trade, score)
        _survived(rig)
        rig.pass_time(25)
    rig.next_bar()
    rig.turned(trade)
    _survived(rig)
    rig.pass_time(40)
    assert rig.crash.reached[point] >= times
    return rig


def _broken(rig: Rig) -> tuple[Any, ...]:
    return check(rig.oracle.entries, read_books(rig.ledger, magic=77), until=rig.clock.now)


@pytest.mark.parametrize("point", ANSWERED)
@pytest.mark.parametrize("times", range(1, 6))
def test_a_kill_behind_the_send_loses_nothing_and_does_nothing_twice(point: str, times: int) -> None:
    plain = Rig()
    expected = _told(plain, _story(plain))
    rig = _killed_story(point, times)
    assert _told(rig, rig.trade(50_000_001)) == expected
    assert _broken(rig) == ()
    with rig.ledger.read() as tx:
        assert tx.unfinished() == ()


@pytest.mark.parametrize("point", NOT_SENT)
@pytest.mark.parametrize("times", range(1, 6))
def test_a_kill_before_the_send_does_nothing_twice_and_the_story_still_ends(point: str, times: int) -> None:
    rig = _killed_story(point, times)
    trade = rig.trade(50_000_001)
    assert (trade.state, rig.broker.positions().positions) == (TradeState.CLOSED, ())
    assert trade.volume + sum(leg.volume for leg in trade.legs) == 0.0
    assert _broken(rig) == ()
    with rig.ledger.read() as tx:
        assert tx.unfinished() == ()
        in_doubt = [i for i in tx.intents(trade_id=trade.trade_id) if i.state is IntentState.QUARANTINED]
    # What may have been sent and leaves no trace of not having been is the operator's to decide: openings alone.
    assert all(isinstance(intent.action, OpenHedge) for intent in in_doubt)
    assert ("quarantined" in rig.alerts()) is bool(in_doubt)


def test_a_gateway_that_is_killed_inside_the_brokers_call_finds_what_it_did(rig: Rig) -> None:
    trade = rig.fall(rig.managed(), -2.0)
    rig.writes.fate = lambda action: "killed" if isinstance(action, Reduce) else "answered"
    rig.next_bar()
    rig.decide(trade, -4.0)
    with pytest.raises(Killed):
        rig.carry_out()
    rig.writes.fate = lambda _action: "answered"
    rig.start(epoch=2)
    rig.pass_time(15)
    after = rig.trade(trade.ticket)
    assert (after.state, after.volume, rig.applied(AppliedKind.PARTIAL)) == (TradeState.WARNING_L2, Lots(0.5), 1)

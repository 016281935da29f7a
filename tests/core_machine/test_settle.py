"""What the end of each step does to a trade: on, back, aside, or committed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.core_machine.bench import (
    BAR,
    FRIDAY_CLOSE,
    HEDGE_TICKET,
    HOURS,
    NETTING,
    POLICY,
    T0,
    TICKET,
    actions,
    make_hedge,
    make_hedged,
    make_trade,
    on_bar,
    ran,
    refused,
    scene,
    snapshot,
)

from dtms.core import settle
from dtms.core.applied import apply_facts, taken
from dtms.core.decide import decide
from dtms.core.readdress import readdressed
from dtms.core.settle import Settled, StepEnd
from dtms.domain.action import Action, Close, CloseHedge, OpenHedge, ReAdd, Reduce, SetStop
from dtms.domain.policy import DefencePolicy, Policy
from dtms.domain.receipt import RETRYABLE, Outcome, Receipt, Rejection
from dtms.domain.score import StructureEventKind
from dtms.domain.trade import Hold, LegKind, OnceFlags, Owner, Pending, Trade, TradeState
from dtms.domain.units import HOUR, MINUTE, SECOND, Lots, Millis, Price, Side, Ticket
from dtms.domain.verdict import Verdict
from dtms.errors import IllegalTransitionError, InvariantError

_S = TradeState
NOW = Millis(T0 + 2 * SECOND)
DONE = Receipt(outcome=Outcome.APPLIED, code=10009)
APPLIED, REJECTED, PARTIAL = StepEnd.APPLIED, StepEnd.REJECTED, StepEnd.PARTIAL


def begin(trade: Trade, score: float | None = None, policy: Policy = POLICY, **seen: Any) -> Settled:
    """Decide on a bar and begin what the verdict says."""
    observed, snap = on_bar(trade, score, **seen)
    verdict = decide(snap, observed, policy)
    return settle.begin(observed, verdict, scene(policy=policy))


def pending(settled: Settled) -> Pending:
    assert settled.trade.pending is not None
    return settled.trade.pending


def end(
    settled: Settled, how: StepEnd, receipt: Receipt | None = None, *, now: int = NOW, policy: Policy = POLICY
) -> Settled:
    """Let the present step end like this."""
    under_way = pending(settled)
    action = under_way.steps[under_way.step].action
    return settle.settle(settled.trade, action, how, receipt, scene(now, policy))


def rejected(settled: Settled, rejection: Rejection, *, now: int = NOW) -> Settled:
    return end(settled, REJECTED, refused(rejection), now=now)


def opened(volume: float, price: float = 2_000.0, ticket: int = 201) -> Receipt:
    return Receipt(outcome=Outcome.APPLIED, code=10009, ticket=ticket, position=ticket, filled=volume, price=price)


def warned(**changes: Any) -> Trade:
    return make_trade(_S.WARNING_L1, **changes)


def in_l2(**changes: Any) -> Trade:
    return make_trade(_S.WARNING_L2, **changes)


# ----- beginning


def test_a_verdict_that_changes_nothing_leaves_the_trade_as_it_is() -> None:
    trade, snap = on_bar(make_trade(), -1.0)
    assert settle.begin(trade, decide(snap, trade, POLICY), scene()) == Settled(trade=trade)


def test_a_transition_is_pending_until_its_plan_is_done_and_the_owner_changes_at_once() -> None:
    begun = begin(warned(), -4.0)
    assert (begun.committed, begun.trade.state, begun.trade.pending_to) == (None, _S.WARNING_L1, _S.WARNING_L2)
    assert (begun.trade.owner, begun.trade.defensive, begun.trade.version) == (Owner.DTMS, True, 2)
    assert (pending(begun).row, pending(begun).decided_at, pending(begun).score) == ("l1_to_l2", NOW, -4.0)


def test_a_transition_without_a_plan_commits_at_once() -> None:
    begun = begin(warned(), 0.0)
    assert begun.committed is not None
    assert (begun.committed.row, begun.committed.source, begun.committed.target) == (
        "l1_to_healthy",
        _S.WARNING_L1,
        _S.HEALTHY,
    )
    assert (begun.trade.state, begun.trade.pending, begun.trade.version) == (_S.HEALTHY, None, 3)


def test_a_commit_sets_state_time_deadline_bars_row_and_owner() -> None:
    done = end(begin(warned(bars_in_state=9), -4.0), APPLIED, DONE, now=NOW + 700)
    trade = done.trade
    assert (trade.state, trade.state_since, trade.bars_in_state, trade.last_row) == (
        _S.WARNING_L2,
        NOW + 700,
        0,
        "l1_to_l2",
    )
    assert trade.deadline == NOW + 700 + 120 * MINUTE
    assert (trade.owner, trade.pending, trade.volume) == (Owner.DTMS, None, Lots(0.5))
    assert trade.marks == OnceFlags(defensive_partial_done=True, defensive_partial_volume=0.5)


def test_back_in_health_there_is_neither_deadline_nor_owner_but_both_programs() -> None:
    trade = begin(make_trade(_S.RECOVERING, deadline=Millis(T0 + HOUR), recent=ran(1.0)), 1.0).trade
    assert (trade.state, trade.deadline, trade.owner, trade.defensive) == (_S.HEALTHY, None, Owner.SHARED, False)


def test_defence_ends_when_the_way_out_has_committed_and_no_sooner() -> None:
    trade = make_hedged(recent=ran(-1.0))
    begun = begin(trade, -1.0)
    assert (begun.trade.pending_to, begun.trade.defensive, begun.trade.owner) == (_S.RECOVERING, True, Owner.DTMS)
    done = end(begun, APPLIED, DONE)
    assert (done.trade.state, done.trade.defensive, done.trade.owner) == (_S.RECOVERING, False, Owner.SHARED)


def test_an_advisory_trade_commits_without_its_actions_and_keeps_nobody_as_owner() -> None:
    begun = begin(warned(owner=Owner.NONE), -4.0)
    assert begun.committed is not None
    assert (begun.committed.pending.steps, begun.committed.pending.fallbacks) == ((), ("advisory",))
    assert (begun.trade.state, begun.trade.owner, begun.trade.volume) == (_S.WARNING_L2, Owner.NONE, Lots(1.0))


def test_an_undeclared_transition_is_refused_before_anything_changes() -> None:
    trade = make_trade()
    verdict = Verdict(
        trade_id=trade.trade_id,
        ticket=trade.ticket,
        at=NOW,
        bar=None,
        version=1,
        state=_S.HEALTHY,
        score=None,
        row="l2_to_hedged",
        to=_S.HEDGED,
    )
    with pytest.raises(IllegalTransitionError):
        settle.begin(trade, verdict, scene())


# ----- best effort and required


@pytest.mark.parametrize("rejection", Rejection)
def test_a_best_effort_step_that_is_refused_is_passed_over_and_the_transition_commits(rejection: Rejection) -> None:
    done = rejected(begin(make_trade(), -2.0), rejection)
    assert (done.trade.state, done.trade.stop, done.trade.marks) == (_S.WARNING_L1, Price(1_990.0), OnceFlags())


@pytest.mark.parametrize("how", [StepEnd.NOT_APPLIED, StepEnd.CANCELLED])
def test_a_best_effort_step_that_came_to_nothing_is_passed_over(how: StepEnd) -> None:
    assert end(begin(make_trade(), -2.0), how).trade.state is _S.WARNING_L1


def test_a_best_effort_step_that_was_done_is_remembered() -> None:
    done = end(begin(make_trade(), -2.0, price=2_002.5), APPLIED, DONE)
    assert (done.trade.stop, done.trade.marks.tightened_at_r) == (Price(1_998.5), 0.25)


@pytest.mark.parametrize("rejection", sorted(RETRYABLE - {Rejection.MARKET_CLOSED}))
def test_a_passing_refusal_of_a_required_step_is_tried_for_a_minute_before_its_fallback(rejection: Rejection) -> None:
    settled = begin(warned(), -4.0)
    for attempt in (2, 3):
        settled = rejected(settled, rejection)
        assert (pending(settled).attempt, pending(settled).step, settled.parked) == (attempt, 0, False)
        assert pending(settled).retry_at == NOW + SECOND
        assert settle.present_step(settled.trade, Millis(NOW + 999)) is None
        assert settle.present_step(settled.trade, Millis(NOW + SECOND)) == pending(settled).steps[0]
    for seconds in (5, 15, 30):
        settled = rejected(settled, rejection)
        assert (pending(settled).step, pending(settled).retry_at) == (0, NOW + seconds * SECOND)
    fallen = rejected(settled, rejection)
    assert pending(fallen).fallbacks == ("partial_refused",)
    assert (pending(fallen).step, pending(fallen).attempt) == (1, 1)
    assert isinstance(pending(fallen).steps[1].action, SetStop)


def test_a_required_step_in_a_closed_market_waits_for_it_and_takes_no_fallback() -> None:
    saturday = Millis(FRIDAY_CLOSE + HOUR)
    settled = begin(warned(), -4.0)
    for _ in range(6):
        settled = rejected(settled, Rejection.MARKET_CLOSED, now=saturday)
    assert (pending(settled).step, pending(settled).fallbacks, settled.parked) == (0, (), True)
    assert pending(settled).retry_at == HOURS.after_open(saturday, 0) + 2 * MINUTE


def test_a_hedge_that_finds_the_market_closed_is_decided_anew() -> None:
    settled = begin(in_l2(), -6.0)
    for _ in range(3):
        settled = rejected(settled, Rejection.MARKET_CLOSED)
    assert (settled.trade.state, settled.trade.pending, settled.committed) == (_S.WARNING_L2, None, None)


@pytest.mark.parametrize("rejection", sorted(set(Rejection) - RETRYABLE - {Rejection.POSITION_GONE}))
def test_a_refusal_for_good_of_a_required_step_takes_its_fallback_at_once(rejection: Rejection) -> None:
    fallen = rejected(begin(warned(), -4.0), rejection)
    assert (pending(fallen).fallbacks, pending(fallen).step) == (("partial_refused",), 1)
    committed = end(fallen, APPLIED, DONE)
    assert committed.committed is not None
    assert committed.committed.pending.fallbacks == ("partial_refused",)
    assert (committed.trade.state, committed.trade.stop) == (_S.WARNING_L2, Price(1_996.0))
    assert not committed.trade.marks.defensive_partial_done


@pytest.mark.parametrize("how", [StepEnd.NOT_APPLIED, StepEnd.CANCELLED])
def test_a_required_step_that_came_to_nothing_is_tried_again(how: StepEnd) -> None:
    settled = end(begin(warned(), -4.0), how)
    assert (pending(settled).attempt, pending(settled).retry_at) == (2, NOW + SECOND)


def test_a_later_step_whose_price_grew_too_old_does_not_undo_what_was_done_before_it() -> None:
    begun = begin(warned(), -4.0)
    step = pending(begun).steps[0]
    second = replace(pending(begun), steps=(step, replace(step, price_based=True)), step=1)
    settled = end(replace(begun, trade=replace(begun.trade, pending=second)), StepEnd.CANCELLED)
    assert (pending(settled).step, pending(settled).attempt) == (1, 2)


def test_a_hedge_falls_back_to_a_reduction_and_that_to_a_tighter_stop() -> None:
    fallen = rejected(begin(in_l2(), -6.0), Rejection.NO_MONEY)
    assert actions(pending(fallen).steps)[1:] == [Reduce(ticket=TICKET, remaining=Lots(0.5))]
    twice = rejected(fallen, Rejection.INVALID_VOLUME)
    assert pending(twice).fallbacks == ("hedge_refused", "reduction_refused")
    done = end(twice, APPLIED, DONE)
    assert (done.trade.state, done.trade.legs, done.trade.volume, done.trade.stop) == (
        _S.HEDGED,
        (),
        Lots(1.0),
        Price(1_996.0),
    )


@pytest.mark.parametrize("score", [-4.0, -6.0])
def test_an_outcome_that_stays_unknown_takes_the_fallback_and_is_not_tried_a_second_time(score: float) -> None:
    trade = warned() if score == -4.0 else in_l2()
    fallen = end(begin(trade, score), StepEnd.QUARANTINED)
    expected = "partial_refused" if score == -4.0 else "hedge_refused"
    assert pending(fallen).fallbacks == (expected,)
    marks = fallen.trade.marks
    assert (marks.defensive_partial_done, marks.hedge_used) == (score == -4.0, score == -6.0)
    assert marks.defensive_partial_volume == 0.0


def test_a_required_step_whose_fallback_is_to_do_nothing_commits_under_its_name() -> None:
    tight = warned(stop=Price(1_999.0))  # nothing is left to tighten
    done = rejected(begin(tight, -4.0), Rejection.LIMIT_REACHED)
    assert done.committed is not None
    assert (done.trade.state, done.committed.pending.fallbacks) == (_S.WARNING_L2, ("partial_refused",))
    assert (done.trade.volume, done.trade.stop, done.parked) == (Lots(1.0), Price(1_999.0), False)


def test_a_required_step_without_a_fallback_is_parked_and_told() -> None:
    closing = begin(in_l2(), None, events=(StructureEventKind.CHARACTER_DOWN,))
    assert actions(pending(closing).steps) == [Close(ticket=TICKET)]
    parked = rejected(closing, Rejection.TRADE_DISABLED)
    assert (parked.parked, pending(parked).attempt, pending(parked).retry_at) == (True, 2, NOW + 5 * MINUTE)
    assert end(parked, APPLIED, DONE).trade.state is _S.CLOSED


def test_a_close_in_a_closed_market_waits_until_two_minutes_after_it_opens() -> None:
    saturday = Millis(FRIDAY_CLOSE + HOUR)
    closing = begin(in_l2(), None, events=(StructureEventKind.CHARACTER_DOWN,))
    for _ in range(2):
        closing = rejected(closing, Rejection.MARKET_CLOSED, now=saturday)
    parked = rejected(closing, Rejection.MARKET_CLOSED, now=saturday)
    reopened = HOURS.after_open(saturday, 0)
    assert (parked.parked, pending(parked).retry_at) == (True, reopened + 2 * MINUTE)


def test_a_close_of_a_position_that_is_gone_waits_for_the_proof() -> None:
    closing = begin(in_l2(), None, events=(StructureEventKind.CHARACTER_DOWN,))
    assert rejected(closing, Rejection.POSITION_GONE).parked


# ----- part fills


def part(volume: float) -> Receipt:
    return Receipt(outcome=Outcome.PARTIAL, code=10010, filled=volume)


def test_a_part_fill_is_taken_as_a_fact_and_the_same_rest_is_asked_again_at_once() -> None:
    partly = end(begin(warned(), -4.0), PARTIAL, part(0.2))
    assert (partly.trade.volume, pending(partly).attempt, pending(partly).retry_at) == (Lots(0.8), 2, NOW)
    assert settle.present_step(partly.trade, NOW) == pending(partly).steps[0]
    done = end(partly, APPLIED, Receipt(outcome=Outcome.APPLIED, code=10009, filled=0.3))
    assert (done.trade.state, done.trade.volume) == (_S.WARNING_L2, Lots(0.5))
    assert done.trade.marks == OnceFlags(defensive_partial_done=True, defensive_partial_volume=0.5)


@pytest.mark.parametrize(
    ("filled", "left", "volume"),
    [
        (0.4, 0.6, 0.6),  # the symbol's step has grown: less was taken than asked, and no more can be
        (0.4, None, 0.6),
        (0.5, 0.5, 0.5),
        (0.5, 0.3, 0.3),  # somebody else took 0.2 meanwhile
        (0.5, 0.9, 0.5),  # a read from before the fill
        (0.0, 0.5, 0.5),  # how much was filled is not known
        (0.6, 0.4, 0.4),
    ],
)
def test_a_reduction_that_is_done_leaves_what_was_filled_and_what_others_left(
    filled: float, left: float | None, volume: float
) -> None:
    trade = warned(volume=Lots(1.0))
    receipt = replace(DONE, filled=filled, left=left)
    after = apply_facts(trade, Reduce(ticket=TICKET, remaining=Lots(0.5)), receipt, NOW)
    assert after.volume == Lots(volume)


def test_a_part_that_was_filled_before_a_refusal_counts_as_the_defensive_partial() -> None:
    partly = end(begin(warned(), -4.0), PARTIAL, part(0.2))
    done = end(rejected(partly, Rejection.LIMIT_REACHED), APPLIED, DONE)
    assert (done.trade.state, done.trade.volume) == (_S.WARNING_L2, Lots(0.8))
    assert done.trade.marks.defensive_partial_done
    assert done.trade.marks.defensive_partial_volume == 0.2
    again = replace(done.trade, state=_S.WARNING_L1, bars_in_state=5)
    assert [step.rule for step in pending(begin(again, -4.0, price=2_010.0)).steps] == ["defence.tighten"]


def test_a_hedge_that_is_filled_in_part_is_the_hedge() -> None:
    receipt = replace(opened(0.2), outcome=Outcome.PARTIAL)
    done = end(begin(in_l2(), -6.0), PARTIAL, receipt)
    assert [leg.volume for leg in done.trade.legs] == [Lots(0.2)]
    assert (done.trade.state, done.trade.marks.hedge_used) == (_S.HEDGED, True)


def test_a_hedge_that_is_closed_in_part_stays_a_leg_until_the_rest_is_closed() -> None:
    partly = end(begin(make_hedged(recent=ran(-1.0)), -1.0), PARTIAL, part(0.2))
    assert [(leg.ticket, leg.volume) for leg in partly.trade.legs] == [(HEDGE_TICKET, Lots(0.3))]
    assert (partly.trade.state, pending(partly).attempt) == (_S.HEDGED, 2)
    done = end(partly, APPLIED, DONE)
    assert (done.trade.state, done.trade.legs) == (_S.RECOVERING, ())


def test_a_main_leg_that_is_closed_in_part_keeps_its_rest() -> None:
    closing = begin(in_l2(), None, events=(StructureEventKind.CHARACTER_DOWN,))
    partly = end(closing, PARTIAL, part(0.4))
    assert (partly.trade.volume, partly.trade.state) == (Lots(0.6), _S.WARNING_L2)


# ----- hedges


@pytest.mark.parametrize("side", Side)
def test_a_hedge_that_filled_elsewhere_gets_its_stop_at_its_own_distance(side: Side) -> None:
    slipped = 2_000.0 - side * 0.5
    filled = end(begin(make_trade(_S.WARNING_L2, side), -6.0), APPLIED, opened(0.5, slipped))
    assert actions(pending(filled).steps)[1:] == [
        SetStop(ticket=Ticket(201), stop=Price(slipped + side * 6.2), target=Price(2_000.0 - side * 10.0))
    ]
    done = end(filled, APPLIED, DONE)
    assert done.trade.hedge is not None
    assert (done.trade.state, done.trade.hedge.stop) == (_S.HEDGED, Price(slipped + side * 6.2))
    kept = rejected(filled, Rejection.INVALID_STOPS)
    assert kept.trade.hedge is not None
    assert (kept.trade.state, kept.trade.hedge.stop) == (_S.HEDGED, Price(2_000.0 + side * 6.2))


def test_a_hedge_that_filled_where_it_was_asked_needs_no_second_stop() -> None:
    done = end(begin(in_l2(), -6.0), APPLIED, opened(0.5))
    assert done.committed is not None
    hedge = done.trade.hedge
    assert hedge is not None
    assert (hedge.kind, hedge.side, hedge.volume, hedge.entry, hedge.opened_at) == (
        LegKind.HEDGE,
        Side.SELL,
        Lots(0.5),
        2_000.0,
        NOW,
    )
    assert (done.trade.children, done.trade.marks.hedge_filled_at, done.trade.volume) == ((201,), NOW, Lots(1.0))
    assert done.trade.deadline == NOW + 75 * MINUTE


def test_a_hedge_whose_fill_was_not_told_counts_as_filled_whole() -> None:
    done = end(begin(in_l2(), -6.0), APPLIED, opened(0.0))
    assert [leg.volume for leg in done.trade.legs] == [Lots(0.5)]


def test_a_hedge_whose_position_nobody_knows_is_our_fault_and_says_so() -> None:
    with pytest.raises(InvariantError, match="ticket 101: hedge was applied but the receipt names no position"):
        end(begin(in_l2(), -6.0), APPLIED, DONE)


@pytest.mark.parametrize("rejection", Rejection)
def test_an_unhedge_that_the_broker_refuses_leaves_the_trade_hedged_for_the_next_bar(rejection: Rejection) -> None:
    stays = rejected(begin(make_hedged(recent=ran(-1.0)), -1.0), rejection)
    assert (stays.trade.state, stays.trade.pending, stays.trade.legs) == (_S.HEDGED, None, (make_hedge(),))
    assert (stays.trade.owner, stays.committed) == (Owner.DTMS, None)


@pytest.mark.parametrize("how", [StepEnd.NOT_APPLIED, StepEnd.QUARANTINED, StepEnd.CANCELLED])
def test_an_unhedge_that_came_to_nothing_leaves_the_trade_hedged(how: StepEnd) -> None:
    stays = end(begin(make_hedged(recent=ran(-1.0)), -1.0), how)
    assert (stays.trade.state, stays.trade.pending) == (_S.HEDGED, None)


def test_an_unhedge_that_is_refused_before_a_long_close_becomes_the_closing_plan() -> None:
    late = Millis(FRIDAY_CLOSE - 30 * MINUTE)
    trade = make_hedged(deadline=Millis(FRIDAY_CLOSE))
    verdict = decide(snapshot(now=late, score=0.5), trade, POLICY)
    assert verdict.row == "hedged_before_close_recovering"
    begun = settle.begin(trade, verdict, scene(late))
    closing = rejected(begun, Rejection.DEALER, now=late)
    assert (pending(closing).row, pending(closing).to) == ("hedged_before_close", _S.CLOSED)
    assert pending(closing).fallbacks == ("unhedge_refused",)
    assert (pending(closing).step, pending(closing).attempt, pending(closing).retry_at) == (0, 1, None)
    assert pending(closing).decision_id != pending(begun).decision_id
    assert actions(pending(closing).steps) == [
        Reduce(ticket=TICKET, remaining=Lots(0.5)),
        Close(ticket=TICKET, by=HEDGE_TICKET),
    ]


# ----- closing


def closing_hedged(**changes: Any) -> Settled:
    return begin(make_hedged(**changes), None, events=(StructureEventKind.CHARACTER_DOWN,))


def test_a_hedged_trade_is_evened_out_closed_against_its_hedge_and_closed() -> None:
    evened = end(closing_hedged(), APPLIED, DONE)
    assert (evened.trade.volume, len(evened.trade.legs)) == (Lots(0.5), 1)
    done = end(evened, APPLIED, DONE, now=NOW + 400)
    assert (done.trade.state, done.trade.volume, done.trade.legs) == (_S.CLOSED, Lots(0.0), ())
    assert (done.trade.closed_at, done.trade.close_reason, done.trade.deadline) == (NOW + 400, "character_hedged", None)


def test_the_price_of_a_closing_step_moves_no_hedges_stop() -> None:
    receipt = Receipt(outcome=Outcome.APPLIED, code=10009, filled=0.5, price=1_990.0)
    evened = end(closing_hedged(), APPLIED, receipt)
    assert actions(pending(evened).steps)[1:] == [Close(ticket=TICKET, by=HEDGE_TICKET)]


def test_where_closing_against_is_refused_the_main_leg_goes_first_and_the_hedge_after_it() -> None:
    apart = rejected(end(closing_hedged(), APPLIED, DONE), Rejection.INVALID_REQUEST)
    assert pending(apart).fallbacks == ("closed_apart",)
    assert actions(pending(apart).steps)[2:] == [Close(ticket=TICKET), Close(ticket=HEDGE_TICKET)]
    main_closed = end(apart, APPLIED, DONE)
    assert (main_closed.trade.state, main_closed.trade.volume, len(main_closed.trade.legs)) == (
        _S.HEDGED,
        Lots(0.0),
        1,
    )
    assert end(main_closed, APPLIED, DONE).trade.state is _S.CLOSED


def test_a_child_that_cannot_be_closed_is_tried_again_in_five_seconds() -> None:
    gone = decide(snapshot(gone=True), make_hedged(), POLICY)
    begun = settle.begin(make_hedged(), gone, scene())
    parked = rejected(begun, Rejection.TRADE_DISABLED)
    assert (parked.parked, pending(parked).retry_at) == (True, NOW + 5 * SECOND)


def test_a_hedge_that_is_gone_does_not_hold_up_the_closing_of_its_trade() -> None:
    larger = closing_hedged(volume=Lots(0.3))
    assert actions(pending(larger).steps)[0] == Reduce(ticket=HEDGE_TICKET, remaining=Lots(0.3))
    on = rejected(larger, Rejection.POSITION_GONE)
    assert (pending(on).step, on.parked) == (1, False)


def test_nothing_is_closed_while_a_late_child_is_open() -> None:
    begun = settle.begin(make_trade(), decide(snapshot(gone=True), make_trade(), POLICY), scene())
    assert begun.trade.state is _S.CLOSED
    waits = settle.begin(make_hedged(), decide(snapshot(gone=True), make_hedged(), POLICY), scene())
    late = apply_facts(
        waits.trade,
        ReAdd(ticket=TICKET, side=Side.BUY, volume=Lots(0.1), stop=Price(1_990.0), target=None),
        opened(0.1, ticket=301),
        NOW,
    )
    one_left = end(replace(waits, trade=late), APPLIED, DONE)
    assert (one_left.trade.state, one_left.committed) == (_S.HEDGED, None)
    assert settle.present_step(one_left.trade, NOW) is not None
    assert actions(pending(one_left).steps)[1:] == [Close(ticket=Ticket(301))]
    assert end(one_left, APPLIED, DONE).trade.state is _S.CLOSED


# ----- marks


@pytest.mark.parametrize(
    ("policy", "seen", "marks"),
    [
        (
            Policy(defence=DefencePolicy(defence="reduce")),
            {},
            OnceFlags(hedge_used=True, hedge_reduction_done=True),
        ),
    ],
)
def test_a_reduction_in_place_of_a_hedge_is_remembered(policy: Policy, seen: dict[str, Any], marks: OnceFlags) -> None:
    done = end(begin(in_l2(), -6.0, policy, **seen), APPLIED, DONE, policy=policy)
    assert (done.trade.marks, done.trade.volume) == (marks, Lots(0.5))


def test_on_netting_the_reduced_volume_is_kept_until_it_is_restored() -> None:
    reduced = end(begin(in_l2(), -6.0, account=NETTING), APPLIED, DONE)
    assert (reduced.trade.state, reduced.trade.marks.hedge_equivalent) == (_S.HEDGED, 0.5)
    hedged = replace(reduced.trade, bars_in_state=5, recent=ran(-1.0, until=T0 + BAR))
    restoring = begin(hedged, -1.0, at=T0 + BAR, account=NETTING)
    # The position grows: on netting the broker answers with the trade's own.
    grown = end(restoring, APPLIED, opened(0.5, ticket=101))
    assert (grown.trade.state, grown.trade.volume, grown.trade.legs) == (_S.RECOVERING, Lots(1.0), ())
    assert grown.trade.marks.hedge_equivalent == 0.0


def test_a_restoring_that_is_refused_stays_reduced_and_commits() -> None:
    hedged = make_trade(_S.HEDGED, volume=Lots(0.5), marks=OnceFlags(hedge_equivalent=0.5), recent=ran(-1.0))
    done = rejected(begin(hedged, -1.0, account=NETTING), Rejection.NO_MONEY)
    assert (done.trade.state, done.trade.volume) == (_S.RECOVERING, Lots(0.5))


@pytest.mark.parametrize(("source", "back_to"), [(_S.HEDGED, -1.0), (_S.RECOVERING, 1.0)])
def test_an_addition_to_a_position_that_has_changed_is_decided_anew(source: TradeState, back_to: float) -> None:
    policy = Policy(defence=DefencePolicy(re_add="on"))
    marks = OnceFlags(defensive_partial_done=True, defensive_partial_volume=0.5, hedge_equivalent=0.5)
    trade = make_trade(source, volume=Lots(0.5), stop=Price(1_996.0), marks=marks, recent=ran(back_to))
    begun = begin(trade, back_to, policy, account=NETTING)
    assert [type(action) for action in actions(pending(begun).steps)] == [ReAdd]
    over = rejected(begun, Rejection.PRECONDITION)
    assert (over.trade.state, over.trade.pending, over.committed) == (source, None, None)
    assert over.trade.marks == marks


def test_what_was_bought_back_is_a_child_and_is_bought_back_once() -> None:
    policy = Policy(defence=DefencePolicy(re_add="on"))
    marks = OnceFlags(defensive_partial_done=True, defensive_partial_volume=0.5)
    trade = make_trade(_S.RECOVERING, volume=Lots(0.5), stop=Price(1_996.0), marks=marks, recent=ran(1.0))
    done = end(begin(trade, 1.0, policy), APPLIED, opened(0.5, 2_000.2), policy=policy)
    assert [(leg.kind, leg.volume) for leg in done.trade.legs] == [(LegKind.RE_ADD, Lots(0.5))]
    assert (done.trade.state, done.trade.marks.readd_done) == (_S.HEALTHY, True)


def test_a_buying_back_that_stays_unknown_is_not_tried_again() -> None:
    policy = Policy(defence=DefencePolicy(re_add="on"))
    marks = OnceFlags(defensive_partial_done=True, defensive_partial_volume=0.5)
    trade = make_trade(_S.RECOVERING, volume=Lots(0.5), stop=Price(1_996.0), marks=marks, recent=ran(1.0))
    done = end(begin(trade, 1.0, policy), StepEnd.QUARANTINED, policy=policy)
    assert (done.trade.state, done.trade.marks.readd_done) == (_S.HEALTHY, True)


def test_a_hedge_found_late_is_a_hedge_used() -> None:
    action = OpenHedge(ticket=TICKET, side=Side.SELL, volume=Lots(0.5), stop=Price(2_006.2), target=Price(1_990.0))
    late = apply_facts(in_l2(), action, opened(0.5), NOW)
    assert (late.marks.hedge_used, late.marks.hedge_filled_at, late.version) == (True, NOW, 2)


def test_a_hedge_that_was_stopped_out_alone_is_no_leg_any_more_and_no_second_one_follows() -> None:
    trade = make_hedged()
    fallen = settle.begin(trade, decide(snapshot(hedge_gone=True), trade, POLICY), scene()).trade
    assert (fallen.state, fallen.legs, fallen.marks.hedge_used) == (_S.WARNING_L2, (), True)
    again = begin(replace(fallen, bars_in_state=5), -6.0)
    assert actions(pending(again).steps) == [Reduce(ticket=TICKET, remaining=Lots(0.5))]


# ----- the version


FACTS: list[Action] = [
    SetStop(ticket=TICKET, stop=Price(1_995.0), target=None),
    SetStop(ticket=HEDGE_TICKET, stop=Price(2_005.0), target=Price(1_995.0)),
    Reduce(ticket=TICKET, remaining=Lots(0.7)),
    Reduce(ticket=HEDGE_TICKET, remaining=Lots(0.1)),
    Close(ticket=HEDGE_TICKET),
    CloseHedge(ticket=TICKET, hedge=HEDGE_TICKET),
    Close(ticket=TICKET, by=HEDGE_TICKET),
]


@pytest.mark.parametrize("action", FACTS, ids=lambda action: type(action).__name__)
def test_what_the_broker_applied_changes_the_trade_and_its_version(action: Action) -> None:
    before = make_hedged()
    after = apply_facts(before, action, DONE, NOW)
    assert after.version == before.version + 1
    assert (after.stop, after.volume, after.legs) != (before.stop, before.volume, before.legs)


def test_a_step_without_a_plan_is_our_fault() -> None:
    with pytest.raises(InvariantError, match="ticket 101: a step ended"):
        settle.settle(make_trade(), Close(ticket=TICKET), APPLIED, DONE, scene())


def test_there_is_no_present_step_where_no_plan_is_under_way_or_it_is_through() -> None:
    assert settle.present_step(make_trade(), NOW) is None
    begun = begin(warned(), -4.0)
    through = replace(begun.trade, pending=replace(pending(begun), step=1))
    assert settle.present_step(through, NOW) is None


def test_an_escalation_to_closed_overtakes_a_step_that_is_not_decided() -> None:
    waiting = begin(in_l2(), -6.0).trade
    observed, snap = on_bar(waiting, None, at=T0 + 5 * MINUTE, events=(StructureEventKind.CHARACTER_DOWN,))
    overtaken = settle.begin(observed, decide(snap, observed, POLICY), scene(T0 + 5 * MINUTE + 2 * SECOND))
    assert (pending(overtaken).row, actions(pending(overtaken).steps)) == (
        "character_warning_l2",
        [Close(ticket=TICKET)],
    )


def test_an_observed_trade_keeps_its_hold_through_its_end() -> None:
    trade = make_trade(hold=Hold.VOLUME_ADDED)
    done = settle.begin(trade, decide(snapshot(gone=True), trade, POLICY), scene())
    assert (done.trade.state, done.trade.hold) == (_S.CLOSED, Hold.VOLUME_ADDED)


def test_a_reduced_trade_that_is_supported_goes_on_over_a_long_close_without_its_volume_restored() -> None:
    late = Millis(FRIDAY_CLOSE - 30 * MINUTE)
    marks = OnceFlags(defensive_partial_done=True, hedge_used=True, hedge_reduction_done=True, hedge_equivalent=0.5)
    trade = make_trade(_S.HEDGED, deadline=Millis(FRIDAY_CLOSE), marks=marks, volume=Lots(0.5))
    supported = settle.begin(trade, decide(snapshot(now=late, score=0.5), trade, POLICY), scene(late))
    assert (supported.trade.state, supported.trade.volume) == (_S.RECOVERING, Lots(0.5))
    assert supported.committed is not None
    assert supported.committed.pending.fallbacks == ("close_is_near",)
    adverse = settle.begin(trade, decide(snapshot(now=late, score=-0.5), trade, POLICY), scene(late))
    assert (pending(adverse).row, actions(pending(adverse).steps)) == ("hedged_before_close", [Close(ticket=TICKET)])


def test_a_priced_step_that_grew_too_old_ends_its_transition_and_any_other_is_tried_again() -> None:
    begun = begin(in_l2(), -6.0)
    dropped = end(begun, StepEnd.CANCELLED)
    assert (dropped.trade.state, dropped.trade.pending, dropped.trade.owner) == (_S.WARNING_L2, None, Owner.DTMS)
    assert dropped.trade.version == begun.trade.version + 1
    again = end(begin(warned(), -4.0), StepEnd.CANCELLED)
    assert pending(again).attempt == 2


def test_a_plan_names_the_present_tickets_in_steps_and_fallbacks() -> None:
    trade = settle.begin(
        make_hedged(), decide(snapshot(now=T0, gone=False), make_hedged(deadline=Millis(T0)), POLICY), scene()
    ).trade
    present = readdressed(trade, {TICKET: Ticket(7), HEDGE_TICKET: Ticket(8)})
    assert present.pending is not None
    named = actions(present.pending.steps)
    assert named == [Reduce(ticket=Ticket(7), remaining=Lots(0.5)), Close(ticket=Ticket(7), by=Ticket(8))]
    assert actions(present.pending.steps[1].fallback) == [Close(ticket=Ticket(7)), Close(ticket=Ticket(8))]
    assert readdressed(make_trade(), {TICKET: Ticket(7)}) == make_trade()


def test_a_confirmed_trades_closing_is_planned_anew_and_any_other_plan_is_dropped() -> None:
    closing = begin(make_hedged(deadline=Millis(T0)), None, at=T0).trade
    assert closing.pending is not None
    smaller = settle.replanned(replace(closing, volume=Lots(0.5)), NOW)
    assert smaller.pending is not None
    assert actions(smaller.pending.steps) == [Close(ticket=TICKET, by=HEDGE_TICKET)]
    assert (smaller.pending.step, smaller.pending.attempt, smaller.pending.retry_at) == (0, 1, NOW)
    assert smaller.pending.decision_id != closing.pending.decision_id
    hedging = begin(in_l2(), -6.0).trade
    assert settle.replanned(hedging, NOW).pending is None


@pytest.mark.parametrize(
    ("left", "expected"), [(None, 0.6), (0.55, 0.55), (1.0, 0.6)], ids=["not read", "others took too", "an older read"]
)
def test_a_part_that_was_filled_leaves_what_the_position_was_read_with(left: float | None, expected: float) -> None:
    trade = make_trade(volume=Lots(1.0))
    part = Receipt(outcome=Outcome.PARTIAL, code=10010, filled=0.4, left=left)

    after = apply_facts(trade, Reduce(ticket=trade.ticket, remaining=Lots(0.5)), part, NOW, partial=True)

    assert after.volume == pytest.approx(expected)


def test_what_others_took_meanwhile_is_not_bought_back() -> None:
    trade = make_trade(volume=Lots(1.0))
    receipt = Receipt(outcome=Outcome.APPLIED, code=10009, filled=0.5, left=0.4)

    after = apply_facts(trade, Reduce(ticket=trade.ticket, remaining=Lots(0.5)), receipt, NOW)

    assert after.volume == pytest.approx(0.4)
    assert taken(trade, after, receipt) == pytest.approx(0.5)

"""Deciding: one verdict that says what was seen, what was taken and what was passed over."""

from __future__ import annotations

from dataclasses import replace

from tests.core_machine.bench import (
    CALM,
    FRIDAY_CLOSE,
    HEDGE_TICKET,
    POLICY,
    T0,
    TICKET,
    actions,
    make_hedged,
    make_trade,
    on_bar,
    ran,
    snapshot,
)

from dtms.core.decide import decide
from dtms.domain.action import Close, CloseHedge, Reduce
from dtms.domain.score import StructureEventKind
from dtms.domain.trade import Trade, TradeState
from dtms.domain.units import MINUTE, SECOND, Lots, Millis
from dtms.domain.verdict import KillLevel, Verdict

_S = TradeState
BAD_DAY = replace(CALM, day_loss=0.5)


def test_a_verdict_says_what_was_seen_and_by_which_numbers() -> None:
    trade, snap = on_bar(make_trade(version=7), -1.25)
    verdict = decide(snap, trade, replace(POLICY, digest="abc"))
    assert verdict == Verdict(
        trade_id=trade.trade_id,
        ticket=TICKET,
        at=Millis(T0 + 2 * SECOND),
        bar=T0,
        version=7,
        state=_S.HEALTHY,
        score=-1.25,
        policy_hash="abc",
    )


def test_between_bars_a_verdict_names_no_bar() -> None:
    assert decide(snapshot(score=-1.0), make_trade(), POLICY).bar is None


def test_an_unhedge_that_the_rails_deny_changes_nothing_and_says_why() -> None:
    trade, snap = on_bar(make_hedged(recent=ran(-1.0)), -1.0, rails=BAD_DAY)
    verdict = decide(snap, trade, POLICY)
    assert (verdict.row, verdict.to, verdict.steps, verdict.fallbacks) == (None, None, (), ())
    assert [refusal.rule for refusal in verdict.refusals] == ["rail_day_loss"]
    assert ("rail_day_loss", False) in verdict.rails


def test_it_is_tried_again_on_the_next_bar() -> None:
    trade, snap = on_bar(make_hedged(recent=ran(-1.0)), -1.0, rails=BAD_DAY)
    assert decide(snap, trade, POLICY).row is None
    later, fine = on_bar(trade, -1.0, at=T0 + 5 * MINUTE)
    verdict = decide(fine, later, POLICY)
    assert (verdict.row, actions(verdict.steps)) == (
        "hedged_to_recovering",
        [CloseHedge(ticket=TICKET, hedge=HEDGE_TICKET)],
    )


def _late() -> Trade:
    return make_hedged(deadline=FRIDAY_CLOSE)


def test_before_a_long_close_the_rails_decide_between_lifting_the_hedge_and_closing() -> None:
    late = FRIDAY_CLOSE - 30 * MINUTE
    lifted = decide(snapshot(now=late, score=0.5), _late(), POLICY)
    assert (lifted.row, lifted.to) == ("hedged_before_close_recovering", _S.RECOVERING)
    closed = decide(snapshot(now=late, score=0.5, rails=BAD_DAY), _late(), POLICY)
    assert (closed.row, closed.to) == ("hedged_before_close", _S.CLOSED)
    assert actions(closed.steps) == [
        Reduce(ticket=TICKET, remaining=Lots(0.5)),
        Close(ticket=TICKET, by=HEDGE_TICKET),
    ]
    assert [refusal.rule for refusal in closed.refusals] == ["rail_day_loss"]


def test_while_planning_is_paused_only_the_proved_end_is_decided() -> None:
    trade, snap = on_bar(make_trade(_S.WARNING_L2), -7.0, events=(StructureEventKind.CHARACTER_DOWN,))
    assert decide(replace(snap, kill=KillLevel.PAUSE), trade, POLICY).row is None
    assert decide(replace(snap, kill=KillLevel.PAUSE, gone=True), trade, POLICY).row == "gone_warning_l2"


def test_under_flatten_and_protect_only_the_defence_goes_on_reducing() -> None:
    for kill in (KillLevel.FLATTEN, KillLevel.PROTECT_ONLY):
        trade, snap = on_bar(make_trade(_S.WARNING_L2), -6.0, kill=kill)
        verdict = decide(snap, trade, POLICY)
        assert (verdict.row, verdict.fallbacks) == ("l2_to_hedged", ("hedge_refused:mode",))
        assert actions(verdict.steps) == [Reduce(ticket=TICKET, remaining=Lots(0.5))]


def test_a_closed_trade_is_never_decided_again() -> None:
    trade, snap = on_bar(make_trade(_S.CLOSED), -9.0, gone=True, hedge_gone=True)
    assert decide(snap, trade, POLICY).row is None

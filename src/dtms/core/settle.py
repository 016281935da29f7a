"""What an outcome does to a trade: the plan goes on, falls back, waits or commits. Pure.

A transition is pending from its verdict until its last step is settled. The state changes once, when the plan is
through; facts (stop, volume, legs) change with each applied action, in `core.applied`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from dtms.core import machine, plans
from dtms.core.applied import apply_facts, marked, taken
from dtms.domain.action import Action, Close, OpenHedge, OpenTrade, ReAdd, SetStop
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import Instrument
from dtms.domain.policy import Policy
from dtms.domain.receipt import RETRYABLE, Receipt, Rejection
from dtms.domain.rules import DefenceRule
from dtms.domain.trade import (
    DEFENSIVE_STATES,
    LegKind,
    Owner,
    Pending,
    PlanStep,
    Trade,
    TradeState,
)
from dtms.domain.transitions import ROWS, Cause, PlanKind, check
from dtms.domain.units import MINUTE, SECOND, Lots, Millis
from dtms.domain.verdict import Verdict
from dtms.errors import InvariantError

_QUICK_TRIES = 3
"""Tries of a step within seconds; mt5.md 1.4 bounds the answer to a requote to three."""
_QUICK_WAIT = 1 * SECOND
_PATIENT_WAITS = (5 * SECOND, 15 * SECOND, 30 * SECOND)
"""Waits before a required step takes its fallback although its refusals are of a kind that passes.

With the quick ones less than the 60 s after which a target that came from a price is too old.
"""
_PARKED_WAIT = 5 * MINUTE
_PARKED_MOST = 30 * MINUTE
"""The waits of a parked step double up to this: once trading is possible again the defence is not late by more."""
REOPENING_WAIT = 2 * MINUTE
"""After a market opens, closes wait so long for the spread to come back (behaviour.md section 4, rails)."""
CHILD_WAIT = 5 * SECOND
"""A child that must be closed is tried again soon: it may outlive its parent by 10 s (reliability.md section 1, rule 9)."""
CHILD_MOST = 5 * MINUTE
"""The waits for a child that the broker will not close double up to this."""


class StepEnd(StrEnum):
    """How one intent ended."""

    APPLIED = "applied"
    PARTIAL = "partial"
    REJECTED = "rejected"
    NOT_APPLIED = "not_applied"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A transition that has just become the state."""

    row: str
    source: TradeState
    target: TradeState
    pending: Pending


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The trade afterwards, the transition that committed with it, and whether a step is parked for the operator to see."""

    trade: Trade
    committed: Committed | None = None
    parked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleContext:
    """What settling needs to know beside the trade."""

    now: Millis
    instrument: Instrument
    hours: MarketHours
    policy: Policy


def begin(trade: Trade, verdict: Verdict, scene: SettleContext) -> Settled:
    """Return the trade with the verdict's transition under way, or committed at once where it needs no action.

    An advisory trade, which nobody owns, commits without its actions: they are recorded in the verdict and sent by nobody.
    """
    if verdict.row is None or verdict.to is None:
        return Settled(trade=trade)
    advisory = trade.owner is Owner.NONE
    pending = Pending(
        to=verdict.to,
        row=verdict.row,
        decision_id=f"{verdict.row}@{verdict.at}v{trade.version}",
        decided_at=verdict.at,
        steps=() if advisory else verdict.steps,
        fallbacks=(*verdict.fallbacks, "advisory") if advisory and verdict.steps else verdict.fallbacks,
        score=verdict.score,
    )
    check(trade.state, verdict.to)
    begun = _owned(replace(trade, pending=pending, version=trade.version + 1))
    return _advance(begun, scene)


def present_step(trade: Trade, now: Millis) -> PlanStep | None:
    """Return the step that should be in the journal now; None where the plan waits or there is none."""
    pending = trade.pending
    if pending is None or pending.step >= len(pending.steps):
        return None
    if pending.retry_at is not None and now < pending.retry_at:
        return None
    return pending.steps[pending.step]


def settle(trade: Trade, action: Action, end: StepEnd, receipt: Receipt | None, scene: SettleContext) -> Settled:
    """Return what the end of the present step's intent does to the trade."""
    pending = trade.pending
    if pending is None or pending.step >= len(pending.steps):
        msg = f"ticket {trade.ticket}: a step ended ({end}) but no plan is under way"
        raise InvariantError(msg)
    step = pending.steps[pending.step]
    match end:
        case StepEnd.PARTIAL if not isinstance(action, (OpenHedge, ReAdd, OpenTrade)):
            changed = apply_facts(trade, action, receipt, scene.now, partial=True)
            return Settled(trade=_again(marked(changed, step, taken(trade, changed, receipt)), scene.now, 0))
        case StepEnd.APPLIED | StepEnd.PARTIAL:
            # An opening that was filled in part is done with what was filled: a second one would be a second hedge.
            facts = apply_facts(trade, action, receipt, scene.now)
            changed = marked(facts, step, taken(trade, facts, receipt))
            return _advance(_next_step(_with_own_stop(changed, step, receipt, scene)), scene)
        case StepEnd.REJECTED | StepEnd.NOT_APPLIED | StepEnd.CANCELLED | StepEnd.QUARANTINED:
            return _refused(trade, step, end, receipt, scene)
        case _:
            assert_never(end)


def _refused(trade: Trade, step: PlanStep, end: StepEnd, receipt: Receipt | None, scene: SettleContext) -> Settled:
    pending = _pending(trade)
    if end is StepEnd.QUARANTINED:
        trade = marked(trade, step, 0.0)  # perhaps it was done: what may happen once is not tried a second time
    rejection = None if receipt is None else receipt.rejection
    passing = end in (StepEnd.NOT_APPLIED, StepEnd.CANCELLED) or rejection in RETRYABLE
    if rejection is Rejection.PRECONDITION and isinstance(step.action, ReAdd) and pending.step == 0:
        # Its levels or its volume are not the position's any more: the next decision plans it anew, where it still holds.
        return Settled(trade=_owned(replace(trade, pending=None, version=trade.version + 1)))
    if not step.required:
        return _advance(_next_step(trade), scene)
    if ROWS[pending.row].plan is PlanKind.UNHEDGE:
        return _still_hedged(trade, pending, scene)
    if end is StepEnd.CANCELLED and step.price_based and pending.step == 0:
        # Its target came from a price that is too old: the next decision makes a fresh one, where it still holds.
        return Settled(trade=_owned(replace(trade, pending=None, version=trade.version + 1)))
    if passing and pending.attempt < _QUICK_TRIES:
        return Settled(trade=_again(trade, scene.now, _QUICK_WAIT))
    child = any(leg.ticket == getattr(step.action, "ticket", None) for leg in trade.legs)
    gone = rejection is Rejection.POSITION_GONE and not isinstance(step.action, Close)
    if gone and child:
        return _advance(_next_step(trade), scene)
    if gone or (not step.fallback and not step.fallback_name):
        tries = max(0, pending.attempt - _QUICK_TRIES)
        wait = growing(CHILD_WAIT, tries, CHILD_MOST) if child else _parked(rejection, tries, scene)
        return Settled(trade=_again(trade, scene.now, wait), parked=True)
    if rejection is Rejection.MARKET_CLOSED:
        return _until_open(trade, step, scene)
    patient = pending.attempt - _QUICK_TRIES
    if passing and patient < len(_PATIENT_WAITS):
        return Settled(trade=_again(trade, scene.now, _PATIENT_WAITS[patient]))
    at = pending.step + 1
    fallen = replace(
        pending,
        steps=(*pending.steps[:at], *step.fallback),
        step=at,
        attempt=1,
        retry_at=None,
        fallbacks=(*pending.fallbacks, step.fallback_name),
    )
    return _advance(replace(trade, pending=fallen), scene)


def _until_open(trade: Trade, step: PlanStep, scene: SettleContext) -> Settled:
    """Return the trade whose step waits for the market: its fallback could not be done now either.

    A target that came from a price is too old then: the next decision makes a fresh one, where it still holds.
    """
    pending = _pending(trade)
    if step.price_based and pending.step == 0:
        return Settled(trade=_owned(replace(trade, pending=None, version=trade.version + 1)))
    wait = _parked(Rejection.MARKET_CLOSED, max(0, pending.attempt - _QUICK_TRIES), scene)
    return Settled(trade=_again(trade, scene.now, wait), parked=True)


def _still_hedged(trade: Trade, pending: Pending, scene: SettleContext) -> Settled:
    """Return the trade whose hedge could not be closed: it stays; where the market closes for long it is closed whole."""
    version = trade.version + 1
    if ROWS[pending.row].cause is not Cause.DEADLINE:
        return Settled(trade=_owned(replace(trade, pending=None, version=version)))
    row = "hedged_before_close"
    fallen = replace(pending, to=ROWS[row].target, row=row, fallbacks=(*pending.fallbacks, "unhedge_refused"))
    instead = _closing_anew(fallen, trade, scene.now, retry_at=None)
    return _advance(_owned(replace(trade, pending=instead, version=version)), scene)


def growing(first: int, times: int, most: int) -> int:
    """Return a wait that doubles with each of `times` refusals before it, up to `most`; ms."""
    return min(most, first << min(times, 20))


def _parked(rejection: Rejection | None, tries: int, scene: SettleContext) -> int:
    """Return how long a parked step waits: five minutes and more; in a closed market until two minutes after it opens."""
    if rejection is Rejection.MARKET_CLOSED and not scene.hours.is_open(scene.now):
        return scene.hours.after_open(scene.now, REOPENING_WAIT) - scene.now
    return growing(_PARKED_WAIT, tries, _PARKED_MOST)


def _again(trade: Trade, now: Millis, wait: int) -> Trade:
    pending = _pending(trade)
    return replace(trade, pending=replace(pending, attempt=pending.attempt + 1, retry_at=Millis(now + wait)))


def _next_step(trade: Trade) -> Trade:
    pending = _pending(trade)
    return replace(trade, pending=replace(pending, step=pending.step + 1, attempt=1, retry_at=None))


def _advance(trade: Trade, scene: SettleContext) -> Settled:
    """Commit where no step is left; nothing is CLOSED while a child is still open."""
    pending = _pending(trade)
    if pending.step < len(pending.steps):
        return Settled(trade=trade)
    if pending.to is TradeState.CLOSED and trade.legs:
        rest = tuple(
            PlanStep(action=Close(ticket=leg.ticket), rule=DefenceRule.CLOSE_CHILD, required=True) for leg in trade.legs
        )
        return Settled(trade=replace(trade, pending=replace(pending, steps=pending.steps + rest)))
    return commit(trade, scene)


def commit(trade: Trade, scene: SettleContext) -> Settled:
    """Return the trade in its new state."""
    pending = _pending(trade)
    check(trade.state, pending.to)
    done = Committed(row=pending.row, source=trade.state, target=pending.to, pending=pending)
    entered = replace(
        trade,
        state=pending.to,
        state_since=scene.now,
        bars_in_state=0,
        deadline=machine.deadline_of(pending.to, scene.now, scene.hours, scene.policy.machine),
        pending=None,
        last_row=pending.row,
        version=trade.version + 1,
    )
    if pending.to is TradeState.CLOSED:
        entered = replace(entered, closed_at=scene.now, close_reason=pending.row, volume=Lots(0.0), legs=())
    if pending.row == "hedge_gone":
        entered = replace(entered, legs=tuple(leg for leg in entered.legs if leg.kind is not LegKind.HEDGE))
    return Settled(trade=_owned(entered), committed=done)


def replanned(trade: Trade, now: Millis) -> Trade:
    """Return the trade with a plan that fits its present facts: a closing is planned anew, any other is decided again."""
    pending = trade.pending
    if pending is None:
        return trade
    if pending.to is not TradeState.CLOSED:
        return _owned(replace(trade, pending=None))
    return replace(trade, pending=_closing_anew(pending, trade, now, retry_at=now))


def _closing_anew(pending: Pending, trade: Trade, now: Millis, *, retry_at: Millis | None) -> Pending:
    return replace(
        pending,
        decision_id=f"{pending.row}@{now}v{trade.version}",
        decided_at=now,
        steps=plans.closing(trade).steps,
        step=0,
        attempt=1,
        retry_at=retry_at,
    )


def _with_own_stop(trade: Trade, step: PlanStep, receipt: Receipt | None, scene: SettleContext) -> Trade:
    """Add the step that puts a new hedge's stop at its distance from its own fill, where that is tighter than it is.

    A fill that was better leaves the stop where it was sent: a stop is never loosened, not even a child's.
    """
    if step.own_stop_distance is None or receipt is None or receipt.price is None or trade.hedge is None:
        return trade
    hedge = trade.hedge
    stop = scene.instrument.stop(hedge.side, receipt.price - hedge.side * step.own_stop_distance)
    if not scene.instrument.is_tighter(hedge.side, stop, hedge.stop):
        return trade
    pending = _pending(trade)
    amend = PlanStep(
        action=SetStop(ticket=hedge.ticket, stop=stop, target=hedge.target), rule=DefenceRule.HEDGE_STOP, required=False
    )
    at = pending.step + 1
    return replace(trade, pending=replace(pending, steps=(*pending.steps[:at], amend, *pending.steps[at:])))


def _pending(trade: Trade) -> Pending:
    if trade.pending is None:
        msg = f"ticket {trade.ticket}: no transition is under way"
        raise InvariantError(msg)
    return trade.pending


def _owned(trade: Trade) -> Trade:
    """Return the trade with its owner derived from its state; an advisory or released one keeps nobody."""
    if trade.owner is Owner.NONE:
        return trade
    defensive = trade.is_open and (trade.state in DEFENSIVE_STATES or trade.pending_to in DEFENSIVE_STATES)
    return replace(trade, owner=Owner.DTMS if defensive else Owner.SHARED)

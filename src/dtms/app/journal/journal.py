"""Writing intentions and their ends: every state change with its intents in one transaction.

Both planners (the defence and the exit manager) and the gateway write through these functions, so that "what was
decided", "what was asked" and "what became of it" cannot come apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from dtms.core import settle
from dtms.core.applied import apply_facts
from dtms.core.exits import settle as settle_exit
from dtms.core.readdress import action_to
from dtms.core.settle import CHILD_MOST, CHILD_WAIT, Committed, SettleContext, Settled, StepEnd, growing
from dtms.domain.action import Action, Close, CloseHedge, OpenHedge, ReAdd, Reduce, SetStop
from dtms.domain.intent import Intent, IntentState, Planner, Precondition, intent_id, tag_of
from dtms.domain.receipt import Receipt
from dtms.domain.records import EventKind, StopRecord, TransitionRecord
from dtms.domain.rules import DefenceRule, Rule
from dtms.domain.trade import Hold, PlanStep, Trade
from dtms.domain.transitions import ROWS, Cause
from dtms.domain.units import SECOND, Millis
from dtms.domain.verdict import Verdict
from dtms.ports.ledger import LedgerWrite

_END_STATE = {
    StepEnd.APPLIED: IntentState.APPLIED,
    StepEnd.PARTIAL: IntentState.PARTIAL,
    StepEnd.REJECTED: IntentState.REJECTED,
    StepEnd.NOT_APPLIED: IntentState.NOT_APPLIED,
    StepEnd.CANCELLED: IntentState.CANCELLED,
    StepEnd.QUARANTINED: IntentState.QUARANTINED,
}


def touched(trade: Trade, action: Action) -> int:
    """Return the stable identifier of the position that an action touches: the main leg's or a child's."""
    ticket = action.hedge if isinstance(action, CloseHedge) else getattr(action, "ticket", trade.ticket)
    return next((leg.identifier for leg in trade.legs if leg.ticket == ticket), trade.identifier)


def precondition_of(trade: Trade, action: Action, *, price_based: bool) -> Precondition:
    """Return what the gateway must find at the broker before it sends: by kind, as the decision saw it."""
    leg = next((leg for leg in trade.legs if leg.identifier == touched(trade, action)), None)
    version = trade.version
    match action:
        case SetStop():
            stop, target = (trade.stop, trade.target) if leg is None else (leg.stop, leg.target)
            return Precondition(stop=stop, target=target, version=version, price_based=price_based)
        case Reduce():
            volume = trade.volume if leg is None else leg.volume
            return Precondition(volume=volume, version=version, price_based=price_based)
        case OpenHedge() | ReAdd():
            return Precondition(volume=trade.volume, version=version, price_based=price_based)
        case Close() | CloseHedge():
            # Not compared before it is sent: it tells afterwards whether others explain what the position has lost.
            volume = trade.volume if leg is None else leg.volume
            return Precondition(volume=volume, version=version, price_based=price_based)
        case _:
            return Precondition(version=version, price_based=price_based)


def new_intent(
    trade: Trade,
    action: Action,
    *,
    decision_id: str,
    owner: Planner,
    rule: Rule,
    now: Millis,
    priced_expiry_s: float,
    step: int = 0,
    attempt: int = 1,
    price_based: bool = False,
    score: float | None = None,
    regime: str = "",
) -> Intent:
    """Return the PLANNED intent of one action on a trade."""
    expires = Millis(round(now + priced_expiry_s * SECOND)) if price_based else None
    return Intent(
        intent_id=intent_id(trade.trade_id, decision_id, step, attempt, now),
        trade_id=trade.trade_id,
        position=touched(trade, action),
        decision_id=decision_id,
        step=step,
        attempt=attempt,
        action=action,
        precondition=precondition_of(trade, action, price_based=price_based),
        owner=owner,
        rule=rule,
        state=IntentState.PLANNED,
        tag=tag_of(trade.trade_id, decision_id, step, attempt),
        created_at=now,
        expires_at=expires,
        score_before=score,
        regime=regime,
    )


def write_verdict(tx: LedgerWrite, trade: Trade, verdict: Verdict, scene: SettleContext, *, regime: str = "") -> Trade:
    """Write what a verdict begins: the pending transition with its first intent, or the commit, in this transaction.

    Intents of an overtaken plan that were not sent yet are cancelled.

    Raises:
        StaleWriteError: The trade was written since it was read; reload and decide again.
    """
    if verdict.row is not None and trade.pending is not None:
        cancel_plan(tx, trade, scene.now)
    begun = settle.begin(trade, verdict, scene)
    saved = _save(tx, trade, begun, scene, regime=regime)
    if verdict.row is not None:
        body = {"row": verdict.row, "to": verdict.to, "fallbacks": verdict.fallbacks, "score": verdict.score}
        _audit(tx, scene.now, "decided", saved, body)
    return saved


def resume(tx: LedgerWrite, trade: Trade, scene: SettleContext, *, regime: str = "") -> None:
    """Put the present step of a plan into the journal where it is due and not there yet.

    A plan of a trade that is held was made for other facts: it waits for a person, unless the trade has ended.
    """
    ending = trade.pending is not None and ROWS[trade.pending.row].cause is Cause.GONE
    step = settle.present_step(trade, scene.now) if trade.hold is Hold.NONE or ending else None
    if step is not None:
        _plan_step(tx, trade, step, scene, regime)


def conclude(
    tx: LedgerWrite, intent: Intent, end: StepEnd, receipt: Receipt | None, scene: SettleContext, *, reason: str = ""
) -> Settled | None:
    """Write an intent's end and all that follows from it; None where its trade is closed or unknown already.

    Raises:
        StaleWriteError: Intent or trade was written since; run the whole block again.
    """
    ended = replace(intent, state=_END_STATE[end], receipt=receipt, reason=reason, settled_at=scene.now)
    tx.save_intent(ended, expected=intent.state)
    trade = tx.trade_by_id(intent.trade_id)
    settled: Settled | None = None
    if trade is not None and trade.is_open:
        settled = _settled(trade, ended, end, receipt, scene)
        saved = _save(tx, trade, settled, scene, regime=intent.regime)
        settled = replace(settled, trade=saved)
        if intent.owner is Planner.EXITS:
            _settle_book(tx, ended, end, saved, scene)
    elif trade is not None and end in (StepEnd.APPLIED, StepEnd.PARTIAL):
        _close_orphan(tx, trade, ended, scene)
    elif trade is not None and intent.rule == DefenceRule.ORPHAN and end is not StepEnd.QUARANTINED:
        _close_again(tx, ended, scene)
    if trade is not None:
        _record_stop(tx, ended, end, scene.now)  # also of a trade that was closed while the stop was on its way
    _tell_action(tx, ended, trade, scene.now)
    return settled


def settle_by_hand(
    tx: LedgerWrite, intent: Intent, *, applied: bool, receipt: Receipt | None, scene: SettleContext, actor: str
) -> Intent:
    """Write what a person says of a quarantined order; what an opening has opened becomes its trade's, or is closed.

    Stops and volumes are not taken from it: the broker shows them, and much may have happened since.

    Raises:
        StaleWriteError: It is not quarantined any more.
    """
    end = StepEnd.APPLIED if applied else StepEnd.NOT_APPLIED
    told = intent.receipt if receipt is None else receipt
    ended = replace(intent, state=_END_STATE[end], receipt=told, reason=f"settled by {actor}", settled_at=scene.now)
    tx.save_intent(ended, expected=IntentState.QUARANTINED)
    trade = tx.trade_by_id(intent.trade_id)
    if receipt is not None and trade is not None:
        _take_in(tx, trade, ended, scene)
    _tell_action(tx, ended, trade, scene.now)
    return ended


def _take_in(tx: LedgerWrite, trade: Trade, opening: Intent, scene: SettleContext) -> None:
    position = None if opening.receipt is None else opening.receipt.position
    if any(leg.identifier == position for leg in trade.legs):
        return
    second = isinstance(opening.action, OpenHedge) and trade.hedge is not None
    if not trade.is_open or second:
        _close_orphan(tx, replace(trade, legs=()), opening, scene)
        return
    saved = tx.save_trade(apply_facts(trade, opening.action, opening.receipt, scene.now))
    tell_state(tx, saved, scene.now, row="settled")


def _close_orphan(tx: LedgerWrite, trade: Trade, intent: Intent, scene: SettleContext) -> None:
    """Plan the closing of a child that turned out to be open after its trade was closed."""
    if not isinstance(intent.action, (OpenHedge, ReAdd)):
        return
    owner = apply_facts(trade, intent.action, intent.receipt, scene.now)
    for leg in owner.legs:
        tx.add_intent(
            new_intent(
                owner,
                Close(ticket=leg.ticket),
                decision_id=f"orphan:{leg.identifier}",
                owner=Planner.DTMS,
                rule=DefenceRule.ORPHAN,
                now=scene.now,
                priced_expiry_s=scene.policy.operation.priced_expiry_s,
            )
        )


def _close_again(tx: LedgerWrite, refused: Intent, scene: SettleContext) -> None:
    """Plan a further try at closing a child that outlived its trade: nobody else would. It is held back, longer each time."""
    later = Millis(scene.now + growing(CHILD_WAIT, refused.attempt - 1, CHILD_MOST))
    attempt = refused.attempt + 1
    tx.add_intent(
        replace(
            refused,
            intent_id=intent_id(refused.trade_id, refused.decision_id, refused.step, attempt, later),
            attempt=attempt,
            tag=tag_of(refused.trade_id, refused.decision_id, refused.step, attempt),
            state=IntentState.PLANNED,
            created_at=later,
            epoch=0,
            receipt=None,
            reason="",
            sent_at=None,
            settled_at=None,
        )
    )


def _settled(trade: Trade, intent: Intent, end: StepEnd, receipt: Receipt | None, scene: SettleContext) -> Settled:
    pending = trade.pending
    if pending is not None and (pending.decision_id, pending.step, pending.attempt) == (
        intent.decision_id,
        intent.step,
        intent.attempt,
    ):
        return settle.settle(trade, _present(trade, intent), end, receipt, scene)
    if end in (StepEnd.APPLIED, StepEnd.PARTIAL):
        partial = end is StepEnd.PARTIAL
        return Settled(trade=apply_facts(trade, _present(trade, intent), receipt, scene.now, partial=partial))
    return Settled(trade=trade)


def _present(trade: Trade, intent: Intent) -> Action:
    """Return an intent's action with the present ticket of its position, which may have changed since it was planned."""
    named = intent.action.hedge if isinstance(intent.action, CloseHedge) else getattr(intent.action, "ticket", None)
    if named is None or intent.position is None:
        return intent.action
    legs = {leg.identifier: leg.ticket for leg in trade.legs}
    present = trade.ticket if intent.position == trade.identifier else legs.get(intent.position, named)
    return action_to(intent.action, {named: present})


def _save(tx: LedgerWrite, before: Trade, settled: Settled, scene: SettleContext, *, regime: str) -> Trade:
    saved = tx.save_trade(settled.trade)
    if settled.committed is not None:
        _tell_commit(tx, saved, settled.committed, scene.now)
    elif (before.state, before.pending_to) != (saved.state, saved.pending_to):
        tell_state(tx, saved, scene.now, row="")
    resume(tx, saved, scene, regime=regime)
    return saved


def _plan_step(tx: LedgerWrite, trade: Trade, step: PlanStep, scene: SettleContext, regime: str) -> None:
    pending = trade.pending
    assert pending is not None, "a present step belongs to a plan under way"  # noqa: S101 - narrows the type
    tx.add_intent(
        new_intent(
            trade,
            _with_present_target(trade, step.action),
            decision_id=pending.decision_id,
            owner=Planner.DTMS,
            rule=step.rule,
            now=scene.now,
            priced_expiry_s=scene.policy.operation.priced_expiry_s,
            step=pending.step,
            attempt=pending.attempt,
            price_based=step.price_based,
            score=pending.score,
            regime=regime,
        )
    )


def _with_present_target(trade: Trade, action: Action) -> Action:
    """Return a stop change of the main leg with the target as it is now: a hand may have changed it since the decision."""
    if isinstance(action, SetStop) and action.ticket == trade.ticket:
        return replace(action, target=trade.target)
    return action


def cancel_plan(tx: LedgerWrite, trade: Trade, now: Millis) -> None:
    """Cancel what the defence has planned for a trade and nobody has sent."""
    for intent in tx.unfinished(trade.trade_id):
        if intent.state is IntentState.PLANNED and intent.owner is Planner.DTMS:
            cancel(tx, intent, trade, now, reason="superseded")


def cancel(tx: LedgerWrite, planned: Intent, trade: Trade | None, now: Millis, *, reason: str) -> None:
    """Cancel an intent that nobody has sent, and tell so.

    Args:
        tx: The ledger.
        planned: In PLANNED.
        trade: Whose it is; None where it closes a position that no trade manages.
        now: On the market's clock.
        reason: For a person.

    Raises:
        StaleWriteError: It is not PLANNED any more; nothing is written.
    """
    cancelled = replace(planned, state=IntentState.CANCELLED, reason=reason, settled_at=now)
    tx.save_intent(cancelled, expected=IntentState.PLANNED)
    _tell_action(tx, cancelled, trade, now)


def _tell_commit(tx: LedgerWrite, trade: Trade, committed: Committed, now: Millis) -> None:
    tx.add_transition(
        TransitionRecord(
            trade_id=trade.trade_id,
            ticket=trade.ticket,
            row=committed.row,
            source=committed.source,
            target=committed.target,
            decision_id=committed.pending.decision_id,
            decided_at=committed.pending.decided_at,
            committed_at=now,
            version=trade.version,
            score=committed.pending.score,
            fallbacks=committed.pending.fallbacks,
            plan=" > ".join(step.rule for step in committed.pending.steps),
        )
    )
    tell_state(tx, trade, now, row=committed.row)


def tell_state(tx: LedgerWrite, trade: Trade, now: Millis, *, row: str) -> None:
    """Append a state event: what the client's caches are kept warm with."""
    body = {
        "ticket": trade.ticket,
        "state": trade.state,
        "pending_to": trade.pending_to,
        "defensive": trade.defensive,
        "version": trade.version,
        "row": row,
    }
    tx.add_event(EventKind.STATE, trade.ticket, now, json.dumps(body))
    _audit(tx, now, "state", trade, body)


def tell_sending(tx: LedgerWrite, intent: Intent, now: Millis) -> None:
    """Record that an intent is about to leave, in the transaction that claims it: what cannot be audited is not sent."""
    body = {
        "intent_id": intent.intent_id,
        "kind": intent.kind,
        "rule": intent.rule,
        "tag": intent.tag,
        "epoch": intent.epoch,
    }
    tx.add_audit(at=now, actor="gateway", what="sending", trade_id=intent.trade_id, body=json.dumps(body))


def _tell_action(tx: LedgerWrite, intent: Intent, trade: Trade | None, now: Millis) -> None:
    ticket = None if trade is None else trade.ticket
    body = {
        "intent_id": intent.intent_id,
        "ticket": ticket,
        "kind": intent.kind,
        "rule": intent.rule,
        "state": intent.state,
        "reason": intent.reason,
    }
    tx.add_event(EventKind.ACTION, ticket, now, json.dumps(body))
    tx.add_audit(at=now, actor=intent.owner, what="action", trade_id=intent.trade_id, body=json.dumps(body))


def _record_stop(tx: LedgerWrite, intent: Intent, end: StepEnd, now: Millis) -> None:
    action = intent.action
    if not isinstance(action, SetStop) or end is not StepEnd.APPLIED or intent.position is None:
        return
    answer = "" if intent.receipt is None else str(intent.receipt.code)
    tx.add_stop(
        StopRecord(
            trade_id=intent.trade_id,
            position=intent.position,
            at=now,
            old=intent.precondition.stop,
            new=action.stop,
            rule=intent.rule,
            intent_id=intent.intent_id,
            answer=answer,
        )
    )


def _settle_book(tx: LedgerWrite, intent: Intent, end: StepEnd, trade: Trade, scene: SettleContext) -> None:
    book = tx.exit_book(trade.ticket)
    if book is not None:
        tx.put_exit_book(settle_exit(book, intent, end, trade, scene.now))


def _audit(tx: LedgerWrite, now: Millis, what: str, trade: Trade, body: Mapping[str, object]) -> None:
    tx.add_audit(at=now, actor="dtms", what=what, trade_id=trade.trade_id, body=json.dumps(body))

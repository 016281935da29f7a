"""The exit rules: what takes profit and follows the price. Pure functions of trade, book, market and policy.

Rules propose; at most one stop change and one volume change of a trade survive a cycle, and a close beats all. Whether a
proposal may be sent is the arbiter's to say, and whether DTMS must be deferred to is known to the cycle, not to this
package: what it can see of that in the trade it respects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from dtms.core.exits import _patience, breakeven, partial, stall_exit, time_exit, trailing, triggers, widening
from dtms.core.exits._case import Case
from dtms.core.exits._choice import choose
from dtms.core.settle import StepEnd
from dtms.domain.action import Action, Reduce
from dtms.domain.exits import ExitDecision, ExitSnapshot, ExitState, Proposal, Skipped
from dtms.domain.intent import Intent
from dtms.domain.policy.exits import ExitPolicy
from dtms.domain.rules import ExitRule
from dtms.domain.trade import Hold, Owner, Trade
from dtms.domain.units import Millis
from dtms.errors import InvariantError

__all__ = ["RULES", "Rule", "deferral", "denied", "observe", "propose_all", "settle"]


def _remembers_nothing(case: Case) -> ExitState:
    return case.book


def _changes_nothing(book: ExitState, _action: Action, _at: Millis) -> ExitState:
    return book


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One exit rule: what it remembers of a quote, what it proposes, and what an applied proposal changes in its memory.

    `on_price` marks a rule that must not act on a stale quote.
    """

    name: ExitRule
    propose: Callable[[Case], Proposal | Skipped | None]
    on_price: bool
    observe: Callable[[Case], ExitState] = _remembers_nothing
    applied: Callable[[ExitState, Action, Millis], ExitState] = _changes_nothing


RULES: tuple[Rule, ...] = (
    Rule(name=ExitRule.TIME_EXIT, propose=time_exit.propose, on_price=False),
    Rule(name=ExitRule.STALL_EXIT, propose=stall_exit.propose, on_price=False),
    Rule(
        name=ExitRule.BREAKEVEN,
        propose=breakeven.propose,
        on_price=True,
        observe=breakeven.observe,
        applied=breakeven.applied,
    ),
    Rule(
        name=ExitRule.TRAILING,
        propose=trailing.propose,
        on_price=True,
        observe=trailing.observe,
        applied=trailing.applied,
    ),
    Rule(
        name=ExitRule.WIDENING,
        propose=widening.propose,
        on_price=True,
        observe=widening.observe,
        applied=widening.applied,
    ),
    Rule(
        name=ExitRule.PARTIAL, propose=partial.propose, on_price=True, observe=partial.observe, applied=partial.applied
    ),
)
"""The rules in the order in which they are asked; protection comes before profit."""

_BY_NAME: dict[str, Rule] = {rule.name: rule for rule in RULES}


def observe(book: ExitState, trade: Trade, market: ExitSnapshot, policy: ExitPolicy) -> ExitState:
    """Return what the rules remember after this quote; the same quote twice is remembered once."""
    return _observed(_case(trade, book, market, policy)).book


def propose_all(trade: Trade, book: ExitState, snapshot: ExitSnapshot, policy: ExitPolicy) -> ExitDecision:
    """Return what the exits want now. It observes first, so a cycle needs no other call.

    The decision's book must be written in the transaction that journals its proposals.
    """
    case = _observed(_case(trade, book, snapshot, policy))
    why = deferral(trade)
    if why:
        return ExitDecision(proposals=(), skipped=(Skipped(rule=None, reason=why),), book=case.book)
    wanted: list[Proposal] = []
    skipped: list[Skipped] = []
    if snapshot.quote_stale:
        skipped.append(Skipped(rule=None, reason="the quote is stale; nothing that looks at the price acts"))
    for rule in RULES:
        if rule.on_price and snapshot.quote_stale:
            continue
        answer = _not_given_up(case, rule.propose(case))
        if isinstance(answer, Proposal):
            wanted.append(answer)
        elif answer is not None:
            skipped.append(answer)
    chosen, dropped = choose(trade.side, tuple(wanted))
    final = case.book
    for proposal in chosen:
        if isinstance(proposal.action, Reduce):
            final = partial.asked(final, proposal.action.remaining)
    return ExitDecision(proposals=chosen, skipped=(*skipped, *dropped), book=final)


def deferral(trade: Trade) -> str:
    """Return why the exits leave this trade alone, "" where they may act: only what the trade itself shows."""
    if not trade.is_open or trade.volume <= 0:
        return "the trade is closed"
    if trade.defensive:
        return f"DTMS defends the trade: state {trade.state}, pending {trade.pending_to}"
    if trade.pending is not None:
        return f"a transition to {trade.pending_to} is under way"
    if trade.hedge is not None:
        return f"the hedge {trade.hedge.ticket} is open"
    if trade.hold is not Hold.NONE:
        return f"the trade is only observed ({trade.hold}) until an operator decides"
    if trade.owner is not Owner.SHARED:
        return f"the trade's owner is {trade.owner}"
    return ""


def denied(book: ExitState, proposals: tuple[Proposal, ...], now: Millis) -> ExitState:
    """Return the book after the arbiter has refused proposals: each is made again on a later bar, not on the next quote."""
    for proposal in proposals:
        book = _patience.denied(book, proposal.action, now)
    return book


def settle(book: ExitState, intent: Intent, end: StepEnd, trade: Trade, now: Millis) -> ExitState:
    """Return the book after the intent of a proposal ended; an end that is not known changes nothing.

    Whatever was refused is given up until a later bar, longer with each refusal running. A partial execution and an
    outcome that nobody can tell keep the volume that was asked for: the rest is asked for again, never a further share.

    Args:
        book: What the rules remember.
        intent: The ended intent; its rule is a value of `ExitRule`, its receipt says why it was refused.
        end: How it ended.
        trade: The trade after the end.
        now: When it ended.

    Raises:
        InvariantError: The intent is another trade's or no exit rule's; it must not be settled in this book.
    """
    rule = _BY_NAME.get(intent.rule)
    if rule is None or not book.trade_id == intent.trade_id == trade.trade_id:
        msg = f"exit book of {book.trade_id}: an intent of {intent.trade_id} by rule {intent.rule} is not its own"
        raise InvariantError(msg)
    match end:
        case StepEnd.APPLIED:
            return rule.applied(_patience.done(book, intent.action), intent.action, now)
        case StepEnd.PARTIAL:
            return _patience.done(book, intent.action)
        case StepEnd.QUARANTINED:
            return book
        case StepEnd.REJECTED | StepEnd.NOT_APPLIED | StepEnd.CANCELLED:
            return _refused(book, intent, end, now)
        case _:
            assert_never(end)


def _refused(book: ExitState, intent: Intent, end: StepEnd, now: Millis) -> ExitState:
    if isinstance(intent.action, Reduce):
        book = replace(book, partial_remaining=None)
    if end is StepEnd.CANCELLED:
        return book  # its price was too old or its session over: nothing has left, and nobody has refused it
    rejection = None if intent.receipt is None else intent.receipt.rejection
    return _patience.refused(book, intent.action, end, rejection, now)


def _not_given_up(case: Case, answer: Proposal | Skipped | None) -> Proposal | Skipped | None:
    """Return a rule's answer, or why what it wants has to wait for a later bar."""
    if not isinstance(answer, Proposal):
        return answer
    why = _patience.given_up(case.book, answer.action, case.market.bar_at)
    return Skipped(rule=answer.rule, reason=f"{why} ({answer.reason})") if why else answer


def _case(trade: Trade, book: ExitState, market: ExitSnapshot, policy: ExitPolicy) -> Case:
    trigger = triggers.trigger(trade.side, book.profile, market, policy)
    return Case(trade=trade, book=book, market=market, policy=policy, trigger=trigger)


def _observed(case: Case) -> Case:
    for rule in RULES:
        book = rule.observe(case)
        if book is not case.book:
            case = replace(case, book=book)
    return case

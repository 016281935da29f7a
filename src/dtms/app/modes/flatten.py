"""Closing every position in our name, step by step: what the kill switch's `flatten` asks for.

Each step follows from what the ledger shows and has a key of its own, so whoever dies in between, the next pass goes on, and
the API and the gateway may both be at it. What no trade manages (an order whose record was lost, an opening that waits for
its registration) is closed like the rest; positions of other programs and of people are never touched.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dtms.app.journal import journal
from dtms.app.journal.scan import OPENINGS, each_intent
from dtms.app.reconcile.outcome import last_outcome
from dtms.app.reconcile.strays import Stray, closing, strays
from dtms.core import plans
from dtms.domain.action import Action, Close, Resource
from dtms.domain.intent import UNFINISHED, Intent, IntentState, Planner
from dtms.domain.receipt import RETRYABLE
from dtms.domain.rules import CommandRule
from dtms.domain.trade import Owner, Trade
from dtms.domain.units import SECOND, Millis, Ticket, TradeId
from dtms.errors import StaleWriteError
from dtms.ports.ledger import Ledger, LedgerRead, LedgerWrite
from dtms.ports.notifier import AlertKind, Notifier

RULE: Final = CommandRule.FLATTEN

_DONE_FACT: Final = "flatten_done"
_FIRST_WAIT: Final = 1 * SECOND
_LONGEST_WAIT: Final = 60 * SECOND
_ALARM_AFTER: Final = 3
_EXPIRY_S: Final = 60.0
"""Of no effect: closing is not based on a price, so its intents do not grow old."""


@dataclass(frozen=True, slots=True)
class _Key:
    """What is closed, and under which decision."""

    trade_id: TradeId
    ticket: Ticket
    decision_id: str


_Make = Callable[[LedgerRead, list[Intent]], Intent | None]


def flatten(ledger: Ledger, notifier: Notifier, now: Millis, since: Millis) -> int:
    """Write the next closing step of each position in our name; return how many were written.

    Args:
        ledger: Where trades, strays and earlier steps stand.
        notifier: Called where closing one is refused again and again.
        now: On the market's clock.
        since: When the switch was pressed: the steps' key.

    Raises:
        LedgerError: The caller tries again.
    """
    with ledger.read() as tx:
        trades = [trade for trade in tx.open_trades() if trade.owner is not Owner.NONE]
        unmanaged = strays(tx)
    written = 0
    for trade in trades:
        decision_id = f"flatten@{since}v{trade.version}"
        make = _of_trade(trade, decision_id, now)
        written += _step(ledger, notifier, now, _Key(trade.trade_id, trade.ticket, decision_id), make)
    for stray in unmanaged:
        decision_id = f"flatten@{since}"
        make = _of_stray(stray, decision_id, now)
        written += _step(ledger, notifier, now, _Key(stray.trade_id, stray.ticket, decision_id), make)
    if not trades and not unmanaged:
        _tell_done(ledger, notifier, since)
    return written


def withdraw(tx: LedgerWrite, now: Millis) -> int:
    """Cancel the closing steps that nobody has sent yet; return how many: the switch was let go of, they are not wanted."""
    waiting = [each for each in tx.unfinished() if each.rule == RULE and each.state is IntentState.PLANNED]
    for intent in waiting:
        trade = tx.trade_by_id(intent.trade_id)
        journal.cancel(tx, intent, trade, now, reason="flatten was let go of before it was sent")
    return len(waiting)


def _tell_done(ledger: Ledger, notifier: Notifier, since: Millis) -> None:
    """Say once a press that nothing in our name is open any more, and what is left of others."""
    with ledger.read() as tx:
        if tx.fact(_DONE_FACT) == str(since) or any(_may_open(intent) for intent in tx.unfinished()):
            return
        outcome = last_outcome(tx)
    with ledger.write() as tx:
        if tx.fact(_DONE_FACT) == str(since):
            return
        tx.set_fact(_DONE_FACT, str(since))
    foreign = "it is not known how many" if outcome is None else outcome.foreign
    detail = f"nothing in our name is open any more; positions of others, which are never touched: {foreign}"
    notifier.alert(AlertKind.KILL_SWITCH, f"flatten {since}", detail)


def _may_open(intent: Intent) -> bool:
    return isinstance(intent.action, OPENINGS)


def _of_trade(trade: Trade, decision_id: str, now: Millis) -> _Make:
    def make(tx: LedgerRead, tried: list[Intent]) -> Intent | None:
        fresh = tx.trade_by_id(trade.trade_id)
        action = _next_step(trade, tried)
        if fresh is None or fresh.seq != trade.seq or action is None:
            return None
        return journal.new_intent(
            trade,
            action,
            decision_id=decision_id,
            owner=Planner.COMMAND,
            rule=RULE,
            now=now,
            priced_expiry_s=_EXPIRY_S,
            attempt=len(tried) + 1,
        )

    return make


def _of_stray(stray: Stray, decision_id: str, now: Millis) -> _Make:
    def make(tx: LedgerRead, tried: list[Intent]) -> Intent | None:
        closed = any(intent.state is IntentState.APPLIED for intent in tried)
        if closed or all(each.identifier != stray.identifier for each in strays(tx)):
            return None
        return closing(stray, decision_id=decision_id, rule=RULE, now=now, attempt=len(tried) + 1)

    return make


def _step(ledger: Ledger, notifier: Notifier, now: Millis, key: _Key, make: _Make) -> bool:
    """Write a closing step where none is on its way and the last refusal is long enough ago."""
    try:
        with ledger.write() as tx:
            if _busy(tx.unfinished(key.trade_id)):
                return False
            tried = [intent for intent in each_intent(tx, key.trade_id) if intent.decision_id == key.decision_id]
            if tried and now < _retry_at(tried[-1], len(tried)):
                return False
            intent = make(tx, tried)
            added = intent is not None and _added(tx, intent, now)
    except StaleWriteError:
        return False
    if added and len(tried) >= _ALARM_AFTER:
        detail = f"closing it was refused {len(tried)} times: {tried[-1].reason}; it is tried again"
        notifier.alert(AlertKind.PARKED, str(key.ticket), detail)
    return added


def _added(tx: LedgerWrite, intent: Intent, now: Millis) -> bool:
    added = tx.add_intent(intent)
    if added and isinstance(intent.action, Close) and intent.action.symbol:
        body = json.dumps({"intent_id": intent.intent_id, "position": intent.position})
        tx.add_audit(at=now, actor=RULE, what="stray_closing", trade_id=intent.trade_id, body=body)
    return added


def _busy(unfinished: tuple[Intent, ...]) -> bool:
    """Say whether a closing step, or a change of volume that will be decided soon, is on its way.

    An unknown outcome is not waited for: a full close may pass it.
    """
    return any(
        intent.rule == RULE or (intent.resource is Resource.VOLUME and intent.state is not IntentState.UNKNOWN)
        for intent in unfinished
        if intent.state in UNFINISHED
    )


def _retry_at(last: Intent, tries: int) -> Millis:
    """Return when a step that came to nothing may be tried again: the market may be closed for days."""
    ended = last.created_at if last.settled_at is None else last.settled_at
    return Millis(ended + min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(tries - 1, 10)))


def _next_step(trade: Trade, tried: list[Intent]) -> Action | None:
    """Return the closing plan's next action for the trade as it stands, None where nothing is left to close.

    The position alone tells how far the plan has come. Where closing against the hedge was refused for good, the main leg
    goes first and the hedge after it.
    """
    if trade.volume <= 0:
        return next((Close(ticket=leg.ticket) for leg in trade.legs), None)
    step = plans.closing(trade).steps[0]
    if step.fallback and any(_refused_for_good(intent, step.action) for intent in tried):
        return step.fallback[0].action
    return step.action


def _refused_for_good(intent: Intent, action: Action) -> bool:
    rejection = None if intent.receipt is None else intent.receipt.rejection
    return intent.action == action and rejection is not None and rejection not in RETRYABLE

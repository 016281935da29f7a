"""A target that the broker dropped when we moved a stop, and said "done" to: it is put back once.

A hand that takes a target away is respected (`domain.facts`). Here nobody has: our own order named the target, its stop
stands as it was asked for, and its target does not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dtms.app.journal import journal
from dtms.app.journal.scan import each_intent
from dtms.app.market.market_data import SymbolMarket
from dtms.domain.action import SetStop
from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.position import Position
from dtms.domain.receipt import RETRYABLE
from dtms.domain.rules import FactRule
from dtms.domain.trade import Hold, Owner, Trade
from dtms.domain.units import Millis, Price
from dtms.ports.ledger import LedgerRead, LedgerWrite

RULE: Final = FactRule.PUT_BACK
_MOST_TRIES: Final = 3
_TOLD: Final = (IntentState.APPLIED, IntentState.NOT_APPLIED)


def dropped(tx: LedgerRead, trade: Trade, main: Position, desk: SymbolMarket) -> Intent | None:
    """Return the order that lost the trade's target, None where none did or where putting it back came to nothing."""
    same = desk.instrument.same_price
    if main.target is not None or trade.target is None or main.stop is None:
        return None
    if trade.hold is not Hold.NONE or trade.owner is Owner.NONE:
        return None
    stops = [i for i in each_intent(tx, trade.trade_id) if i.position == trade.identifier and _moves_stop(i)]
    told = [intent for intent in stops if intent.state in _TOLD]
    last = max(told, key=lambda intent: (intent.settled_at or 0, intent.intent_id), default=None)
    if last is None or last.state is not IntentState.NOT_APPLIED or not isinstance(last.action, SetStop):
        return None
    named = same(last.action.target, trade.target) and same(last.action.stop, main.stop)
    if not named or same(last.precondition.stop, main.stop):
        return None
    tries = [intent for intent in stops if intent.decision_id == _decision(last)]
    given_up = len(tries) >= _MOST_TRIES or (tries and not _passed(tries[-1]))
    return None if given_up else last


def put_back(tx: LedgerWrite, trade: Trade, main: Position, lost: Intent, desk: SymbolMarket, now: Millis) -> bool:
    """Plan the target that an order has lost, beside the stop that stands now; say whether it is the first try."""
    tries = sum(intent.decision_id == _decision(lost) for intent in each_intent(tx, trade.trade_id))
    intent = journal.new_intent(
        trade,
        SetStop(ticket=trade.ticket, stop=Price(main.stop or 0.0), target=trade.target),
        decision_id=_decision(lost),
        owner=Planner.DTMS,
        rule=RULE,
        now=now,
        priced_expiry_s=desk.policy.operation.priced_expiry_s,
        attempt=tries + 1,
    )
    seen = replace(intent.precondition, stop=main.stop, target=main.target)
    return tx.add_intent(replace(intent, precondition=seen)) and tries == 0


def _decision(lost: Intent) -> str:
    return f"target:{lost.intent_id}"


def _moves_stop(intent: Intent) -> bool:
    return isinstance(intent.action, SetStop)


def _passed(tried: Intent) -> bool:
    """Say whether a try came to nothing for a reason that says nothing of the next one."""
    rejection = None if tried.receipt is None else tried.receipt.rejection
    return tried.state is IntentState.CANCELLED or rejection in RETRYABLE

"""A trade's children at the broker: taken over as they are shown, and brought to what their parent has.

A hedge's target is its parent's stop, and it is never larger than its parent. That a child has ended is not told here.
"""

from __future__ import annotations

from dataclasses import replace

from dtms.app.evidence.proof import LOTS_NOISE
from dtms.app.journal import journal
from dtms.app.market.market_data import SymbolMarket
from dtms.app.positions.again import once_more
from dtms.app.positions.recognise import another
from dtms.domain.action import Action, Close, Reduce, SetStop
from dtms.domain.intent import Intent, Planner
from dtms.domain.market import Timeframe
from dtms.domain.position import Position, PositionsRead
from dtms.domain.rules import FactRule
from dtms.domain.trade import Hold, Leg, LegKind, Trade, TradeState
from dtms.domain.units import Lots, Millis, Price
from dtms.ports.ledger import Ledger


def with_leg_facts(trade: Trade, read: PositionsRead) -> Trade:
    """Return the trade with what is shown of its children; one that is not in the read, or is another one, is left as it was."""
    legs = tuple(_leg_as_seen(trade, leg, read.find(leg.identifier)) for leg in trade.legs)
    return trade if legs == trade.legs else replace(trade, legs=legs)


def stranger(trade: Trade, read: PositionsRead) -> Position | None:
    """Return a position that is shown for a child of the trade and cannot be it, None where there is none."""
    shown = ((leg, read.find(leg.identifier)) for leg in trade.legs)
    return next((seen for leg, seen in shown if seen is not None and another(trade, leg, seen)), None)


def _leg_as_seen(trade: Trade, leg: Leg, seen: Position | None) -> Leg:
    if seen is None or another(trade, leg, seen):
        return leg
    stop = None if seen.stop is None else Price(seen.stop)
    target = None if seen.target is None else Price(seen.target)
    return replace(leg, ticket=seen.ticket, volume=Lots(seen.volume), stop=stop, target=target)


def follow(ledger: Ledger, trade: Trade, unfinished: tuple[Intent, ...], desk: SymbolMarket, now: Millis) -> None:
    """Plan what brings each child's stop and target to its parent's: a hedge's target is the parent's stop.

    A hedge that is larger than what a hand has left of its parent is brought down to that. What the broker refused is
    asked again once within the bar, then on the next one. A child that is another position by now is left alone, and its trade is held.
    """
    if trade.hold is Hold.ANOTHER:
        return
    _pair(ledger, trade, unfinished, desk, now)
    for leg in trade.legs:
        wanted = _followed(trade, leg)
        busy = any(intent.position == leg.identifier for intent in unfinished)
        same = desk.instrument.same_price(leg.stop, wanted.stop) and desk.instrument.same_price(
            leg.target, wanted.target
        )
        if busy or same:
            continue
        _plan(ledger, trade, wanted, f"follow:{leg.identifier}", FactRule.FOLLOW, desk, now)


def _pair(ledger: Ledger, trade: Trade, unfinished: tuple[Intent, ...], desk: SymbolMarket, now: Millis) -> None:
    hedge = trade.hedge
    if hedge is None or trade.pending_to is TradeState.CLOSED or hedge.volume - trade.volume <= LOTS_NOISE:
        return
    if any(intent.position == hedge.identifier for intent in unfinished):
        return
    remaining = desk.instrument.lots_down(trade.volume)
    action = Reduce(ticket=hedge.ticket, remaining=remaining) if remaining > 0 else Close(ticket=hedge.ticket)
    _plan(ledger, trade, action, f"pair:{hedge.identifier}", FactRule.PAIR, desk, now)


def _plan(
    ledger: Ledger, trade: Trade, action: Action, name: str, rule: FactRule, desk: SymbolMarket, now: Millis
) -> None:
    """Plan an action on a child, once for each version of the trade and each bar, and once more where it came to nothing."""
    bar = Timeframe.M5.start_of(now)
    decision_id = f"{name}v{trade.version}@{bar}"
    with ledger.write() as tx:
        tried = [i for i in tx.intents(trade_id=trade.trade_id, since=bar) if i.decision_id == decision_id]
        if tried and not once_more(tried, now):
            return
        intent = journal.new_intent(
            trade,
            action,
            decision_id=decision_id,
            owner=Planner.DTMS,
            rule=rule,
            now=now,
            priced_expiry_s=desk.policy.operation.priced_expiry_s,
            attempt=len(tried) + 1,
        )
        tx.add_intent(intent)


def _followed(trade: Trade, leg: Leg) -> SetStop:
    """Return the stop and target that a child should have."""
    if leg.kind is LegKind.HEDGE:
        own = leg.stop if leg.stop is not None else Price(leg.entry)
        return SetStop(ticket=leg.ticket, stop=own, target=trade.stop)
    own = trade.stop if trade.stop is not None else Price(leg.entry)
    return SetStop(ticket=leg.ticket, stop=own, target=trade.target)

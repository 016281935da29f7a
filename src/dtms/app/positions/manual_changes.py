"""What a hand has changed at the broker: taken over, asked about or moved back, as the policy's `by_hand` says.

Facts are taken over always, a stop only where the rule accepts it. What moves a stop back is an intent like any other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, assert_never

from dtms.app.journal import journal
from dtms.app.market.market_data import SymbolMarket
from dtms.app.positions.again import once_more
from dtms.app.positions.naked import with_naked
from dtms.app.positions.recognise import EntrySays
from dtms.app.positions.seen_stop import stop_seen
from dtms.domain.action import SetStop
from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.market import Timeframe
from dtms.domain.policy import Policy
from dtms.domain.position import Position
from dtms.domain.receipt import RETRYABLE
from dtms.domain.rules import FactRule, StopOrigin
from dtms.domain.trade import Hold, OnceFlags, Owner, Trade
from dtms.domain.units import SECOND, Lots, Millis, Price
from dtms.ports.ledger import LedgerWrite

BY_HAND: Final = StopOrigin.BY_HAND
"""The rule under which a hand's stop is recorded; with the policy's word behind it, our move back."""
_COUNTERS_A_BAR = 5
_COUNTER_WAIT = 2 * SECOND
"""A position may be without its stop for as long as the hand's change is not taken back: a failed try is repeated soon."""


def with_facts(trade: Trade, main: Position, desk: SymbolMarket, now: Millis) -> Trade:
    """Return the trade with what is shown of its position; where its stop is not accepted, with ours still."""
    instrument = desk.instrument
    changed = trade
    if main.ticket != trade.ticket:
        changed = replace(changed, ticket=main.ticket)
    if not instrument.same_lots(main.volume, trade.volume):
        grew = main.volume > trade.volume
        changed = replace(changed, volume=Lots(main.volume), hold=Hold.VOLUME_ADDED if grew else trade.hold)
    if not instrument.same_price(main.target, trade.target):
        changed = replace(changed, target=None if main.target is None else Price(main.target))
    if not instrument.same_price(main.stop, trade.stop) and _accepts(trade, main, desk):
        changed = replace(
            changed, stop=None if main.stop is None else Price(main.stop), hold=_asking(trade, main, desk)
        )
    return with_naked(changed, main, now)


def with_entry(trade: Trade, main: Position, says: EntrySays) -> Trade:
    """Return the trade with what is shown of its entry; one that others have averaged is held for a person."""
    match says:
        case EntrySays.ROUNDED if trade.shown_entry is None:
            return replace(trade, entry=main.entry)
        case EntrySays.ROUNDED | EntrySays.REOPENED:
            return replace(trade, shown_entry=main.entry)
        case EntrySays.AVERAGED:
            return replace(trade, shown_entry=main.entry, hold=Hold.ENTRY if trade.hold is Hold.NONE else trade.hold)
        case EntrySays.SAME | EntrySays.UNTOLD:
            return trade
        case _:
            assert_never(says)


def _accepts(trade: Trade, main: Position, desk: SymbolMarket) -> bool:
    """Say whether a stop changed by hand is kept: a tighter one under every rule, for nobody loosens a stop.

    A trade that nobody owns is only shown, as it is.
    """
    rule = desk.policy.defence.by_hand
    tighter = main.stop is not None and desk.instrument.is_tighter(trade.side, main.stop, trade.stop)
    if tighter or rule in ("yield", "ask") or trade.owner is Owner.NONE:
        return True
    return rule == "floor" and trade.marks.countermoves > 0


def _asking(trade: Trade, main: Position, desk: SymbolMarket) -> Hold:
    """Return the hold of a trade whose stop a hand has loosened or removed: under `ask` it stays so until confirmed."""
    tighter = main.stop is not None and desk.instrument.is_tighter(trade.side, main.stop, trade.stop)
    asks = desk.policy.defence.by_hand == "ask" and not tighter and trade.owner is not Owner.NONE
    return Hold.BY_HAND if asks and trade.hold is Hold.NONE else trade.hold


def counter_move(trade: Trade, main: Position, desk: SymbolMarket) -> SetStop | None:
    """Return the move back to our stop where a hand has loosened or removed it, or where the first one was refused."""
    wanted = trade.stop
    if wanted is None and desk.policy.defence.by_hand in ("floor", "reassert"):
        wanted = trade.initial_stop
    if wanted is None or desk.instrument.same_price(main.stop, wanted) or trade.hold is not Hold.NONE:
        return None
    # The broker's grid may be coarser by now than it was when the levels were set: off it, it would refuse them for ever.
    target = None if trade.target is None else desk.instrument.nearest(trade.target)
    return SetStop(ticket=trade.ticket, stop=desk.instrument.stop(trade.side, wanted), target=target)


def plan_counter(tx: LedgerWrite, trade: Trade, main: Position, action: SetStop, now: Millis, policy: Policy) -> Trade:
    """Plan the move back, once a bar, and again soon where it came to nothing for a passing reason.

    One that was refused for good is asked again once within the bar. Return the trade as written.
    """
    bar = Timeframe.M5.start_of(now)
    decision_id = f"by_hand@{bar}"
    tried = [i for i in tx.intents(trade_id=trade.trade_id, since=bar) if i.decision_id == decision_id]
    if tried and (len(tried) >= _COUNTERS_A_BAR or not _due(tried, now)):
        return trade
    intent = journal.new_intent(
        trade,
        action,
        decision_id=decision_id,
        owner=Planner.DTMS,
        rule=FactRule(f"{BY_HAND}.{policy.defence.by_hand}"),
        now=now,
        priced_expiry_s=policy.operation.priced_expiry_s,
        attempt=len(tried) + 1,
    )
    seen = replace(intent.precondition, stop=main.stop, target=main.target)
    if not tx.add_intent(replace(intent, precondition=seen)):
        return trade
    return tx.save_trade(replace(trade, marks=_countered(trade.marks)))


def _due(tried: list[Intent], now: Millis) -> bool:
    """Say whether the last attempt came to nothing long enough ago for what it failed on."""
    last = tried[-1]
    if _passing(last):
        return last.settled_at is not None and now - last.settled_at >= _COUNTER_WAIT
    return once_more([intent for intent in tried if not _passing(intent)], now)


def _passing(tried: Intent) -> bool:
    """Say whether an attempt came to nothing for a reason that says nothing about the next."""
    rejection = None if tried.receipt is None else tried.receipt.rejection
    return tried.state in (IntentState.NOT_APPLIED, IntentState.CANCELLED) or rejection in RETRYABLE


def _countered(marks: OnceFlags) -> OnceFlags:
    return replace(marks, countermoves=marks.countermoves + 1)


def record_hand(tx: LedgerWrite, trade: Trade, main: Position, desk: SymbolMarket, now: Millis) -> bool:
    """Record a stop that a hand has set, once; it may be seen on many passes before it is kept or moved back.

    Return whether it is a new one.
    """
    if desk.instrument.same_price(main.stop, trade.stop):
        return False
    last = next((record for record in reversed(tx.stops(trade.trade_id)) if record.position == trade.identifier), None)
    if last is not None and last.rule == BY_HAND and desk.instrument.same_price(last.new, main.stop):
        return False
    tx.add_stop(stop_seen(trade, main, now, rule=BY_HAND))
    return True

"""What the broker shows of our trades, against what the ledger knows: ends, changes by hand, missing stops, children.

The broker's truth wins for facts. Nothing is flat without proof: two clean reads a settle time apart, and deals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from dtms.app import journal
from dtms.app.evidence import flat
from dtms.app.market_desk import SymbolDesk
from dtms.app.rewritten import rewriting
from dtms.core import settle
from dtms.domain.action import Close, Reduce, SetStop
from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.market import Timeframe
from dtms.domain.policy import Policy
from dtms.domain.position import Deal, Position, PositionsRead
from dtms.domain.receipt import RETRYABLE
from dtms.domain.records import StopRecord
from dtms.domain.trade import Hold, Leg, LegKind, Marks, Owner, Trade, TradeState
from dtms.domain.units import SECOND, Lots, Millis, Price, Ticket
from dtms.errors import BrokerError, StaleWriteError
from dtms.ports.broker import BrokerReads
from dtms.ports.ledger import Ledger, LedgerWrite
from dtms.ports.notifier import AlertKind, Notifier

_COUNTERS_A_BAR = 5
_LOTS_NOISE = 1e-9
_COUNTER_WAIT = 2 * SECOND
"""A position may be without its stop for as long as the hand's change is not taken back: a failed try is repeated soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """What is proved about one trade: its own end, or its hedge's alone."""

    gone: bool = False
    hedge_gone: bool = False


@dataclass(slots=True)
class _Missing:
    since: Millis
    due: Millis
    token: int


@dataclass(slots=True, kw_only=True)
class FactKeeper:
    """Compares each clean read with the ledger and writes what has changed."""

    ledger: Ledger
    reads: BrokerReads
    notifier: Notifier
    _missing: dict[int, _Missing] = field(default_factory=dict)
    _bare: dict[int, Millis] = field(default_factory=dict)

    def ends(self, trade: Trade, read: PositionsRead, unfinished: Iterable[Intent], policy: Policy) -> Ends:
        """Return what this read proves about a trade's end, writing its closing deals where it ended."""
        main = read.find(trade.identifier)
        hedge = trade.hedge
        if main is None:
            wait = policy.operation.hedge_missing_s if trade.legs else policy.operation.settle_s
            return Ends(gone=self._proved_gone(trade, read, wait, policy))
        self._missing.pop(trade.identifier, None)
        if hedge is None or any(intent.position == hedge.identifier for intent in unfinished):
            return Ends()
        if read.find(hedge.identifier) is not None:
            self._missing.pop(hedge.identifier, None)
            return Ends()
        if not self._missed_twice(hedge.identifier, read, policy.operation.hedge_missing_s):
            return Ends()
        deals = self._deals(hedge.identifier)
        if deals is None or not flat(deals):
            return Ends()
        with self.ledger.write() as tx:
            tx.add_deals(deals)
        return Ends(hedge_gone=True)

    def reconcile(self, trade: Trade, read: PositionsRead, unfinished: tuple[Intent, ...], desk: SymbolDesk) -> Trade:
        """Take over what was changed at the broker by others; return the trade as the ledger has it then."""
        main = read.find(trade.identifier)
        if main is None:
            return trade
        self._alarm_naked(trade, main, read.as_of, desk.policy)
        if unfinished:
            return self._measured(trade, main, read.as_of)
        changed = _with_facts(trade, main, desk, read.as_of)
        if rewriting(trade, main):
            changed = replace(changed, hold=Hold.QUARANTINED)
        changed = _with_leg_facts(changed, read)
        changed = settle.readdressed(changed, _moved(trade, changed))
        changed, ended = self._without_ended(changed, read, desk.policy)
        counter = _counter_move(changed, main, desk)
        if changed == trade and counter is None:
            return trade
        self._alarm_held(trade, changed, main)
        grown = replace(changed, version=trade.version + 1) if _public(changed) != _public(trade) else changed
        try:
            with self.ledger.write() as tx:
                if tx.unfinished(trade.trade_id):
                    return trade  # an order was planned since the book was read: what was seen may be its work
                tx.add_deals(ended)
                saved = trade if changed == trade else tx.save_trade(grown)
                _record_hand(tx, trade, main, desk, read.as_of)
                if counter is not None:
                    saved = _plan_counter(tx, saved, main, counter, read.as_of, desk.policy)
                if grown is not changed:
                    journal.tell_state(tx, saved, read.as_of, row="by_hand")
        except StaleWriteError:
            return trade
        return saved

    def _measured(self, trade: Trade, main: Position, now: Millis) -> Trade:
        """Return the trade with its time without a stop written, so that a restart goes on measuring from its begin.

        Everything else waits for the order that is on its way.
        """
        changed = _with_naked(trade, main, now)
        if changed == trade:
            return trade
        try:
            with self.ledger.write() as tx:
                return tx.save_trade(changed)
        except StaleWriteError:
            return trade

    def _without_ended(self, trade: Trade, read: PositionsRead, policy: Policy) -> tuple[Trade, tuple[Deal, ...]]:
        """Return the trade without the children that are proved to have ended, and their deals.

        The hedge of a HEDGED trade is left to the machine: its end is a transition.
        """
        kept: list[Leg] = []
        ended: list[Deal] = []
        for leg in trade.legs:
            by_machine = leg.kind is LegKind.HEDGE and trade.state is TradeState.HEDGED
            if read.find(leg.identifier) is not None:
                self._missing.pop(leg.identifier, None)
            elif not by_machine and self._missed_twice(leg.identifier, read, policy.operation.hedge_missing_s):
                deals = self._deals(leg.identifier)
                if deals is not None and flat(deals):
                    ended += deals
                    continue
            kept.append(leg)
        return (replace(trade, legs=tuple(kept)), tuple(ended)) if ended else (trade, ())

    def follow(self, trade: Trade, unfinished: tuple[Intent, ...], desk: SymbolDesk, now: Millis) -> None:
        """Plan what brings each child's stop and target to its parent's: a hedge's target is the parent's stop.

        A hedge that is larger than what a hand has left of its parent is brought down to that. What the broker refused is
        asked again on the next bar.
        """
        self._pair(trade, unfinished, desk, now)
        for leg in trade.legs:
            wanted = _followed(trade, leg)
            busy = any(intent.position == leg.identifier for intent in unfinished)
            same = desk.instrument.same_price(leg.stop, wanted.stop) and desk.instrument.same_price(
                leg.target, wanted.target
            )
            if busy or same:
                continue
            intent = journal.new_intent(
                trade,
                wanted,
                decision_id=f"follow:{leg.identifier}v{trade.version}@{Timeframe.M5.start_of(now)}",
                owner=Planner.DTMS,
                rule="child.follows",
                now=now,
                priced_expiry_s=desk.policy.operation.priced_expiry_s,
            )
            with self.ledger.write() as tx:
                tx.add_intent(intent)

    def _pair(self, trade: Trade, unfinished: tuple[Intent, ...], desk: SymbolDesk, now: Millis) -> None:
        hedge = trade.hedge
        if hedge is None or trade.pending_to is TradeState.CLOSED or hedge.volume - trade.volume <= _LOTS_NOISE:
            return
        if any(intent.position == hedge.identifier for intent in unfinished):
            return
        remaining = desk.instrument.lots_down(trade.volume)
        action = Reduce(ticket=hedge.ticket, remaining=remaining) if remaining > 0 else Close(ticket=hedge.ticket)
        intent = journal.new_intent(
            trade,
            action,
            decision_id=f"pair:{hedge.identifier}v{trade.version}@{Timeframe.M5.start_of(now)}",
            owner=Planner.DTMS,
            rule="child.pairs",
            now=now,
            priced_expiry_s=desk.policy.operation.priced_expiry_s,
        )
        with self.ledger.write() as tx:
            tx.add_intent(intent)

    def next_check(self, now: Millis) -> Millis | None:
        """Return when the next position that was missed may be proved gone, None where none was missed lately."""
        return min((missing.due for missing in self._missing.values() if missing.due > now), default=None)

    def _proved_gone(self, trade: Trade, read: PositionsRead, wait_s: float, policy: Policy) -> bool:
        if not self._missed_twice(trade.identifier, read, wait_s):
            return False
        deals = self._deals(trade.identifier)
        if deals is not None and flat(deals):
            with self.ledger.write() as tx:
                tx.add_deals(deals)
            return True
        if (
            read.as_of - self._missing[trade.identifier].since >= policy.operation.deals_s * SECOND
            and trade.hold is Hold.NONE
        ):
            self.notifier.alert(
                AlertKind.QUARANTINED,
                str(trade.ticket),
                f"position {trade.identifier} is not in the broker's list and no closing deals tell why; decide by hand",
            )
            with self.ledger.write() as tx:
                tx.save_trade(replace(trade, hold=Hold.QUARANTINED, version=trade.version + 1))
        return False

    def _missed_twice(self, identifier: int, read: PositionsRead, wait_s: float) -> bool:
        first = self._missing.setdefault(identifier, _Missing(read.as_of, read.as_of, read.token))
        first.due = Millis(round(first.since + wait_s * SECOND))  # a hedge that is found meanwhile shortens the wait
        return read.token != first.token and read.as_of >= first.due

    def _deals(self, identifier: int) -> tuple[Deal, ...] | None:
        """Return the deals of a position, None where they cannot be read now: asked again on the next pass."""
        try:
            return self.reads.deals(identifier)
        except BrokerError:
            return None

    def _alarm_held(self, before: Trade, after: Trade, main: Position) -> None:
        if after.hold is before.hold or before.hold is not Hold.NONE:
            return
        words = rewriting(before, main)
        if words:
            self.notifier.alert(AlertKind.QUARANTINED, str(before.ticket), words)
            return
        if after.hold is Hold.BY_HAND:
            change = f"the stop was moved from {before.stop} to {main.stop} by hand"
        else:
            change = f"volume grew from {before.volume} to {main.volume} by hand"
        detail = f"{change}; the trade is observed only until: dtms confirm {after.ticket}"
        self.notifier.alert(AlertKind.QUARANTINED, str(before.ticket), detail)

    def alarm_blind(self, trades: Iterable[Trade], now: Millis, after_s: float) -> None:
        """Alarm for each position that had no stop when it was last seen, where the broker cannot be asked now."""
        for trade in trades:
            since = self._bare.get(trade.identifier, trade.naked_since)
            if since is not None and now - since >= after_s * SECOND:
                detail = (
                    "the position had no stop at the broker when it was last seen, and the broker does not answer now"
                )
                self.notifier.alert(AlertKind.UNPROTECTED, str(trade.ticket), detail)

    def _alarm_naked(self, trade: Trade, main: Position, now: Millis, policy: Policy) -> None:
        """Alarm on every pass that finds a position without a stop for too long, whatever else is under way.

        The trade is not written while an intent of it is undecided, so since when is remembered here as well.
        """
        if main.stop is not None:
            self._bare.pop(trade.identifier, None)
            return
        seen = self._bare.setdefault(trade.identifier, now)
        naked = seen if trade.naked_since is None else min(seen, trade.naked_since)
        if now - naked >= policy.operation.naked_alarm_s * SECOND:
            self.notifier.alert(AlertKind.UNPROTECTED, str(trade.ticket), "the position has no stop at the broker")


def _with_facts(trade: Trade, main: Position, desk: SymbolDesk, now: Millis) -> Trade:
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
    return _with_naked(changed, main, now)


def _accepts(trade: Trade, main: Position, desk: SymbolDesk) -> bool:
    """Say whether a stop changed by hand is kept: a tighter one under every rule, for nobody loosens a stop.

    A trade that nobody owns is only shown, as it is.
    """
    rule = desk.policy.defence.by_hand
    tighter = main.stop is not None and desk.instrument.is_tighter(trade.side, main.stop, trade.stop)
    if tighter or rule in ("yield", "ask") or trade.owner is Owner.NONE:
        return True
    return rule == "floor" and trade.marks.countermoves > 0


def _asking(trade: Trade, main: Position, desk: SymbolDesk) -> Hold:
    """Return the hold of a trade whose stop a hand has loosened or removed: under `ask` it stays so until confirmed."""
    tighter = main.stop is not None and desk.instrument.is_tighter(trade.side, main.stop, trade.stop)
    asks = desk.policy.defence.by_hand == "ask" and not tighter and trade.owner is not Owner.NONE
    return Hold.BY_HAND if asks and trade.hold is Hold.NONE else trade.hold


def _moved(before: Trade, after: Trade) -> dict[Ticket, Ticket]:
    """Return the tickets that have changed, old to new: a swap that re-opens a position gives it another one."""
    pairs = [(before.ticket, after.ticket)]
    now = {leg.identifier: leg.ticket for leg in after.legs}
    pairs += [(leg.ticket, now.get(leg.identifier, leg.ticket)) for leg in before.legs]
    return {old: new for old, new in pairs if old != new}


def _counter_move(trade: Trade, main: Position, desk: SymbolDesk) -> SetStop | None:
    """Return the move back to our stop where a hand has loosened or removed it, or where the first one was refused."""
    wanted = trade.stop
    if wanted is None and desk.policy.defence.by_hand in ("floor", "reassert"):
        wanted = trade.initial_stop
    if wanted is None or desk.instrument.same_price(main.stop, wanted) or trade.hold is not Hold.NONE:
        return None
    return SetStop(ticket=trade.ticket, stop=wanted, target=trade.target)


def _plan_counter(tx: LedgerWrite, trade: Trade, main: Position, action: SetStop, now: Millis, policy: Policy) -> Trade:
    """Plan the move back, once a bar, and again soon where it came to nothing for a passing reason.

    A refused one is not asked again at once. Return the trade as written.
    """
    bar = Timeframe.M5.start_of(now)
    decision_id = f"by_hand@{bar}"
    tried = [i for i in tx.intents(trade_id=trade.trade_id, since=bar) if i.decision_id == decision_id]
    if tried and (len(tried) >= _COUNTERS_A_BAR or not _passed(tried[-1], now)):
        return trade
    intent = journal.new_intent(
        trade,
        action,
        decision_id=decision_id,
        owner=Planner.DTMS,
        rule=f"by_hand.{policy.defence.by_hand}",
        now=now,
        priced_expiry_s=policy.operation.priced_expiry_s,
        attempt=len(tried) + 1,
    )
    seen = replace(intent.precondition, stop=main.stop, target=main.target)
    if not tx.add_intent(replace(intent, precondition=seen)):
        return trade
    return tx.save_trade(replace(trade, marks=_countered(trade.marks)))


def _passed(last: Intent, now: Millis) -> bool:
    """Say whether an attempt came to nothing for a reason that says nothing about the next, long enough ago."""
    rejection = None if last.receipt is None else last.receipt.rejection
    passing = last.state in (IntentState.NOT_APPLIED, IntentState.CANCELLED) or rejection in RETRYABLE
    return passing and last.settled_at is not None and now - last.settled_at >= _COUNTER_WAIT


def _countered(marks: Marks) -> Marks:
    return replace(marks, countermoves=marks.countermoves + 1)


def _with_naked(trade: Trade, main: Position, now: Millis) -> Trade:
    """Measure the time without a stop at the broker."""
    if main.stop is None:
        return trade if trade.naked_since is not None else replace(trade, naked_since=now)
    if trade.naked_since is None:
        return trade
    return replace(trade, naked_since=None, naked_ms=trade.naked_ms + now - trade.naked_since)


def _with_leg_facts(trade: Trade, read: PositionsRead) -> Trade:
    legs = tuple(_leg_as_seen(leg, read.find(leg.identifier)) for leg in trade.legs)
    return trade if legs == trade.legs else replace(trade, legs=legs)


def _leg_as_seen(leg: Leg, seen: Position | None) -> Leg:
    if seen is None:
        return leg
    stop = None if seen.stop is None else Price(seen.stop)
    target = None if seen.target is None else Price(seen.target)
    return replace(leg, ticket=seen.ticket, volume=Lots(seen.volume), stop=stop, target=target)


def _followed(trade: Trade, leg: Leg) -> SetStop:
    """Return the stop and target that a child should have."""
    if leg.kind is LegKind.HEDGE:
        own = leg.stop if leg.stop is not None else Price(leg.entry)
        return SetStop(ticket=leg.ticket, stop=own, target=trade.stop)
    own = trade.stop if trade.stop is not None else Price(leg.entry)
    return SetStop(ticket=leg.ticket, stop=own, target=trade.target)


def _record_hand(tx: LedgerWrite, trade: Trade, main: Position, desk: SymbolDesk, now: Millis) -> None:
    """Record a stop that a hand has set, once: it may be seen on many passes before it is kept or moved back."""
    if desk.instrument.same_price(main.stop, trade.stop):
        return
    last = next((record for record in reversed(tx.stops(trade.trade_id)) if record.position == trade.identifier), None)
    if last is None or last.rule != "by_hand" or not desk.instrument.same_price(last.new, main.stop):
        tx.add_stop(_by_hand(trade, main, now))


def _by_hand(trade: Trade, main: Position, now: Millis) -> StopRecord:
    return StopRecord(
        trade_id=trade.trade_id,
        position=trade.identifier,
        at=now,
        old=trade.stop,
        new=main.stop,
        rule="by_hand",
        intent_id=None,
        answer="",
    )


def _public(trade: Trade) -> tuple[object, ...]:
    """Return what the version counts."""
    return (trade.ticket, trade.volume, trade.stop, trade.target, trade.legs, trade.hold)

"""What the broker shows of our trades, against what the ledger knows: what has ended and what has changed is written.

The broker's truth wins for facts. What proves an end is in `app.evidence.absence`, what follows from a hand's change in
`app.positions.manual_changes`, and what children are brought to in `app.positions.legs`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from dtms.app.evidence.absence import Absences, with_missing
from dtms.app.journal import journal
from dtms.app.market.market_data import SymbolMarket
from dtms.app.positions import dropped_targets, fact_words, manual_changes
from dtms.app.positions.corporate_action import rewriting
from dtms.app.positions.hold import hold
from dtms.app.positions.legs import stranger, with_leg_facts
from dtms.app.positions.naked import NakedWatch, with_naked
from dtms.app.positions.recognise import EntrySays, Recogniser, another
from dtms.core.readdress import readdressed
from dtms.domain.action import SetStop
from dtms.domain.intent import Intent
from dtms.domain.policy import Policy
from dtms.domain.position import Deal, Position, PositionsRead
from dtms.domain.trade import Hold, Leg, LegKind, Trade, TradeState
from dtms.domain.units import Millis, Ticket
from dtms.errors import StaleWriteError
from dtms.ports.broker import BrokerReads
from dtms.ports.ledger import Ledger
from dtms.ports.notifier import AlertKind, Notifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """What is proved about one trade: its own end, or its hedge's alone.

    `another` says that what the broker shows under its identifier is not the trade any more: nothing is decided on it.
    """

    gone: bool = False
    hedge_gone: bool = False
    another: bool = False


class _Answers(NamedTuple):
    """What is planned for what was seen: a hand's stop moved back, a target that an order has lost put back."""

    counter: SetStop | None
    lost: Intent | None


@dataclass(slots=True, kw_only=True)
class FactKeeper:
    """Compares each clean read with the ledger and writes what has changed."""

    ledger: Ledger
    reads: BrokerReads
    notifier: Notifier
    absences: Absences = field(init=False)
    naked: NakedWatch = field(init=False)
    _recogniser: Recogniser = field(init=False)

    def __post_init__(self) -> None:
        self.absences = Absences(reads=self.reads)
        self._recogniser = Recogniser(ledger=self.ledger, reads=self.reads)
        self.naked = NakedWatch(notifier=self.notifier)

    def ends(self, trade: Trade, read: PositionsRead, unfinished: Iterable[Intent], policy: Policy) -> Ends:
        """Return what this read proves about a trade's end, writing its closing deals where it ended."""
        main = read.find(trade.identifier)
        hedge = trade.hedge
        another = main is not None and self._recogniser.another(trade, main)
        if main is None or another:
            wait = policy.operation.hedge_missing_s if trade.legs else policy.operation.settle_s
            return Ends(gone=self._proved_gone(trade, main, read, wait, policy), another=another)
        self.absences.is_here(trade.identifier)
        if hedge is None or any(intent.position == hedge.identifier for intent in unfinished):
            return Ends()
        if read.find(hedge.identifier) is not None:
            self.absences.is_here(hedge.identifier)
            return Ends()
        if not self.absences.missed_twice(hedge.identifier, read, policy.operation.hedge_missing_s):
            return Ends()
        deals = self.absences.proof(hedge.identifier)
        if deals is None:
            return Ends()
        with self.ledger.write() as tx:
            tx.add_deals(deals)
        return Ends(hedge_gone=True)

    def renamed(self, trade: Trade, read: PositionsRead, unfinished: Iterable[Intent], policy: Policy) -> None:
        """Hold a trade whose position is another one by now although its market cannot be read: its symbol was renamed."""
        main = read.find(trade.identifier)
        if main is not None and another(trade, None, main):
            self.ends(trade, read, unfinished, policy)

    def reconcile(self, trade: Trade, read: PositionsRead, unfinished: tuple[Intent, ...], desk: SymbolMarket) -> Trade:
        """Take over what was changed at the broker by others; return the trade as the ledger has it then."""
        main = read.find(trade.identifier)
        if main is None:
            return self._measured(trade, None, read)
        self.naked.look(trade, main, read.as_of, desk.policy)
        if unfinished:
            return self._measured(trade, main, read)
        says = self._recogniser.entry(trade, main, desk.instrument)
        if says is EntrySays.UNTOLD:
            return self._measured(trade, main, read)
        other = stranger(trade, read)
        changed = self._as_shown(trade, main, says, desk, read)
        changed = readdressed(changed, _moved(trade, changed))
        changed, ended = self._without_ended(changed, read, desk.policy)
        changed = self._waiting(changed, read, desk.policy)
        counter = manual_changes.counter_move(changed, main, desk)
        lost = self._dropped(trade, main, desk)
        if lost is not None:
            changed = replace(changed, target=trade.target)
        if changed == trade and counter is None and lost is None:
            return trade
        if changed.hold is not trade.hold and trade.hold is Hold.NONE:
            wrong = main if other is None or changed.hold is not Hold.ANOTHER else other
            words = fact_words.held(trade, changed, wrong, desk.instrument)
            self.notifier.alert(AlertKind.QUARANTINED, str(trade.ticket), words)
        return self._written(trade, changed, _Answers(counter, lost), main, ended, desk, read.as_of)

    def _written(
        self,
        trade: Trade,
        changed: Trade,
        answers: _Answers,
        main: Position,
        ended: tuple[Deal, ...],
        desk: SymbolMarket,
        now: Millis,
    ) -> Trade:
        """Write what was seen and plan what answers it, in one transaction; return the trade as the ledger has it then."""
        told: list[str] = []
        counter, lost = answers
        grown = replace(changed, version=trade.version + 1) if _public(changed) != _public(trade) else changed
        try:
            with self.ledger.write() as tx:
                if tx.unfinished(trade.trade_id):
                    return trade  # an order was planned since the book was read: what was seen may be its work
                tx.add_deals(ended)
                saved = trade if changed == trade else tx.save_trade(grown)
                fresh = manual_changes.record_hand(tx, trade, main, desk, now)
                if counter is not None:
                    saved = manual_changes.plan_counter(tx, saved, main, counter, now, desk.policy)
                    if fresh:
                        told.append(fact_words.put_back(trade, main, desk.policy.defence.by_hand, desk.instrument))
                elif lost is not None and dropped_targets.put_back(tx, saved, main, lost, desk, now):
                    told.append(fact_words.target_dropped(trade, main, desk.instrument))
                if grown is not changed:
                    journal.tell_state(tx, saved, now, row="by_hand")
        except StaleWriteError:
            return trade
        for words in told:
            self.notifier.alert(AlertKind.BY_HAND, str(trade.ticket), words)
        return saved

    def _dropped(self, trade: Trade, main: Position, desk: SymbolMarket) -> Intent | None:
        if main.target is not None or trade.target is None:
            return None
        with self.ledger.read() as tx:
            return dropped_targets.dropped(tx, trade, main, desk)

    def _as_shown(
        self, trade: Trade, main: Position, says: EntrySays, desk: SymbolMarket, read: PositionsRead
    ) -> Trade:
        """Return the trade with what is shown of it and of its children, held where that is not what it was."""
        changed = manual_changes.with_entry(manual_changes.with_facts(trade, main, desk, read.as_of), main, says)
        if rewriting(trade, main):
            changed = replace(changed, hold=Hold.QUARANTINED)
        if changed.hold is Hold.NONE and stranger(trade, read) is not None:
            changed = replace(changed, hold=Hold.ANOTHER)
        return with_leg_facts(changed, read)

    def _measured(self, trade: Trade, main: Position | None, read: PositionsRead) -> Trade:
        """Return the trade with its times without a stop and out of sight written: a restart goes on from their begin.

        Everything else waits for the order that is on its way, or for the position to be seen again.
        """
        changed = with_missing(trade if main is None else with_naked(trade, main, read.as_of), read)
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
                self.absences.is_here(leg.identifier)
            elif not by_machine and self.absences.missed_twice(leg.identifier, read, policy.operation.hedge_missing_s):
                deals = self.absences.proof(leg.identifier)
                if deals is not None:
                    ended += deals
                    continue
            kept.append(leg)
        return (replace(trade, legs=tuple(kept)), tuple(ended)) if ended else (trade, ())

    def _waiting(self, trade: Trade, read: PositionsRead, policy: Policy) -> Trade:
        """Return the trade with which of its positions are missing, held where nothing tells of a child for too long."""
        waiting = with_missing(trade, read)
        lost = any(self._unexplained(waiting, each.identifier, read, policy) for each in waiting.missing)
        return replace(waiting, hold=Hold.QUARANTINED) if lost and trade.hold is Hold.NONE else waiting

    def _unexplained(self, trade: Trade, child: int, read: PositionsRead, policy: Policy) -> bool:
        twice = self.absences.missed_twice(child, read, policy.operation.hedge_missing_s)
        lasted = self.absences.lasted_s(trade, child, read)
        return twice and lasted >= policy.operation.deals_s and self.absences.proof(child) is None

    def _proved_gone(
        self, trade: Trade, shown: Position | None, read: PositionsRead, wait_s: float, policy: Policy
    ) -> bool:
        if not self.absences.missed_twice(trade.identifier, read, wait_s):
            return False
        deals = self._recogniser.ended(trade, shown)
        if deals is not None:
            if shown is not None:
                self.notifier.alert(AlertKind.BY_HAND, str(trade.ticket), fact_words.over(trade, shown))
            with self.ledger.write() as tx:
                tx.add_deals(deals)
            return True
        lasted = self.absences.lasted_s(trade, trade.identifier, read)
        waited = shown is not None or lasted >= policy.operation.deals_s
        if waited and trade.hold is Hold.NONE:
            words = fact_words.unproved(trade, shown)
            self.notifier.alert(AlertKind.QUARANTINED, str(trade.ticket), words)
            with self.ledger.write() as tx:
                hold(tx, trade, Hold.QUARANTINED if shown is None else Hold.ANOTHER)
        return False


def _moved(before: Trade, after: Trade) -> dict[Ticket, Ticket]:
    """Return the tickets that have changed, old to new: a swap that re-opens a position gives it another one."""
    pairs = [(before.ticket, after.ticket)]
    now = {leg.identifier: leg.ticket for leg in after.legs}
    pairs += [(leg.ticket, now.get(leg.identifier, leg.ticket)) for leg in before.legs]
    return {old: new for old, new in pairs if old != new}


def _public(trade: Trade) -> tuple[object, ...]:
    """Return what the version counts."""
    return (trade.ticket, trade.volume, trade.stop, trade.target, trade.legs, trade.hold)

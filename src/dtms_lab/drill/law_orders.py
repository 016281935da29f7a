"""Laws of every single operation, checked at the instant at which the broker applies it: I1, I3, I4, I6, I7, I9, I19."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from dtms.app.journal.tags import stem_of
from dtms.app.modes import flatten
from dtms.domain.action import OpenHedge, OpenTrade, ReAdd, Reduce
from dtms.domain.intent import Intent, IntentState
from dtms.domain.units import Millis
from dtms_lab.drill.record import Record
from dtms_lab.simulate.services import MAGIC
from dtms_lab.terminal.oracle import OracleEntry
from dtms_lab.terminal.recorder import AppliedKind

_OPERATIONS: Final = frozenset(
    {
        AppliedKind.OPEN,
        AppliedKind.ADD,
        AppliedKind.REVERSE,
        AppliedKind.SLTP,
        AppliedKind.PARTIAL,
        AppliedKind.CLOSE,
        AppliedKind.CLOSE_BY,
    }
)
_OPENINGS: Final = (AppliedKind.OPEN, AppliedKind.ADD)
_LIVE: Final = (IntentState.SENDING.value, IntentState.UNKNOWN.value)
_LOTS: Final = 1e-6
_TICK: Final = 1e-9


@dataclass(slots=True)
class Applied:
    """What was applied with one tag; `whole` says that nothing of it was left to do, `deals` how many bits it came in."""

    orders: set[int] = field(default_factory=set)
    deals: int = 0
    levels: int = 0
    whole: bool = False

    @property
    def count(self) -> int:
        """Return how many operations there were."""
        return len(self.orders) + self.levels


@dataclass(slots=True)
class OrderLaws:
    """Judges operations one by one."""

    record: Record
    applied: dict[str, Applied] = field(default_factory=lambda: defaultdict(Applied))
    _epoch: int = 0
    _changed: dict[int, Millis] = field(default_factory=dict)
    _last_stem: dict[int, str] = field(default_factory=dict)
    _opened_with: dict[int, float] = field(default_factory=dict)
    """Lots of each position as whoever opened it wanted it."""
    dropped: dict[int, float] = field(default_factory=dict)
    """Targets that the broker dropped with a stop of ours, by position, until they are back or others have changed it."""
    _in_our_name: set[int] = field(default_factory=set)
    """Positions that another program opened with our magic: nobody but a flatten may close them."""

    def on_entry(self, entry: OracleEntry) -> None:
        """Check one operation as the broker applies it."""
        if entry.kind not in _OPERATIONS:
            return
        if entry.tag not in self.record.log.epochs:
            if entry.kind in _OPENINGS:
                self._opened_with[entry.identifier] = entry.volume_after
                if entry.magic == MAGIC:
                    self._in_our_name.add(entry.identifier)
            self.record.by_others.add(entry.identifier)
            if (entry.stop_before, entry.target_before) != (entry.stop_after, entry.target_after):
                self.dropped.pop(entry.identifier, None)
            self._changed[entry.identifier] = entry.at
            self._last_stem[entry.identifier] = ""
            return
        intent = self.record.intent_of(entry.tag)
        self._exactly_once(entry, intent)
        self._write_ahead(entry)
        self._fenced(entry)
        self._ratchet(entry)
        self._not_past_the_target(entry, intent)
        self._ours_only(entry, intent)
        self._the_trade(entry)
        self._changed[entry.identifier] = entry.at

    def _exactly_once(self, entry: OracleEntry, intent: Intent | None) -> None:
        """I1: one application a tag; after a whole one, none of any attempt of the same step."""
        this = self.applied[entry.tag]
        this.deals += 1
        again = entry.order in this.orders if entry.order else False
        if entry.order:
            this.orders.add(entry.order)
        else:
            this.levels += 1
        kept = entry.tag not in self.record.relevelled
        this.whole = this.whole or (kept and _is_whole(entry, intent))
        if this.count > 1 and not again:
            self.record.report("I1 exactly once", f"tag {entry.tag} was applied {this.count} times ({entry.kind})")
        last, self._last_stem[entry.identifier] = self._last_stem.get(entry.identifier), stem_of(entry.tag)
        if entry.kind is AppliedKind.SLTP and last != stem_of(entry.tag):
            return  # what was set before was changed by somebody since: setting it again is right
        for tag, other in self.applied.items():
            if tag != entry.tag and stem_of(tag) == stem_of(entry.tag) and other.whole:
                detail = f"{entry.kind} of {entry.tag}: attempt {tag} had been applied already"
                self.record.report("I1 exactly once", detail)

    def _write_ahead(self, entry: OracleEntry) -> None:
        """I3: a durable intent with this tag is SENDING or UNKNOWN; of an order filled in bits the first may be answered."""
        state = self.record.disk().intent_state(entry.tag)
        further = self.applied[entry.tag].deals > 1 and state == IntentState.ACKED.value
        if further:
            return
        if state not in _LIVE and not (self._late(entry) and state == IntentState.QUARANTINED.value):
            detail = f"{entry.kind} of {entry.tag} was applied while its durable intent is {state}"
            self.record.report("I3 write-ahead", detail)

    def _late(self, entry: OracleEntry) -> bool:
        return entry.at > self.record.log.at.get(entry.tag, entry.at)

    def _overtaken(self, entry: OracleEntry) -> bool:
        """Return whether the broker applied an order late, and somebody has changed its position since it left."""
        return self._late(entry) and self._changed.get(entry.identifier, Millis(0)) >= self.record.log.at[entry.tag]

    def _fenced(self, entry: OracleEntry) -> None:
        """I4: no application of an older gateway after a newer one's first."""
        epoch = self.record.log.epochs[entry.tag]
        if epoch < self._epoch and not self._late(entry):
            detail = f"{entry.kind} of {entry.tag} by epoch {epoch} after epoch {self._epoch}"
            self.record.report("I4 single writer", detail)
        self._epoch = max(self._epoch, epoch)

    def _ratchet(self, entry: OracleEntry) -> None:
        """I6: our stop change never loosens a main leg's stop, and never takes its target away."""
        if entry.kind is not AppliedKind.SLTP or entry.identifier not in self.record.mains:
            return
        if self._overtaken(entry):
            return  # somebody was faster than an order that the broker applied late: nobody can prevent that
        if entry.tag in self.record.relevelled:
            self.record.by_others.add(entry.identifier)  # the broker has not done what it was asked
            if entry.target_before is not None and entry.target_after is None:
                self.dropped[entry.identifier] = entry.target_before
            return
        before, after = entry.stop_before, entry.stop_after
        if before is not None and (after is None or entry.side * (after - before) < -_TICK):
            detail = f"{entry.tag} moved the stop of {entry.identifier} from {before} to {after}"
            self.record.report("I6 ratchet", detail)
        lost = self.dropped.pop(entry.identifier, None)
        back = lost is not None and entry.target_before is None and entry.target_after == lost
        if entry.target_before != entry.target_after and not back:
            detail = (
                f"{entry.tag} moved the target of {entry.identifier} from {entry.target_before} to {entry.target_after}"
            )
            self.record.report("I6 target kept", detail)

    def _not_past_the_target(self, entry: OracleEntry, intent: Intent | None) -> None:
        """I6: a reduction takes no more than it was to take, whatever was filled before."""
        if intent is None or not isinstance(intent.action, Reduce) or self._late(entry):
            return
        if entry.volume_after < intent.action.remaining - _LOTS:
            detail = f"{entry.tag} left {entry.volume_after} of {entry.identifier}, {intent.action.remaining} were to be left"
            self.record.report("I6 not past the target", detail)

    def _ours_only(self, entry: OracleEntry, intent: Intent | None) -> None:
        """I9: only managed positions and their children are touched; a flatten closes all that is in our name."""
        if entry.kind in _OPENINGS:
            self._opened(entry, intent)
        elif intent is not None and intent.rule == flatten.RULE and self._is_in_our_name(entry):
            return
        elif (intent is None or isinstance(intent.action, OpenTrade)) and self._overtaken(entry):
            return  # it landed on what somebody has opened since it left: nobody can prevent that where the account nets
        elif entry.identifier not in self.record.mains and entry.identifier not in self.record.children:
            detail = f"{entry.kind} of {entry.tag} touched position {entry.identifier}, which is not ours"
            self.record.report("I9 foreign", detail)

    def _is_in_our_name(self, entry: OracleEntry) -> bool:
        return entry.identifier in self._in_our_name or entry.identifier in self.record.renumbered

    def _the_trade(self, entry: OracleEntry) -> None:
        """I19: a main leg that is touched is on its trade's side and symbol; nothing of ours turns one round."""
        trade = self.record.trades.get(self.record.mains.get(entry.identifier, ""))
        if trade is None or self._late(entry):
            return
        if entry.kind is AppliedKind.REVERSE or (entry.side, entry.symbol) != (trade.side, trade.symbol):
            detail = f"{entry.kind} of {entry.tag} touched {entry.identifier}: side {entry.side} of {entry.symbol}, not the trade's"
            self.record.report("I19 every fact", detail)

    def _opened(self, entry: OracleEntry, intent: Intent | None) -> None:
        """I7: one hedge a trade, no larger than its main leg; I5: nothing is opened without a stop."""
        if intent is None:
            return
        if entry.kind is AppliedKind.OPEN:
            self.record.children[entry.identifier] = intent.trade_id
        if entry.stop_after is None:
            detail = f"{entry.tag} opened position {entry.identifier} without a stop"
            self.record.report("I5 protection", detail)
        if isinstance(intent.action, OpenTrade):
            self._opened_with[entry.identifier] = entry.volume_after
        if isinstance(intent.action, ReAdd) and not self._late(entry):
            self._not_more_than_at_first(entry, intent)
        if not isinstance(intent.action, OpenHedge):
            return
        hedges = self.record.hedges[intent.trade_id]
        hedges.add(entry.identifier)
        if len(hedges) > 1:
            self.record.report("I7 one hedge", f"trade {intent.trade_id} got a second hedge, {entry.identifier}")
        trade = self.record.trades.get(intent.trade_id)
        main = None if trade is None else self.record.position(trade.identifier)
        if main is not None and entry.volume_after > main.volume + _TICK and not self._late(entry):
            detail = f"hedge {entry.identifier} of {entry.volume_after} against {main.volume} lots"
            self.record.report("I7 hedge volume", detail)

    def _not_more_than_at_first(self, entry: OracleEntry, intent: Intent) -> None:
        """I6: what is added again leaves the trade no larger than it was opened."""
        trade = self.record.trades.get(intent.trade_id)
        first = None if trade is None else self._opened_with.get(trade.identifier)
        if trade is None or first is None:
            return
        of_trade = {trade.identifier, *trade.children} - self.record.hedges[trade.trade_id] - {entry.identifier}
        others = sum(p.volume for p in self.record.sim.state.positions.values() if p.identifier in of_trade)
        if others + entry.volume_after > first + _LOTS:
            detail = f"{entry.tag} made trade {trade.trade_id} {others + entry.volume_after} lots, it was opened with {first}"
            self.record.report("I6 exposure", detail)


def _is_whole(entry: OracleEntry, intent: Intent | None) -> bool:
    """Say whether nothing of what was asked is left to do: a broker may fill a part."""
    if intent is None or entry.kind in (*_OPENINGS, AppliedKind.SLTP):
        return True
    if isinstance(intent.action, Reduce):
        return entry.volume_after <= intent.action.remaining + _LOTS
    return entry.volume_after <= 0

"""The independent checker: what the broker really did, beside what the disk says was intended, after every step.

It reads the oracle, the server's state and the database; never what a process believes. The numbers of the laws are those of
reliability.md section 11.1.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final

from dtms.adapters.notify import MemoryNotifier
from dtms.adapters.terminal.catalogue import CATALOGUE
from dtms.adapters.terminal.oracle import OracleEntry, OracleLog
from dtms.adapters.terminal.recorder import AppliedKind
from dtms.adapters.terminal.records import SimPosition
from dtms.adapters.terminal.server import SimServer
from dtms.domain.action import OpenHedge, OpenTrade, ReAdd
from dtms.domain.intent import Intent, IntentState
from dtms.domain.market import Quote
from dtms.domain.trade import Hold, LegKind, Owner, Trade, TradeState
from dtms.domain.transitions import ROWS, TABLE
from dtms.domain.units import MINUTE, SECOND, Millis
from dtms.ports.notifier import AlertKind
from dtms.sim.drill.disk import Disk
from dtms.sim.drill.ways import SendLog

ORPHAN_MS: Final = 10 * SECOND
"""A hedge may outlive its main leg so long while the system can act."""
NAKED_MS: Final = 2 * SECOND
"""A managed position may be without a stop so long; then it is alarmed."""
_SLACK_MS: Final = 6 * SECOND
"""For a pass that fell out: a step of the drill is up to two seconds, and a process may miss a few."""
_TRIES_A_MINUTE: Final = 15
"""Of one step: a child that must be closed is tried every five seconds."""
_SENDS_A_MINUTE: Final = 40
_QUEUE: Final = 24
_TICK: Final = 1e-9
_FRESH_MS: Final = 5 * SECOND
"""After a longer pause there is nothing to compare a tick with."""
_STALE_MS: Final = 65 * SECOND
"""The longest that a quote may be believed, and the length of a step in which its reader was interrupted."""

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
_LIVE: Final = (IntentState.SENDING.value, IntentState.UNKNOWN.value)
_NEVER: Final = (IntentState.REJECTED, IntentState.NOT_APPLIED, IntentState.CANCELLED)
_DONE: Final = (IntentState.APPLIED, IntentState.PARTIAL)
_OPENINGS: Final = (OpenHedge, OpenTrade, ReAdd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken law: which, at which step and instant, and what happened."""

    law: str
    step: int
    at: Millis
    detail: str


def stem(tag: str) -> str:
    """Return what all attempts of one decision and step have in common."""
    return tag[:23]


class WatchedOracle(OracleLog):
    """An oracle that tells of each operation at the instant at which it is applied."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Callable[[OracleEntry], None] = lambda _entry: None

    def record(self, **fields: Any) -> None:
        """Append one operation, and tell of it."""
        super().record(**fields)
        self.told(self._entries[-1])


@dataclass(slots=True)
class _Applied:
    """What was applied with one tag."""

    orders: set[int] = field(default_factory=set)
    levels: int = 0
    partial: bool = False

    @property
    def count(self) -> int:
        return len(self.orders) + self.levels


@dataclass(slots=True, kw_only=True)
class Watch:
    """Checks one run.

    `able` says whether the system as a whole could have acted since the last step: what nobody could do is no fault.
    """

    sim: SimServer
    oracle: OracleLog
    disk: Callable[[], Disk]
    log: SendLog
    notifier: MemoryNotifier
    clock: Callable[[], Millis]
    able: Callable[[], bool]
    step: int = 0
    found: list[Violation] = field(default_factory=list)
    applied: dict[str, _Applied] = field(default_factory=lambda: defaultdict(_Applied))
    unknown: set[str] = field(default_factory=set)
    rows: Counter[str] = field(default_factory=Counter)
    _epoch: int = 0
    _revision: int = -1
    _last_transition: int = 0
    _states: dict[str, tuple[TradeState, int]] = field(default_factory=dict)
    _versions: dict[str, tuple[int, tuple[object, ...]]] = field(default_factory=dict)
    _touched: dict[int, Millis] = field(default_factory=dict)
    _changed: dict[int, Millis] = field(default_factory=dict)
    _last_stem: dict[int, str] = field(default_factory=dict)
    _trades: dict[str, Trade] = field(default_factory=dict)
    _open: tuple[Trade, ...] = ()
    _mains: dict[int, str] = field(default_factory=dict)
    _children: dict[int, str] = field(default_factory=dict)
    _unfinished: tuple[Intent, ...] = ()
    _hedges: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    _orphans: dict[int, int] = field(default_factory=dict)
    _naked: dict[int, int] = field(default_factory=dict)
    _checked_at: Millis | None = None
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _believed: dict[tuple[str, str], Quote] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)

    def report(self, law: str, detail: str, key: str = "") -> None:
        """Write a violation down, the same one once."""
        mark = (law, key or detail)
        if mark not in self._seen:
            self._seen.add(mark)
            self.found.append(Violation(law=law, step=self.step, at=self.clock(), detail=detail))

    @property
    def trades(self) -> tuple[Trade, ...]:
        """Return the open trades as of the last check."""
        return self._open

    @property
    def managed(self) -> frozenset[int]:
        """Return the identifiers of the main legs of all open trades."""
        return frozenset(trade.identifier for trade in self._open)

    @property
    def mains(self) -> frozenset[int]:
        """Return the identifiers of the main legs of all trades that ever were."""
        return frozenset(self._mains)

    def by_hand(self, identifier: int) -> bool:
        """Say whether somebody else ever changed a position."""
        return identifier in self._touched

    @property
    def busy(self) -> bool:
        """Say whether something is under way that seconds matter for."""
        return bool(self._unfinished or self._orphans or self._naked) or any(
            trade.legs or trade.pending for trade in self._open
        )

    @property
    def unfinished(self) -> tuple[Intent, ...]:
        """Return the intents that are not decided, as of the last check."""
        return self._unfinished

    # ----- at the instant of each application

    def on_entry(self, entry: OracleEntry) -> None:
        """Check one operation as the broker applies it."""
        if entry.kind not in _OPERATIONS:
            return
        if entry.tag not in self.log.epochs:
            self._touched[entry.identifier] = self._changed[entry.identifier] = entry.at
            self._last_stem[entry.identifier] = ""
            return
        self._exactly_once(entry)
        self._write_ahead(entry)
        self._fenced(entry)
        self._ratchet(entry)
        self._ours_only(entry)

    def _exactly_once(self, entry: OracleEntry) -> None:
        """I1: one application a tag; after a whole one, none of any attempt of the same step."""
        this = self.applied[entry.tag]
        again = entry.order in this.orders if entry.order else False
        if entry.order:
            this.orders.add(entry.order)
        else:
            this.levels += 1
        this.partial = this.partial or entry.kind is AppliedKind.PARTIAL
        if this.count > 1 and not again:
            self.report("I1 exactly once", f"tag {entry.tag} was applied {this.count} times ({entry.kind})")
        last, self._last_stem[entry.identifier] = self._last_stem.get(entry.identifier), stem(entry.tag)
        if entry.kind is AppliedKind.SLTP and last != stem(entry.tag):
            return  # what was set before was changed by somebody since: setting it again is right
        for tag, other in self.applied.items():
            if tag != entry.tag and stem(tag) == stem(entry.tag) and other.count and not other.partial:
                self.report("I1 exactly once", f"{entry.kind} of {entry.tag}: attempt {tag} had been applied already")

    def _write_ahead(self, entry: OracleEntry) -> None:
        """I3: a durable intent with this tag is SENDING or UNKNOWN."""
        state = self.disk().intent_state(entry.tag)
        if state not in _LIVE and not (self._late(entry) and state == IntentState.QUARANTINED.value):
            self.report(
                "I3 write-ahead", f"{entry.kind} of {entry.tag} was applied while its durable intent is {state}"
            )

    def _late(self, entry: OracleEntry) -> bool:
        return entry.at > self.log.at.get(entry.tag, entry.at)

    def _fenced(self, entry: OracleEntry) -> None:
        """I4: no application of an older gateway after a newer one's first."""
        epoch = self.log.epochs[entry.tag]
        if epoch < self._epoch and not self._late(entry):
            self.report("I4 single writer", f"{entry.kind} of {entry.tag} by epoch {epoch} after epoch {self._epoch}")
        self._epoch = max(self._epoch, epoch)

    def _ratchet(self, entry: OracleEntry) -> None:
        """I6: our stop change never loosens a main leg's stop, and never takes its target away."""
        if entry.kind is not AppliedKind.SLTP or entry.identifier not in self._mains:
            return
        last, self._changed[entry.identifier] = self._changed.get(entry.identifier, Millis(0)), entry.at
        if self._late(entry) and last >= self.log.at[entry.tag]:
            return  # somebody was faster than an order that the broker applied late: nobody can prevent that
        before, after = entry.stop_before, entry.stop_after
        if before is not None and (after is None or entry.side * (after - before) < -_TICK):
            self.report("I6 ratchet", f"{entry.tag} moved the stop of {entry.identifier} from {before} to {after}")
        if entry.target_before != entry.target_after:
            self.report(
                "I6 target kept",
                f"{entry.tag} changed the target of {entry.identifier} from {entry.target_before} to {entry.target_after}",
            )

    def _ours_only(self, entry: OracleEntry) -> None:
        """I9: only managed positions and their children are touched."""
        if entry.kind is AppliedKind.OPEN:
            self._opened(entry)
            return
        known = entry.identifier in self._mains or entry.identifier in self._children
        if not known and self.log.epochs:
            self.refresh()
            known = entry.identifier in self._mains or entry.identifier in self._children
        if not known:
            self.report(
                "I9 foreign", f"{entry.kind} of {entry.tag} touched position {entry.identifier}, which is not ours"
            )

    def _opened(self, entry: OracleEntry) -> None:
        self.refresh()
        intent = self._intent_of(entry.tag)
        if intent is None:
            return
        self._children[entry.identifier] = intent.trade_id
        if isinstance(intent.action, OpenHedge):
            hedges = self._hedges[intent.trade_id]
            hedges.add(entry.identifier)
            if len(hedges) > 1:
                self.report("I7 one hedge", f"trade {intent.trade_id} got a second hedge, {entry.identifier}")
            trade = self._trades.get(intent.trade_id)
            main = None if trade is None else self._position(trade.identifier)
            if main is not None and entry.volume_after > main.volume + _TICK and not self._late(entry):
                self.report(
                    "I7 hedge volume", f"hedge {entry.identifier} of {entry.volume_after} against {main.volume} lots"
                )
        if intent.position is None and entry.stop_after is None:
            self.report("I5 protection", f"{entry.tag} opened position {entry.identifier} without a stop")

    def _intent_of(self, tag: str) -> Intent | None:
        return next((intent for intent in self._unfinished if intent.tag == tag), None)

    def _position(self, identifier: int) -> SimPosition | None:
        return next((p for p in self.sim.state.positions.values() if p.identifier == identifier), None)

    # ----- what a process believes of the market

    def believes(self, who: str, quote: Quote, spoilt: AbstractSet[tuple[str, int, float, float]]) -> None:
        """I8: a tick that was spoilt on its way is not believed beside a fresh one."""
        last = self._believed.get((who, quote.symbol))
        if last == quote:
            return
        self._believed[who, quote.symbol] = quote
        bad = (quote.symbol, quote.at, quote.bid, quote.ask) in spoilt
        if bad and last is not None and quote.at - last.at <= _FRESH_MS:
            self.report("I8 bad input", f"{who} believed {quote.bid} of {quote.symbol} right after {last.bid}")
        if last is not None and quote.at < last.at:
            self.report("I8 bad input", f"{who} believed a quote of {quote.symbol} that is older than the last one")

    def restarted(self, who: str) -> None:
        """Forget what a process believed: it has ended."""
        self._believed = {key: quote for key, quote in self._believed.items() if key[0] != who}

    def _planned(self, intent: Intent) -> None:
        """I8: what is decided on a price is decided on a fresh one."""
        if intent.step > 0 or intent.attempt > 1 or not intent.precondition.price_based:
            return
        trade = self._trades.get(intent.trade_id)
        quote = None if trade is None else self.sim.state.quotes.get(trade.symbol)
        if quote is not None and intent.created_at - quote.at > _STALE_MS:
            self.report(
                "I8 bad input",
                f"{intent.rule} of {intent.trade_id} was decided on a price {intent.created_at - quote.at} ms old",
            )

    # ----- after each step

    def check(self) -> None:
        """Check what must hold after a step."""
        now = self.clock()
        elapsed = 0 if self._checked_at is None else now - self._checked_at
        self._checked_at = now
        self.refresh()
        able = self.able()
        for trade in self._open:
            self._protection(trade, elapsed if able else 0)
        self._orphaned(elapsed if able else 0)
        self._limits(now)

    def forget(self) -> None:
        """Take note that the disk was put back: what it says now is what counts."""
        self._revision = -1

    def refresh(self) -> None:
        """Read what the disk says, where anybody has written."""
        ledger = self.disk().ledger
        revision = ledger.revision()
        if revision == self._revision:
            return
        self._revision = revision
        with ledger.read() as tx:
            self._open = tx.open_trades()
            self._unfinished = tx.unfinished()
        for trade in self._open:
            self._versioned(trade)
            self._trades[trade.trade_id] = trade
            self._mains[trade.identifier] = trade.trade_id
            for child in trade.children:
                self._children[child] = trade.trade_id
            for leg in trade.legs:
                self._children[leg.identifier] = trade.trade_id
                if leg.kind is LegKind.HEDGE:
                    self._hedges[trade.trade_id].add(leg.identifier)
        for intent in self._unfinished:
            if intent.state is IntentState.UNKNOWN:
                self.unknown.add(intent.intent_id)
            if intent.intent_id not in self._known:
                self._known.add(intent.intent_id)
                self._planned(intent)
        self._transitions()

    def _transitions(self) -> None:
        """I10: declared rows only, each from where the last one led, CLOSED absorbs, versions grow."""
        rows = (
            self.disk()
            .connection.execute(
                "SELECT id, trade_id, row, source, target, version FROM transitions WHERE id > ? ORDER BY id",
                (self._last_transition,),
            )
            .fetchall()
        )
        for number, trade_id, name, source, target, version in rows:
            self._last_transition = number
            self.rows[name] += 1
            row = ROWS.get(name)
            pair = (TradeState(source), TradeState(target))
            if pair not in TABLE or row is None or (row.source, row.target) != pair:
                self.report(
                    "I10 transitions", f"trade {trade_id}: row {name} from {source} to {target} is not declared"
                )
            before, last = self._states.get(trade_id, (TradeState.HEALTHY, 0))
            if before is not pair[0]:
                self.report("I10 transitions", f"trade {trade_id}: {name} leaves {source}, the trade was {before}")
            if version <= last:
                self.report("I10 transitions", f"trade {trade_id}: version {version} after {last}")
            self._states[trade_id] = (pair[1], version)

    def _versioned(self, trade: Trade) -> None:
        public = (trade.state, trade.pending_to, trade.ticket, trade.volume, trade.stop, trade.target, trade.legs)
        before = self._versions.get(trade.trade_id)
        if before is not None:
            version, shown = before
            if trade.version < version or (trade.version == version and public != shown):
                self.report(
                    "I10 version", f"trade {trade.trade_id} changed and its version went {version} to {trade.version}"
                )
        self._versions[trade.trade_id] = (trade.version, public)

    def _protection(self, trade: Trade, elapsed: int) -> None:
        """I5: a stop at the broker, no wider than the journal's."""
        position = self._position(trade.identifier)
        if position is None or trade.owner is Owner.NONE:
            return
        by_hand = trade.identifier in self._touched
        if position.stop is None:
            before = self._naked.get(trade.identifier)
            since = self._naked[trade.identifier] = 0 if before is None else before + elapsed
            if (
                since > NAKED_MS + _SLACK_MS
                and trade.hold is Hold.NONE
                and not self._alerted(AlertKind.UNPROTECTED, trade)
            ):
                self.report(
                    "I5 protection",
                    f"position {trade.identifier} has had no stop for {since} ms and no alarm",
                    str(trade.identifier),
                )
            return
        self._naked.pop(trade.identifier, None)
        tick = CATALOGUE[trade.symbol].tick_size
        wider = trade.stop is not None and trade.side * (position.stop - trade.stop) < -0.5 * tick
        under_way = any(intent.position == trade.identifier for intent in self._unfinished)
        if wider and not by_hand and not under_way:
            self.report(
                "I5 protection",
                f"position {trade.identifier} has stop {position.stop}, the journal says {trade.stop}",
                str(trade.identifier),
            )

    def _alerted(self, kind: AlertKind, trade: Trade) -> bool:
        words = (str(trade.ticket), trade.trade_id, str(trade.identifier))
        return any(alert.kind is kind and alert.subject in words for alert in self.notifier.alerts)

    def _orphaned(self, elapsed: int) -> None:
        """I7: no hedge outlives its main leg for long while somebody could have closed it."""
        state = self.sim.state
        present = {position.identifier for position in state.positions.values()}
        for trade_id, hedges in self._hedges.items():
            trade = self._trades.get(trade_id)
            if trade is None or trade.identifier in present:
                continue
            for hedge in hedges & present:
                before = self._orphans.get(hedge)
                since = self._orphans[hedge] = 0 if before is None else before + elapsed
                if since > ORPHAN_MS + _SLACK_MS and not self._excused(trade, hedge):
                    self.report(
                        "I7 orphaned hedge",
                        f"hedge {hedge} outlived position {trade.identifier} by {since} ms",
                        str(hedge),
                    )
        for hedge in tuple(self._orphans):
            if hedge not in present:
                del self._orphans[hedge]

    def _excused(self, trade: Trade, hedge: int) -> bool:
        """Say whether the operator was called: the trade is held, its hedge unknown or quarantined, a step parked."""
        if trade.hold is not Hold.NONE or trade.owner is Owner.NONE:
            return True
        return any(
            self._alerted(kind, trade) for kind in (AlertKind.QUARANTINED, AlertKind.PARKED, AlertKind.UNKNOWN)
        ) or any(intent.position == hedge and intent.state is IntentState.UNKNOWN for intent in self._unfinished)

    def _limits(self, now: Millis) -> None:
        """I12: no tight loops, and no queue that grows."""
        for tag, count in self.log.counts.items():
            if count > 1:
                self.report("I12 sent once", f"tag {tag} was sent {count} times", tag)
        sent = Counter(stem(tag) for tag, at in self.log.at.items() if at > now - MINUTE)
        if sent.total() > _SENDS_A_MINUTE:
            self.report("I12 limits", f"{sent.total()} orders were sent within a minute", "minute")
        for name, count in sent.items():
            if count > _TRIES_A_MINUTE:
                self.report("I12 limits", f"step {name} was tried {count} times within a minute", name)
        if len(self._unfinished) > _QUEUE:
            self.report("I12 limits", f"{len(self._unfinished)} intents are waiting", "queue")

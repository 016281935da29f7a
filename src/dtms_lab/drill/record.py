"""What a checker knows of one run: what the disk says now, what was found, and who changed what at the broker.

It reads the database and the broker's own state; never what a process believes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from dtms.adapters.notify import MemoryNotifier
from dtms.domain.intent import Intent, IntentState
from dtms.domain.trade import LegKind, Trade
from dtms.domain.units import Millis
from dtms.ports.notifier import AlertKind
from dtms_lab.drill.disk import Disk
from dtms_lab.drill.ways import SendLog
from dtms_lab.terminal.records import SimPosition
from dtms_lab.terminal.server import SimServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken law: which, at which step and instant, and what happened."""

    law: str
    step: int
    at: Millis
    detail: str


@dataclass(slots=True, kw_only=True)
class Record:
    """The run as seen from outside."""

    sim: SimServer
    disk: Callable[[], Disk]
    log: SendLog
    notifier: MemoryNotifier
    clock: Callable[[], Millis]
    step: int = 0
    found: list[Violation] = field(default_factory=list)
    open: tuple[Trade, ...] = ()
    unfinished: tuple[Intent, ...] = ()
    trades: dict[str, Trade] = field(default_factory=dict)
    tickets: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    mains: dict[int, str] = field(default_factory=dict)
    children: dict[int, str] = field(default_factory=dict)
    hedges: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    by_others: set[int] = field(default_factory=set)
    """Positions that somebody else has ever changed."""
    accepted: dict[tuple[str, str], tuple[Millis, Millis]] = field(default_factory=dict)
    """Of the quote that each process goes by, for each symbol: its own instant, and when it was seen to go by it."""
    relevelled: AbstractSet[str] = frozenset()
    """Our changes of levels that the broker kept otherwise than asked, by tag."""
    renumbered: AbstractSet[int] = frozenset()
    """What the broker shows under another identifier than it had."""
    unknown: set[str] = field(default_factory=set)
    """Intents whose outcome was ever unknown."""
    _revision: int = -1
    _said: set[tuple[str, str]] = field(default_factory=set)

    def report(self, law: str, detail: str, key: str = "") -> None:
        """Write a violation down, the same one once."""
        mark = (law, key or detail)
        if mark not in self._said:
            self._said.add(mark)
            self.found.append(Violation(law=law, step=self.step, at=self.clock(), detail=detail))

    def forget(self) -> None:
        """Take note that the disk was put back: what it says now is what counts."""
        self._revision = -1

    def refresh(self) -> bool:
        """Read what the disk says; False where nobody has written since the last look."""
        ledger = self.disk().ledger
        revision = ledger.revision()
        if revision == self._revision:
            return False
        self._revision = revision
        with ledger.read() as tx:
            self.open, self.unfinished = tx.open_trades(), tx.unfinished()
        for trade in self.open:
            self.trades[trade.trade_id] = trade
            self.tickets[trade.trade_id].add(trade.ticket)
            self.mains[trade.identifier] = trade.trade_id
            self.children.update(dict.fromkeys(trade.children, trade.trade_id))
            for leg in trade.legs:
                self.children[leg.identifier] = trade.trade_id
                if leg.kind is LegKind.HEDGE:
                    self.hedges[trade.trade_id].add(leg.identifier)
        self.unknown |= {i.intent_id for i in self.unfinished if i.state is IntentState.UNKNOWN}
        return True

    def intent_of(self, tag: str) -> Intent | None:
        """Return the undecided intent with a tag."""
        self.refresh()
        return next((intent for intent in self.unfinished if intent.tag == tag), None)

    def position(self, identifier: int) -> SimPosition | None:
        """Return an open position as the broker has it."""
        return next((p for p in self.sim.state.positions.values() if p.identifier == identifier), None)

    def tick(self, symbol: str) -> float:
        """Return a symbol's tick as the broker has it now, price units."""
        return self.sim.state.specs[symbol].tick_size

    def told_orphan(self, identifier: int) -> bool:
        """Say whether somebody was called for a position in our name that the ledger does not know."""
        position = self.position(identifier)
        words = {str(identifier)} | (set() if position is None else {str(position.ticket)})
        return any(alert.kind is AlertKind.ORPHAN and alert.subject in words for alert in self.notifier.alerts)

    def alerted(self, trade: Trade, *kinds: AlertKind) -> bool:
        """Say whether somebody was ever called for a trade."""
        words = {trade.trade_id, str(trade.identifier), *map(str, self.tickets[trade.trade_id])}
        return any(alert.kind in kinds and alert.subject in words for alert in self.notifier.alerts)

"""The gateway's reconciliation: the broker's truth for facts, the ledger's for intentions, and nothing flat without proof.

Run before anything is sent, after a lost link, on every unknown outcome, every 5 s (positions) and every 60 s (positions
and the history since the last one that was clean). Until the first whole one was clean, nothing that adds risk is sent.
What is in our name and not in the ledger is adopted in quarantine: it is shown, alarmed and never touched; a person
takes it in (`dtms adopt`) or lets it go (`dtms release`). The port tells of positions and deals, not of pending orders:
dtms places none.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from dtms.app.evidence.proof import flat
from dtms.app.reconcile.broker_view import TornViewError, View, Viewer
from dtms.app.reconcile.history import History
from dtms.app.reconcile.outcome import Outcome, last_outcome, write_outcome
from dtms.app.reconcile.position_origin import Classified, Orphan, Register, Standing, orphan_of
from dtms.app.reconcile.strays import BARE_GRACE, close_bare
from dtms.app.views.trade_cache import TradeCache
from dtms.domain.intent import Intent, IntentState
from dtms.domain.modes import Cause
from dtms.domain.position import PositionsRead
from dtms.domain.trade import Hold
from dtms.domain.units import SECOND, Millis
from dtms.errors import BrokerError, MarketDataError
from dtms.ports.broker import BrokerReads
from dtms.ports.causes import Causes
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger
from dtms.ports.notifier import AlertKind, Notifier

FAST_NS: Final = 5_000_000_000
FULL_NS: Final = 60_000_000_000
_RETRY_NS: Final = 1_000_000_000


@dataclass(slots=True, kw_only=True)
class Reconciler:
    """Reconciles one account; `account` is the key that every view must be of, `magic` our number at the broker."""

    ledger: Ledger
    reads: BrokerReads
    clock: Clock
    notifier: Notifier
    causes: Causes
    account: str
    magic: int
    settle_s: float
    book: TradeCache
    last: Outcome | None = None
    armed: bool = False
    _started: bool = False
    _fast_ns: int = 0
    _full_ns: int = 0
    _wanted: bool = True
    _unsure: bool = True
    _suspects: dict[int, Millis] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)
    _viewer: Viewer = field(init=False)
    _history: History = field(init=False)

    def __post_init__(self) -> None:
        self._viewer = Viewer(clock=self.clock, account=self.account)
        self._history = History(ledger=self.ledger, notifier=self.notifier)

    def start(self) -> None:
        """Reconcile before anything is sent; a view that cannot be had now leaves the system unreconciled, not waiting.

        Raises:
            LedgerError: Nothing can be read or written.
        """
        self.causes.set(Cause.UNRECONCILED, "started; the first whole reconciliation was not clean yet")
        self._started = True
        self._run(full=True)

    def want(self) -> None:
        """Ask for a whole one at the next step: the link was lost, or a person has decided something."""
        self._wanted = True

    def step(self, unfinished: tuple[Intent, ...] | None = None) -> Outcome | None:
        """Reconcile where it is due; return what came of it, None where nothing was due.

        Args:
            unfinished: What is undecided now, None where nobody has written since the last step; an outcome that has
                become unknown asks for a whole one, its end too.

        Raises:
            LedgerError: Nothing can be read or written.
        """
        if not self._started:
            self.start()
            return self.last
        if unfinished is not None:
            unknown = {intent.intent_id for intent in unfinished if intent.state is IntentState.UNKNOWN}
            self._wanted = self._wanted or unknown != self._asked
            self._asked = unknown
        now_ns = self.clock.boot_ns()
        full = now_ns >= self._full_ns or (self._wanted and now_ns >= self._fast_ns - FAST_NS + _RETRY_NS)
        if full or now_ns >= self._fast_ns:
            return self._run(full=full)
        return None

    def _run(self, *, full: bool) -> Outcome:
        now_ns = self.clock.boot_ns()
        self._fast_ns = now_ns + FAST_NS
        try:
            outcome = self._judged(self._viewer.take(self.reads, self._unread_since() if full else None))
        except (BrokerError, MarketDataError, TornViewError) as error:
            self._wanted = True
            outcome = self._failed(str(error), full=full)
        else:
            self._wanted = False
            if full:
                self._full_ns = now_ns + FULL_NS
        self._tell(outcome)
        return outcome

    def _judged(self, view: View) -> Outcome:
        page = self.book.page()
        with self.ledger.read() as tx:
            register = Register.of(tx, page, self.magic)
            judged = tuple(register.judge(position) for position in view.read.positions)
            strays = self._history.unrecorded(tx, register, view)
        self._history.hold_doubled(view.deals)
        self._history.take_corrections(view)
        self._look_at_openings(judged, view.read)
        orphans = self._orphans(judged, view.read)
        missing = self._missing(register, view.read)
        why = "; ".join(
            (
                *(f"{orphan.words}: {orphan.why}" for orphan in orphans),
                *(f"position {identifier} is missing and no closing deals tell why" for identifier in missing),
                *strays,
            )
        )
        suspects = bool(self._suspects)
        clean = not why and not suspects
        confirmed = view.read.as_of if clean and view.full else self._last().confirmed
        return Outcome(
            at=view.read.as_of,
            clean=clean,
            full=view.full,
            confirmed=confirmed,
            why=why or ("positions in our name are being looked at again" if suspects else ""),
            orphans=orphans,
            missing=missing,
            changed=sum(each.standing is Standing.CHANGED for each in judged),
            foreign=sum(each.standing is Standing.FOREIGN for each in judged),
        )

    def _look_at_openings(self, judged: tuple[Classified, ...], read: PositionsRead) -> None:
        """Call for each opening that stands without its stop and is not registered; close it where nobody does anything."""
        for each in judged:
            if not each.waits or each.position.stop is not None:
                continue
            self._alarm_bare(orphan_of(each, read.as_of))
            if read.as_of - each.position.opened_at >= BARE_GRACE:
                with self.ledger.write() as tx:
                    close_bare(tx, each.position, self.clock.market_now(), rejected=False)

    def _orphans(self, judged: tuple[Classified, ...], read: PositionsRead) -> tuple[Orphan, ...]:
        """Return what was without a record in reads a settle time apart, and what was so and is not proved to have ended."""
        seen = {each.position.identifier: each for each in judged if each.standing is Standing.ORPHAN}
        known = {orphan.identifier: orphan for orphan in self._last().orphans}
        since = {i: known[i].since if i in known else self._suspects.get(i, read.as_of) for i in seen}
        sure = {i for i in seen if i in known or read.as_of - since[i] >= self.settle_s * SECOND}
        self._suspects = {i: since[i] for i in seen if i not in sure}
        for identifier in self._suspects:
            if seen[identifier].position.stop is None:
                self._alarm_bare(orphan_of(seen[identifier], since[identifier]))
        here = {position.identifier for position in read.positions}
        found = [orphan_of(seen[identifier], since[identifier]) for identifier in sure]
        found += [orphan for i, orphan in known.items() if i not in here and not self._ended(i)]
        return tuple(sorted(found, key=lambda orphan: orphan.identifier))

    def _missing(self, register: Register, read: PositionsRead) -> tuple[int, ...]:
        """Return the trades that are not in the read and not proved to have ended; a held one waits for a person already."""
        here = {position.identifier for position in read.positions}
        lost = [i for i, trade in register.mains.items() if i not in here and trade.hold is Hold.NONE]
        return tuple(sorted(identifier for identifier in lost if not self._ended(identifier)))

    def _ended(self, identifier: int) -> bool:
        try:
            return flat(self.reads.deals(identifier))
        except BrokerError:
            return False

    def _tell(self, outcome: Outcome) -> None:
        """Write what has changed, and call for each orphan that is new."""
        known = {orphan.identifier for orphan in self._last().orphans}
        fresh = [orphan for orphan in outcome.orphans if orphan.identifier not in known]
        if outcome.full or not outcome.same(self.last):
            with self.ledger.write() as tx:
                write_outcome(tx, outcome)
                for orphan in fresh:
                    body = json.dumps(asdict(orphan))
                    tx.add_audit(at=outcome.at, actor="gateway", what="orphan", trade_id=None, body=body)
        self.last = outcome
        for orphan in fresh:
            self._alarm(orphan)
        for orphan in outcome.orphans:
            if orphan.stop is None:
                self._alarm_bare(orphan)
        self._causes(outcome)

    def _causes(self, outcome: Outcome) -> None:
        if outcome.orphans:
            words = "; ".join(orphan.words for orphan in outcome.orphans)
            self.causes.set(Cause.ORPHANS, f"{words}: adopt or release each")
        elif outcome.clean:
            self.causes.clear(Cause.ORPHANS)
        if outcome.full and outcome.clean:
            self.armed, self._unsure = True, False
            self.causes.clear(Cause.UNRECONCILED)
        elif outcome.clean:
            self._wanted = self._wanted or self._unsure  # what was unsure fits now: the history has the last word
        elif self._suspects or not self.armed:
            self._unsure = True
            self.causes.set(Cause.UNRECONCILED, outcome.why)

    def _alarm(self, orphan: Orphan) -> None:
        detail = (
            f"{orphan.words}: {orphan.why}. dtms does not touch it: take it in with `dtms adopt {orphan.ticket}`, or let it "
            f"go with `dtms release {orphan.ticket}`; nothing that adds risk is sent until then"
        )
        self.notifier.alert(AlertKind.ORPHAN, str(orphan.ticket), detail)

    def _alarm_bare(self, orphan: Orphan) -> None:
        detail = f"{orphan.words}: it is in our name and nobody manages it; put a stop there now"
        self.notifier.alert(AlertKind.UNPROTECTED, str(orphan.ticket), detail)

    def _failed(self, why: str, *, full: bool) -> Outcome:
        last = self._last()
        return replace(last, at=self.clock.market_now(), clean=False, full=full, why=why)

    def _last(self) -> Outcome:
        """Return the last outcome, of the last process where this one has none yet."""
        if self.last is None:
            with self.ledger.read() as tx:
                self.last = last_outcome(tx)
        if self.last is None:
            now = self.clock.market_now()
            self.last = Outcome(at=now, clean=False, full=False)
        return self.last

    def _unread_since(self) -> Millis:
        """Return from when on the history has still to be agreed; with none agreed yet, from now (and the overlap before)."""
        confirmed = self._last().confirmed
        return self.clock.market_now() if confirmed is None else confirmed

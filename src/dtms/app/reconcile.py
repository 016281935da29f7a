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

from dtms.app.book import Book
from dtms.app.evidence import flat
from dtms.app.standing import Judged, Orphan, Register, Standing, doubled, openings_since, orphan_of
from dtms.domain.intent import Intent, IntentState
from dtms.domain.modes import Cause
from dtms.domain.position import Deal, DealEntry, PositionsRead
from dtms.domain.trade import Hold, Trade
from dtms.domain.units import DAY, SECOND, Millis, TradeId
from dtms.errors import BrokerError, MarketDataError
from dtms.ports.broker import BrokerReads
from dtms.ports.causes import Causes
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger, LedgerRead
from dtms.ports.notifier import AlertKind, Notifier

RECONCILED_FACT: Final = "reconciled"
"""The ledger's fact with the last outcome, as JSON."""

FAST_NS: Final = 5_000_000_000
FULL_NS: Final = 60_000_000_000
_RETRY_NS: Final = 1_000_000_000
_DOUBLED_FACT: Final = "doubled_told"
_MOST_TOLD: Final = 200
_OVERLAP: Final = DAY
"""Deals are read so far back behind the last clean one, and so far ahead: a broker's clock may be off by hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One reconciliation; it is the fact `reconciled`.

    `clean`: the view was whole, everything in our name has its record, and each trade is there or proved to have ended.
    `confirmed` is the instant up to which the history was read and agreed. `why` says why it was not clean.
    """

    at: Millis
    clean: bool
    full: bool
    confirmed: Millis
    why: str = ""
    orphans: tuple[Orphan, ...] = ()
    missing: tuple[int, ...] = ()
    changed: int = 0
    foreign: int = 0

    def same(self, other: Outcome | None) -> bool:
        """Say whether it tells nothing new beside its instant."""
        if other is None:
            return False
        return (self.clean, self.why, self.orphans, self.missing) == (
            other.clean,
            other.why,
            other.orphans,
            other.missing,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """What the broker showed under one token: positions, and for a full one its deals."""

    read: PositionsRead
    deals: tuple[Deal, ...]
    full: bool


class _TornViewError(Exception):
    """The reads do not belong together; nothing is concluded from them."""


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
    book: Book
    last: Outcome | None = None
    armed: bool = False
    _started: bool = False
    _as_of: Millis = Millis(0)
    _token: int = -1
    _fast_ns: int = 0
    _full_ns: int = 0
    _wanted: bool = True
    _unsure: bool = True
    _suspects: dict[int, Millis] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)
    _told: set[str] = field(default_factory=set)

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
            outcome = self._judged(self._view(full=full))
        except (BrokerError, MarketDataError, _TornViewError) as error:
            self._wanted = True
            outcome = self._failed(str(error), full=full)
        else:
            self._wanted = False
            if full:
                self._full_ns = now_ns + FULL_NS
        self._tell(outcome)
        return outcome

    def _view(self, *, full: bool) -> _View:
        """Read the broker; raise where the reads are not of one account, or time went back between them."""
        before = self.reads.account().key
        read = self.reads.positions()
        deals: tuple[Deal, ...] = ()
        if full:
            now = self.clock.market_now()
            since = min(self._confirmed(), now) - _OVERLAP
            deals = self.reads.deals_between(Millis(since), Millis(now + _OVERLAP))
        after = self.reads.account().key
        if not before == after == self.account:
            msg = f"the terminal shows account {before}, then {after}, instead of {self.account}; log it in there again"
            raise _TornViewError(msg)
        as_of, token = self._as_of, self._token
        self._as_of, self._token = read.as_of, read.token
        if read.as_of < as_of or read.token == token:
            msg = f"a read is as of {read.as_of} (token {read.token}) after one as of {as_of}; it is not believed"
            raise _TornViewError(msg)
        return _View(read=read, deals=deals, full=full)

    def _judged(self, view: _View) -> Outcome:
        page = self.book.page()
        with self.ledger.read() as tx:
            register = Register.of(tx, page, self.magic)
            judged = tuple(register.judge(position) for position in view.read.positions)
            strays = self._unrecorded(tx, register, view)
        twice = doubled((deal.comment, deal.position) for deal in view.deals if deal.entry is DealEntry.IN)
        self._hold_doubled(twice)
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
        confirmed = view.read.as_of if clean and view.full else self._confirmed()
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

    def _orphans(self, judged: tuple[Judged, ...], read: PositionsRead) -> tuple[Orphan, ...]:
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

    def _unrecorded(self, tx: LedgerRead, register: Register, view: _View) -> tuple[str, ...]:
        """Tell of positions that were opened and closed in our name and that no order of the ledger opened: an old backup."""
        here = {position.identifier for position in view.read.positions}
        if view.full:
            self._told &= {f"deal:{deal.deal_id}" for deal in view.deals}
        opened = [
            deal
            for deal in view.deals
            if deal.entry is DealEntry.IN
            and deal.position not in here | register.let_go
            and register.ours(deal.magic, deal.comment)
            and f"deal:{deal.deal_id}" not in self._told
        ]
        if not opened:
            return ()
        since = Millis(min(deal.at for deal in opened) - _OVERLAP)
        recorded: set[object] = set()
        for intent in openings_since(tx, since):
            recorded |= {intent.tag, None if intent.receipt is None else intent.receipt.position}
        strays = []
        for deal in opened:
            self._told.add(f"deal:{deal.deal_id}")
            known = tx.trade_by_id(TradeId(str(deal.position))) is not None
            if not known and deal.comment not in recorded and deal.position not in recorded:
                strays.append(f"position {deal.position} was opened in our name and the ledger does not know it")
        for stray in strays:
            self.notifier.alert(AlertKind.ORPHAN, "history", f"{stray}; was the ledger restored from an older copy?")
        return tuple(strays)

    def _hold_doubled(self, twice: dict[str, set[int]]) -> None:
        """Hold each trade for which one step was done twice, once: exactly-once is broken, and a person must see it."""
        if not twice:
            return
        with self.ledger.read() as tx:
            told = _doubled_told(tx)
        for stem, positions in twice.items():
            if stem in told:
                continue
            detail = (
                f"one step has opened the positions {', '.join(map(str, sorted(positions)))}; close what is too much"
            )
            with self.ledger.write() as tx:
                owner = _owner(tx, stem, positions)
                if owner is not None and owner.hold is Hold.NONE:
                    tx.save_trade(replace(owner, hold=Hold.INVARIANT, version=owner.version + 1))
                tx.set_fact(_DOUBLED_FACT, json.dumps([*_doubled_told(tx), stem][-_MOST_TOLD:]))
            self.notifier.alert(AlertKind.QUARANTINED, stem if owner is None else str(owner.ticket), detail)

    def _tell(self, outcome: Outcome) -> None:
        """Write what has changed, and call for each orphan that is new."""
        known = {orphan.identifier for orphan in self._last().orphans}
        fresh = [orphan for orphan in outcome.orphans if orphan.identifier not in known]
        if outcome.full or not outcome.same(self.last):
            with self.ledger.write() as tx:
                tx.set_fact(RECONCILED_FACT, json.dumps(asdict(outcome)))
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
            self.last = Outcome(at=now, clean=False, full=False, confirmed=now)
        return self.last

    def _confirmed(self) -> Millis:
        return self._last().confirmed


def last_outcome(tx: LedgerRead) -> Outcome | None:
    """Return the last reconciliation that was written, None where there was none."""
    text = tx.fact(RECONCILED_FACT)
    if text is None:
        return None
    told = json.loads(text)
    told["orphans"] = tuple(Orphan(**orphan) for orphan in told["orphans"])
    told["missing"] = tuple(told["missing"])
    return Outcome(**told)


def orphan_on(tx: LedgerRead, symbol: str) -> Orphan | None:
    """Return an orphan on a symbol, where there is one: it may be the hedge that a lost record would have told of."""
    outcome = last_outcome(tx)
    return None if outcome is None else next((each for each in outcome.orphans if each.symbol == symbol), None)


def _doubled_told(tx: LedgerRead) -> list[str]:
    text = tx.fact(_DOUBLED_FACT)
    return [] if text is None else list(json.loads(text))


def _owner(tx: LedgerRead, stem: str, positions: set[int]) -> Trade | None:
    for trade in tx.open_trades():
        if positions & {trade.identifier, *trade.children}:
            return trade
        if any(intent.tag.startswith(stem) for intent in tx.intents(trade_id=trade.trade_id, limit=10_000)):
            return trade
    return None

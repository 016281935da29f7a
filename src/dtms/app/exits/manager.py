"""The exit manager's cycle: ask the defence, let the exit rules propose, write what the arbiter lets through.

It defers: while DTMS defends a trade it changes neither stop nor volume. What it believes of DTMS comes over HTTP and may
be a default; before it writes anything the ledger is asked too, and the ledger wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from dtms.app.exits.denials import Denials
from dtms.app.exits.facts import ExitFacts
from dtms.app.journal import journal
from dtms.app.market.market_data import MarketData, SymbolMarket
from dtms.app.market.risk_inputs import RiskInputs
from dtms.app.modes.clock_watch import ClockWatch
from dtms.app.modes.keeper import ModeKeeper
from dtms.app.modes.progress import Progress
from dtms.app.positions.facts import Ends
from dtms.app.views.snapshots import Snapshots, Standing
from dtms.app.views.trade_cache import TradeCache
from dtms.core.arbiter import review
from dtms.core.exits import deferral, denied, propose_all
from dtms.domain.action import resource_of
from dtms.domain.exits import ExitDecision, ExitSnapshot, ExitState, Proposal
from dtms.domain.intent import Intent, Planner
from dtms.domain.modes import Mode
from dtms.domain.policy.operation import OperationPolicy
from dtms.domain.position import PositionsRead
from dtms.domain.trade import Trade
from dtms.domain.units import Millis
from dtms.domain.verdict import KillLevel, Refusal, Snapshot
from dtms.errors import BrokerError, BrokerUnavailableError, LedgerError, MarketDataError, StaleWriteError
from dtms.ports.broker import BrokerReads
from dtms.ports.clock import Clock
from dtms.ports.defence import DefenceAnswer, DefenceState
from dtms.ports.ledger import Ledger
from dtms.ports.vix import VixHistory

_Cache = TypeVar("_Cache")


@dataclass(slots=True)
class ExitStats:
    """What the cycles of this process have done."""

    cycles: int = 0
    deferrals: int = 0
    fallbacks: int = 0
    proposals: int = 0
    refusals: int = 0
    lost_races: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class _Item:
    """One trade with its exit rules, as the ledger had them at the cycle's start."""

    trade: Trade
    book: ExitState
    busy: frozenset[str]
    defended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Belief:
    """Whether DTMS defends a trade, and whether somebody said so or it is the mandated default."""

    defensive: bool
    known: bool


class IntelligentExitManager(Generic[_Cache]):
    """Takes profit on every registered trade, and leaves it alone while DTMS defends it.

    Args:
        ledger: The truth for what was intended.
        reads: The broker's facts, from the gateway.
        clock: Market and boot time.
        desk: Quotes and indicators.
        new_rails: Makes a gatherer of facts for the one exit that may add risk (widening): it reads the account's record
            anew, which the DTMS server keeps.
        new_caches: Makes the 10 s and the 30 s cache of the query contract.
        connect: Makes the client that works on these two caches.
        modes: This process's causes of a lesser mode.
        progress: Told of symbols that cannot be read.
        denials: Calls a person for what the arbiter goes on denying.
        watch: Looks at the machine's clocks: after a jump nothing is proposed until a whole cycle was made.
        vix: Closes of the VIX.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        reads: BrokerReads,
        clock: Clock,
        desk: MarketData,
        new_rails: Callable[[], RiskInputs],
        new_caches: tuple[Callable[[], _Cache], Callable[[], _Cache]],
        connect: Callable[[_Cache, _Cache], DefenceState],
        modes: ModeKeeper,
        progress: Progress,
        denials: Denials,
        watch: ClockWatch,
        vix: VixHistory,
        on_deferral: Callable[[Trade], None] = lambda _trade: None,
        on_refusal: Callable[[Refusal], None] = lambda _refusal: None,
    ) -> None:
        new_state_cache, new_last_known_cache = new_caches
        self._dtms_state_cache = new_state_cache()
        self._dtms_last_known_cache = new_last_known_cache()
        self._defence = connect(self._dtms_state_cache, self._dtms_last_known_cache)
        self._ledger = ledger
        self._reads = reads
        self._clock = clock
        self._desk = desk
        self._snapshots = Snapshots(reads=reads, rails=new_rails)
        self.modes = modes
        self._progress = progress
        self._denials = denials
        self._watch = watch
        self._facts = ExitFacts(reads=reads, clock=clock, vix=vix)
        self._on_deferral = on_deferral
        self._on_refusal = on_refusal
        self._items: tuple[_Item, ...] = ()
        self._kill: KillLevel | None = None
        self._mode = Mode.NORMAL
        self.book = TradeCache(ledger)
        self._revision = -1
        self.stats = ExitStats()
        self.beat_ns = 0
        self.broke: BrokerError | None = None

    @property
    def watches(self) -> bool:
        """Say whether any trade has exit rules, as of the last cycle."""
        return bool(self._items)

    def _is_dtms_in_defensive_mode(self, ticket: int) -> bool:
        """Return whether DTMS alone may touch a trade: the query contract; never an exception.

        By the policy `ledger` what the ledger shows counts too, and one that cannot be read means: leave it alone.
        """
        defensive = self._defence.is_defensive(ticket)
        if defensive or not self._desk.policies.default.operation.asks_ledger:
            return defensive
        try:
            page = self.book.page()
        except LedgerError:
            return True
        return any(_defends(trade, page.of(trade.trade_id)) for trade in page.trades if trade.ticket == ticket)

    def cycle(self) -> None:
        """Run one cycle over all trades that have exit rules; `broke` says afterwards what it broke off on.

        Raises:
            LedgerError: Nothing can be written; the caller alarms and tries again.
        """
        self._watch.look()
        now = self._clock.market_now()
        self.stats.cycles += 1
        errors = self.stats.errors
        self.broke = None
        self._load()
        try:
            if self._items:
                self._run(now)
            self._progress.look((item.trade for item in self._items), now)
        except BrokerError as error:
            self.broke = error
            self.stats.errors += 1
            self._progress.erred("the exits' cycle broke off", "broker", error)
        else:
            self.beat_ns = self._clock.boot_ns()
            if self.stats.errors == errors:
                self._watch.passed()

    def _load(self) -> None:
        """Read trades and rules again where anybody has written since."""
        page = self.book.page()
        self._mode = self.modes.review(page)
        if page.revision == self._revision:
            return
        with self._ledger.read() as tx:
            books = tx.exit_books()
        trades = {trade.ticket: trade for trade in page.trades}
        self._kill = page.kill
        self._desk.learn(page.closures)
        items = []
        for book in books:
            trade = trades.get(book.ticket)
            if trade is None:
                continue
            mine = page.of(trade.trade_id)
            busy = frozenset(intent.resource.value for intent in mine)
            items.append(_Item(trade, book, busy, defended=any(intent.owner is Planner.DTMS for intent in mine)))
        self._items = tuple(items)
        self._revision = page.revision

    def _run(self, now: Millis) -> None:
        self._defence.begin_cycle()
        answers = self._defence.states([item.trade.ticket for item in self._items])
        changed: list[ExitState] = []
        kept: list[_Item] = []
        read: PositionsRead | None = None
        for item in self._items:
            answer = answers[item.trade.ticket]
            self.stats.fallbacks += answer.is_default
            snapshot = self._snapshot(item, answer, now)
            if snapshot is None:
                kept.append(item)
                continue
            desk = self._desk.symbol(item.trade.symbol, now)
            decision = propose_all(item.trade, item.book, snapshot, desk.policy.exits)
            defers = (
                _belief(item, answer, desk.policy.operation).defensive
                or item.trade.defensive
                or (item.defended and bool(decision.proposals))
            )
            if defers:
                self.stats.deferrals += 1
                self._on_deferral(item.trade)
            held = self._kill is KillLevel.PAUSE or self._watch.frozen
            if decision.proposals and (defers or held):
                decision = replace(decision, proposals=(), book=_observed(item.book, decision.book))
            if decision.proposals:
                read = self._reads.positions() if read is None else read
                decision = self._reviewed(item, decision, desk, read, now)
            if decision.proposals:
                self._write(item, decision, snapshot, desk, now)
                self._revision = -1
            elif _matters(item.book, decision.book):
                changed.append(decision.book)
            kept.append(replace(item, book=decision.book))
        self._items = tuple(kept)
        if changed:
            self._remember(changed)

    def _snapshot(self, item: _Item, answer: DefenceAnswer, now: Millis) -> ExitSnapshot | None:
        symbol = item.trade.symbol
        try:
            self._desk.quote(symbol, now)
            self._desk.poll_bars(symbol, now)
            desk = self._desk.symbol(symbol, now)
        except (MarketDataError, BrokerUnavailableError) as error:
            if isinstance(error, BrokerUnavailableError):
                self._reads.positions()  # is it this symbol alone?
            self.stats.errors += 1
            self._progress.unread(symbol, error, now)
            return None
        self._progress.read(symbol)
        known = _belief(item, answer, desk.policy.operation).known
        return self._facts.snapshot(item.trade, desk, now, known=known)

    def _reviewed(
        self, item: _Item, decision: ExitDecision, desk: SymbolMarket, read: PositionsRead, now: Millis
    ) -> ExitDecision:
        """Return the decision with what the arbiter lets through and nothing is under way for.

        What it refuses is proposed again on a later bar; a position that this read does not show is left alone.
        """
        if read.find(item.trade.identifier) is None:
            return replace(decision, proposals=(), book=_observed(item.book, decision.book))
        snap = self._snapshots.of(
            item.trade, read, desk, now, view=None, ends=Ends(), standing=Standing(kill=self._kill, mode=self._mode)
        )
        free = tuple(p for p in decision.proposals if resource_of(p.action).value not in item.busy)
        approved = tuple(p for p in free if self._approved(p, item.trade, snap, desk))
        kept = decision.book if approved else _observed(item.book, decision.book)
        refused = tuple(p for p in free if p not in approved)
        return replace(decision, proposals=approved, book=denied(kept, refused, now))

    def _write(
        self, item: _Item, decision: ExitDecision, snapshot: ExitSnapshot, desk: SymbolMarket, now: Millis
    ) -> None:
        """Write proposals that the arbiter approves, on condition that the trade is as it was read."""
        trade = item.trade
        try:
            with self._ledger.write() as tx:
                fresh = tx.trade_by_id(trade.trade_id)
                if fresh is None or fresh.version != trade.version or deferral(fresh):
                    self.stats.lost_races += 1
                    return
                tx.put_exit_book(decision.book)
                for proposal in decision.proposals:
                    self.stats.proposals += 1
                    tx.add_intent(
                        journal.new_intent(
                            fresh,
                            proposal.action,
                            decision_id=f"exit:{proposal.rule}v{fresh.version}@{snapshot.quote.at}",
                            owner=Planner.EXITS,
                            rule=proposal.rule,
                            now=now,
                            priced_expiry_s=desk.policy.operation.priced_expiry_s,
                            price_based=proposal.price_based,
                        )
                    )
        except StaleWriteError:
            self.stats.lost_races += 1

    def _approved(self, proposal: Proposal, trade: Trade, snap: Snapshot, desk: SymbolMarket) -> bool:
        answer = review(proposal.action, trade, snap, desk.policy, rule=proposal.rule).answer
        if isinstance(answer, Refusal):
            self.stats.refusals += 1
            self._on_refusal(answer)
            self._denials.denied(trade, answer, snap.now)
            return False
        return True

    def _remember(self, books: Iterable[ExitState]) -> None:
        """Write what the rules remember, all of a cycle in one transaction; a lost race is written on the next cycle."""
        try:
            with self._ledger.write() as tx:
                saved = [tx.put_exit_book(book) for book in books]
        except StaleWriteError:
            self._revision = -1
            return
        by_ticket = {book.ticket: book for book in saved}
        self._items = tuple(replace(item, book=by_ticket.get(item.trade.ticket, item.book)) for item in self._items)
        if self._ledger.revision() == self._revision + 1:
            self._revision += 1


def _belief(item: _Item, answer: DefenceAnswer, operation: OperationPolicy) -> _Belief:
    """Return what is believed of the defence: its answer, and where it is silent what the policy says.

    By `ledger` the ledger answers in its place: a defensive state, and an action of DTMS that is under way.
    """
    if not answer.is_default or not operation.asks_ledger:
        return _Belief(defensive=answer.defensive, known=not answer.is_default)
    return _Belief(defensive=item.trade.defensive or item.defended, known=True)


def _defends(trade: Trade, unfinished: Iterable[Intent]) -> bool:
    """Return whether the ledger shows that DTMS alone may touch a trade."""
    return trade.defensive or any(intent.owner is Planner.DTMS for intent in unfinished)


def _matters(before: ExitState, after: ExitState) -> bool:
    """Say whether anything changed that a restart must not lose."""
    return replace(after, quote_at=before.quote_at) != before


def _observed(before: ExitState, after: ExitState) -> ExitState:
    """Keep what was seen while a proposal is held back: the best price, nothing that counts as asked."""
    return replace(before, best=after.best, quote_at=after.quote_at, tightened=after.tightened)

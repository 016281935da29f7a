"""The defence's pass: read the broker, close bars, decide each trade, write what follows. The DTMS server's brain.

One pass is safe to run at any time and as often as wanted: what has not changed is not decided again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dtms.app.defence.runtime_invariants import RuntimeInvariants
from dtms.app.journal import journal
from dtms.app.market.market_data import MarketData, SymbolMarket
from dtms.app.market.risk_inputs import RiskInputs
from dtms.app.modes.clock_watch import ClockWatch
from dtms.app.modes.keeper import ModeKeeper
from dtms.app.modes.progress import Progress
from dtms.app.positions import legs
from dtms.app.positions.facts import Ends, FactKeeper
from dtms.app.positions.hold import hold
from dtms.app.views.snapshots import Snapshots, Standing
from dtms.app.views.trade_cache import TradeCache
from dtms.core import machine
from dtms.core.decide import decide
from dtms.core.settle import SettleContext
from dtms.domain.intent import Intent
from dtms.domain.modes import Cause, Mode
from dtms.domain.position import PositionsRead
from dtms.domain.score import MarketView
from dtms.domain.trade import Hold, Trade, TradeState
from dtms.domain.units import Millis
from dtms.domain.verdict import KillLevel, Verdict
from dtms.errors import (
    BrokerError,
    BrokerUnavailableError,
    DtmsError,
    InvariantError,
    MarketDataError,
    StaleWriteError,
)
from dtms.ports.broker import BrokerReads
from dtms.ports.clock import Clock
from dtms.ports.crash import CrashPoints
from dtms.ports.ledger import Ledger
from dtms.ports.notifier import AlertKind


@dataclass(slots=True)
class MonitorStats:
    """What the passes of this process have done."""

    passes: int = 0
    decisions: int = 0
    transitions: int = 0
    refusals: int = 0
    errors: int = 0
    last_check: Millis | None = None


@dataclass(slots=True, kw_only=True)
class Monitor:
    """Watches every open trade of one account."""

    ledger: Ledger
    reads: BrokerReads
    clock: Clock
    desk: MarketData
    rails: RiskInputs
    facts: FactKeeper
    sentry: RuntimeInvariants
    crash: CrashPoints
    modes: ModeKeeper
    watch: ClockWatch
    progress: Progress
    on_verdict: Callable[[Verdict, MarketView | None], None] = lambda _verdict, _view: None
    stats: MonitorStats = field(default_factory=MonitorStats)
    beat_ns: int = 0
    broke: BrokerError | None = None
    """What the last pass broke off on, None where it was whole."""
    book: TradeCache = field(init=False)
    _open_count: int = 0
    _mode: Mode = Mode.NORMAL
    _snapshots: Snapshots = field(init=False)

    def __post_init__(self) -> None:
        self.book = TradeCache(self.ledger)
        self._snapshots = Snapshots(reads=self.reads, rails=lambda: self.rails)

    def tick(self) -> None:
        """Run one pass.

        Raises:
            LedgerError: Nothing can be written; the caller alarms and tries again, the broker's stops stay.
        """
        self.watch.look()
        now = self.clock.market_now()
        self.stats.passes += 1
        errors = self.stats.errors
        self.stats.last_check = now
        self.broke = None
        try:
            self._pass(now)
        except BrokerError as error:
            self.broke = error
            self._erred("the pass broke off", "broker", error)
            naked_s = self.desk.policies.default.operation.naked_alarm_s
            self.facts.naked.alarm_blind(self.book.page().trades, now, naked_s)
        else:
            self.beat_ns = self.clock.boot_ns()
            if self.stats.errors == errors:
                self.watch.passed()

    def next_wake(self) -> Millis | None:
        """Return the next instant at which a pass may decide something without a new quote, None where there is none.

        Closed bars, deadlines, held-back steps, and positions that were missed once; market closes are found by the
        periodic pass.
        """
        now = self.clock.market_now()
        page = self.book.page()
        instants = [self.desk.next_wake(), self.facts.absences.next_check(now)]
        instants += [trade.deadline for trade in page.trades]
        instants += [trade.pending.retry_at for trade in page.trades if trade.pending is not None]
        return min((at for at in instants if at is not None and at > now), default=None)

    def _pass(self, now: Millis) -> None:
        page = self.book.page()
        self._mode = self.modes.review(page)
        self.desk.learn(page.closures)
        if len(page.trades) < self._open_count:
            self.rails.changed()
        self._open_count = len(page.trades)
        if self.rails.due(now):
            self.rails.sample(self.reads.account(), now)
        elif Cause.STOP_OUT in self.modes.active():
            self.reads.account()  # its margin level ends the cause
        self._market(page.trades, now)
        self.progress.listen(page.trades, now)
        self._mode = self.modes.review(page)
        if page.trades:
            read = self.reads.positions()
            readable = frozenset(self.desk.symbols())
            for trade in page.trades:
                if trade.symbol not in readable:
                    # It was never read since the start: `progress` has it. What it is not any more is seen all the same.
                    self.facts.renamed(trade, read, page.of(trade.trade_id), self.desk.policies.default)
                    continue
                try:
                    self._trade(trade, page.of(trade.trade_id), read, page.kill, now)
                except MarketDataError as error:
                    # This trade keeps its state; the others are decided.
                    self._erred("a trade was not decided", str(trade.ticket), error)
                except InvariantError as error:
                    self._observe_only(trade, error)
        page = self.book.page()
        self.progress.look(page.trades, now)
        self.modes.review(page)

    def _erred(self, what: str, subject: str, error: DtmsError) -> None:
        self.stats.errors += 1
        self.progress.erred(what, subject, error)

    def _observe_only(self, trade: Trade, error: InvariantError) -> None:
        """Leave a trade alone on which a law was broken, and go on with the others."""
        self._erred("a law was broken", str(trade.ticket), error)
        with self.ledger.write() as tx:
            if not hold(tx, tx.trade_by_id(trade.trade_id), Hold.INVARIANT):
                return
        self.facts.notifier.alert(AlertKind.QUARANTINED, str(trade.ticket), f"observed only from now on: {error}")

    def _market(self, trades: tuple[Trade, ...], now: Millis) -> None:
        """Take in quotes and close bars; one symbol that cannot be read leaves the others their decisions.

        Raises:
            BrokerError: The broker does not answer at all.
        """
        for symbol in dict.fromkeys((*self.desk.symbols(), *(trade.symbol for trade in trades))):
            try:
                self.desk.quote(symbol, now)
                self.desk.poll_bars(symbol, now)
            except (MarketDataError, BrokerUnavailableError) as error:
                if isinstance(error, BrokerUnavailableError):
                    self.reads.positions()  # is it this symbol alone?
                self.stats.errors += 1
                self.progress.unread(symbol, error, now)
            else:
                self.progress.read(symbol)

    def _trade(
        self,
        trade: Trade,
        unfinished: tuple[Intent, ...],
        read: PositionsRead,
        kill: KillLevel | None,
        now: Millis,
    ) -> None:
        desk = self.desk.symbol(trade.symbol, now)
        view = None if self.watch.frozen else _undecided(trade, desk)
        ends = self.facts.ends(trade, read, unfinished, desk.policy)
        if ends.another and not ends.gone:
            return  # what is there is not the trade: nothing of it is taken over, and nothing is decided on it
        if not ends.gone:
            self.sentry.before(trade, read, unfinished, desk.instrument)
            trade = self.facts.reconcile(trade, read, unfinished, desk)
            legs.follow(self.ledger, trade, unfinished, desk, now)
            self.sentry.after(trade, read, now, desk.instrument)
        if view is None and not self._due(trade, ends, desk, now):
            return
        standing = Standing(kill=kill, mode=self._mode)
        snap = self._snapshots.of(trade, read, desk, now, view=view, ends=ends, standing=standing)
        observed = trade if view is None else machine.observe(trade, view)
        verdict = decide(snap, observed, desk.policy)
        self.stats.decisions += 1
        self.stats.refusals += len(verdict.refusals)
        self.on_verdict(verdict, view)
        self._write(trade, observed, verdict, desk, view, now)

    def _due(self, trade: Trade, ends: Ends, desk: SymbolMarket, now: Millis) -> bool:
        """Say whether something other than a closed bar may change the trade now.

        After a jump of the clocks nothing that time alone asks for, until a whole pass was made.
        """
        if self.watch.frozen:
            return ends.gone or ends.hedge_gone
        pending = trade.pending
        retry = pending is not None and pending.retry_at is not None and now >= pending.retry_at
        overdue = machine.overdue(trade, now, desk.hours)
        closing = trade.state is TradeState.HEDGED and machine.before_long_close(
            now, desk.hours, desk.policy.machine.before_close_minutes, desk.policy.machine
        )
        return ends.gone or ends.hedge_gone or retry or overdue or closing

    def _write(
        self,
        read_trade: Trade,
        observed: Trade,
        verdict: Verdict,
        desk: SymbolMarket,
        view: MarketView | None,
        now: Millis,
    ) -> None:
        """Write a decision on condition that the trade is as it was read; else the next pass decides it anew."""
        scene = SettleContext(now=now, instrument=desk.instrument, hours=desk.hours, policy=desk.policy)
        regime = "" if view is None else _regime_words(view, observed)
        self.crash.reach("server.before_decision")
        try:
            with self.ledger.write() as tx:
                if verdict.row is not None:
                    journal.write_verdict(tx, observed, verdict, scene, regime=regime)
                elif observed is not read_trade:
                    journal.resume(tx, tx.save_trade(observed), scene, regime=regime)
                else:
                    journal.resume(tx, observed, scene, regime=regime)
        except StaleWriteError as error:
            self._erred("somebody else wrote first", str(read_trade.ticket), error)
            return
        self.crash.reach("server.decided")
        if verdict.row is not None:
            self.stats.transitions += 1


def _undecided(trade: Trade, desk: SymbolMarket) -> MarketView | None:
    """Return the newest bar where this trade has not been decided on it yet.

    Classified by the trade's own record, so that a lost race, a restart or an outage decides the newest bar once, and only
    that one.
    """
    view = desk.view
    if view is None or view.at <= trade.registered_at or (trade.last_bar is not None and view.at <= trade.last_bar):
        return None
    return view


def _regime_words(view: MarketView, trade: Trade) -> str:
    regime = view.score(trade.side).regime
    return f"{regime.session}/{regime.volatility}/{regime.structure}"

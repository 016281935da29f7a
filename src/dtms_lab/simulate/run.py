"""`dtms simulate`: a tape through the whole system, beside the same entries left to their stop and target."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus

from dtms.domain.market import Quote
from dtms.domain.policy import Policies
from dtms.domain.score import MarketView
from dtms.domain.trade import Trade
from dtms.domain.units import Millis, Side
from dtms.domain.verdict import Refusal, Verdict
from dtms.errors import MarketDataError
from dtms_lab.instruments import InstrumentBook, open_book
from dtms_lab.laws.invariants import Books, Violation, check, naked_ms, read_books
from dtms_lab.simulate.entries import Entries, Order, order_for
from dtms_lab.simulate.entry import ENTRY_MAGIC, WARM_UP_BARS, Entry, money_of, open_at, views_of
from dtms_lab.simulate.report import Findings, TradeResult
from dtms_lab.simulate.services import API_URL, MAGIC, SERVER_URL, TOKEN, Services, Told
from dtms_lab.simulate.tapes import bars_run, covering
from dtms_lab.simulate.wire import ask
from dtms_lab.simulate.world import World, make_world
from dtms_lab.tapes.tape import Doubt, Tape
from dtms_lab.terminal.driver import TapeEvent
from dtms_lab.terminal.oracle import OracleLog
from dtms_lab.terminal.records import AccountSpec
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.terminal import SimTerminal


@dataclass(slots=True, kw_only=True)
class Tally:
    """What is counted while the tape runs."""

    bars: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    views: list[MarketView] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    rails: Counter[tuple[str, bool]] = field(default_factory=Counter)
    deferrals: int = 0

    def on_verdict(self, verdict: Verdict, _view: MarketView | None) -> None:
        """Take a decision."""
        self.verdicts.append(verdict)
        self.refusals.extend(verdict.refusals)
        self.rails.update(verdict.rails)

    def on_deferral(self, _trade: Trade) -> None:
        """Count a cycle in which the exit manager left a trade alone."""
        self.deferrals += 1

    def on_refusal(self, refusal: Refusal) -> None:
        """Take an exit that the arbiter refused."""
        self.refusals.append(refusal)


@dataclass(slots=True, kw_only=True)
class Run:
    """One simulation: the world, its entries, and the shadow account of the unmanaged twins."""

    world: World
    symbol: str
    signals: Entries
    shadow: SimServer
    shadow_terminal: SimTerminal
    tally: Tally
    notes: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    entries: list[Entry] = field(default_factory=list)
    _signal: Side | None = None
    _seen_view: Millis = Millis(0)
    _warm: bool = False

    def run(self) -> None:
        """Let the tape run to its end."""
        while self.world.step():
            self._watch_bars()

    def _warm_up(self) -> None:
        """Show the entries the history before the run, as a program sees it that has been running; nothing is opened."""
        if self._warm:
            return
        desk = self.world.services.desk.symbol(self.symbol, self.world.clock.now)
        # What has closed since the run began is no history: it is acted on below.
        for view in views_of(self.world.driver.history(self.symbol)[-WARM_UP_BARS:], desk, self.world.driver.start):
            self._seen_view = view.at
            self.signals.on_bar(view)
        self._warm = True

    def on_event(self, event: TapeEvent) -> None:
        """Let the other program act on a market event, before the services see it."""
        if event.quote is None or event.symbol != self.symbol:
            return
        self.shadow.on_quote(event.quote)
        self._watch_bars()
        if self._signal is not None:
            side, self._signal = self._signal, None
            self._enter(side, event.quote)

    def _watch_bars(self) -> None:
        try:
            self._warm_up()
        except MarketDataError:
            return  # the broker's market cannot be seen before its first quotes
        view = self.world.services.desk.symbol(self.symbol, self.world.clock.now).view
        if view is None or view.at <= self._seen_view:
            return
        self._seen_view = view.at
        self.tally.views.append(view)
        signal = self.signals.on_bar(view)
        if signal is not None:
            self._signal = signal

    def _enter(self, side: Side, quote: Quote) -> None:
        held = [
            p for p in self.world.broker.positions().positions if p.symbol == self.symbol and p.magic == ENTRY_MAGIC
        ]
        if len(held) >= self.signals.max_open:
            return
        desk = self.world.services.desk.symbol(self.symbol, self.world.clock.now)
        atr = desk.atr
        order = None if atr is None else order_for(self.signals, side, quote, atr, desk.instrument)
        if order is None:
            return
        ticket = open_at(self.world.terminal, self.symbol, order)
        twin = open_at(self.shadow_terminal, self.symbol, order)
        if ticket is None or twin is None:
            return
        entry_price = quote.opening(side)
        risk = desk.instrument.money(abs(entry_price - order.stop), order.volume)
        entry = Entry(
            ticket=ticket,
            identifier=ticket,
            twin=twin,
            side=side,
            volume=order.volume,
            risk_money=risk,
            spread_money=desk.instrument.money(quote.spread, order.volume),
            opened_at=self.world.clock.now,
            registered=False,
        )
        self.entries.append(entry)
        self._register(entry, order, entry_price)

    def _register(self, entry: Entry, order: Order, price: float) -> None:
        """Do what an adopting program does: register with the DTMS server, then give the trade its exit rules."""
        asked = {
            "ticket": entry.ticket,
            "symbol": self.symbol,
            "direction": entry.side.name,
            "entry": price,
            "volume": entry.volume,
            "stop_loss": order.stop,
            "take_profit": order.target,
        }
        status, answer = ask(self.world.services.dtms.app, "POST", f"{SERVER_URL}/dtms/trade/enable", TOKEN, asked)
        if status != HTTPStatus.CREATED:
            entry.refused = f"{answer.get('code')}: {answer.get('detail')}"
            return
        entry.registered = True
        policy = self.world.policies.default.exits
        rules = {"profile": policy.default_profile}
        status, answer = ask(self.world.services.api, "PUT", f"{API_URL}/api/exits/{entry.ticket}", TOKEN, rules)
        if status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            entry.refused = f"{answer.get('code')}: {answer.get('detail')}"


def make_run(
    tape: Tape,
    *,
    policies: Policies,
    signals: Entries,
    start: Millis | None = None,
    instruments: InstrumentBook | None = None,
    ledger_url: str = "sqlite://",
) -> Run:
    """Return a simulation of one tape, ready to run; its ledger is in memory unless another is named.

    A symbol that is not in `instruments` (the shipped ones by default) is derived by its class.

    Raises:
        SettingsError: The tape is coarser than an hour, or empty.
    """
    book = covering(tape, open_book() if instruments is None else instruments)
    begin = tape.first if start is None else start
    tally = Tally(bars=bars_run(tape, begin))
    world = make_world(
        [tape],
        policies=policies,
        start=start,
        account=AccountSpec(balance=signals.balance),
        instruments=book,
        ledger_url=ledger_url,
        told=Told(verdict=tally.on_verdict, deferral=tally.on_deferral, refusal=tally.on_refusal),
    )
    shadow = SimServer(
        now=world.clock.market_now,
        account=AccountSpec(balance=signals.balance),
        specs=book.specs,
        usd_rates=book.usd_rates,
        recorder=OracleLog(),
    )
    shadow_terminal = SimTerminal(shadow)
    shadow_terminal.initialize()
    run = Run(
        world=world,
        symbol=tape.symbol,
        signals=signals,
        shadow=shadow,
        shadow_terminal=shadow_terminal,
        tally=tally,
        notes=tape.notes,
        doubts=tape.doubts,
    )
    world.on_event = run.on_event
    return run


def findings(run: Run) -> Findings:
    """Return everything that the report of a finished run is made of."""
    world = run.world
    now = world.clock.now
    books = read_books(world.ledger, magic=MAGIC)
    entries = world.oracle.entries
    with world.ledger.read() as tx:
        transitions = tx.transitions(limit=10_000_000)
    return Findings(
        symbol=run.symbol,
        bars=run.tally.bars,
        results=tuple(_result(run, entry, books) for entry in run.entries),
        trades=books.trades,
        transitions=transitions,
        intents=books.intents,
        refusals=tuple(run.tally.refusals),
        rails=run.tally.rails,
        deferrals=run.tally.deferrals,
        fallbacks=world.services.exits.manager.stats.fallbacks,
        naked_ms=naked_ms(entries, books, now),
        violations=(*check(entries, books, until=now), *_own_faults(world.services)),
        failed_passes=Counter(f"{each.who} {type(each.error).__name__}" for each in world.services.failures),
        verdicts=tuple(run.tally.verdicts),
        views=tuple(run.tally.views),
        assumptions=(*run.notes, *world.driver.assumptions),
        doubts=run.doubts,
        refused_entries=tuple(entry.refused for entry in run.entries if entry.refused),
    )


def _own_faults(services: Services) -> tuple[Violation, ...]:
    """Return the passes that failed on a fault of ours: live a person is called, here it is what the run found."""
    return tuple(
        Violation(law="no pass fails on a fault of ours", at=each.at, position=0, detail=f"{each.who}: {each.error!r}")
        for each in services.failures
        if each.own
    )


def _result(run: Run, entry: Entry, books: Books) -> TradeResult:
    trade = next((t for t in books.trades if t.identifier == entry.identifier), None)
    children = () if trade is None else trade.children
    managed = money_of(run.world.terminal, (entry.identifier, *children))
    unmanaged = money_of(run.shadow_terminal, (entry.twin,))
    return TradeResult(
        ticket=entry.ticket,
        risk_money=entry.risk_money,
        managed=managed.net,
        unmanaged=unmanaged.net,
        costs=managed.costs + entry.spread_money,
        closed=not managed.is_open,
    )

"""One simulated broker with gateway, fact keeper and registry on it, on virtual time; scores are said by the test.

The broker, the adapter, the ledger and every service are the real ones. Only the market is by hand: a test pushes quotes,
and says the score and the ATR of the bar that a decision is made on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.ledger.choice import CHOSEN

from dtms import bootstrap
from dtms.adapters.clocks import VirtualClock
from dtms.adapters.mt5 import Mt5Broker, Mt5Sender
from dtms.adapters.notify import MemoryNotifier
from dtms.app.commands.registration import Registration
from dtms.app.gateway.cycle import GatewayPass
from dtms.app.gateway.executor import Executor
from dtms.app.journal import journal
from dtms.app.reconcile.reconciler import Reconciler
from dtms.bootstrap import Parts, Server
from dtms.core import machine
from dtms.core.decide import decide
from dtms.core.settle import SettleContext
from dtms.domain.action import Action
from dtms.domain.calendar import MarketHours
from dtms.domain.intent import Intent
from dtms.domain.market import Quote
from dtms.domain.modes import Mode
from dtms.domain.policy import Policies, Policy
from dtms.domain.position import Deal, Position, PositionsRead, WorkingOrder
from dtms.domain.receipt import Receipt
from dtms.domain.score import (
    Confluence,
    Indicators,
    MarketView,
    Regime,
    Score,
    Session,
    Structure,
    StructureEvent,
    StructureEventKind,
    Volatility,
)
from dtms.domain.server_offset import SeenOffset
from dtms.domain.trade import Trade
from dtms.domain.units import HOUR, MINUTE, SECOND, Millis, Side, Ticket, TradeId
from dtms.domain.verdict import RailFacts, Snapshot, Verdict
from dtms.errors import BrokerUnavailableError, OutcomeUnknownError
from dtms.ports.notifier import AlertKind
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.dealer import AS_ASKED, Fill
from dtms_lab.terminal.oracle import OracleLog
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.records import AccountSpec, Request
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.server_time import eet_new_york_dst
from dtms_lab.terminal.terminal import SimTerminal

T0 = Millis(1_750_161_600_000)
"""A Tuesday, 12:00 UTC: every market is open."""
SYMBOL = "XAUUSD"
ATR = 4.0
SPREAD = 0.2
HAND = Mt5.DEAL_REASON_CLIENT
CALM = RailFacts(
    day_loss=0.0,
    hour_loss=0.0,
    losing_streak=0,
    news="",
    news_known=True,
    spread=SPREAD,
    spread_median=SPREAD,
    margin_level=1_000.0,
    quote_stale=False,
)
"""Nothing that would deny an increase of risk."""


class Killed(BaseException):
    """The process was killed here: no handler of the product may catch it."""


@dataclass(slots=True)
class Crash:
    """Crash points that kill on the n-th time a name is reached, and count what was reached."""

    at: str = ""
    times: int = 1
    reached: Counter[str] = field(default_factory=Counter)

    def reach(self, name: str) -> None:
        self.reached[name] += 1
        if name == self.at and self.reached[name] == self.times:
            raise Killed(name)


@dataclass(slots=True)
class Unsure:
    """Sends through the real sender, or loses the way there or back, as `fate` says of each action."""

    sender: Mt5Sender
    fate: Callable[[Action], str] = lambda _action: "answered"
    sent: list[tuple[Action, str]] = field(default_factory=list)
    before: Callable[[str], None] = lambda _tag: None
    placed: int | None = None

    def send(self, action: Action, *, position: Position | None, tag: str) -> Receipt:
        self.before(tag)
        self.sent.append((action, tag))
        match self.fate(action):
            case "not_sent":
                msg = "the link is down"
                raise BrokerUnavailableError(msg)
            case "lost_on_the_way":
                msg = "no answer"
                raise OutcomeUnknownError(msg)
            case "killed":
                self.sender.send(action, position=position, tag=tag)
                raise Killed("in order_send")
            case "placed":
                self.placed = self.sender.send(action, position=position, tag=tag).order
                msg = "placed"
                raise OutcomeUnknownError(msg, order=self.placed, code=10008)
            case "answer_lost":
                self.sender.send(action, position=position, tag=tag)
                msg = "no answer"
                raise OutcomeUnknownError(msg)
            case _:
                return self.sender.send(action, position=position, tag=tag)


@dataclass(slots=True)
class Blink:
    """The broker's reads with what a bad link makes of them; of a hidden position its deals are hidden too.

    `shown` is what becomes of each position: a renamed symbol, another contract.
    """

    reads: Mt5Broker
    hidden: set[int] = field(default_factory=set)
    flat: bool = False
    no_deals: bool = False
    down: bool = False
    stuck: PositionsRead | None = None
    shown: Callable[[Position], Position] = lambda position: position
    working: tuple[WorkingOrder, ...] = ()

    def positions(self) -> PositionsRead:
        if self.down:
            msg = "the link is down"
            raise BrokerUnavailableError(msg)
        if self.stuck is not None:
            return self.stuck
        read = self.reads.positions()
        left = () if self.flat else tuple(self.shown(p) for p in read.positions if p.identifier not in self.hidden)
        return replace(read, positions=left)

    def deals(self, position: int) -> tuple[Deal, ...]:
        return () if self.no_deals or position in self.hidden else self.reads.deals(position)

    def deals_between(self, start: Millis, end: Millis) -> tuple[Deal, ...]:
        found = () if self.no_deals else self.reads.deals_between(start, end)
        return tuple(deal for deal in found if deal.position not in self.hidden)

    def working_orders(self) -> tuple[WorkingOrder, ...]:
        return (*self.reads.working_orders(), *self.working)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reads, name)


@dataclass(slots=True)
class Refusing:
    """A dealer that refuses what it is told to, with a code, and fills no more than it is told to, or otherwise than asked."""

    refuses: Callable[[Request], int | None] = lambda _request: None
    fills: Callable[[Request], float | None] = lambda _request: None
    keeps: Callable[[Request], Fill] = lambda _request: AS_ASKED

    def answer(self, request: Request, quote: Quote | None) -> Fill:
        return replace(self.keeps(request), retcode=self.refuses(request), volume=self.fills(request))


class Rig:
    """Everything around one account at the simulated broker."""

    def __init__(
        self, *, account: AccountSpec | None = None, policy: Policy | None = None, crash: Crash | None = None
    ) -> None:
        self.crash = Crash() if crash is None else crash
        self.policy = Policy() if policy is None else policy
        self.policies = Policies(default=replace(self.policy, spread_typical=SPREAD))
        self.clock = VirtualClock(T0)
        self.oracle = OracleLog()
        self.dealer = Refusing()
        self.sim = SimServer(
            now=self.clock.market_now, account=account or AccountSpec(), recorder=self.oracle, dealer=self.dealer
        )
        self.price(2_000.0)
        self.terminal = SimTerminal(self.sim)
        self.broker = Mt5Broker(
            self.terminal,
            expected_login=None,
            expected_server=None,
            magic=77,
            clock=self.clock.market_now,
        )
        self.broker.recall_offset(SeenOffset(ahead=eet_new_york_dst(T0), at=T0))
        key = self.broker.connect().key
        self.ledger = CHOSEN.open(key, self.clock.market_now, epoch="test")
        self.notifier = MemoryNotifier()
        self.reads = Blink(self.broker)
        self.writes = Unsure(Mt5Sender(self.broker))
        self.verdicts: list[Verdict] = []
        self.server: Server
        self.executor: Executor
        self.start()

    @property
    def parts(self) -> Parts:
        return Parts(
            ledger=self.ledger, clock=self.clock, policies=self.policies, notifier=self.notifier, crash=self.crash
        )

    def start(self, *, epoch: int = 1, advisory: bool = False) -> None:
        """Start every service anew on the same ledger and broker; what the old ones remembered is lost."""
        reads: Any = self.reads
        desk = bootstrap.make_desk(self.parts, reads, scored=False)
        self.server = bootstrap.make_server(
            self.parts, reads, desk, advisory=advisory, on_verdict=lambda verdict, _view: self.verdicts.append(verdict)
        )
        self.executor = bootstrap.make_executor(self.parts, reads, None if advisory else self.writes, epoch=epoch)
        self.executor.recover()

    def work(self, reconciler: Reconciler | None = None, **changes: Any) -> GatewayPass:
        """Return what the gateway's thread runs, over the executor as it is now."""
        compares = reconciler or bootstrap.make_reconciler(
            self.parts,
            self.executor.reads,
            account=self.broker.account().key,
            magic=77,
            causes=self.executor.modes,
            book=self.executor.book,
        )
        return bootstrap.make_gateway_pass(self.parts, self.executor, compares, self.broker, **changes)

    # ----- the market and the hand

    def price(self, bid: float, spread: float = SPREAD) -> None:
        """Let a quote come now."""
        self.sim.on_quote(Quote(symbol=SYMBOL, at=self.clock.now, bid=bid, ask=round(bid + spread, 2)))

    def wait(self, seconds: float) -> None:
        """Let time pass without a quote."""
        self.clock.sleep(seconds)

    def order(self, **fields: Any) -> Any:
        """Send a request as another program or a hand would."""
        return self.sim.send(Request(symbol=SYMBOL, type_filling=Mt5.ORDER_FILLING_IOC, **fields), reason=HAND)

    def open(
        self, side: Side = Side.BUY, *, volume: float = 1.0, stop: float | None = 1_990.0, target: float | None = None
    ) -> Position:
        """Open a position by hand."""
        kind = Mt5.ORDER_TYPE_BUY if side is Side.BUY else Mt5.ORDER_TYPE_SELL
        done = self.order(action=Mt5.TRADE_ACTION_DEAL, type=kind, volume=volume, sl=stop or 0.0, tp=target or 0.0)
        assert done.retcode == Mt5.TRADE_RETCODE_DONE, done
        return next(p for p in self.broker.positions().positions if p.ticket == done.order)

    def hand_stop(self, ticket: int, stop: float | None, target: float | None = None) -> None:
        """Change stop and target by hand."""
        done = self.order(action=Mt5.TRADE_ACTION_SLTP, position=ticket, sl=stop or 0.0, tp=target or 0.0)
        assert done.retcode == Mt5.TRADE_RETCODE_DONE, done

    def hand_close(self, ticket: int, volume: float | None = None) -> None:
        """Close a position, or a part of it, by hand."""
        held = next(p for p in self.broker.positions().positions if p.ticket == ticket)
        kind = Mt5.ORDER_TYPE_SELL if held.side is Side.BUY else Mt5.ORDER_TYPE_BUY
        done = self.order(
            action=Mt5.TRADE_ACTION_DEAL, type=kind, position=ticket, volume=held.volume if volume is None else volume
        )
        assert done.retcode == Mt5.TRADE_RETCODE_DONE, done

    # ----- the system

    def register(self, position: Position, **changes: Any) -> Trade:
        """Register a position, and let the gateway do what follows."""
        wanted = Registration(
            ticket=position.ticket,
            symbol=position.symbol,
            side=position.side,
            entry=position.entry,
            volume=position.volume,
            stop=position.stop,
            target=position.target,
        )
        registered = self.server.registry.register(replace(wanted, **changes))
        self.carry_out()
        return self.trade(registered.trade.ticket)

    def managed(self, side: Side = Side.BUY, **changes: Any) -> Trade:
        """Open a position by hand and register it: a BUY is filled at 2,000.20, a SELL at 2,000.00."""
        stop = changes.pop("stop", 1_990.0 if side is Side.BUY else 2_010.2)
        return self.register(self.open(side, stop=stop, **changes))

    def carry_out(self, most: int = 50) -> int:
        """Let the gateway work until nothing changes any more; a loop without an end is a failure."""
        for rounds in range(most):
            if not self.executor.tick():
                return rounds
        msg = f"the gateway was still at work after {most} rounds"
        raise AssertionError(msg)

    def settle(self, most: int = 50) -> int:
        """Let monitor and gateway work until nothing changes any more at this instant."""
        self.server.monitor.tick()
        for rounds in range(most):
            if not self.executor.tick():
                return rounds
            self.server.monitor.tick()
        msg = f"monitor and gateway were still at work after {most} rounds"
        raise AssertionError(msg)

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass with a pass of every service each `step` seconds."""
        end = self.clock.now + seconds * SECOND
        while self.clock.now < end:
            self.wait(step)
            self.settle()

    def trade(self, ticket: int) -> Trade:
        with self.ledger.read() as tx:
            found = tx.trade(Ticket(ticket))
        assert found is not None
        return found

    def put(self, trade: Trade) -> Trade:
        """Write a trade as a test wants it."""
        with self.ledger.write() as tx:
            return tx.save_trade(trade)

    def intents(self, trade: Trade) -> tuple[Intent, ...]:
        with self.ledger.read() as tx:
            return tx.intents(trade_id=trade.trade_id)

    def rows(self, trade: Trade) -> list[str]:
        """The rows that were committed, oldest first."""
        with self.ledger.read() as tx:
            return [record.row for record in tx.transitions(trade.trade_id)]

    def position(self, identifier: int) -> Position | None:
        return self.broker.positions().find(identifier)

    def others(self, trade: Trade) -> tuple[Position, ...]:
        """The positions beside the trade's own."""
        return tuple(p for p in self.broker.positions().positions if p.identifier != trade.identifier)

    def applied(self, *kinds: AppliedKind) -> int:
        """How many operations of these kinds the broker has applied."""
        return len(self.oracle.of(*kinds))

    def alerts(self) -> list[str]:
        """The kinds of all alerts but those that tell a mode, which accompany others."""
        return [alert.kind.value for alert in self.notifier.alerts if alert.kind is not AlertKind.MODE]

    # ----- decisions

    def snapshot(self, trade: Trade, **changes: Any) -> Snapshot:
        """What a decision sees now, with a quiet market."""
        quote = self.broker.quote(SYMBOL)
        instrument = self.broker.instrument(SYMBOL)
        base = Snapshot(
            now=self.clock.now,
            instrument=instrument,
            account=self.broker.account(),
            hours=MarketHours(instrument.asset),
            quote=quote,
            quote_stale=False,
            view=None,
            score=None,
            indicators=indicators(),
            gone=False,
            hedge_gone=False,
            rails=CALM,
            kill=None,
            mode=Mode.NORMAL,
            commission_per_lot=0.0,
            swap_per_lot=0.0,
            oldest_on_symbol=True,
        )
        return replace(base, **changes)

    def next_bar(self, price: float | None = None) -> None:
        """Let five minutes pass; a quote comes at their end."""
        self.wait(300)
        self.price(self.broker.quote(SYMBOL).bid if price is None else price)

    def turned(self, trade: Trade) -> Verdict:
        """Decide on a bar with a change of character against the trade."""
        kind = StructureEventKind.CHARACTER_DOWN if trade.side is Side.BUY else StructureEventKind.CHARACTER_UP
        return self.decide(trade, None, events=(StructureEvent(kind=kind, at=self.clock.now),))

    def decide(
        self, trade: Trade, score: float | None = None, *, events: tuple[StructureEvent, ...] = (), **seen: Any
    ) -> Verdict:
        """Decide on a bar with this score and write what follows; the gateway has not acted yet."""
        trade = self.trade(trade.ticket)
        view = bar(self.clock.now, trade.side, score, events)
        snap = self.snapshot(trade, **{"view": view, "score": score, **seen})
        fresh = replace(trade, bars_in_state=5, bars_since_registration=5)
        observed = machine.observe(fresh, view)
        verdict = decide(snap, observed, self.policy)
        with self.ledger.write() as tx:
            if verdict.row is None:
                tx.save_trade(observed)
            else:
                journal.write_verdict(tx, observed, verdict, self.scene())
        return verdict

    def scene(self) -> SettleContext:
        instrument = self.broker.instrument(SYMBOL)
        return SettleContext(
            now=self.clock.now, instrument=instrument, hours=MarketHours(instrument.asset), policy=self.policy
        )

    def fall(self, trade: Trade, *scores: float) -> Trade:
        """Decide on one bar a score, each five minutes later, carrying everything out."""
        for score in scores:
            self.next_bar()
            self.decide(trade, score)
            self.carry_out()
        return self.trade(trade.ticket)

    def hedged(self, side: Side = Side.BUY, **changes: Any) -> Trade:
        """Return a trade that is HEDGED with an open hedge of a quarter of the first volume."""
        trade = self.fall(self.managed(side, **changes), -2.0, -4.0, -6.0)
        assert trade.hedge is not None
        return trade


def indicators(atr: float | None = ATR) -> Indicators:
    return Indicators(
        atr_m5=atr,
        atr_m15=atr,
        squeeze=False,
        extension=0.0,
        extension_p90=None,
        ema50_m15_slope=0.0,
        ema200_m15_slope=0.0,
        ema50_h1_slope=0.0,
        vwap=None,
    )


def bar(at: int, side: Side, score: float | None, events: tuple[StructureEvent, ...] = ()) -> MarketView:
    """The view of one closed bar on which this side has this score."""
    return MarketView(
        symbol=SYMBOL,
        at=Millis(at),
        close=2_000.0,
        buy=_score(at, Side.BUY, score if side is Side.BUY else None),
        sell=_score(at, Side.SELL, score if side is Side.SELL else None),
        indicators=indicators(),
        events=events,
    )


def _score(at: int, side: Side, total: float | None) -> Score:
    regime = Regime(
        session=Session.LONDON,
        volatility=Volatility.NORMAL,
        structure=Structure.TREND,
        threshold=0.001,
        calibrated=True,
    )
    return Score(
        symbol=SYMBOL,
        side=side,
        at=Millis(at),
        total=total,
        missing="" if total is not None else "not asked",
        layers=(),
        confluence=Confluence.MIXED,
        regime=regime,
        flip_against=False,
        opposite_share_high=None,
    )


__all__ = ["ATR", "CALM", "HOUR", "MINUTE", "SYMBOL", "T0", "Rig", "TradeId", "bar", "indicators"]

"""One account at a simulated broker whose terminal fails by plan: the adapter on it, and gateway and monitor on a ledger.

Broker, adapter, ledger and executor are the real ones; only the decision is written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.ledger.choice import CHOSEN

from dtms import bootstrap
from dtms.adapters.clocks import VirtualClock
from dtms.adapters.mt5 import Mt5Broker, Mt5Sender
from dtms.adapters.notify import MemoryNotifier
from dtms.app.commands.registration import Registration
from dtms.app.gateway.executor import Executor
from dtms.app.journal import journal
from dtms.bootstrap import Parts, Server
from dtms.core.settle import SettleContext
from dtms.domain.action import Action, Close, OpenHedge, Reduce, SetStop
from dtms.domain.calendar import MarketHours
from dtms.domain.intent import Intent, IntentState
from dtms.domain.market import Quote
from dtms.domain.policy import Policies, Policy
from dtms.domain.position import Position
from dtms.domain.receipt import Receipt
from dtms.domain.rules import DefenceRule
from dtms.domain.server_offset import SeenOffset
from dtms.domain.trade import PlanStep, Trade, TradeState
from dtms.domain.units import Lots, Millis, Price, Side, Ticket
from dtms.domain.verdict import Verdict
from dtms.errors import BrokerError, MarketDataError
from dtms.ports.notifier import AlertKind
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.catalogue import CATALOGUE, SymbolSpec
from dtms_lab.terminal.fault_kinds import Fault
from dtms_lab.terminal.fault_plan import ORDER_SEND, FaultPlan, Injector, Scripted, Sent
from dtms_lab.terminal.faults import FaultyLink
from dtms_lab.terminal.faulty_dealer import FaultyDealer
from dtms_lab.terminal.oracle import OracleEntry, OracleLog
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.records import AccountSpec, Request, SimPosition
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.server_time import eet_new_york_dst
from dtms_lab.terminal.terminal import SimTerminal

T0 = Millis(1_750_161_600_000)
"""A Tuesday, 12:00 UTC: every market is open."""
SYMBOL = "XAUUSD"
BID, ASK = 2_000.0, 2_000.2
STOP = 1_990.2
"""The stop of a BUY opened here: ten dollars under its entry."""
MAGIC = 77
HAND = Mt5.DEAL_REASON_CLIENT
NETTING = AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING)


def once(fault: Fault, *, nth: int = 1, op: str = ORDER_SEND, sent: Sent | None = None, times: int = 1) -> FaultPlan:
    """A plan of one scripted fault."""
    return FaultPlan(scripted=(Scripted(fault=fault, op=op, sent=sent, nth=nth, times=times),))


def each(*faults: Fault, **where: Any) -> FaultPlan:
    """A plan of several scripted faults at the same place."""
    return FaultPlan(scripted=tuple(Scripted(fault=fault, **where) for fault in faults))


class Bench:
    """Server, oracle, a faulty terminal and the adapter on it; only the adapter's calls meet the faults."""

    def __init__(
        self,
        plan: FaultPlan | None = None,
        *,
        account: AccountSpec | None = None,
        specs: Mapping[str, SymbolSpec] = CATALOGUE,
    ) -> None:
        self.clock = VirtualClock(T0)
        self.oracle = OracleLog()
        self.injector = Injector(FaultPlan() if plan is None else plan)
        self.dealer = FaultyDealer(self.injector, specs=specs, only=lambda request: request.magic == MAGIC)
        self.server = SimServer(
            now=self.clock.market_now, account=account, specs=specs, recorder=self.oracle, dealer=self.dealer
        )
        self.price(BID)
        self.backend = TerminalBackend(self.server)
        self.link = FaultyLink(self.backend, self.injector)
        self.terminal = SimTerminal(self.server, backend=self.backend, link=self.link)
        self.broker = Mt5Broker(
            self.terminal,
            expected_login=10000042,
            expected_server=None,
            magic=MAGIC,
            clock=self.clock.market_now,
        )
        self.sender = Mt5Sender(self.broker)
        self.broker.recall_offset(SeenOffset(ahead=eet_new_york_dst(T0), at=T0))
        self.broker.connect()

    def become(self, plan: FaultPlan) -> None:
        """Let a plan begin now: what was set up before met none of its faults and did not count."""
        self.injector.begin(plan)

    def price(self, bid: float) -> None:
        """Let a quote come now."""
        quote = Quote(symbol=SYMBOL, at=self.clock.now, bid=bid, ask=round(bid + ASK - BID, 2))
        self.server.on_quote(quote)

    def wait(self, seconds: float) -> None:
        """Let time pass, and what was late arrive."""
        self.clock.sleep(seconds)
        self.link.pump()

    def order(self, **fields: Any) -> int:
        """Send a request by hand, at the server itself; return the order's ticket."""
        done = self.server.send(Request(symbol=SYMBOL, type_filling=Mt5.ORDER_FILLING_IOC, **fields), reason=HAND)
        assert done.applied, done
        return done.order

    def open(self, side: Side = Side.BUY, volume: float = 1.0) -> Position:
        """Open a position by hand and return how the adapter would read it without a fault."""
        kind = Mt5.ORDER_TYPE_BUY if side is Side.BUY else Mt5.ORDER_TYPE_SELL
        entry = ASK if side is Side.BUY else BID
        order = self.order(action=Mt5.TRADE_ACTION_DEAL, type=kind, volume=volume, sl=entry - side * 10)
        return self.seen(order)

    def seen(self, identifier: int) -> Position:
        """Return a position as the server has it."""
        held = self.held(identifier)
        assert held is not None
        return Position(
            ticket=Ticket(held.ticket),
            identifier=held.identifier,
            symbol=held.symbol,
            side=held.side,
            volume=held.volume,
            entry=held.price_open,
            stop=held.stop,
            target=held.target,
            current=self.server.state.quotes[held.symbol].executable(held.side),
            profit=0.0,
            swap=0.0,
            magic=held.magic,
            comment=held.comment,
            opened_at=held.opened_at,
        )

    def held(self, identifier: int) -> SimPosition | None:
        """Return what the server holds under an identifier."""
        positions = self.server.state.positions.values()
        return next((p for p in positions if p.identifier == identifier), None)

    def close_by_hand(self, position: Position, volume: float | None = None) -> None:
        """Close a position, or a part of it, by hand."""
        kind = Mt5.ORDER_TYPE_SELL if position.side is Side.BUY else Mt5.ORDER_TYPE_BUY
        lots = position.volume if volume is None else volume
        self.order(action=Mt5.TRADE_ACTION_DEAL, type=kind, position=position.ticket, volume=lots)

    def send(self, action: Action, position: Position | None, tag: str = "tag") -> Receipt:
        """Send through the adapter."""
        return self.sender.send(action, position=position, tag=tag)

    def applied(self, tag: str = "tag") -> int:
        """How many orders with this tag the server has applied; a close-by is one."""
        return len({(entry.kind, entry.order) for entry in self.oracle.tagged(tag)})

    def operations(self, stem: str) -> tuple[OracleEntry, ...]:
        """What the server applied with a tag or a later attempt's."""
        entries = self.oracle.entries
        return tuple(e for e in entries if e.tag.startswith(stem) and e.kind is not AppliedKind.POSITION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One plan of one step: the row that it belongs to, the state that it begins in."""

    row: str
    state: TradeState
    to: TradeState


TIGHTEN = Case(row="healthy_to_l1", state=TradeState.HEALTHY, to=TradeState.WARNING_L1)
PARTIAL = Case(row="l1_to_l2", state=TradeState.WARNING_L1, to=TradeState.WARNING_L2)
HEDGE = Case(row="l2_to_hedged", state=TradeState.WARNING_L2, to=TradeState.HEDGED)
CLOSE = Case(row="recovering_timeout", state=TradeState.RECOVERING, to=TradeState.CLOSED)


class House(Bench):
    """The bench with ledger, gateway and monitor on it."""

    def __init__(self, *, account: AccountSpec | None = None, specs: Mapping[str, SymbolSpec] = CATALOGUE) -> None:
        super().__init__(account=account, specs=specs)
        self.policies = Policies(default=replace(Policy(), spread_typical=ASK - BID))
        self.notifier = MemoryNotifier()
        key = self.broker.connect().key
        self.ledger = CHOSEN.open(key, self.clock.market_now, epoch="test")
        self.epoch = 0
        self.failures = 0
        self.services: Server
        self.executor: Executor
        self.restart()

    def restart(self) -> None:
        """Start every service anew on the same ledger, as after a kill."""
        parts = Parts(ledger=self.ledger, clock=self.clock, policies=self.policies, notifier=self.notifier)
        desk = bootstrap.make_desk(parts, self.broker, scored=False)
        self.epoch += 1
        self.services = bootstrap.make_server(parts, self.broker, desk, advisory=False)
        self.executor = bootstrap.make_executor(parts, self.broker, self.sender, epoch=self.epoch)
        self.executor.recover()

    def managed(self, side: Side = Side.BUY, volume: float = 1.0, state: TradeState = TradeState.HEALTHY) -> Trade:
        """Return a registered trade of a position opened by hand, in a state."""
        position = self.open(side, volume)
        self.services.registry.register(
            Registration(
                ticket=position.ticket,
                symbol=SYMBOL,
                side=side,
                entry=position.entry,
                volume=volume,
                stop=position.stop,
                target=None,
            )
        )
        self.run(1)
        with self.ledger.write() as tx:
            trade = tx.trade(Ticket(position.ticket))
            assert trade is not None
            return tx.save_trade(replace(trade, state=state, version=trade.version + 1))

    def scene(self) -> SettleContext:
        instrument = self.broker.instrument(SYMBOL)
        hours = MarketHours(instrument.asset)
        return SettleContext(now=self.clock.now, instrument=instrument, hours=hours, policy=self.policies.of(SYMBOL))

    def decide(self, case: Case, *steps: PlanStep, trade: Trade) -> Trade:
        """Write a decision whose plan is these steps; the trade is in the case's state."""
        verdict = Verdict(
            trade_id=trade.trade_id,
            ticket=trade.ticket,
            at=self.clock.now,
            bar=None,
            version=trade.version,
            state=trade.state,
            score=None,
            row=case.row,
            to=case.to,
            steps=steps,
        )
        scene = self.scene()
        with self.ledger.write() as tx:
            return journal.write_verdict(tx, trade, verdict, scene)

    def tick(self) -> None:
        """Let monitor and gateway run until nothing changes any more at this instant; a pass that fails is tried again.

        What ends a pass is what the services' loops expect: the broker, or the market's data.
        """
        for _ in range(50):
            try:
                self.services.monitor.tick()
                if not self.executor.tick():
                    return
            except (BrokerError, MarketDataError):
                self.failures += 1
                return
        msg = "the gateway was still at work after 50 rounds"
        raise AssertionError(msg)

    def run(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass, the services at work at each step."""
        for _ in range(round(seconds / step)):
            self.tick()
            self.wait(step)
        self.tick()

    def trade(self, trade: Trade) -> Trade:
        with self.ledger.read() as tx:
            found = tx.trade_by_id(trade.trade_id)
        assert found is not None
        return found

    def intents(self, trade: Trade) -> tuple[Intent, ...]:
        """The intents of the plan, first attempt first; what the monitor planned beside it is left out."""
        with self.ledger.read() as tx:
            found = tx.intents(trade_id=trade.trade_id)
        planned = (intent for intent in found if intent.rule == RULE)
        return tuple(sorted(planned, key=lambda intent: (intent.created_at, intent.step, intent.attempt)))

    def ends(self, trade: Trade) -> list[IntentState]:
        return [intent.state for intent in self.intents(trade)]

    def stem(self, trade: Trade) -> str:
        """The tag that all attempts of the first step begin with."""
        return self.intents(trade)[0].tag

    def alerts(self) -> list[str]:
        return [alert.kind.value for alert in self.notifier.alerts if alert.kind is not AlertKind.MODE]


RULE = DefenceRule.HEDGE


def step(action: Action) -> PlanStep:
    """A required step; a hedge that is impossible becomes a reduction by the same volume, as in every plan."""
    if not isinstance(action, OpenHedge):
        return PlanStep(action=action, rule=RULE, required=True)
    instead = Reduce(ticket=action.ticket, remaining=Lots(1.0 - action.volume))
    fallback = PlanStep(action=instead, rule=RULE, required=True)
    return PlanStep(action=action, rule=RULE, required=True, fallback=(fallback,), fallback_name="reduced")


def tighten(position: Position | Trade, stop: float = 1_995.0) -> SetStop:
    return SetStop(ticket=position.ticket, stop=Price(stop), target=position.target)  # type: ignore[arg-type]


def halve(position: Position | Trade, remaining: float = 0.5) -> Reduce:
    return Reduce(ticket=position.ticket, remaining=Lots(remaining))


def close(position: Position | Trade) -> Close:
    return Close(ticket=position.ticket)


def hedge(position: Position | Trade, volume: float = 0.5) -> OpenHedge:
    return OpenHedge(
        ticket=position.ticket, side=Side.SELL, volume=Lots(volume), stop=Price(2_010.0), target=Price(STOP)
    )

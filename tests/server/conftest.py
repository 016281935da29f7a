"""A DTMS server over a simulated broker and a ledger in memory, on a clock that stands; asked without sockets."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
from starlette.types import ASGIApp

from dtms import bootstrap
from dtms.adapters.clocks import VirtualClock
from dtms.adapters.mt5 import Mt5Broker, Mt5Sender
from dtms.adapters.notify import MemoryNotifier
from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.app.commands.registration import Registered, Registration
from dtms.app.gateway.executor import Executor
from dtms.app.journal import journal
from dtms.bootstrap import Parts, Server
from dtms.core.settle import SettleContext
from dtms.domain.action import OpenHedge, SetStop
from dtms.domain.calendar import MarketHours
from dtms.domain.intent import Planner
from dtms.domain.market import Bar, Quote
from dtms.domain.rules import DefenceRule, ExitRule
from dtms.domain.server_offset import SeenOffset
from dtms.domain.trade import PlanStep, Trade, TradeState
from dtms.domain.units import MINUTE, Lots, Millis, Price, Side, Ticket
from dtms.domain.verdict import Verdict
from dtms.services.server import ServerParts, Site, make_simulated_app, simulated_parts
from dtms.services.web.access import OneToken
from dtms.services.web.guard import Gate, loopback_policy
from dtms.services.web.health import ReadyReport
from dtms.services.web.in_process import call
from dtms.settings import load_policy
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.catalogue import CATALOGUE
from dtms_lab.terminal.records import AccountSpec
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.server_time import eet_new_york_dst
from dtms_lab.terminal.terminal import SimTerminal
from dtms_lab.terminal.traits import RUNNING, Traits

PORT = 8001
TOKEN = "t" * 43
NOON = Millis(1_704_888_000_000)
"""2024-01-10 12:00 UTC, a Wednesday."""

BID = 1.09500
SPREAD = 0.00010


@dataclass(frozen=True, slots=True)
class Told:
    """One HTTP answer, decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])

    @property
    def fields(self) -> list[str]:
        return [each["field"] for each in self.json.get("fields", [])]


@dataclass
class World:
    """One account with its broker, brain, gateway's hand and application."""

    clock: VirtualClock
    sim: SimServer
    terminal: SimTerminal
    broker: Mt5Broker
    ledger: SqlLedger
    notifier: MemoryNotifier
    server: Server
    executor: Executor
    parts: ServerParts
    site: Site
    app: ASGIApp
    symbol: str = "EURUSD"
    gateway_works: bool = True

    def act(self) -> None:
        """Let the gateway do what is planned, unless it is told to be dead."""
        while self.gateway_works and self.executor.tick():
            pass

    def swap(self, **changes: Any) -> None:
        """Change parts of the world behind the application."""
        self.parts = replace(self.parts, **changes)
        self.site.use(self.parts)

    def quote(self, bid: float = BID, symbol: str | None = None) -> None:
        """Let the market say a price now."""
        name = self.symbol if symbol is None else symbol
        self.sim.on_quote(Quote(symbol=name, at=self.clock.now, bid=bid, ask=round(bid + SPREAD, 5), volume=1.0))

    def later(self, seconds: float, bid: float = BID) -> None:
        """Let time pass, with a quote at its end."""
        self.clock.sleep(seconds)
        self.quote(bid)

    def opened(self, side: Side = Side.BUY, *, volume: float = 0.1, stop: float | None = None) -> int:
        """Open a position by hand; return its ticket."""
        result = self.terminal.order_send(
            {
                "action": Mt5.TRADE_ACTION_DEAL,
                "symbol": self.symbol,
                "type": Mt5.ORDER_TYPE_BUY if side is Side.BUY else Mt5.ORDER_TYPE_SELL,
                "volume": volume,
                "sl": 0.0 if stop is None else stop,
                "type_filling": Mt5.ORDER_FILLING_IOC,
                "magic": 7,
            }
        )
        assert result is not None
        assert result.retcode == Mt5.TRADE_RETCODE_DONE, result.comment
        return int(result.order)

    def order(self, ticket: int, side: Side = Side.BUY, **changes: object) -> dict[str, object]:
        """Return a good body for POST /dtms/trade/enable."""
        entry = BID + SPREAD if side is Side.BUY else BID
        body: dict[str, object] = {
            "ticket": ticket,
            "symbol": self.symbol,
            "direction": side.name,
            "entry": round(entry, 5),
            "volume": 0.1,
            "stop_loss": round(entry - side * 0.005, 5),
        }
        return {**body, **changes}

    def managed(self, side: Side = Side.BUY, *, volume: float = 0.1) -> int:
        """Open a position with a stop and register it; return its ticket."""
        entry = round(BID + SPREAD, 5) if side is Side.BUY else BID
        stop = round(entry - side * 0.005, 5)
        ticket = self.opened(side, volume=volume, stop=stop)
        done: Registered = self.server.registry.register(
            Registration(ticket=Ticket(ticket), symbol="EURUSD", side=side, entry=entry, volume=volume, stop=stop)
        )
        assert not done.already
        return ticket

    def trade(self, ticket: int) -> Trade:
        with self.ledger.read() as tx:
            found = tx.trade(Ticket(ticket))
        assert found is not None
        return found

    def put(self, ticket: int, /, **changes: Any) -> Trade:
        """Write a trade with changes, its version grown."""
        trade = self.trade(ticket)
        with self.ledger.write() as tx:
            return tx.save_trade(replace(trade, version=trade.version + 1, **changes))

    def hedged(self, *, volume: float = 0.2) -> int:
        """Return a trade that the state machine's own plan has brought to HEDGED, with a hedge at the broker."""
        ticket = self.managed(volume=volume)
        trade = self.put(ticket, state=TradeState.WARNING_L2)
        stop = trade.stop
        assert stop is not None
        action = OpenHedge(
            ticket=trade.ticket, side=Side.SELL, volume=Lots(volume / 2), stop=Price(1.098), target=Price(stop)
        )
        verdict = Verdict(
            trade_id=trade.trade_id,
            ticket=trade.ticket,
            at=self.clock.now,
            bar=None,
            version=trade.version,
            state=trade.state,
            score=-6.5,
            row="l2_to_hedged",
            to=TradeState.HEDGED,
            steps=(PlanStep(action=action, rule=DefenceRule.HEDGE, required=True),),
        )
        with self.ledger.write() as tx:
            journal.write_verdict(tx, trade, verdict, self.scene())
        while self.executor.tick():
            pass
        assert self.trade(ticket).hedge is not None
        return ticket

    def amended(self, ticket: int, number: int) -> None:
        """Move a trade's stop by a tick through journal and gateway, as the exit manager would."""
        trade = self.trade(ticket)
        assert trade.stop is not None
        intent = journal.new_intent(
            trade,
            SetStop(ticket=trade.ticket, stop=Price(round(trade.stop + 0.0001, 5)), target=trade.target),
            decision_id=f"amend-{number}",
            owner=Planner.EXITS,
            rule=ExitRule.TRAILING,
            now=self.clock.now,
            priced_expiry_s=60,
            score=-1.5,
            regime="london/normal/trend",
        )
        with self.ledger.write() as tx:
            tx.add_intent(intent)
        self.act()

    def scene(self) -> SettleContext:
        instrument = self.broker.instrument("EURUSD")
        policy = self.server.desk.policies.of("EURUSD")
        return SettleContext(
            now=self.clock.now, instrument=instrument, hours=MarketHours(instrument.asset), policy=policy
        )

    def ask(
        self,
        method: str,
        path: str,
        content: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        token: str | None = TOKEN,
    ) -> Told:
        """Send one request; `content` is encoded unless it is bytes."""
        sent = {"Host": f"127.0.0.1:{PORT}"}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        body = b""
        if content is not None:
            sent["Content-Type"] = "application/json"
            body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        sent.update({} if headers is None else headers)
        status, told, answer = call(self.app, method, f"http://127.0.0.1:{PORT}{path}", sent, body)
        return Told(status, dict(told), answer)

    def written(self) -> int:
        """Return a number that grows with every write."""
        return self.ledger.revision()


WorldMaker = Callable[..., World]


def history(count: int = 3_000, end: Millis = NOON) -> list[Bar]:
    """M1 bars of a market that wanders around the present price."""
    rng = random.Random(11)
    bars: list[Bar] = []
    close = BID
    for minute in range(count):
        opened = close
        close = round(opened + rng.gauss(0, 0.0001) - 0.02 * (opened - BID), 5)
        high = round(max(opened, close) + abs(rng.gauss(0, 0.00005)), 5)
        low = round(min(opened, close) - abs(rng.gauss(0, 0.00005)), 5)
        start = Millis(end - (count - minute) * MINUTE)
        bars.append(Bar(start=start, open=opened, high=high, low=low, close=close, volume=float(rng.randint(5, 90))))
    return bars


@pytest.fixture(scope="session")
def bars() -> list[Bar]:
    return history()


@pytest.fixture
def make_world(bars: list[Bar]) -> Iterator[WorldMaker]:
    """Makes worlds, and closes their ledgers after the test."""
    ledgers: list[SqlLedger] = []

    def make(
        *,
        account: AccountSpec | None = None,
        advisory: bool = False,
        port: int = PORT,
        symbol: str = "EURUSD",
        traits: Traits = RUNNING,
    ) -> World:
        clock = VirtualClock(NOON)
        spec = replace(CATALOGUE["EURUSD"], name=symbol, path=f"Forex\\{symbol}")
        sim = SimServer(now=clock.market_now, account=account, specs={**CATALOGUE, symbol: spec})
        sim.load_history(symbol, bars)
        terminal = SimTerminal(sim, backend=TerminalBackend(sim, traits=traits))
        broker = Mt5Broker(
            terminal,
            expected_login=None,
            expected_server=None,
            magic=20_010_800,
            clock=clock.market_now,
        )
        broker.recall_offset(SeenOffset(ahead=eet_new_york_dst(NOON), at=NOON))
        key = broker.connect().key
        ledger = open_ledger("sqlite://", account=key, clock=clock.market_now, epoch="first")
        ledgers.append(ledger)
        notifier = MemoryNotifier()
        parts = Parts(ledger=ledger, clock=clock, policies=load_policy(), notifier=notifier)
        desk = bootstrap.make_desk(parts, broker, scored=True)
        server = bootstrap.make_server(parts, broker, desk, advisory=advisory)
        writes = None if advisory else Mt5Sender(broker)
        executor = bootstrap.make_executor(parts, broker, writes, epoch=1)
        acts: list[Callable[[], None]] = []

        def act() -> None:
            acts[-1]()

        given = simulated_parts(parts, server, broker, act=act, advisory=advisory)
        given = replace(given, ready=lambda: ReadyReport(ready=True, dependencies={"broker": "ok"}))
        site = Site(given)
        count = itertools.count(1)
        gate = Gate(loopback_policy(port), OneToken(TOKEN), new_id=lambda: f"id-{next(count)}")
        world = World(
            clock=clock,
            sim=sim,
            terminal=terminal,
            broker=broker,
            ledger=ledger,
            notifier=notifier,
            server=server,
            executor=executor,
            parts=given,
            site=site,
            app=make_simulated_app(site, gate=gate),
            symbol=symbol,
        )
        acts.append(world.act)
        world.quote()
        return world

    yield make
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def world(make_world: WorldMaker) -> World:
    return make_world()

"""A main API beside a DTMS server, over a simulated broker and a ledger, on a clock that stands; asked without sockets."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import structlog.testing
from starlette.types import ASGIApp, Receive, Scope, Send

from dtms import bootstrap
from dtms.adapters.clocks import VirtualClock
from dtms.adapters.mt5 import Mt5Broker, Mt5Sender
from dtms.adapters.notify import MemoryNotifier
from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.app.commands.registration import Registration
from dtms.app.gateway.executor import Executor
from dtms.app.journal import journal
from dtms.app.market.market_data import MarketData
from dtms.bootstrap import Parts, Server
from dtms.core.settle import SettleContext
from dtms.domain.action import OpenHedge
from dtms.domain.calendar import MarketHours
from dtms.domain.exits import ExitState
from dtms.domain.intent import Intent
from dtms.domain.market import Bar, Quote
from dtms.domain.rules import DefenceRule
from dtms.domain.server_offset import SeenOffset
from dtms.domain.trade import PlanStep, Trade, TradeState
from dtms.domain.units import MINUTE, Lots, Millis, Price, Side, Ticket
from dtms.domain.verdict import Verdict
from dtms.ports.broker import BrokerReads, BrokerWrites
from dtms.services.api import ApiParts, ApiSite, make_api_app, simulated_parts
from dtms.services.server import ServerParts, Site, make_simulated_app
from dtms.services.server import simulated_parts as simulated_server
from dtms.services.web.access import OneToken
from dtms.services.web.guard import Gate, loopback_policy
from dtms.services.web.in_process import call
from dtms.services.web.offload import inline
from dtms.settings import load_policy
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.records import AccountSpec
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.server_time import eet_new_york_dst
from dtms_lab.terminal.terminal import SimTerminal

PORT = 8000
SERVER_URL = "http://127.0.0.1:8001"
TOKEN = "t" * 43
NOON = Millis(1_704_888_000_000)
"""2024-01-10 12:00 UTC, a Wednesday."""

BID = 1.09500
SPREAD = 0.00010
ASK = 1.09510


class RefusedError(httpx.ConnectError, ConnectionRefusedError):
    """What both HTTP clients see of a server that is not there."""

    def __init__(self) -> None:
        httpx.ConnectError.__init__(self, "refused")


@dataclass
class SwitchedServer:
    """The DTMS server behind a wire that may fail: `fault` is raised, `answer` is given in its place."""

    app: ASGIApp
    fault: Callable[[], BaseException] | None = None
    answer: tuple[int, Mapping[str, str], bytes] | None = None
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope["query_string"].decode()
        path = f"{scope['path']}?{query}" if query else scope["path"]
        headers = {str(name, "latin-1"): str(value, "latin-1") for name, value in scope["headers"]}
        self.requests.append((scope["method"], path, headers))
        if self.fault is not None:
            raise self.fault()
        if self.answer is None:
            await self.app(scope, receive, send)
            return
        status, given, body = self.answer
        raw = [(name.lower().encode(), value.encode()) for name, value in given.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})

    def down(self) -> None:
        self.fault = RefusedError

    def up(self) -> None:
        self.fault = None
        self.answer = None

    def asked(self, path: str) -> int:
        return sum(each == path for _, each, _ in self.requests)


@dataclass(frozen=True, slots=True)
class Told:
    """One HTTP answer."""

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
    def fields(self) -> dict[str, str]:
        return {each["field"]: each["code"] for each in self.json.get("fields", [])}


@dataclass
class World:
    """One account with its broker, gateway's hand, DTMS server and main API."""

    clock: VirtualClock
    sim: SimServer
    terminal: SimTerminal
    broker: Mt5Broker
    ledger: SqlLedger
    notifier: MemoryNotifier
    parts: Parts
    desk: MarketData
    server: Server
    executor: Executor
    dtms: SwitchedServer
    api: ApiParts
    site: ApiSite
    app: ASGIApp
    gateway_works: bool = True
    keys: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def act(self) -> None:
        """Let the gateway do what is planned, unless it is told to be dead."""
        while self.gateway_works and self.executor.tick():
            pass

    def swap(self, **changes: Any) -> None:
        """Change parts of the world behind the application."""
        self.api = replace(self.api, **changes)
        self.site.use(self.api)

    def quote(self, bid: float = BID) -> None:
        """Let the market say a price now."""
        self.sim.on_quote(Quote(symbol="EURUSD", at=self.clock.now, bid=bid, ask=round(bid + SPREAD, 5), volume=1.0))

    def later(self, seconds: float, bid: float = BID) -> None:
        """Let time pass, with a quote at its end."""
        self.clock.sleep(seconds)
        self.quote(bid)

    def ask(
        self,
        method: str,
        path: str,
        content: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        token: str | None = TOKEN,
        key: str | None = None,
    ) -> Told:
        """Send one request; `content` is encoded unless it is bytes."""
        sent = {"Host": f"127.0.0.1:{PORT}"}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if key is not None:
            sent["Idempotency-Key"] = key
        body = b""
        if content is not None:
            sent["Content-Type"] = "application/json"
            body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        sent.update({} if headers is None else headers)
        status, told, answer = call(self.app, method, f"http://127.0.0.1:{PORT}{path}", sent, body)
        return Told(status, dict(told), answer)

    def order(self, **changes: object) -> dict[str, object]:
        """Return a good body for POST /api/trades; a change to None leaves the member out."""
        body = {"symbol": "EURUSD", "direction": "BUY", "volume": 0.1, "stop_loss": 1.09, **changes}
        return {name: value for name, value in body.items() if value is not None}

    def open(self, changed: Mapping[str, object] | None = None, *, key: str | None = None, **changes: object) -> Told:
        """Send POST /api/trades with a key of its own."""
        used = f"key-{next(self.keys)}" if key is None else key
        return self.ask("POST", "/api/trades", self.order(**({} if changed is None else changed), **changes), key=used)

    def positions(self) -> list[tuple[int, float, float, float]]:
        """Return ticket, volume, stop and target of what is open at the broker."""
        found = self.terminal.positions_get() or ()
        return [(p.ticket, p.volume, p.sl, p.tp) for p in found]

    def managed(self, side: Side = Side.BUY, *, volume: float = 0.2, exits: bool = True) -> int:
        """Open a position by hand, register it, and give it exit rules; return its ticket."""
        entry = ASK if side is Side.BUY else BID
        stop = round(entry - side * 0.005, 5)
        result = self.terminal.order_send(
            {
                "action": Mt5.TRADE_ACTION_DEAL,
                "symbol": "EURUSD",
                "type": Mt5.ORDER_TYPE_BUY if side is Side.BUY else Mt5.ORDER_TYPE_SELL,
                "volume": volume,
                "sl": stop,
                "type_filling": Mt5.ORDER_FILLING_IOC,
                "magic": 7,
            }
        )
        assert result is not None
        assert result.retcode == Mt5.TRADE_RETCODE_DONE, result.comment
        ticket = int(result.order)
        done = self.server.registry.register(
            Registration(ticket=Ticket(ticket), symbol="EURUSD", side=side, entry=entry, volume=volume, stop=stop)
        )
        if exits:
            policy = self.parts.policies.default.exits
            book = ExitState(
                trade_id=done.trade.trade_id,
                ticket=done.trade.ticket,
                profile_name="intraday",
                profile=policy.profile("intraday"),
            )
            with self.ledger.write() as tx:
                tx.put_exit_book(book)
        return ticket

    def hedged(self, *, volume: float = 0.2) -> int:
        """Return a trade that the state machine's own plan has brought to HEDGED, with a hedge at the broker."""
        ticket = self.managed(volume=volume)
        trade = self.put(ticket, state=TradeState.WARNING_L2)
        action = OpenHedge(
            ticket=trade.ticket, side=Side.SELL, volume=Lots(volume / 2), stop=Price(1.098), target=trade.stop
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
        instrument = self.broker.instrument("EURUSD")
        policy = self.parts.policies.of("EURUSD")
        scene = SettleContext(
            now=self.clock.now, instrument=instrument, hours=MarketHours(instrument.asset), policy=policy
        )
        with self.ledger.write() as tx:
            journal.write_verdict(tx, trade, verdict, scene)
        self.act()
        assert self.trade(ticket).hedge is not None
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

    def book(self, ticket: int) -> ExitState | None:
        with self.ledger.read() as tx:
            return tx.exit_book(Ticket(ticket))

    def intents(self) -> tuple[Intent, ...]:
        with self.ledger.read() as tx:
            return tx.intents(limit=1_000)

    def waiting(self) -> int:
        """Return how many messages wait in the outbox."""
        with self.ledger.read() as tx:
            return len(tx.waiting())


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


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged, as records."""
    with structlog.testing.capture_logs() as records:
        yield records


@pytest.fixture(scope="session")
def bars() -> list[Bar]:
    return history()


Wrap = Callable[[BrokerWrites], BrokerWrites]


class Apps:
    """Both applications, built once: that takes far longer than a test. Each world is swapped in behind them."""

    def __init__(self) -> None:
        self._server: tuple[Site, ASGIApp] | None = None
        self._api: tuple[ApiSite, ASGIApp] | None = None

    def server(self, parts: ServerParts) -> ASGIApp:
        if self._server is None:
            site = Site(parts)
            gate = Gate(loopback_policy(8001), OneToken(TOKEN))
            self._server = (site, make_simulated_app(site, gate=gate))
        self._server[0].use(parts)
        return self._server[1]

    def api(self, parts: ApiParts) -> tuple[ApiSite, ASGIApp]:
        if self._api is None:
            site = ApiSite(parts)
            gate = Gate(loopback_policy(PORT), OneToken(TOKEN))
            self._api = (site, make_api_app(site, gate=gate, offload=inline))
        self._api[0].use(parts)
        return self._api


@pytest.fixture(scope="session")
def apps() -> Apps:
    return Apps()


def build(
    apps: Apps,
    sim: SimServer,
    clock: VirtualClock,
    ledger_url: str,
    *,
    advisory: bool = False,
    sentinel: Path | None = None,
    wrap: Wrap = lambda writes: writes,
) -> World:
    """Wire a world around a broker that may have run before."""
    terminal = SimTerminal(sim)
    broker = Mt5Broker(
        terminal,
        expected_login=None,
        expected_server=None,
        magic=20_010_800,
        clock=clock.market_now,
    )
    broker.recall_offset(SeenOffset(ahead=eet_new_york_dst(clock.now), at=clock.now))
    key = broker.connect().key
    ledger = open_ledger(ledger_url, account=key, clock=clock.market_now, epoch="first")
    notifier = MemoryNotifier()
    parts = Parts(ledger=ledger, clock=clock, policies=load_policy(), notifier=notifier)
    reads: BrokerReads = broker
    desk = bootstrap.make_desk(parts, reads, scored=True)
    server = bootstrap.make_server(parts, reads, desk, advisory=advisory)
    writes = None if advisory else wrap(Mt5Sender(broker))
    executor = bootstrap.make_executor(parts, broker, writes, epoch=1)
    executor.recover()

    def act() -> None:
        wired.act()

    dtms = SwitchedServer(apps.server(simulated_server(parts, server, reads, act=act, advisory=advisory)))
    api = simulated_parts(
        parts,
        reads,
        desk,
        server=dtms,
        server_url=SERVER_URL,
        token=TOKEN,
        act=act,
        advisory=advisory,
        sentinel=sentinel,
    )
    site, app = apps.api(api)
    wired = World(
        clock=clock,
        sim=sim,
        terminal=terminal,
        broker=broker,
        ledger=ledger,
        notifier=notifier,
        parts=parts,
        desk=desk,
        server=server,
        executor=executor,
        dtms=dtms,
        api=api,
        site=site,
        app=app,
    )
    return wired


@pytest.fixture
def make_world(apps: Apps, bars: list[Bar]) -> Iterator[WorldMaker]:
    """Makes worlds, and closes their ledgers after the test."""
    made: list[World] = []

    def make(
        *, account: AccountSpec | None = None, ledger_url: str = "sqlite://", quoted: bool = True, **more: Any
    ) -> World:
        clock = VirtualClock(NOON)
        sim = SimServer(now=clock.market_now, account=account)
        sim.load_history("EURUSD", bars)
        world = build(apps, sim, clock, ledger_url, **more)
        made.append(world)
        if quoted:
            world.quote()
        return world

    yield make
    for world in made:
        world.ledger.close()


@pytest.fixture
def restart(apps: Apps) -> Iterator[Callable[..., World]]:
    """Builds every service anew over the same broker and the same ledger file."""
    made: list[World] = []

    def again(world: World, ledger_url: str, **more: Any) -> World:
        after = build(apps, world.sim, world.clock, ledger_url, **more)
        made.append(after)
        return after

    yield again
    for world in made:
        world.ledger.close()


@pytest.fixture
def world(make_world: WorldMaker) -> World:
    return make_world()

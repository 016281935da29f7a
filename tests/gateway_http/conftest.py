"""A gateway over values at hand, and its client without a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import structlog.testing
from starlette.types import ASGIApp

from dtms.adapters.gateway_client import GatewayClient
from dtms.adapters.gateway_client.fixed import FixedReads
from dtms.domain.instrument import AssetClass, Instrument
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import Account, AccountKind, Deal, DealEntry, DealReason, Position, PositionsRead
from dtms.domain.records import Event, EventKind
from dtms.domain.units import Millis, Side, Ticket
from dtms.ports.broker import ServedReads
from dtms.services.gateway import make_gateway_app
from dtms.services.web.access import OneToken
from dtms.services.web.guard import Gate, loopback_policy
from dtms.services.web.health import ReadyReport
from dtms.services.web.in_process import InProcessAdapter
from dtms.services.web.offload import inline

BASE = "http://127.0.0.1:8002"
NOW = Millis(1_700_000_000_000)


@dataclass
class World:
    """The clock and the ledger's events."""

    events: list[Event] = field(default_factory=list)
    epoch: str = "e1"

    def market_now(self) -> Millis:
        return NOW

    def wall_now(self) -> Millis:
        return NOW

    def boot_ns(self) -> int:
        return 0

    def revision(self) -> int:
        return len(self.events)

    @contextmanager
    def read(self) -> Iterator[World]:
        yield self

    def events_since(self, seq: int, limit: int = 1_000) -> tuple[Event, ...]:
        return tuple(event for event in self.events if event.seq > seq)[:limit]

    def last_event(self) -> int:
        return len(self.events)


@dataclass
class Gateway:
    """A gateway, what it asks, and a client."""

    reads: FixedReads
    app: ASGIApp
    client: GatewayClient


def _instrument() -> Instrument:
    return Instrument(
        symbol="EURUSDc",
        canonical="EURUSD",
        asset=AssetClass.FX,
        digits=5,
        point=1e-5,
        tick_size=1e-5,
        contract_size=100_000.0,
        value_per_unit=100_000.0,
        volume_min=0.01,
        volume_max=50.0,
        volume_step=0.01,
    )


def _position() -> Position:
    return Position(
        ticket=Ticket(11),
        identifier=10,
        symbol="EURUSDc",
        side=Side.SELL,
        volume=0.3,
        entry=1.1,
        stop=None,
        target=1.05,
        current=1.0999,
        profit=-3.0,
        swap=-0.1,
        magic=77,
        comment="by hand",
        opened_at=NOW,
    )


def _deal(position: int, at: int) -> Deal:
    return Deal(
        deal_id=at,
        order_id=at,
        position=position,
        symbol="EURUSDc",
        side=Side.BUY,
        entry=DealEntry.OUT,
        reason=DealReason.STOP,
        volume=0.3,
        price=1.1,
        profit=-30.0,
        commission=-2.1,
        swap=0.0,
        fee=0.0,
        magic=77,
        comment="[sl 1.1]",
        at=Millis(at),
    )


def _bar(index: int) -> Bar:
    return Bar(start=Millis(index * 300_000), open=1.1, high=1.2, low=1.0, close=1.15, volume=float(index))


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged, as records."""
    with structlog.testing.capture_logs() as records:
        yield records


@pytest.fixture
def reads() -> FixedReads:
    return FixedReads(
        account_now=Account(
            login=5,
            server="Sim",
            kind=AccountKind.DEMO,
            currency="USD",
            currency_digits=2,
            hedging=True,
            fifo=False,
            balance=1_000.0,
            equity=999.5,
            margin=0.0,
            margin_free=999.5,
            margin_level=None,
            trade_allowed=True,
        ),
        positions_now=PositionsRead(token=41, as_of=Millis(NOW - 5), positions=(_position(),)),
        instruments={"EURUSDc": _instrument(), "SILENT": _instrument()},
        quotes={"EURUSDc": Quote(symbol="EURUSDc", at=NOW, bid=1.1, ask=1.1001)},
        histories={("EURUSDc", Timeframe.M5): tuple(_bar(index) for index in range(1, 6))},
        all_deals=(_deal(10, 100), _deal(12, 200), _deal(10, 300)),
    )


GatewayMaker = Callable[[ServedReads], ASGIApp]


@pytest.fixture
def make_app() -> GatewayMaker:
    """Make the application over any reads."""

    def make(broker: ServedReads) -> ASGIApp:
        world = World(events=[Event(seq=1, kind=EventKind.STATE, ticket=None, at=NOW, body="{}")])
        return make_gateway_app(
            broker,
            ready=lambda: ReadyReport(ready=True, dependencies={"broker": "ok"}),
            ledger=world,
            clock=world,
            gate=Gate(loopback_policy(8002), OneToken("t" * 43)),
            offload=inline,
        )

    return make


@pytest.fixture
def make_client() -> Callable[[ASGIApp], GatewayClient]:
    """Make a client of an application without a socket."""

    def make(app: ASGIApp) -> GatewayClient:
        session = requests.Session()
        session.mount(BASE, InProcessAdapter(app))
        return GatewayClient(BASE, session=session)

    return make


@pytest.fixture
def gateway(reads: FixedReads, make_app: GatewayMaker, make_client: Callable[[ASGIApp], GatewayClient]) -> Gateway:
    app = make_app(reads)
    return Gateway(reads=reads, app=app, client=make_client(app))

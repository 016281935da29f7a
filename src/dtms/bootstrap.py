"""The one composition root: which adapter stands behind which port. Live, demo and simulation differ only here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dtms.app.executor import Executor
from dtms.app.exit_cycle import IntelligentExitManager
from dtms.app.facts import FactKeeper
from dtms.app.market_desk import MarketDesk
from dtms.app.monitor import Monitor
from dtms.app.rail_desk import RailDesk
from dtms.app.registry import Registry
from dtms.client import DtmsClient, StateCache, Transport, new_last_known_cache, new_state_cache
from dtms.domain.policy import PolicyBook
from dtms.domain.score import MarketView
from dtms.domain.trade import Trade
from dtms.domain.verdict import Refusal, Verdict
from dtms.ports.broker import BrokerReads, BrokerWrites
from dtms.ports.clock import Clock
from dtms.ports.crash import CrashPoints, NoCrash
from dtms.ports.ledger import Ledger
from dtms.ports.news import NewsCalendar, NoCalendar
from dtms.ports.notifier import Notifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What every service is made of."""

    ledger: Ledger
    clock: Clock
    policies: PolicyBook
    notifier: Notifier
    news: NewsCalendar = NoCalendar()
    crash: CrashPoints = NoCrash()


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The DTMS server's brain."""

    monitor: Monitor
    registry: Registry
    desk: MarketDesk


@dataclass(frozen=True, slots=True, kw_only=True)
class Exits:
    """The exit manager, and the client through which it asks the DTMS server: a pushed feed keeps that one warm."""

    manager: IntelligentExitManager[StateCache]
    client: DtmsClient


def make_executor(parts: Parts, reads: BrokerReads, writes: BrokerWrites | None, *, epoch: int) -> Executor:
    """Return the gateway's hand; without `writes` it is advisory and cannot send."""
    return Executor(
        ledger=parts.ledger,
        reads=reads,
        writes=writes,
        clock=parts.clock,
        policies=parts.policies,
        notifier=parts.notifier,
        crash=parts.crash,
        epoch=epoch,
    )


def make_desk(parts: Parts, reads: BrokerReads, *, scored: bool) -> MarketDesk:
    """Return the market as one service sees it; only the DTMS server's saves the indicators."""
    return MarketDesk(reads=reads, ledger=parts.ledger, policies=parts.policies, scored=scored)


def make_rails(parts: Parts) -> RailDesk:
    """Return the gatherer of the rails' facts."""
    return RailDesk(ledger=parts.ledger, policy=parts.policies.default.rails, news=parts.news)


def make_server(
    parts: Parts,
    reads: BrokerReads,
    desk: MarketDesk,
    *,
    advisory: bool,
    on_verdict: Callable[[Verdict, MarketView | None], None] = lambda _verdict, _view: None,
) -> Server:
    """Return the DTMS server's brain over a desk."""
    monitor = Monitor(
        ledger=parts.ledger,
        reads=reads,
        clock=parts.clock,
        desk=desk,
        rails=make_rails(parts),
        facts=FactKeeper(ledger=parts.ledger, reads=reads, notifier=parts.notifier),
        crash=parts.crash,
        on_verdict=on_verdict,
    )
    registry = Registry(ledger=parts.ledger, reads=reads, clock=parts.clock, desk=desk, advisory=advisory)
    return Server(monitor=monitor, registry=registry, desk=desk)


def make_exit_manager(
    parts: Parts,
    reads: BrokerReads,
    desk: MarketDesk,
    *,
    server_url: str,
    sleep: Callable[[float], None],
    transport: Transport | None = None,
    token: str | None = None,
    on_deferral: Callable[[Trade], None] = lambda _trade: None,
    on_refusal: Callable[[Refusal], None] = lambda _refusal: None,
) -> Exits:
    """Return the exit manager with the DTMS client that works on its two caches."""
    now_ns = parts.clock.boot_ns
    made: list[DtmsClient] = []

    def connect(fresh: StateCache, last_known: StateCache) -> DtmsClient:
        client = DtmsClient(
            server_url,
            now_ns=now_ns,
            sleep=sleep,
            state_cache=fresh,
            last_known_cache=last_known,
            transport=transport,
            token=token,
        )
        made.append(client)
        return client

    manager = IntelligentExitManager(
        ledger=parts.ledger,
        reads=reads,
        clock=parts.clock,
        desk=desk,
        rails=make_rails(parts),
        new_caches=(lambda: new_state_cache(now_ns), lambda: new_last_known_cache(now_ns)),
        connect=connect,
        on_deferral=on_deferral,
        on_refusal=on_refusal,
    )
    return Exits(manager=manager, client=made[0])

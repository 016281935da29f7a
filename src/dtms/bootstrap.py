"""The one composition root: which adapter stands behind which port. Live, demo and simulation differ only here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import structlog

from dtms.app.commands.registry import Registry
from dtms.app.defence.cycle import MonitorPass, Seen
from dtms.app.defence.monitor import Monitor
from dtms.app.defence.runtime_invariants import RuntimeInvariants
from dtms.app.exits.cycle import ExitPass
from dtms.app.exits.denials import Denials
from dtms.app.exits.manager import IntelligentExitManager
from dtms.app.gateway.cycle import GatewayPass
from dtms.app.gateway.executor import Executor
from dtms.app.gateway.lease import LeaseHolder
from dtms.app.gateway.send_gate import SendGate
from dtms.app.gateway.server_offset import OffsetKeeper
from dtms.app.journal.mode_facts import Role
from dtms.app.market.market_data import MarketData
from dtms.app.market.risk_inputs import RiskInputs
from dtms.app.modes.clock_watch import ClockWatch
from dtms.app.modes.keeper import ModeKeeper
from dtms.app.modes.kill_switch import KillSwitch
from dtms.app.modes.ledger_watch import LedgerWatch
from dtms.app.modes.pass_health import PassHealth
from dtms.app.modes.progress import Progress
from dtms.app.modes.rate_limited_log import Seldom
from dtms.app.positions.facts import FactKeeper
from dtms.app.reads.silence import MarginReads, SilenceDetectingReads
from dtms.app.reconcile.reconciler import Reconciler
from dtms.app.views.trade_cache import TradeCache
from dtms.client import DtmsClient, StateCache, Transport, new_last_known_cache, new_state_cache
from dtms.domain.policy import Policies
from dtms.domain.score import MarketView
from dtms.domain.trade import Trade
from dtms.domain.verdict import Refusal, Verdict
from dtms.ports.broker import BrokerReads, BrokerWrites, GatewayReads, OffsetSource
from dtms.ports.causes import Causes, NoCauses
from dtms.ports.clock import Anchor, Clock
from dtms.ports.crash import CrashPoints, NoCrash
from dtms.ports.lease import FencedError
from dtms.ports.ledger import Ledger
from dtms.ports.news import NewsCalendar, NoCalendar
from dtms.ports.notifier import Notifier
from dtms.ports.vix import NoVix, VixHistory


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What every service is made of."""

    ledger: Ledger
    clock: Clock
    policies: Policies
    notifier: Notifier
    news: NewsCalendar = NoCalendar()
    vix: VixHistory = NoVix()
    crash: CrashPoints = NoCrash()
    anchor: Anchor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The DTMS server's brain."""

    monitor: Monitor
    registry: Registry
    desk: MarketData


@dataclass(frozen=True, slots=True, kw_only=True)
class Exits:
    """The exit manager, and the client through which it asks the DTMS server: a pushed feed keeps that one warm."""

    manager: IntelligentExitManager[StateCache]
    client: DtmsClient
    work: ExitPass[StateCache]


def make_modes(parts: Parts, role: Role) -> ModeKeeper:
    """Return the keeper of one process's causes of a lesser mode."""
    return ModeKeeper(role, parts.ledger, parts.clock, parts.notifier)


def make_watch(parts: Parts, causes: Causes, *, on_sleep: Callable[[], None] = lambda: None) -> ClockWatch:
    """Return what watches the machine's clocks in one process."""
    return ClockWatch(parts.clock, causes, anchor=parts.anchor, on_sleep=on_sleep)


def make_ledger_watch(parts: Parts, modes: ModeKeeper, role: Role) -> LedgerWatch:
    """Return what looks whether one process can write the ledger."""
    return LedgerWatch(ledger=parts.ledger, causes=modes, clock=parts.clock, role=role)


def make_pass_health(parts: Parts, name: str, modes: ModeKeeper, ledger: LedgerWatch, book: TradeCache) -> PassHealth:
    """Return what tells of a pass that fails; `name` is for people."""
    said = Seldom(structlog.get_logger(f"dtms.{ledger.role}"), parts.clock.boot_ns)
    return PassHealth(name=name, modes=modes, book=book, clock=parts.clock, ledger=ledger, said=said)


def make_progress(
    parts: Parts, modes: ModeKeeper, desk: MarketData, reads: BrokerReads, *, decides: bool, name: str
) -> Progress:
    """Return what watches over the work of one process; `name` is its logger's."""
    said = Seldom(structlog.get_logger(name), parts.clock.boot_ns)
    return Progress(modes=modes, clock=parts.clock, desk=desk, reads=reads, said=said, decides=decides)


def make_executor(
    parts: Parts,
    reads: GatewayReads,
    writes: BrokerWrites | None,
    *,
    epoch: int,
    lease: str | None = None,
    sentinel: Path | None = None,
    random: Random | None = None,
) -> Executor:
    """Return the gateway's hand; without `writes` it is advisory and cannot send.

    Args:
        parts: What it is made of.
        reads: The broker.
        writes: Its sender.
        epoch: This gateway's fencing number.
        lease: The lease that claiming asks for, None where one host needs none.
        sentinel: The kill switch's file, None where the ledger alone holds its level.
        random: For the jitter of waits; always the same numbers when None.
    """
    modes = make_modes(parts, "gateway")
    gate = SendGate(
        ledger=parts.ledger,
        reads=SilenceDetectingReads(reads, modes, parts.clock.boot_ns),
        clock=parts.clock,
        policies=parts.policies,
        notifier=parts.notifier,
        causes=modes,
        kill=KillSwitch(ledger=parts.ledger, clock=parts.clock, notifier=parts.notifier, sentinel=sentinel),
        random=Random(0) if random is None else random,  # noqa: S311 - jitter, no secret
    )
    return Executor(
        ledger=parts.ledger,
        gate=gate,
        orders=reads,
        writes=writes,
        clock=parts.clock,
        policies=parts.policies,
        notifier=parts.notifier,
        crash=parts.crash,
        epoch=epoch,
        lease=lease,
        modes=modes,
        ledger_watch=make_ledger_watch(parts, modes, "gateway"),
    )


def make_gateway_pass(
    parts: Parts,
    executor: Executor,
    reconciler: Reconciler,
    source: OffsetSource,
    *,
    lease: LeaseHolder | None = None,
    on_fenced: Callable[[FencedError], None] = lambda _error: None,
) -> GatewayPass:
    """Return what the gateway's thread runs; `source` is the broker's adapter, which learns the trade server's clock."""
    return GatewayPass(
        executor=executor,
        reconciler=reconciler,
        offset=OffsetKeeper(ledger=parts.ledger, source=source, clock=parts.clock),
        watch=make_watch(parts, executor.modes),
        ledger=parts.ledger,
        clock=parts.clock,
        notifier=parts.notifier,
        health=make_pass_health(parts, "the gateway's pass", executor.modes, executor.ledger_watch, executor.book),
        lease=lease,
        on_fenced=on_fenced,
    )


def make_monitor_pass(
    parts: Parts, monitor: Monitor, seen: Seen, *, lock: AbstractContextManager[object]
) -> MonitorPass:
    """Return what the DTMS server's thread runs; `lock` is held by whoever uses the market desk."""
    ledger_watch = make_ledger_watch(parts, monitor.modes, "server")
    return MonitorPass(
        monitor=monitor,
        seen=seen,
        clock=parts.clock,
        notifier=parts.notifier,
        health=make_pass_health(parts, "the defence's pass", monitor.modes, ledger_watch, monitor.book),
        lock=lock,
    )


def make_reconciler(
    parts: Parts,
    reads: BrokerReads,
    *,
    account: str,
    magic: int,
    causes: Causes | None = None,
    book: TradeCache | None = None,
) -> Reconciler:
    """Return the gateway's reconciliation of one account; it may share the executor's book."""
    return Reconciler(
        ledger=parts.ledger,
        reads=reads,
        clock=parts.clock,
        notifier=parts.notifier,
        causes=NoCauses() if causes is None else causes,
        account=account,
        magic=magic,
        settle_s=parts.policies.default.operation.settle_s,
        book=TradeCache(parts.ledger) if book is None else book,
    )


def make_desk(parts: Parts, reads: BrokerReads, *, scored: bool) -> MarketData:
    """Return the market as one service sees it; only the DTMS server's saves the indicators."""
    return MarketData(reads=reads, ledger=parts.ledger, policies=parts.policies, scored=scored)


def make_rails(parts: Parts) -> RiskInputs:
    """Return the gatherer of the rails' facts."""
    return RiskInputs(ledger=parts.ledger, policy=parts.policies.default.rails, news=parts.news)


def make_server(
    parts: Parts,
    reads: BrokerReads,
    desk: MarketData,
    *,
    advisory: bool,
    on_verdict: Callable[[Verdict, MarketView | None], None] = lambda _verdict, _view: None,
) -> Server:
    """Return the DTMS server's brain over a desk."""
    modes = make_modes(parts, "server")
    heard = MarginReads(reads, modes, parts.policies.default.rails.margin_level)
    monitor = Monitor(
        ledger=parts.ledger,
        reads=heard,
        clock=parts.clock,
        desk=desk,
        rails=make_rails(parts),
        facts=FactKeeper(ledger=parts.ledger, reads=heard, notifier=parts.notifier),
        sentry=RuntimeInvariants(ledger=parts.ledger, reads=reads),
        crash=parts.crash,
        modes=modes,
        watch=make_watch(parts, modes, on_sleep=desk.doubt),
        progress=make_progress(parts, modes, desk, reads, decides=True, name="dtms.monitor"),
        on_verdict=on_verdict,
    )
    registry = Registry(ledger=parts.ledger, reads=reads, clock=parts.clock, desk=desk, advisory=advisory)
    return Server(monitor=monitor, registry=registry, desk=desk)


def make_exit_manager(
    parts: Parts,
    reads: BrokerReads,
    desk: MarketData,
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

    modes = make_modes(parts, "api")
    manager = IntelligentExitManager(
        ledger=parts.ledger,
        reads=reads,
        clock=parts.clock,
        desk=desk,
        new_rails=lambda: make_rails(parts),
        new_caches=(lambda: new_state_cache(now_ns), lambda: new_last_known_cache(now_ns)),
        connect=connect,
        modes=modes,
        progress=make_progress(parts, modes, desk, reads, decides=False, name="dtms.exits"),
        denials=Denials(notifier=parts.notifier),
        watch=make_watch(parts, NoCauses(), on_sleep=desk.doubt),
        vix=parts.vix,
        on_deferral=on_deferral,
        on_refusal=on_refusal,
    )
    ledger = make_ledger_watch(parts, modes, "api")
    work = ExitPass(manager=manager, health=make_pass_health(parts, "the exits' cycle", modes, ledger, manager.book))
    return Exits(manager=manager, client=made[0], work=work)

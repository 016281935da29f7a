"""The three processes of an installation, each made of the same parts as live, with a memory that a crash drops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock, RLock

import requests
from starlette.types import ASGIApp

from dtms import bootstrap
from dtms.adapters.clocks import AnchoredClock, MemoryAnchor
from dtms.adapters.notify import MemoryNotifier
from dtms.app.commands.opening import Opening
from dtms.app.commands.outbox import Outbox
from dtms.app.defence.cycle import MonitorPass
from dtms.app.gateway.cycle import GatewayPass
from dtms.app.modes.kill_switch import KillSwitch
from dtms.bootstrap import Exits, Parts, Server
from dtms.domain.market import Timeframe
from dtms.domain.policy import Policies
from dtms.errors import BrokerUnavailableError
from dtms.ports.broker import GatewayReads
from dtms.services.api.registrar import HttpRegistrar
from dtms.services.broker_child import TerminalLink, link_to
from dtms.services.gateway.main import next_epoch
from dtms.services.server.live import make_simulated_app
from dtms.services.server.parts import ServerParts, Site, acting
from dtms.services.server.sight import LastSeenReads, SeenSight
from dtms.services.web.access import OneToken
from dtms.services.web.guard import Gate, loopback_policy
from dtms.services.web.health import ReadyReport
from dtms_lab.drill.clock import DrillClock
from dtms_lab.drill.dice import Dice
from dtms_lab.drill.disk import Disk, ProcessLedger
from dtms_lab.drill.hooks import Hooks, Points
from dtms_lab.drill.kinds import Kind
from dtms_lab.drill.script import ScoreScript, ScriptedMarketData
from dtms_lab.drill.ways import Door, DtmsWay, HttpWay, QuoteTrouble, Reads, Sender, SendLog, Wire
from dtms_lab.simulate.services import MAGIC, SERVER_PORT, SERVER_URL, TOKEN
from dtms_lab.simulate.wire import InProcessDtms
from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.link import Link
from dtms_lab.terminal.named import named
from dtms_lab.terminal.terminal import SimTerminal


@dataclass(slots=True, kw_only=True)
class Ground:
    """What all processes stand on, and what outlives each of them."""

    clock: DrillClock
    dice: Dice
    hooks: Hooks
    disk: Disk
    policies: Policies
    notifier: MemoryNotifier
    script: ScoreScript
    backend: TerminalBackend
    link: Link
    door: Door
    quotes: QuoteTrouble
    wire: Wire
    log: SendLog = field(default_factory=SendLog)
    anchor: MemoryAnchor = field(default_factory=MemoryAnchor)

    def parts(self, who: str) -> Parts:
        """Return the parts of one process."""
        clock = AnchoredClock(self.anchor, self.clock)
        return Parts(
            ledger=ProcessLedger(self.disk, self.dice, self.hooks, who),
            clock=clock,
            anchor=clock,
            policies=self.policies,
            notifier=self.notifier,
            crash=Points(self.hooks, who),
        )

    def reads(self, who: str) -> Reads:
        """Return one process's way to the broker."""
        return Reads(who=who, door=self.door, hooks=self.hooks, dice=self.dice, quotes=self.quotes)


@dataclass(slots=True, kw_only=True)
class Gateway:
    """The order gateway."""

    ground: Ground
    who: str = "gateway"
    broker: TerminalLink | None = None
    work: GatewayPass | None = None

    @property
    def recovered(self) -> bool:
        """Say whether what the last gateway left on its way is known."""
        return self.work is not None and self.work.recovered

    def turn(self) -> Exception | None:
        """Start, or make one pass as live; return what it failed on.

        Raises:
            DtmsError: It could not start, as a live process that ends and is started again.
        """
        if self.work is None:
            self.work = self._start()
        return self.work.run()

    def _start(self) -> GatewayPass:
        ground = self.ground
        parts = ground.parts(self.who)
        if self.broker is None:
            account = ground.backend.server.state.account
            with named(SimTerminal(ground.backend.server, backend=ground.backend, link=ground.link)) as module:
                self.broker = link_to(
                    module, account=account.login, server=account.server, magic=MAGIC, clock=parts.clock.market_now
                )
        key = self.broker.connect().key
        epoch = next_epoch(parts.ledger)
        sender = Sender(inner=self.broker, epoch=epoch, log=ground.log, clock=ground.clock.market_now)
        reads = Reads(who=self.who, door=self, hooks=ground.hooks, dice=ground.dice, quotes=ground.quotes)
        executor = bootstrap.make_executor(parts, reads, sender, epoch=epoch)
        reconciler = bootstrap.make_reconciler(
            parts, reads, account=key, magic=MAGIC, causes=executor.modes, book=executor.book
        )
        return bootstrap.make_gateway_pass(parts, executor, reconciler, self.broker)

    def broker_for(self, who: str) -> GatewayReads:
        """Return its own broker; fulfils `Door`."""
        if self.broker is None:
            raise BrokerUnavailableError(f"the gateway has no terminal yet for {who}; wait until it is connected")
        return self.broker

    def hung(self) -> None:
        """Do nothing: who hangs itself is killed where it hangs."""


class _Cached:
    """The server's application: it takes long to build, so one is built a process, and every world is put behind it."""

    site: Site | None = None
    app: ASGIApp | None = None


def server_app(parts: ServerParts) -> ASGIApp:
    """Return the application with this world behind it."""
    if _Cached.site is None or _Cached.app is None:
        _Cached.site = Site(parts)
        _Cached.app = make_simulated_app(_Cached.site, gate=Gate(loopback_policy(SERVER_PORT), OneToken(TOKEN)))
    _Cached.site.use(parts)
    return _Cached.app


@dataclass(slots=True, kw_only=True)
class DtmsServer:
    """The DTMS server."""

    ground: Ground
    act: Callable[[], object]
    who: str = "server"
    parts: Parts = field(init=False)
    reads: LastSeenReads = field(init=False)
    desk: ScriptedMarketData = field(init=False)
    server: Server = field(init=False)
    app: ASGIApp = field(init=False)
    work: MonitorPass = field(init=False)

    def __post_init__(self) -> None:
        self.parts = self.ground.parts(self.who)
        self.reads = LastSeenReads(self.ground.reads(self.who), self.ground.clock.boot_ns)
        self.desk = ScriptedMarketData(
            reads=self.reads,
            ledger=self.parts.ledger,
            policies=self.ground.policies,
            scored=False,
            script=self.ground.script,
        )
        self.server = bootstrap.make_server(self.parts, self.reads, self.desk, advisory=False)
        lock = Lock()
        self.work = bootstrap.make_monitor_pass(self.parts, self.server.monitor, self.reads, lock=lock)
        self.app = server_app(
            ServerParts(
                ledger=self.parts.ledger,
                clock=self.parts.clock,
                monitor=self.server.monitor,
                registry=self.server.registry,
                sight=SeenSight(self.reads),
                ready=self._ready,
                recovered=lambda: self.recovered,
                wait_until=acting(self.act),
                lock=lock,
                policy_digest="",
            )
        )

    @property
    def recovered(self) -> bool:
        """Say whether a whole pass was made."""
        return self.work.recovered

    def turn(self) -> Exception | None:
        """Recover, or make one pass as live; return what it failed on."""
        return self.work.run()

    def _ready(self) -> ReadyReport:
        return ReadyReport(ready=self.recovered, dependencies={"drill": "ok" if self.recovered else "recovering"})


@dataclass(slots=True, kw_only=True)
class MainApi:
    """The main API: the exit manager, openings, registrations that wait, the kill switch."""

    ground: Ground
    app: Callable[[], ASGIApp]
    fed: bool
    who: str = "api"
    parts: Parts = field(init=False)
    desk: ScriptedMarketData = field(init=False)
    exits: Exits = field(init=False)
    opening: Opening = field(init=False)
    outbox: Outbox = field(init=False)
    kill: KillSwitch = field(init=False)
    _feed: InProcessDtms = field(init=False)

    def __post_init__(self) -> None:
        ground = self.ground
        self.parts = ground.parts(self.who)
        reads = ground.reads(self.who)
        self.desk = ScriptedMarketData(
            reads=reads,
            ledger=self.parts.ledger,
            policies=ground.policies,
            scored=False,
            script=ground.script,
            bar=Timeframe.M5.value,
        )

        async def server(scope: object, receive: object, send: object) -> None:
            await self.app()(scope, receive, send)  # type: ignore[arg-type]

        self.exits = bootstrap.make_exit_manager(
            self.parts,
            reads,
            self.desk,
            server_url=SERVER_URL,
            sleep=ground.clock.sleep,
            transport=DtmsWay(server, ground.wire, ground.dice),
        )
        self.opening = Opening(
            ledger=self.parts.ledger,
            reads=reads,
            clock=self.parts.clock,
            desk=self.desk,
            new_rails=lambda: bootstrap.make_rails(self.parts),
            lock=RLock(),
            advisory=False,
        )
        session = requests.Session()
        session.mount(SERVER_URL, HttpWay(server, ground.wire, ground.dice))
        self.outbox = Outbox(
            ledger=self.parts.ledger,
            reads=reads,
            clock=self.parts.clock,
            policies=ground.policies,
            registrar=HttpRegistrar(SERVER_URL, token=TOKEN, session=session),
            notifier=ground.notifier,
        )
        self.kill = KillSwitch(ledger=self.parts.ledger, clock=self.parts.clock, notifier=ground.notifier)
        self._feed = InProcessDtms(ledger=self.parts.ledger, app=server)

    def works(self) -> tuple[Callable[[], object], ...]:
        """Return what its threads do: each fails and is tried again by itself."""
        return (self.feed, self.exits.work.run, self.kill.enforce, self.outbox.deliver_due)

    def feed(self) -> None:
        """Take what the server's event stream tells, where this API has one."""
        if not self.fed:
            return
        if not self.ground.wire.up() or self.ground.dice.strikes(Kind.FEED_GAP):
            self.exits.client.feed_lost()
            return
        self._feed.push(self.exits.client, self.parts.clock.boot_ns())

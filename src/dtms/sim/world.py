"""Everything in one process on virtual time: broker, gateway, DTMS server and exit manager over in-memory parts.

The services are the same code as live; what differs is what `bootstrap` wired: a clock that is set, a ledger in memory, a
terminal in the same process, which is found by a module's name as live.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from starlette.types import ASGIApp

from dtms import bootstrap
from dtms.adapters.clocks import VirtualClock
from dtms.adapters.files.tape import Tape
from dtms.adapters.instruments import InstrumentBook, open_book
from dtms.adapters.notify import MemoryNotifier
from dtms.adapters.sql import open_ledger
from dtms.adapters.terminal.backend import TerminalBackend
from dtms.adapters.terminal.driver import TapeDriver, TapeEvent
from dtms.adapters.terminal.named import named
from dtms.adapters.terminal.oracle import OracleLog
from dtms.adapters.terminal.records import AccountSpec
from dtms.adapters.terminal.server import SimServer
from dtms.adapters.terminal.terminal import SimTerminal
from dtms.adapters.terminal.traits import FRESH
from dtms.app.executor import Executor
from dtms.app.market_desk import MarketDesk
from dtms.app.offset_keeper import OffsetKeeper
from dtms.app.reconcile import Reconciler
from dtms.bootstrap import Exits, Parts, Server
from dtms.domain.policy import PolicyBook
from dtms.domain.score import MarketView
from dtms.domain.trade import Trade
from dtms.domain.units import SECOND, Millis
from dtms.domain.verdict import Refusal, Verdict
from dtms.ports.ledger import Ledger
from dtms.services.api.app import make_api_app
from dtms.services.api.live import simulated_parts as simulated_api_parts
from dtms.services.broker_child import TerminalLink, link_to
from dtms.services.server.live import make_simulated_app, simulated_parts
from dtms.services.server.parts import Site
from dtms.services.web.access import OneToken
from dtms.services.web.guard import Gate, loopback_policy
from dtms.services.web.offload import inline
from dtms.sim.wire import InProcessDtms

MAGIC = 20_010_800
SERVER_PORT = 8001
API_PORT = 8000
API_URL = f"http://127.0.0.1:{API_PORT}"
SERVER_URL = f"http://127.0.0.1:{SERVER_PORT}"
TOKEN = "simulated-simulated-simulated-simulated-sim"  # noqa: S105 - guards nothing
"""The bearer token inside a simulation: it protects nothing, the same guard is just passed the same way."""

_PERIODIC = 30 * SECOND


@dataclass(slots=True, kw_only=True)
class World:
    """The whole system around a set of tapes. `step` lets the market move once and every service act on it."""

    clock: VirtualClock
    oracle: OracleLog
    sim: SimServer
    driver: TapeDriver
    terminal: SimTerminal
    broker: TerminalLink
    ledger: Ledger
    notifier: MemoryNotifier
    policies: PolicyBook
    desk: MarketDesk
    executor: Executor
    reconciler: Reconciler
    offset: OffsetKeeper
    server: Server
    exits: Exits
    dtms: InProcessDtms
    api: ASGIApp
    symbols: tuple[str, ...]
    on_event: Callable[[TapeEvent], None] = lambda _event: None
    _last_pass: Millis = field(default=Millis(0))

    def step(self) -> bool:
        """Apply the next event of the tapes and let the services act; False at the tapes' end."""
        at = self.driver.next_at
        if at is None:
            return False
        self._wake_until(at)
        self.clock.now = at
        event = self.driver.step()
        if event is None:
            return False
        if event.quote is not None:
            self.on_event(event)
            self.act()
        return True

    def act(self) -> None:
        """Let every service run until nothing changes any more at this instant."""
        self.server.monitor.tick()
        self.offset.step()
        self.dtms.push(self.exits.client, self.clock.boot_ns())
        self.exits.manager.cycle()
        while self.executor.tick():
            self.server.monitor.tick()
        page = self.executor.book.page()
        if page.causes:
            # Live the gateway's loop compares from its start on; here only what waits for a comparison asks for one.
            self.reconciler.step(page.unfinished)
        self._last_pass = self.clock.now

    def _wake_until(self, at: Millis) -> None:
        """Let services wake between two market events: closed bars, deadlines, and every 30 s."""
        while (wake := self._next_wake()) < at:
            self.clock.now = max(self.clock.now, wake)
            self.act()

    def _next_wake(self) -> Millis:
        wanted = self.server.monitor.next_wake()
        periodic = Millis(self._last_pass + _PERIODIC)
        return periodic if wanted is None else min(periodic, wanted)


def make_world(
    tapes: Sequence[Tape],
    *,
    policies: PolicyBook,
    start: Millis | None = None,
    account: AccountSpec | None = None,
    instruments: InstrumentBook | None = None,
    ledger_url: str = "sqlite://",
    on_verdict: Callable[[Verdict, MarketView | None], None] = lambda _verdict, _view: None,
    on_deferral: Callable[[Trade], None] = lambda _trade: None,
    on_refusal: Callable[[Refusal], None] = lambda _refusal: None,
) -> World:
    """Return a world at the tapes' start, recovered and ready.

    Raises:
        SettingsError: A tape is coarser than M1, empty, or of a symbol that the simulated broker does not have.
    """
    clock = VirtualClock(Millis(0))
    oracle = OracleLog()
    book = open_book() if instruments is None else instruments
    sim = SimServer(now=clock.market_now, account=account, specs=book.specs, usd_rates=book.usd_rates, recorder=oracle)
    driver = TapeDriver(sim, tapes, start=start)
    clock.now = driver.start
    terminal = SimTerminal(sim, backend=TerminalBackend(sim, traits=FRESH))
    with named(terminal) as module:
        broker = link_to(
            module, account=None, server=None, magic=MAGIC, clock=clock.market_now, aliases=policies.aliases
        )
    key = broker.connect().key
    ledger = open_ledger(ledger_url, account=key, clock=clock.market_now, epoch="simulated")
    notifier = MemoryNotifier()
    parts = Parts(ledger=ledger, clock=clock, policies=policies, notifier=notifier)
    offset = OffsetKeeper(ledger=ledger, source=broker, clock=clock)
    offset.start()
    desk = bootstrap.make_desk(parts, broker, scored=False)
    server = bootstrap.make_server(parts, broker, desk, advisory=False, on_verdict=on_verdict)
    executor = bootstrap.make_executor(parts, broker, broker, epoch=1)
    executor.recover()
    reconciler = bootstrap.make_reconciler(
        parts, broker, account=key, magic=MAGIC, causes=executor.modes, book=executor.book
    )
    site = Site(simulated_parts(parts, server, broker, act=executor.tick))
    app = make_simulated_app(site, gate=Gate(loopback_policy(SERVER_PORT), OneToken(TOKEN)))
    dtms = InProcessDtms(ledger=ledger, app=app)
    api_parts = simulated_api_parts(
        parts, broker, desk, server=app, server_url=SERVER_URL, token=TOKEN, act=executor.tick
    )
    api = make_api_app(api_parts, gate=Gate(loopback_policy(API_PORT), OneToken(TOKEN)), offload=inline)
    exits = bootstrap.make_exit_manager(
        parts,
        broker,
        desk,
        server_url=SERVER_URL,
        sleep=clock.sleep,
        transport=dtms,
        on_deferral=on_deferral,
        on_refusal=on_refusal,
    )
    return World(
        clock=clock,
        oracle=oracle,
        sim=sim,
        driver=driver,
        terminal=terminal,
        broker=broker,
        ledger=ledger,
        notifier=notifier,
        policies=policies,
        desk=desk,
        executor=executor,
        reconciler=reconciler,
        offset=offset,
        server=server,
        exits=exits,
        dtms=dtms,
        api=api,
        symbols=tuple(tape.symbol for tape in tapes),
    )

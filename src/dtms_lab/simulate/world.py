"""A market of tapes around the whole system, in one process on virtual time: broker, gateway, DTMS server, exit manager.

The services are the same code as live; what differs is what `bootstrap` wired: a clock that is set, a ledger in memory, a
terminal in the same process, which is found by a module's name as live.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dtms.adapters.clocks import VirtualClock
from dtms.adapters.notify import MemoryNotifier
from dtms.adapters.sql import open_ledger
from dtms.bootstrap import Parts
from dtms.domain.policy import Policies
from dtms.domain.units import Millis
from dtms.ports.ledger import Ledger
from dtms.services.broker_child import TerminalLink, link_to
from dtms_lab.instruments import InstrumentBook, open_book
from dtms_lab.simulate.services import MAGIC, PERIODIC, Services, Told, start_services
from dtms_lab.tapes.tape import Tape
from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.driver import TapeDriver, TapeEvent
from dtms_lab.terminal.named import named
from dtms_lab.terminal.oracle import OracleLog
from dtms_lab.terminal.records import AccountSpec
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.terminal import SimTerminal
from dtms_lab.terminal.traits import FRESH


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
    policies: Policies
    services: Services
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
        self.services.turn()
        self._last_pass = self.clock.now

    def _wake_until(self, at: Millis) -> None:
        """Let services wake between two market events: closed bars, deadlines, a pass to be tried again, and every 30 s."""
        while (wake := self._next_wake()) < at:
            self.clock.now = max(self.clock.now, wake)
            self.act()

    def _next_wake(self) -> Millis:
        wanted = self.services.next_wake()
        periodic = Millis(self._last_pass + PERIODIC)
        return periodic if wanted is None else min(periodic, wanted)


def make_world(
    tapes: Sequence[Tape],
    *,
    policies: Policies,
    start: Millis | None = None,
    account: AccountSpec | None = None,
    instruments: InstrumentBook | None = None,
    ledger_url: str = "sqlite://",
    told: Told | None = None,
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
    ledger = open_ledger(ledger_url, account=broker.connect().key, clock=clock.market_now, epoch="simulated")
    notifier = MemoryNotifier()
    parts = Parts(ledger=ledger, clock=clock, policies=policies, notifier=notifier)
    world = World(
        clock=clock,
        oracle=oracle,
        sim=sim,
        driver=driver,
        terminal=terminal,
        broker=broker,
        ledger=ledger,
        notifier=notifier,
        policies=policies,
        services=start_services(parts, broker, clock=clock, told=told),
        symbols=tuple(tape.symbol for tape in tapes),
    )
    world.act()
    return world

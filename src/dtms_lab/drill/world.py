"""One seed's world: the market, the broker, the three processes, the operator, and all the trouble between them.

One thread, one clock. Processes have their turns in a random order; at each place between two things that a process does it
may die, time may pass, or another process may have its turn.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar

from starlette.types import ASGIApp

from dtms.adapters.clocks import AnchoredClock
from dtms.adapters.notify import MemoryNotifier
from dtms.domain.policy import Policies
from dtms.domain.units import HOUR, SECOND, Millis
from dtms.errors import BrokerError, BrokerUnavailableError, InvariantError, LedgerError, MarketDataError
from dtms.ports.broker import GatewayReads
from dtms_lab.drill.broker_changes import BrokerChanges
from dtms_lab.drill.clock import DrillClock
from dtms_lab.drill.dice import Dice
from dtms_lab.drill.disk import MemoryDisk, NewDisk
from dtms_lab.drill.kinds import Kind, PowerLoss, SimCrash
from dtms_lab.drill.law_progress import ProgressLaws
from dtms_lab.drill.market import Market
from dtms_lab.drill.person import Operator
from dtms_lab.drill.probes import Prober
from dtms_lab.drill.processes import DtmsServer, Gateway, Ground, MainApi
from dtms_lab.drill.record import Record
from dtms_lab.drill.script import ScoreScript
from dtms_lab.drill.swarm import SeedPlan, with_spread
from dtms_lab.drill.watch import Watch, WatchedOracle
from dtms_lab.drill.ways import ServerDiedError, TappedLink
from dtms_lab.simulate.services import MAGIC
from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.fault_plan import Injector
from dtms_lab.terminal.faults import FaultyLink, HangError
from dtms_lab.terminal.faulty_dealer import FaultyDealer
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.server_time import offset_of

Answer = TypeVar("Answer")

_CRASHES: Final = {"gateway": Kind.CRASH_GATEWAY, "server": Kind.CRASH_SERVER, "api": Kind.CRASH_API}
_TURN_SHARE: Final = {"gateway": 0.95, "server": 0.95, "api": 0.7}
_QUIET: Final = (2.0, 5.0, 15.0, 30.0)
_BUSY: Final = (0.25, 0.5, 1.0, 2.0)
_ROUNDS: Final = 3
_ZOMBIE_TURNS: Final = 25
_LOOPS: Final = 10


class World:
    """Everything of one seed; `step` lets it live on a little. Fulfils `Hooks`, `Door` and `Wire`."""

    def __init__(self, plan: SeedPlan, new_disk: NewDisk = MemoryDisk) -> None:
        self.plan = plan
        self.dice = Dice(plan.seed, plan.rates)
        self.clock = DrillClock(plan.start, booted=plan.start - HOUR)
        self.oracle = WatchedOracle()
        self.injector = Injector(plan.broker)
        specs = {listing.name: listing.spec for listing in plan.listings}
        self.dealer = FaultyDealer(self.injector, specs=specs, only=lambda request: request.magic == MAGIC)
        self.sim = SimServer(
            now=self.clock.market_now,
            account=plan.account,
            specs=specs,
            recorder=self.oracle,
            dealer=self.dealer,
            market_open=lambda symbol, at: self.market.is_open(symbol, at),  # noqa: PLW0108 - the market comes later
            offset=offset_of(plan.traits.zone),
        )
        self.market = Market(self.sim, plan.listings, self.dice, self.clock.market_now)
        self.sim.close(*plan.closures)
        self.market.move()
        backend = TerminalBackend(self.sim, traits=plan.traits)
        self.changes = BrokerChanges(sim=self.sim, backend=backend, dice=self.dice, specs=specs, lonely=self._lonely)
        self.market.quoted = self.changes.mirror
        self.link = FaultyLink(backend, self.injector)
        self.tap = TappedLink(self.link, self._call_takes_time)
        account = plan.account
        self.ground = Ground(
            clock=self.clock,
            dice=self.dice,
            hooks=self,
            disk=new_disk(f"{account.server}:{account.login}", self.clock.market_now),
            policies=Policies(
                default=plan.policy,
                by_symbol={each.canonical: with_spread(plan.policy, each) for each in plan.listings},
            ),
            notifier=MemoryNotifier(),
            script=ScoreScript(
                plan.seed,
                plan.start,
                {listing.name: listing.atr for listing in plan.listings},
                deep_until=plan.deep_until,
            ),
            backend=backend,
            link=self.tap,
            door=self,
            quotes=self.market,
            wire=self,
        )
        AnchoredClock(self.ground.anchor, self.clock)  # the installation began with a wall clock that was right
        self.record = Record(
            sim=self.sim,
            disk=lambda: self.ground.disk,
            log=self.ground.log,
            notifier=self.ground.notifier,
            clock=self.clock.market_now,
            relevelled=self.dealer.relevelled,
            renumbered=self.changes.renumbered,
        )
        self.progress = ProgressLaws(self)
        self.watch = Watch(
            record=self.record,
            machine=plan.policy.machine,
            refusals_per_hour=plan.policy.operation.refusals_per_hour,
            able=self._able,
        )
        self.oracle.told = self.watch.on_entry
        self.operator = Operator(
            sim=self.sim,
            dice=self.dice,
            listings=plan.listings,
            most_trades=plan.most_trades,
            clock=self.clock.market_now,
            server=lambda: self.server,
            api=lambda: self.api,
            in_server=lambda work: self._as("server", work),
            in_api=lambda work: self._as("api", work),
            managed=lambda: frozenset(trade.identifier for trade in self.record.open),
            answered=self.answered,
        )
        self.prober = Prober(
            dice=self.dice,
            server=lambda: self.server,
            as_server=lambda work: self._as("server", work),
            record=self.record,
        )
        self.gateway: Gateway | None = None
        self.server: DtmsServer | None = None
        self.api: MainApi | None = None
        self.zombies: list[tuple[Gateway, int]] = []
        self.places: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.tracebacks: list[str] = []
        self.steps = 0
        self._fed = self.dice.stream("fed").random() < 0.5  # noqa: PLR2004 - half of the seeds
        self._slept = False
        self._stack: list[str] = []
        self._restart_at: dict[str, Millis] = dict.fromkeys(_CRASHES, plan.start)
        self._stopped: dict[str, Millis] = {}
        self._cut: dict[str, Millis] = {}
        self._fresh: dict[str, int] = {}

    # ----- one step

    def step(self) -> None:
        """Let time pass, the market move, the operator act, and every process have its turn."""
        self.steps += 1
        self.record.step = self.steps
        try:
            self._pass_time()
            self._trouble()
            self.market.move()
            self._start_what_is_down()
            self.changes.act()
            self.operator.act()
            self._turns()
            self.prober.maybe()
        except PowerLoss:
            self._power_cut()
        self.progress.passed(self.watch.check())

    def calm_step(self, seconds: float) -> None:
        """Do the same without any trouble, as the healing phase does."""
        self.steps += 1
        self.record.step = self.steps
        self.clock.sleep(seconds)
        self.link.pump()
        self.market.move()
        self._start_what_is_down()
        self.operator.rest()
        self._turns()
        self.progress.passed(self.watch.check())

    def heal(self) -> None:
        """End all trouble: everything that is down or stopped comes back with the next step."""
        self.dice.heal()
        self.link.heal()
        self.dealer.calm()
        self.sim.state.closures = ()
        self.sim.state.set_leverage(self.plan.account.leverage)
        self.clock.wall_shift = 0
        self._stopped.clear()
        self._cut.clear()
        self.zombies.clear()
        self._restart_at.update(dict.fromkeys(_CRASHES, self.clock.now))

    def _pass_time(self) -> None:
        stream = self.dice.stream("time")
        seconds = stream.choice(_BUSY if self.watch.busy else _QUIET)
        self._slept = self.dice.strikes(Kind.SUSPEND)
        if self._slept:
            self.clock.suspend(stream.uniform(60.0, 4 * 3_600.0))
        else:
            self.clock.sleep(seconds)
        self.link.pump()

    def _call_takes_time(self) -> None:
        if self.dice.strikes(Kind.SLOW_CALL):
            self.clock.sleep(self.dice.stream("slow").uniform(0.3, 3.0))

    def _trouble(self) -> None:
        stream = self.dice.stream("trouble")
        now = self.clock.now
        if self.dice.strikes(Kind.MARGIN):
            full = self.plan.account.leverage
            self.sim.state.set_leverage(full // 5 if self.sim.state.account.leverage == full else full)
        if self.dice.strikes(Kind.WALL_JUMP):
            self.clock.wall_shift += stream.choice((-1, 1)) * stream.choice((SECOND, HOUR, 10 * 365 * 24 * HOUR))
        if self.dice.strikes(Kind.REBOOT):
            self.clock.reboot()
            raise PowerLoss
        if self.dice.strikes(Kind.PAUSE):
            self._stopped[stream.choice(tuple(_CRASHES))] = Millis(now + stream.randrange(1, 60) * SECOND)
        if self.dice.strikes(Kind.READS_CUT):
            self._cut[stream.choice(("server", "api"))] = Millis(now + stream.randrange(1, 40) * SECOND)
        if self.dice.strikes(Kind.DTMS_CUT):
            self._cut["wire"] = Millis(now + stream.randrange(1, 60) * SECOND)
        if self.gateway is not None and self.dice.strikes(Kind.ZOMBIE):
            self.zombies.append((self.gateway, _ZOMBIE_TURNS))
            self.gateway = None
            self._restart_at["gateway"] = now

    def _start_what_is_down(self) -> None:
        now = self.clock.now
        if self.gateway is None and now >= self._restart_at["gateway"]:
            self.gateway = Gateway(ground=self.ground)
            self._fresh["gateway"] = 0
        if self.server is None and now >= self._restart_at["server"]:
            self.server = DtmsServer(ground=self.ground, act=lambda: self._turn("gateway"))
            self._fresh["server"] = 0
        if self.api is None and now >= self._restart_at["api"]:
            self.api = MainApi(ground=self.ground, app=self._app, fed=self._fed)
            self._fresh["api"] = 0

    def _lonely(self) -> frozenset[int]:
        legs = {trade.trade_id for trade in self.record.open if trade.legs}
        busy = {intent.trade_id for intent in self.record.unfinished} | legs
        return frozenset(trade.identifier for trade in self.record.open if trade.trade_id not in busy)

    def _app(self) -> ASGIApp:
        if self.server is None:
            raise BrokerUnavailableError("the server is down; it is started again soon")
        return self.server.app

    def _turns(self) -> None:
        stream = self.dice.stream("turns")
        order = list(_TURN_SHARE)
        stream.shuffle(order)
        if self.zombies and stream.random() < 0.5:  # noqa: PLR2004 - sometimes it is the faster one
            self._zombies()
        for who in order:
            if self.dice.healed or stream.random() < _TURN_SHARE[who]:
                self._turn(who)
                self._zombies()
        for _ in range(_ROUNDS):
            if not self.watch_unfinished():
                break
            self._turn("gateway")
            self._turn("server")

    def watch_unfinished(self) -> bool:
        """Say whether the disk shows anything that a process could go on with now."""
        self.watch.refresh()
        return any(
            intent.created_at <= self.clock.now and intent.state.value == "PLANNED" for intent in self.record.unfinished
        )

    def _zombies(self) -> None:
        kept = []
        for gateway, left in self.zombies:
            if self.dice.stream("turns").random() < 0.7:  # noqa: PLR2004 - now and then
                kept.append((gateway, left))
                continue
            alive = self._run("gateway", gateway.turn)
            if alive and left > 1:
                kept.append((gateway, left - 1))
        self.zombies = kept

    # ----- turns

    def _slot(self, who: str) -> Gateway | DtmsServer | MainApi | None:
        return {"gateway": self.gateway, "server": self.server, "api": self.api}[who]

    def _can(self, who: str) -> bool:
        up = self._slot(who) is not None and who not in self._stack
        return up and self.clock.now >= self._stopped.get(who, 0)

    def _turn(self, who: str) -> None:
        """Let one process work, where it is there and nobody holds it."""
        if not self._can(who):
            return
        process = self._slot(who)
        works = (
            process.works() if isinstance(process, MainApi) else () if process is None else (self._pass_of(process),)
        )
        for work in works:
            if not self._run(who, work):
                self._kill(who)
                return
        if isinstance(process, DtmsServer | MainApi):
            self._believed(process)

    def _pass_of(self, process: Gateway | DtmsServer) -> Callable[[], object]:
        return lambda: self.progress.turn(process)

    def _believed(self, process: DtmsServer | MainApi) -> None:
        for symbol in process.desk.symbols():
            quote = process.desk.symbol(symbol, self.clock.now).feed.last
            if quote is not None:
                self.watch.believes(process.who, quote, self.market.spoilt)
        self.watch.ledger.turned(process.who)

    def _as(self, who: str, work: Callable[[], object]) -> bool:
        """Do a piece of work as a process that is there; False where it is not, or where it ended meanwhile."""
        if not self._can(who):
            return False
        alive = self._run(who, work)
        if not alive:
            self._kill(who)
        return alive

    def _run(self, who: str, work: Callable[[], object]) -> bool:
        """Run what a loop runs, and look at what it failed on; False where the process died."""
        self._stack.append(who)
        try:
            self._noted(who, work())
        except SimCrash as crash:
            if crash.who != who:
                raise
            return False
        except HangError:
            if who == "gateway":
                return False
            self.hung()
        except Exception as error:  # noqa: BLE001 - whatever it is that nobody expects is the run's finding
            self._noted(who, error)
        finally:
            self._stack.pop()
        return True

    def _noted(self, who: str, found: object) -> None:
        """Count what a pass failed on as expected, or report it as an error of our own."""
        match found:
            case LedgerError() | BrokerError() | MarketDataError():
                self.failures[f"{who} {type(found).__name__}"] += 1
            case InvariantError():
                self._own(who, "own invariant", found)
            case Exception():
                self._own(who, "own error", found)
            case _:
                pass

    def _own(self, who: str, law: str, error: Exception) -> None:
        self.tracebacks.append("".join(traceback.format_exception(error)))
        self.record.report(law, f"{who}: {error!r}", f"{who} {type(error).__name__}")

    def restart(self) -> None:
        """End every process and let gateway and server come back at this instant, without trouble.

        The exit manager may go on at once where its last process still believed a cached answer: that is no difference.
        """
        for who in _CRASHES:
            self._kill(who)
            self._restart_at[who] = self.clock.now
        self._start_what_is_down()
        for who in ("gateway", "server") * _ROUNDS:
            self._turn(who)
        self.progress.passed(self.watch.check())

    def _kill(self, who: str) -> None:
        self.watch.restarted(who)
        stream = self.dice.stream("restart")
        self._restart_at[who] = Millis(self.clock.now + stream.choice((0, 1, 2, 5, 15)) * SECOND)
        if who == "gateway":
            self.gateway = None
            self.link.close()
        elif who == "server":
            self.server = None
        else:
            self.api = None

    def _power_cut(self) -> None:
        self._stack.clear()
        for who in _CRASHES:
            self._kill(who)
        self.zombies.clear()
        self.ground.disk.cut()
        self.record.forget()

    def _able(self) -> bool:
        """Say whether the defence as a whole could have acted just now."""
        flags, state = self.ground.backend.flags, self.sim.state
        terminal = flags.connected and flags.trade_allowed and not flags.tradeapi_disabled
        account = state.trade_allowed and state.expert_allowed
        there = self.gateway is not None and self.gateway.recovered and self.server is not None
        now = self.clock.now
        held = any(until > now for until in (*self._stopped.values(), *self._cut.values()))
        awake = not held and not self._slept
        return terminal and account and there and awake and not self.market.closed()

    # ----- hooks

    def between(self, who: str, place: str) -> None:
        """Pass a place outside of transactions; fulfils `Hooks`."""
        self.watch.passes(who, place)
        self.inside(who, place)
        if self.dice.strikes(Kind.POWER_LOSS):
            raise PowerLoss
        if len(self._stack) == 1 and self.dice.strikes(Kind.RACE):
            self._race(who, place)

    def inside(self, who: str, place: str) -> None:
        """Pass a place within a transaction; fulfils `Hooks`."""
        self.places[f"{who} {place}"] += 1
        if not self._stack or self.dice.healed:
            return
        fresh = self._fresh.get(who, _LOOPS)
        if self.dice.strikes(_CRASHES[who]):
            raise SimCrash(who, place)
        if fresh < _LOOPS and place != "read":
            self._fresh[who] = fresh + 1
            if fresh < 3 and self.dice.strikes(Kind.CRASH_LOOP):  # noqa: PLR2004 - in its first steps
                raise SimCrash(who, place)

    def _race(self, who: str, _place: str) -> None:
        stream = self.dice.stream("race")
        choices = [other for other in _CRASHES if other != who] + ["market", "time"]
        if who != "gateway":
            choices.append("hand")
        choice = stream.choice(choices)
        if choice == "market":
            self.market.nudge()
        elif choice == "time":
            self.clock.sleep(stream.uniform(0.1, 3.0))
            self.link.pump()
        elif choice == "hand":
            self.operator.hand()
        else:
            self._turn(choice)

    # ----- the gateway's door, and the wire

    def broker_for(self, who: str) -> GatewayReads:
        """Return the gateway's reads for another process; fulfils `Door`."""
        gateway = self.gateway
        now = self.clock.now
        out = gateway is None or now < self._stopped.get("gateway", 0) or now < self._cut.get(who, 0)
        if out or gateway is None or gateway.broker is None:
            raise BrokerUnavailableError("the gateway does not answer; nothing was sent")
        return gateway.broker

    def hung(self) -> None:
        """End the gateway, whose terminal hangs; fulfils `Door`."""
        if "gateway" not in self._stack:
            self._kill("gateway")

    def up(self) -> bool:
        """Say whether the server is in reach of the API; fulfils `Wire`."""
        return self._can("server") and self.clock.now >= self._cut.get("wire", 0)

    def serve(self, work: Callable[[], Answer]) -> Answer:
        """Let the server answer a request; fulfils `Wire`."""
        self._stack.append("server")
        try:
            return work()
        except SimCrash as crash:
            if crash.who != "server":
                raise
            self._kill("server")
            raise ServerDiedError from crash
        finally:
            self._stack.pop()

    def sleep(self, seconds: float) -> None:
        """Let time pass; fulfils `Wire`."""
        self.clock.sleep(seconds)

    def answered(self, method: str, url: str, status: int, body: bytes) -> None:
        """Take note of an answer of the server; fulfils `Wire`."""
        self.statuses[status] += 1
        if status >= 500 and status != 503:  # noqa: PLR2004 - HTTP statuses
            self.record.report("I14 HTTP", f"{method} {url} answered {status}: {body[:160]!r}", f"{method} {status}")

"""The loop around the monitor: recovery first, failures survived and told, readiness true."""

from __future__ import annotations

import threading
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from dtms import bootstrap
from dtms.bootstrap import Parts
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import Account, Deal, PositionsRead
from dtms.domain.units import Millis
from dtms.errors import BrokerUnavailableError, InvalidDataError
from dtms.ports.broker import BrokerReads
from dtms.ports.notifier import AlertKind
from dtms.services.server import LastSeenReads, MonitorLoop, Readiness
from dtms.services.server.parts import acting, polling
from dtms.services.web.in_process import drive
from dtms.services.web.offload import inline
from dtms.settings import load_policy


@dataclass
class ShakyReads:
    """A broker that can be made silent."""

    broker: BrokerReads
    silent: bool = False
    barless: str = ""
    asked: list[str] = field(default_factory=list)

    def _ask(self, name: str) -> BrokerReads:
        self.asked.append(name)
        if self.silent:
            raise BrokerUnavailableError("the gateway does not answer")
        return self.broker

    def account(self) -> Account:
        return self._ask("account").account()

    def instrument(self, symbol: str) -> Any:
        return self._ask(f"instrument {symbol}").instrument(symbol)

    def positions(self) -> PositionsRead:
        return self._ask("positions").positions()

    def quote(self, symbol: str) -> Quote:
        return self._ask("quote").quote(symbol)

    def bars(self, symbol: str, timeframe: Timeframe, count: int) -> tuple[Bar, ...]:
        if symbol == self.barless:
            raise InvalidDataError(f"bars of {symbol}: the server's offset is not known yet")
        return self._ask("bars").bars(symbol, timeframe, count)

    def deals(self, position: int) -> tuple[Deal, ...]:
        return self._ask("deals").deals(position)

    def deals_between(self, start: Millis, end: Millis) -> tuple[Deal, ...]:
        return self._ask("deals_between").deals_between(start, end)


@dataclass
class Engine:
    """The loop over a world, on that world's clock; it ends after so many pauses."""

    world: Any
    reads: ShakyReads
    seen: LastSeenReads
    readiness: Readiness
    loop: MonitorLoop
    monitor: Any
    pauses: list[float] = field(default_factory=list)
    left: int = 0
    happenings: dict[int, Any] = field(default_factory=dict)

    def run(self, passes: int) -> None:
        self.left = passes
        self.loop._ending.clear()
        self.loop.run()

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.world.clock.sleep(seconds)
        self.happenings.pop(len(self.pauses), lambda: None)()
        self.left -= 1
        if self.left == 0:
            self.loop._ending.set()


@pytest.fixture
def engine(make_world: Any) -> Engine:
    world = make_world()
    reads = ShakyReads(world.broker)
    seen = LastSeenReads(reads, world.clock.boot_ns)
    parts = Parts(ledger=world.ledger, clock=world.clock, policies=load_policy(), notifier=world.notifier)
    server = bootstrap.make_server(parts, seen, bootstrap.make_desk(parts, seen, scored=True), advisory=False)
    work = bootstrap.make_monitor_pass(parts, server.monitor, seen, lock=threading.Lock())
    readiness = Readiness(work)
    engines: list[Engine] = []

    def pause(seconds: float) -> None:
        engines[0].pause(seconds)

    loop = MonitorLoop(work, pause=pause)
    made = Engine(world=world, reads=reads, seen=seen, readiness=readiness, loop=loop, monitor=server.monitor)
    engines.append(made)
    return made


def test_nothing_is_ready_before_the_first_whole_pass(engine: Engine) -> None:
    before = engine.readiness.report()
    engine.run(1)
    after = engine.readiness.report()

    assert (before.ready, before.dependencies) == (
        False,
        {"ledger": "ok", "recovery": "recovering", "broker": "unreachable", "monitor": "stalled", "progress": "ok"},
    )
    assert before.details == {
        "dtms_initialized": False,
        "monitoring_active": False,
        "active_trades": 0,
        "heartbeat_age_s": None,
    }
    assert (after.ready, set(after.dependencies.values())) == (True, {"ok"})


def test_recovery_waits_for_a_broker_that_is_not_there_yet(engine: Engine) -> None:
    engine.reads.silent = True
    engine.happenings[3] = lambda: setattr(engine.reads, "silent", False)

    engine.run(3)
    early = engine.readiness.recovered
    engine.run(1)

    assert (early, engine.readiness.recovered) == (False, True)
    assert engine.pauses == [0.5, 1.0, 2.0, 0.25]
    assert engine.world.notifier.alerts == []


def test_a_pass_runs_four_times_a_second(engine: Engine) -> None:
    engine.run(9)

    assert engine.pauses == [0.25] * 9
    assert engine.monitor.stats.passes == 9


def test_a_silent_broker_makes_the_service_unready_after_three_seconds_and_calls_somebody(engine: Engine) -> None:
    ticket = engine.world.managed()
    engine.run(1)
    engine.reads.silent = True
    engine.run(2)
    soon = engine.readiness.report()
    engine.run(4)
    late = engine.readiness.report()
    engine.reads.silent = False
    engine.run(1)
    again = engine.readiness.report()

    assert soon.ready is True
    assert (late.ready, late.dependencies["broker"], late.dependencies["monitor"]) == (False, "unreachable", "stalled")
    assert late.details["active_trades"] == 1
    assert late.details["monitoring_active"] is False
    assert late.causes == ("pass_failing: the defence's pass fails: the gateway does not answer",)
    alerts = engine.world.notifier.alerts
    assert [alert.kind for alert in alerts if alert.kind is not AlertKind.MODE] == [AlertKind.PROCESS_DOWN] * 2
    assert [alert.subject for alert in alerts if alert.kind is AlertKind.MODE] == ["DEGRADED"]
    assert (again.ready, engine.loop.failures) == (True, 0)
    assert engine.world.trade(ticket).is_open


def test_a_blind_start_recovers_and_says_after_a_minute_that_the_work_is_not_done(engine: Engine) -> None:
    engine.world.managed()
    engine.reads.barless = "EURUSD"
    engine.run(8)
    soon = engine.readiness.report()
    engine.world.clock.sleep(60)
    engine.run(2)
    late = engine.readiness.report()

    assert (soon.ready, soon.causes) == (True, ())
    assert (late.ready, late.dependencies["progress"]) == (False, "market_unread")
    assert [words.split(";")[0] for words in late.causes] == [
        "market_unread: EURUSD could not be read for 60 s, so its trades are not decided"
    ]
    assert late.causes[0].endswith("the server's offset is not known yet")
    assert late.without("progress").ready is True
    assert engine.world.notifier.alerts[-1].subject == "DEGRADED"


def test_pauses_grow_to_two_seconds_and_shrink_at_once(engine: Engine) -> None:
    engine.world.managed()
    engine.run(1)
    engine.reads.silent = True
    engine.run(5)
    engine.reads.silent = False
    engine.run(1)

    assert engine.pauses == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0, 0.25]


def test_a_ledger_that_fails_is_alarmed_at_once_and_survived(engine: Engine) -> None:
    engine.run(1)
    engine.world.ledger.close()
    engine.run(1)
    report = engine.readiness.report()

    assert [(alert.kind, alert.subject) for alert in engine.world.notifier.alerts] == [
        (AlertKind.HALT, "dtms-server ledger")
    ]
    assert (report.ready, report.dependencies["ledger"], report.details["active_trades"]) == (
        False,
        "unavailable",
        None,
    )


def test_a_ledger_that_takes_no_writes_is_said_by_a_service_that_has_nothing_to_write(engine: Engine) -> None:
    engine.run(1)
    with engine.world.ledger.read() as tx:
        tx._executor._connection.execute("PRAGMA query_only = ON")
    engine.world.clock.sleep(15)
    engine.run(5)
    down = engine.readiness.report()
    told = list(engine.world.notifier.alerts)
    with engine.world.ledger.read() as tx:
        tx._executor._connection.execute("PRAGMA query_only = OFF")
    engine.run(5)
    again = engine.readiness.report()

    assert (down.ready, down.dependencies["ledger"], down.dependencies["monitor"]) == (False, "not writable", "ok")
    assert [words.split(":")[0] for words in down.causes] == ["ledger_down"]
    assert [alert.subject for alert in told] == ["PROTECT_ONLY ledger_down"]
    assert (again.ready, again.causes) == (True, ())


def test_a_fault_of_our_own_does_not_end_the_loop(engine: Engine) -> None:
    engine.run(1)
    faults = [ZeroDivisionError("a bug")]

    def on_verdict(_verdict: object, _view: object) -> None:
        if faults:
            raise faults.pop()

    engine.world.managed()
    engine.monitor.on_verdict = on_verdict
    engine.world.clock.sleep(400)
    with capture_logs() as logs:
        engine.run(2)

    assert faults == []
    assert [(line["event"], line["subject"]) for line in logs] == [("the defence's pass failed", "ZeroDivisionError")]
    told = [alert.subject for alert in engine.world.notifier.alerts if alert.kind is not AlertKind.MODE]
    assert told == ["dtms-server monitor"]
    assert (engine.loop.failures, engine.monitor.stats.decisions) == (0, 2)


def test_an_idle_service_asks_whether_the_broker_is_there(engine: Engine) -> None:
    engine.run(1)
    engine.reads.asked.clear()
    engine.run(12)

    assert engine.reads.asked == ["account"] * 3
    assert engine.readiness.report().ready is True


def test_an_instrument_that_an_answer_missed_is_asked_for_by_the_loop(engine: Engine) -> None:
    engine.world.quote(1.27, "GBPUSD")
    engine.run(1)
    missed = (engine.seen.seen_instrument("GBPUSD"), engine.seen.seen_instrument("NOSUCH"))
    engine.run(1)
    asked = [name for name in engine.reads.asked if name.startswith("instrument")]
    engine.reads.asked.clear()
    engine.run(1)

    found = engine.seen.seen_instrument("GBPUSD")
    assert missed == (None, None)
    assert sorted(asked) == ["instrument GBPUSD", "instrument NOSUCH"]
    assert found is not None
    assert (found.symbol, engine.loop.failures) == ("GBPUSD", 0)
    assert [name for name in engine.reads.asked if name.startswith("instrument")] == []


def test_an_old_read_of_the_positions_is_not_shown(engine: Engine) -> None:
    engine.seen.positions()
    fresh = engine.seen.seen_positions()
    engine.world.clock.sleep(5)
    still = engine.seen.seen_positions()
    engine.world.clock.sleep(0.001)

    assert fresh is not None
    assert still is fresh
    assert engine.seen.seen_positions() is None


def test_what_the_broker_refuses_to_know_is_no_sign_of_life(engine: Engine) -> None:
    engine.reads.silent = True
    with pytest.raises(BrokerUnavailableError):
        engine.seen.account()

    assert engine.seen.answered_ns is None


def test_the_loop_runs_in_a_thread_and_ends_when_told(make_world: Any) -> None:
    world = make_world()
    seen = LastSeenReads(world.broker, world.clock.boot_ns)
    parts = Parts(ledger=world.ledger, clock=world.clock, policies=load_policy(), notifier=world.notifier)
    work = bootstrap.make_monitor_pass(parts, world.server.monitor, seen, lock=threading.Lock())
    passed = threading.Event()

    def pause(_seconds: float) -> None:
        passed.set()
        loop._woken.wait(10)

    loop = MonitorLoop(work, pause=pause)

    loop.start()
    woke = passed.wait(10)
    ended = loop.stop(10)

    assert (woke, ended, work.recovered) == (True, True, True)


async def _asked(waiting: Awaitable[bool]) -> bool:
    return await waiting


def test_waiting_asks_until_the_answer_is_yes_or_the_time_is_over() -> None:
    now = [0]
    asked: list[int] = []

    async def sleep(seconds: float) -> None:
        now[0] += round(seconds * 1e9)

    wait = polling(inline, sleep, lambda: now[0])

    def after(count: int) -> bool:
        asked.append(now[0])
        return len(asked) > count

    early = drive(_asked(wait(lambda: after(2), 5.0)))
    asked.clear()
    late = drive(_asked(wait(lambda: False, 5.0)))

    assert early is True
    assert (late, now[0]) == (False, 5_100_000_000)


def test_a_simulation_waits_by_acting_only_where_it_must() -> None:
    done: list[str] = []
    wait = acting(lambda: done.append("acted"))

    first = drive(_asked(wait(lambda: bool(done), 5.0)))
    second = drive(_asked(wait(lambda: bool(done), 5.0)))

    assert (first, second, done) == (True, True, ["acted"])

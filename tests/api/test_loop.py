"""The work beside the answers: its pace, what it survives, and what it says of itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from dtms import bootstrap
from dtms.adapters.files.vix import VixFile
from dtms.adapters.notify import MemoryNotifier
from dtms.app.journal import journal
from dtms.client import Identity, ServerIdentity
from dtms.client.transport import Transport
from dtms.client.wire import Reply, Request, TransportError
from dtms.domain.action import Reduce
from dtms.domain.exits import ExitState
from dtms.domain.intent import Planner
from dtms.domain.policy.exits import ExitProfile
from dtms.domain.position import PositionsRead
from dtms.domain.rules import DefenceRule
from dtms.domain.units import Lots, to_utc
from dtms.errors import BrokerUnavailableError, InvalidDataError, LedgerUnavailableError
from dtms.services.api.loop import ApiReadiness, DtmsWatch, ExitPace, Periodic, look_at_broker
from dtms.services.server.sight import LastSeenReads
from dtms.services.web.in_process import call
from dtms.settings import load_policy

if TYPE_CHECKING:
    from tests.api.conftest import World


@dataclass
class Wire:
    """Carries the exit manager's questions to the DTMS server's application."""

    world: World
    down: bool = False

    def fetch(self, request: Request) -> Reply:
        if self.down:
            raise TransportError("refused")
        status, _, body = call(self.world.dtms, request.method, request.url, request.headers, request.body or b"")
        return Reply(status=status, body=body)


@dataclass
class Rig:
    """An exit manager with its pace over a world."""

    world: World
    wire: Wire
    exits: bootstrap.Exits
    pace: ExitPace
    seen: LastSeenReads

    @property
    def cycles(self) -> int:
        return self.exits.manager.stats.cycles


def climb(rig: Rig, *, to: float) -> None:
    """Let the price rise so that no quote is a jump, with the loop running."""
    bid = 1.095
    while bid < to:
        bid = round(bid + 0.0002, 5)
        rig.world.later(1, bid=bid)
        rig.pace.step()


@pytest.fixture
def rig(world: World) -> Rig:
    wire = Wire(world)
    carrier: Transport = wire
    seen = LastSeenReads(world.broker, world.clock.boot_ns)
    exits = bootstrap.make_exit_manager(
        world.parts,
        seen,
        world.desk,
        server_url="http://127.0.0.1:8001",
        sleep=world.clock.sleep,
        transport=carrier,
    )
    pace = ExitPace(exits.work, world.desk, world.clock, threading.RLock())
    return Rig(world=world, wire=wire, exits=exits, pace=pace, seen=seen)


def test_the_cycle_runs_every_five_seconds_without_quotes(rig: Rig) -> None:
    rig.world.managed()
    ran = []
    for _ in range(41):
        ran.append(rig.pace.step())
        rig.world.clock.sleep(0.25)
    assert [number * 0.25 for number, did in enumerate(ran) if did] == [0.0, 5.0, 10.0]


def test_new_quotes_make_it_run_at_most_once_a_second(rig: Rig) -> None:
    rig.world.managed()
    rig.pace.step()
    before = rig.cycles
    for step in range(40):  # ten seconds with a quote each 250 ms
        rig.world.later(0.25, bid=round(1.095 + step * 1e-5, 5))
        rig.pace.step()
    assert rig.cycles - before == 10


def test_a_quote_seen_within_the_second_is_not_forgotten(rig: Rig) -> None:
    rig.world.managed()
    rig.pace.step()
    rig.world.later(0.25, bid=1.0951)
    assert rig.pace.step() is False
    rig.world.clock.sleep(0.75)
    assert rig.pace.step() is True


def test_breakeven_is_planned_on_the_quote_that_reaches_it(rig: Rig) -> None:
    ticket = rig.world.managed()
    rig.pace.step()
    climb(rig, to=1.1005)  # 1.08 R
    rig.world.act()
    stop = rig.world.trade(ticket).stop
    assert stop is not None
    assert stop > 1.0951


def test_a_hedged_trade_is_left_alone(rig: Rig) -> None:
    ticket = rig.world.hedged()
    stop = rig.world.trade(ticket).stop
    rig.pace.step()
    climb(rig, to=1.1005)
    rig.world.act()
    assert (rig.world.trade(ticket).stop, rig.exits.manager.stats.proposals) == (stop, 0)


def test_the_exits_leave_a_trade_alone_that_the_defence_has_planned_something_for(rig: Rig) -> None:
    ticket = rig.world.managed()
    trade = rig.world.trade(ticket)
    half = Reduce(ticket=trade.ticket, remaining=Lots(round(trade.volume / 2, 2)))
    planned = journal.new_intent(
        trade,
        half,
        decision_id="d",
        owner=Planner.DTMS,
        rule=DefenceRule.PARTIAL,
        now=rig.world.clock.now,
        priced_expiry_s=60.0,
    )
    with rig.world.ledger.write() as tx:
        assert tx.add_intent(planned)
    rig.pace.step()
    climb(rig, to=1.1005)
    assert (rig.exits.manager.stats.proposals, rig.exits.manager.stats.deferrals > 0) == (0, True)


def test_what_was_decided_on_an_older_version_of_a_trade_is_not_planned(rig: Rig) -> None:
    ticket = rig.world.managed()
    rig.pace.step()
    read = rig.seen.positions

    def overtaken() -> PositionsRead:
        """Answer while somebody else writes the trade: it is asked once something is proposed."""
        trade = rig.world.trade(ticket)
        with rig.world.ledger.write() as tx:
            tx.save_trade(replace(trade, version=trade.version + 1))
        return read()

    rig.seen.positions = overtaken  # type: ignore[method-assign]
    climb(rig, to=1.1005)
    stats = rig.exits.manager.stats
    assert (stats.proposals, stats.lost_races > 0) == (0, True)


@dataclass
class Failing:
    """Work that fails as it is told, then works."""

    errors: list[Exception]
    runs: int = 0

    def __call__(self) -> None:
        self.runs += 1
        if self.errors:
            raise self.errors.pop(0)


def test_work_survives_what_fails_and_tells_of_it() -> None:
    notifier = MemoryNotifier()
    work = Failing([LedgerUnavailableError("locked"), BrokerUnavailableError("gone"), ZeroDivisionError("ours")])
    pauses: list[float] = []
    loop = Periodic("outbox", work, every_s=1.0, notifier=notifier)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            loop.stop()

    loop = Periodic("outbox", work, every_s=1.0, notifier=notifier, pause=pause)
    loop.run()
    assert (work.runs, pauses) == (5, [2.0, 4.0, 5.0, 1.0, 1.0])
    assert [(alert.kind, alert.subject) for alert in notifier.alerts] == [
        ("halt", "dtms-api outbox"),
        ("halt", "dtms-api outbox"),
    ]


def test_work_in_a_thread_ends_when_it_is_told() -> None:
    begun = threading.Event()
    loop = Periodic("kill", begun.set, every_s=0.01, notifier=MemoryNotifier())
    loop.start()
    assert begun.wait(5) is True
    assert loop.stop() is True


@dataclass
class Probed:
    """A client's view of the DTMS server."""

    identity: Identity = Identity.OURS
    outage: str | None = None
    asked: int = 0

    def check_service(self) -> ServerIdentity:
        self.asked += 1
        return ServerIdentity(identity=self.identity, name=None, detail=f"it is {self.identity}")


@dataclass
class Watched:
    """A watch over a probed server."""

    world: World
    probed: Probed = field(default_factory=Probed)
    relied_on: bool = True
    watch: DtmsWatch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = DtmsWatch(self.probed, self.world.clock, self.world.notifier, relied_on=lambda: self.relied_on)

    def alarms_after(self, seconds: int) -> int:
        for _ in range(seconds + 1):
            self.watch.step()
            self.world.clock.sleep(1)
        return sum(alert.kind == "dtms_unreachable" for alert in self.world.notifier.alerts)


@pytest.mark.parametrize(("identity", "word"), [(Identity.UNKNOWN, "unreachable"), (Identity.FOREIGN, "foreign")])
def test_an_outage_is_told_when_it_lasts_ten_seconds(world: World, identity: Identity, word: str) -> None:
    watched = Watched(world, Probed(identity))
    assert (watched.alarms_after(9), watched.watch.word) == (0, word)
    assert watched.alarms_after(0) == 1


def test_a_server_that_names_itself_but_answers_no_question_is_an_outage(world: World) -> None:
    watched = Watched(world, Probed(outage="status 500"))
    assert (watched.alarms_after(12), watched.watch.word) == (3, "ok")


def test_an_old_outage_that_nobody_asks_about_any_more_is_none(world: World) -> None:
    assert Watched(world, Probed(outage="status 500"), relied_on=False).alarms_after(30) == 0


def test_a_short_outage_is_not_told_and_the_count_begins_anew(world: World) -> None:
    watched = Watched(world, Probed(Identity.UNKNOWN))
    watched.alarms_after(8)
    watched.probed.identity = Identity.OURS
    watched.alarms_after(0)
    watched.probed.identity = Identity.UNKNOWN
    assert watched.alarms_after(8) == 0


def _readiness(rig: Rig, word: str = "ok") -> ApiReadiness:
    return ApiReadiness(
        ledger=rig.world.ledger,
        work=rig.exits.work,
        seen=rig.seen,
        clock=rig.world.clock,
        dtms=lambda: word,
        advisory=False,
    )


def test_it_is_ready_while_ledger_gateway_and_exits_work(rig: Rig) -> None:
    rig.world.managed()
    rig.pace.step()
    look_at_broker(rig.seen)
    report = _readiness(rig).report()
    assert report.ready is True
    assert dict(report.dependencies) == {"ledger": "ok", "gateway": "ok", "exits": "ok", "progress": "ok", "dtms": "ok"}
    assert (report.details["active_trades"], report.details["kill_switch"]) == (1, None)


def test_ready_does_not_depend_on_the_dtms_server(rig: Rig) -> None:
    rig.pace.step()
    look_at_broker(rig.seen)
    report = _readiness(rig, "unreachable").report()
    assert (report.ready, report.details["dtms_reachable"]) == (True, False)


def test_it_is_not_ready_before_the_first_cycle_and_after_a_silence(rig: Rig) -> None:
    readiness = _readiness(rig)
    assert readiness.report().dependencies["exits"] == "stalled"
    rig.pace.step()
    look_at_broker(rig.seen)
    assert readiness.report().ready is True
    rig.world.clock.sleep(5)
    assert readiness.report().dependencies["gateway"] == "unreachable"
    rig.world.clock.sleep(10)
    assert readiness.report().dependencies["exits"] == "stalled"


def test_an_exit_cycle_goes_on_while_the_dtms_server_is_dead(rig: Rig) -> None:
    ticket = rig.world.managed()
    rig.wire.down = True
    rig.pace.step()
    climb(rig, to=1.1005)
    rig.world.act()
    stop = rig.world.trade(ticket).stop
    assert (stop is not None and stop > 1.0951, rig.exits.client.outage is not None) == (True, True)


def test_an_api_with_nothing_to_write_says_that_the_ledger_takes_no_writes(rig: Rig) -> None:
    rig.pace.step()
    look_at_broker(rig.seen)
    with rig.world.ledger.read() as tx:
        tx._executor._connection.execute("PRAGMA query_only = ON")
    for _ in range(6):
        rig.world.clock.sleep(5)
        rig.pace.step()
    look_at_broker(rig.seen)
    down = _readiness(rig).report()
    with rig.world.ledger.read() as tx:
        tx._executor._connection.execute("PRAGMA query_only = OFF")
    rig.world.clock.sleep(5)
    rig.pace.step()
    look_at_broker(rig.seen)
    again = _readiness(rig).report()
    assert (down.ready, down.dependencies["ledger"]) == (False, "not writable")
    assert "PROTECT_ONLY ledger_down" in [alert.subject for alert in rig.world.notifier.alerts]
    assert (again.ready, again.causes) == (True, ())


@dataclass
class Barless:
    """The broker's reads without bars."""

    reads: Any

    def bars(self, symbol: str, *_rest: Any) -> Any:
        raise InvalidDataError(f"bars of {symbol}: the server's offset is not known yet")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reads, name)


def test_exits_that_cannot_read_their_symbol_are_logged_and_called_for(rig: Rig) -> None:
    rig.world.managed()
    rig.pace.step()
    rig.world.desk.reads = Barless(rig.world.desk.reads)
    with capture_logs() as logs:
        for _ in range(90):
            rig.world.later(5, bid=1.095)
            rig.pace.step()
    look_at_broker(rig.seen)
    report = _readiness(rig).report()
    assert report.dependencies["progress"] == "market_unread"
    assert "have no exit rules at work" in report.causes[0]
    written = [line for line in logs if line["event"] == "a symbol cannot be read"]
    assert {line["subject"] for line in written} == {"EURUSD"}
    assert 0 < len(written) < 10


def test_a_high_close_of_the_vix_in_the_file_widens_the_stop_at_the_broker_once(world: World, tmp_path: Path) -> None:
    file = tmp_path / "vix.csv"
    day = to_utc(world.clock.now).date()
    file.write_text(f"DATE,CLOSE\n{day - timedelta(days=1)},23\n{day},40\n", encoding="utf-8")
    (tmp_path / "policy.toml").write_text("[exits]\ngrant_widening = true\n", encoding="utf-8")
    parts = replace(world.parts, vix=VixFile(file), policies=load_policy(tmp_path / "policy.toml"))
    exits = bootstrap.make_exit_manager(
        parts,
        LastSeenReads(world.broker, world.clock.boot_ns),
        bootstrap.make_desk(parts, world.broker, scored=False),
        server_url="http://127.0.0.1:8001",
        sleep=world.clock.sleep,
        transport=Wire(world),
    )
    ticket = world.managed(exits=False)
    trade = world.trade(ticket)
    book = ExitState(
        trade_id=trade.trade_id, ticket=trade.ticket, profile_name="own", profile=ExitProfile(widening=True)
    )
    with world.ledger.write() as tx:
        tx.put_exit_book(book)
    for step in range(120):
        world.later(5, bid=round(1.095 + step % 2 * 1e-5, 5))
        world.server.monitor.tick()  # it keeps the account's record that the rails ask for
        exits.work.run()
        world.act()
    held = world.broker.positions().find(trade.identifier)
    assert held is not None
    wider = trade.entry - trade.r * 1.5  # min(2, 1 + (23 - 18) / 10) of the distance
    assert held.stop == pytest.approx(wider, abs=1e-5)

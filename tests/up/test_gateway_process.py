"""What the gateway's process is made of: its loop, its fencing number, its way to the broker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.up.conftest import FALL, Installed

from dtms import bootstrap
from dtms.adapters.clocks import SystemClock
from dtms.adapters.mt5 import Mt5Sender
from dtms.adapters.sql import open_ledger
from dtms.app.commands.registration import Registration
from dtms.app.gateway.cycle import GatewayPass
from dtms.bootstrap import Parts
from dtms.domain.action import OpenTrade, SetStop
from dtms.domain.position import AccountKind
from dtms.domain.receipt import Outcome
from dtms.domain.server_offset import SeenOffset
from dtms.domain.units import HOUR, Lots, Millis, Price, Side, Ticket
from dtms.errors import MarketDataError
from dtms.ports.notifier import AlertKind
from dtms.services.gateway.loop import ExecutorLoop
from dtms.services.gateway.main import next_epoch
from dtms.services.gateway.way import way_of
from dtms.settings import load_policy
from dtms_lab.mt5_constants import Mt5
from dtms_lab.simulate.services import MAGIC
from dtms_lab.simulate.tapes import cut
from dtms_lab.simulate.world import World, make_world
from dtms_lab.tapes.tape import Tape
from dtms_lab.terminal.host import TerminalHost, build_host
from dtms_lab.terminal.traits import RUNNING

STOP = 2_440.0


@dataclass
class Planned:
    """A world in which one position waits for its first stop."""

    world: World
    ticket: int

    def loop(self, *, epoch: int = 1) -> GatewayPass:
        """Return what a gateway's thread runs over the world's ledger and broker."""
        world = self.world
        parts = Parts(ledger=world.ledger, clock=world.clock, policies=world.policies, notifier=world.notifier)
        executor = bootstrap.make_executor(parts, world.broker, Mt5Sender(world.broker), epoch=epoch)
        compares = bootstrap.make_reconciler(
            parts, executor.reads, account=world.broker.account().key, magic=MAGIC, causes=executor.modes
        )
        return bootstrap.make_gateway_pass(parts, executor, compares, world.broker)

    def stop(self) -> float | None:
        """Return the position's stop at the broker."""
        return next(p.stop for p in self.world.broker.positions().positions if p.ticket == self.ticket)

    def plan(self) -> None:
        """Register the position: its first stop is planned."""
        entry = next(p.entry for p in self.world.broker.positions().positions if p.ticket == self.ticket)
        self.world.services.registry.register(
            Registration(ticket=Ticket(self.ticket), symbol="XAUUSD", side=Side.BUY, entry=entry, volume=0.4, stop=STOP)
        )


def _in_sight(world: World) -> bool:
    """Say whether quote and history have reached the terminal, which only asking brings about."""
    try:
        world.services.desk.symbol("XAUUSD", world.clock.now)
        return world.broker.quote("XAUUSD").bid > 0
    except MarketDataError:
        return False


@pytest.fixture
def planned(weather: Tape) -> Planned:
    world = make_world([cut(weather, start=FALL, bars=5)], policies=load_policy(), start=FALL)
    while not _in_sight(world):
        assert world.step()
    result = world.terminal.order_send(
        {
            "action": Mt5.TRADE_ACTION_DEAL,
            "symbol": "XAUUSD",
            "type": Mt5.ORDER_TYPE_BUY,
            "volume": 0.4,
            "type_filling": Mt5.ORDER_FILLING_IOC,
            "magic": 7,
        }
    )
    assert result is not None
    return Planned(world, int(result.order))


def test_the_loop_recovers_then_carries_out_what_is_planned(planned: Planned) -> None:
    loop = planned.loop()
    assert ExecutorLoop(loop).report(planned.world.broker.account).dependencies["recovery"] == "recovering"
    planned.plan()

    loop.step()

    assert planned.stop() == STOP
    report = ExecutorLoop(loop).report(planned.world.broker.account)
    assert (report.ready, report.dependencies["executor"], report.details["sent"]) == (True, "ok", 1)


def test_nothing_is_sent_twice_however_often_the_loop_looks(planned: Planned) -> None:
    loop = planned.loop()
    planned.plan()

    for _ in range(5):
        loop.step()

    assert ExecutorLoop(loop).report(planned.world.broker.account).details["sent"] == 1


def test_a_silent_executor_is_not_ready(planned: Planned) -> None:
    loop = planned.loop()
    loop.step()
    planned.world.clock.sleep(3.5)

    report = ExecutorLoop(loop).report(planned.world.broker.account)

    assert (report.ready, report.dependencies["executor"]) == (False, "stalled")


def test_a_ledger_that_fails_is_alarmed_and_tried_again_later(planned: Planned) -> None:
    pauses: list[float] = []
    world = planned.world
    loop = planned.loop()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            looping.stop()

    looping = ExecutorLoop(loop, pause=pause)
    world.ledger.close()

    looping.run()

    assert pauses == sorted(pauses)
    assert pauses[-1] > pauses[0]
    told = [(alert.kind, alert.subject) for alert in world.notifier.alerts if alert.kind is AlertKind.HALT]
    assert set(told) == {(AlertKind.HALT, "dtms-gateway ledger")}
    assert "PROTECT_ONLY ledger_down" in [alert.subject for alert in world.notifier.alerts]


def test_a_gateway_that_was_replaced_sends_nothing_and_says_so(planned: Planned) -> None:
    newer = planned.loop(epoch=2)
    planned.plan()
    newer.step()
    older = planned.loop(epoch=1)
    with planned.world.ledger.write() as tx:
        trade = tx.trade(Ticket(planned.ticket))
        assert trade is not None
        tx.save_trade(trade)
    planned.world.services.registry.release(Ticket(planned.ticket))
    planned.world.terminal.order_send(
        {"action": Mt5.TRADE_ACTION_SLTP, "position": planned.ticket, "symbol": "XAUUSD", "sl": 0.0, "tp": 0.0}
    )
    planned.plan()

    older.run()

    assert planned.stop() is None
    assert [alert.subject for alert in planned.world.notifier.alerts][-1] == "dtms-gateway fenced"


def test_each_start_has_a_newer_epoch() -> None:
    ledger = open_ledger("sqlite://", account="S:1", clock=lambda: Millis(0))

    assert [next_epoch(ledger) for _ in range(3)] == [1, 2, 3]


@pytest.fixture
def terminal(installed: Installed, weather: Tape) -> Iterator[TerminalHost]:
    """A simulated terminal on its socket; its tape stands."""
    host = build_host(
        [cut(weather, start=FALL, bars=5)], installed.settings.address_file, speed=1.0, start=FALL, traits=RUNNING
    )
    thread = threading.Thread(target=host.run, daemon=True)
    thread.start()
    assert host.ready.wait(10)
    yield host
    from dtms_lab.terminal.remote import HostControl

    HostControl(installed.settings.address_file).stop()
    thread.join(10)


@pytest.mark.usefixtures("terminal")
def test_the_way_through_children_reads_and_sends(installed: Installed) -> None:
    settings = installed.settings.model_copy(update={"clock_file": None})
    way = way_of(settings, SystemClock())
    try:
        account = way.connect()
        way.offset.recall_offset(SeenOffset(ahead=3 * HOUR, at=FALL))
        quote = way.served.quote("XAUUSD")
        order = OpenTrade(
            symbol="XAUUSD", side=Side.BUY, volume=Lots(0.1), stop=Price(STOP), target=Price(round(quote.bid + 60, 2))
        )
        opened = way.writes.send(order, position=None, tag="tagofanopening")
        position = next(iter(way.reads.positions().positions))
        tighter = SetStop(ticket=position.ticket, stop=Price(STOP + 1), target=None)
        moved = way.writes.send(tighter, position=position, tag="tagofastop")

        assert (account.key, account.kind) == ("DTMS-Simulated:10000042", AccountKind.SIMULATED)
        assert (opened.outcome, moved.outcome) == (Outcome.APPLIED, Outcome.APPLIED)
        assert [p.stop for p in way.served.positions().positions] == [STOP + 1]
    finally:
        way.close()

"""The whole way: worker, child, MetaTrader 5 adapter, socket, simulated terminal."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dtms.adapters.worker.broker import BrokerWorker
from dtms.domain.action import Close, OpenTrade, SetStop
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import DealEntry
from dtms.domain.receipt import Outcome
from dtms.domain.units import MINUTE, Lots, Millis, Price, Side
from dtms.errors import InvalidDataError
from dtms_lab.terminal.desk import MONDAY_NOON
from dtms_lab.terminal.host import TerminalHost, build_host
from dtms_lab.terminal.remote import HostControl
from dtms_lab.terminal.traits import RUNNING

if TYPE_CHECKING:
    from tests.worker.conftest import Bench

START = Millis(MONDAY_NOON + 5 * MINUTE)


class Tape:
    symbol = "EURUSD"
    asks: tuple[Bar, ...] | None = None
    quotes: tuple[Quote, ...] | None = None
    timeframe = Timeframe.M1
    bars = tuple(
        Bar(start=Millis(MONDAY_NOON + i * MINUTE), open=1.1, high=1.102, low=1.099, close=1.101, volume=4.0)
        for i in range(30)
    )


@pytest.fixture
def host(tmp_path: Path) -> Iterator[TerminalHost]:
    path = tmp_path / "t.address"
    made = build_host([Tape()], path, speed=1.0, start=START, boottime=lambda: 0, traits=RUNNING)
    thread = threading.Thread(target=made.run)
    thread.start()
    assert made.ready.wait(20)
    yield made
    HostControl(path).stop()
    thread.join(20)


@pytest.fixture
def worker(bench: Bench, host: TerminalHost, monkeypatch: pytest.MonkeyPatch) -> BrokerWorker:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    return bench.worker("mt5_child:Mt5Child", args={"address_file": str(bench.folder / "t.address"), "now": START})


def test_a_position_lives_its_whole_life_through_the_child(worker: BrokerWorker, host: TerminalHost) -> None:
    opening = OpenTrade(symbol="EURUSD", side=Side.BUY, volume=Lots(0.2), stop=Price(1.09), target=None)
    opened = worker.send(opening, position=None, tag="open1")
    assert (opened.outcome, opened.filled) == (Outcome.APPLIED, 0.2)
    (position,) = worker.positions().positions
    assert (position.identifier, position.stop, position.comment) == (opened.position, 1.09, "open1")
    stop = SetStop(ticket=position.ticket, stop=Price(1.095), target=Price(1.12))
    assert worker.send(stop, position=position, tag="stop1").outcome is Outcome.APPLIED
    (moved,) = worker.positions().positions
    assert (moved.stop, moved.target) == (1.095, 1.12)
    assert worker.send(Close(ticket=moved.ticket), position=moved, tag="close1").outcome is Outcome.APPLIED
    assert worker.positions().positions == ()
    assert [deal.entry for deal in worker.deals(position.identifier)] == [DealEntry.IN, DealEntry.OUT]
    assert host.backend.server.state.positions == {}


def test_the_markets_facts_come_through_the_child(worker: BrokerWorker) -> None:
    assert worker.account().key == f"{worker.account().server}:{worker.account().login}"
    assert worker.instrument("EURUSD").canonical == "EURUSD"
    assert worker.quote("EURUSD").symbol == "EURUSD"
    assert worker.bars("EURUSD", Timeframe.M1, 3) == Tape.bars[2:5]
    with pytest.raises(InvalidDataError):
        worker.instrument("NOSUCH")


def test_a_new_child_finds_the_position_that_the_last_one_opened(bench: Bench, worker: BrokerWorker) -> None:
    opening = OpenTrade(symbol="EURUSD", side=Side.SELL, volume=Lots(0.1), stop=Price(1.12), target=None)
    opened = worker.send(opening, position=None, tag="open1")
    bench.kill(worker)
    (position,) = worker.positions().positions
    assert (position.identifier, position.side, position.volume) == (opened.position, Side.SELL, 0.1)
    assert os.getpid() != worker.report().pid

"""Real processes for the tests: an installation on free ports, played over generated weather."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from dtms.adapters.gateway_client import GatewayClient
from dtms.adapters.notify import MemoryNotifier
from dtms.domain.units import Millis
from dtms.errors import MarketDataError
from dtms.ports.broker import BrokerReads
from dtms.settings import Settings, load_policy, load_settings
from dtms_lab.simulate.entries import Entries
from dtms_lab.simulate.tape_terminal import TapeRun
from dtms_lab.simulate.tapes import cut
from dtms_lab.simulate.trader import NoEntries
from dtms_lab.simulate.up import Up, UpPlan
from dtms_lab.tapes.tape import Tape
from dtms_lab.tapes.weather import make_tape
from dtms_lab.terminal.traits import FRESH, Traits

FALL = Millis(1_715_622_600_000)
"""An instant in the weather below after which SELLs are warned, reduced and hedged within the hour."""


PATIENCE_S = 90.0
"""How long a test waits for what must happen; one that passes does not."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@dataclass(frozen=True, slots=True)
class Installed:
    """An installation, and what its supervisor alarmed about."""

    settings: Settings
    notifier: MemoryNotifier


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A fresh data folder, whose name is short enough for a socket, and three free ports."""
    return install(tmp_path_factory.mktemp("d"))


def install(folder: Path) -> Installed:
    """Return an installation in a folder."""
    gateway, server, api = free_ports(3)
    settings = load_settings(
        data_dir=folder,
        clock_file=folder / "clock.json",
        terminal_file=folder / "t.address",
        gateway_port=gateway,
        server_port=server,
        api_port=api,
    )
    return Installed(settings, MemoryNotifier())


@pytest.fixture(scope="session")
def weather() -> Tape:
    """Six days of weather with three falls in them."""
    return make_tape(1, 6)


@contextmanager
def running(
    installed: Installed,
    weather: Tape,
    *,
    start: Millis,
    bars: int,
    speed: float,
    signals: Entries | None = None,
    traits: Traits = FRESH,
) -> Iterator[Up]:
    """Start a run; the tape stands at its start.

    A market that stands has shown no clock yet: `moved` lets it move.
    """
    tape = cut(weather, start=start, bars=bars)
    plan = UpPlan(
        settings=installed.settings,
        policies=load_policy(),
        run=TapeRun(tape=tape, start=start, speed=speed, balance=100_000.0, traits=traits),
        signals=NoEntries() if signals is None else signals,
    )
    with Up(plan, installed.notifier) as up:
        up.start()
        yield up


def moved(up: Up) -> None:
    """Let a short tape run to its end, after which the market stands again and its quotes can be dated."""
    seen(up)
    wait_until(lambda: bool(up.broker.status()["state"] == "ended"), "the tape's end")


def seen(up: Up) -> None:
    """Let the tape run until everybody can date its quotes."""
    up.begin()
    reads = (up.trader.broker, GatewayClient(up.plan.settings.gateway_url))
    for each in reads:
        wait_until(partial(_quoted, each, up.plan.run.tape.symbol), "a quote that can be dated")


def wait_until(happened: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait for what must happen."""
    end = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < end, f"{what} did not come within {within_s:g} s"
        time.sleep(0.02)


def _quoted(reads: BrokerReads, symbol: str) -> bool:
    try:
        return reads.quote(symbol).symbol == symbol
    except MarketDataError:
        return False

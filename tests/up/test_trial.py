"""A trader's first contact over real processes: adopt, lose every process and the broker's, decide again; then a weekend.

The positions are opened by another program at another terminal of the account, so that ours has never heard of their symbol.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import requests
from tests.up.conftest import Installed, install, running, wait_until

from dtms.domain.trade import Trade
from dtms.domain.units import HOUR, MINUTE, Millis
from dtms.platforms.processes import kill
from dtms.services.supervise.process_group import environment_of
from dtms.settings import SIMULATED_MODULE
from dtms_lab.laws.invariants import read_books
from dtms_lab.simulate.up import Up
from dtms_lab.tapes.tape import Tape
from dtms_lab.terminal.host import elsewhere
from dtms_lab.terminal.traits import Traits

pytestmark = pytest.mark.long

ROLES = ("gateway", "server", "api")
SPEED = 60.0
CLOSE = Millis(1_715_374_800_000)
"""Friday 2024-05-10 21:00 UTC, when gold closes for the weekend."""
OPENING = Millis(1_715_551_200_000)
"""Sunday 2024-05-12 22:00 UTC."""
BARS = 120

BY_HAND = f"""
import importlib, sys
mt5 = importlib.import_module({SIMULATED_MODULE!r})
assert mt5.initialize(sys.argv[1])
assert mt5.symbol_select("XAUUSD")
for side in (mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL, mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL, mt5.ORDER_TYPE_BUY):
    bid = mt5.symbol_info_tick("XAUUSD").bid
    stop = round(bid + (60.0 if side == mt5.ORDER_TYPE_SELL else -60.0), 2)
    print(mt5.order_send({{"action": mt5.TRADE_ACTION_DEAL, "symbol": "XAUUSD", "type": side, "volume": 0.4, "sl": stop,
        "type_filling": mt5.ORDER_FILLING_IOC}}).order)
"""
"""Another program: it knows nothing of dtms, only the broker's module."""


@dataclass
class Trial:
    """What happened; the first three positions are adopted on Friday, the fourth and fifth on the weekend."""

    opened: list[int] = field(default_factory=list)
    watched: bool = True
    adopted: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    ready_at: Millis = Millis(0)
    decided: dict[int, Millis] = field(default_factory=dict)
    on_saturday: int = 0
    closed_words: str = ""
    closed_active: int = 0
    refusal: str = ""
    refused_at: Millis = Millis(0)
    on_sunday: int = 0
    decided_on_sunday: dict[int, Millis] = field(default_factory=dict)
    open_on_sunday: list[int] = field(default_factory=list)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, weather: Tape) -> Trial:
    installed = install(tmp_path_factory.mktemp("t"))
    told = Trial()
    _friday(installed, weather, told)
    _in_a_closed_market(installed, weather, told)
    _over_the_opening(installed, weather, told)
    return told


def _friday(installed: Installed, weather: Tape, told: Trial) -> None:
    """Adopt on a fresh account, lose everything with the broker's process, and go on to the market's close."""
    start = Millis(CLOSE - BARS * MINUTE)
    with running(installed, weather, start=start, bars=BARS, speed=SPEED) as up:
        ready = time.monotonic()
        up.begin()
        told.opened = _by_hand(up)
        info = up.trader.terminal.symbol_info("XAUUSD")
        told.watched = info is None or bool(info.select)
        opened = time.monotonic()
        ends = [opened]
        for ticket in told.opened[:3]:
            told.adopted.append(_adopt(up, ticket))
            ends.append(time.monotonic())
        each = ", ".join(f"{after - before:.1f}" for before, after in pairwise(ends))  # this machine's figures, by -s
        print(f"adopted within {ends[-1] - ready:.1f} s of ready; `dtms adopt` took {each} s")
        _lose_everything(up)
        told.ready_at = up.trader.clock.market_now()
        told.kept = [position.ticket for position in up.trader.broker.positions().positions]
        told.held = [trade.ticket for trade in _open(up)]
        wait_until(lambda: len(_decided_since(up, told.ready_at)) == len(_open(up)), "a decision of each trade")
        told.decided = _decided_since(up, told.ready_at)
        minutes = [(bar - told.ready_at) / MINUTE for bar in told.decided.values()]
        print(f"decided on bars that closed at most {max(minutes):.1f} min of the tape after ready")
        wait_until(lambda: bool(up.broker.status()["state"] == "ended"), "the market's close", within_s=300.0)


def _in_a_closed_market(installed: Installed, weather: Tape, told: Trial) -> None:
    """Start on the weekend at a server that still hands out Friday's last quotes."""
    start, traits = Millis(OPENING - 2 * HOUR), Traits(last_ticks=True)
    with running(installed, weather, start=start, bars=1, speed=SPEED, traits=traits) as up:
        up.begin()
        told.on_saturday = _adopt(up, told.opened[3])
        assert up.trader.clock.market_now() < OPENING


def _over_the_opening(installed: Installed, weather: Tape, told: Trial) -> None:
    """Start on the weekend at a server that shows no quote before the next one, and wait for the market."""
    with running(installed, weather, start=Millis(OPENING - 40 * MINUTE), bars=60, speed=SPEED) as up:
        up.begin()
        answer = requests.get(f"{installed.settings.gateway_url}/health/ready", timeout=5).json()
        told.closed_words = answer["server_clock"]
        status = requests.get(f"{installed.settings.server_url}/dtms/status", timeout=5).json()
        told.closed_active = status["active_trades"]
        ended = _run_adopt(up, told.opened[4])
        told.refusal, told.refused_at = ended.stderr, up.trader.clock.market_now()
        told.on_sunday = _adopt(up, told.opened[4])
        wait_until(lambda: len(_decided_since(up, OPENING)) == len(_open(up)), "a decision of each trade")
        told.decided_on_sunday, told.open_on_sunday = _decided_since(up, OPENING), [t.ticket for t in _open(up)]


def _by_hand(up: Up) -> list[int]:
    command = [sys.executable, "-c", BY_HAND, str(elsewhere(up.plan.settings.address_file))]
    ended = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert ended.returncode == 0, ended.stderr
    return [int(line) for line in ended.stdout.split()]


def _run_adopt(up: Up, ticket: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dtms.cli.main", "adopt", str(ticket), "--json"]
    environment = {**os.environ, **environment_of(up.plan.settings)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def _adopt(up: Up, ticket: int) -> int:
    """Adopt as a person does: once more where the answer is to try again."""
    answers: list[Any] = []

    def done() -> bool:
        ended = _run_adopt(up, ticket)
        answers.append(ended.stderr)
        if ended.returncode == 0:
            answers.append(json.loads(ended.stdout.splitlines()[-1])["ticket"])
        return ended.returncode == 0

    wait_until(done, f"the adoption of {ticket}")
    return int(answers[-1])


def _lose_everything(up: Up) -> None:
    """Kill every process at once, the broker's too, and wait until all are ready again."""
    supervisor = up.processes.supervisor
    pids = {role: supervisor.pid(role) for role in ("terminal", *ROLES)}
    for pid in pids.values():
        kill(pid)
    wait_until(
        lambda: all(supervisor.pid(role) != pid for role, pid in pids.items()) and all(_ready(up, r) for r in ROLES),
        "a start",
        within_s=120.0,
    )
    assert up.trader.terminal.initialize()


def _ready(up: Up, role: str) -> bool:
    url = getattr(up.plan.settings, f"{role}_url")
    try:
        return requests.get(f"{url}/health/ready", timeout=2).status_code == 200
    except requests.RequestException:
        return False


def _open(up: Up) -> list[Trade]:
    return [trade for trade in read_books(up.ledger, magic=up.plan.settings.magic).trades if trade.is_open]


def _decided_since(up: Up, at: Millis) -> dict[int, Millis]:
    return {trade.ticket: trade.last_bar for trade in _open(up) if trade.last_bar is not None and trade.last_bar > at}


def test_positions_in_a_symbol_outside_market_watch_are_adopted_on_a_fresh_account(trial: Trial) -> None:
    assert len(trial.opened) == 5
    assert not trial.watched
    assert trial.adopted == trial.opened[:3]


def test_after_all_processes_and_the_brokers_were_killed_each_trade_is_decided_on_a_bar_that_closed_since(
    trial: Trial,
) -> None:
    assert set(trial.held) == set(trial.adopted) <= set(trial.kept)
    assert trial.decided
    assert all(last > trial.ready_at for last in trial.decided.values())
    assert max(trial.decided.values()) - trial.ready_at <= BARS * MINUTE


def test_a_position_is_adopted_in_a_closed_market_whose_last_quote_is_known(trial: Trial) -> None:
    assert trial.on_saturday == trial.opened[3]


def test_a_start_in_a_closed_market_keeps_its_trades_and_goes_by_the_last_known_offset(trial: Trial) -> None:
    assert "UTC+03:00, the last known offset, of 2024-05-1" in trial.closed_words
    assert trial.closed_active == 4


def test_what_cannot_be_adopted_before_the_opening_says_what_it_waits_for(trial: Trial) -> None:
    assert trial.refused_at < OPENING
    assert "or as its market opens; try again" in trial.refusal


def test_when_the_market_opens_the_rest_is_adopted_and_every_trade_decided(trial: Trial) -> None:
    assert trial.on_sunday == trial.opened[4]
    assert set(trial.decided_on_sunday) == set(trial.open_on_sunday)
    assert trial.open_on_sunday

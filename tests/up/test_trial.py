"""A trader's first contact over real processes: adopt, lose every process, decide again; and a start in a closed market."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from tests.up.conftest import FALL, install, running, wait_until

from dtms.adapters.files.tape import Tape
from dtms.domain.trade import Trade
from dtms.domain.units import MINUTE, Millis
from dtms.services.supervise.process_group import environment_of
from dtms.settings import SIMULATED_MODULE
from dtms.sim.invariants import read_books
from dtms.sim.up import Up

pytestmark = pytest.mark.long

ROLES = ("gateway", "server", "api")
BARS = 120
SPEED = 60.0

BY_HAND = f"""
import importlib, sys
mt5 = importlib.import_module({SIMULATED_MODULE!r})
assert mt5.initialize(sys.argv[1])
for side in (mt5.ORDER_TYPE_BUY, mt5.ORDER_TYPE_SELL, mt5.ORDER_TYPE_BUY):
    bid = mt5.symbol_info_tick("XAUUSD").bid
    stop = round(bid + (60.0 if side == mt5.ORDER_TYPE_SELL else -60.0), 2)
    print(mt5.order_send({{"action": mt5.TRADE_ACTION_DEAL, "symbol": "XAUUSD", "type": side, "volume": 0.4, "sl": stop,
        "type_filling": mt5.ORDER_FILLING_IOC}}).order)
"""
"""Another program: it knows nothing of dtms, only the broker's module."""


@dataclass
class Trial:
    """What happened."""

    opened: list[int]
    adopted: list[int] = field(default_factory=list)
    adopted_s: float = 0.0
    killed_at: Millis = Millis(0)
    ready_at: Millis = Millis(0)
    decided: dict[int, Millis] = field(default_factory=dict)
    closed_words: str = ""
    closed_active: int = 0
    closed_decided: list[int] = field(default_factory=list)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, weather: Tape) -> Iterator[Trial]:
    installed = install(tmp_path_factory.mktemp("t"))
    with running(installed, weather, start=FALL, bars=BARS, speed=SPEED) as up:
        up.begin()
        began = time.monotonic()
        told = Trial(_by_hand(up))
        told.adopted = [_adopt(up, ticket) for ticket in told.opened]
        told.adopted_s = time.monotonic() - began
        print(f"adopted within {told.adopted_s:.1f} s of ready")  # this machine's figure, by -s
        told.killed_at = _lose_everything(up)
        told.ready_at = up.trader.clock.market_now()
        wait_until(lambda: len(_decided_since(up, told.ready_at)) == len(_open(up)), "a decision of each trade")
        told.decided = _decided_since(up, told.ready_at)
        wait_until(lambda: bool(up.broker.status()["state"] == "ended"), "the market's close", within_s=300.0)
        _lose_everything(up)
        told.closed_words = requests.get(f"{installed.settings.gateway_url}/health/ready", timeout=5).json()[
            "server_clock"
        ]
        told.closed_active = requests.get(f"{installed.settings.server_url}/dtms/status", timeout=5).json()[
            "active_trades"
        ]
        told.closed_decided = [trade.ticket for trade in _open(up)]
        yield told


def _by_hand(up: Up) -> list[int]:
    command = [sys.executable, "-c", BY_HAND, str(up.plan.settings.socket)]
    ended = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert ended.returncode == 0, ended.stderr
    return [int(line) for line in ended.stdout.split()]


def _adopt(up: Up, ticket: int) -> int:
    """Adopt as a person does: once more where the answer is to try again."""
    command = [sys.executable, "-m", "dtms.cli.main", "adopt", str(ticket), "--json"]
    environment = {**os.environ, **environment_of(up.plan.settings)}
    answers: list[Any] = []

    def done() -> bool:
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        answers.append(ended.stderr)
        if ended.returncode == 0:
            answers.append(json.loads(ended.stdout.splitlines()[-1])["ticket"])
        return ended.returncode == 0

    wait_until(done, f"the adoption of {ticket}")
    return int(answers[-1])


def _lose_everything(up: Up) -> Millis:
    """Kill every process of ours at once, and wait until all are ready again; the broker lives on."""
    supervisor = up.processes.supervisor
    pids = {role: supervisor.pid(role) for role in ROLES}
    at = up.trader.clock.market_now()
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: all(supervisor.pid(role) != pids[role] and _ready(up, role) for role in ROLES),
        "a start",
        within_s=120.0,
    )
    return at


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


def test_positions_opened_by_hand_are_adopted_on_a_fresh_account(trial: Trial) -> None:
    assert len(trial.opened) == 3
    assert trial.adopted == trial.opened


def test_after_all_processes_were_killed_each_trade_is_decided_on_a_bar_that_closed_since(trial: Trial) -> None:
    assert trial.decided
    assert all(last > trial.ready_at for last in trial.decided.values())
    assert max(trial.decided.values()) - trial.ready_at <= BARS * MINUTE


def test_a_start_in_a_closed_market_goes_by_the_last_known_offset_and_says_so(trial: Trial) -> None:
    assert "UTC+03:00, the last known offset, of 2024-05-13" in trial.closed_words
    assert trial.closed_active == len(trial.closed_decided)

"""A position in our name that no trade manages, in a running installation: every list shows it, and flatten closes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from tests.up.conftest import FALL, install, running, wait_until

from dtms.services.supervise.process_group import environment_of
from dtms.settings import SIMULATED_MODULE
from dtms_lab.simulate.up import Up
from dtms_lab.tapes.tape import Tape

OUR_MAGIC = 20_010_800
LOST = f"""
import importlib, sys
mt5 = importlib.import_module({SIMULATED_MODULE!r})
assert mt5.initialize(sys.argv[1])
for magic in ({OUR_MAGIC}, 7):
    print(mt5.order_send({{"action": mt5.TRADE_ACTION_DEAL, "symbol": "XAUUSD", "type": mt5.ORDER_TYPE_BUY,
        "volume": 0.25, "magic": magic, "type_filling": mt5.ORDER_FILLING_IOC}}).order)
"""
"""Two positions without a stop: one in our name that the ledger knows nothing of, one of another program."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, weather: Tape) -> Iterator[Up]:
    with running(install(tmp_path_factory.mktemp("u")), weather, start=FALL, bars=900, speed=60.0) as made:
        yield made


def ran(up: Up, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    environment = {**os.environ, **environment_of(up.plan.settings), "COLUMNS": "200"}
    command = [sys.executable, "-m", "dtms.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)


def dtms(up: Up, *arguments: str) -> str:
    """Run a command that succeeds, and return what it printed."""
    ended = ran(up, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def unmanaged(up: Up) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = requests.get(f"{up.plan.settings.api_url}/api/trades", timeout=20).json()["unmanaged"]
    return found


def tickets(up: Up) -> list[int]:
    return [int(position.ticket) for position in up.trader.broker.positions().positions]


def test_what_is_ours_and_unmanaged_is_shown_everywhere_and_closed_by_flatten_alone(up: Up) -> None:
    assert up.plan.settings.magic == OUR_MAGIC
    up.begin()
    assert dtms(up, "trades") == "no trade is managed\n"
    opened = subprocess.run(
        [sys.executable, "-c", LOST, str(up.plan.settings.address_file)], capture_output=True, text=True, check=True
    )
    ours, foreign = map(int, opened.stdout.split())
    wait_until(lambda: [each["ticket"] for each in unmanaged(up)] == [ours], "the comparison")

    # Each list, with that it has no stop.
    (told,) = unmanaged(up)
    assert (told["stop_loss"], told["volume"], told["direction"]) == (None, 0.25, "BUY")
    assert requests.get(f"{up.plan.settings.server_url}/dtms/trades", timeout=20).json()["unmanaged"] == [told]
    assert json.loads(dtms(up, "trades", "--json"))["unmanaged"] == [told]
    table = dtms(up, "trades")
    assert "In dtms's name, and managed by no trade: adopt, release or close each" in table
    (row,) = [line for line in table.splitlines() if str(ours) in line]
    assert "NO stop" in row
    assert str(foreign) not in table
    orphans = requests.get(f"{up.plan.settings.server_url}/dtms/status", timeout=20).json()["reconciled"]["orphans"]
    assert [each["ticket"] for each in orphans] == [ours]
    assert str(ours) in dtms(up, "status")
    left = json.loads(dtms(up, "kill", "--json"))["ledger"]["left"]
    assert left == {"managed": [], "unmanaged": [ours], "foreign": 1}

    # Without a stop it is not adopted, and the command says what is missing.
    refused = ran(up, "adopt", str(ours))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"position {ours} has no stop at the broker, and a trade needs one; say which: --stop-loss" in refused.stderr

    # Flatten says what is left, which may be closed by then, and closes what is ours alone.
    (said,) = [line for line in dtms(up, "kill", "flatten").splitlines() if line.startswith("open: ")]
    assert said in {
        f"open: 0 managed, {left} in dtms's name and not managed, 1 of others" for left in (f"1 ({ours})", 0)
    }
    wait_until(lambda: tickets(up) == [foreign], "the closing")
    wait_until(lambda: unmanaged(up) == [], "the end of it in the lists")
    assert "open: 0 managed, 0 in dtms's name and not managed, 1 of others" in dtms(up, "kill")
    dtms(up, "kill", "release")
    assert tickets(up) == [foreign]

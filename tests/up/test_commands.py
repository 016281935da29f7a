"""The commands against running services: a tape that stands, a position opened by another program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from tests.up.conftest import FALL, install, moved, running, wait_until

from dtms.domain.units import Lots, Price, Side
from dtms.services.supervise.process_group import environment_of
from dtms_lab.mt5_constants import Mt5
from dtms_lab.simulate.entries import Order
from dtms_lab.simulate.entry import open_at
from dtms_lab.simulate.up import Up
from dtms_lab.tapes.tape import Tape


@dataclass(frozen=True)
class Services:
    """Running services, and how to ask them by command."""

    up: Up
    environment: Mapping[str, str]

    def open(self) -> int:
        """Open a position as another program."""
        bid = self.up.trader.broker.quote("XAUUSD").bid
        order = Order(side=Side.BUY, volume=Lots(0.4), stop=Price(round(bid - 24, 2)), target=Price(round(bid + 60, 2)))
        ticket = open_at(self.up.trader.terminal, "XAUUSD", order)
        assert ticket is not None
        return ticket

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command."""
        environment = {**os.environ, **self.environment}
        command = [sys.executable, "-m", "dtms.cli.main", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    def ask(self, *arguments: str) -> dict[str, Any]:
        """Run a command that must succeed and return its object."""
        ended = self.run(*arguments, "--json")
        assert (ended.returncode, ended.stderr) == (0, "")
        answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        return answer


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, weather: Tape) -> Iterator[Services]:
    installed = install(tmp_path_factory.mktemp("s"))
    with running(installed, weather, start=FALL, bars=5, speed=60.0) as up:
        moved(up)
        yield Services(up, environment_of(installed.settings))


@pytest.fixture(scope="module")
def adopted(services: Services) -> int:
    """A position under management, with exit rules."""
    ticket = services.open()
    answer = services.ask("adopt", str(ticket), "--profile", "swing")
    assert (answer["ticket"], answer["already_registered"], answer["exits"]["profile"]) == (ticket, False, "swing")
    return ticket


def test_status_tells_of_every_service(services: Services, adopted: int) -> None:
    answer = services.ask("status")

    assert answer["services"] == {"gateway": "ready", "server": "ready", "api": "ready"}
    assert answer["active_trades"] >= 1
    assert answer["advisory"] is False
    assert adopted > 0


def test_an_adopted_trade_is_listed_shown_and_explained(services: Services, adopted: int) -> None:
    listed = services.ask("trades", "--state", "HEALTHY", "--symbol", "XAUUSD")
    shown = services.ask("trade", str(adopted))
    explained = services.ask("explain", str(adopted))

    assert adopted in [trade["ticket"] for trade in listed["trades"]]
    assert (shown["ticket"], shown["state"], shown["profile"]) == (adopted, "HEALTHY", "swing")
    assert (explained["ticket"], explained["state"]) == (adopted, "HEALTHY")
    assert explained["sentence"]


def test_adopting_again_changes_nothing(services: Services, adopted: int) -> None:
    assert services.ask("adopt", str(adopted))["already_registered"] is True


def test_actions_are_those_of_the_ticket(services: Services, adopted: int) -> None:
    answer = services.ask("actions", "--ticket", str(adopted), "--since", "2024-01-01")

    assert {action["ticket"] for action in answer["actions"]} <= {adopted}


def test_people_get_tables(services: Services, adopted: int) -> None:
    listed = services.run("trades")
    explained = services.run("explain", str(adopted))

    assert (listed.returncode, explained.returncode) == (0, 0)
    assert str(adopted) in listed.stdout
    assert "Ways out" in explained.stdout


def test_a_mode_that_the_kill_switch_holds_says_so_to_a_person(services: Services) -> None:
    assert services.run("kill", "pause").returncode == 0
    held = services.run("status")
    assert services.run("kill", "release").returncode == 0
    free = services.run("status")

    said = " ".join(held.stdout.split())
    assert "mode HALT causes the kill switch is at pause; let go of it with: dtms kill release" in said
    assert "mode NORMAL causes none" in " ".join(free.stdout.split())


def test_a_released_trade_is_not_found_any_more(services: Services) -> None:
    ticket = services.open()
    services.ask("adopt", str(ticket))

    assert services.ask("release", str(ticket)) == {"ticket": ticket, "released": True}

    gone = services.run("trade", str(ticket), "--json")
    assert (gone.returncode, gone.stdout) == (4, "")
    assert "trade_unknown" in gone.stderr
    held = next(p for p in services.up.trader.broker.positions().positions if p.ticket == ticket)
    assert held.stop is not None


def test_a_stop_that_a_person_loosens_is_put_back_and_explain_says_so(services: Services) -> None:
    ticket = services.open()
    services.ask("adopt", str(ticket))
    terminal = services.up.trader.terminal
    (before,) = terminal.positions_get(ticket=ticket) or ()
    loosened = {"action": Mt5.TRADE_ACTION_SLTP, "position": ticket, "symbol": "XAUUSD", "sl": before.sl - 5.0}
    assert terminal.order_send({**loosened, "tp": before.tp}) is not None

    def put_back() -> bool:
        (now,) = terminal.positions_get(ticket=ticket) or ()
        return bool(now.sl == before.sl)

    wait_until(put_back, "the stop to be put back")
    assert "by hand and put back to" in services.ask("explain", str(ticket))["sentence"]


def test_config_check_tells_the_policy_of_each_symbol_in_market_watch(services: Services) -> None:
    answer = json.loads(services.run("config", "check", "--json").stdout.splitlines()[-1])

    shown = {info.name for info in services.up.trader.terminal.symbols_get() or () if info.select}
    assert {each["symbol"] for each in answer["symbols"]} == shown
    assert {each["told_by"] for each in answer["symbols"]} == {"the broker"}


@pytest.mark.parametrize("command", ["trade", "explain", "adopt", "release"])
def test_what_is_unknown_ends_with_4(command: str, services: Services) -> None:
    ended = services.run(command, "987654321")

    assert (ended.returncode, ended.stdout) == (4, "")
    assert len(ended.stderr.splitlines()) == 1


def test_a_refusal_ends_with_1_and_says_why(services: Services) -> None:
    ticket = services.open()

    ended = services.run("adopt", str(ticket), "--profile", "heroic")

    assert (ended.returncode, ended.stdout) == (1, "")
    assert "(profile_unknown) profile: " in ended.stderr


def test_a_second_supervisor_on_the_same_ports_is_refused(services: Services) -> None:
    ports = {name: value for name, value in services.environment.items() if name.endswith("_PORT")}
    environment = {**os.environ, **ports, "DTMS_DATA_DIR": ""}
    environment.pop("DTMS_DATA_DIR")
    command = [sys.executable, "-m", "dtms.cli.main", "up", "--bars", "5"]

    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    assert ended.returncode == 2
    assert "of the gateway is in use by another program" in ended.stderr


def test_a_second_gateway_on_the_same_data_folder_is_refused(services: Services) -> None:
    free = install(services.up.plan.settings.data_dir).settings
    given = {**services.environment, "DTMS_GATEWAY_PORT": str(free.gateway_port)}
    command = [sys.executable, "-m", "dtms.cli.main", "gateway"]

    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **given}, check=False)

    holder = services.up.processes.supervisor.pid("gateway")
    assert ended.returncode == 2
    assert f"another gateway works on {free.data_dir} (process {holder})" in ended.stderr

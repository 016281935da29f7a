"""Commands that need what is not there: one sentence, the documented exit code, and nothing half done."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Command

PORTS = ("DTMS_GATEWAY_PORT", "DTMS_SERVER_PORT", "DTMS_API_PORT")


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Three ports that nobody has, in the settings."""
    found = {}
    with socket.socket() as first, socket.socket() as second, socket.socket() as third:
        for name, probe in zip(PORTS, (first, second, third), strict=True):
            probe.bind(("127.0.0.1", 0))
            found[name] = int(probe.getsockname()[1])
    for name, port in found.items():
        monkeypatch.setenv(name, str(port))
    return found


@pytest.fixture(params=PORTS)
def taken(request: pytest.FixtureRequest, ports: dict[str, int]) -> Iterator[str]:
    """One of the three ports in the hands of another program."""
    with socket.create_server(("127.0.0.1", ports[request.param])):
        yield request.param


class _Shop(BaseHTTPRequestHandler):
    """Another program that has the port: it answers everything with a page that it does not have."""

    def do_GET(self) -> None:
        page = b"<html><h1>404</h1>No such product.</html>"
        self.send_response(404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_arguments: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The DTMS server's port in the hands of a web shop."""
    with HTTPServer(("127.0.0.1", 0), _Shop) as shop:
        monkeypatch.setenv("DTMS_SERVER_PORT", str(shop.server_port))
        threading.Thread(target=shop.serve_forever, args=(0.01,), daemon=True).start()
        yield shop.server_port
        shop.shutdown()


def test_the_404_of_another_program_is_not_taken_for_an_unknown_trade(foreign: int, dtms: Command) -> None:
    ended = dtms("explain", "5", "--json")

    assert ended.code == 3
    assert f"status 404 at http://127.0.0.1:{foreign}/dtms/trade/5/explain is no answer of the DTMS server" in ended.err
    assert "another program may have the port" in ended.err


@pytest.mark.parametrize(
    "arguments", [("status",), ("trades",), ("trade", "5"), ("explain", "5"), ("actions",)], ids=lambda a: str(a[0])
)
@pytest.mark.usefixtures("ports")
def test_a_question_that_nobody_answers_ends_with_3(arguments: tuple[str, ...], dtms: Command) -> None:
    ended = dtms(*arguments, "--json")

    assert ended.code == 3
    assert "the DTMS server at http://127.0.0.1:" in ended.err
    assert "start it with: dtms up" in ended.err
    assert (ended.out, len(ended.err.splitlines())) == ("", 1)


@pytest.mark.parametrize("command", ["adopt", "release", "confirm"])
@pytest.mark.usefixtures("ports")
def test_a_request_without_an_installation_ends_with_3_and_makes_none(
    command: str, dtms: Command, tmp_path: Path
) -> None:
    ended = dtms(command, "5")

    assert ended.code == 3
    assert "set DTMS_DATA_DIR" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_up_refuses_a_port_in_use_and_leaves_nothing(taken: str, dtms: Command, tmp_path: Path) -> None:
    ended = dtms("up", "--bars", "5")

    role = taken.removeprefix("DTMS_").removesuffix("_PORT").lower()
    assert ended.code == 2
    assert f"of the {role} is in use by another program" in ended.err
    assert f"set {taken} to a free port" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("role", ["gateway", "server", "api"])
def test_a_service_refuses_a_port_in_use_and_leaves_nothing(
    role: str, dtms: Command, ports: dict[str, int], tmp_path: Path
) -> None:
    variable = f"DTMS_{role.upper()}_PORT"
    with socket.create_server(("127.0.0.1", ports[variable])):
        ended = dtms(role)

    assert ended.code == 2
    assert f"set {variable} to a free port" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_the_same_port_twice_is_refused(dtms: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTMS_SERVER_PORT", "8000")

    ended = dtms("up", "--bars", "5")

    assert ended.code == 2
    assert "give each its own" in ended.err


def test_another_host_than_this_machine_is_refused(dtms: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTMS_HOST", "192.0.2.1")

    ended = dtms("up", "--bars", "5")

    assert ended.code == 2
    assert "host '192.0.2.1' is not loopback" in ended.err


@pytest.mark.usefixtures("ports")
def test_a_real_broker_without_its_account_is_refused(dtms: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DTMS_BROKER", "mt5")

    ended = dtms("gateway")

    assert ended.code == 2
    assert "set DTMS_ACCOUNT (the login) and DTMS_SERVER_NAME" in ended.err


@pytest.mark.usefixtures("ports")
def test_a_tape_is_never_played_to_a_real_broker(
    dtms: Command, monkeypatch: pytest.MonkeyPatch, weather_tape: Path
) -> None:
    monkeypatch.setenv("DTMS_BROKER", "mt5")

    ended = dtms("up", "--tape", str(weather_tape))

    assert ended.code == 2
    assert "a tape is played by the simulated broker" in ended.err


@pytest.mark.usefixtures("ports")
def test_a_run_does_not_begin_on_the_ledger_of_another(
    dtms: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DTMS_DATA_DIR", str(tmp_path))
    (tmp_path / "ledger.sqlite3").write_bytes(b"")

    ended = dtms("up", "--bars", "5")

    assert ended.code == 2
    assert "holds a ledger already" in ended.err


@pytest.mark.usefixtures("ports")
def test_an_export_of_instruments_without_a_gateway_says_where_to_look(dtms: Command, tmp_path: Path) -> None:
    ended = dtms("instruments", "export", "EURUSD", "--out", str(tmp_path / "mine.toml"))

    assert (ended.code, ended.out) == (3, "")
    assert "there is no token at" in ended.err
    assert not (tmp_path / "mine.toml").exists()

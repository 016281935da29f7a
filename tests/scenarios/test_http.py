"""A hostile or broken client at the running services (reliability.md 11.2, scenarios 60 to 65 and 70).

Four real processes over a tape that stands; the attacker has sockets and no token.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tests.api.conftest import World
from tests.up.conftest import FALL, Installed, install, moved, running

from dtms.services.wiring import token_of
from dtms_lab.simulate.up import Up
from dtms_lab.tapes.tape import Tape

CANARIES = ("canary-user", "canary-password", "canary-guess", "canary-query", "canary-body")
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Services:
    """Running services."""

    up: Up
    folder: Path
    token: str

    @property
    def ports(self) -> dict[str, int]:
        settings = self.up.plan.settings
        return {"api": settings.api_port, "server": settings.server_port, "gateway": settings.gateway_port}

    def ask(
        self, method: str, path: str, body: object = None, *, to: str = "api", key: str = "", token: str | None = ""
    ) -> tuple[int, bytes]:
        """Send one request as it stands; an empty token is the right one."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.token}"
        if key:
            headers["Idempotency-Key"] = key
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[to], timeout=PATIENCE_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def raw(self, data: bytes, *, ends: bool) -> bytes:
        """Send bytes to the API, and the end of them where that is asked; read until the other side closes."""
        with socket.create_connection(("127.0.0.1", self.ports["api"]), timeout=PATIENCE_S) as connection:
            connection.sendall(data)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            parts = bytearray()
            while part := connection.recv(65_536):
                parts += part
        return bytes(parts)

    def order(self, **changes: object) -> dict[str, object]:
        bid = self.up.trader.broker.quote("XAUUSD").bid
        return {"symbol": "XAUUSD", "direction": "BUY", "volume": 0.1, "stop_loss": round(bid - 24, 2), **changes}

    def positions(self) -> list[int]:
        return sorted(position.ticket for position in self.up.trader.broker.positions().positions)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, weather: Tape) -> Iterator[Services]:
    made = install(tmp_path_factory.mktemp("h"))
    alerts = SecretStr("json://canary-user:canary-password@127.0.0.1:9/")
    installed = Installed(made.settings.model_copy(update={"alerts_url": alerts}), made.notifier)
    with running(installed, weather, start=FALL, bars=5, speed=60.0) as up:
        moved(up)
        yield Services(up, Path(installed.settings.data_dir), token_of(installed.settings))


def test_ten_thousand_guesses_of_the_token_have_no_effect_and_leave_the_service_at_work(world: World) -> None:
    before = world.positions()
    guesses = (f"canary-guess-{number:030d}" for number in range(10_000))
    statuses = {world.ask("POST", "/api/trades", world.order(), token=guess, key="k").status for guess in guesses}
    assert statuses == {401}
    assert (world.positions(), world.intents()) == (before, ())
    assert world.open().status == 201


def test_a_path_that_tries_to_be_clever_is_told_nothing_and_changes_nothing(services: Services) -> None:
    before = services.positions()
    paths = [
        "/dtms/trade/../../../../etc/passwd",
        "/dtms/trade/%2e%2e%2f%2e%2e%2ftoken",
        "/ui/../token",
        "/ui/%2e%2e/token",
        "/ui/..%2ftoken",
        "//token",
        "/dtms/trade/1%20OR%201=1",
        "/dtms/trade/1;DROP%20TABLE%20trades",
        "/dtms/trade/-1",
        "/dtms/trade/0x10",
        "/dtms/trade/%EF%BC%91%EF%BC%92",
        "/dtms/trade/" + "9" * 5_000,
        "/dtms/trade/" + "9" * 100_000,
        "/api/trades/1%00",
        "/api/dtms/trade/..%2f..%2fkill-switch",
        "/api/exits/%27%20UNION%20SELECT%20*%20FROM%20meta--",
    ]
    for to in ("api", "server", "gateway"):
        for path in paths:
            status, body = services.ask("GET", path, to=to)
            assert status in {400, 404, 405, 414, 422, 431}, (to, path[:60], status)
            assert b"root:" not in body
            assert services.token.encode() not in body
    assert services.positions() == before


def test_a_body_with_two_lengths_is_one_request_or_none(services: Services) -> None:
    """What one parser takes for a body and another for a request must not pass: it would carry our own token."""
    before = services.positions()
    smuggled = f"DELETE /api/kill-switch HTTP/1.1\r\nHost: 127.0.0.1:{services.ports['api']}\r\n\r\n".encode()
    head = f"POST /api/trades HTTP/1.1\r\nHost: 127.0.0.1:{services.ports['api']}\r\n"
    head += f"Authorization: Bearer {services.token}\r\nContent-Type: application/json\r\nIdempotency-Key: smuggle\r\n"
    both = head + f"Content-Length: {5 + len(smuggled)}\r\nTransfer-Encoding: chunked\r\n\r\n"
    twice = head + "Content-Length: 2\r\nContent-Length: 200\r\n\r\n"
    for data in (both.encode() + b"0\r\n\r\n" + smuggled, twice.encode() + b"{}" + smuggled):
        answers = services.raw(data, ends=True)
        assert answers.startswith(b"HTTP/1.1 4"), answers[:200]
        assert answers.count(b"HTTP/1.1 2") == 0, answers
    assert services.positions() == before


def test_fifty_equal_requests_at_once_open_one_trade(services: Services) -> None:
    before = services.positions()
    body = services.order()
    began = threading.Barrier(50)

    def send(_number: int) -> tuple[int, bytes]:
        began.wait(PATIENCE_S)
        end = time.monotonic() + PATIENCE_S
        status, answer = services.ask("POST", "/api/trades", body, key="fifty")
        while status in {409, 503} and time.monotonic() < end:  # still under way, or the history is not loaded yet
            time.sleep(0.05)
            status, answer = services.ask("POST", "/api/trades", body, key="fifty")
        return status, answer

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))

    assert {status for status, _ in answers} == {201}
    assert len({_settled(answer) for _, answer in answers}) == 1
    assert len(services.positions()) == len(before) + 1


def _settled(answer: bytes) -> tuple[Any, ...]:
    """Return what of an opening's answer does not move with the market."""
    told = json.loads(answer)
    return tuple(told[name] for name in ("ticket", "direction", "entry", "volume", "stop_loss"))


def test_a_client_that_leaves_after_its_post_has_its_effect_once(services: Services) -> None:
    before = services.positions()
    body = json.dumps(services.order()).encode()
    head = f"POST /api/trades HTTP/1.1\r\nHost: 127.0.0.1:{services.ports['api']}\r\n"
    head += f"Authorization: Bearer {services.token}\r\nContent-Type: application/json\r\nIdempotency-Key: leaver\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", services.ports["api"])) as connection:
        connection.sendall(head.encode() + body)
    end = time.monotonic() + PATIENCE_S
    while services.positions() == before:
        assert time.monotonic() < end, "the order of a client that left was forgotten"
        time.sleep(0.05)

    status, answer = services.ask("POST", "/api/trades", json.loads(body), key="leaver")
    while status == 409 and time.monotonic() < end:
        time.sleep(0.05)
        status, answer = services.ask("POST", "/api/trades", json.loads(body), key="leaver")

    assert status == 201, answer
    (new,) = set(services.positions()) - set(before)
    assert json.loads(answer)["ticket"] == new


def test_slow_and_idle_connections_do_not_keep_others_from_an_answer(services: Services) -> None:
    port = services.ports["api"]
    with ExitStack() as open_ones:
        for number in range(400):
            idle = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
            if number % 4 == 0:  # a sender who never comes to the end of its headers, or of its body
                idle.sendall(b"POST /api/trades HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900\r\n")
            if number % 8 == 0:
                idle.sendall(b"\r\n{")
        began = time.monotonic()
        statuses = [services.ask("GET", path)[0] for path in ("/health/live", "/api/trades", "/health/ready")]
        took = time.monotonic() - began
    assert statuses == [200, 200, 200]
    assert took < 2 * PATIENCE_S / 4


def test_pipelined_requests_are_answered_in_their_order(services: Services) -> None:
    names = [f"pipe-{number}" for number in range(5)]
    request = "GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nX-Request-ID: {}\r\n{}\r\n"
    data = "".join(
        request.format(services.ports["api"], name, "Connection: close\r\n" if name == names[-1] else "")
        for name in names
    )
    answers = services.raw(data.encode(), ends=False).decode().lower()
    assert answers.count("http/1.1 200") == 5
    places = [answers.index(f"x-request-id: {name}") for name in names]
    assert places == sorted(places)


def test_no_secret_is_anywhere_but_in_its_own_file(services: Services) -> None:
    """After everything above, and with a wrong token, one in the query, a bad body, and an alert that cannot be delivered."""
    services.ask("POST", "/api/trades", services.order(), key="x", token="canary-guess")  # noqa: S106 - a wrong one
    services.ask("POST", "/api/trades?token=canary-query", services.order(), key="x", token=None)
    services.ask("POST", "/api/trades", services.order(symbol="canary-body"), key="y")
    services.ask("POST", "/dtms/trade/enable", {"ticket": "canary-body"}, to="server")
    answers = b"".join(
        services.ask("GET", path, to=to)[1]
        for to in services.ports
        for path in ("/metrics", "/health/ready", "/openapi.json", "/dtms/status", "/dtms/actions", "/nowhere")
    )
    secrets = (services.token, *CANARIES)
    found: list[str] = [f"answers: {secret}" for secret in secrets if secret.encode() in answers]
    files = [path for path in services.folder.rglob("*") if path.is_file() and path.name != "token"]
    assert {"ledger.sqlite3", "gateway.log", "server.log", "api.log"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        found += [f"{path.name}: {secret}" for secret in secrets if secret.encode() in content]
    lines = command_lines()
    assert len(lines) >= 4
    found += [f"{line!r}: {secret}" for line in lines for secret in secrets if secret.encode() in line]
    assert found == []
    assert (services.folder / "token").stat().st_mode & 0o777 == 0o600


def command_lines() -> list[bytes]:
    """Return the command line of every child of this process."""
    lines = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text("ascii", "replace").rsplit(")", 1)[1].split()[1])
            line = (place / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        if parent == os.getpid():
            lines.append(line)
    return lines

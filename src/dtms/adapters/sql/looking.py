"""Looks at a database before anything is opened for writing: whose it is, how old, whether whole. Changes no byte of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from dtms.adapters.sql.schema import RESTORE, SCHEMA
from dtms.adapters.sql.statements import IDENTITY
from dtms.errors import LedgerUnavailableError, SettingsError

SQLITE_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
POSTGRES_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
_VERSION = "SELECT version_num FROM alembic_version"

Query = Callable[[str], Iterable[tuple[Any, ...]]]


def look_at_file(
    path: Path, name: str, account: str | None, note: Callable[[Query], bool] = lambda _query: False
) -> bool:
    """Return whether a file holds this account's ledger in the present schema, without changing a byte of it.

    Without an account anybody's will do; `note` is given a way to ask more of what was found fit.
    """
    if path.stat().st_size == 0:
        msg = f"{name} is empty, which no ledger ever is: {RESTORE}, or remove the file to begin a new one"
        raise SettingsError(msg)
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            msg = f"{name} is damaged ({' '.join(str(found).split())}); {RESTORE}"
            raise SettingsError(msg)
        tables = {row[0] for row in connection.execute(SQLITE_TABLES)}
        ready = _is_ready(name, account, tables, connection.execute)
        return note(connection.execute) if tables and account is None else ready
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorname.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            msg = f"{name} is not a database or is damaged ({error}); {RESTORE}, or name another file"
            raise SettingsError(msg) from error
        msg = f"{name} cannot be read ({error}); check the path and its rights, and which process holds it"
        raise LedgerUnavailableError(msg) from error
    finally:
        if connection is not None:
            connection.close()


def look_at_server(
    name: str, account: str | None, connection: Connection, note: Callable[[Query], bool] = lambda _query: False
) -> bool:
    """Return whether a database holds this account's ledger in the present schema; as `look_at_file`."""

    def query(sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]

    tables = {row[0] for row in connection.exec_driver_sql(POSTGRES_TABLES)}
    ready = _is_ready(name, account, tables, query)
    return note(query) if tables and account is None else ready


def _is_ready(name: str, account: str | None, tables: set[str], query: Query) -> bool:
    """Return whether the tables are this account's ledger in the present schema; False asks for making or migrating it.

    Raises:
        SettingsError: They are somebody else's.
    """
    if not tables:
        return False
    if not {"meta", "alembic_version", "intents", "trades"} <= tables:
        shown = ", ".join(sorted(tables)[:3])
        msg = f"{name} holds other tables ({shown}) and no ledger; name an empty database"
        raise SettingsError(msg)
    identity = list(query(str(IDENTITY)))
    if len(identity) != 1:
        msg = f"{name} holds {len(identity)} meta rows instead of one; {RESTORE}"
        raise SettingsError(msg)
    owner, schema, _ = identity[0]
    if account is not None and owner != account:
        msg = f"{name} belongs to account {owner}, not to {account}; give each account a ledger of its own"
        raise SettingsError(msg)
    if schema > SCHEMA:
        msg = f"{name} has schema {schema} and this program knows {SCHEMA} at most; install a newer dtms"
        raise SettingsError(msg)
    versions = [row[0] for row in query(_VERSION)]
    if versions != [f"{schema:04d}"]:
        msg = f"{name} is half migrated (schema {schema}, migrations {versions}); {RESTORE}"
        raise SettingsError(msg)
    return bool(schema == SCHEMA)

"""Opens a ledger: looks first, refuses what is not its own without touching it, then creates or migrates as one step."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from dtms.adapters.sql.audit import GENESIS
from dtms.adapters.sql.backend import Backend, cause
from dtms.adapters.sql.executor import StatementBook
from dtms.adapters.sql.ledger import SqlLedger
from dtms.adapters.sql.schema import SCHEMA
from dtms.adapters.sql.sqlite import FileBackend, MemoryBackend, memory_engine
from dtms.adapters.sql.statements import IDENTITY, META_CREATE
from dtms.adapters.sql.writers import WriterQueue
from dtms.domain.units import Millis
from dtms.errors import LedgerUnavailableError, SettingsError

_CREATION_LOCK = 0x64746D73
_URLS = "write sqlite:///FILE, sqlite:// (memory) or postgresql+psycopg://USER@HOST/DATABASE"
_SQLITE_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
_POSTGRES_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
_VERSION = "SELECT version_num FROM alembic_version"

Query = Callable[[str], Iterable[tuple[Any, ...]]]


def open_ledger(
    url: str, *, account: str, clock: Callable[[], Millis], create: bool = True, epoch: str | None = None
) -> SqlLedger:
    """Open the ledger of one account, creating or migrating it where needed.

    Args:
        url: ``sqlite:///FILE``, ``sqlite://`` (memory, for one process) or ``postgresql+psycopg://...``.
        account: `Account.key`; a ledger of another account is refused.
        clock: The instant that old tickets and stored replies are measured against.
        create: Whether a missing ledger is made; False refuses it.
        epoch: The epoch of a ledger that is created here; a random word where it is not given.

    Raises:
        SettingsError: The database is of another account, of a newer program, not a ledger, or damaged. It was not changed.
        LedgerUnavailableError: The database cannot be reached, read or written.
    """
    parsed = _parse(url)
    word = secrets.token_hex(8) if epoch is None else epoch
    backend: Backend
    if parsed.get_backend_name() == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            backend = _open_memory(account, word)
        else:
            backend = _open_file(Path(str(parsed.database)), account, word, create=create)
    else:
        backend = _open_postgres(parsed, account, word, create=create)
    try:
        return SqlLedger(backend, account=account, clock=clock)
    except LedgerUnavailableError:
        backend.close()
        raise


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The text may hold a password, so it is not repeated.
        msg = f"the ledger's URL cannot be read; {_URLS}"
        raise SettingsError(msg) from error
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        msg = f"a ledger cannot be kept in {parsed.drivername!r}; {_URLS}"
        raise SettingsError(msg)
    return parsed


_template_lock = threading.Lock()
_template: list[sqlite3.Connection] = []


def _open_memory(account: str, epoch: str) -> MemoryBackend:
    """Copy an empty ledger that this process migrated once: a simulation opens hundreds of them."""
    backend = MemoryBackend()
    with _template_lock:
        if not _template:
            _template.append(_migrated_template())
        _template[0].backup(backend.connection)
    compiled = StatementBook(backend.engine.dialect)[META_CREATE]
    backend.connection.execute(compiled.sql, compiled.bind(_meta_row(account, epoch)))
    return backend


def _migrated_template() -> sqlite3.Connection:
    from dtms.adapters.sql.migrate import upgrade

    engine = memory_engine()
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        upgrade(connection)
        connection.commit()
        template = sqlite3.connect(":memory:", check_same_thread=False)
        source: Any = connection.connection.driver_connection
        source.backup(template)
    engine.dispose()
    return template


def _open_file(path: Path, account: str, epoch: str, *, create: bool) -> FileBackend:
    name = f"ledger {path}"
    if not path.exists():
        if not create:
            msg = f"{name} does not exist; create it, or name the right file"
            raise SettingsError(msg)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{name}: its folder cannot be made ({error.strerror}); name a folder that this user may write"
            raise SettingsError(msg) from error
    queue = WriterQueue(path.with_name(f"{path.name}.lock"))
    backend: FileBackend | None = None
    try:
        queue.acquire()
        try:
            ready = _look_at_file(path, name, account)
            backend = FileBackend(path, queue)
            if not ready:
                _make(backend, account, epoch, ("BEGIN IMMEDIATE",))
        finally:
            queue.release()
    except (SettingsError, LedgerUnavailableError):
        if backend is None:
            queue.close()
        else:
            backend.close()
        raise
    return backend


def _look_at_file(path: Path, name: str, account: str) -> bool:
    """Return whether a file holds this account's ledger in the present schema, without changing a byte of it."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            msg = f"{name} is damaged ({' '.join(str(found).split())}); restore it from a backup"
            raise SettingsError(msg)
        tables = {row[0] for row in connection.execute(_SQLITE_TABLES)}
        return _is_ready(name, account, tables, connection.execute)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorname.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            msg = f"{name} is not a database or is damaged ({error}); restore it from a backup, or name another file"
            raise SettingsError(msg) from error
        msg = f"{name} cannot be read ({error}); check the path and its rights, and which process holds it"
        raise LedgerUnavailableError(msg) from error
    finally:
        if connection is not None:
            connection.close()


def _open_postgres(url: URL, account: str, epoch: str, *, create: bool) -> Backend:
    try:
        from dtms.adapters.sql.postgres import PostgresBackend
    except ImportError as error:
        msg = f"a ledger on PostgreSQL needs the driver psycopg ({error}); install dtms[postgres]"
        raise SettingsError(msg) from error
    backend = PostgresBackend(url)
    try:
        _make_ready(backend, account, epoch, create=create)
    except (SettingsError, LedgerUnavailableError):
        backend.close()
        raise
    except SQLAlchemyError as error:
        backend.close()
        raise backend.translate(cause(error)) from error
    return backend


def _make_ready(backend: Backend, account: str, epoch: str, *, create: bool) -> None:
    with backend.engine.connect() as connection:
        if _look_at_server(backend.name, account, connection):
            return
    if not create:
        msg = f"{backend.name} holds no ledger yet; create it, or name the right database"
        raise SettingsError(msg)
    _make(backend, account, epoch, ("BEGIN", f"SELECT pg_advisory_xact_lock({_CREATION_LOCK})"))


def _look_at_server(name: str, account: str, connection: Connection) -> bool:
    tables = {row[0] for row in connection.exec_driver_sql(_POSTGRES_TABLES)}
    return _is_ready(name, account, tables, lambda sql: [tuple(row) for row in connection.exec_driver_sql(sql)])


def _is_ready(name: str, account: str, tables: set[str], query: Query) -> bool:
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
        msg = f"{name} holds {len(identity)} meta rows instead of one; restore it from a backup"
        raise SettingsError(msg)
    owner, schema, _ = identity[0]
    if owner != account:
        msg = f"{name} belongs to account {owner}, not to {account}; give each account a ledger of its own"
        raise SettingsError(msg)
    if schema > SCHEMA:
        msg = f"{name} has schema {schema} and this program knows {SCHEMA} at most; install a newer dtms"
        raise SettingsError(msg)
    versions = [row[0] for row in query(_VERSION)]
    if versions != [f"{schema:04d}"]:
        msg = f"{name} is half migrated (schema {schema}, migrations {versions}); restore it from a backup"
        raise SettingsError(msg)
    return bool(schema == SCHEMA)


def _make(backend: Backend, account: str, epoch: str, begin: tuple[str, ...]) -> None:
    """Create or migrate in one transaction; what another process made in the meantime is kept."""
    from dtms.adapters.sql.migrate import upgrade

    try:
        with backend.engine.connect() as connection:
            for sql in begin:
                connection.exec_driver_sql(sql)
            tables_sql = _SQLITE_TABLES if connection.dialect.name == "sqlite" else _POSTGRES_TABLES
            tables = {row[0] for row in connection.exec_driver_sql(tables_sql)}
            upgrade(connection)
            if not tables:
                connection.execute(META_CREATE, _meta_row(account, epoch))
            connection.commit()
    except SQLAlchemyError as error:
        raise backend.translate(cause(error)) from error


def _meta_row(account: str, epoch: str) -> dict[str, Any]:
    return {
        "id": 1,
        "account": account,
        "schema": SCHEMA,
        "epoch": epoch,
        "revision": 0,
        "last_event": 0,
        "audit_seq": 0,
        "audit_digest": GENESIS,
        "gateway_epoch": 0,
    }

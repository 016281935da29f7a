"""Opens a ledger: looks first, refuses what is not its own without touching it, then creates or migrates as one step."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from dtms.adapters.sql.audit import GENESIS
from dtms.adapters.sql.backend import Backend, LeaseTime, cause
from dtms.adapters.sql.executor import StatementBook, Translate
from dtms.adapters.sql.ledger import SqlLedger
from dtms.adapters.sql.looking import POSTGRES_TABLES, SQLITE_TABLES, Query, look_at_file, look_at_server
from dtms.adapters.sql.places import all_places, real_file
from dtms.adapters.sql.schema import RESTORE, SCHEMA
from dtms.adapters.sql.shown import shown_url
from dtms.adapters.sql.sqlite import FileBackend, MemoryBackend, file_engine, memory_engine, translator
from dtms.adapters.sql.statements import IDENTITY, META_CREATE
from dtms.adapters.sql.writers import WriterQueue
from dtms.domain.units import Millis
from dtms.errors import LedgerUnavailableError, SettingsError
from dtms.private_files import make_private

_CREATION_LOCK = 0x64746D73
_FILE_URL = "write sqlite:////FOLDER/FILE with the whole path (%3F for ?, %25 for %), or set DTMS_DATA_DIR instead, which is a path"
_URLS = "write sqlite:///FILE, sqlite:// (memory) or postgresql+psycopg://USER@HOST/DATABASE"


def open_ledger(
    url: str | Path,
    *,
    account: str,
    clock: Callable[[], Millis],
    create: bool = True,
    epoch: str | None = None,
    lease_time: LeaseTime | None = None,
) -> SqlLedger:
    """Open the ledger of one account, creating or migrating it where needed.

    Args:
        url: A file, or ``sqlite:///FILE``, ``sqlite://`` (memory, for one process), ``postgresql+psycopg://...``.
        account: `Account.key`; a ledger of another account is refused.
        clock: The instant that old tickets and stored replies are measured against.
        create: Whether a missing ledger is made; False refuses it.
        epoch: The epoch of a ledger that is created here; a random word where it is not given.
        lease_time: Tells the leases on SQLite the time, for a simulation; the machine's boot-time clock otherwise.

    Raises:
        SettingsError: The database is of another account, of a newer program, not a ledger, or damaged. It was not changed.
        LedgerUnavailableError: The database cannot be reached, read or written.
    """
    parsed = parse_place(url)
    word = secrets.token_hex(8) if epoch is None else epoch
    backend: Backend
    if parsed.get_backend_name() == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            backend = _open_memory(account, word)
        else:
            backend = _open_file(real_file(Path(str(parsed.database))), account, word, create=create)
    else:
        backend = _open_postgres(parsed, account, word, create=create)
    try:
        return SqlLedger(backend, account=account, clock=clock, lease_time=lease_time)
    except LedgerUnavailableError:
        backend.close()
        raise


def identity_of(url: str | Path) -> tuple[str, int, str]:
    """Return account, schema and epoch of a ledger that is there already, whosever it is; nothing is changed.

    Raises:
        SettingsError: There is none, or it is damaged.
        LedgerUnavailableError: The database cannot be reached or read.
    """
    found = look(url)
    if found is not None:
        return found
    parsed = parse_place(url)
    if parsed.get_backend_name() == "sqlite":
        msg = (
            f"ledger {parsed.database} does not exist; name the right file, or set DTMS_DATA_DIR or DTMS_LEDGER_URL to the "
            "right one"
        )
    else:
        msg = f"ledger {shown_url(parsed)} is empty; name the right database"
    raise SettingsError(msg)


def look(url: str | Path) -> tuple[str, int, str] | None:
    """Return account, schema and epoch of a ledger, None where there is none yet; nothing is changed.

    Raises:
        SettingsError: What is there is damaged, or no ledger.
        LedgerUnavailableError: The database cannot be reached or read.
    """
    parsed = parse_place(url)
    found: list[tuple[Any, ...]] = []

    def note(query: Query) -> bool:
        found.extend(query(str(IDENTITY)))
        return True

    if parsed.get_backend_name() == "sqlite":
        if parsed.database in {None, "", ":memory:"}:
            return None
        path = real_file(Path(str(parsed.database)))
        if not path.exists():
            return None
        look_at_file(path, f"ledger {path}", None, note)
    else:
        backend = _server_backend(parsed)
        try:
            with backend.engine.connect() as connection:
                look_at_server(backend.name, None, connection, note)
        except SQLAlchemyError as error:
            raise backend.translate(cause(error)) from error
        finally:
            backend.close()
    if not found:
        return None
    account, schema, epoch = found[0]
    return str(account), int(schema), str(epoch)


def parse_place(url: str | Path) -> URL:
    """Return a ledger's place as a URL; a path is one as it stands, and none of its letters mean anything.

    Raises:
        SettingsError: It is none, of a kind that no ledger is kept in, or names another file than its author thinks.
    """
    if isinstance(url, Path):
        return URL.create("sqlite", database=str(url.absolute()))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # the second for a port that is no number
        # The text may hold a password, so it is not repeated.
        msg = f"the ledger's URL cannot be read; {_URLS}"
        raise SettingsError(msg) from error
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        msg = f"a ledger cannot be kept in {parsed.drivername!r}; {_URLS}"
        raise SettingsError(msg)
    if parsed.get_backend_name() == "sqlite" and parsed.database not in {None, "", ":memory:"}:
        _require_plain_file(url, parsed)
    return parsed


def _require_plain_file(url: str, parsed: URL) -> None:
    """Refuse a URL that names another file than its author thinks."""
    if "?" in url:
        msg = f"the ledger's URL has a ?, which ends the path; {_FILE_URL}"
        raise SettingsError(msg)
    if not Path(str(parsed.database)).is_absolute():
        msg = f"the ledger's URL names the file {parsed.database} by the folder of the start; {_FILE_URL}"
        raise SettingsError(msg)


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
            if not path.exists():
                _create_file(path, name, account, epoch)
            _own(path, name)
            ready = look_at_file(path, name, account)
            backend = FileBackend(path, queue)
            if not ready:
                with all_places(path):  # nobody may work on what is migrated
                    _make(backend.engine, backend.translate, account, epoch, ("BEGIN IMMEDIATE",))
        finally:
            queue.release()
    except (SettingsError, LedgerUnavailableError):
        if backend is None:
            queue.close()
        else:
            backend.close()
        raise
    return backend


def _own(path: Path, name: str) -> None:
    """See that nobody but this user may read a ledger, whoever made it and with what rights."""
    try:
        make_private(path)
    except OSError as error:
        msg = f"{name} cannot be opened: {error.strerror}; see that it is a file of this user, and may be written"
        raise SettingsError(msg) from error


def _create_file(path: Path, name: str, account: str, epoch: str) -> None:
    """Make a new ledger under another name and rename it: there is never half of one, so an empty file is damage.

    Raises:
        SettingsError: The file is missing and its log is there.
    """
    if any(path.with_name(f"{path.name}{suffix}").exists() for suffix in ("-wal", "-journal")):
        msg = f"{name} is missing and its log is there: it was removed or renamed; put it back, or {RESTORE}"
        raise SettingsError(msg)
    fresh = path.with_name(f"{path.name}.new")
    for suffix in ("", "-wal", "-shm"):
        fresh.with_name(f"{fresh.name}{suffix}").unlink(missing_ok=True)
    _own(fresh, name)  # its logs get the rights of the file
    engine = file_engine(fresh)
    try:
        _make(engine, translator(name), account, epoch, ("BEGIN IMMEDIATE",))
    finally:
        engine.dispose()  # the last connection to close moves the log into the file
    fresh.replace(path)


def _server_backend(url: URL) -> Backend:
    try:
        from dtms.adapters.sql.postgres import PostgresBackend
    except ImportError as error:
        msg = f"a ledger on PostgreSQL needs the driver psycopg ({error}); install dtms[postgres]"
        raise SettingsError(msg) from error
    return PostgresBackend(url)


def _open_postgres(url: URL, account: str, epoch: str, *, create: bool) -> Backend:
    backend = _server_backend(url)
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
        if look_at_server(backend.name, account, connection):
            return
        is_empty = connection.exec_driver_sql(POSTGRES_TABLES).first() is None
    if is_empty and not create:
        msg = f"{backend.name} holds no ledger yet; create it, or name the right database"
        raise SettingsError(msg)
    _make(
        backend.engine, backend.translate, account, epoch, ("BEGIN", f"SELECT pg_advisory_xact_lock({_CREATION_LOCK})")
    )


def _make(engine: Engine, translate: Translate, account: str, epoch: str, begin: tuple[str, ...]) -> None:
    """Create or migrate in one transaction; what another process made in the meantime is kept."""
    from dtms.adapters.sql.migrate import upgrade

    try:
        with engine.connect() as connection:
            for sql in begin:
                connection.exec_driver_sql(sql)
            tables_sql = SQLITE_TABLES if connection.dialect.name == "sqlite" else POSTGRES_TABLES
            tables = {row[0] for row in connection.exec_driver_sql(tables_sql)}
            upgrade(connection)
            if not tables:
                connection.execute(META_CREATE, _meta_row(account, epoch))
            connection.commit()
    except SQLAlchemyError as error:
        raise translate(cause(error)) from error


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

"""The ledger on SQLite: a file with a write-ahead log for real processes, or memory for the simulation.

One host and a local disk only: its locks do not hold on a network share.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, QueuePool, StaticPool, create_engine, event

from dtms.adapters.sql.backend import WAIT_S, Pooled, Transaction
from dtms.adapters.sql.executor import Executor, StatementBook
from dtms.adapters.sql.leases import machine_time
from dtms.adapters.sql.ledger_place import LedgerPlace
from dtms.adapters.sql.places import NoPlace
from dtms.adapters.sql.schema import RESTORE
from dtms.adapters.sql.statements import REVISION
from dtms.adapters.sql.writers import WriterQueue
from dtms.errors import DtmsError, InvalidDataError, InvariantError, LedgerUnavailableError, StaleWriteError
from dtms.ports.lease import Leases, Place

# The driver refuses numbers over 64 bits and lone surrogates with Python's own errors.
ERRORS = (sqlite3.Error, OverflowError, UnicodeEncodeError)

_REMEDIES = {
    "SQLITE_BUSY": "it stayed locked; find the process that holds it and end it",
    "SQLITE_LOCKED": "it stayed locked; find the process that holds it and end it",
    "SQLITE_FULL": "the disk is full; free space, nothing was written",
    "SQLITE_READONLY": "it may not be written; give this user the right to write the file and its folder",
    "SQLITE_PERM": "it may not be written; give this user the right to write the file and its folder",
    "SQLITE_IOERR": "the disk failed or lets nothing more be written; check it and the quota, then restart",
    "SQLITE_CORRUPT": f"it is damaged; {RESTORE}",
    "SQLITE_NOTADB": f"it is no SQLite database; {RESTORE}",
    "SQLITE_CANTOPEN": "it cannot be opened; check the path and its folder's rights",
}


def translator(name: str) -> Any:
    """Return what turns a driver's error into ours, naming the ledger."""

    def translate(error: Exception) -> DtmsError:
        code = getattr(error, "sqlite_errorname", "") or ""
        if isinstance(error, sqlite3.IntegrityError):
            if code in {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}:
                return StaleWriteError(f"{name}: {error}; somebody wrote first, reload and decide again")
            return InvariantError(f"{name}: {error}; what was written does not belong to anything in the ledger")
        if isinstance(error, sqlite3.DataError | OverflowError | UnicodeEncodeError):
            return InvalidDataError(f"{name}: {error}; the value does not fit its column")
        family = next((key for key in _REMEDIES if code.startswith(key)), None)
        remedy = f"restart; if it stays, {RESTORE}" if family is None else _REMEDIES[family]
        return LedgerUnavailableError(f"{name}: {error}; {remedy}")

    return translate


def _prepare(connection: Any, _record: object) -> None:
    # Transactions are begun by hand: the driver's own begin is deferred, and a deferred transaction that reads and then
    # writes fails at once when another wrote between, whatever the busy time-out.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {int(WAIT_S * 1_000)}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def file_engine(path: Path) -> Engine:
    """Return an engine over a file; nothing is opened yet."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),  # as a text its %, ? and # would mean something
        poolclass=QueuePool,
        pool_size=5,
        max_overflow=20,
        pool_timeout=WAIT_S,
        paramstyle="named",
        connect_args={"check_same_thread": False, "cached_statements": 256},
    )
    event.listen(engine, "connect", _prepare)
    return engine


def memory_engine() -> Engine:
    """Return an engine over one connection that holds the whole database."""
    engine = create_engine(
        "sqlite://",
        poolclass=StaticPool,
        paramstyle="named",
        connect_args={"check_same_thread": False, "cached_statements": 256},
    )
    event.listen(engine, "connect", _prepare)
    return engine


class FileBackend:
    """One file, any number of processes and threads."""

    spans_hosts = False

    def __init__(self, path: Path, queue: WriterQueue) -> None:
        self.name = f"ledger {path}"
        self.engine = file_engine(path)
        self.translate = translator(self.name)
        self._pool = Pooled(self.engine, ERRORS, self.translate)
        self._queue = queue
        self._writer = threading.Lock()
        self._path = path
        self._counter: sqlite3.Connection | None = None
        self._counter_lock = threading.Lock()
        self._revision = str(REVISION.compile(dialect=self.engine.dialect))

    @contextmanager
    def reading(self) -> Iterator[Executor]:
        """Read one snapshot; writers do not wait for it, nor it for them."""
        with self._pool.transaction("BEGIN") as executor:
            yield executor

    @contextmanager
    def writing(self) -> Iterator[Executor]:
        """Write, in turn with the threads of this process and with other processes."""
        with _held(self._writer, self.name):
            self._queue.acquire()
            try:
                with self._pool.transaction("BEGIN IMMEDIATE") as executor:
                    yield executor
            finally:
                self._queue.release()

    def revision(self) -> int:
        """Read the revision on a connection of its own: it is asked all the time."""
        with self._counter_lock:
            try:
                if self._counter is None:
                    self._counter = sqlite3.connect(
                        self._path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
                    )
                row = self._counter.execute(self._revision).fetchone()
            except sqlite3.Error as error:
                raise self.translate(error) from error
            return int(row[0])

    def lease_time(self) -> Mapping[str, object]:
        """Return this machine's boot-time clock: a file has one host."""
        return machine_time()

    def take_place(self, role: str, owner: str, leases: Leases) -> Place:
        """Lock a file beside the ledger, and write a row into it: whoever is stopped keeps them, whoever is dead does not."""
        return LedgerPlace(leases, self._path, role, owner)

    def close(self) -> None:
        """Close every connection that is not in use, and the lock file."""
        with self._counter_lock:
            if self._counter is not None:
                self._counter.close()
                self._counter = None
        self.engine.dispose()
        self._queue.close()


@lru_cache(maxsize=1)
def memory_book() -> StatementBook:
    """Return the statements of every ledger in memory: a drill opens hundreds, and compiling takes longer than a seed."""
    return StatementBook(memory_engine().dialect)


class MemoryBackend:
    """One connection, one transaction at a time: the simulation's ledger, gone with the process."""

    spans_hosts = False

    def __init__(self) -> None:
        self.name = "ledger in memory"
        self.engine = memory_engine()
        self.translate = translator(self.name)
        self._book = memory_book()
        self._lock = threading.Lock()
        self._pooled = self.engine.raw_connection()
        self.connection: Any = self._pooled.driver_connection
        self._revision: int | None = None

    def reading(self) -> AbstractContextManager[Executor]:
        """Read; the one connection makes it wait for a writer, so that no BEGIN is needed for one consistent view."""
        return _Turn(self._lock, self.name, Executor(self.connection, self._book, ERRORS, self.translate))

    @contextmanager
    def writing(self) -> Iterator[Executor]:
        """Write."""
        with _held(self._lock, self.name):
            executor = Executor(self.connection, self._book, ERRORS, self.translate)
            with Transaction(executor, "BEGIN IMMEDIATE"):
                yield executor
            self._revision = None

    def revision(self) -> int:
        """Return the revision: nobody else can write, so what was read after the last commit holds."""
        if self._revision is None:
            with self.reading() as executor:
                row = executor.one(REVISION)
            self._revision = 0 if row is None else int(row[0])
        return self._revision

    def lease_time(self) -> Mapping[str, object]:
        """Return this machine's boot-time clock; a simulation gives its own to `open_ledger`."""
        return machine_time()

    def take_place(self, _role: str, _owner: str, _leases: Leases) -> Place:
        """Return a place that nobody else can want."""
        return NoPlace()

    def close(self) -> None:
        """Forget everything."""
        self._pooled.close()
        self.engine.dispose()


class _Turn:
    """Reading while nobody else in this process has a transaction; a class and no generator, for a pass reads often."""

    __slots__ = ("_executor", "_lock", "_name")

    def __init__(self, lock: threading.Lock, name: str, executor: Executor) -> None:
        self._lock = lock
        self._name = name
        self._executor = executor

    def __enter__(self) -> Executor:
        _take(self._lock, self._name)
        return self._executor

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@contextmanager
def _held(lock: threading.Lock, name: str) -> Iterator[None]:
    _take(lock, name)
    try:
        yield
    finally:
        lock.release()


def _take(lock: threading.Lock, name: str) -> None:
    if not lock.acquire(timeout=WAIT_S):
        msg = f"{name}: another thread of this process has been writing for {WAIT_S:g} s; end what hangs, then restart"
        raise LedgerUnavailableError(msg)

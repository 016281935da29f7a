"""The ledger on PostgreSQL: for several hosts, or where a server is there anyway.

Writers take turns on the meta row, as they do on SQLite: what a transaction read stays true until it commits, counters
have no gaps, and there is no deadlock. A time-out ends a writer that was stopped inside its turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from dtms.adapters.sql.backend import WAIT_S, Pooled, cause
from dtms.adapters.sql.executor import Executor
from dtms.adapters.sql.server_place import ServerPlace
from dtms.adapters.sql.shown import shown_url
from dtms.adapters.sql.statements import REVISION
from dtms.errors import DtmsError, InvalidDataError, InvariantError, LedgerUnavailableError, StaleWriteError
from dtms.ports.lease import GATEWAY_LEASE, Leases, Place

ERRORS = (psycopg.Error, UnicodeEncodeError)

_SETTINGS = (
    "SET synchronous_commit = on",
    f"SET lock_timeout = {int(WAIT_S * 1_000)}",
    # A writer that was stopped inside its turn (suspended host, debugger) loses the turn, not everybody else's.
    f"SET idle_in_transaction_session_timeout = {int(WAIT_S * 2_000)}",
    f"SET statement_timeout = {int(WAIT_S * 2_000)}",
)


def _prepare(connection: Any, _record: object) -> None:
    for setting in _SETTINGS:
        connection.execute(setting)


def engine_for(url: URL) -> Engine:
    """Return an engine; nothing is opened yet."""
    engine = create_engine(
        url,
        pool_size=5,
        max_overflow=20,
        pool_timeout=WAIT_S,
        pool_pre_ping=True,
        connect_args={
            # Transactions are begun by hand, as on SQLite.
            "autocommit": True,
            "connect_timeout": int(WAIT_S),
            "tcp_user_timeout": int(WAIT_S * 2_000),
            "application_name": "dtms",
        },
    )
    event.listen(engine, "connect", _prepare)
    return engine


class PostgresBackend:
    """One database, any number of hosts."""

    spans_hosts = True

    def __init__(self, url: URL) -> None:
        self.name = f"ledger {shown_url(url)}"
        self.engine = engine_for(url)
        self._pool = Pooled(self.engine, ERRORS, self.translate)
        self._revision = str(REVISION.compile(dialect=self.engine.dialect))

    @contextmanager
    def reading(self) -> Iterator[Executor]:
        """Read one snapshot."""
        with self._pool.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") as executor:
            yield executor

    @contextmanager
    def writing(self) -> Iterator[Executor]:
        """Write; the turn is the lock on the meta row, which the ledger takes before it reads anything else."""
        with self._pool.transaction("BEGIN ISOLATION LEVEL READ COMMITTED") as executor:
            yield executor

    def revision(self) -> int:
        """Read the revision: one round trip."""
        try:
            pooled = self.engine.raw_connection()
            try:
                connection: Any = pooled.driver_connection
                return int(connection.execute(self._revision).fetchone()[0])
            finally:
                pooled.close()
        except (SQLAlchemyError, *ERRORS) as error:
            raise self.translate(cause(error)) from error

    def lease_time(self) -> Mapping[str, object]:
        """Return nothing that counts: the server reads its own clock, and its boots do not end leases."""
        return {"lease_now": 0, "lease_boot": ""}

    def take_place(self, role: str, owner: str, leases: Leases) -> Place:
        """Take an advisory lock on a connection of its own."""

        def has_ended() -> bool:
            # Only the gateway has a lease; without one, whoever has a session counts as alive.
            lease = leases.look(role) if role == GATEWAY_LEASE else None
            return lease is not None and lease.left_ms <= 0

        return ServerPlace(
            self._own_connection,
            role=role,
            owner=owner,
            has_ended=has_ended,
            ledger=self.name,
            translate=self.translate,
        )

    def _own_connection(self) -> Any:
        pooled = self.engine.raw_connection()
        connection = pooled.driver_connection
        pooled.detach()
        return connection

    def translate(self, error: Exception) -> DtmsError:
        """Return our word for a driver's error."""
        text = " ".join(str(error).split())
        if isinstance(error, errors.UniqueViolation | errors.SerializationFailure | errors.DeadlockDetected):
            return StaleWriteError(f"{self.name}: {text}; somebody wrote first, reload and decide again")
        if isinstance(error, psycopg.IntegrityError):
            return InvariantError(f"{self.name}: {text}; what was written does not belong to anything in the ledger")
        if isinstance(error, psycopg.DataError | UnicodeEncodeError):
            return InvalidDataError(f"{self.name}: {text}; the value does not fit its column")
        if isinstance(error, errors.LockNotAvailable):
            return LedgerUnavailableError(
                f"{self.name}: another writer has kept its turn for {WAIT_S:g} s; find the process that hangs and end it"
            )
        return LedgerUnavailableError(f"{self.name}: {text}; check that the server runs and can be reached")

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.engine.dispose()

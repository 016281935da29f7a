"""What differs between the databases: how a transaction begins, who may write, and what their errors mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dtms.adapters.sql.executor import Executor, StatementBook, Translate
from dtms.errors import DtmsError, LedgerUnavailableError
from dtms.ports.lease import Leases, Place

WAIT_S = 5.0
"""How long anything in the ledger waits for a lock or a connection, then it is unavailable."""


LeaseTime = Callable[[], Mapping[str, object]]
"""Returns the parameters that tell a lease's statement the time; PostgreSQL takes its own instead."""


class Backend(Protocol):
    """One database behind the ledger."""

    name: str
    engine: Engine
    spans_hosts: bool

    def reading(self) -> AbstractContextManager[Executor]:
        """Open a read transaction: one consistent view."""
        ...

    def writing(self) -> AbstractContextManager[Executor]:
        """Open the one write transaction; it commits when the block ends and rolls back when it raises."""
        ...

    def revision(self) -> int:
        """Return the ledger's revision, cheaply."""
        ...

    def lease_time(self) -> Mapping[str, object]:
        """Return the parameters that tell a lease's statement the time."""
        ...

    def take_place(self, role: str, owner: str, leases: Leases) -> Place:
        """Take the place of a role; raises `SettingsError` where another living process has it.

        `leases` are the ledger's own: they tell who lives where the database itself cannot.
        """
        ...

    def translate(self, error: Exception) -> DtmsError:
        """Return our word for a driver's error."""
        ...

    def close(self) -> None:
        """Release connections and locks."""
        ...


class Pooled:
    """Transactions on connections of the engine's pool."""

    def __init__(self, engine: Engine, errors: tuple[type[Exception], ...], translate: Translate) -> None:
        self.engine = engine
        self._book = StatementBook(engine.dialect)
        self._errors = errors
        self._lending: tuple[type[Exception], ...] = (SQLAlchemyError, *errors)
        self._translate = translate

    @contextmanager
    def transaction(self, begin: str) -> Iterator[Executor]:
        """Check a connection out and run one transaction on it."""
        try:
            pooled = self.engine.raw_connection()
        except self._lending as error:
            raise self._translate(cause(error)) from error
        try:
            executor = Executor(pooled.driver_connection, self._book, self._errors, self._translate)
            with Transaction(executor, begin):
                yield executor
        except LedgerUnavailableError:
            # Whatever it was, a connection that failed is not lent again.
            pooled.invalidate()
            raise
        finally:
            pooled.close()


class Transaction:
    """One transaction: COMMIT at the end of the block, ROLLBACK where the block raises anything at all.

    A class and no generator: the ledger is read many times in a pass.
    """

    __slots__ = ("_begin", "_executor")

    def __init__(self, executor: Executor, begin: str) -> None:
        self._executor = executor
        self._begin = begin

    def __enter__(self) -> Executor:
        self._executor.plain(self._begin)
        return self._executor

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        committed = False
        try:
            if kind is None:
                self._executor.plain("COMMIT")
                committed = True
        finally:
            if not committed:
                self._executor.roll_back()


def cause(error: Exception) -> Exception:
    """Return the driver's error inside of SQLAlchemy's."""
    if isinstance(error, DBAPIError) and isinstance(error.orig, Exception):
        return error.orig
    return error

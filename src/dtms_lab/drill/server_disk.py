"""The ledger of a drill on a PostgreSQL server: databases of the drill's own, each emptied for one seed after another.

A power cut ends every session of the database. What was committed stays, for `synchronous_commit` is on: nothing here
makes a server lose commits that it has confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.adapters.sql.schema import METADATA
from dtms.adapters.sql.shown import shown_url
from dtms.adapters.sql.statements import META_CREATE, Statement
from dtms.domain.units import Millis
from dtms.errors import LedgerUnavailableError, SettingsError
from dtms_lab.drill.disk import EPOCH, STATE_OF_TAG, Disk, MemoryDisk, NewDisk, fresh_meta, state_in
from dtms_lab.restart.postgres import databases

if TYPE_CHECKING:
    from dtms.adapters.sql.postgres import PostgresBackend

POSTGRESQL: Final = "postgresql"
_NOBODY: Final = "drill:0"
"""The account of a database before its first seed."""

_EMPTY: Final = f"TRUNCATE {', '.join(table.name for table in METADATA.sorted_tables)} RESTART IDENTITY"
_END_SESSIONS: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class ServerDisks:
    """Makes the disks of one seed after another on one database, which nobody else may use; fulfils `NewDisk`."""

    def __init__(self, url: str) -> None:
        """Make the ledger's tables in an empty database.

        Raises:
            SettingsError: The driver is missing, or the database is not empty and no drill's.
            LedgerUnavailableError: The server cannot be reached.
        """
        open_ledger(url, account=_NOBODY, clock=lambda: Millis(0), epoch=EPOCH).close()
        from dtms.adapters.sql.postgres import PostgresBackend

        self._url = url
        self._outside = PostgresBackend(make_url(url))

    def __call__(self, account: str, clock: Callable[[], Millis]) -> Disk:
        """Empty the database and give it to an account: the disk that was made before this one has ended."""
        with self._outside.writing() as executor:
            executor.plain(_EMPTY)
            executor.change(META_CREATE, **fresh_meta(account))
        return ServerDisk(self._url, self._outside, account, clock)

    def close(self) -> None:
        """Leave the database, which whoever made it drops."""
        self._outside.close()


class ServerDisk:
    """One database on a server; fulfils `Disk`. Whoever checks has sessions of their own, which see commits only."""

    def __init__(self, url: str, outside: PostgresBackend, account: str, clock: Callable[[], Millis]) -> None:
        self._url = url
        self._outside = outside
        self._account = account
        self._clock = clock
        self.ledger = self._opened()

    def _opened(self) -> SqlLedger:
        return open_ledger(self._url, account=self._account, clock=self._clock, create=False)

    def rows(self, statement: Statement, **values: Any) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        with self._outside.reading() as executor:
            return executor.all(statement, **values)

    def before_write(self) -> None:
        """Do nothing: the server's log is on its disk before a commit is confirmed."""

    def committed(self) -> None:
        """Do nothing: a commit is durable."""

    def cut(self) -> bool:
        """End every session; nothing was lost."""
        with self._outside.reading() as executor:
            executor.plain(_END_SESSIONS)
        self.ledger.close()
        self.ledger = self._opened()
        return False

    def intent_state(self, tag: str) -> str | None:
        """Return the durable state of the intent with a tag, None where there is none."""
        return state_in(self.rows(STATE_OF_TAG, tag=tag))

    def close(self) -> None:
        """End the ledger's sessions."""
        self.ledger.close()


def shown(ledger_url: str) -> str:
    """Return the URL as it may be printed: without its password.

    Raises:
        SettingsError: It is no URL of a PostgreSQL server.
    """
    try:
        parsed = make_url(ledger_url)
    except (ArgumentError, ValueError) as error:
        # The text may hold a password, so it is not repeated.
        msg = "--ledger-url cannot be read; write postgresql://USER@HOST/DATABASE"
        raise SettingsError(msg) from error
    name = parsed.get_backend_name()
    if name not in {POSTGRESQL, "postgres"}:
        msg = (
            f"--ledger-url names {name!r}, a drill is run on a PostgreSQL server or in memory; leave it out for memory"
        )
        raise SettingsError(msg)
    return shown_url(parsed)


@contextmanager
def own_databases(ledger_url: str, count: int) -> Iterator[tuple[str, ...]]:
    """Yield the URLs of new databases on a server; they are dropped at the end, whoever is still in them.

    Raises:
        SettingsError: The URL is not a PostgreSQL server's, or the driver is missing.
        LedgerUnavailableError: The server cannot be reached or gives no right to make databases.
    """
    name = shown(ledger_url)
    try:
        with databases(ledger_url) as make:
            yield tuple(make() for _ in range(count))
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        msg = f"--ledger-url needs the driver psycopg ({error}); install dtms[postgres]"
        raise SettingsError(msg) from error
    except SQLAlchemyError as error:
        said = " ".join(str(error.__cause__ or error).split())
        msg = f"server {name}: {said}; check that it runs and that this user may create databases"
        raise LedgerUnavailableError(msg) from error


@contextmanager
def disks(ledger_url: str | None) -> Iterator[NewDisk]:
    """Yield what makes disks, for one seed at a time: on a server, or in memory without one."""
    if ledger_url is None:
        yield MemoryDisk
        return
    with own_databases(ledger_url, 1) as (url,):
        made = ServerDisks(url)
        try:
            yield made
        finally:
            made.close()

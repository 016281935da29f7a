"""The place of a role on a ledger that is on a server: an advisory lock of a session, which ends with the connection.

It says who is alive; the lease says who may send. Where the server still counts somebody as alive who cannot be (our own
lost connection, a gateway that was stopped for longer than its lease), that session is ended first.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from dtms.adapters.sql.backend import cause
from dtms.errors import DtmsError, LedgerUnavailableError, SettingsError
from dtms.ports.lease import FencedError

_ENDING_S: Final = 5.0
_NAME_MOST: Final = 63
"""PostgreSQL cuts longer names of an application."""

_KEEP_ALIVE: Final = (
    # A host that vanished is noticed within some ten seconds instead of two hours.
    "SET tcp_keepalives_idle = 5",
    "SET tcp_keepalives_interval = 2",
    "SET tcp_keepalives_count = 3",
)
_HOLDER: Final = (
    "SELECT a.pid, a.application_name, coalesce(host(a.client_addr), 'this host'), a.backend_start"
    " FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND l.classid = %(upper)s AND l.objid = %(lower)s"
)


def place_key(schema: str, role: str) -> int:
    """Return the number of a role's place: `dtms` in the upper half, the checksum of schema and role in the lower."""
    return (0x64746D73 << 32) | zlib.crc32(f"{schema}|{role}".encode())


class ServerPlace:
    """One session that holds one advisory lock; fulfils `dtms.ports.lease.Place`.

    Args:
        connect: Opens a connection that is in no pool; a pool that changes sessions between statements cannot be used.
        role: What the process is.
        owner: Who it is; the same word is another start of the same installation, of which only one can live.
        has_ended: Whether the lease that goes with the role is over.
        ledger: Named in errors.
        translate: Returns our word for the driver's error.

    Raises:
        SettingsError: Another living process has the place.
        LedgerUnavailableError: The server cannot be asked.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        *,
        role: str,
        owner: str,
        has_ended: Callable[[], bool],
        ledger: str,
        translate: Callable[[Exception], DtmsError],
    ) -> None:
        self._connect = connect
        self._role = role
        self._name = f"dtms {role} {owner}"[:_NAME_MOST]
        self._has_ended = has_ended
        self._ledger = ledger
        self._translate = translate
        self._connection: Any = None
        self._take()

    def ensure(self) -> None:
        """Take the place again where the session that held it was lost.

        Raises:
            FencedError: Another process has it now.
            LedgerUnavailableError: The server cannot be asked.
        """
        if self._connection is not None:
            try:
                self._connection.execute("SELECT 1")
            except psycopg.Error:
                self.release()
            else:
                return
        try:
            self._take()
        except SettingsError as error:
            msg = f"{error}; this one ends"
            raise FencedError(msg) from error

    def release(self) -> None:
        """Let the next one in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _take(self) -> None:
        try:
            connection = self._connect()
        except (SQLAlchemyError, psycopg.Error) as error:
            raise self._translate(cause(error)) from error
        try:
            self._lock(connection)
        except psycopg.Error as error:
            connection.close()
            raise self._translate(error) from error
        except DtmsError:
            connection.close()
            raise
        self._connection = connection

    def _lock(self, connection: Any) -> None:
        for setting in _KEEP_ALIVE:
            connection.execute(setting)
        connection.execute("SELECT set_config('application_name', %s, false)", (self._name,))
        key = place_key(str(connection.execute("SELECT current_schema()").fetchone()[0]), self._role)
        if _try(connection, key):
            return
        holder = connection.execute(_HOLDER, {"upper": key >> 32, "lower": key & 0xFFFFFFFF}).fetchone()
        if holder is None:
            if _try(connection, key):
                return
            msg = f"another {self._role} took {self._ledger} at this moment; start again"
            raise SettingsError(msg)
        pid, name, host, since = holder
        if name != self._name and not self._has_ended():
            msg = (
                f"another {self._role} works on {self._ledger} ({name}, from {host}, since {since:%Y-%m-%d %H:%M:%S %Z}); "
                "stop it, or give this one a ledger of its own"
            )
            raise SettingsError(msg)
        connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        end = time.monotonic() + _ENDING_S
        while not _try(connection, key):
            if time.monotonic() >= end:
                msg = f"{self._ledger}: session {pid} ({name}) did not end within {_ENDING_S:g} s; end it by hand"
                raise LedgerUnavailableError(msg)
            time.sleep(0.02)


def _try(connection: Any, key: int) -> bool:
    return bool(connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone()[0])

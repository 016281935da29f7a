"""The ledger on a disk that can fail: one database that every process shares, and what of it a power cut leaves.

Here it is SQLite in memory; `server_disk` has it on PostgreSQL. Whether a commit is on the disk is read off the connection itself (`PRAGMA synchronous`): a ledger that is opened without
FULL leaves a tail of commits that the next power cut drops. So is the write-ahead law's "durable".
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any, Final, Protocol

from sqlalchemy import bindparam, select

from dtms.adapters.sql.audit import GENESIS
from dtms.adapters.sql.ledger import SqlLedger
from dtms.adapters.sql.migrate import upgrade
from dtms.adapters.sql.reading import ReadTransaction
from dtms.adapters.sql.schema import INTENTS, SCHEMA
from dtms.adapters.sql.sqlite import MemoryBackend, memory_book
from dtms.adapters.sql.statements import META_CREATE, Statement
from dtms.adapters.sql.writing import WriteTransaction
from dtms.domain.units import Millis
from dtms.errors import LedgerUnavailableError
from dtms_lab.drill.dice import Dice
from dtms_lab.drill.hooks import Hooks
from dtms_lab.drill.kinds import Kind

EPOCH: Final = "drill"
_FULL: Final = 2
_TAIL: Final = 6
"""Commits after which a disk that nobody asks to has written its cache all the same."""

STATE_OF_TAG: Final = select(INTENTS.c.state).where(INTENTS.c.tag == bindparam("tag"))


class Disk(Protocol):
    """The database of one account, as processes and checkers have it.

    `ledger` is replaced by a power cut: whoever holds the old one is dead then.
    """

    ledger: SqlLedger

    def rows(self, statement: Statement, **values: Any) -> list[tuple[Any, ...]]:
        """Return what a query finds, past the ledger: for whoever checks from outside."""
        ...

    def before_write(self) -> None:
        """Take note that a transaction begins."""
        ...

    def committed(self) -> None:
        """Take note of a commit."""
        ...

    def cut(self) -> bool:
        """Cut the power: open what is on the disk; return whether anything was lost."""
        ...

    def intent_state(self, tag: str) -> str | None:
        """Return the durable state of the intent with a tag, None where the disk knows of none."""
        ...

    def close(self) -> None:
        """Release it: the run has ended."""
        ...


NewDisk = Callable[[str, Callable[[], Millis]], Disk]
"""Makes the empty disk of an account whose ledger goes by a clock."""


def fresh_meta(account: str) -> dict[str, Any]:
    """Return the meta row of a new ledger; the epoch is always the same, so that runs are."""
    return {
        "id": 1,
        "account": account,
        "schema": SCHEMA,
        "epoch": EPOCH,
        "revision": 0,
        "last_event": 0,
        "audit_seq": 0,
        "audit_digest": GENESIS,
        "gateway_epoch": 0,
    }


@lru_cache(maxsize=4)
def _empty(account: str) -> bytes:
    """Return an empty ledger of an account: migrating takes long, and a drill opens hundreds."""
    backend = MemoryBackend()
    with backend.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        upgrade(connection)
        connection.commit()
    compiled = memory_book()[META_CREATE]
    backend.connection.execute(compiled.sql, compiled.bind(fresh_meta(account)))
    image: bytes = backend.connection.serialize()
    backend.close()
    return image


class MemoryDisk:
    """SQLite in memory; fulfils `Disk`."""

    def __init__(self, account: str, clock: Callable[[], Millis]) -> None:
        self._account = account
        self._clock = clock
        self._tail: bytes | None = None
        self._unsynced = 0
        self._open(_empty(account))
        self._book = memory_book()

    def _open(self, image: bytes) -> None:
        self._backend = MemoryBackend()
        connection = self._backend.connection
        self._level = int(connection.execute("PRAGMA synchronous").fetchone()[0])
        connection.deserialize(image)
        connection.execute(f"PRAGMA synchronous = {self._level}")  # what the ledger asks for, not what an image has
        self.ledger = SqlLedger(self._backend, account=self._account, clock=self._clock)

    def rows(self, statement: Statement, **values: Any) -> list[tuple[Any, ...]]:
        """Ask the database's own connection: nobody has a transaction open where somebody checks."""
        return self._ask(self._backend.connection, statement, values)

    def image(self) -> bytes:
        """Return the whole database as it stands."""
        found: bytes = self._backend.connection.serialize()
        return found

    def before_write(self) -> None:
        """Note what is on the disk where the next commit may not be."""
        if self._tail is None and self._level < _FULL:
            self._tail = self.image()
            self._unsynced = 0

    def committed(self) -> None:
        """Take note of a commit."""
        if self._tail is None:
            return
        self._unsynced += 1
        if self._unsynced >= _TAIL:
            self._tail = None

    def cut(self) -> bool:
        """Cut the power: open what is on the disk; return whether anything was lost."""
        image, lost = (self.image(), False) if self._tail is None else (self._tail, self._unsynced > 0)
        self._tail = None
        self.ledger.close()
        self._open(image)
        return lost

    def intent_state(self, tag: str) -> str | None:
        """Return the durable state of the intent with a tag, None where the disk knows of none."""
        if self._tail is None:
            return state_in(self.rows(STATE_OF_TAG, tag=tag))
        durable = sqlite3.connect(":memory:")
        durable.deserialize(self._tail)
        found = self._ask(durable, STATE_OF_TAG, {"tag": tag})
        durable.close()
        return state_in(found)

    def close(self) -> None:
        """Forget everything."""
        self.ledger.close()

    def _ask(self, connection: Any, statement: Statement, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        compiled = self._book[statement]
        found: list[tuple[Any, ...]] = connection.execute(compiled.sql, compiled.bind(values)).fetchall()
        return found


def state_in(found: list[tuple[Any, ...]]) -> str | None:
    """Return the one state that `STATE_OF_TAG` found, None where it found none."""
    return str(found[0][0]) if found else None


class ProcessLedger:
    """One process's way to the ledger; fulfils `Ledger`. Here transactions fail, and processes die in them."""

    def __init__(self, disk: Disk, dice: Dice, hooks: Hooks, who: str) -> None:
        self._disk = disk
        self._ledger = disk.ledger
        self._dice = dice
        self._hooks = hooks
        self._who = who

    @property
    def epoch(self) -> str:
        """Return the ledger's epoch."""
        return self._ledger.epoch

    def read(self) -> AbstractContextManager[ReadTransaction]:
        """Open a read transaction."""
        return self._ledger.read()

    @contextmanager
    def write(self) -> Iterator[WriteTransaction]:
        """Open a write transaction; it may fail at its begin, at its commit, or seem to have failed.

        Raises:
            LedgerUnavailableError: It failed, or its commit was not confirmed.
            SimCrash: The process died.
        """
        self._hooks.between(self._who, "ledger.begin")
        if self._dice.strikes(Kind.LEDGER_BUSY):
            raise LedgerUnavailableError("ledger: it stayed locked; find the process that holds it and end it")
        self._disk.before_write()
        with self._ledger.write() as tx:
            yield tx
            self._hooks.inside(self._who, "ledger.commit")
            if self._dice.strikes(Kind.LEDGER_FULL):
                raise LedgerUnavailableError("ledger: the disk is full; free space, nothing was written")
        self._disk.committed()
        if self._dice.strikes(Kind.LEDGER_TORN):
            raise LedgerUnavailableError("ledger: the commit was not confirmed; read before doing anything again")
        self._hooks.between(self._who, "ledger.committed")

    def revision(self) -> int:
        """Return the revision."""
        return self._ledger.revision()

    def close(self) -> None:
        """Leave the database open: it belongs to everybody."""

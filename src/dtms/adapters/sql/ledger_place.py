"""The place of a role as a ledger on a file holds it: the lock file beside it, and a row in it that names the process.

A lock file can be removed by hand, and then locks nobody out: the row still says who works on the ledger.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from dtms.adapters.processes import Process, process_from, this_process
from dtms.adapters.sql.places import FilePlace
from dtms.errors import SettingsError
from dtms.ports.lease import FencedError, Leases, LeaseView

ROW_TTL_MS: Final = 10_000
"""So long after its last sign a holder counts as alive, where nothing better tells."""

_ROW_BEAT_MS: Final = 3_000
_PLACE: Final = "place/"
_LOOK_S: Final = 0.1


class LedgerPlace:
    """One process's place; fulfils `dtms.ports.lease.Place`.

    Where lock file and row contradict each other the row is right: the file may have been removed under a living holder.

    Args:
        leases: The ledger's.
        file: The ledger as `real_file` returns it.
        role: What the process is.
        owner: Which installation it belongs to.

    Raises:
        SettingsError: Another process has the place, and lives.
        LedgerUnavailableError: The lock file or the row cannot be written.
    """

    def __init__(self, leases: Leases, file: Path, role: str, owner: str) -> None:
        self._leases = leases
        self._ledger = file
        self._role = role
        self._name = f"{_PLACE}{role}"
        self._owner = f"{owner} {this_process()}"
        self._epoch = 0
        self._contested = False
        self._file = self._taken()

    def ensure(self) -> None:
        """Show that we live; take lock file and row again where they were removed.

        Raises:
            FencedError: Another process has the place now.
            LedgerUnavailableError: The ledger cannot be asked or written.
        """
        held = self._leases.look(self._name)
        if held is not None and (held.owner, held.epoch) != (self._owner, self._epoch):
            raise FencedError(f"{self._refused(held)}; this one ends")
        if held is None or held.quiet_ms is None or held.quiet_ms >= _ROW_BEAT_MS:
            self._beat()
        self._mend()

    def _beat(self) -> None:
        if self._leases.renew(self._name, self._owner, self._epoch, ttl_ms=ROW_TTL_MS):
            return
        # It was removed, or has ended while we slept: ours again, if nobody was faster.
        taken = self._leases.take(self._name, self._owner, ttl_ms=ROW_TTL_MS)
        if taken is None:
            raise FencedError(f"another {self._role} took ledger {self._ledger} at this moment; this one ends")
        self._epoch = taken.epoch

    def _mend(self) -> None:
        """Make a removed lock file again; who starts now may hold it for the moment until the row refuses him."""
        try:
            self._file.ensure()
        except FencedError:
            if self._contested:
                raise
            self._contested = True
        else:
            self._contested = False

    def release(self) -> None:
        """Let the next one in.

        Raises:
            LedgerUnavailableError: The row cannot be written; it ends with this process.
        """
        try:
            self._leases.give_up(self._name, self._owner, self._epoch)
        finally:
            self._file.release()

    def _taken(self) -> FilePlace:
        """Take lock file and row; wait for a holder of whom only time can tell whether he lives."""
        left_ms: int | None = None
        while True:
            file = FilePlace(self._ledger, self._role)
            try:
                held = self._taken_row()
            except BaseException:
                file.release()
                raise
            if held is None:
                return file
            # Whoever waits keeps no lock file: a living holder makes a removed one again.
            file.release()
            if left_ms is not None and held.left_ms > left_ms:
                raise SettingsError(self._refused(held))
            left_ms = held.left_ms
            time.sleep(_LOOK_S)

    def _taken_row(self) -> LeaseView | None:
        """Take the row; where one stands of whom it is not known whether he lives, return it.

        Raises:
            SettingsError: Its holder lives, stopped or not.
            LedgerUnavailableError: It cannot be written.
        """
        held = self._leases.look(self._name)
        if held is not None and held.owner != self._owner and held.quiet_ms is not None:
            lives = _lives(held)
            if lives:
                raise SettingsError(self._refused(held))
            if lives is None and held.left_ms > 0:
                return held
            self._leases.give_up(self._name, held.owner, held.epoch)
        taken = self._leases.take(self._name, self._owner, ttl_ms=ROW_TTL_MS)
        if taken is None:
            raise SettingsError(f"another {self._role} took ledger {self._ledger} at this moment; start again")
        self._epoch = taken.epoch
        return None

    def _refused(self, held: LeaseView) -> str:
        process = _process(held.owner)
        number = "unknown" if process is None else str(process.pid)
        return (
            f"another {self._role} works on ledger {self._ledger} (process {number}, as the ledger says); "
            "stop it, or give this one a ledger of its own"
        )


def require_no_holder(file: Path) -> None:
    """Check that no process that lives stands in a ledger as its gateway, server or API: lock files can be removed.

    Of a process in another container only its lock file tells, and a file that is damaged names nobody.

    Args:
        file: The ledger as `real_file` returns it; it need not exist.

    Raises:
        SettingsError: One does; stop it first.
    """
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as opened:
            rows = opened.execute("SELECT name, owner FROM leases WHERE name LIKE ?", (f"{_PLACE}%",)).fetchall()
    except sqlite3.Error:
        return
    for name, owner in rows:
        process = _process(owner)
        if process is not None and process.lives():
            role = name.removeprefix(_PLACE)
            raise SettingsError(
                f"another {role} works on ledger {file} (process {process.pid}, as the ledger says); stop it first"
            )


def _process(owner: str) -> Process | None:
    return process_from(owner.rpartition(" ")[2])


def _lives(held: LeaseView) -> bool | None:
    process = _process(held.owner)
    return None if process is None else process.lives()

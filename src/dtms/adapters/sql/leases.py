"""The leases and places of one ledger: who may send, and who is the only living process of a role."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from dtms.adapters.clocks import boot_id
from dtms.adapters.sql.backend import Backend, LeaseTime
from dtms.adapters.sql.executor import Executor
from dtms.adapters.sql.lease_statements import (
    GATEWAY_EPOCH,
    LEASE_EPOCH,
    LEASE_GIVE_UP,
    LEASE_LOOK,
    LEASE_RENEW,
    LEASE_TAKE,
)
from dtms.adapters.sql.schema import RESTORE
from dtms.adapters.sql.statements import META_LOCK
from dtms.errors import LedgerUnavailableError
from dtms.platforms.clock import boot_ns
from dtms.ports.lease import GATEWAY_LEASE, LeaseView, Place, Taken

_NS_A_MS: Final = 1_000_000


def machine_time() -> Mapping[str, object]:
    """Return this machine's boot-time clock in milliseconds, with the name of the boot.

    Where a machine has no name for its boot, a restart turns the clock back, and the old lease ends late, never early.
    """
    return {"lease_now": boot_ns() // _NS_A_MS, "lease_boot": boot_id()}


class SqlLeases:
    """Fulfils `dtms.ports.lease.Leases`.

    Args:
        backend: The database.
        now: Tells the time to the statements.
        fence: Called with the epoch when this process has taken the gateway's lease.
    """

    def __init__(self, backend: Backend, *, now: LeaseTime, fence: Callable[[int], None]) -> None:
        self._backend = backend
        self._now = now
        self._fence = fence

    def look(self, name: str) -> LeaseView | None:
        """Return a lease, None where nobody ever had it or its owner gave it up."""
        with self._backend.reading() as executor:
            return self._look(executor, name)

    def _look(self, executor: Executor, name: str) -> LeaseView | None:
        row = executor.one(LEASE_LOOK, lease_name=name, **self._now())
        if row is None or row[0] == "":
            return None
        owner, epoch, left, quiet, same_boot = row
        if not same_boot:
            return LeaseView(name=name, owner=owner, epoch=epoch, left_ms=-1, quiet_ms=None)
        return LeaseView(name=name, owner=owner, epoch=epoch, left_ms=int(left), quiet_ms=int(quiet))

    def take(self, name: str, owner: str, *, ttl_ms: int) -> Taken | None:
        """Take a lease that is free, has ended or is the owner's own; None where another has it.

        Raises:
            LedgerUnavailableError: The ledger cannot be written.
        """
        with self._backend.writing() as executor:
            meta = executor.one(META_LOCK)
            if meta is None:
                msg = f"{self._backend.name} has lost its meta row; {RESTORE}"
                raise LedgerUnavailableError(msg)
            before = self._look(executor, name)
            floor = int(meta[4]) + 1
            changed = executor.change(LEASE_TAKE, name=name, owner=owner, floor=floor, ttl=ttl_ms, **self._now())
            row = executor.one(LEASE_EPOCH, lease_name=name)
            if not changed or row is None:
                return None
            epoch = int(row[0])
            if name == GATEWAY_LEASE:
                # From this commit on, every writer with an older epoch is refused.
                executor.change(GATEWAY_EPOCH, epoch=epoch)
        if name == GATEWAY_LEASE:
            self._fence(epoch)
        return Taken(epoch=epoch, before=before)

    def renew(self, name: str, owner: str, epoch: int, *, ttl_ms: int) -> bool:
        """Prolong a lease that has not ended; False where it has, or where its epoch is over.

        It neither waits for the writers' turn on a server nor counts as a change: a beat wakes nobody.
        """
        with self._backend.writing() as executor:
            mine = {"lease_name": name, "lease_owner": owner, "lease_epoch": epoch}
            return executor.change(LEASE_RENEW, **mine, ttl=ttl_ms, **self._now()) == 1

    def give_up(self, name: str, owner: str, epoch: int) -> None:
        """End a lease that is still the owner's: the next one need not wait."""
        with self._backend.writing() as executor:
            executor.change(LEASE_GIVE_UP, lease_name=name, lease_owner=owner, lease_epoch=epoch)

    def place(self, role: str, owner: str) -> Place:
        """Take the place of a role.

        Raises:
            SettingsError: Another process has it and is alive.
            LedgerUnavailableError: The ledger cannot be asked.
        """
        return self._backend.take_place(role, owner, self)

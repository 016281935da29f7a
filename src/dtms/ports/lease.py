"""Who may send: the lease with its fencing number, and the place that only one process of a role may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from dtms.errors import LedgerUnavailableError, StaleWriteError

GATEWAY_LEASE: Final = "gateway"
"""The lease without which nothing is claimed or sent for the ledger's account."""


class EpochOverError(StaleWriteError):
    """A gateway with a newer epoch has claimed; this one must stop sending."""


class FencedError(LedgerUnavailableError):
    """Another process has taken this one's place: nothing may be written or sent any more; end, and start anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseView:
    """A lease as the ledger has it now, by the ledger's own clock.

    `left_ms` is negative once it has ended; `quiet_ms` is the time since the last sign of life of its owner, None where
    that was before a restart of the machine, which nothing that sends survives.
    """

    name: str
    owner: str
    epoch: int
    left_ms: int
    quiet_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A lease that was taken: its new epoch, and how it stood before, None where it was free."""

    epoch: int
    before: LeaseView | None


class Leases(Protocol):
    """The leases of one ledger; each verb is one transaction, and time is the ledger's."""

    def look(self, name: str) -> LeaseView | None:
        """Return a lease, None where nobody ever had it or its owner gave it up."""
        ...

    def take(self, name: str, owner: str, *, ttl_ms: int) -> Taken | None:
        """Take a lease that is free, has ended or is the owner's own; None where another has it."""
        ...

    def renew(self, name: str, owner: str, epoch: int, *, ttl_ms: int) -> bool:
        """Prolong a lease that has not ended; False where it has, or where its epoch is over."""
        ...

    def give_up(self, name: str, owner: str, epoch: int) -> None:
        """End a lease that is still the owner's: the next one need not wait."""
        ...

    def place(self, role: str, owner: str) -> Place:
        """Take the place of a role.

        Raises:
            SettingsError: Another process has it and is alive.
            LedgerUnavailableError: The ledger cannot be asked.
        """
        ...


class Place(Protocol):
    """The sign that a process lives and is the only one of its role on this ledger; it ends with the process."""

    def ensure(self) -> None:
        """Take the place again where the connection that held it was lost.

        Raises:
            FencedError: Another process has it now.
            LedgerUnavailableError: The ledger cannot be asked; nobody else can ask it either, or may.
        """
        ...

    def release(self) -> None:
        """Let the next one in."""
        ...


class SendingRight(Protocol):
    """Asked immediately before each write to the broker."""

    def may_send(self) -> bool:
        """Say whether a send that begins now is certain to end before another may begin to send."""
        ...

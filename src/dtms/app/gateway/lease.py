"""The gateway's lease: how long this process may still send, by its own clock, and what it does when it no longer may.

The holder stops sending `longest_send_s + margin_s` before the ledger could give the lease to another, so whatever it began
has ended by then. A new owner waits `longest_send_s + settle_s` longer than the old lease ran, and the first thing it does is
to call everything that was on its way unknown.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dtms.domain.action import Action
from dtms.domain.position import Position
from dtms.domain.receipt import Receipt
from dtms.errors import BrokerUnavailableError, SettingsError
from dtms.ports.broker import BrokerWrites
from dtms.ports.lease import GATEWAY_LEASE, FencedError, Leases, LeaseView, Place, SendingRight

_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """How long things last, in seconds.

    `ttl_s`: a lease ends so long after its last beat. `longest_send_s`: then the watchdog ends a send. `settle_s`: what the
    broker was sent may still show up so long afterwards.

    Raises:
        SettingsError: The lease is too short for a single send between two beats.
    """

    ttl_s: float = 15.0
    longest_send_s: float = 10.0
    margin_s: float = 1.0
    beat_s: float = 1.0
    settle_s: float = 10.0

    def __post_init__(self) -> None:
        least = self.longest_send_s + self.margin_s + 2 * self.beat_s
        if self.ttl_s < least:
            msg = f"a lease of {self.ttl_s:g} s leaves no time to send; make it {least:g} s or longer (DTMS_LEASE_S)"
            raise SettingsError(msg)

    @property
    def window_ns(self) -> int:
        """Return how long after a beat a send may still begin."""
        return round((self.ttl_s - self.longest_send_s - self.margin_s) * _NS)


class LeaseHolder:
    """Takes, keeps and gives up the lease; fulfils `SendingRight`.

    `hold` is the executor's, at the beginning of each pass; `beat` another thread's, each `beat_s`, because a pass may take
    as long as a send.

    Args:
        leases: The ledger's.
        owner: Who we are: the same word after a restart, another one in every other installation.
        terms: How long things last.
        now_ns: The boot-time clock.
        place: The sign that we live, already taken.
        name: Which lease.
    """

    def __init__(
        self,
        leases: Leases,
        *,
        owner: str,
        terms: LeaseTerms,
        now_ns: Callable[[], int],
        place: Place,
        name: str = GATEWAY_LEASE,
    ) -> None:
        self.terms = terms
        self._leases = leases
        self._owner = owner
        self._now_ns = now_ns
        self._place = place
        self._name = name
        self._lock = threading.Lock()
        self._epoch = 0
        self._lapsed = True
        self._send_until_ns = 0
        self._ready_ns = 0
        self._fenced: FencedError | None = None

    @property
    def epoch(self) -> int:
        """Return the fencing number of the present lease, 0 before the first."""
        return self._epoch

    @property
    def name(self) -> str:
        """Return the name of the lease, for the claiming statement."""
        return self._name

    @property
    def fenced(self) -> bool:
        """Say whether another has taken our place, for good."""
        return self._fenced is not None

    def may_send(self) -> bool:
        """Say whether a send that begins now is certain to end before another may begin to send."""
        with self._lock:
            held = self._fenced is None and not self._lapsed
            return held and self._ready_ns <= self._now_ns() < self._send_until_ns

    def hold(self) -> bool:
        """Take the lease where we do not have it; say whether we have it and nobody's earlier send can still arrive.

        Raises:
            FencedError: Another installation has taken it from us; this process must end.
            LedgerUnavailableError: The ledger cannot be asked; nothing is sent.
        """
        with self._lock:
            if self._fenced is not None:
                raise self._fenced
            lapsed = self._lapsed
        if lapsed and not self._take():
            return False
        return self._now_ns() >= self._ready_ns

    def _take(self) -> bool:
        began = self._now_ns()
        taken = self._leases.take(self._name, self._owner, ttl_ms=round(self.terms.ttl_s * 1_000))
        if taken is None:
            if self._epoch > 0:
                raise self._over("another gateway has taken the lease")
            return False
        with self._lock:
            self._epoch, self._lapsed = taken.epoch, False
            # Counted from before the ledger was asked: its clock began to count later than that, never earlier.
            self._send_until_ns = began + self.terms.window_ns
            self._ready_ns = began + self._quiet_ns(taken.before)
        return True

    def _quiet_ns(self, before: LeaseView | None) -> int:
        """Return how long to wait until nothing of the owner before can arrive any more."""
        if before is None or before.owner == self._owner or before.quiet_ms is None:
            return 0
        wanted = self.terms.longest_send_s + self.terms.settle_s
        return max(0, round(wanted * _NS) + before.left_ms * 1_000_000)

    def beat(self) -> None:
        """Show that we live, and prolong the lease where we have it.

        Raises:
            FencedError: Another process has our place; this one must end.
            LedgerUnavailableError: The ledger cannot be asked; the lease runs out by itself.
        """
        try:
            self._place.ensure()
        except FencedError as error:
            raise self._over(str(error)) from error
        with self._lock:
            epoch = 0 if self._lapsed else self._epoch
        if epoch == 0:
            return
        began = self._now_ns()
        renewed = self._leases.renew(self._name, self._owner, epoch, ttl_ms=round(self.terms.ttl_s * 1_000))
        with self._lock:
            if renewed:
                self._send_until_ns = began + self.terms.window_ns
            else:
                self._lapsed = True

    def _over(self, reason: str) -> FencedError:
        error = FencedError(f"{reason}; this gateway (epoch {self._epoch}) sends nothing more and ends")
        with self._lock:
            self._fenced = error
        return error

    def release(self) -> None:
        """Give up lease and place: the next gateway need not wait.

        Raises:
            LedgerUnavailableError: The ledger cannot be asked; the lease runs out by itself.
        """
        with self._lock:
            epoch = 0 if self._lapsed or self._fenced is not None else self._epoch
            self._lapsed = True
        try:
            if epoch:
                self._leases.give_up(self._name, self._owner, epoch)
        finally:
            self._place.release()


class LeasedWrites:
    """`BrokerWrites` that asks for the right immediately before the write: what is refused provably never left."""

    def __init__(self, writes: BrokerWrites, right: SendingRight) -> None:
        self._writes = writes
        self._right = right

    def send(self, action: Action, *, position: Position | None, tag: str) -> Receipt:
        """Send one action.

        Raises:
            BrokerUnavailableError: The lease has ended, or ends before the answer could come; nothing was sent.
            OutcomeUnknownError: As the broker's own.
        """
        if not self._right.may_send():
            msg = "not sent: the gateway's lease has ended or ends too soon; it is tried again once the lease is held"
            raise BrokerUnavailableError(msg)
        return self._writes.send(action, position=position, tag=tag)

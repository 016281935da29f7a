"""When the service may be asked again after it failed, and which failure is worth a warning.

A dead or slow service costs a cycle one failed question, however many trades there are. A program that calls
`begin_cycle()` at the start of each of its cycles gets exactly that. For one that never does, a failed question is
remembered for 1 s: within it no *other* question is asked; the same one asked again is taken for the next cycle.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from dtms.client.contract import SECOND_NS

BLOCK_NS: Final = 1 * SECOND_NS
CYCLE_BLOCK_NS: Final = 10 * SECOND_NS
"""The longest wait for a `begin_cycle()` that does not come: a cycle that died must not silence everybody else."""

Key = int | None
"""What was asked: one ticket, or several at once (None)."""


class ProbeGate:
    """Says which of the tickets may be asked about now."""

    def __init__(self) -> None:
        self._in_cycles = False
        self._blocked_until = 0
        self._refused_until: dict[int, int] = {}
        self._failed_key: Key = None
        self._failed_ns: int | None = None

    def begin_cycle(self) -> None:
        """Allow one failed question again."""
        self._in_cycles = True
        self._open()

    def allowed(self, tickets: Iterable[int], key: Key, wanted_ns: int, now: int) -> tuple[int, ...]:
        """Return those of the tickets that may be asked about by a caller who came at `wanted_ns`."""
        # Who came before the failure has waited for it and shares it: two threads cost one question.
        again = self._failed_ns is not None and key == self._failed_key and wanted_ns >= self._failed_ns
        if again and not self._in_cycles:
            return tuple(tickets)
        if now < self._blocked_until:
            return ()
        return tuple(ticket for ticket in tickets if now >= self._refused_until.get(ticket, 0))

    def failed(self, tickets: Iterable[int], key: Key, *, wide: bool, now: int) -> None:
        """Remember a failed question; a second ticket whose own answer is at fault counts as a failing service."""
        until = now + (CYCLE_BLOCK_NS if self._in_cycles else BLOCK_NS)
        at_fault = dict.fromkeys(tickets, until)
        self._refused_until = {t: end for t, end in self._refused_until.items() if end > now and t not in at_fault}
        if wide or (key is not None and self._refused_until):
            self._blocked_until = until
        self._refused_until.update(at_fault)
        self._failed_key, self._failed_ns = key, now

    def succeeded(self, tickets: Iterable[int]) -> None:
        """Remember that the service answered for these tickets."""
        self._blocked_until = 0
        for ticket in tickets:
            self._refused_until.pop(ticket, None)

    def _open(self) -> None:
        self._blocked_until = 0
        self._refused_until.clear()
        self._failed_ns = None


@dataclass(slots=True)
class _Outage:
    reason: str
    warned: bool = False
    tickets: set[int] = field(default_factory=set)


class Outages:
    """One warning per outage: from the first failure to the first good answer.

    The service's outage and that of single tickets (their answers alone are at fault) are counted apart, or the good
    answers for the others would end it, and begin it anew, each cycle.
    """

    def __init__(self) -> None:
        self._service: _Outage | None = None
        self._tickets: _Outage | None = None

    @property
    def reason(self) -> str | None:
        """Why the service's present outage began, None while there is none."""
        return None if self._service is None else self._service.reason

    def began(self, tickets: Iterable[int], reason: str, *, wide: bool) -> None:
        """Note a failure."""
        if wide:
            self._service = self._service if self._service is not None else _Outage(reason)
            return
        if self._tickets is None:
            self._tickets = _Outage(reason)
        self._tickets.tickets.update(tickets)

    def ended(self, tickets: Iterable[int]) -> None:
        """Note good answers for these tickets."""
        self._service = None
        if self._tickets is not None:
            self._tickets.tickets.difference_update(tickets)
            if not self._tickets.tickets:
                self._tickets = None

    def warning_for(self, ticket: int) -> str | None:
        """Return the reason to warn about, the first time in an outage that nothing is known of a ticket."""
        outage = self._tickets if self._tickets is not None and ticket in self._tickets.tickets else self._service
        if outage is None or outage.warned:
            return None
        outage.warned = True
        return outage.reason

"""The encoded answers of single trades: what the hot path serves without touching ledger, broker or framework."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import msgspec

from dtms.app.views.queries import TradeQueries
from dtms.domain.units import Ticket
from dtms.ports.clock import Clock
from dtms.services.server import encode
from dtms.services.web.dispatch import HotAnswer
from dtms.services.web.etag import etag

FRESH_NS: Final = 250_000_000
"""Bytes younger than this are served again: a trade is encoded at most four times a second."""

MOST_HELD: Final = 20_000
"""Answers held; an answer has some 3 KiB."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One answer as it leaves, with its tag and when it was begun."""

    body: bytes
    etag: str
    begun_ns: int


class TradeBoard:
    """Encodes the answer of a trade when it is asked for and the last one has got too old."""

    def __init__(self, queries: TradeQueries, clock: Clock, epoch: str) -> None:
        self._queries = queries
        self._clock = clock
        self._epoch = epoch
        self._held: dict[str, Encoded] = {}
        self._seq = 0
        self._lock = threading.Lock()

    def hot(self, segment: str) -> HotAnswer | None:
        """Return the answer for a path's last segment where it is held and fresh; never blocks."""
        found = self._held.get(segment)
        if found is None or self._clock.boot_ns() - found.begun_ns >= FRESH_NS:
            return None
        return 200, found.body, found.etag

    def answer(self, ticket: int) -> Encoded | None:
        """Return the answer of a trade, encoded anew where it is not fresh; None where the trade is unknown. Blocks.

        Whoever comes while it is being encoded waits for that one.
        """
        key = str(ticket)
        with self._lock:
            begun_ns = self._clock.boot_ns()
            found = self._held.get(key)
            if found is not None and begun_ns - found.begun_ns < FRESH_NS:
                return found
            self._held.pop(key, None)
            facts = self._queries.trade(Ticket(ticket))
            if facts is None:
                return None
            body = msgspec.json.encode(encode.trade(facts, asked=ticket, epoch=self._epoch))
            # From the wall clock, so that a tag of before a restart is never given to other bytes.
            self._seq = max(self._seq + 1, self._clock.wall_now())
            made = Encoded(body, etag(facts.trade.version, self._seq), begun_ns)
            self._held[key] = made
            while len(self._held) > MOST_HELD:
                self._held.pop(next(iter(self._held)))
            return made

    def drop(self, *tickets: int) -> None:
        """Forget answers that this process has just made untrue."""
        with self._lock:
            for ticket in tickets:
                self._held.pop(str(ticket), None)

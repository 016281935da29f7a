"""What the server saw of the broker last: the monitor's reads are remembered, so that no answer has to wait for one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from dtms.domain.instrument import Instrument
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import Account, Deal, PositionsRead
from dtms.domain.units import Millis
from dtms.errors import BrokerError, MarketDataError
from dtms.ports.broker import BrokerReads

T = TypeVar("T")

SHOWN_FOR_NS: Final = 5_000_000_000
"""A read of the positions older than this is not shown: twenty passes of the monitor went without a newer one."""


class LastSeenReads:
    """`BrokerReads` that remembers what passed through it; `SeenSight` shows it.

    Give it to the monitor and the registry in place of the reads themselves.

    Args:
        reads: The broker, or the gateway.
        now_ns: The boot-time clock: ages of reads are process ages.
    """

    def __init__(self, reads: BrokerReads, now_ns: Callable[[], int]) -> None:
        self._reads = reads
        self._now_ns = now_ns
        self._positions: tuple[int, PositionsRead] | None = None
        self._instruments: dict[str, Instrument] = {}
        self._wanted: set[str] = set()
        self._lock = threading.Lock()
        self._answered_ns: int | None = None

    @property
    def answered_ns(self) -> int | None:
        """Return when the broker last answered anything, None before the first time."""
        return self._answered_ns

    def account(self) -> Account:
        """Ask for the account."""
        return self._answered(self._reads.account())

    def instrument(self, symbol: str) -> Instrument:
        """Ask for an instrument."""
        found = self._answered(self._reads.instrument(symbol))
        with self._lock:
            self._instruments[symbol] = found
            self._wanted.discard(symbol)
        return found

    def positions(self) -> PositionsRead:
        """Ask for the positions."""
        asked_ns = self._now_ns()
        read = self._answered(self._reads.positions())
        with self._lock:
            if self._positions is None or self._positions[0] <= asked_ns:
                self._positions = (asked_ns, read)
        return read

    def quote(self, symbol: str) -> Quote:
        """Ask for a quote."""
        return self._answered(self._reads.quote(symbol))

    def bars(self, symbol: str, timeframe: Timeframe, count: int) -> tuple[Bar, ...]:
        """Ask for closed bars."""
        return self._answered(self._reads.bars(symbol, timeframe, count))

    def deals(self, position: int) -> tuple[Deal, ...]:
        """Ask for the deals of a position."""
        return self._answered(self._reads.deals(position))

    def deals_between(self, start: Millis, end: Millis) -> tuple[Deal, ...]:
        """Ask for the deals of a time."""
        return self._answered(self._reads.deals_between(start, end))

    def seen_positions(self) -> PositionsRead | None:
        """Return the last read of the positions, None where it is too old to be shown."""
        found = self._positions
        return None if found is None or self._now_ns() - found[0] > SHOWN_FOR_NS else found[1]

    def seen_instrument(self, symbol: str) -> Instrument | None:
        """Return an instrument that was asked for before; one that was not is noted and asked for by `fetch_wanted`."""
        found = self._instruments.get(symbol)
        if found is None:
            with self._lock:
                self._wanted.add(symbol)
        return found

    def fetch_wanted(self) -> None:
        """Ask for the instruments that somebody missed; one that cannot be told is dropped until it is missed again."""
        for symbol in tuple(self._wanted):
            try:
                self.instrument(symbol)
            except (BrokerError, MarketDataError):
                with self._lock:
                    self._wanted.discard(symbol)

    def _answered(self, answer: T) -> T:
        self._answered_ns = self._now_ns()
        return answer


class SeenSight:
    """What passed through `LastSeenReads`, as the queries ask for it."""

    def __init__(self, seen: LastSeenReads) -> None:
        self._seen = seen

    def positions(self) -> PositionsRead | None:
        """Return the last read of the positions."""
        return self._seen.seen_positions()

    def instrument(self, symbol: str) -> Instrument | None:
        """Return the instrument where it is known."""
        return self._seen.seen_instrument(symbol)


class DirectSight:
    """A broker in the same process that answers at once, the simulation's: it is asked each time."""

    def __init__(self, reads: BrokerReads) -> None:
        self._reads = reads

    def positions(self) -> PositionsRead | None:
        """Return a fresh read of the positions, None where it failed."""
        try:
            return self._reads.positions()
        except BrokerError:
            return None

    def instrument(self, symbol: str) -> Instrument | None:
        """Return the instrument, None where it could not be told."""
        try:
            return self._reads.instrument(symbol)
        except (BrokerError, MarketDataError):
            return None

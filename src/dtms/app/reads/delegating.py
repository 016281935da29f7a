"""Reads that pass through to a broker unchanged: the base of those that listen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dtms.domain.instrument import Instrument
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import Account, Deal, PositionsRead
from dtms.domain.units import Millis
from dtms.ports.broker import BrokerReads

T = TypeVar("T")


class DelegatingReads:
    """`BrokerReads` that asks another one; every question goes through `_ask`."""

    def __init__(self, reads: BrokerReads) -> None:
        self._reads = reads

    def _ask(self, question: Callable[[BrokerReads], T]) -> T:
        return question(self._reads)

    def account(self) -> Account:
        """Return the account as it stands."""
        return self._ask(lambda reads: reads.account())

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument."""
        return self._ask(lambda reads: reads.instrument(symbol))

    def positions(self) -> PositionsRead:
        """Return all open positions."""
        return self._ask(lambda reads: reads.positions())

    def quote(self, symbol: str) -> Quote:
        """Return the last quote."""
        return self._ask(lambda reads: reads.quote(symbol))

    def bars(self, symbol: str, timeframe: Timeframe, count: int) -> tuple[Bar, ...]:
        """Return closed bars."""
        return self._ask(lambda reads: reads.bars(symbol, timeframe, count))

    def deals(self, position: int) -> tuple[Deal, ...]:
        """Return the deals of one position."""
        return self._ask(lambda reads: reads.deals(position))

    def deals_between(self, start: Millis, end: Millis) -> tuple[Deal, ...]:
        """Return the deals in [start, end]."""
        return self._ask(lambda reads: reads.deals_between(start, end))

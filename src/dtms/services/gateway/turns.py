"""One terminal, one call at a time: the executor's calls take turns with the reads that are served."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from dtms.domain.action import Action
from dtms.domain.instrument import Instrument
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import Account, Deal, Position, PositionsRead, WorkingOrder
from dtms.domain.receipt import Receipt
from dtms.domain.units import Millis
from dtms.ports.broker import BrokerWrites, GatewayReads

T = TypeVar("T")


class TurnReads:
    """`GatewayReads` under a lock that is held for one call."""

    def __init__(self, reads: GatewayReads, lock: threading.Lock) -> None:
        self._reads = reads
        self._lock = lock

    def _turn(self, ask: Callable[[GatewayReads], T]) -> T:
        with self._lock:
            return ask(self._reads)

    def account(self) -> Account:
        """Return the account as it stands."""
        return self._turn(lambda reads: reads.account())

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument."""
        return self._turn(lambda reads: reads.instrument(symbol))

    def positions(self) -> PositionsRead:
        """Return all open positions."""
        return self._turn(lambda reads: reads.positions())

    def working_orders(self) -> tuple[WorkingOrder, ...]:
        """Return the orders at the market that are not finished."""
        return self._turn(lambda reads: reads.working_orders())

    def quote(self, symbol: str) -> Quote:
        """Return the last quote."""
        return self._turn(lambda reads: reads.quote(symbol))

    def bars(self, symbol: str, timeframe: Timeframe, count: int) -> tuple[Bar, ...]:
        """Return closed bars."""
        return self._turn(lambda reads: reads.bars(symbol, timeframe, count))

    def deals(self, position: int) -> tuple[Deal, ...]:
        """Return the deals of one position."""
        return self._turn(lambda reads: reads.deals(position))

    def deals_between(self, start: Millis, end: Millis) -> tuple[Deal, ...]:
        """Return the deals in [start, end]."""
        return self._turn(lambda reads: reads.deals_between(start, end))


class TurnWrites:
    """`BrokerWrites` under the same lock: from the first byte to the answer nobody else asks."""

    def __init__(self, writes: BrokerWrites, lock: threading.Lock) -> None:
        self._writes = writes
        self._lock = lock

    def send(self, action: Action, *, position: Position | None, tag: str) -> Receipt:
        """Send one action."""
        with self._lock:
            return self._writes.send(action, position=position, tag=tag)

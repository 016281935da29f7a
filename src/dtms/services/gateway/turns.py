"""One terminal, one call at a time: the executor's calls take turns with the reads that are served."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from dtms.app.passing import PassingReads
from dtms.domain.action import Action
from dtms.domain.position import Position, WorkingOrder
from dtms.domain.receipt import Receipt
from dtms.ports.broker import BrokerReads, BrokerWrites, GatewayReads

T = TypeVar("T")


class TurnReads(PassingReads):
    """`GatewayReads` under a lock that is held for one call."""

    def __init__(self, reads: GatewayReads, lock: threading.Lock) -> None:
        super().__init__(reads)
        self._orders = reads
        self._lock = lock

    def _ask(self, question: Callable[[BrokerReads], T]) -> T:
        with self._lock:
            return super()._ask(question)

    def working_orders(self) -> tuple[WorkingOrder, ...]:
        """Return the orders at the market that are not finished."""
        with self._lock:
            return self._orders.working_orders()


class TurnWrites:
    """`BrokerWrites` under the same lock: from the first byte to the answer nobody else asks."""

    def __init__(self, writes: BrokerWrites, lock: threading.Lock) -> None:
        self._writes = writes
        self._lock = lock

    def send(self, action: Action, *, position: Position | None, tag: str) -> Receipt:
        """Send one action."""
        with self._lock:
            return self._writes.send(action, position=position, tag=tag)

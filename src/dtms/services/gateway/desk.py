"""One terminal, one question at a time: takes reads in turn, and gives each its instant and number."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from dtms.domain.units import Millis
from dtms.errors import BrokerUnavailableError
from dtms.ports.broker import ServedReads
from dtms.ports.clock import Clock

T = TypeVar("T")

PATIENCE_S: Final = 1.5
"""How long a read waits for its turn: less than the 2 s after which the asking service gives up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken(Generic[T]):
    """What the broker said; `as_of` is from before it was asked, `token` numbers the reads of this process."""

    value: T
    as_of: Millis
    token: int


class SerializedReads:
    """Serialises the reads of one broker connection.

    Args:
        reads: The broker.
        clock: For `as_of`, on the market's clock.
        lock: Shared with whoever else uses the same connection; one of its own when None.
        patience_s: How long to wait for the lock.
    """

    def __init__(
        self, reads: ServedReads, clock: Clock, lock: threading.Lock | None = None, *, patience_s: float = PATIENCE_S
    ) -> None:
        self._reads = reads
        self._clock = clock
        self._lock = threading.Lock() if lock is None else lock
        self._patience_s = patience_s
        self._token = 0

    def take(self, ask: Callable[[ServedReads], T]) -> Taken[T]:
        """Ask the broker; blocks.

        Raises:
            BrokerUnavailableError: The connection was busy for too long, or the broker could not tell.
        """
        if not self._lock.acquire(timeout=self._patience_s):
            msg = f"the broker connection has been busy for {self._patience_s} s; is its terminal hanging?"
            raise BrokerUnavailableError(msg)
        try:
            self._token += 1
            token, as_of = self._token, self._clock.market_now()
            return Taken(value=ask(self._reads), as_of=as_of, token=token)
        finally:
            self._lock.release()

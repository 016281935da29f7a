"""Whose turn it is on the one link of a child: orders go before reads, and nobody waits without end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dtms.errors import BrokerUnavailableError


class Turns:
    """One turn at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._orders_waiting = 0

    @contextmanager
    def take(self, timeout_s: float, *, order: bool) -> Iterator[None]:
        """Hold the turn.

        Raises:
            BrokerUnavailableError: It did not come in time; nothing was asked and nothing sent.
        """
        self._wait(timeout_s, order=order)
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()

    def _wait(self, timeout_s: float, *, order: bool) -> None:
        with self._changed:
            self._orders_waiting += order
            try:
                came = self._changed.wait_for(
                    lambda: not self._taken and (order or self._orders_waiting == 0), timeout_s
                )
            finally:
                self._orders_waiting -= order
                self._changed.notify_all()  # an order that gave up lets the reads go on
            if not came:
                msg = f"the broker's process has been busy for {timeout_s} s, nothing was sent; is its library hanging?"
                raise BrokerUnavailableError(msg)
            self._taken = True

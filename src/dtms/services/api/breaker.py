"""A small circuit breaker: after some failures running nobody is asked for a while, then one is let through to see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FAILURES: Final = 5
OPEN_NS: Final = 5_000_000_000


class Breaker:
    """For one service; to be used from one thread.

    Args:
        now_ns: The boot-time clock: it goes on while the machine sleeps.
        failures: So many running open it.
        open_ns: So long it stays open before one request is let through.
    """

    def __init__(self, now_ns: Callable[[], int], *, failures: int = FAILURES, open_ns: int = OPEN_NS) -> None:
        self._now_ns = now_ns
        self._limit = failures
        self._open_ns = open_ns
        self._failures = 0
        self._open_until: int | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Say whether requests are held back."""
        return self._open_until is not None

    def admit(self) -> bool:
        """Say whether a request may go out now; each that may is followed by `succeeded`, `failed` or `abandoned`."""
        if self._open_until is None:
            return True
        if self._probing or self._now_ns() < self._open_until:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """Close: the service answered."""
        self._failures, self._open_until, self._probing = 0, None, False

    def failed(self) -> None:
        """Count a failure; a failed probe opens again at once."""
        self._failures += 1
        self._probing = False
        if self._failures >= self._limit:
            self._open_until = self._now_ns() + self._open_ns

    def abandoned(self) -> None:
        """Forget a request whose caller went away: it says nothing about the service."""
        self._probing = False

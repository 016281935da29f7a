"""Logging what fails again and again: each kind of failure once a minute, with how often it was held back meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from dtms.errors import DtmsError

EVERY_NS: Final = 60_000_000_000
_MOST: Final = 1_000
"""Kinds remembered at once; more than an account has symbols and tickets."""


class Log(Protocol):
    """Where the lines go: a structlog logger."""

    def warning(self, event: str, **facts: Any) -> Any:
        """Write one line."""
        ...


class Seldom:
    """Writes a failure where its kind was not written within the last minute.

    A kind is what failed, on what, and the class of the error: texts hold instants and prices, and differ each time.

    Args:
        log: Where to.
        now_ns: The clock that never steps.
    """

    def __init__(self, log: Log, now_ns: Callable[[], int]) -> None:
        self._log = log
        self._now_ns = now_ns
        self._said: dict[tuple[str, str, str], tuple[int, int]] = {}

    def say(self, what: str, subject: str, error: Exception, **facts: Any) -> bool:
        """Write one failure, or count that it was held back; say whether it was written."""
        now_ns, kind = self._now_ns(), (what, subject, type(error).__name__)
        last_ns, held_back = self._said.get(kind, (now_ns - EVERY_NS, 0))
        if now_ns - last_ns < EVERY_NS:
            self._said[kind] = last_ns, held_back + 1
            return False
        if len(self._said) >= _MOST:
            self._said.clear()
        self._said[kind] = now_ns, 0
        unknown = not isinstance(error, DtmsError)
        self._log.warning(what, subject=subject, error=repr(error), held_back=held_back, exc_info=unknown, **facts)
        return True

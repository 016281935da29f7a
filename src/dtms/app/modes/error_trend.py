"""Whether errors that a pass survives keep coming: one now and then is nothing, a stream of them is a fault nobody mends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LASTING_NS: Final = 60_000_000_000
QUIET_NS: Final = 30_000_000_000
LEAST: Final = 10


@dataclass(slots=True)
class ErrorTrend:
    """One process's errors, as a series that half a minute without any ends."""

    _began_ns: int = 0
    _last_ns: int | None = None
    _count: int = 0

    def count(self, now_ns: int) -> None:
        """Take note of one error."""
        if self._last_ns is None or now_ns - self._last_ns >= QUIET_NS:
            self._began_ns, self._count = now_ns, 0
        self._last_ns = now_ns
        self._count += 1

    def grows(self, now_ns: int) -> bool:
        """Say whether errors have kept coming for a minute, ten at least, and still do."""
        if self._last_ns is None or now_ns - self._last_ns >= QUIET_NS:
            return False
        return self._count >= LEAST and self._last_ns - self._began_ns >= LASTING_NS

"""The two clocks: the market's for quotes, bars and deadlines; the machine's for processes, caches and leases."""

from __future__ import annotations

from typing import Protocol

from dtms.domain.units import Millis


class Clock(Protocol):
    """Time, injected."""

    def market_now(self) -> Millis:
        """Return the market's instant, UTC: the wall clock when live, the tape's clock on a tape."""
        ...

    def wall_now(self) -> Millis:
        """Return the machine's wall clock, for records only."""
        ...

    def boot_ns(self) -> int:
        """Return nanoseconds of a clock that never steps and counts suspended time."""
        ...

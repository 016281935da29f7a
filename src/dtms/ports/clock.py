"""The two clocks: the market's for quotes, bars and deadlines; the machine's for processes, caches and leases."""

from __future__ import annotations

from typing import Protocol

from dtms.domain.units import Millis


class Clock(Protocol):
    """Time, injected."""

    def market_now(self) -> Millis:
        """Return the market's instant, UTC: anchored to the boot-time clock when live, the tape's clock on a tape."""
        ...

    def wall_now(self) -> Millis:
        """Return the machine's wall clock, for records only."""
        ...

    def boot_ns(self) -> int:
        """Return nanoseconds of a clock that never steps and counts suspended time."""
        ...


class Machine(Protocol):
    """The machine's own clocks."""

    def wall_now(self) -> Millis:
        """Return the wall clock, which anybody may set."""
        ...

    def boot_ns(self) -> int:
        """Return nanoseconds since boot, suspended time included."""
        ...

    def awake_ns(self) -> int:
        """Return nanoseconds of a clock that stands while the machine sleeps, as far as the machine has one."""
        ...

    def boot_id(self) -> str:
        """Return a word that is another one after each boot, "" where the machine has none."""
        ...


class Anchor(Protocol):
    """What ties the market's clock to the machine's."""

    def awake_ns(self) -> int:
        """Return nanoseconds of a clock that stands while the machine sleeps, as far as the machine has one."""
        ...

    def off_by(self) -> int:
        """Return how far the wall clock is ahead of the market's, in ms."""
        ...

    def refresh(self) -> None:
        """Follow the wall clock's drift and small corrections slowly, and keep the record for the next start."""
        ...

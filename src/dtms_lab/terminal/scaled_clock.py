"""A tape's clock that runs with the machine's, faster or slower, from an agreed origin."""

from __future__ import annotations

import math
from collections.abc import Callable

from dtms.domain.units import Millis
from dtms.errors import SettingsError
from dtms.platforms.clock import boot_ns

_NS_PER_MS = 1_000_000


class ScaledClock:
    """Tape time = `tape_start` + (machine time - origin) x `speed`; it stands at `tape_start` until an origin is set.

    Processes that share an origin share the tape's time.
    """

    def __init__(self, tape_start: Millis, *, speed: float, boottime: Callable[[], int] = boot_ns) -> None:
        if not (math.isfinite(speed) and speed > 0):
            msg = f"speed is {speed!r}; it must be finite and greater than 0"
            raise SettingsError(msg)
        self.tape_start = tape_start
        self.speed = speed
        self.origin_ns: int | None = None
        self._boottime = boottime

    def start(self, origin_ns: int | None = None) -> int:
        """Let time run from an origin, by default now; return it. Once running, the origin stays."""
        if self.origin_ns is None:
            self.origin_ns = self._boottime() if origin_ns is None else origin_ns
        return self.origin_ns

    def now(self) -> Millis:
        """Return the tape's time."""
        if self.origin_ns is None:
            return self.tape_start
        age = max(0, self._boottime() - self.origin_ns)
        return Millis(self.tape_start + int(age * self.speed) // _NS_PER_MS)

    def seconds_until(self, at: Millis) -> float:
        """Return how many machine seconds are left until a tape time, >= 0; infinite while the clock stands."""
        if self.origin_ns is None:
            return math.inf
        return max(0.0, (at - self.now()) / 1000.0 / self.speed)

"""The clock that ages run on: it never steps, and counts the time that the machine slept."""

from __future__ import annotations

import time
from typing import Any, Final

_gettime_ns: Final[Any] = getattr(time, "clock_gettime_ns", None)
_AGE: Final = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
_STANDS_IN_SLEEP: Final = hasattr(time, "CLOCK_BOOTTIME")
"""Only where the system tells both clocks apart does `time.monotonic` stand while the machine sleeps."""


def boot_ns() -> int:
    """Return nanoseconds since boot, suspended time included; the same for every process of the machine.

    An answer from before a sleep would look young by a clock that stands meanwhile, as `time.monotonic` does on Linux.

    Source:
        Linux clock_gettime(2), CLOCK_BOOTTIME. macOS: CLOCK_MONOTONIC counts sleep. Windows has neither:
        QueryPerformanceCounter, which `perf_counter` reads, counts sleep and hibernation.
    """
    return time.perf_counter_ns() if _gettime_ns is None or _AGE is None else int(_gettime_ns(_AGE))


def awake_ns() -> int:
    """Return nanoseconds of a clock that stands while the machine sleeps, where there is one; else of `boot_ns`."""
    return time.monotonic_ns() if _STANDS_IN_SLEEP else boot_ns()

"""The clock that ages run on: it never steps and, where the system has one, counts suspended time."""

from __future__ import annotations

import time
from typing import Final

_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
"""Linux has the first; on macOS the second counts suspended time too; Windows has neither."""


def boottime_ns() -> int:
    """Return nanoseconds since boot, suspended time included.

    Linux's `time.monotonic` stands still while the machine sleeps, and an answer from before the sleep would look young.
    On Windows the tick count behind it goes on counting.
    """
    return time.monotonic_ns() if _CLOCK is None else time.clock_gettime_ns(_CLOCK)

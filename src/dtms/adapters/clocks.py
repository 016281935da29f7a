"""The clocks: the machine's, a tape's that several processes share, and one that only moves when it is told."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from dtms.domain.units import Millis

_NS_A_MS = 1_000_000


def boot_ns() -> int:
    """Return nanoseconds since boot, suspended time included (`time.monotonic` does not count that)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def wall_ms() -> Millis:
    """Return the wall clock."""
    return Millis(time.time_ns() // _NS_A_MS)


class SystemClock:
    """Live: the wall clock is the market's."""

    def market_now(self) -> Millis:
        """Return the wall clock."""
        return wall_ms()

    def wall_now(self) -> Millis:
        """Return the wall clock."""
        return wall_ms()

    def boot_ns(self) -> int:
        """Return the boot-time clock."""
        return boot_ns()


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeTime:
    """How a tape's time follows the boot-time clock: `start` until `origin_ns`, then `speed` times as fast as it.

    `origin_ns` is None before the tape is started; `end` is the tape's last instant, beyond which it stands.
    """

    start: Millis
    end: Millis
    speed: float
    origin_ns: int | None

    def at(self, now_ns: int) -> Millis:
        """Return the tape's instant at a reading of the boot-time clock."""
        if self.origin_ns is None or now_ns <= self.origin_ns:
            return self.start
        return Millis(min(self.end, self.start + int((now_ns - self.origin_ns) / _NS_A_MS * self.speed)))


def write_tape_time(path: Path, tape: TapeTime) -> None:
    """Tell every process of this installation how the tape's time runs; the file is replaced as a whole."""
    record = {"start": tape.start, "end": tape.end, "speed": tape.speed, "origin_ns": tape.origin_ns}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(record), encoding="utf-8")
    fresh.replace(path)


class TapeClock:
    """A tape's clock, read from the file that `write_tape_time` wrote; until the tape is started it stands."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tape: TapeTime | None = None

    def market_now(self) -> Millis:
        """Return the tape's instant."""
        tape = self._tape
        if tape is None or tape.origin_ns is None:
            record = json.loads(self._path.read_text(encoding="utf-8"))
            tape = TapeTime(**record)
            self._tape = tape
        return tape.at(boot_ns())

    def wall_now(self) -> Millis:
        """Return the wall clock."""
        return wall_ms()

    def boot_ns(self) -> int:
        """Return the boot-time clock."""
        return boot_ns()


@dataclass(slots=True)
class VirtualClock:
    """A clock that stands until it is set; market, wall and boot time are one."""

    now: Millis

    def market_now(self) -> Millis:
        """Return the instant that was set."""
        return self.now

    def wall_now(self) -> Millis:
        """Return the instant that was set."""
        return self.now

    def boot_ns(self) -> int:
        """Return the instant in nanoseconds."""
        return self.now * _NS_A_MS

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now = Millis(round(self.now + seconds * 1_000))

"""The clocks: the machine's, one anchored to it, a tape's that several processes share, one that moves when it is told."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final, Protocol

from dtms.domain.units import MINUTE, Millis
from dtms.platforms.clock import awake_ns, boot_ns
from dtms.ports.clock import Machine
from dtms.private_files import write_whole

_NS_A_MS = 1_000_000
FOLLOW_MS: Final = 2 * MINUTE
"""A wall clock that is off by no more is followed slowly: a time service that corrects a machine's start, a leap second."""

_FOLLOWED: Final = 0.05
"""It is followed by at most this share of the time passed: a second in twenty, far more than the drift of any clock."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot_id() -> str:
    """Return the kernel's word for this boot, "" where it has none; it cannot change while we run."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def wall_ms() -> Millis:
    """Return the wall clock."""
    return Millis(time.time_ns() // _NS_A_MS)


class SystemMachine:
    """The machine that we run on."""

    def wall_now(self) -> Millis:
        """Return the wall clock."""
        return wall_ms()

    def boot_ns(self) -> int:
        """Return the boot-time clock."""
        return boot_ns()

    def awake_ns(self) -> int:
        """Return the clock that stands in sleep."""
        return awake_ns()

    def boot_id(self) -> str:
        """Return the kernel's word for this boot."""
        return boot_id()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorPoint:
    """Where the market's clock is tied to the boot-time clock of one boot; `seen` is the newest instant recorded."""

    boot_id: str
    boot_ns: int
    utc: Millis
    seen: Millis


class AnchorStore(Protocol):
    """Where the anchor outlives the processes of one machine."""

    def load(self) -> AnchorPoint | None:
        """Return the anchor, None where none can be read."""
        ...

    def save(self, point: AnchorPoint) -> None:
        """Keep the anchor, where that is possible."""
        ...


class MemoryAnchor:
    """An anchor that outlives whoever uses it, for drills and tests."""

    def __init__(self) -> None:
        self._point: AnchorPoint | None = None

    def load(self) -> AnchorPoint | None:
        """Return the anchor."""
        return self._point

    def save(self, point: AnchorPoint) -> None:
        """Keep it."""
        self._point = point


class FileAnchor:
    """The anchor in a file of the data folder: boot-time belongs to one machine, so it has no place in a shared ledger.

    The folder is there: a service takes its place in it before it makes its clock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> AnchorPoint | None:
        """Return the anchor, None where there is none or it is damaged: the wall clock is taken then, as at first."""
        try:
            record = json.loads(self._path.read_text(encoding="utf-8"))
            return AnchorPoint(
                boot_id=str(record["boot_id"]),
                boot_ns=int(record["boot_ns"]),
                utc=Millis(int(record["utc"])),
                seen=Millis(int(record["seen"])),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, point: AnchorPoint) -> None:
        """Replace the file as a whole; a disk that takes none costs a restart its continuity, and nothing else."""
        try:
            write_whole(self._path, json.dumps(asdict(point)).encode())
        except OSError:
            return


class AnchoredClock:
    """Live: the market's clock runs with the boot-time clock from an anchor; the wall clock only sets it at first.

    Whoever sets the machine's clock therefore fires no deadline. All processes of an installation share one anchor, and
    a restart goes on with it; a new boot takes the wall clock, or the newest instant recorded where that is later. Drift
    and small corrections are followed slowly, a step of more than two minutes never: where the wall clock is the right
    one, the operator stops dtms, deletes the anchor's file and starts again (ADR 9).

    Args:
        store: Where the anchor is kept; in memory of this process when None.
        machine: The machine's clocks.
    """

    def __init__(self, store: AnchorStore | None = None, machine: Machine | None = None) -> None:
        self._store: AnchorStore = MemoryAnchor() if store is None else store
        self._machine: Machine = SystemMachine() if machine is None else machine
        self._followed = 0.0
        self._refreshed_ns = self._machine.boot_ns()
        found = self._store.load()
        self._point = self._first(None) if found is None else found
        if found is None or not self._holds(found):
            self._point = self._first(found)
            self._store.save(self._point)

    def market_now(self) -> Millis:
        """Return the anchored instant; it never steps, except where the boot-time clock itself began anew."""
        now_ns = self._machine.boot_ns()
        point = self._point
        if now_ns < point.boot_ns:
            point = self._again(now_ns)
        return Millis(point.utc + (now_ns - point.boot_ns) // _NS_A_MS + int(self._followed))

    def wall_now(self) -> Millis:
        """Return the wall clock."""
        return self._machine.wall_now()

    def boot_ns(self) -> int:
        """Return the boot-time clock."""
        return self._machine.boot_ns()

    def awake_ns(self) -> int:
        """Return the clock that stands in sleep."""
        return self._machine.awake_ns()

    def off_by(self) -> int:
        """Return how far the wall clock is ahead of the market's, in ms."""
        return self._machine.wall_now() - self.market_now()

    def refresh(self) -> None:
        """Follow the wall clock's drift and small corrections slowly, and keep the record for the next start."""
        now_ns = self._machine.boot_ns()
        passed = max(0, now_ns - self._refreshed_ns) / _NS_A_MS
        self._refreshed_ns = now_ns
        off = self.off_by()
        if abs(off) <= FOLLOW_MS:
            most = passed * _FOLLOWED
            self._followed += max(-most, min(most, float(off)))
        if self.market_now() - self._point.seen >= MINUTE:
            self._record(now_ns)

    def _record(self, now_ns: int) -> None:
        """Move the anchor along to now, for the next start, without a change of what the clock shows."""
        whole, whole_ms = int(self._followed), (now_ns - self._point.boot_ns) // _NS_A_MS
        utc = Millis(self._point.utc + whole_ms + whole)
        boot_ns_then = self._point.boot_ns + whole_ms * _NS_A_MS
        self._point = replace(self._point, boot_ns=boot_ns_then, utc=utc, seen=utc)
        self._followed -= whole
        self._store.save(self._point)

    def _again(self, now_ns: int) -> AnchorPoint:
        """Go on after the boot-time clock began anew under a running process: from the newest instant known."""
        latest = max(self._point.seen, self._point.utc)
        utc = max(latest, self._machine.wall_now())
        self._point = AnchorPoint(boot_id=self._machine.boot_id(), boot_ns=now_ns, utc=Millis(utc), seen=Millis(utc))
        self._followed = 0.0
        return self._point

    def _first(self, before: AnchorPoint | None) -> AnchorPoint:
        wall = self._machine.wall_now()
        utc = wall if before is None else max(wall, before.seen)
        return AnchorPoint(
            boot_id=self._machine.boot_id(), boot_ns=self._machine.boot_ns(), utc=Millis(utc), seen=Millis(utc)
        )

    def _holds(self, point: AnchorPoint) -> bool:
        """Say whether an anchor is of this boot."""
        return point.boot_id == self._machine.boot_id() and point.boot_ns <= self._machine.boot_ns()


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
    write_whole(path, json.dumps(record).encode())


def origin_of(path: Path) -> int | None:
    """Return the origin of a tape's time; None where it stands, or nobody has told of it."""
    try:
        return TapeTime(**json.loads(path.read_text(encoding="utf-8"))).origin_ns
    except FileNotFoundError:
        return None


class SystemClock:
    """The wall clock is the market's: for a command that runs for a moment and manages nothing."""

    def market_now(self) -> Millis:
        """Return the wall clock."""
        return wall_ms()

    def wall_now(self) -> Millis:
        """Return the wall clock."""
        return wall_ms()

    def boot_ns(self) -> int:
        """Return the boot-time clock."""
        return boot_ns()


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


@dataclass(slots=True)
class VirtualMachine:
    """A machine whose clocks are moved apart by hand: set, slewed, put to sleep, booted. Fulfils `Machine`."""

    wall: Millis
    boot: int = 0
    awake: int = 0
    boots: int = 1

    def wall_now(self) -> Millis:
        """Return the wall clock."""
        return self.wall

    def boot_ns(self) -> int:
        """Return the boot-time clock."""
        return self.boot

    def awake_ns(self) -> int:
        """Return the clock that stands in sleep."""
        return self.awake

    def boot_id(self) -> str:
        """Return this boot's word."""
        return f"boot {self.boots}"

    def run(self, seconds: float, *, ppm: float = 0.0) -> None:
        """Let time pass, with a wall clock that runs fast by so many millionths."""
        self.boot += round(seconds * 1e9)
        self.awake += round(seconds * 1e9)
        self.wall = Millis(self.wall + round(seconds * 1_000 * (1 + ppm / 1e6)))

    def suspend(self, seconds: float) -> None:
        """Sleep."""
        self.boot += round(seconds * 1e9)
        self.wall = Millis(self.wall + round(seconds * 1_000))

    def set_wall(self, by_ms: int) -> None:
        """Set the wall clock forward, or back."""
        self.wall = Millis(self.wall + by_ms)

    def reboot(self, seconds: float = 30.0) -> None:
        """Boot: the boot-time clocks begin anew."""
        self.wall = Millis(self.wall + round(seconds * 1_000))
        self.boot = self.awake = round(seconds * 1e9)
        self.boots += 1

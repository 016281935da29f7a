"""Whether another process of this machine still lives: its number alone does not tell, for numbers are given again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from dtms.platforms.processes import is_taken, started

_PROC: Final = Path("/proc")
_STATE, _STARTED = 0, 19
"""Where these stand in `/proc/PID/stat` behind the name, which may hold anything; proc_pid_stat(5), fields 3 and 22."""

_ENDED: Final = frozenset("ZXx")
"""States of a process that runs no more, and only waits for its parent to ask."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process: its number, when it was started ("" where the machine does not say), and the space of its number.

    A container has numbers of its own: what lives in another space cannot be looked at from here.
    """

    pid: int
    started: str
    space: str

    def lives(self) -> bool | None:
        """Say whether it lives; None where that cannot be known from here."""
        if self.space != _space():
            return None
        if self.started:
            return _started(self.pid) == self.started
        return None if is_taken(self.pid) else False  # whoever has the number may be another one by now

    def __str__(self) -> str:
        return f"{self.pid},{self.started},{self.space}"


def this_process() -> Process:
    """Return ourselves."""
    return Process(os.getpid(), _started(os.getpid()), _space())


def process_from(text: str) -> Process | None:
    """Read what `str` of a process wrote, None where it is something else."""
    match text.split(","):
        case [pid, started, space] if pid.isdecimal():
            return Process(int(pid), started, space)
        case _:
            return None


def _started(pid: int) -> str:
    """Return when a process was started, in the machine's own ticks; "" where none runs, or the machine does not say."""
    if not _PROC.is_dir():
        return started(pid)
    try:
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].decode("ascii").split()
    except OSError:
        return ""
    return "" if len(fields) <= _STARTED or fields[_STATE] in _ENDED else fields[_STARTED]


@cache
def _space() -> str:
    try:
        return str((_PROC / "self/ns/pid").stat().st_ino)
    except OSError:
        return ""

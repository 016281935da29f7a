"""Processes: how one is told to end, made to end with all that it has started, and known again by more than its number.

On POSIX the supervisor's children are process groups, told by SIGTERM and ended by SIGKILL. Windows has neither: there a
child is told by the end of the pipe on its stdin (`services.host.end_with_parent`), which it also reads when its supervisor
is gone, and its descendants are looked up one by one. It has no console of its own there that could be closed or that hands
it Ctrl-C: both are the supervisor's, and reach its children in order through that pipe.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any, Final

import psutil

_killpg: Final[Any] = getattr(os, "killpg", None)
_SIGKILL: Final[Any] = getattr(signal, "SIGKILL", None)

GoneError = psutil.NoSuchProcess
"""A process that was asked for has ended."""

KILLED: Final = -9
"""How `Popen.returncode` tells of a process that was killed (`die`, `kill`), where the system tells it apart."""

_ENDING: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
ENDING_SIGNALS: Final[tuple[signal.Signals, ...]] = tuple(
    signal.Signals[name] for name in _ENDING if hasattr(signal, name)
)
"""By which a person, a system or a closed terminal asks for the end; the last two each exist on one system only."""

DETACHED_FLAGS: Final[int] = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(
    subprocess, "CREATE_NO_WINDOW", 0
)
"""For `Popen(start_new_session=True, creationflags=DETACHED_FLAGS)`: a child that our terminal's signals do not reach."""


def end_this_process() -> None:
    """Ask this process to end as SIGTERM does. `os.kill` would cut it off on Windows, without any `finally`."""
    signal.raise_signal(signal.SIGTERM)


def ask_to_end(process: subprocess.Popen[bytes]) -> None:
    """Ask a child to end by itself, which it does within seconds, or not at all."""
    if _killpg is not None:
        process.terminate()
    elif process.stdin is not None:
        process.stdin.close()


def end_with_descendants(process: subprocess.Popen[bytes]) -> None:
    """End a child that leads a group of its own, and whatever it has started, whatever they do."""
    if _killpg is not None:
        with suppress(ProcessLookupError):
            _killpg(process.pid, _SIGKILL)
        return
    with suppress(psutil.NoSuchProcess):
        # One that is started after this look ends by itself: it reads the end of what its parent wrote to it.
        below = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for each in below:
            with suppress(psutil.NoSuchProcess):
                each.kill()


def die() -> None:
    """End this process between two instructions, as a power cut does: nothing is written, no `finally` runs."""
    psutil.Process().kill()


def kill(pid: int) -> None:
    """End a process at once, whatever it does.

    Raises:
        GoneError: There is none of this number; from each of these three.
    """
    psutil.Process(pid).kill()


def terminate(pid: int) -> None:
    """Ask a process to end, by SIGTERM; on Windows it is ended."""
    psutil.Process(pid).terminate()


def freeze(pid: int | None = None) -> None:
    """Let a process stand still, by default this one, until another one lets it go on (`thaw`)."""
    psutil.Process(pid).suspend()


def thaw(pid: int) -> None:
    """Let a process go on that stands still."""
    psutil.Process(pid).resume()


def is_taken(pid: int) -> bool:
    """Say whether any process has this number now, a dead one included that waits for its parent to ask."""
    return bool(psutil.pid_exists(pid))


def started(pid: int) -> str:
    """Return when a process was started, as its system has it; "" where none runs, or it may not be asked.

    Not for Linux, where the answer is worked out from the wall clock and moves with it.
    """
    try:
        found = psutil.Process(pid)
        return "" if found.status() == psutil.STATUS_ZOMBIE else repr(found.create_time())
    except psutil.Error:
        return ""

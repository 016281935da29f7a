"""Takes from dtms what Windows does not have, so that the way that it goes there can be walked on another system.

    PYTHONPATH=src:.:tests/posix_blind python -m pytest -p posix_blind tests/up/test_run.py

Python runs this at its start where this folder is on PYTHONPATH, so each process that dtms starts is blind as well.
Only code of `dtms` and `dtms_lab` is blind: the standard library, installed packages and the tests themselves are as they are
on this system, for they have ways of their own on Windows, which cannot be walked here. No proof that Windows works: it shows
what would have failed there by a name that does not exist, a file's name that is refused, a signal that is none.
"""

from __future__ import annotations

import builtins
import errno
import importlib
import importlib.util
import os
import re
import signal
import socket
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Final

_TAKEN: Final[dict[ModuleType, frozenset[str]]] = {
    os: frozenset(
        [
            "chown",
            "fchmod",
            "fchown",
            "fdatasync",
            "fork",
            "forkpty",
            "getegid",
            "geteuid",
            "getgid",
            "getloadavg",
            "getpgid",
            "getpgrp",
            "getsid",
            "getuid",
            "kill",
            "killpg",
            "lchown",
            "mkfifo",
            "openpty",
            "pread",
            "preadv",
            "pwrite",
            "register_at_fork",
            "sched_getaffinity",
            "set_blocking",
            "setegid",
            "seteuid",
            "setgid",
            "setpgid",
            "setsid",
            "setuid",
            "statvfs",
            "sysconf",
            "uname",
            "wait",
            "waitid",
            "WNOHANG",
            "O_CLOEXEC",
            "O_DIRECTORY",
            "O_NOFOLLOW",
            "O_NONBLOCK",
            "O_SYNC",
            "O_DSYNC",
        ]
    ),
    signal: frozenset(
        [
            "SIGALRM",
            "SIGCHLD",
            "SIGCONT",
            "SIGHUP",
            "SIGKILL",
            "SIGPIPE",
            "SIGQUIT",
            "SIGSTOP",
            "SIGTSTP",
            "SIGUSR1",
            "SIGUSR2",
            "SIGWINCH",
            "alarm",
            "pause",
            "pthread_kill",
            "pthread_sigmask",
            "setitimer",
            "sigpending",
            "sigtimedwait",
            "sigwait",
            "siginterrupt",
        ]
    ),
    time: frozenset(
        [
            "CLOCK_BOOTTIME",
            "CLOCK_MONOTONIC",
            "CLOCK_MONOTONIC_RAW",
            "CLOCK_PROCESS_CPUTIME_ID",
            "CLOCK_REALTIME",
            "clock_getres",
            "clock_gettime",
            "clock_gettime_ns",
            "pthread_getcpuclockid",
            "tzset",
        ]
    ),
    socket: frozenset(["AF_UNIX", "CMSG_SPACE", "MSG_DONTWAIT", "SO_REUSEPORT", "recv_fds", "send_fds"]),
}
"""`os.kill` exists on Windows, and ends whatever it is pointed at, whichever signal is named: nothing of ours may use it."""

_NO_MODULES: Final = frozenset({"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty", "uvloop"})
_FORBIDDEN: Final = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$|^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?$', re.IGNORECASE)
"""In one part of a path. Source: Microsoft, "Naming Files, Paths, and Namespaces"."""

_NAMES: Final = {"open": (0,), "os.mkdir": (0,), "os.rename": (0, 1), "os.link": (0, 1), "sqlite3.connect": (0,)}
"""Audit events, and which of their arguments are paths that may be made."""

_STANDARD: Final = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), "<frozen"})
_INSTALLED: Final = f"{os.sep}site-packages{os.sep}"
OURS: Final[list[str]] = []
"""Folders of the packages that are blind; empty until they are."""


def _is_ours(file: str | None) -> bool:
    return file is not None and file.startswith(tuple(OURS))


def _asked_by_us(frame: FrameType | None) -> bool:
    """Say whether our code asks, itself or through the standard library."""
    while frame is not None:
        file = frame.f_code.co_filename
        if _is_ours(file):
            return True
        if not file.startswith(_STANDARD) or _INSTALLED in file:
            return False
        frame = frame.f_back
    return False


class _BlindModule(ModuleType):
    """A module some of whose names are not there for our code."""

    def __getattribute__(self, name: str) -> Any:
        # The frame alone: what the standard library needs of itself, it has.
        if name in _TAKEN[self] and _is_ours(sys._getframe(1).f_code.co_filename):
            msg = f"module {super().__getattribute__('__name__')!r} has no attribute {name!r} (POSIX-blind)"
            raise AttributeError(msg)
        return super().__getattribute__(name)


def _refuse_module(name: str) -> None:
    msg = f"No module named {name!r} (POSIX-blind)"
    raise ModuleNotFoundError(msg, name=name)


def _blind_imports() -> None:
    found_import, found_import_module = builtins.__import__, importlib.import_module

    def blind_import(name: str, *arguments: Any, **named: Any) -> ModuleType:
        if name in _NO_MODULES and _is_ours(sys._getframe(1).f_code.co_filename):
            _refuse_module(name)
        return found_import(name, *arguments, **named)

    def blind_import_module(name: str, package: str | None = None) -> ModuleType:
        if name in _NO_MODULES and _is_ours(sys._getframe(1).f_code.co_filename):
            _refuse_module(name)
        return found_import_module(name, package)

    builtins.__import__ = blind_import
    importlib.import_module = blind_import_module
    modules: dict[str, Any] = sys.modules
    modules["uvloop"] = None  # whoever asks: the server takes it where it can


def _blind_files() -> None:
    found_stat: Callable[..., os.stat_result] = os.stat

    def blind_stat(path: Any, *arguments: Any, **named: Any) -> os.stat_result:
        if _is_proc(path) and _asked_by_us(sys._getframe().f_back):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory (POSIX-blind)", str(path))
        return found_stat(path, *arguments, **named)

    os.stat = blind_stat
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    places = _NAMES.get(event)
    if places is None or not _asked_by_us(sys._getframe().f_back):
        return
    for place in places:
        path = arguments[place]
        if not isinstance(path, str | bytes | os.PathLike):
            continue
        text = os.fsdecode(path)
        if event == "sqlite3.connect" and text.startswith((":", "file:")):
            continue
        _require_windows_name(text)
        if event == "open" and arguments[1] is None and Path(text).is_dir():
            raise PermissionError(errno.EACCES, "Windows opens no folder (POSIX-blind)", text)


def _is_proc(path: Any) -> bool:
    return isinstance(path, str | os.PathLike) and os.fspath(path).startswith("/proc")


def _require_windows_name(path: str) -> None:
    if _is_proc(path):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory (POSIX-blind)", path)
    for part in Path(path).parts:
        if part not in {os.sep, ".."} and _FORBIDDEN.search(part):
            raise OSError(errno.EINVAL, "Windows has no file of this name (POSIX-blind)", path)


def _blind_loops() -> None:
    unix_events: Any = importlib.import_module("asyncio.unix_events")

    def refuse(*_arguments: Any) -> None:
        raise NotImplementedError("event loops take no signals on Windows (POSIX-blind)")

    loop: Any = unix_events.SelectorEventLoop
    for name in ("add_signal_handler", "create_unix_server", "create_unix_connection"):
        setattr(loop, name, refuse)


def blind() -> None:
    """Make dtms blind in this process, before it is imported."""
    if OURS:
        return
    for package in ("dtms", "dtms_lab"):
        found = importlib.util.find_spec(package)
        if found is not None and found.submodule_search_locations:
            OURS.extend(f"{place}{os.sep}" for place in found.submodule_search_locations)
    _blind_loops()
    _blind_files()
    _blind_imports()
    for module in _TAKEN:
        module.__class__ = _BlindModule


blind()

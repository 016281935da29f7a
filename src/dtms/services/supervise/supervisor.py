"""Supervises the product's processes: starts them, watches them, restarts what dies, leaves none behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from dtms.errors import DtmsError, SettingsError
from dtms.platforms.processes import DETACHED_FLAGS, ask_to_end, end_with_descendants
from dtms.ports.notifier import AlertKind, Notifier
from dtms.private_files import open_to_append

RESTARTS: Final = 5
WITHIN_S: Final = 60.0
"""A process that dies more often than `RESTARTS` times within this is given up: restarting does not help it."""

FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 5.0
HANGS_AFTER_S: Final = 15.0
"""A process that does not answer for so long is killed and started anew: a terminal's library may hang for ever."""

_LOOK_S: Final = 0.05
_ALIVE_EVERY_S: Final = 2.0
END_S: Final = 6.0
"""A service ends within a second or two; a send that is under way may take longer, and is told by evidence then."""
_USAGE: Final = 2
"""The exit code of a setting that cannot be used: starting again would end the same way."""

_log = structlog.get_logger("dtms.supervisor")


class ProcessFailedError(DtmsError):
    """A process ended while it was starting, or did not become ready; what it said last is in the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One process: what is run, how it is known to be ready and alive. `restarts` is False where its memory is the point."""

    name: str
    arguments: tuple[str, ...]
    ready: Callable[[], bool]
    alive: Callable[[], bool]
    restarts: bool = True


@dataclass(slots=True, kw_only=True)
class _Child:
    role: Role
    process: subprocess.Popen[bytes]
    deaths: deque[float] = field(default_factory=deque)
    restarts: int = 0
    again_at: float | None = None
    given_up: bool = False
    answered_at: float = 0.0
    asked_at: float = 0.0
    was_alive: bool = False


class Supervisor:
    """Keeps processes running until `stop`.

    Args:
        log_dir: One file a role, appended to.
        environment: What the processes see beside our own environment.
        notifier: Told of deaths.
        command: What is run, before a role's own arguments.
        now_s: A monotone clock.
    """

    def __init__(
        self,
        *,
        log_dir: Path,
        environment: Mapping[str, str],
        notifier: Notifier,
        command: Sequence[str] = (sys.executable, "-m", "dtms.cli.main"),
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log_dir = log_dir
        self._environment = {**os.environ, **environment}
        self._notifier = notifier
        self._command = tuple(command)
        self._now_s = now_s
        self._children: dict[str, _Child] = {}
        self._lock = threading.RLock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, roles: Sequence[Role], *, timeout_s: float) -> None:
        """Start processes side by side and wait until each is ready.

        Raises:
            SettingsError: One of them cannot be with these settings; its own sentence.
            ProcessFailedError: One of them ended, or is not ready in time.
        """
        self._log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for role in roles:
            with self._lock:
                self._children[role.name] = _Child(role=role, process=self._spawn(role))
        end = self._now_s() + timeout_s
        for role in roles:
            self._await_ready(role, end)

    def watch(self) -> None:
        """Begin to restart what dies."""
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def pid(self, name: str) -> int:
        """Return the present process of a role."""
        with self._lock:
            return self._children[name].process.pid

    def restarts(self, name: str) -> int:
        """Return how often a role was started again."""
        with self._lock:
            return self._children[name].restarts

    def is_running(self, name: str) -> bool:
        """Say whether a role's process runs."""
        with self._lock:
            return self._children[name].process.poll() is None

    def given_up(self) -> tuple[str, ...]:
        """Return the roles that are not started any more."""
        with self._lock:
            return tuple(name for name, child in self._children.items() if child.given_up)

    def said_last(self, name: str) -> str:
        """Return the last line that a role's process wrote."""
        try:
            lines = (self._log_dir / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return lines[-1].removeprefix("dtms: ") if lines else ""

    def stop(self, patience_s: float = END_S) -> None:
        """End everything, the last started first, so that none misses what it stands on.

        Args:
            patience_s: What has not ended after so long is killed.
        """
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout=END_S)
        with self._lock:
            for child in reversed(self._children.values()):
                _end(child, patience_s)

    def _spawn(self, role: Role) -> subprocess.Popen[bytes]:
        with _appending(self._log_dir / f"{role.name}.log") as log:
            # Its stdin is a pipe of which only we hold the other end: when we die, however we die, it reads the end.
            return subprocess.Popen(  # noqa: S603 - our own module, arguments of our own
                [*self._command, *role.arguments, "--supervised"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
                creationflags=DETACHED_FLAGS,
            )

    def _await_ready(self, role: Role, end: float) -> None:
        child = self._children[role.name]
        while True:
            ready = role.ready()
            code = child.process.poll()
            if code is not None:  # whoever answers at its address is another one
                raise self._ended(role, code)
            if ready:
                return
            if self._now_s() >= end:
                msg = (
                    f"{role.name} did not become ready in time; it said last: {self.said_last(role.name) or 'nothing'}"
                )
                raise ProcessFailedError(msg)
            time.sleep(_LOOK_S)

    def _ended(self, role: Role, code: int) -> SettingsError | ProcessFailedError:
        said = self.said_last(role.name)
        if code == _USAGE:
            return SettingsError(said)
        return ProcessFailedError(f"{role.name} ended while it was starting (exit {code}): {said or 'it said nothing'}")

    def _run(self) -> None:
        while not self._ending.wait(_LOOK_S):
            self.look()

    def look(self) -> None:
        """Look after every process once: what died is started again when its time has come, what hangs is killed."""
        for child in list(self._children.values()):
            self._look_after(child)

    def _look_after(self, child: _Child) -> None:
        now = self._now_s()
        with self._lock:
            if child.given_up:
                return
            if child.again_at is not None:
                if now >= child.again_at:
                    self._start_again(child)
                return
            if child.process.poll() is not None:
                self._died(child, now)
                return
        self._check_answers(child, now)

    def _died(self, child: _Child, now: float) -> None:
        name, code = child.role.name, child.process.returncode
        child.deaths.append(now)
        while child.deaths and now - child.deaths[0] > WITHIN_S:
            child.deaths.popleft()
        _log.error("process died", role=name, code=code, said=self.said_last(name))
        if not child.role.restarts or len(child.deaths) > RESTARTS:
            child.given_up = True
            detail = f"it died {len(child.deaths)} times within {WITHIN_S:g} s (exit {code}) and is not started again"
            self._notifier.alert(AlertKind.PROCESS_DOWN, name, detail)
            return
        child.again_at = now + min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (len(child.deaths) - 1))
        self._notifier.alert(AlertKind.PROCESS_DOWN, name, f"it died (exit {code}) and is started again")

    def _start_again(self, child: _Child) -> None:
        child.again_at = None
        child.restarts += 1
        child.was_alive = False
        _close_pipe(child.process)
        child.process = self._spawn(child.role)
        _log.info("process started again", role=child.role.name, pid=child.process.pid, restarts=child.restarts)

    def _check_answers(self, child: _Child, now: float) -> None:
        """Kill a process that was alive and has not answered for long; outside of the lock, for asking takes time."""
        if now - child.asked_at < _ALIVE_EVERY_S:
            return
        child.asked_at = now
        if child.role.alive():
            child.was_alive, child.answered_at = True, self._now_s()
        elif child.was_alive and self._now_s() - child.answered_at > HANGS_AFTER_S:
            _log.error("process hangs", role=child.role.name, pid=child.process.pid)
            end_with_descendants(child.process)


@contextmanager
def _appending(path: Path) -> Iterator[int]:
    handle = open_to_append(path)
    try:
        yield handle
    finally:
        os.close(handle)


def _end(child: _Child, patience_s: float) -> None:
    process = child.process
    if process.poll() is None:
        ask_to_end(process)
    try:
        process.wait(timeout=patience_s)
    except subprocess.TimeoutExpired:
        _log.error("process did not end and is killed", role=child.role.name, pid=process.pid)
        end_with_descendants(process)
        process.wait()
    _close_pipe(process)


def _close_pipe(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()

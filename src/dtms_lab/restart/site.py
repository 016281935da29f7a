"""One installation under the drill: terminal, gateway, server and api as real processes, started again when they die."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self

import requests
from pydantic import SecretStr

from dtms.adapters.clocks import TapeClock, TapeTime, write_tape_time
from dtms.domain.units import MINUTE, Millis, to_iso
from dtms.errors import DtmsError
from dtms.platforms.clock import boot_ns
from dtms.platforms.processes import KILLED, GoneError, kill, terminate, thaw
from dtms.services.armed import DONE_FILE, REACHED_FILE
from dtms.services.supervise.process_group import environment_of
from dtms.settings import TERMINAL_FILE, Settings
from dtms_lab.restart.nursery import Nursery, NurseryFailedError
from dtms_lab.simulate.tape_terminal import TapeRun
from dtms_lab.tapes.tape import write_tape
from dtms_lab.terminal.remote import HostControl

SERVICES: Final = ("gateway", "server", "api")
READY_WITHIN_S: Final = 60.0
BACK_WITHIN_S: Final = 30.0
_LEAD_NS: Final = 50_000_000
_AGAIN_S: Final = 0.3
"""A pause after a death that no signal explains: what refuses to start does so again at once."""
_MOST_REFUSALS: Final = 60
_ASK_S: Final = 2.0
_LOOK_S: Final = 0.02
_REST: Final = 60 * MINUTE
"""The clock goes on so long behind the tape: what is in doubt is settled by time, and a busy machine needs some."""

_PORTS: Final = 5
"""Digits of a port, so that each can stand in the other's place in a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the gateway waits before it decides what is in doubt, in seconds of the tape.

    On a tape some hundred times as fast as the machine's clock a busy processor's quarter of a second is a minute; two looks
    at a doubt must lie closer together than twice the settle time.
    """

    settle_s: float
    quarantine_s: float

    def policy(self) -> str:
        """Return the policy file."""
        return f"[operation]\nsettle_s = {self.settle_s}\nquarantine_s = {self.quarantine_s}\npriced_expiry_s = 600\n"


FAST: Final = Patience(settle_s=120.0, quarantine_s=600.0)


class SiteFailedError(DtmsError):
    """A process did not come up, or the simulated broker died: the run says nothing. Its log's last line is in the message."""


@dataclass(slots=True, kw_only=True)
class _Child:
    pid: int
    alive: bool = True
    again_at: float = 0.0


@dataclass(slots=True, kw_only=True)
class Site:
    """Use as a context: whatever happens, no process and no folder is left behind.

    Args:
        nursery: Starts the processes.
        settings: Of the whole installation.
        run: What the terminal plays.
        apart: Settings of single roles that differ, such as the port under which it finds another.
    """

    nursery: Nursery
    settings: Settings
    run: TapeRun
    apart: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    """Ends of a process that no signal explains, by role."""
    strangers: dict[int, int] = field(default_factory=dict)
    """Exit codes of the processes that were started beside the roles, or by a run before this one."""
    _children: dict[str, _Child] = field(default_factory=dict)
    _session: requests.Session = field(default_factory=requests.Session)
    _ending: bool = False
    _added: dict[str, int] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Return the installation; nothing is started yet."""
        self._session.trust_env = False
        return self

    def __exit__(self, *_exception: object) -> None:
        """Kill what is left."""
        self._ending = True
        self._session.close()
        alive = [child.pid for child in self._children.values() if child.alive]
        for pid in (*alive, *(pid for pid in self._added.values() if pid not in self.strangers)):
            _told(pid, thaw)
            _told(pid, kill)
        end = time.monotonic() + _ASK_S
        with contextlib.suppress(NurseryFailedError):  # then they are dead already
            while any(child.alive for child in self._children.values()) and time.monotonic() < end:
                self._bury()
                time.sleep(_LOOK_S)

    @property
    def clock(self) -> TapeClock:
        """The tape's clock."""
        assert self.settings.clock_file is not None, "an installation under the drill has one"  # noqa: S101
        return TapeClock(self.settings.clock_file)

    @property
    def oracle_path(self) -> Path:
        """Where the simulated broker writes what it applied."""
        return self.settings.data_dir / "oracle.jsonl"

    def start(self, roles: tuple[str, ...] = SERVICES) -> None:
        """Start the terminal and the services and wait until all are ready; the tape stands.

        Raises:
            SiteFailedError: One of them did not become ready.
        """
        (self.settings.data_dir / "log").mkdir(mode=0o700, exist_ok=True)
        self._tell_time(None)
        write_tape(self.run.tape, self.settings.data_dir / "tape.csv")
        for role in ("terminal", *roles):
            self._spawn(role)
        self.await_ready(roles, READY_WITHIN_S)

    def begin(self) -> None:
        """Let the tape run."""
        origin = boot_ns() + _LEAD_NS
        HostControl(self.settings.address_file).start(origin)
        self._tell_time(origin)

    def await_ready(self, roles: tuple[str, ...] = SERVICES, within_s: float = BACK_WITHIN_S) -> None:
        """Wait until services are ready, starting again what dies meanwhile.

        Raises:
            SiteFailedError: One of them is not ready in time.
        """
        end = time.monotonic() + within_s
        waiting = list(roles)
        while waiting:
            self.look()
            waiting = [role for role in waiting if not self.ready(role)]
            if waiting and time.monotonic() >= end:
                msg = f"{waiting[0]} did not become ready in {within_s:g} s: {self.said_last(waiting[0])}"
                raise SiteFailedError(msg)
            time.sleep(_LOOK_S)

    def look(self) -> None:
        """Bury the dead and start them again.

        Raises:
            SiteFailedError: The simulated broker died, or a service refuses to start.
        """
        self._bury()
        now = time.monotonic()
        for role, child in list(self._children.items()):
            if not child.alive and now >= child.again_at:
                self._spawn(role)

    def _bury(self) -> None:
        by_pid = {child.pid: (role, child) for role, child in self._children.items()}
        for death in self.nursery.deaths():
            if death.pid not in by_pid:
                self.strangers[death.pid] = death.code
                continue
            role, child = by_pid[death.pid]
            child.alive = False
            self.deaths[role] += 1
            if role == "terminal" and not self._ending:
                raise SiteFailedError(f"the simulated broker ended ({death.code}): {self.said_last(role)}")
            if death.code != KILLED:
                self.refusals[role] += 1
                child.again_at = time.monotonic() + _AGAIN_S
            if self.refusals[role] > _MOST_REFUSALS:
                raise SiteFailedError(f"{role} does not start any more ({death.code}): {self.said_last(role)}")

    def pid(self, role: str) -> int:
        """Return the process id of a role's present process."""
        return self._children[role].pid

    def kill(self, role: str) -> None:
        """Kill a role's process."""
        _told(self._children[role].pid, kill)

    def thaw(self, role: str) -> None:
        """Let a role's process go on that stands still."""
        _told(self._children[role].pid, thaw)

    def add(self, name: str, role: str, settings: Settings) -> int:
        """Start a further process of a role, once, with settings of its own; return its process id."""
        log = self.settings.data_dir / "log" / f"{name}.log"
        self._added[name] = self.nursery.spawn((role,), environment_of(settings), log)
        return self._added[name]

    def end(self, name: str) -> None:
        """Ask the process that was added under this name last to end."""
        _told(self._added[name], terminate)

    def ready(self, role: str) -> bool:
        """Say whether a service is ready."""
        return self.answers(f"{getattr(self.settings, f'{role}_url')}/health/ready")

    def answers(self, url: str) -> bool:
        """Say whether an address answers 200."""
        try:
            return self._session.get(url, timeout=_ASK_S).status_code == HTTPStatus.OK
        except requests.RequestException:
            return False

    def strikes_done(self) -> dict[int, str]:
        """Return the entries of the plan that were done so far, with the points at which that was."""
        path = self.settings.data_dir / DONE_FILE
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return {int(number): point for number, point, _pid, _at in lines}

    def reached(self) -> frozenset[str]:
        """Return the crash points that any process has passed so far."""
        path = self.settings.data_dir / REACHED_FILE
        return (
            frozenset(line.split(" ", 1)[0] for line in path.read_text().splitlines()) if path.exists() else frozenset()
        )

    def said_last(self, name: str) -> str:
        """Return the last lines of a process's log."""
        path = self.settings.data_dir / "log" / f"{name}.log"
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        return " | ".join(lines[-3:])[-600:] or "it said nothing"

    def logs(self) -> str:
        """Return all that the services have logged."""
        paths = sorted((self.settings.data_dir / "log").glob("*.log"))
        return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in paths)

    def _spawn(self, role: str) -> None:
        settings = self.settings.model_copy(update=dict(self.apart.get(role, {})))
        arguments = self._terminal() if role == "terminal" else (role,)
        log = self.settings.data_dir / "log" / f"{role}.log"
        self._children[role] = _Child(pid=self.nursery.spawn(arguments, environment_of(settings), log))

    def _terminal(self) -> tuple[str, ...]:
        return (
            "terminal",
            *("--tape", str(self.settings.data_dir / "tape.csv"), "--symbol", self.run.tape.symbol),
            *("--from", to_iso(self.run.start), "--speed", repr(self.run.speed)),
            *("--balance", repr(self.run.balance), "--oracle", str(self.oracle_path)),
        )

    def _tell_time(self, origin_ns: int | None) -> None:
        assert self.settings.clock_file is not None, "an installation under the drill has one"  # noqa: S101
        end = Millis(self.run.end + _REST)
        told = TapeTime(start=self.run.start, end=end, speed=self.run.speed, origin_ns=origin_ns)
        write_tape_time(self.settings.clock_file, told)


def _told(pid: int, what: Callable[[int], None]) -> None:
    with contextlib.suppress(GoneError):
        what(pid)


class Folder:
    """A throw-away data folder; removed at the end unless it is to be kept."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="dr-"))
        self.keep = False

    def __enter__(self) -> Self:
        """Return the folder."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Remove it."""
        if not self.keep:
            shutil.rmtree(self.path, ignore_errors=True)


def free_ports(count: int) -> tuple[int, ...]:
    """Return ports of five digits that nobody has now."""
    probes: list[socket.socket] = []
    found: list[int] = []
    try:
        while len(found) < count:
            probe = socket.socket()
            probes.append(probe)
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if len(str(port)) == _PORTS:
                found.append(port)
    finally:
        for probe in probes:
            probe.close()
    return tuple(found)


def settings_in(folder: Path, *, ledger_url: str = "", crash: str = "", patience: Patience = FAST) -> Settings:
    """Return the settings of a new installation under the drill, and write its policy."""
    gateway, server, api = free_ports(len(SERVICES))
    policy = folder / "policy.toml"
    policy.write_text(patience.policy(), encoding="utf-8")
    return Settings(
        data_dir=folder,
        ledger_url=SecretStr(ledger_url),
        clock_file=folder / "clock.json",
        policy_file=policy,
        terminal_file=folder / TERMINAL_FILE,
        gateway_port=gateway,
        server_port=server,
        api_port=api,
        crash_point=crash,
    )

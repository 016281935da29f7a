"""A process that gives birth to the product's processes: everything is imported and compiled once, each child is a fork.

A drill kills hundreds of processes; starting an interpreter and importing the product takes a second or two each time, on
which nothing depends. A child runs the same command as `python -m dtms ROLE` and is as mortal. When the drill dies, so do all.
"""

from __future__ import annotations

import json
import os
import platform
import selectors
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Self

from dtms.errors import DtmsError, SettingsError
from dtms.platforms.processes import kill

READY_WITHIN_S: Final = 120.0
_LOOK_S: Final = 0.01
_ANSWER_S: Final = 20.0
_COMMAND: Final = "dtms.cli.main"
"""What `python -m dtms` runs; by its name, as the supervisor starts it: nothing here is built on it."""

_NEEDED: Final = (
    _COMMAND,
    *(f"dtms.services.{role}.main" for role in ("gateway", "server", "api")),
    *("dtms_lab.terminal.host_process", "dtms_lab.simulate.tapes", "dtms.adapters.sql.postgres", "alembic.command"),
    *("uvicorn.lifespan.on", "uvicorn.loops.auto", "uvicorn.protocols.http.auto", "psycopg"),
)


_linux: Final[Any] = os
"""Where `require_forks` found what it needs; elsewhere a type checker knows these names as little as the system does."""


class NurseryFailedError(DtmsError):
    """The process that starts the others has ended or does not answer; what it said last is in the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """How a child ended: its exit code, or the negative number of the signal."""

    pid: int
    code: int


def require_forks() -> None:
    """Refuse to drill where processes cannot be forked, frozen and buried: the one place where that is decided.

    Raises:
        SettingsError: This system is not Linux.
    """
    if platform.system() != "Linux" or not hasattr(os, "fork"):
        raise SettingsError(
            "dtms drill restart runs on Linux alone, whose processes can be forked, frozen and killed between two "
            "instructions; run it there, or in a container, and dtms drill simulate here"
        )


class Nursery:
    """The nursery as the drill has it. Use as a context; may be used by one thread at a time."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dtms_lab.restart.nursery"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**_without_ours(), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                # In the caller's session a shell that ends would wake whoever is stopped: the kernel continues the
                # stopped members of a group that loses its last tie to its session.
                start_new_session=True,
            )
        self._deaths: list[Death] = []
        self._born: list[int] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="nursery", daemon=True)
        self._reader.start()
        self._await_birth(READY_WITHIN_S)  # its own word that everything is imported

    def __enter__(self) -> Self:
        """Return the nursery; it is ready."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Kill every child and end."""
        assert self._process.stdin is not None, "it was started with a pipe"  # noqa: S101 - narrows the type
        self._process.stdin.close()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(2.0)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def spawn(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
        """Start `dtms ARGUMENTS...` and return its process id.

        Raises:
            NurseryFailedError: The nursery is gone.
        """
        self._tell({"spawn": list(arguments), "env": dict(environment), "log": str(log)})
        return self._await_birth(_ANSWER_S)

    def deaths(self) -> tuple[Death, ...]:
        """Return the deaths since the last call, in their order.

        Raises:
            NurseryFailedError: The nursery is gone, and all its children with it.
        """
        if self._process.poll() is not None:
            raise self._gone()
        with self._changed:
            found, self._deaths = tuple(self._deaths), []
        return found

    def _tell(self, order: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None, "it was started with a pipe"  # noqa: S101 - narrows the type
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._gone() from error

    def _await_birth(self, within_s: float) -> int:
        with self._changed:
            told = self._changed.wait_for(lambda: self._born or self._process.poll() is not None, within_s)
            if not told or not self._born:
                raise self._gone()
            return self._born.pop(0)

    def _gone(self) -> NurseryFailedError:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
        return NurseryFailedError(
            f"the nursery has ended or is silent; it said last: {lines[-1] if lines else 'nothing'}"
        )

    def _read(self) -> None:
        assert self._process.stdout is not None, "it was started with a pipe"  # noqa: S101 - narrows the type
        for line in self._process.stdout:
            told = json.loads(line)
            with self._changed:
                if "born" in told:
                    self._born.append(int(told["born"]))
                else:
                    self._deaths.append(Death(pid=int(told["died"]), code=int(told["code"])))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


def _without_ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("DTMS_")}


class _Mother:
    """The nursery's own side: one thread, so that a fork takes nothing half done with it."""

    def __init__(self) -> None:
        self._children: set[int] = set()
        self._pending = b""

    def run(self) -> None:
        """Give birth and bury until the drill has gone."""
        _say({"born": os.getpid()})
        _linux.set_blocking(0, False)
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            while True:
                if selector.select(_LOOK_S) and not self._read():
                    break
                self._bury()
        for pid in self._children:
            kill(pid)
        while self._children:
            pid, _status = os.waitpid(-1, 0)
            self._children.discard(pid)

    def _read(self) -> bool:
        got = os.read(0, 65_536)
        if not got:
            return False
        *lines, self._pending = (self._pending + got).split(b"\n")
        for line in lines:
            order = json.loads(line)
            self._spawn(order)
        return True

    def _spawn(self, order: Mapping[str, Any]) -> None:
        sys.stdout.flush()
        pid = _linux.fork()
        if pid == 0:
            _be(order)
        self._children.add(pid)
        _say({"born": pid})

    def _bury(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, _linux.WNOHANG)
            if pid == 0:
                return
            self._children.discard(pid)
            _say({"died": pid, "code": os.waitstatus_to_exitcode(status)})


def _be(order: Mapping[str, Any]) -> None:
    """Run a command in a fork; never returns."""
    code = 1
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(order["env"])
        sys.argv = ["dtms", *order["spawn"]]
        import_module(_COMMAND).main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - a fork may never go on as its mother
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _say(told: Mapping[str, Any]) -> None:
    os.write(1, json.dumps(told).encode() + b"\n")


def _prepare() -> None:
    """Import what any child needs, and compile the kernels."""
    for name in _NEEDED:
        import_module(name)
    import_module("dtms.core._jit").compile_all()


if __name__ == "__main__":
    _prepare()
    _Mother().run()

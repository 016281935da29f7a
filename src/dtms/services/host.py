"""What a service needs of its machine: its port, its place as the only one of its kind, its end, its logs."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, cast

import structlog
from starlette.types import ASGIApp

from dtms.adapters.lock_file import HeldError, LockFile
from dtms.errors import SettingsError
from dtms.platforms.processes import ENDING_SIGNALS, end_this_process
from dtms.platforms.sockets import bound_socket
from dtms.private_files import folder_fault
from dtms.services.log_sink import LogSink
from dtms.services.web.serve import make_server, require_loopback


def bind_port(host: str, port: int, *, role: str, variable: str) -> socket.socket:
    """Return a socket that has the service's port; it refuses connections until the service is served on it.

    Raises:
        SettingsError: The host is not this machine's loopback, or somebody has the port.
    """
    require_loopback(host)
    try:
        return bound_socket(host, port)
    except OSError as error:
        raise SettingsError(_port_reason(error, host, port, role, variable)) from error


def _port_reason(error: OSError, host: str, port: int, role: str, variable: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of the {role} is in use by another program; stop that one (another dtms?) "
            f"or set {variable} to a free port"
        )
    return f"port {port} of the {role} on {host} cannot be taken: {error.strerror}; set {variable} to another one"


def require_own_folder(path: Path) -> None:
    """Make a folder of this installation, or see that nobody else may write into one that is there.

    Raises:
        SettingsError: Others may, or it is somebody else's.
        OSError: It cannot be made.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    fault = folder_fault(path)
    if fault:
        msg = f"data folder {path}: {fault}"
        raise SettingsError(msg)


class RoleLock:
    """One process a role and data folder: `gateway.lock`, `server.lock`, `api.lock`. The kernel frees it when we die.

    Raises:
        SettingsError: Another process holds it, or it cannot be made.
    """

    def __init__(self, data_dir: Path, role: str) -> None:
        try:
            require_own_folder(data_dir)
            self._file = LockFile(data_dir / f"{role}.lock")
        except HeldError as error:
            msg = (
                f"another {role} works on {data_dir} (process {error.holder}); "
                "stop it or set DTMS_DATA_DIR to another folder"
            )
            raise SettingsError(msg) from error
        except OSError as error:
            msg = f"data folder {data_dir}: {error.strerror}; make room or make it writable, or set DTMS_DATA_DIR to another one"
            raise SettingsError(msg) from error

    def release(self) -> None:
        """Let the next one in."""
        self._file.release()


@contextmanager
def alone(data_dir: Path) -> Iterator[None]:
    """Hold the supervisor's place in a data folder, in which nothing of dtms runs; before anything else is written there.

    Raises:
        SettingsError: A supervisor or a service works on the folder, or it cannot be written.
    """
    place = RoleLock(data_dir, "up")
    try:
        for role in ("gateway", "server", "api"):
            RoleLock(data_dir, role).release()
        yield
    finally:
        place.release()


@contextmanager
def claimed(host: str, port: int, data_dir: Path, *, role: str, variable: str) -> Iterator[socket.socket]:
    """Hold the role's port and its lock; the port first, so that a taken one leaves nothing half done.

    Raises:
        SettingsError: One of them is taken.
    """
    bound = bind_port(host, port, role=role, variable=variable)
    try:
        lock = RoleLock(data_dir, role)
        try:
            yield bound
        finally:
            lock.release()
    finally:
        bound.close()


def serve(app: ASGIApp, bound: socket.socket) -> None:
    """Serve an application on a bound socket until a signal ends it; returns a second after it at the latest."""
    host, port = bound.getsockname()[:2]
    # uvicorn raises the signal again once it has ended: without a handler that kills us before our own ending.
    for number in ENDING_SIGNALS:
        signal.signal(number, _stay)
    try:
        make_server(app, host=host, port=port).run(sockets=[bound])
    except OSError as error:
        msg = f"port {port} cannot be listened on: {error.strerror}; another program took it at the same moment, start again"
        raise SettingsError(msg) from error


def _stay(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the server has seen the signal and is ending."""


def end_with_parent() -> None:
    """End this process when its supervisor is gone: the pipe on stdin, which only that one holds open, ends then."""
    threading.Thread(target=_watch_stdin, name="parent", daemon=True).start()


def _watch_stdin() -> None:
    while os.read(sys.stdin.fileno(), 64):
        pass
    end_this_process()


def configure_logs(role: str, to: TextIO | None = None) -> None:
    """Write one JSON object a line, by default to stderr: time, level, role, and what happened."""
    out = cast("TextIO", LogSink(sys.stderr if to is None else to))  # it is one for all that loggers use

    def name_role(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["role"] = role
        return event

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            name_role,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=repr),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=out, format=f'{{"role": "{role}", "event": "%(message)s"}}')

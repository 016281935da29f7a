"""The package over a connection to a terminal in another process, and the commands of its host."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

from dtms.errors import BrokerUnavailableError
from dtms_lab.terminal.address import connect, exactly
from dtms_lab.terminal.link import (
    IpcError,
    Reply,
    init_failed,
    no_connection,
    out_of_step,
    reply_lost,
    send_failed,
)
from dtms_lab.terminal.surface import TerminalSurface
from dtms_lab.terminal.wire import HEADER, START, STATUS, STOP, Call, call_frame, length_of, read_reply


class HostLink:
    """One connection of this process; calls are serialised, as the package's are.

    After a failure the connection is gone until `open`: -10004 says that nothing was sent, -10001 that a part may have
    been, -10002 that the reply is missing, -10000 that it belonged to another call. Without `timeout` a call waits for
    ever, as the package does: the watchdog is the caller's.
    """

    def __init__(self, address_file: Path, timeout: float | None = None) -> None:
        self._path = address_file
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._number = 0
        self._lock = threading.Lock()

    def open(self) -> None:
        """Connect anew."""
        self.close()
        try:
            self._socket = connect(self._path, self._timeout)
        except (OSError, ValueError) as error:
            raise init_failed() from error

    def close(self) -> None:
        """Disconnect."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def call(self, op: str, args: tuple[Any, ...]) -> Reply:
        """Send one call and wait for its reply."""
        with self._lock:
            if self._socket is None:
                raise no_connection()
            self._number += 1
            try:
                self._send(self._socket, call_frame(Call(self._number, op, args)))
                return self._receive(self._socket)
            except IpcError:
                self.close()
                raise

    def _send(self, to: socket.socket, frame: bytes) -> None:
        if self._is_closed(to):
            raise no_connection()
        sent = 0
        try:
            while sent < len(frame):
                sent += to.send(frame[sent:])
        except OSError as error:
            raise (no_connection() if sent == 0 else send_failed()) from error

    def _is_closed(self, to: socket.socket) -> bool:
        """Say whether the host has hung up: TCP would take a call all the same, and it would count as sent."""
        to.setblocking(False)
        try:
            return to.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            to.settimeout(self._timeout)

    def _receive(self, source: socket.socket) -> Reply:
        try:
            number, reply = read_reply(exactly(source, length_of(exactly(source, HEADER))))
        except (OSError, ValueError) as error:
            raise reply_lost() from error
        if number != self._number:
            raise out_of_step()
        return reply


class RemoteTerminal(TerminalSurface):
    """Usable as `mt5=`, like the simulated terminal in the same process; `initialize` connects, and reconnects."""

    def __init__(self, address_file: Path, *, timeout: float | None = None) -> None:
        super().__init__(HostLink(address_file, timeout))


class HostControl:
    """Starts, watches and stops a terminal's host.

    Raises:
        BrokerUnavailableError: From each method: nobody answers at the address, or the answer is lost; all three may be
            repeated.
    """

    def __init__(self, address_file: Path, *, timeout: float | None = 5.0) -> None:
        self._path = address_file
        self._timeout = timeout

    def _command(self, op: str, *args: Any) -> Any:
        link = HostLink(self._path, self._timeout)
        try:
            link.open()
            reply = link.call(op, args)
        except IpcError as error:
            msg = f"the simulated terminal at {self._path} does not answer ({error.text}); is it running?"
            raise BrokerUnavailableError(msg) from error
        finally:
            link.close()
        return reply.data

    def start(self, origin_ns: int | None = None) -> int:
        """Let the tape run from this origin of the machine's clock, by default now; return the origin that holds."""
        return int(self._command(START, *(() if origin_ns is None else (origin_ns,))))

    def status(self) -> dict[str, Any]:
        """Return the host's status."""
        return dict(self._command(STATUS))

    def stop(self) -> None:
        """End the host."""
        self._command(STOP)

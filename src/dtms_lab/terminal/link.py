"""The pipe between the package and the terminal: one call, one reply. The place for faults of the transport."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from dtms_lab.mt5_constants import Mt5


class Reply(NamedTuple):
    """The terminal's reply: a `last_error` code and text, and plain data where the code is success."""

    code: int
    text: str
    data: Any = None


class IpcError(Exception):
    """The pipe failed; the package answers `None` and shows this code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def no_connection() -> IpcError:
    """Return the failure of a call without a pipe: nothing was sent."""
    return IpcError(Mt5.RES_E_INTERNAL_FAIL_CONNECT, "No IPC connection")


def init_failed() -> IpcError:
    """Return the failure of `initialize`: there is no terminal to attach to."""
    return IpcError(Mt5.RES_E_INTERNAL_FAIL_INIT, "IPC initialize failed")


def send_failed() -> IpcError:
    """Return the failure of a send: a part of it may have left."""
    return IpcError(Mt5.RES_E_INTERNAL_FAIL_SEND, "IPC send failed")


def reply_lost() -> IpcError:
    """Return the failure of a receive: the terminal has the request."""
    return IpcError(Mt5.RES_E_INTERNAL_FAIL_RECEIVE, "IPC recv failed")


def out_of_step() -> IpcError:
    """Return the failure of a reply that belongs to another call."""
    return IpcError(Mt5.RES_E_INTERNAL_FAIL, "IPC call failed")


class Terminal(Protocol):
    """What a terminal answers."""

    def call(self, op: str, args: tuple[Any, ...]) -> Reply:
        """Perform one call."""


class Link(Protocol):
    """A way to a terminal. A faulty one drops, delays or repeats between the two ends, per call."""

    def open(self) -> None:
        """Connect; raises `IpcError`."""

    def close(self) -> None:
        """Disconnect; the terminal lives on."""

    def call(self, op: str, args: tuple[Any, ...]) -> Reply:
        """Send one call and wait for its reply; raises `IpcError`."""


class DirectLink:
    """A terminal in the same process; it never fails."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def open(self) -> None:
        """Do nothing: the terminal is there."""

    def close(self) -> None:
        """Do nothing."""

    def call(self, op: str, args: tuple[Any, ...]) -> Reply:
        """Call the terminal."""
        return self._terminal.call(op, args)

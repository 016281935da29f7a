"""The place of a role on a ledger that is a file: a lock file beside it, whatever data folder the process works in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dtms.errors import LedgerUnavailableError, SettingsError

if sys.platform != "win32":
    import fcntl


class NoPlace:
    """A place that nobody else can want: the ledger is this process's own memory."""

    def ensure(self) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Do nothing."""


class FilePlace:
    """A lock that the kernel frees when the process ends, however it ends; a stopped process keeps it.

    Windows has no such lock; there the lock of the data folder is all there is.

    Raises:
        SettingsError: Another process has it.
        LedgerUnavailableError: The lock file cannot be made.
    """

    def __init__(self, path: Path, role: str, ledger: str) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as error:
            msg = f"lock file {path} cannot be opened: {error.strerror}; give this user the right to write its folder"
            raise LedgerUnavailableError(msg) from error
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            msg = f"another {role} works on {ledger} (process {holder}); stop it, or give this one a ledger of its own"
            raise SettingsError(msg) from error
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())

    def ensure(self) -> None:
        """Do nothing: the kernel holds it as long as this process lives."""

    def release(self) -> None:
        """Let the next one in; the file stays, for a removed one would lock nobody out."""
        os.close(self._fd)

"""The place of a role on a ledger that is a file: a lock file beside it, whatever data folder the process works in."""

from __future__ import annotations

from pathlib import Path

from dtms.adapters.lock_file import HeldError, LockFile
from dtms.errors import LedgerUnavailableError, SettingsError


class NoPlace:
    """A place that nobody else can want: the ledger is this process's own memory."""

    def ensure(self) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Do nothing."""


class FilePlace:
    """A lock file that this process holds as long as it lives.

    Raises:
        SettingsError: Another process has it.
        LedgerUnavailableError: The lock file cannot be made.
    """

    def __init__(self, path: Path, role: str, ledger: str) -> None:
        try:
            self._file = LockFile(path)
        except HeldError as error:
            msg = f"another {role} works on {ledger} (process {error.holder}); stop it, or give this one a ledger of its own"
            raise SettingsError(msg) from error
        except OSError as error:
            msg = f"lock file {path} cannot be opened: {error.strerror}; give this user the right to write its folder"
            raise LedgerUnavailableError(msg) from error

    def ensure(self) -> None:
        """Do nothing: the kernel holds it as long as this process lives."""

    def release(self) -> None:
        """Let the next one in."""
        self._file.release()

"""The lock file beside a ledger that is a file: one process a role, whatever data folder it works in.

The lock stands beside the file itself, not beside a name of it: links and other spellings of one ledger lead to one place.
It can be removed by hand; `ledger_place` has what holds then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from dtms.adapters.lock_file import HeldError, LockFile
from dtms.errors import LedgerUnavailableError, SettingsError
from dtms.ports.lease import FencedError

ROLES: Final = ("gateway", "server", "api")
"""Whoever may work on a ledger."""


class NoPlace:
    """A place that nobody else can want: the ledger is this process's own memory."""

    def ensure(self) -> None:
        """Do nothing."""

    def release(self) -> None:
        """Do nothing."""


def real_file(path: Path) -> Path:
    """Return the one name of a ledger's file, which need not exist: absolute, with every link followed.

    Raises:
        SettingsError: The file has a second name (a hard link): nobody could see that both are one ledger.
    """
    try:
        real = path.resolve()
        names = real.stat().st_nlink if real.is_file() else 1
    except (OSError, RuntimeError) as error:
        msg = f"ledger {path} cannot be looked at ({error}); correct its path, a link in it or its rights"
        raise SettingsError(msg) from error
    if real.is_dir():
        raise SettingsError(f"ledger {real} is a folder; name the file in it")
    if names > 1:
        msg = (
            f"ledger {real} has {names} names (hard links), under which two gateways could not see each other; "
            "keep one of them (find them with: find FOLDER -samefile FILE) and remove the others"
        )
        raise SettingsError(msg)
    return real


class FilePlace:
    """A lock file that this process holds as long as it lives.

    Args:
        file: The ledger as `real_file` returns it.
        role: What the process is.

    Raises:
        SettingsError: Another process has it.
        LedgerUnavailableError: The lock file cannot be made.
    """

    def __init__(self, file: Path, role: str) -> None:
        self._path = file.with_name(f"{file.name}.{role}.lock")
        self._words = f"another {role} works on ledger {file}"
        self._file = self._taken()

    def ensure(self) -> None:
        """Take the place again where its lock file was removed: the kernel holds a file, and not its name.

        Raises:
            FencedError: Another process has it now.
            LedgerUnavailableError: The lock file cannot be made.
        """
        if self._file.stands():
            return
        try:
            fresh = self._taken()
        except SettingsError as error:
            msg = f"{error}; the lock file of this one was removed, and it ends"
            raise FencedError(msg) from error
        self._file.release()
        self._file = fresh

    def _taken(self) -> LockFile:
        try:
            return LockFile(self._path)
        except HeldError as error:
            msg = f"{self._words} (process {error.holder}); stop it, or give this one a ledger of its own"
            raise SettingsError(msg) from error
        except OSError as error:
            msg = (
                f"lock file {self._path} cannot be opened: {error.strerror}; see that it is a file, and may be written"
            )
            raise LedgerUnavailableError(msg) from error

    def release(self) -> None:
        """Let the next one in."""
        self._file.release()


@contextmanager
def all_places(file: Path) -> Iterator[None]:
    """Hold the places of all roles: nobody may work on a ledger while it is replaced or migrated.

    Raises:
        SettingsError: Somebody works on it.
        LedgerUnavailableError: A lock file cannot be made.
    """
    with ExitStack() as held:
        for role in ROLES:
            held.callback(FilePlace(file, role).release)
        yield

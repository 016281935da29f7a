"""A file that one living process holds: the kernel frees it when that process ends, however it ends; a stopped one keeps it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from dtms.private_files import open_plain

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LOCKED_BYTE: Final = 1 << 30
"""Windows locks bytes, and a locked one cannot be read: this one lies behind the holder's number."""


class HeldError(Exception):
    """Another process holds the file.

    Attributes:
        holder: Its number, "unknown" where it has not written it yet.
    """

    def __init__(self, holder: str) -> None:
        super().__init__(f"process {holder} holds it")
        self.holder = holder


class LockFile:
    """A held lock file, with our number in it.

    Raises:
        HeldError: Another process has it.
        OSError: It cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = open_plain(path, os.O_RDWR | os.O_CREAT)
        if not _take(self._fd):
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise HeldError(holder)
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())

    def stands(self) -> bool:
        """Say whether the file that we hold is still the one under its name: one that was removed locks nobody out."""
        try:
            there, held = self._path.lstat(), os.fstat(self._fd)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)

    def release(self) -> None:
        """Let the next one in; the file stays, for a removed one would lock nobody out."""
        os.close(self._fd)


def _take(handle: int) -> bool:
    """Lock a file without waiting."""
    try:
        if sys.platform == "win32":
            os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            os.lseek(handle, 0, os.SEEK_SET)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

"""A file that one living process holds: the kernel frees it when that process ends, however it ends; a stopped one keeps it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from filelock import lock_descriptor

from dtms.platforms.files import read_at
from dtms.private_files import open_plain

_LOCKED: Final = b" "
"""Windows locks the first byte, and nobody can read it then: the holder's number stands behind it."""
_NUMBER_MOST: Final = 32


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
        try:
            held = lock_descriptor(self._fd, blocking=False)
            if held:  # only now: a file that another one holds must not have been emptied
                os.ftruncate(self._fd, 0)
                os.write(self._fd, _LOCKED + f"{os.getpid()}\n".encode())
            holder = "" if held else _holder(self._fd)
        except OSError:
            os.close(self._fd)
            raise
        if not held:
            os.close(self._fd)
            raise HeldError(holder)

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


def _holder(handle: int) -> str:
    return read_at(handle, _NUMBER_MOST, len(_LOCKED)).decode("ascii", "replace").strip() or "unknown"

"""Files of our own, opened without trusting the folder they lie in: no link is followed, nothing blocks, only we may read.

A name in the data folder may have been planted: a symbolic link to a foreign file, a pipe that hangs whoever opens it, a
device. What is not a regular file is refused, by the error's words.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o600
_PLAIN: Final = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def open_plain(path: Path, flags: int) -> int:
    """Open a regular file and return its descriptor; one that is made gets mode 0600.

    Args:
        path: The file; its folder must exist.
        flags: `os.O_RDONLY` and so on; never `os.O_TRUNC`: what is refused must not have been emptied.

    Raises:
        OSError: It cannot be opened, or it is a link, pipe, socket, device or folder: remove what lies under that name.
    """
    try:
        descriptor = os.open(path, flags | _PLAIN, PRIVATE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link, which is not followed", str(path)) from error
        raise
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file", str(path))


def read_start(path: Path, most: int) -> bytes:
    """Return the first bytes of a regular file, at most so many.

    Raises:
        OSError: As `open_plain`; `FileNotFoundError` where it is not there.
    """
    descriptor = open_plain(path, os.O_RDONLY)
    try:
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file anew so that it is whole or as it was before, and durable; what lies under its name is replaced, not followed.

    Raises:
        OSError: It cannot be written; it is as it was.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = open_plain(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise

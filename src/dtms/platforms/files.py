"""Files: which rights can be known, how one is opened without being led astray, read in the middle, replaced and made durable.

Where a system tells rights and owners in a file's status (POSIX), they are checked. Windows keeps them in access lists: there
the folders of a user are private by the system's own doing, and what is not looked at is said (`RIGHTS_UNKNOWN`).
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Any, Final

RIGHTS_UNKNOWN: Final = "who else may use it is not checked on this system: its access list decides"

_euid: Final[Any] = getattr(os, "geteuid", None)
_pread: Final[Any] = getattr(os, "pread", None)
_NO_FOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT: Final[int] = getattr(os, "O_NONBLOCK", 0)
OPEN_PLAIN: Final[int] = _NO_FOLLOW | _NO_WAIT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""Flags of an open that follows no link, waits for no pipe's other end, and that our children do not inherit."""

_FOLDER: Final[int] = getattr(os, "O_DIRECTORY", 0)
_REPLACE_TRIES: Final = 100
_REPLACE_PAUSE_S: Final = 0.01
"""Windows replaces no file that another process has open; each of ours reads one at once and closes it."""


def rights_are_known() -> bool:
    """Say whether a file's status tells whose it is and who else may use it."""
    return _euid is not None


def owner_fault(found: os.stat_result) -> str:
    """Return whose a file is where it is not ours; "" where it is, or where the system does not say."""
    if _euid is None or found.st_uid == _euid():
        return ""
    return f"it belongs to user {found.st_uid}, not to this one"


def shared_with(found: os.stat_result, rights: int) -> int | None:
    """Return a file's mode where others have one of these rights; None where they have not, or the system does not say."""
    mode = stat.S_IMODE(found.st_mode)
    return mode if _euid is not None and mode & rights else None


def is_link(path: Path) -> bool:
    """Say whether a name is a link that an open would follow; False where the open itself refuses one (`OPEN_PLAIN`).

    Whoever can write into the folder can plant one after this look, which is what the folder's own check is there for.
    """
    return not _NO_FOLLOW and path.is_symlink()


def waits_to_open(path: Path) -> bool:
    """Say whether an open could wait for ever, on a pipe whose other end nobody has; False where none waits."""
    return not _NO_WAIT and path.is_fifo()


def read_at(handle: int, count: int, offset: int) -> bytes:
    """Return bytes from the middle of a file; where a file is opened to append, its end stays the place to write.

    Raises:
        OSError: It cannot be read.
    """
    if _pread is not None:
        return bytes(_pread(handle, count, offset))
    os.lseek(handle, offset, os.SEEK_SET)
    return os.read(handle, count)


def replace_file(fresh: Path, path: Path) -> None:
    """Put a file in the place of another one, at one instant; waits for a reader where the system makes it wait.

    Raises:
        OSError: It cannot be put there.
    """
    for _ in range(_REPLACE_TRIES):
        try:
            fresh.replace(path)
        except PermissionError:
            if rights_are_known():
                raise  # there it says what it says
            time.sleep(_REPLACE_PAUSE_S)
        else:
            return
    fresh.replace(path)


def make_durable(path: Path) -> None:
    """Bring a file and its name to the disk.

    Raises:
        OSError: It cannot be; the disk may be full.
    """
    _sync(path, os.O_RDWR)  # Windows brings nothing to the disk for whoever may only read
    if _FOLDER:
        _sync(path.parent, os.O_RDONLY | _FOLDER)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

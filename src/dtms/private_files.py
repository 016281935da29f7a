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

from dtms.platforms.files import OPEN_PLAIN, is_link, owner_fault, replace_file, shared_with, waits_to_open

PRIVATE: Final = 0o600


def open_plain(path: Path, flags: int) -> int:
    """Open a regular file and return its descriptor; one that is made gets mode 0600.

    Args:
        path: The file; its folder must exist.
        flags: `os.O_RDONLY` and so on; never `os.O_TRUNC`: what is refused must not have been emptied.

    Raises:
        OSError: It cannot be opened, or it is a link, pipe, socket, device or folder: remove what lies under that name.
    """
    if is_link(path):
        raise _link_error(path)
    if waits_to_open(path):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    try:
        descriptor = os.open(path, flags | OPEN_PLAIN, PRIVATE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _link_error(path) from error
        raise
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file", str(path))


def _link_error(path: Path) -> OSError:
    return OSError(errno.ELOOP, "it is a symbolic link, which is not followed", str(path))


def open_to_append(path: Path) -> int:
    """Open a regular file to append to, made where it is missing; return its descriptor.

    Raises:
        OSError: As `open_plain`.
    """
    return open_plain(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)


def make_private(path: Path) -> None:
    """Make an empty file that only we may read, or take from others the right to read one that is there.

    One that is there is not opened: to close a database's file ends the locks that this process holds on it.

    Raises:
        OSError: It cannot be made, is no regular file, or belongs to somebody else.
    """
    try:
        os.close(open_plain(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path)) from None
        if shared_with(found, 0o077) is not None:
            path.chmod(PRIVATE)


def folder_fault(path: Path) -> str:
    """Return what is wrong with a folder that our files shall be trusted in, with the remedy; "" where nothing is.

    Whoever may write into it can plant links and remove locks, so nobody but its owner may, and the owner is this user;
    where the system keeps rights in access lists that is not checked.

    Raises:
        OSError: It cannot be looked at.
    """
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        return "it is no folder; name another one"
    fault = owner_fault(found)
    if fault:
        return f"{fault}; name a folder of this user"
    mode = shared_with(found, 0o022)
    if mode is not None:
        return f"it has mode {mode:04o}, so others can plant files in it; look what is in it, then: chmod 700"
    return ""


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
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    descriptor = open_plain(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        replace_file(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def write_once(path: Path, content: bytes) -> None:
    """Write a file where there is none, whole from its first moment; of several who do so at once one wins.

    Raises:
        OSError: It cannot be written.
    """
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    write_whole(fresh, content)
    try:
        os.link(fresh, path)
    except FileExistsError:
        return
    finally:
        fresh.unlink(missing_ok=True)

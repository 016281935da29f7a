"""The queue of writers of one SQLite file: a lock file that the kernel hands on in turn.

SQLite's own waiting is sleep and retry, which let single writers wait for seconds; the kernel's queue bounds that. It
is no guard of its own: `BEGIN IMMEDIATE` still is what keeps writers apart. Windows has no such lock; there SQLite's
waiting is all there is.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from dtms.errors import LedgerUnavailableError
from dtms.private_files import open_plain

if sys.platform != "win32":
    import fcntl


class WriterQueue:
    """An exclusive lock between processes, with a time limit, which the kernel's call does not have.

    Only one thread of a process may use it at a time.

    Args:
        path: The lock file; made where it is missing, never removed (a removed lock file locks nobody out).
        timeout_s: How long `acquire` waits.

    Raises:
        LedgerUnavailableError: The lock file cannot be opened.
    """

    def __init__(self, path: Path, timeout_s: float = 5.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._waiter: _Waiter | None = None
        try:
            self._fd = open_plain(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            msg = f"lock file {path} cannot be opened: {error.strerror}; see that it is a file, and may be written"
            raise LedgerUnavailableError(msg) from error

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LedgerUnavailableError: Another process kept it for longer than the limit.
        """
        if sys.platform == "win32":
            return
        if self._waiter is None or self._waiter.has_ended():
            self._waiter = None
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._waiter = _Waiter(self._fd)
            else:
                return
        if not self._waiter.wait(self._timeout_s):
            msg = (
                f"another process has been writing for {self._timeout_s:g} s under {self._path}; "
                "find the process that is stopped or hangs and end it"
            )
            raise LedgerUnavailableError(msg)
        self._waiter = None

    def release(self) -> None:
        """Hand the lock on."""
        if sys.platform != "win32":
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock file; a wait that was given up ends with the process that holds the lock."""
        if self._waiter is None:
            os.close(self._fd)


class _Waiter:
    """A thread inside the kernel's queue; who asked may give up and come back to the same place in it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._changed = threading.Condition()
        self._wanted = True
        self._held = False
        self._ended = False
        threading.Thread(target=self._run, name="dtms-ledger-queue", daemon=True).start()

    def has_ended(self) -> bool:
        """Say whether the lock came when nobody wanted it any more; otherwise it is wanted again from here on."""
        with self._changed:
            self._wanted = not self._ended
            return self._ended

    def wait(self, timeout_s: float) -> bool:
        """Wait for the lock; False where it did not come in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._held, timeout_s):
                self._wanted = False
            return self._held

    def _run(self) -> None:
        if sys.platform == "win32":
            return
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        with self._changed:
            if self._wanted:
                self._held = True
                self._changed.notify_all()
            else:
                # Nobody waits any more: keeping the lock would shut every other process out.
                fcntl.flock(self._fd, fcntl.LOCK_UN)
                self._ended = True

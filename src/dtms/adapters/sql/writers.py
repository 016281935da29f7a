"""The queue of writers of one SQLite file: a lock file that the kernel hands on in turn.

SQLite's own waiting is sleep and retry, which let single writers wait for seconds; the kernel's queue bounds that. It
is no guard of its own: `BEGIN IMMEDIATE` still is what keeps writers apart. Where the kernel has no such queue (Windows) the
same lock is asked for each millisecond, far more often than SQLite would: no writer's turn is sure there, but the longest
wait of three busy processes was 15 to 24 ms on Linux, with the kernel's queue 30, with SQLite's own waiting 105 to 233.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from filelock import lock_descriptor, unlock_descriptor

from dtms.errors import LedgerUnavailableError
from dtms.platforms.locks import wait_in_turn
from dtms.private_files import open_plain

_ASK_AGAIN_S: Final = 0.001


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
        if not (self._queued(wait_in_turn) if wait_in_turn is not None else self._asked()):
            msg = (
                f"another process has been writing for {self._timeout_s:g} s under {self._path}; "
                "find the process that is stopped or hangs and end it"
            )
            raise LedgerUnavailableError(msg)

    def _queued(self, wait: Callable[[int], None]) -> bool:
        if self._waiter is None or self._waiter.has_ended():
            self._waiter = None
            if lock_descriptor(self._fd, blocking=False):
                return True
            self._waiter = _Waiter(self._fd, wait)
        if not self._waiter.wait(self._timeout_s):
            return False
        self._waiter = None
        return True

    def _asked(self) -> bool:
        end = time.monotonic() + self._timeout_s
        while not lock_descriptor(self._fd, blocking=False):
            if time.monotonic() >= end:
                return False
            time.sleep(_ASK_AGAIN_S)
        return True

    def release(self) -> None:
        """Hand the lock on."""
        unlock_descriptor(self._fd)

    def close(self) -> None:
        """Close the lock file; a wait that was given up ends with the process that holds the lock."""
        if self._waiter is None:
            os.close(self._fd)


class _Waiter:
    """A thread inside the kernel's queue; who asked may give up and come back to the same place in it."""

    def __init__(self, fd: int, wait: Callable[[int], None]) -> None:
        self._fd = fd
        self._wait_in_turn = wait
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
        self._wait_in_turn(self._fd)
        with self._changed:
            if self._wanted:
                self._held = True
                self._changed.notify_all()
            else:
                # Nobody waits any more: keeping the lock would shut every other process out.
                unlock_descriptor(self._fd)
                self._ended = True

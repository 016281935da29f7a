"""The wait for a file's lock in the kernel's own queue, where there is one; taking and freeing it is the lock library's.

That library asks again and again, so whoever asks at the right moment is next; the kernel hands a lock on in turn.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Final


def _kernels_queue() -> Callable[[int], None] | None:
    try:
        fcntl = importlib.import_module("fcntl")
    except ImportError:
        return None

    def wait(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX)

    return wait


wait_in_turn: Final = _kernels_queue()
"""Blocks until an open file's exclusive lock is ours (flock(2)); None where the kernel keeps no queue. Has no time limit."""

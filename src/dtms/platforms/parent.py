"""The end of a child with its parent, by the kernel where that can do it. Light to import: an order may wait for the child."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
"""Linux, `prctl(2)`."""

_SIGKILL: Final[Any] = getattr(signal, "SIGKILL", None)


def end_with_parent_thread(parent: int) -> bool:
    """Let the kernel end this process with the parent's thread that started it, hanging or not.

    Elsewhere nothing is done: there the end of the stream from the parent must be enough.

    Args:
        parent: The parent's process id, as it told us.

    Returns:
        False where the parent was gone before we asked; whoever calls ends then.
    """
    if _SIGKILL is None or platform.system() != "Linux":
        return True
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    return os.getppid() == parent

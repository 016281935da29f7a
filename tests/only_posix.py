"""What only POSIX has, for tests that need it: elsewhere a type checker knows these names as little as the system does."""

from __future__ import annotations

import importlib
import os
import signal
import socket
from typing import Any, Final

os_: Final[Any] = os
signal_: Final[Any] = signal
socket_: Final[Any] = socket


def _resource() -> Any:
    try:
        return importlib.import_module("resource")
    except ImportError:
        return None


resource: Final[Any] = _resource()
"""None where a process has no limits; the tests that set some carry the marker `posix`."""

"""Sockets of this machine's own services: one owner a port, and no answer that waits for its own acknowledgement."""

from __future__ import annotations

import socket
from typing import Final

_ALONE: Final[int] = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
"""Where a port can be asked for alone (Windows), SO_REUSEADDR would let two services share it; elsewhere it only lets a
service that starts again have the port of the one that has just ended."""


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket that has a port and does not listen yet; port 0 is any free one.

    It names its protocol: asyncio's own event loop (the only one on Windows) sends small answers at once only on a socket
    that says it is TCP's. On another one each answer in two parts waits for the other side's delayed acknowledgement: 40 ms
    on Linux, 200 ms on Windows.

    Raises:
        OSError: Somebody has the port, or it may not be had.
    """
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, _ALONE, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made

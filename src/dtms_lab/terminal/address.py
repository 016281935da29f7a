"""Where a terminal's host listens, and the secret by which both ends know each other.

The host listens on a free port of this machine, which every program of it may reach. So address and secret stand in a file
that only its owner may read: whoever connects proves that it has read it before a word of it is understood, and so does the
host, for another program may have got the port of one that has ended. The secret itself is never sent.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dtms.private_files import read_start, write_whole

LOOPBACK: Final = "127.0.0.1"
GREETING: Final = 64
"""Bytes that a client sends first: a number used once, and the proof that belongs to it."""

_NONCE: Final = 32
_PROOF: Final = 32
_SECRET: Final = 32
_LONGEST: Final = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The port of a host, and the secret of this start."""

    port: int
    secret: bytes

    def admits(self, greeting: bytes) -> bool:
        """Say whether a greeting comes from a reader of our file; takes the same time for every wrong one."""
        return hmac.compare_digest(greeting[_NONCE:], self._proof(b"client", greeting[:_NONCE]))

    def welcome(self, greeting: bytes) -> bytes:
        """Return what proves to a client that we are the host whose file it has read."""
        return self._proof(b"host", greeting[:_NONCE])

    def greeting(self) -> bytes:
        """Return what a client sends first; another one each time."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._proof(b"client", nonce)

    def is_welcome(self, greeting: bytes, answer: bytes) -> bool:
        """Say whether the answer to a greeting is the host's."""
        return hmac.compare_digest(answer, self.welcome(greeting))

    def _proof(self, side: bytes, nonce: bytes) -> bytes:
        return hmac.digest(self.secret, side + nonce, hashlib.sha256)


def new_address(port: int) -> Address:
    """Return an address with a secret of its own."""
    return Address(port=port, secret=secrets.token_bytes(_SECRET))


def write_address(path: Path, address: Address) -> None:
    """Tell where the host listens; the file is whole from its first moment, and only we may read it.

    Raises:
        OSError: It cannot be written.
    """
    told = {"port": address.port, "secret": address.secret.hex(), "pid": os.getpid()}
    write_whole(path, json.dumps(told).encode())


def read_address(path: Path) -> Address:
    """Return where a host listens.

    Raises:
        OSError: There is no such file, or it is no regular one.
        ValueError: It holds no address.
    """
    told = json.loads(read_start(path, _LONGEST))
    match told:
        case {"port": int(port), "secret": str(secret)} if 0 < port < 1 << 16 and len(secret) == 2 * _SECRET:
            return Address(port=port, secret=bytes.fromhex(secret))
        case _:
            msg = f"{path} holds no terminal's address"
            raise ValueError(msg)


def remove_address(path: Path, address: Address) -> None:
    """Remove the file of a host that ends, unless another one's stands there by now."""
    try:
        if read_address(path) == address:
            path.unlink()
    except (OSError, ValueError):
        return


def connect(path: Path, timeout_s: float | None) -> socket.socket:
    """Return a connection to the host that a file names; both have proved that they know its secret.

    Raises:
        OSError: There is no such file, nobody listens there, or whoever does is another one; `TimeoutError` where it does
            not answer in time.
        ValueError: The file holds no address.
    """
    address = read_address(path)
    made = socket.create_connection((LOOPBACK, address.port), timeout_s)
    try:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        greeting = address.greeting()
        made.sendall(greeting)
        if not address.is_welcome(greeting, exactly(made, _PROOF)):
            msg = f"whoever has port {address.port} is not the terminal of {path}"
            raise ConnectionRefusedError(msg)
    except OSError:
        made.close()
        raise
    return made


def exactly(source: socket.socket, count: int) -> bytes:
    """Return so many bytes from a connection.

    Raises:
        OSError: It was closed before; `TimeoutError` where they do not come in time.
    """
    parts = bytearray()
    while len(parts) < count:
        part = source.recv(count - len(parts))
        if not part:
            msg = f"the terminal closed the connection after {len(parts)} of {count} bytes"
            raise ConnectionResetError(msg)
        parts += part
    return bytes(parts)

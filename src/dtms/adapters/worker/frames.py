"""What passes between a worker and its child: four bytes of length, then one msgpack message. No vendor's object, no pickle.

The first frame to the child is a `Setup`, answered by the reply to request 0; then one `Reply` follows each `Request`.
"""

from __future__ import annotations

import operator
import os
from typing import Any, Final, TypeAlias

import msgspec

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

SETUP: Final = 0
"""The number of the reply that says whether the factory has built a broker."""

HEADER: Final = 4
MAX_FRAME: Final = 64 * 1024 * 1024
"""Far above the longest history; a greater length is a broken stream."""

_READ_AT_ONCE: Final = 1024 * 1024


class Setup(msgspec.Struct, frozen=True, array_like=True):
    """What the child shall build."""

    factory: str
    args: dict[str, Any]


class Request(msgspec.Struct, frozen=True, array_like=True):
    """One call; `limit_s` is when whoever asks will have given up."""

    number: int
    method: str
    limit_s: float
    args: msgspec.Raw


class ErrorWire(msgspec.Struct, frozen=True, array_like=True):
    """An error: the name of its class in `dtms.errors`, empty for a foreign one, and the fields of its constructor."""

    kind: str
    message: str
    fields: dict[str, bool | int | float | str | None] = {}


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """The answer to the request of the same number: an error, or the encoded value."""

    number: int
    error: ErrorWire | None
    value: msgspec.Raw


class FrameError(Exception):
    """The stream holds what is no frame, or ended inside of one; nothing on it can be believed any more."""


def _plain(value: Any) -> Any:
    """Return NumPy's scalars as Python's; a dataclass holds one where a library computed it."""
    if isinstance(value, float):
        return float(value)
    try:
        return operator.index(value)
    except TypeError as error:
        msg = f"{type(value).__name__} has no place in an answer of a broker"
        raise NotImplementedError(msg) from error


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
encode = _encoder.encode
read_setup = msgspec.msgpack.Decoder(Setup).decode
read_request = msgspec.msgpack.Decoder(Request).decode
read_reply = msgspec.msgpack.Decoder(Reply).decode


def frame_of(message: Setup | Request | Reply) -> bytes:
    """Return a message as it is written.

    Raises:
        FrameError: It is longer than any frame may be.
    """
    body = encode(message)
    if len(body) > MAX_FRAME:
        msg = f"a message of {len(body)} bytes; at most {MAX_FRAME} are allowed, ask for less at once"
        raise FrameError(msg)
    return len(body).to_bytes(HEADER, "big") + body


def write_frame(fd: int, frame: bytes) -> None:
    """Write a frame; an `OSError` says that the other side cannot have the whole of it, and so cannot act on it."""
    rest = memoryview(frame)
    while rest:
        rest = rest[os.write(fd, rest) :]


def read_frame(fd: int) -> bytes | None:
    """Return the next frame's body, None where the stream ended before it.

    Raises:
        FrameError: The stream is broken.
    """
    header = _exactly(fd, HEADER)
    if header is None:
        return None
    length = int.from_bytes(header, "big")
    if length > MAX_FRAME:
        msg = f"a frame of {length} bytes; at most {MAX_FRAME} are allowed"
        raise FrameError(msg)
    body = _exactly(fd, length)
    if body is None:
        msg = f"the stream ended before the {length} bytes of a frame"
        raise FrameError(msg)
    return body


def _exactly(fd: int, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        part = os.read(fd, min(count - len(parts), _READ_AT_ONCE))
        if not part and not parts:
            return None
        if not part:
            msg = f"the stream ended after {len(parts)} of {count} bytes"
            raise FrameError(msg)
        parts += part
    return bytes(parts)

"""Frames between the package and a terminal in another process: four bytes of length, then one msgpack message.

A call is [number, op, args], a reply [number, code, text, data]; structured arrays travel as msgpack extensions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np

from dtms_lab.terminal.history import RATES_DTYPE, TICKS_DTYPE
from dtms_lab.terminal.link import Reply

HEADER = 4
MAX_FRAME = 64 * 1024 * 1024
"""Far above the longest history; a greater length is a broken stream."""

START, STATUS, STOP = "host.start", "host.status", "host.stop"
"""Calls that the host answers itself."""

_DTYPES: dict[int, np.dtype[np.void]] = {1: RATES_DTYPE, 2: TICKS_DTYPE}


class Call(NamedTuple):
    """One call; the reply carries its number."""

    number: int
    op: str
    args: tuple[Any, ...]


def _pack(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        for code, dtype in _DTYPES.items():
            if value.dtype == dtype:
                return msgspec.msgpack.Ext(code, value.tobytes())
    msg = f"{type(value).__name__} has no place in a reply of the terminal"
    raise NotImplementedError(msg)


def _unpack(code: int, data: memoryview) -> Any:
    dtype = _DTYPES.get(code)
    if dtype is None:
        msg = f"unknown extension {code} in a frame"
        raise ValueError(msg)
    return np.frombuffer(data, dtype=dtype).copy()


_encoder = msgspec.msgpack.Encoder(enc_hook=_pack)
_calls = msgspec.msgpack.Decoder(tuple[int, str, tuple[Any, ...]])
_replies = msgspec.msgpack.Decoder(tuple[int, int, str, Any], ext_hook=_unpack)


def _frame(message: Any) -> bytes:
    body = _encoder.encode(message)
    return len(body).to_bytes(HEADER, "big") + body


def length_of(header: bytes) -> int:
    """Return the length that a header announces.

    Raises:
        ValueError: It is longer than any frame may be.
    """
    length = int.from_bytes(header, "big")
    if length > MAX_FRAME:
        msg = f"a frame of {length} bytes; at most {MAX_FRAME} are allowed"
        raise ValueError(msg)
    return length


def call_frame(call: Call) -> bytes:
    """Return the frame of a call."""
    return _frame(tuple(call))


def reply_frame(number: int, reply: Reply) -> bytes:
    """Return the frame of a reply."""
    return _frame((number, reply.code, reply.text, reply.data))


def read_call(body: bytes) -> Call:
    """Return the call of a frame; raises `msgspec.DecodeError` (a `ValueError`) for what is none."""
    return Call(*_calls.decode(body))


def read_reply(body: bytes) -> tuple[int, Reply]:
    """Return number and reply of a frame; raises `ValueError` for what is none."""
    number, code, text, data = _replies.decode(body)
    return number, Reply(code, text, data)

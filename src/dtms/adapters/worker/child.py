"""The child process: builds the broker that it is told to, answers one request after the other, ends with its parent.

It decides nothing and repeats nothing. The frames have private descriptors: whatever the library prints goes to the log.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any, Final

import msgspec

from dtms.adapters.worker.faults import error_to_wire
from dtms.adapters.worker.frames import (
    SETUP,
    Reply,
    Request,
    Setup,
    encode,
    frame_of,
    read_frame,
    read_request,
    read_setup,
    write_frame,
)
from dtms.adapters.worker.methods import READS, SEND, order_from_wire
from dtms.errors import BrokerUnavailableError, DtmsError, SettingsError
from dtms.platforms.parent import end_with_parent_thread

MARGIN_S: Final = 1.0
"""How much later than the parent the child ends a hanging call itself; where the kernel ends it, that is faster."""

_STDERR: Final = 2
"""The descriptor itself: a library may have put something else in the place of `sys.stderr`."""

_NONE: Final = msgspec.Raw(msgspec.msgpack.encode(None))


def main() -> None:
    """Run the child; its only argument is the parent's process id."""
    if not end_with_parent_thread(int(sys.argv[1])):
        sys.exit(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # meant for the whole service: the parent lets the order under way end
    source, sink = _private_pipes()
    body = read_frame(source)
    if body is None:
        return
    try:
        broker = build(read_setup(body))
    except Exception as error:  # noqa: BLE001 - the process's border: whatever the library raises is told and ends it
        write_frame(sink, frame_of(_refusal(SETUP, error)))
        return
    write_frame(sink, frame_of(Reply(SETUP, None, _NONE)))
    serve(broker, source, sink)


def build(setup: Setup) -> Any:
    """Return what the factory builds.

    Raises:
        SettingsError: There is no such factory.
    """
    module, _, function = setup.factory.partition(":")
    try:
        factory = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        msg = f"broker factory {setup.factory!r} cannot be imported ({error}); name it as module:function"
        raise SettingsError(msg) from error
    return factory(**setup.args)


def serve(broker: Any, source: int, sink: int) -> None:
    """Answer until the parent closes the stream."""
    while (body := read_frame(source)) is not None:
        request = read_request(body)
        # Its thread needs no interpreter's lock: without a parent that kills, a hang still ends, with its stack in the log.
        faulthandler.dump_traceback_later(request.limit_s + MARGIN_S, exit=True, file=_STDERR)
        frame = _answer(broker, request)
        faulthandler.cancel_dump_traceback_later()
        write_frame(sink, frame)
    close = getattr(broker, "close", None)
    if close is not None:
        faulthandler.dump_traceback_later(MARGIN_S, exit=True, file=_STDERR)
        close()


def _answer(broker: Any, request: Request) -> bytes:
    try:
        value = _call(broker, request)
        return frame_of(Reply(request.number, None, msgspec.Raw(encode(value))))
    except Exception as error:  # noqa: BLE001 - the process's border: the parent decides what a foreign error means
        return frame_of(_refusal(request.number, error))


def _call(broker: Any, request: Request) -> Any:
    method = getattr(broker, request.method, None)
    if method is None:
        msg = f"the broker of this process has no {request.method}; nothing was sent"
        raise BrokerUnavailableError(msg)
    if request.method == SEND:
        action, position, tag = order_from_wire(request.args)
        return method(action, position=position, tag=tag)
    return method(*READS[request.method].args_of(request.args))


def _refusal(number: int, error: Exception) -> Reply:
    if not isinstance(error, DtmsError):
        with suppress(OSError):  # a full disk costs the log, never an answer
            traceback.print_exception(error)
    return Reply(number, error_to_wire(error), _NONE)


def _private_pipes() -> tuple[int, int]:
    """Return the streams from and to the parent; nobody else in this process, or of its children, can reach them."""
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return source, sink


if __name__ == "__main__":
    main()

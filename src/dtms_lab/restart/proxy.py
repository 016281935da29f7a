"""A TCP proxy that misbehaves by a seed: delays, resets, half-open connections, partitions, replies that drip.

It knows nothing of HTTP but one thing: a service answers only to its own name, so the proxy's port in a request is replaced
by the service's port, which has as many digits.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Final, Self

_CHUNK: Final = 65_536
_TURNS_S: Final = 0.01
"""Some turns of the event loop."""

_RESET: Final = struct.pack("ii", 1, 0)
"""Linger on for no time: the peer gets a reset instead of an end."""


class Fault(StrEnum):
    """What one connection meets."""

    NONE = "none"
    DELAY = "delay"
    RESET_BEFORE = "reset_before"
    """The request never arrives."""
    RESET_AFTER = "reset_after"
    """The request arrives, its reply is lost."""
    HALF_OPEN = "half_open"
    """The request arrives, and nothing ever comes back nor ends."""
    DRIP = "drip"
    """The reply comes byte by byte."""
    PARTITION = "partition"
    """Nobody gets through for a while, on any connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How often each fault strikes a piece of a request, and how badly.

    `shares` are probabilities of a piece; the rest passes untouched. Times are seconds.
    """

    shares: tuple[tuple[Fault, float], ...] = (
        (Fault.DELAY, 0.10),
        (Fault.RESET_BEFORE, 0.03),
        (Fault.RESET_AFTER, 0.03),
        (Fault.HALF_OPEN, 0.01),
        (Fault.DRIP, 0.03),
        (Fault.PARTITION, 0.01),
    )
    delay_s: float = 0.2
    drip_s: float = 0.002
    partition_s: float = 0.6

    def draw(self, dice: Random) -> Fault:
        """Return what the next piece meets."""
        at = dice.random()
        for fault, share in self.shares:
            if at < share:
                return fault
            at -= share
        return Fault.NONE


CALM: Final = Weather(shares=())


@dataclass(slots=True, kw_only=True)
class _Link:
    """Both ends of one connection."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    mute: bool = False
    drip: bool = False
    reset_after: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class ChaosProxy:
    """One proxy in front of one service, in a thread of its own. Use as a context.

    Args:
        target: Port of the service on this machine.
        seed: Chooses the faults; the order of the connections is the machine's, so a run is like another, not the same.
        weather: How bad it is; may be changed while it runs.
        host: Loopback address of both sides.
    """

    def __init__(self, target: int, *, seed: int, weather: Weather = CALM, host: str = "127.0.0.1") -> None:
        self.weather = weather
        self.struck: Counter[Fault] = Counter()
        self._target = target
        self._dice = Random(seed)  # noqa: S311 - seeded on purpose
        self._host = host
        self._cut_until = 0.0
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket = socket.socket()
        self._socket.bind((host, 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._run, name=f"proxy-{target}", daemon=True)
        self._started = threading.Event()

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Cut every connection and end."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def cut(self, seconds: float) -> None:
        """Part the two sides for so long: nothing passes, and nobody is told."""
        self._cut_until = time.monotonic() + seconds

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, sock=self._socket))
        self._started.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        await asyncio.sleep(_TURNS_S)  # who was let in last begins, so that it can be ended
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(_TURNS_S)  # the transports close

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # pragma: no cover - streams run their callback in a task
            return
        self._tasks.add(task)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            _reset(writer)
        finally:
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._wait_out()
        try:
            back, far = await asyncio.open_connection(self._host, self._target)
        except OSError:
            _reset(writer)
            return
        link = _Link(near=writer, far=far)
        ways: tuple[Coroutine[Any, Any, None], ...] = (self._there(reader, link), self._back(back, link))
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if link.mute:
                await link.gone.wait()
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for end in (writer, far):
                end.close()

    async def _there(self, reader: asyncio.StreamReader, link: _Link) -> None:
        """Carry what is asked; each piece meets its fault."""
        while piece := await reader.read(_CHUNK):
            fault = self.weather.draw(self._dice)
            self.struck[fault] += 1
            if not await self._meet(fault, link):
                return
            await self._wait_out()
            link.far.write(self._renamed(piece))
            await link.far.drain()
        if link.mute:
            link.gone.set()

    async def _meet(self, fault: Fault, link: _Link) -> bool:
        """Let a fault strike; say whether the piece goes on."""
        match fault:
            case Fault.NONE:
                pass
            case Fault.DELAY:
                await asyncio.sleep(self._dice.random() * self.weather.delay_s)
            case Fault.RESET_BEFORE:
                _reset(link.near)
                return False
            case Fault.RESET_AFTER:
                link.reset_after = True
            case Fault.HALF_OPEN:
                link.mute = True
            case Fault.DRIP:
                link.drip = True
            case Fault.PARTITION:
                self.cut(self.weather.partition_s)
        return True

    async def _back(self, reader: asyncio.StreamReader, link: _Link) -> None:
        """Carry what is answered, unless the request's fault forbids it."""
        while piece := await reader.read(_CHUNK):
            if link.reset_after:
                _reset(link.near)
                return
            if link.mute:
                continue
            await self._wait_out()
            if link.drip:
                await self._drip(piece, link.near)
                link.drip = False
            else:
                link.near.write(piece)
                await link.near.drain()

    async def _drip(self, piece: bytes, to: asyncio.StreamWriter) -> None:
        for place in range(len(piece)):
            to.write(piece[place : place + 1])
            await to.drain()
            await asyncio.sleep(self.weather.drip_s)

    async def _wait_out(self) -> None:
        if (left := self._cut_until - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def _renamed(self, piece: bytes) -> bytes:
        return piece.replace(f":{self.port}".encode(), f":{self._target}".encode())


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset."""
    known = writer.get_extra_info("socket")
    if known is not None:
        with contextlib.suppress(OSError):
            known.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport = writer.transport
    if not transport.is_closing():
        transport.abort()

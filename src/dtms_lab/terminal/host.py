"""The simulated terminal as a process of its own: it runs tapes on a scaled clock and serves the surface on a loopback port.

It stands at the tape's start until the `start` command. Whoever connects with the secret of its address file sees the same
terminal; beside it a second one of the same account listens, as a person has one on another computer. A client that is a
stranger, dies or talks nonsense loses its connection and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

from dtms.domain.units import MINUTE, Millis
from dtms.errors import SettingsError
from dtms.platforms.clock import boot_ns
from dtms.platforms.processes import ENDING_SIGNALS
from dtms.platforms.sockets import bound_socket
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.address import (
    GREETING,
    LOOPBACK,
    Address,
    connect,
    new_address,
    remove_address,
    write_address,
)
from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.books import BooksFile, read_books_file, restore
from dtms_lab.terminal.catalogue import USD_RATES, SymbolSpec
from dtms_lab.terminal.driver import TapeDriver, TapeLike
from dtms_lab.terminal.link import Reply
from dtms_lab.terminal.recorder import Recorder
from dtms_lab.terminal.records import AccountSpec
from dtms_lab.terminal.scaled_clock import ScaledClock
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.server_time import offset_of
from dtms_lab.terminal.traits import FRESH, RUNNING, Traits
from dtms_lab.terminal.wire import HEADER, START, STATUS, STOP, Call, length_of, read_call, reply_frame

_LONGEST_SLEEP = 0.25
_SHORTEST_SLEEP = 0.005
_GREETING_S: Final = 5.0
"""A connection that has not proved for so long who it is, is closed."""
_PROBE_S: Final = 2.0


def elsewhere(address_file: Path) -> Path:
    """Return the address file of the second terminal of the same account, with a Market Watch of its own."""
    return address_file.with_name(f"{address_file.name}.2")


class TerminalHost:
    """Serves one terminal; `run` returns after a `stop` command, SIGTERM or SIGINT. `ready` is set once it listens."""

    def __init__(
        self,
        backend: TerminalBackend,
        driver: TapeDriver,
        clock: ScaledClock,
        address_file: Path,
        *,
        save: Callable[[], None] = lambda: None,
    ) -> None:
        self.backend = backend
        self._save = save
        self._driver = driver
        self._clock = clock
        self._terminals = {
            address_file: backend,
            elsewhere(address_file): TerminalBackend(backend.server, traits=RUNNING),
        }
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.ready = threading.Event()
        self._stopped = asyncio.Event()
        self._woken = asyncio.Event()

    def run(self) -> None:
        """Serve until stopped."""
        asyncio.run(self.serve())

    async def serve(self) -> None:
        """Serve until stopped.

        Raises:
            SettingsError: Another terminal answers at the address file, or it cannot be written.
        """
        for path in self._terminals:
            _require_free(path)
        try:
            with ExitStack() as listening:
                listening.enter_context(self._ended_by_signals())
                for path, backend in self._terminals.items():
                    await self._listen(path, backend, listening)
                self.ready.set()
                await self._drive()
        finally:
            await self._hang_up()

    async def _listen(self, path: Path, backend: TerminalBackend, listening: ExitStack) -> None:
        """Serve one of the terminals, and tell where."""
        bound = bound_socket(LOOPBACK, 0)
        address = new_address(bound.getsockname()[1])
        server = await asyncio.start_server(partial(self._client, backend, address), sock=bound)
        listening.callback(server.close)
        try:
            write_address(path, address)
        except OSError as error:
            msg = f"the terminal's address file {path} cannot be written ({error.strerror}); see what lies there"
            raise SettingsError(msg) from error
        listening.callback(remove_address, path, address)

    @contextmanager
    def _ended_by_signals(self) -> Iterator[None]:
        """End as asked by a signal; a host in a thread is stopped by its command alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def end(_number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._stop)  # wakes a loop that sleeps; its own handlers do not exist on Windows

        before = {number: signal.signal(number, end) for number in ENDING_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def _hang_up(self) -> None:
        """Close every connection and let its task end, so that no client is cut inside a reply."""
        for writer in self._clients.values():
            writer.close()
        await asyncio.gather(*self._clients)

    def _stop(self) -> None:
        self._stopped.set()
        self._woken.set()

    async def _drive(self) -> None:
        """Apply what is due, sleep until the next event, until stopped."""
        while not self._stopped.is_set():
            self._advance()
            following = self._driver.next_at
            left = _LONGEST_SLEEP if following is None else self._clock.seconds_until(following)
            try:
                async with asyncio.timeout(min(max(left, _SHORTEST_SLEEP), _LONGEST_SLEEP)):
                    await self._woken.wait()
            except TimeoutError:
                continue
            self._woken.clear()

    def _advance(self) -> None:
        if self._clock.origin_ns is not None:
            self._driver.advance(self._clock.now())
            self._save()

    async def _client(
        self, backend: TerminalBackend, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        if task is None:  # pragma: no cover - streams run their callback in a task
            return
        self._clients[task] = writer
        try:
            if not await _admitted(address, reader, writer):
                return
            while (call := await _next_call(reader)) is not None:
                writer.write(reply_frame(call.number, self._answer(backend, call.op, call.args)))
                await writer.drain()
        except ConnectionError:
            return
        finally:
            del self._clients[task]
            writer.close()

    def _answer(self, backend: TerminalBackend, op: str, args: tuple[Any, ...]) -> Reply:
        if op == START:
            origin = self._clock.start(next((given for given in args if isinstance(given, int)), None))
            self._woken.set()
            return Reply(Mt5.RES_S_OK, "Success", origin)
        if op == STATUS:
            return Reply(Mt5.RES_S_OK, "Success", self.status())
        if op == STOP:
            asyncio.get_running_loop().call_soon(self._stop)
            return Reply(Mt5.RES_S_OK, "Success", True)
        self._advance()
        reply = backend.call(op, args)
        self._save()  # before anybody can know of it
        return reply

    def status(self) -> dict[str, Any]:
        """Return where the tape is, and what was assumed about it."""
        ended = self._driver.next_at is None
        waiting = self._clock.origin_ns is None
        return {
            "state": "waiting" if waiting else "ended" if ended else "running",
            "now": self._clock.now(),
            "origin_ns": self._clock.origin_ns,
            "speed": self._clock.speed,
            "tape_start": self._clock.tape_start,
            "tape_end": self._driver.end,
            "assumptions": list(self._driver.assumptions),
            "positions": len(self.backend.server.state.positions),
            "pid": os.getpid(),
        }


async def _admitted(address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Say whether whoever connected has read our address file; nothing of a stranger is understood, nor answered."""
    try:
        async with asyncio.timeout(_GREETING_S):
            greeting = await reader.readexactly(GREETING)
    except (TimeoutError, asyncio.IncompleteReadError):
        return False
    if not address.admits(greeting):
        return False
    writer.write(address.welcome(greeting))
    await writer.drain()
    return True


async def _next_call(reader: asyncio.StreamReader) -> Call | None:
    """Return the next call; None where the client has gone, or sends what is none."""
    try:
        length = length_of(await reader.readexactly(HEADER))
        return read_call(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        return None


def build_host(
    tapes: Sequence[TapeLike],
    address_file: Path,
    *,
    speed: float,
    start: Millis | None = None,
    recorder: Recorder | None = None,
    account: AccountSpec | None = None,
    specs: Mapping[str, SymbolSpec] | None = None,
    usd_rates: Mapping[str, float] = USD_RATES,
    traits: Traits = FRESH,
    books_path: Path | None = None,
    origin_ns: int | None = None,
    boottime: Callable[[], int] = boot_ns,
) -> TerminalHost:
    """Return a host for tapes; `start` is the tape time at which the market stands until it is started.

    With `books_path` the account is as that file has it, where there is one, and what happens is kept there. With
    `origin_ns` the tape was started before, and runs.

    Raises:
        SettingsError: A tape cannot be used, or the speed is none.
    """
    begin = _first_instant(tapes) if start is None else start
    clock = ScaledClock(begin, speed=speed, boottime=boottime)
    if origin_ns is not None:
        clock.start(origin_ns)
    books = None if books_path is None else read_books_file(books_path)
    server = SimServer(
        now=clock.now,
        account=account,
        specs=specs,
        usd_rates=usd_rates,
        recorder=recorder,
        offset=offset_of(traits.zone),
    )
    driver = TapeDriver(server, tapes, start=begin if books is None else books.at)
    if books is not None:
        restore(server, books)
        driver.advance(clock.now())  # what has happened since they were written
    terminal = TerminalBackend(server, traits=traits)
    keep = (lambda: None) if books_path is None else BooksFile(books_path, server).save
    return TerminalHost(terminal, driver, clock, address_file, save=keep)


def _first_instant(tapes: Sequence[TapeLike]) -> Millis:
    """The latest first instant of the tapes, so that each has begun; quotes come one minute later at the latest."""
    firsts = [tape.bars[0].start for tape in tapes if tape.bars]
    firsts += [tape.quotes[0].at for tape in tapes if not tape.bars and tape.quotes]
    if not firsts:
        raise SettingsError("no tape has any bar or quote; give one")
    return Millis(max(firsts) + MINUTE)


def _require_free(path: Path) -> None:
    """Leave the address file of a living terminal as it is; one that a dead terminal left is replaced."""
    try:
        connect(path, _PROBE_S).close()
    except TimeoutError:
        what = f"whoever listens at the address in {path} does not say who it is; end it, or remove that file"
        raise SettingsError(what) from None
    except (OSError, ValueError):
        return
    msg = f"another terminal answers at {path}; stop it or choose another data folder"
    raise SettingsError(msg)

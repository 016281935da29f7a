"""Keeps one child at hand: starts it, makes sure of its account, kills it when it fails, waits before the next.

Not thread-safe; the worker's turns see to that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog

from dtms.adapters.worker import methods
from dtms.adapters.worker.faults import error_from_wire
from dtms.adapters.worker.frames import SETUP, ErrorWire, FrameError, Reply, Request, Setup, encode, frame_of
from dtms.adapters.worker.methods import Read
from dtms.adapters.worker.pin import AccountPin
from dtms.adapters.worker.process import ChildProcess, NoAnswerError, NotDeliveredError
from dtms.domain.server_offset import SeenOffset
from dtms.errors import BrokerUnavailableError, DtmsError, InvariantError

T = TypeVar("T")

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 10.0

_NS: Final = 1_000_000_000

_log = structlog.get_logger("dtms.broker_worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """What became of a worker's children so far; `failure` is the last one's."""

    pid: int | None
    starts: int
    failures: int
    failure: str


class ChildKeeper:
    """The present child, and the memory of the ones before it.

    Args:
        setup: What each child shall build.
        command: A child's command line.
        log: Where its stderr goes.
        now_ns: For the pause between restarts.
        call_timeout_s: After it a call's child is killed.
        start_timeout_s: The same for building the broker, and for its first answer.
        pin: The account that must be found.
        on_carried: Told of each call by its name, and of its place on the way: see `ChildProcess.exchange`.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        command: Sequence[str],
        log: Path | None,
        now_ns: Callable[[], int],
        call_timeout_s: float,
        start_timeout_s: float,
        pin: AccountPin,
        on_carried: Callable[[str, str], None],
    ) -> None:
        self._setup = frame_of(setup)
        self._command = tuple(command)
        self._log_path = log
        self._now_ns = now_ns
        self._call_timeout_s = call_timeout_s
        self._start_timeout_s = start_timeout_s
        self._pin = pin
        self._on_carried = on_carried
        self._offset: SeenOffset | None = None
        self._child: ChildProcess | None = None
        self._verified = False
        self._closed = False
        self._number = SETUP
        self._failures = 0
        self._in_a_row = 0
        self._failure = ""
        self._rests_until_ns: int | None = None
        self.starts = 0

    def report(self) -> WorkerReport:
        """Return what became of the children so far."""
        child = self._child
        pid = None if child is None else child.pid
        return WorkerReport(pid=pid, starts=self.starts, failures=self._failures, failure=self._failure)

    def close(self, *, at_once: bool) -> None:
        """End the child and start none any more; with `at_once` whoever waits for it learns that it was killed."""
        self._closed = True
        child, self._child = self._child, None
        if child is None:
            return
        if at_once:
            child.kill()
        child.close()

    def ready(self) -> ChildProcess:
        """Return a child that is up and logged in to our account.

        Raises:
            DtmsError: What its factory or its broker said.
            BrokerUnavailableError: It did not come up, must not yet, or is logged in to another account.
        """
        if self._child is not None and self._child.has_ended:
            self.drop(self._child, "it ended by itself")
        child = self._start() if self._child is None else self._child
        if not self._verified:
            self._verify(child)
        return child

    def ask(self, child: ChildProcess, read: Read[T], *args: Any) -> T:
        """Return the answer to a read.

        Raises:
            DtmsError: The broker's own word.
            BrokerUnavailableError: There is no answer, or a foreign error.
        """
        return self._told(child, read, args, self._call_timeout_s, proves=True)

    def exchange(self, child: ChildProcess, method: str, args: bytes, timeout_s: float | None = None) -> Reply:
        """Send one request to the child and return the reply.

        Raises:
            NotDeliveredError: The child never had it; the child is dropped.
            NoAnswerError: It may have had it; the child is dropped.
            InvariantError: The request is too long; nothing was sent.
        """
        limit_s = self._call_timeout_s if timeout_s is None else timeout_s
        self._number += 1
        try:
            frame = frame_of(Request(self._number, method, limit_s, msgspec.Raw(args)))
        except FrameError as error:
            msg = f"{method}: {error}; nothing was sent"
            raise InvariantError(msg) from error
        try:
            told = partial(self._on_carried, method)
            return child.exchange(self._number, frame, limit_s, on_carried=told)
        except (NotDeliveredError, NoAnswerError) as error:
            self.drop(child, f"{method}: {error}")
            raise

    def remember_offset(self, seen: SeenOffset) -> None:
        """Tell each new child how far the trade server's clock was seen to be ahead."""
        self._offset = seen

    def proved(self) -> None:
        """Note that the child works: its next failure is the first in a row."""
        self._in_a_row = 0

    def drop(self, child: ChildProcess, why: str) -> None:
        """Kill the child and count its failure; the first in a row is followed at once, the others after a pause."""
        child.kill()
        self._child = None
        self._failures += 1
        self._in_a_row += 1
        self._failure = why
        pause_s = 0.0 if self._in_a_row == 1 else min(FIRST_PAUSE_S * 2.0 ** (self._in_a_row - 2), LONGEST_PAUSE_S)
        self._rests_until_ns = self._now_ns() + int(pause_s * _NS)
        _log.warning("broker process dropped", pid=child.pid, why=why, failures=self._failures, pause_s=pause_s)

    def _start(self) -> ChildProcess:
        self._require_allowed()
        self.starts += 1
        self._verified = False
        child = ChildProcess(self._command, log=self._log_path)
        self._child = child
        try:
            reply = child.exchange(SETUP, self._setup, self._start_timeout_s)
        except (NotDeliveredError, NoAnswerError) as error:
            self.drop(child, f"start: {error}")
            msg = f"the broker's process did not start: {error}"
            raise BrokerUnavailableError(msg) from error
        if reply.error is not None:
            self.drop(child, f"start: {reply.error.message}")
            raise _error_of("the broker's factory", reply.error)
        _log.info("broker process started", pid=child.pid, starts=self.starts)
        return child

    def _require_allowed(self) -> None:
        if self._closed:
            msg = "the broker's worker is closed; nothing is asked any more"
            raise BrokerUnavailableError(msg)
        left_ns = 0 if self._rests_until_ns is None else self._rests_until_ns - self._now_ns()
        if left_ns > 0:
            msg = (
                f"the broker's process failed {self._in_a_row} times in a row ({self._failure}); it is started again "
                f"in {left_ns / _NS:.2f} s"
            )
            raise BrokerUnavailableError(msg)

    def _verify(self, child: ChildProcess) -> None:
        """Make sure of the account, and tell what the last child had learnt: what a library remembered died with it."""
        account = self._told(child, methods.ACCOUNT, (), self._start_timeout_s, proves=False)
        try:
            self._pin.check(account)
        except BrokerUnavailableError as error:
            self.drop(child, str(error))
            raise
        if self._offset is not None:
            self._told(child, methods.RECALL_OFFSET, (self._offset,), self._call_timeout_s, proves=False)
        self._verified = True

    def _told(self, child: ChildProcess, read: Read[T], args: tuple[Any, ...], timeout_s: float, *, proves: bool) -> T:
        try:
            asked = encode(args)
        except (TypeError, ValueError, OverflowError) as error:
            msg = f"{read.name}{args}: cannot be written ({error})"
            raise InvariantError(msg) from error
        try:
            reply = self.exchange(child, read.name, asked, timeout_s)
        except (NotDeliveredError, NoAnswerError) as error:
            msg = f"{read.name}: the broker's process: {error}"
            raise BrokerUnavailableError(msg) from error
        if reply.error is None:
            found = self._read(child, read, reply)
        if proves:
            self.proved()
        if reply.error is not None:
            raise _error_of(read.name, reply.error)
        return found

    def _read(self, child: ChildProcess, read: Read[T], reply: Reply) -> T:
        try:
            return read.result_of(reply.value)
        except (msgspec.DecodeError, DtmsError) as error:
            self.drop(child, f"{read.name}: the answer cannot be read ({error})")
            msg = f"{read.name}: the answer of the broker's process cannot be read ({error})"
            raise BrokerUnavailableError(msg) from error


def _error_of(what: str, wire: ErrorWire) -> DtmsError:
    """Return our own error, or say that a foreign one means that nothing was told."""
    ours = error_from_wire(wire)
    if ours is not None:
        return ours
    return BrokerUnavailableError(f"{what} failed in the broker's process with {wire.message}; see its log")

"""The parent's hold on one child process: exchanges one frame for one frame within a time, or kills it.

It knows two ways to fail and keeps them apart: the child cannot have had the whole request, or it may have.
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import msgspec
import structlog

from dtms.adapters.worker.frames import FrameError, Reply, read_frame, read_reply, write_frame
from dtms.private_files import open_to_append

GRACE_S: Final = 2.0
"""How long a child may take to end once it was told to, or killed."""

_EXIT_CODE_S: Final = 0.2
_LARGEST_LOG: Final = 1024 * 1024
"""A log beyond it is put aside when the next child starts; one older is kept."""

_log = structlog.get_logger("dtms.broker_worker")


class NotDeliveredError(Exception):
    """The child never had the whole request; it has done nothing."""


class NoAnswerError(Exception):
    """The child had the request, or may have, and there is no answer that can be believed."""


@dataclass(slots=True, eq=False)
class _Job:
    number: int
    frame: bytes
    on_carried: Callable[[str], None]
    done: threading.Event = field(default_factory=threading.Event)
    delivered: bool = False
    reply: Reply | None = None
    why: str = ""


class ChildProcess:
    """One child, from its start to its end; it is never started again. One exchange at a time.

    A thread of its own starts it, writes and reads: the kernel ends a child with the *thread* that started it, and a
    pipe has no time-out.

    Args:
        command: What to run; it speaks frames on stdin and stdout.
        log: Where its stderr goes; None leaves it on ours.
    """

    def __init__(self, command: Sequence[str], *, log: Path | None = None) -> None:
        self._command = tuple(command)
        self._log_path = log
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._over = ""
        self._thread = threading.Thread(target=self._live, name="dtms-broker-child", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The process id, None before it was started."""
        process = self._process
        return None if process is None else process.pid

    @property
    def has_ended(self) -> bool:
        """Say whether the process is gone."""
        process = self._process
        return self._over != "" or (process is not None and process.poll() is not None)

    def exchange(
        self, number: int, frame: bytes, timeout_s: float, *, on_carried: Callable[[str], None] = lambda _place: None
    ) -> Reply:
        """Write a request and return the reply to it; after a failure the child is killed.

        `on_carried` is called in another thread: with "sending" before anything is written, with "delivered" when the child
        has the whole request, with "answered" when its whole reply is there and nobody has looked at it.

        Raises:
            NotDeliveredError: The child never had the whole request.
            NoAnswerError: It did not answer in time, died, or answered something else.
        """
        job = _Job(number, frame, on_carried)
        with self._lock:
            if self._over:
                raise NotDeliveredError(self._over)
            self._jobs.put(job)
        try:
            in_time = job.done.wait(timeout_s)
        except BaseException:
            self.kill()  # whoever asked has gone: the answer would meet the next question
            raise
        if in_time and job.reply is not None:
            return job.reply
        self.kill()
        if not in_time:
            msg = f"it did not answer within {timeout_s} s and was killed"
            raise NoAnswerError(msg)
        raise (NoAnswerError if job.delivered else NotDeliveredError)(job.why)

    def kill(self) -> None:
        """End the child at once, whatever it does."""
        with self._lock:
            self._killed = True
            if self._process is not None:
                self._process.kill()
        self._jobs.put(None)

    def close(self) -> None:
        """Let the child end by itself; kill it where it does not. Blocks for both."""
        self._jobs.put(None)
        self._thread.join(GRACE_S)
        if self._thread.is_alive():
            self.kill()
            self._thread.join(GRACE_S)

    def _live(self) -> None:
        try:
            process = self._start()
        except OSError as error:
            self._end(f"it cannot be started: {error}")
            return
        with self._lock:
            self._process = process
            if self._killed:
                process.kill()
        source, sink = _fd(process.stdout), _fd(process.stdin)
        while (job := self._jobs.get()) is not None:
            _carry(job, source, sink)
            if job.reply is None:
                job.why += _exit_code(process)
            job.done.set()
            if job.reply is None:
                break
        self._end("it has ended")
        _reap(process)

    def _start(self) -> subprocess.Popen[bytes]:
        with _opened(self._log_path) as stderr:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and module, and no shell
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, bufsize=0
            )

    def _end(self, why: str) -> None:
        """Refuse what is waiting and whatever comes; none of it was written."""
        with self._lock:
            self._over = why
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    job.why = why
                    job.done.set()


def _carry(job: _Job, source: int, sink: int) -> None:
    """Write the request and read its reply; without one, `why` says what happened."""
    job.on_carried("sending")
    try:
        write_frame(sink, job.frame)
    except OSError as error:
        job.why = f"it takes no request ({error})"
        return
    job.delivered = True
    job.on_carried("delivered")
    try:
        body = read_frame(source)
        if body is None:
            job.why = "it ended instead of answering"
            return
        job.on_carried("answered")
        reply = read_reply(body)
    except (OSError, FrameError, msgspec.DecodeError) as error:
        job.why = f"its answer is broken ({error})"
        return
    if reply.number != job.number:
        job.why = f"it answered request {reply.number} when asked {job.number}"
        return
    job.reply = reply


def _exit_code(process: subprocess.Popen[bytes]) -> str:
    try:
        return f", exit code {process.wait(_EXIT_CODE_S)}"
    except subprocess.TimeoutExpired:
        return ""


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Close the request's stream, which ends a child that listens, and take leave of it; kill it where it does not end."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    for last_words in (process.kill, lambda: _log.error("a killed child does not end", pid=process.pid)):
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            last_words()


def _fd(stream: IO[bytes] | None) -> int:
    assert stream is not None, "both streams are pipes"  # noqa: S101 - narrows the type
    return stream.fileno()


@contextmanager
def _opened(path: Path | None) -> Iterator[int | None]:
    """Open the log; a disk that fails costs the log, never an order."""
    if path is None:
        yield None
        return
    try:
        if path.exists() and path.stat().st_size > _LARGEST_LOG:
            path.replace(path.with_name(f"{path.name}.1"))
        fd = open_to_append(path)
    except OSError as error:
        _log.warning("the broker's log cannot be written", path=str(path), error=repr(error))
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)

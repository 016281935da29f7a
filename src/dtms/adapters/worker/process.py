"""The parent's hold on one child process: exchanges one frame for one frame within a time, or kills it.

It knows two ways to fail and keeps them apart: the child cannot have had the whole request, or it may have.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from dtms.adapters.worker.frames import FrameError, Reply, read_frame, read_reply, write_frame

GRACE_S: Final = 2.0
"""How long a child may take to end once it was told or killed."""

_LARGEST_LOG: Final = 1024 * 1024
"""A log beyond it is put aside when the next child starts; one older is kept."""


class NotDeliveredError(Exception):
    """The child never had the whole request; it has done nothing."""


class NoAnswerError(Exception):
    """The child had the request, or may have, and there is no answer that can be believed."""


@dataclass(slots=True, eq=False)
class _Job:
    number: int
    frame: bytes
    done: threading.Event = field(default_factory=threading.Event)
    delivered: bool = False
    reply: Reply | None = None
    why: str = ""


class ChildProcess:
    """One child, from its start to its end; it is never started again.

    A thread of its own starts it, writes and reads: the kernel ends a child with the *thread* that started it, and a
    pipe has no time-out.

    Args:
        command: What to run; it speaks frames on stdin and stdout.
        log: Where its stderr goes; None leaves it on ours.
    """

    def __init__(self, command: Sequence[str], *, log: Path | None = None) -> None:
        self._command = tuple(command)
        self._log = log
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
        return None if self._process is None else self._process.pid

    @property
    def has_ended(self) -> bool:
        """Say whether the process is gone."""
        return self._over != "" or (self._process is not None and self._process.poll() is not None)

    def exchange(self, number: int, frame: bytes, timeout_s: float) -> Reply:
        """Write a request and return the reply to it. After a failure the child is killed.

        Raises:
            NotDeliveredError: The child never had the whole request.
            NoAnswerError: It did not answer in time, died, or answered something else.
        """
        job = _Job(number, frame)
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
        """Let the child end by itself, kill it where it does not."""
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
        while (job := self._jobs.get()) is not None:
            self._carry(job, process)
            if job.reply is None:
                break
        self._end("it has ended")
        _reap(process)

    def _start(self) -> subprocess.Popen[bytes]:
        with suppress_none(self._log) as stderr:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                **_APART,
            )

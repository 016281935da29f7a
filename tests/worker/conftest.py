"""A worker over the faulty broker, and the means to know without waiting that a fault has begun or a process ended."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
from tests.only_posix import os_

from dtms.adapters.worker import faulty
from dtms.adapters.worker.broker import BrokerWorker
from dtms.adapters.worker.faulty import Fault
from dtms.domain.action import Close
from dtms.domain.receipt import Receipt
from dtms.domain.units import Ticket
from dtms.errors import DtmsError
from dtms.platforms.processes import kill

T = TypeVar("T")

PATIENCE_S = 20.0
"""How long a test waits for what must happen; one that passes does not."""


class Call(Generic[T]):
    """A call in a thread of its own."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: list[T] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result.append(self._work())
        except DtmsError as error:
            self._error = error

    def result(self) -> T:
        """Wait for the end of the thread; return what the call returned, raise what it raised."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return self._result[0]


@dataclass
class Bench:
    """Workers over one folder of faults; `now_ns` is their clock."""

    folder: Path
    now_ns: int = 0
    made: list[BrokerWorker] = field(default_factory=list)

    def worker(self, factory: str = faulty.FACTORY, **options: Any) -> BrokerWorker:
        """Make a worker whose calls may take so long that only a hang is cut off, where the test does not say less."""
        args = options.pop("args", {"folder": str(self.folder)})
        limits = {"call_timeout_s": PATIENCE_S, "start_timeout_s": PATIENCE_S, "turn_timeout_s": PATIENCE_S}
        worker = BrokerWorker(factory, args, now_ns=lambda: self.now_ns, **{"log": self.log, **limits, **options})
        self.made.append(worker)
        return worker

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def arm(self, method: str, fault: Fault | type[DtmsError]) -> None:
        faulty.arm(self.folder, method, fault)

    def orders(self) -> list[str]:
        return faulty.orders(self.folder)

    def announce(self) -> Callable[[], str]:
        """Let faults announce themselves; the returned call waits for the next one."""
        pipe = self.folder / "reached"
        os_.mkfifo(pipe)
        fd = os.open(pipe, os.O_RDWR)  # for writing too: opening does not wait, and the stream does not end

        def wait() -> str:
            assert select.select([fd], [], [], PATIENCE_S)[0]
            return os.read(fd, 100).decode().strip()

        return wait

    def call(self, work: Callable[[], T]) -> Call[T]:
        return Call(work)

    def close(self, worker: BrokerWorker, tag: str = "t1") -> Receipt:
        """Send a close of the one position."""
        return worker.send(Close(ticket=Ticket(501)), position=faulty.position(), tag=tag)

    def pid(self, worker: BrokerWorker) -> int:
        pid = worker.report().pid
        assert pid is not None
        return pid

    def kill(self, worker: BrokerWorker) -> None:
        """Kill the present child from outside, and wait until it is gone."""
        pid = self.pid(worker)
        pidfd = os_.pidfd_open(pid)
        kill(pid)
        assert self.ended(pidfd)

    def ended(self, pidfd: int, timeout_s: float = PATIENCE_S) -> bool:
        """Say whether the process behind a pidfd ends in time."""
        gone = select.select([pidfd], [], [], timeout_s)[0] != []
        os.close(pidfd)
        return gone


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for worker in made.made:
        worker.close()

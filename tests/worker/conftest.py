"""A worker over the faulty broker, and the means to know without waiting that a fault has begun."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from dtms.adapters.worker import BrokerWorker, faulty

T = TypeVar("T")

PATIENCE_S = 20.0
"""How long a test waits for what must happen; a passing test never waits so long."""


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
        except Exception as error:
            self._error = error

    def result(self) -> T:
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
        """Make a worker; a call may take so long that only a hang reaches the limit, unless the test says less."""
        args = options.pop("args", {"folder": str(self.folder)})
        options = {"call_timeout_s": PATIENCE_S, "start_timeout_s": PATIENCE_S, "log": self.folder / "log", **options}
        worker = BrokerWorker(factory, args, now_ns=lambda: self.now_ns, **options)
        self.made.append(worker)
        return worker

    def arm(self, method: str, fault: Any) -> None:
        faulty.arm(self.folder, method, fault)

    def orders(self) -> list[str]:
        return faulty.orders(self.folder)

    def announce(self) -> Callable[[], str]:
        """Let faults announce themselves; the returned call waits for the next one."""
        pipe = self.folder / "reached"
        os.mkfifo(pipe)
        fd = os.open(pipe, os.O_RDWR)  # open for writing too: the stream never ends, and opening does not wait

        def wait() -> str:
            assert select.select([fd], [], [], PATIENCE_S)[0]
            return os.read(fd, 100).decode().strip()

        return wait


def pid_of(worker: BrokerWorker) -> int:
    pid = worker.report().pid
    assert pid is not None
    return pid


def ended(pidfd: int) -> bool:
    """Wait until the process behind a pidfd has ended, as long as patience lasts."""
    return bool(select.select([pidfd], [], [], PATIENCE_S)[0])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for worker in made.made:
        worker.close()


@pytest.fixture
def elapsed() -> Callable[[], float]:
    start = time.monotonic()
    return lambda: time.monotonic() - start

"""How late a loop beats while something else goes on: whether a hanging broker library can be felt outside of its process.

Absolute figures are the machine's; what counts is the same loop in the same run with and without the hang.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dtms.adapters.worker import faulty
from dtms.adapters.worker.broker import BrokerWorker
from dtms.adapters.worker.faulty import Fault
from dtms.errors import BrokerUnavailableError

BEAT_NS: Final = 10_000_000

_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Jitter:
    """How much later than planned the beats came."""

    beats: int
    p50_ns: int
    p99_ns: int
    max_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HangReport:
    """The beats of one process, calm and while its broker's child hung; `ended` is what the hanging call came to."""

    calm: Jitter
    hung: Jitter
    ended: str

    @property
    def ratio(self) -> float:
        """The p99 with the hang, in units of the p99 without."""
        return self.hung.p99_ns / max(self.calm.p99_ns, 1)


def _nothing() -> None:
    return


def measure_jitter(
    work: Callable[[], object], *, beat_ns: int = BEAT_NS, each: Callable[[], object] = _nothing
) -> Jitter:
    """Beat in a thread of its own while `work` runs here; each beat does `each`.

    The plan is fixed at the start: a freeze makes every beat that it swallowed late, not only the first one, and so does
    an `each` that is held up.
    """
    ended = threading.Event()
    started = threading.Event()
    late: list[int] = []
    loop = threading.Thread(target=_beat, args=(late, beat_ns, each, started, ended), name="beats")
    loop.start()
    started.wait()
    try:
        work()
    finally:
        ended.set()
        loop.join()
    ranked = sorted(late)
    return Jitter(
        beats=len(ranked),
        p50_ns=ranked[len(ranked) // 2],
        p99_ns=ranked[len(ranked) * 99 // 100],
        max_ns=ranked[-1],
    )


def _beat(
    late: list[int],
    beat_ns: int,
    each: Callable[[], object],
    started: threading.Event,
    ended: threading.Event,
) -> None:
    planned = time.monotonic_ns() + beat_ns
    started.set()
    while True:
        left = planned - time.monotonic_ns()
        if left > 0:
            time.sleep(left / _NS)
        late.append(max(0, time.monotonic_ns() - planned))
        each()
        planned += beat_ns
        if ended.is_set() and planned > time.monotonic_ns():
            return


def measure_hang(seconds: float) -> HangReport:
    """Measure the beats of this process for so many seconds twice: calm, and with a child that holds its own lock.

    The child is killed at the end of the second time.
    """
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        worker = BrokerWorker(
            faulty.FACTORY, {"folder": made}, now_ns=time.monotonic_ns, call_timeout_s=seconds, log=folder / "log"
        )
        try:
            worker.start()
            calm = measure_jitter(lambda: time.sleep(seconds))
            ended: list[str] = []
            faulty.arm(folder, "quote", Fault.HANG_BEFORE)
            hung = measure_jitter(lambda: ended.append(_ending(worker)))
        finally:
            worker.close()
    return HangReport(calm=calm, hung=hung, ended=ended[0])


def _ending(worker: BrokerWorker) -> str:
    try:
        return f"answered: {worker.quote(faulty.SYMBOL)}"
    except BrokerUnavailableError as error:
        return str(error)

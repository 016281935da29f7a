"""Times what needs no peer, in under a minute: `make bench-quick`. Medians of five after a warm-up; figures are printed, not asserted."""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dtms.adapters.sql import open_ledger
from dtms.core.batch import columns, score_rows
from dtms.domain.instrument import AssetClass
from dtms.domain.policy import RegimePolicy, ScorePolicy
from dtms.domain.records import EventKind
from dtms.domain.units import Millis
from dtms.settings import load_policy
from dtms_lab.simulate.entries import parse_entries
from dtms_lab.simulate.run import make_run
from dtms_lab.tapes.weather import make_tape

RUNS = 5


def median_s(work: Callable[[], object], runs: int = RUNS) -> float:
    """Return the median seconds of a piece of work, after one warm-up."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def simulate() -> str:
    tape = make_tape(1, 3)
    policies = load_policy()

    def work() -> None:
        make_run(tape, policies=policies, signals=parse_entries("sma-cross:20,50")).run()

    seconds = median_s(work, 3)
    return f"{len(tape.bars) / seconds:,.0f} M1 bars/s (goal: at least 1,000)"


def score_fold() -> str:
    tape = make_tape(2, 20)
    cols = columns(tape.bars, AssetClass.METAL)
    seconds = median_s(lambda: score_rows(cols, ScorePolicy(), RegimePolicy(), canonical="XAUUSD"))
    return f"{seconds / len(tape.bars) * 1e9:,.0f} ns an M1 bar (regime and six layers, both sides)"


def durable_commit() -> str:
    with tempfile.TemporaryDirectory() as folder:
        ledger = open_ledger(f"sqlite:///{Path(folder) / 'bench.sqlite3'}", account="bench:1", clock=lambda: Millis(0))

        def work() -> None:
            with ledger.write() as tx:
                tx.add_event(EventKind.ACTION, None, Millis(0), "{}")

        seconds = median_s(work, 200)
        ledger.close()
    return f"{seconds * 1e3:.2f} ms (SQLite, WAL and synchronous FULL)"


def help_start() -> str:
    seconds = median_s(
        lambda: subprocess.run([sys.executable, "-m", "dtms", "--help"], check=True, capture_output=True)
    )
    return f"{seconds:.2f} s (goal: at most 0.4 s)"


TABLE: tuple[tuple[str, Callable[[], str]], ...] = (
    ("P10 dtms simulate, generated weather", simulate),
    ("P1  score fold", score_fold),
    ("P6  one durable commit", durable_commit),
    ("P7  dtms --help", help_start),
)


def main() -> None:
    print(f"Python {platform.python_version()}, {platform.machine()}, {platform.system()}")
    for name, measure in TABLE:
        print(f"{name:40} {measure()}", flush=True)


if __name__ == "__main__":
    main()

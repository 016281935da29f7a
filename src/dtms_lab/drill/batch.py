"""Many seeds, in as many processes as there are: what comes out does not depend on how many."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from multiprocessing.queues import SimpleQueue

from dtms.core._jit import compile_all
from dtms_lab.drill.disk import MemoryDisk, NewDisk
from dtms_lab.drill.quiet import quietly, silence
from dtms_lab.drill.report import DrillReport, commit_of
from dtms_lab.drill.run import SeedResult, run_seed
from dtms_lab.drill.server_disk import ServerDisks, disks, own_databases

Told = Callable[[SeedResult], None]
"""Is told of each seed as it ends, in the order of the seeds."""


def _to_nobody(_result: SeedResult) -> None:
    pass


def run_drill(
    *,
    seeds: int,
    steps: int,
    first_seed: int = 0,
    jobs: int = 1,
    told: Told = _to_nobody,
    known: Mapping[int, SeedResult] | None = None,
    ledger_url: str | None = None,
) -> DrillReport:
    """Run `seeds` seeds from `first_seed` on, and return what they came to.

    Args:
        seeds: How many; at least 1.
        steps: Of each seed before it is healed; at least 1.
        first_seed: The first of them.
        jobs: Processes; with 1 everything runs in this one.
        told: Is told of each seed that was run now.
        known: Results of seeds that are not run again, of the same number of steps.
        ledger_url: A PostgreSQL server on which each process gets a database for its ledgers; memory without it.

    Raises:
        SettingsError: The URL is not a PostgreSQL server's, or the driver is missing.
        LedgerUnavailableError: The server cannot be reached or gives no right to make databases.
    """
    began = time.perf_counter()
    numbers = range(first_seed, first_seed + seeds)
    results = {seed: result for seed, result in (known or {}).items() if seed in numbers}
    left = tuple(seed for seed in numbers if seed not in results)
    with closing(_run(left, steps, min(jobs, len(left)), ledger_url)) as running:
        for result in running:
            told(result)
            results[result.seed] = result
    return DrillReport(
        steps=steps,
        first_seed=first_seed,
        results=tuple(results[seed] for seed in numbers),
        seconds=time.perf_counter() - began,
        commit=commit_of(),
    )


def _run(seeds: tuple[int, ...], steps: int, jobs: int, ledger_url: str | None) -> Generator[SeedResult]:
    if jobs <= 1:
        yield from _here(seeds, steps, ledger_url)
        return
    compile_all()  # once, before processes start that would all compile the same
    # A new interpreter each: one that was forked from a process with threads may stand still for ever.
    context = multiprocessing.get_context("spawn")
    with ExitStack() as ending:
        mine: SimpleQueue[str | None] = context.SimpleQueue()
        urls = (None,) * jobs if ledger_url is None else ending.enter_context(own_databases(ledger_url, jobs))
        for url in urls:
            mine.put(url)
        pool = ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=_begin, initargs=(mine,))
        with pool:
            yield from pool.map(partial(_on_mine, steps), seeds)


def _here(seeds: Iterable[int], steps: int, ledger_url: str | None) -> Iterator[SeedResult]:
    with quietly(), disks(ledger_url) as new_disk:
        for seed in seeds:
            yield run_seed(seed, steps, new_disk)


class _Mine:
    """What one process of many has for itself."""

    url: str | None = None
    new_disk: NewDisk | None = None


def _begin(urls: SimpleQueue[str | None]) -> None:
    silence()
    _Mine.url = urls.get()


def _on_mine(steps: int, seed: int) -> SeedResult:
    # Made with the first seed: what fails there is told to whoever waits for the result.
    if _Mine.new_disk is None:
        _Mine.new_disk = MemoryDisk if _Mine.url is None else ServerDisks(_Mine.url)
    return run_seed(seed, steps, _Mine.new_disk)

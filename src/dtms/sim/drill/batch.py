"""Many seeds, in as many processes as there are: what comes out does not depend on how many."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from dtms.core._jit import compile_all
from dtms.sim.drill.quiet import quietly, silence
from dtms.sim.drill.report import DrillReport, commit_of
from dtms.sim.drill.run import SeedResult, run_seed

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
) -> DrillReport:
    """Run `seeds` seeds from `first_seed` on, and return what they came to.

    Args:
        seeds: How many; at least 1.
        steps: Of each seed before it is healed; at least 1.
        first_seed: The first of them.
        jobs: Processes; with 1 everything runs in this one.
        told: Is told of each seed that was run now.
        known: Results of seeds that are not run again, of the same number of steps.
    """
    began = time.perf_counter()
    numbers = range(first_seed, first_seed + seeds)
    results = {seed: result for seed, result in (known or {}).items() if seed in numbers}
    for result in _run(tuple(seed for seed in numbers if seed not in results), steps, jobs):
        told(result)
        results[result.seed] = result
    return DrillReport(
        steps=steps,
        first_seed=first_seed,
        results=tuple(results[seed] for seed in numbers),
        seconds=time.perf_counter() - began,
        commit=commit_of(),
    )


def _run(seeds: tuple[int, ...], steps: int, jobs: int) -> Iterator[SeedResult]:
    one = partial(run_seed, steps=steps)
    if jobs <= 1 or len(seeds) <= 1:
        yield from _here(one, seeds)
        return
    compile_all()  # once, before processes start that would all compile the same
    # A new interpreter each: one that was forked from a process with threads may stand still for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context, initializer=silence) as pool:
        yield from pool.map(one, seeds)


def _here(one: Callable[[int], SeedResult], seeds: Iterable[int]) -> Iterator[SeedResult]:
    with quietly():
        for seed in seeds:
            yield one(seed)

"""`dtms drill restart`: what is run, by how many at a time, and the report."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from dtms.ports.crash import POINTS
from dtms_lab.restart.nursery import Nursery
from dtms_lab.restart.plans import USUAL, Target, crash_plan, dealt, doubled, everything, place_of, sampled
from dtms_lab.restart.postgres import NewDatabase, databases, why_not
from dtms_lab.restart.scenario import Outcome, run_killed
from dtms_lab.restart.site import SiteFailedError
from dtms_lab.restart.troubles import run_cut_off, run_frozen, run_overtaken, run_relentless

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
_NEW_FILE: Final = ""
"""No URL: a SQLite file in the run's own folder."""
_TRIES: Final = 2
"""A run that says nothing (a process did not come up in time on a busy machine) is made once more."""

Say = Callable[[str], None]
Run = Callable[[Nursery, str], Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for: so many points, or all with None; by `jobs` at a time; on which PostgreSQL server."""

    sample: int | None
    seed: int
    jobs: int
    ledger_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run: what it is called, what kind it is, on which ledger, and how it is made."""

    name: str
    kind: str
    ledger: str
    run: Run
    targets: tuple[Target, ...] = ()


@dataclass(slots=True)
class Report:
    """What all runs showed together."""

    seed: int
    not_run: dict[str, str] = field(default_factory=dict)
    """Ledgers that could not be drilled, with the reason."""
    results: list[tuple[Job, Outcome]] = field(default_factory=list)
    failed: list[tuple[Job, str]] = field(default_factory=list)
    """Runs that could not be made: they count as violations, for they show nothing."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Say whether every promise was kept in every run, and every run was made."""
        return not self.failed and not self.violations

    @property
    def violations(self) -> tuple[str, ...]:
        """Return every broken promise, with its run."""
        return tuple(f"{job.name}: {finding}" for job, outcome in self.results for finding in outcome.findings)

    @property
    def reached(self) -> frozenset[str]:
        """Return the points that were reached in any run."""
        return frozenset().union(*(outcome.reached for _job, outcome in self.results))

    def missed(self) -> tuple[str, ...]:
        """Return the targets that no process came to, so that nobody was killed there."""
        found = []
        for job, outcome in self.results:
            for number, target in enumerate(job.targets):
                if place_of(target, number) not in outcome.struck:
                    found.append(f"{target.point} in state {target.phase} on {job.ledger}")
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """Return the report as one JSON object."""
        groups = Counter(finding.group for _job, outcome in self.results for finding in outcome.findings)
        killed = [outcome.struck for job, outcome in self.results if job.kind == "kill"]
        struck = [point for each in killed for point in each.values()]
        applied = sum((Counter(outcome.applied) for _job, outcome in self.results), Counter())
        return {
            "points": len(self.reached),
            "runs": len(self.results),
            "failed_runs": [f"{job.name}: {reason}" for job, reason in self.failed],
            "kills": len(struck),
            "double_kills": sum(doubled(each) for each in killed),
            "struck_points": len(set(struck) & set(POINTS)),
            "missed": list(self.missed()),
            "lost": groups["lost"],
            "doubled": groups["doubled"],
            "unprotected": groups["unprotected"],
            "other": groups["other"],
            "violations": list(self.violations),
            "ledgers": {
                ledger: sum(job.ledger == ledger for job, _o in self.results) for ledger in (SQLITE, POSTGRESQL)
            },
            "not_run": self.not_run,
            "sigstop": self._of("sigstop"),
            "proxy": self._of("proxy"),
            "crash_loop": self._of("loop"),
            "applied": dict(sorted(applied.items())),
            "requests": {
                "made": sum(outcome.wishes[0] for _job, outcome in self.results),
                "answered": sum(outcome.wishes[1] for _job, outcome in self.results),
            },
            "not_reached": sorted(set(POINTS) - self.reached),
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
        }

    def _of(self, kind: str) -> dict[str, int]:
        mine = [outcome for job, outcome in self.results if job.kind == kind]
        return {"runs": len(mine), "violations": sum(len(outcome.findings) for outcome in mine)}

    def as_text(self) -> str:
        """Return the report for a person."""
        told = self.as_json()
        lines = [
            f"{told['runs']} runs in {told['seconds']:g} s, seed {self.seed}; by ledger: {told['ledgers']}",
            f"crash points reached: {told['points']}; killed at {told['struck_points']} of them, {told['kills']} kills",
            f"lost {told['lost']}, doubled {told['doubled']}, unprotected {told['unprotected']}, other {told['other']}",
            f"frozen gateway: {told['sigstop']}; bad links: {told['proxy']}; loop: {told['crash_loop']}",
            *(f"NOT RUN on {ledger}: {reason}" for ledger, reason in self.not_run.items()),
            *(f"NOT REACHED: {point}" for point in told["not_reached"]),
            *(f"MISSED: {target}" for target in told["missed"]),
            *(f"FAILED: {run}" for run in told["failed_runs"]),
            *(f"VIOLATION: {violation}" for violation in self.violations),
        ]
        return "\n".join(lines)


def drill(wanted: Wanted, *, say: Say) -> Report:
    """Run the drill.

    Raises:
        NurseryFailedError: No process can be started.
        SettingsError: The PostgreSQL server that was named cannot be used.
    """
    began = time.monotonic()
    report = Report(seed=wanted.seed)
    reason = why_not(wanted.ledger_url)
    with ExitStack() as stack:
        make: NewDatabase | None = None
        if reason:
            report.not_run[POSTGRESQL] = reason
            say(f"PostgreSQL is not drilled: {reason}")
        else:
            make = stack.enter_context(databases(wanted.ledger_url))
        _run_all(_jobs(wanted, postgres=make is not None), make, report, wanted.jobs, say)
        if wanted.sample is None:
            rare = sorted(report.reached - set(USUAL))
            _run_all(_kills(rare, wanted.seed, postgres=make is not None), make, report, wanted.jobs, say)
    report.seconds = time.monotonic() - began
    return report


def _jobs(wanted: Wanted, *, postgres: bool) -> tuple[Job, ...]:
    ledgers = (SQLITE, POSTGRESQL) if postgres else (SQLITE,)
    if wanted.sample is None:
        killing = _kills(USUAL, wanted.seed, postgres=postgres)
        links = [(ledger, number) for ledger in ledgers for number in range(3)]
    else:
        dealt_out = dealt(sampled(USUAL, wanted.sample, wanted.seed), wanted.seed)
        killing = tuple(_kill(ledgers[turn % len(ledgers)], targets, turn) for turn, targets in enumerate(dealt_out))
        links = [(SQLITE, 0)]
    relentless = [
        Job(
            name=f"{ledger} crash loop",
            kind="loop",
            ledger=ledger,
            run=lambda nursery, url: run_relentless(nursery, wanted.seed, ledger_url=url),
        )
        for ledger in (ledgers if wanted.sample is None else ledgers[:1])
    ]
    overtaken = Job(
        name="sigstop past the lease",
        kind="sigstop",
        ledger=POSTGRESQL,
        run=lambda nursery, url: run_overtaken(nursery, ledger_url=url),
    )
    return (
        *((overtaken,) if postgres else ()),
        *killing,
        *(_cut(ledger, wanted.seed + number) for ledger, number in links),
        *relentless,
        Job(
            name="sigstop", kind="sigstop", ledger=SQLITE, run=lambda nursery, url: run_frozen(nursery, ledger_url=url)
        ),
    )


def _kills(points: Sequence[str], seed: int, *, postgres: bool) -> tuple[Job, ...]:
    """Return the runs that strike each point in each state on each ledger."""
    ledgers = (SQLITE, POSTGRESQL) if postgres else (SQLITE,)
    kills = [(ledger, targets) for ledger in ledgers for targets in dealt(everything(points), seed)]
    return tuple(_kill(ledger, targets, turn) for turn, (ledger, targets) in enumerate(kills))


def _kill(ledger: str, targets: tuple[Target, ...], turn: int) -> Job:
    plan = crash_plan(targets, turn)
    name = f"{ledger} kill {turn} ({', '.join(target.point for target in targets)})"
    flatten = turn % 2 == 1
    return Job(
        name=name,
        kind="kill",
        ledger=ledger,
        run=lambda nursery, url: run_killed(nursery, plan, ledger_url=url, flatten=flatten),
        targets=targets,
    )


def _cut(ledger: str, seed: int) -> Job:
    return Job(
        name=f"{ledger} links {seed}",
        kind="proxy",
        ledger=ledger,
        run=lambda nursery, url: run_cut_off(nursery, seed, ledger_url=url),
    )


def _run_all(jobs: Sequence[Job], make: NewDatabase | None, report: Report, workers: int, say: Say) -> None:
    """Run the jobs by some workers, each with a nursery of its own; the report has them in their order."""
    if not jobs:
        return
    count = min(workers, len(jobs))
    done: dict[int, tuple[Outcome | None, str]] = {}
    lock = threading.Lock()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dr-n-")))
        nurseries: SimpleQueue[Nursery] = SimpleQueue()
        pool = stack.enter_context(ThreadPoolExecutor(count))

        def work(number: int) -> None:
            nursery = nurseries.get()
            try:
                outcome, reason = _tried(jobs[number], nursery, make)
            finally:
                nurseries.put(nursery)
            with lock:
                done[number] = (outcome, reason)
                say(_line(len(done), len(jobs), jobs[number], outcome, reason))

        for number in range(count):
            nurseries.put(stack.enter_context(Nursery(folder / f"{number}.log")))
        try:
            list(pool.map(work, range(len(jobs))))
        except BaseException:
            # Interrupted: what has not begun never begins, and what runs ends with its nursery.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for number, job in enumerate(jobs):
        outcome, reason = done[number]
        if outcome is None:
            report.failed.append((job, reason))
        else:
            report.results.append((job, outcome))


def _tried(job: Job, nursery: Nursery, make: NewDatabase | None) -> tuple[Outcome | None, str]:
    reason = ""
    for _try in range(_TRIES):
        url = make() if job.ledger == POSTGRESQL and make is not None else _NEW_FILE
        try:
            return job.run(nursery, url), ""
        except SiteFailedError as error:
            reason = str(error)
    return None, reason


def _line(number: int, of: int, job: Job, outcome: Outcome | None, reason: str) -> str:
    if outcome is None:
        return f"[{number}/{of}] {job.name}: FAILED: {reason}"
    broken = "kept every promise"
    if outcome.findings:
        broken = f"{len(outcome.findings)} BROKEN ({outcome.findings[0]}), all of it in {outcome.kept}"
    return f"[{number}/{of}] {job.name}: {len(outcome.struck)} struck, {broken}, {outcome.seconds:.0f} s"

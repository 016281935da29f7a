"""What `dtms drill simulate` does."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from dtms.errors import SettingsError
from dtms_lab.drill.batch import run_drill
from dtms_lab.drill.portions import SQLITE, append, appending, read_portions
from dtms_lab.drill.quiet import quietly
from dtms_lab.drill.report import DrillReport, commit_of
from dtms_lab.drill.run import SeedResult, run_plan
from dtms_lab.drill.server_disk import POSTGRESQL, disks, shown
from dtms_lab.drill.shrink import NO_TROUBLE, shrink
from dtms_lab.drill.swarm import make_plan
from dtms_lab.drill.trace import Tracer

Say = Callable[[str], None]
_SHRUNK: Final = 3
"""Failing seeds that are made smaller: each takes up to a minute."""
_OFTEN: Final = 50


def simulate_seeds(
    *,
    seeds: int,
    steps: int,
    first_seed: int,
    jobs: int,
    resume: Path | None,
    smaller: bool,
    say: Say,
    ledger_url: str | None = None,
) -> dict[str, Any]:
    """Run seeds and return the report; failing ones are made smaller and told as the command that repeats them.

    Raises:
        SettingsError: `resume` holds results of something else, or the URL is not a PostgreSQL server's.
        LedgerUnavailableError: The server cannot be reached.
    """
    again = _Again(steps, ledger_url)
    commit, ledger = commit_of(), again.ledger
    known = {} if resume is None else read_portions(resume, commit=commit, steps=steps, ledger=ledger)
    ended = 0

    def told(result: SeedResult) -> None:
        nonlocal ended
        ended += 1
        for found in result.violations:
            say(f"seed {result.seed}, step {found.step}: {found.law}: {found.detail}")
        if ended % _OFTEN == 0:
            say(f"{ended} seeds have ended")

    with ExitStack() as ending:
        kept = None
        if resume is not None:
            file = ending.enter_context(appending(resume, commit=commit, steps=steps, ledger=ledger))
            kept = partial(append, file)

        def each(result: SeedResult) -> None:
            told(result)
            if kept is not None:
                kept(result)

        report = run_drill(
            seeds=seeds,
            steps=steps,
            first_seed=first_seed,
            jobs=jobs,
            told=each,
            known=known,
            ledger_url=ledger_url,
        )
    answer = report.as_json() | {"ledger": ledger}
    answer["repeat"] = _smallest(report, again, say) if smaller else [again.plain(result) for result in report.failed]
    return answer


class _Again:
    """What repeats a seed of this drill."""

    def __init__(self, steps: int, ledger_url: str | None) -> None:
        self.steps = steps
        self.ledger_url = ledger_url
        self.ledger = SQLITE if ledger_url is None else POSTGRESQL
        self._on = "" if ledger_url is None else f" --ledger-url {shlex.quote(shown(ledger_url))}"

    def plain(self, result: SeedResult) -> str:
        return f"dtms drill simulate --seed {result.seed} --steps {self.steps}{self._on}"

    def smallest(self, result: SeedResult) -> str:
        with quietly(), disks(self.ledger_url) as new_disk:
            found = shrink(make_plan(result.seed, self.steps), partial(run_plan, new_disk=new_disk))
        return self.plain(result) if found is None else found.command + self._on


def _smallest(report: DrillReport, again: _Again, say: Say) -> list[str]:
    commands = []
    for number, result in enumerate(report.failed):
        command = again.plain(result)
        if number < _SHRUNK:
            say(f"looking for the smallest run in which seed {result.seed} breaks the same law ...")
            command = again.smallest(result)
        commands.append(command)
        say(f"repeat with: {command}")
    return commands


def repeat(seed: int, steps: int, only: tuple[str, ...], *, say: Say, ledger_url: str | None = None) -> dict[str, Any]:
    """Run one seed, tell what happened step by step, and return what it came to.

    Raises:
        SettingsError: A kind of trouble that is asked for is not in this seed, or the URL is not a PostgreSQL server's.
        LedgerUnavailableError: The server cannot be reached.
    """
    plan = make_plan(seed, steps)
    strange = [name for name in only if name not in (*plan.kinds, NO_TROUBLE)]
    if strange:
        msg = f"--only {strange[0]!r}: seed {seed} has no such trouble; it has {', '.join(plan.kinds)}"
        raise SettingsError(msg)
    if only:
        plan = plan.only(only)
    say(f"seed {seed}, {steps} steps: {', '.join(plan.symbols)}; {', '.join(plan.kinds) or 'no trouble'}")
    with quietly(), disks(ledger_url) as new_disk:
        result = run_plan(plan, Tracer(say), new_disk=new_disk)
    for found in result.violations:
        say(f"broken at step {found.step}: {found.law}: {found.detail}")
    say(f"trace hash {result.digest}")
    return {
        "seed": seed,
        "steps": steps,
        "kinds": list(plan.kinds),
        "violations": len(result.violations),
        "violated": [
            {"step": found.step, "at": found.at, "law": found.law, "words": found.detail} for found in result.violations
        ],
        "faults_by_kind": dict(sorted(result.faults.items())),
        "applied_operations": result.applied,
        "healed_ms": result.healed_ms,
        "trace_hash": result.digest,
        "commit": commit_of(),
    }

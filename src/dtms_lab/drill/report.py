"""What a drill came to, as one JSON object; the keys are a contract with whoever reads it."""

from __future__ import annotations

import hashlib
import statistics
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dtms.adapters.mt5.retcodes import RETCODES
from dtms.domain.action import ActionKind
from dtms.domain.transitions import ROWS
from dtms.domain.units import SECOND
from dtms_lab.drill.broker_faults import UNKNOWN_CODE
from dtms_lab.drill.run import SeedResult

HEALING_MS: Final = 60 * SECOND
"""So soon after the last trouble everything must have come to rest (reliability.md section 1, rule 9)."""

DECLARED_RETCODES: Final[tuple[int, ...]] = (*sorted(RETCODES), UNKNOWN_CODE)
"""Every code of the trade server that has a meaning, and one that has none."""

OPENINGS: Final = (ActionKind.OPEN.value, ActionKind.HEDGE.value, ActionKind.RE_ADD.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillReport:
    """The results of seeds that follow each other."""

    steps: int
    first_seed: int
    """The seeds follow each other from this one on."""
    results: tuple[SeedResult, ...]
    seconds: float
    commit: str

    @property
    def failed(self) -> tuple[SeedResult, ...]:
        """Return the seeds in which a law was broken."""
        return tuple(result for result in self.results if result.violations)

    @property
    def trace_hash(self) -> str:
        """Return the hash over what happened in all seeds, in their order."""
        made = hashlib.sha256()
        for result in self.results:
            made.update(result.digest.encode())
        return made.hexdigest()

    def as_json(self) -> dict[str, Any]:
        """Return the report."""
        results = self.results
        faults = _sum(result.faults for result in results)
        applied = [result.applied for result in results]
        healed = [result.healed_ms for result in results if not result.violations]
        return {
            "seeds": len(results),
            "steps": self.steps,
            "first_seed": self.first_seed,
            "violations": sum(len(result.violations) for result in results),
            "violated": [
                {"seed": result.seed, "step": found.step, "at": found.at, "law": found.law, "words": found.detail}
                for result in self.failed
                for found in result.violations
            ],
            "faults_injected": faults.total(),
            "faults_by_kind": dict(sorted(faults.items())),
            "applied_operations": statistics.median(applied),
            "applied_operations_spread": {"min": min(applied), "max": max(applied), "total": sum(applied)},
            "intents": sum(result.intents for result in results),
            "transitions_covered": _covered(_sum(result.transitions for result in results), tuple(ROWS)),
            "retcodes_covered": _covered(_sum(result.retcodes for result in results), DECLARED_RETCODES),
            **_undecided(results),
            "converged": sum(ms <= HEALING_MS for ms in healed),
            "slow_to_heal": {str(r.seed): r.healed_ms for r in results if r.healed_ms > HEALING_MS},
            "healed_ms": {"median": statistics.median(healed or [0]), "max": max(healed, default=0)},
            "places": len(_sum(result.places for result in results)),
            "trace_hash": self.trace_hash,
            "seconds": round(self.seconds, 2),
            "ms_a_step": round(1_000 * self.seconds / max(1, sum(result.steps for result in results)), 3),
            "commit": self.commit,
        }


def _sum(counts: Iterable[Mapping[Any, int]]) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for count in counts:
        total.update(count)
    return total


def _covered(counts: Mapping[Any, int], declared: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "covered": sum(counts.get(name, 0) > 0 for name in declared),
        "declared": len(declared),
        "missing": [name for name in declared if not counts.get(name)],
        "counts": {str(name): counts.get(name, 0) for name in declared},
    }


def _undecided(results: tuple[SeedResult, ...]) -> dict[str, Any]:
    """Return how many intents were ever unknown and how many an operator has to decide.

    Openings count apart: no software can tell whether one that left without an answer will still be applied.
    """
    unknown, quarantined = _sum(r.unknown for r in results), _sum(r.quarantined for r in results)
    others = unknown.total() - sum(unknown[kind] for kind in OPENINGS)
    left = quarantined.total() - sum(quarantined[kind] for kind in OPENINGS)
    return {
        "unknown": unknown.total(),
        "quarantined": quarantined.total(),
        "unknown_by_kind": dict(sorted(unknown.items())),
        "quarantined_by_kind": dict(sorted(quarantined.items())),
        "quarantined_share_without_openings": round(left / others, 5) if others else 0.0,
    }


def commit_of() -> str:
    """Return the commit of the source that runs, with "-dirty" where it was changed; "" outside of a checkout."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if commit and changed else commit


def _git(*words: str) -> str:
    here = str(Path(__file__).resolve().parent)
    try:
        answer = subprocess.run(  # noqa: S603 - fixed commands that write nothing
            ["git", "-C", here, "--no-optional-locks", *words],  # noqa: S607 - as the user has it
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""

"""The smallest plan that still breaks the same law: fewer steps, and fewer kinds of trouble."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dtms_lab.drill.run import SeedResult, run_plan
from dtms_lab.drill.swarm import SeedPlan

Run = Callable[[SeedPlan], SeedResult]
NO_TROUBLE: Final = "none"
"""The word for a plan without any trouble."""
_MOST_RUNS: Final = 160
"""Of one seed: about a minute."""


@dataclass(slots=True)
class _Search:
    """One search; what was tried counts, so that it ends."""

    law: str
    run: Run
    left: int = _MOST_RUNS

    def breaks(self, plan: SeedPlan) -> SeedResult | None:
        """Return the result of a plan that still breaks the law, else None."""
        if self.left <= 0:
            return None
        self.left -= 1
        result = self.run(plan)
        same = result.violations and result.violations[0].law == self.law
        return result if same else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """A plan that cannot be made smaller by what was tried, and what it comes to."""

    plan: SeedPlan
    result: SeedResult

    @property
    def command(self) -> str:
        """Return what repeats it at the same commit."""
        left = "".join(f' --only "{name}"' for name in self.plan.kinds or (NO_TROUBLE,))
        return f"dtms drill simulate --seed {self.plan.seed} --steps {self.plan.steps}{left}"


def shrink(plan: SeedPlan, run: Run = run_plan) -> Shrunk | None:
    """Return the smallest plan that breaks the first law which `plan` breaks; None where it breaks none."""
    result = run(plan)
    if not result.violations:
        return None
    search = _Search(result.violations[0].law, run)
    plan, result = _shorter(plan, result, search)
    plan, result = _leaner(plan, result, search)
    plan, result = _shorter(plan, result, search)
    return Shrunk(plan=plan, result=result)


def _leaner(plan: SeedPlan, result: SeedResult, search: _Search) -> tuple[SeedPlan, SeedResult]:
    """Leave kinds of trouble out, half of them at a time, then a quarter, at last each one."""
    size = max(1, len(plan.kinds) // 2)
    while True:
        kinds, dropped = plan.kinds, False
        for start in range(0, len(kinds), size):
            smaller = plan.only([name for name in plan.kinds if name not in kinds[start : start + size]])
            found = search.breaks(smaller)
            if found is not None:
                plan, result, dropped = smaller, found, True
        if size == 1 and not dropped:
            return plan, result
        size = max(1, size // 2)


def _shorter(plan: SeedPlan, result: SeedResult, search: _Search) -> tuple[SeedPlan, SeedResult]:
    """Cut off what comes after the violation, then halve what is left as long as it breaks the law."""
    step = result.violations[0].step
    if step < plan.steps:
        cut = plan.shortened(step)
        found = search.breaks(cut)
        if found is not None:
            return cut, found  # it broke in trouble: one step less and it has not happened
    low, high = 0, plan.steps
    while high - low > 1:
        middle = (low + high) // 2
        found = search.breaks(plan.shortened(middle))
        if found is None:
            low = middle
        else:
            plan, result, high = plan.shortened(middle), found, middle
    return plan, result

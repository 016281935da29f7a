"""Shrinking keeps what a violation needs and nothing else; the trace tells what happened."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.drill.planted import planted, retry_on_time_out

from dtms.domain.units import Millis
from dtms.errors import SettingsError
from dtms_lab.drill.command import repeat
from dtms_lab.drill.kinds import Kind
from dtms_lab.drill.record import Violation
from dtms_lab.drill.run import SeedResult, run_seed
from dtms_lab.drill.shrink import shrink
from dtms_lab.drill.swarm import SeedPlan, make_plan


def _rich_plan() -> SeedPlan:
    """Return a plan in which races are among many kinds of trouble."""
    return next(plan for plan in (make_plan(seed, 400) for seed in range(100)) if Kind.RACE in plan.rates)


def _breaks_with_races(plan: SeedPlan) -> SeedResult:
    """Stand in for a run whose law breaks at step 37 as soon as there are races."""
    broken = Kind.RACE in plan.rates and plan.steps >= 37
    found = (Violation(law="I1 exactly once", step=37, at=Millis(0), detail="twice"),) if broken else ()
    return replace(_NOTHING, seed=plan.seed, steps=plan.steps, violations=found)


_NOTHING = SeedResult(
    seed=0,
    steps=0,
    violations=(),
    faults={},
    applied=0,
    intents=0,
    transitions={},
    retcodes={},
    unknown={},
    quarantined={},
    places={},
    healed_ms=0,
    digest="",
)


def test_shrinking_leaves_the_one_kind_that_breaks_the_law() -> None:
    plan = _rich_plan()
    found = shrink(plan, _breaks_with_races)
    assert found is not None
    assert found.plan.kinds == (Kind.RACE.value,)
    assert found.plan.steps == 37
    assert found.command == f'dtms drill simulate --seed {plan.seed} --steps 37 --only "process: race"'


def test_a_plan_that_breaks_nothing_is_not_shrunk() -> None:
    assert shrink(_rich_plan().without(Kind.RACE), _breaks_with_races) is None


def test_the_shrunk_command_repeats_the_violation() -> None:
    with planted(retry_on_time_out):
        failing = next(seed for seed in range(8_000, 8_040) if run_seed(seed, 200).violations)
        found = shrink(make_plan(failing, 200))
        assert found is not None
        assert len(found.plan.kinds) < len(make_plan(failing, 200).kinds)
        again = repeat(failing, found.plan.steps, found.plan.kinds, say=lambda _line: None)
    assert again["violations"] >= 1
    assert again["violated"][0]["law"] == found.result.violations[0].law


def test_a_kind_that_a_seed_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="the moon"):
        repeat(1, 10, ("the moon",), say=lambda _line: None)


def test_the_trace_tells_each_operation_at_the_broker() -> None:
    said: list[str] = []
    report = repeat(3, 60, (), say=said.append)
    told = [line for line in said if " broker   " in line]
    assert len([line for line in told if "tag none" not in line]) >= report["applied_operations"] > 0
    assert said[-1] == f"trace hash {report['trace_hash']}"

"""A hundred seeds of four hundred steps: no law breaks but those that are known to, and the trouble is really there."""

from __future__ import annotations

from typing import Any

import pytest

from dtms_lab.drill.batch import run_drill
from dtms_lab.drill.broker_faults import fault_names
from dtms_lab.drill.kinds import Kind
from dtms_lab.drill.report import OPENINGS

pytestmark = pytest.mark.long

_SEEDS = 100
_STEPS = 400
_FIRST = 1_000
_MAY_MISS = 4
"""In a fifth of the seeds that the full coverage is asked of (500 by `dtms drill simulate`)."""


_OPEN = {1028: "I6 ratchet"}
"""Seeds in which a law is known to break, with the law: not mended yet. One that is mended must leave this list."""


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return run_drill(seeds=_SEEDS, steps=_STEPS, first_seed=_FIRST).as_json()


def test_no_law_is_broken_that_is_not_known_to_be(report: dict[str, Any]) -> None:
    assert {each["seed"]: each["law"] for each in report["violated"]} == _OPEN
    assert report["seeds"] == _SEEDS


def test_seeds_are_no_empty_worlds(report: dict[str, Any]) -> None:
    assert report["applied_operations"] > 20
    assert report["faults_injected"] > 50 * _SEEDS
    assert report["unknown"] > _SEEDS


def test_nearly_every_kind_of_trouble_strikes(report: dict[str, Any]) -> None:
    kinds = (*(kind.value for kind in Kind), *fault_names())
    missing = [name for name in kinds if not report["faults_by_kind"].get(name)]
    assert len(missing) <= _MAY_MISS, missing
    assert set(report["faults_by_kind"]) <= set(kinds)


def test_nearly_every_transition_and_code_is_met(report: dict[str, Any]) -> None:
    assert len(report["transitions_covered"]["missing"]) <= 2, report["transitions_covered"]["missing"]
    assert len(report["retcodes_covered"]["missing"]) <= 2, report["retcodes_covered"]["missing"]


def test_hardly_anything_but_openings_is_left_to_the_operator(report: dict[str, Any]) -> None:
    left = {kind: count for kind, count in report["quarantined_by_kind"].items() if kind not in OPENINGS}
    assert sum(left.values()) <= 2, left


def test_every_seed_comes_to_rest_within_a_minute_of_the_last_trouble(report: dict[str, Any]) -> None:
    """What has to be waited for is not counted: a market's opening, its spread after it, the instant of a parked step."""
    assert report["slow_to_heal"] == {}
    assert report["converged"] == _SEEDS - len(_OPEN)

"""The page on reliability claims only what exists: every test that it names, every fault, every file that it links to."""

from __future__ import annotations

import ast
import os
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tests.scenarios.laws import INVARIANTS, ROOT, laws_of_the_drill
from tests.scenarios.page import PAGE, REGISTER, counted, render, render_register
from tests.scenarios.scenario import Scenario
from tests.scenarios.table import SCENARIOS

from dtms_lab.drill.kinds import Kind
from dtms_lab.drill.swarm import make_plan

CI_SEEDS = range(1_000, 1_100)
"""The seeds of tests/drill/test_seeds.py, which counts what really strikes."""
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=[f"{each.number}" for each in SCENARIOS])


@pytest.mark.parametrize(("page", "made"), [(PAGE, render), (REGISTER, render_register)], ids=["page", "register"])
def test_the_pages_are_what_the_tables_say_now(page: Path, made: Callable[[], str]) -> None:
    if os.environ.get("DTMS_WRITE_DOCS") == "1":
        page.write_text(made(), encoding="utf-8")
    assert page.read_text(encoding="utf-8") == made()


def test_every_scenario_stands_there_once_and_in_order() -> None:
    assert [each.number for each in SCENARIOS] == list(range(1, 71))


@each_scenario
def test_a_scenario_is_shown_by_something_or_says_why_not(scenario: Scenario) -> None:
    assert scenario.shown or scenario.later
    assert "|" not in scenario.words + scenario.later
    assert "\n" not in scenario.words + scenario.later
    assert len(set(scenario.tests)) == len(scenario.tests)


@cache
def _names(file: str) -> frozenset[str]:
    """Return what pytest would collect from a file: its test functions, and the cases of its state machines."""
    body = ast.parse((ROOT / file).read_text("utf-8")).body
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    assigned = {
        target.id
        for node in body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return frozenset(name for name in functions | assigned if name.lower().startswith("test"))


def _missing(tests: tuple[str, ...]) -> list[str]:
    pairs = [test.split("::", 1) for test in tests]
    return [f"{file}::{name}" for file, name in pairs if not (ROOT / file).is_file() or name not in _names(file)]


@each_scenario
def test_every_named_test_exists(scenario: Scenario) -> None:
    assert _missing(scenario.tests) == []


def test_every_test_of_an_invariant_exists() -> None:
    assert [name for each in INVARIANTS for name in _missing(each.tests)] == []


def test_every_invariant_is_checked_and_every_law_of_the_drill_belongs_to_one() -> None:
    laws = laws_of_the_drill()
    assert [each.number for each in INVARIANTS] == list(range(1, 20))
    assert set(laws) <= set(range(1, 20))
    assert [each.number for each in INVARIANTS if each.number not in laws and not each.tests] == []


@cache
def _drawn() -> Counter[str]:
    """Return how many of the seeds that CI runs have each kind of trouble."""
    return Counter(name for seed in CI_SEEDS for name in set(make_plan(seed, 400).kinds))


@each_scenario
def test_every_named_fault_exists_and_is_drawn_by_the_seeds_of_the_drill(scenario: Scenario) -> None:
    drawn = _drawn()
    assert [kind for kind in scenario.kinds if drawn[kind] == 0] == []


def test_every_kind_of_the_drill_stands_for_a_scenario() -> None:
    named = {kind for each in SCENARIOS for kind in each.kinds}
    beside = {Kind.READS_CUT, Kind.FEED_GAP, Kind.HAND_HEDGE_CLOSED, Kind.RELEASE}
    beside |= {Kind.SLOW_CALL, Kind.MONEY, Kind.OUR_MAGIC}
    assert {kind.value for kind in Kind} - named == {kind.value for kind in beside}


def test_every_file_that_a_page_links_to_exists() -> None:
    targets = set(re.findall(r"\]\(([^)#]+)\)", render() + render_register()))
    assert sorted(target for target in targets if not (PAGE.parent / target).resolve().is_file()) == []


def test_the_page_counts_what_it_shows() -> None:
    whole, part, none = counted()
    assert (whole + part + none, none) == (70, 5)
    assert Path(PAGE).name == "reliability.md"

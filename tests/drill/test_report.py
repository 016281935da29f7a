"""The report of a drill: its keys, its sums, and that nothing of it depends on how many processes ran it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dtms.domain.transitions import ROWS
from dtms.errors import SettingsError
from dtms_lab.drill.batch import run_drill
from dtms_lab.drill.command import simulate_seeds
from dtms_lab.drill.portions import append, appending, read_portions
from dtms_lab.drill.report import DECLARED_RETCODES, DrillReport
from dtms_lab.drill.run import SeedResult, run_seed

_STEPS = 60
_FIRST = 500


@pytest.fixture(scope="module")
def alone() -> DrillReport:
    return run_drill(seeds=4, steps=_STEPS, first_seed=_FIRST, jobs=1)


def test_the_report_has_the_documented_keys(alone: DrillReport) -> None:
    report = json.loads(json.dumps(alone.as_json(), allow_nan=False))
    assert report["seeds"] == 4
    assert report["steps"] == _STEPS
    assert report["first_seed"] == _FIRST
    assert report["violations"] == len(report["violated"]) == 0
    assert report["faults_injected"] == sum(report["faults_by_kind"].values()) > 0
    assert isinstance(report["applied_operations"], int | float)
    assert report["converged"] == 4
    for key, declared in (("transitions_covered", len(ROWS)), ("retcodes_covered", len(DECLARED_RETCODES))):
        covered = report[key]
        assert covered["declared"] == declared == covered["covered"] + len(covered["missing"])
    assert {"unknown", "quarantined", "trace_hash", "seconds", "commit", "intents"} <= report.keys()


def test_two_processes_give_what_one_gives(alone: DrillReport) -> None:
    shared = run_drill(seeds=4, steps=_STEPS, first_seed=_FIRST, jobs=2)
    assert shared.trace_hash == alone.trace_hash
    assert shared.results == alone.results


def test_a_seed_that_runs_twice_leaves_the_same_trace(alone: DrillReport) -> None:
    assert run_seed(_FIRST, _STEPS) == alone.results[0]


def test_another_seed_leaves_another_trace(alone: DrillReport) -> None:
    assert len({result.digest for result in alone.results}) == 4


def test_a_drill_goes_on_where_it_was_stopped(tmp_path: Path, alone: DrillReport) -> None:
    file = tmp_path / "hour.jsonl"
    said: list[str] = []
    begun = simulate_seeds(
        seeds=2, steps=_STEPS, first_seed=_FIRST, jobs=1, resume=file, smaller=False, say=said.append
    )
    torn = file.read_bytes()[:-20]
    file.write_bytes(torn)  # the process was killed while it wrote the last line
    whole = simulate_seeds(
        seeds=4, steps=_STEPS, first_seed=_FIRST, jobs=1, resume=file, smaller=False, say=said.append
    )
    assert begun["seeds"] == 2
    assert whole["trace_hash"] == alone.trace_hash
    assert whole["intents"] == alone.as_json()["intents"]


def test_results_of_another_commit_are_refused(tmp_path: Path, alone: DrillReport) -> None:
    file = tmp_path / "hour.jsonl"
    with appending(file, commit="aaa", steps=_STEPS) as kept:
        append(kept, alone.results[0])
    with pytest.raises(SettingsError, match="name another file"):
        read_portions(file, commit="bbb", steps=_STEPS)
    with pytest.raises(SettingsError, match="name another file"):
        read_portions(file, commit="aaa", steps=_STEPS + 1)
    assert read_portions(file, commit="aaa", steps=_STEPS) == {_FIRST: alone.results[0]}


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a drill\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="holds no results of a drill"):
        read_portions(file, commit="aaa", steps=_STEPS)


def test_a_result_survives_being_written_down(tmp_path: Path, alone: DrillReport) -> None:
    file = tmp_path / "hour.jsonl"
    with appending(file, commit="aaa", steps=_STEPS) as kept:
        for result in alone.results:
            append(kept, result)
    found: dict[int, SeedResult] = read_portions(file, commit="aaa", steps=_STEPS)
    assert tuple(found.values()) == alone.results

"""The tape that the product ships shows every row of the transition table, often enough to be looked at."""

from __future__ import annotations

from typing import Any

import pytest

from dtms.settings import load_policy
from dtms_lab.simulate.entries import parse_entries
from dtms_lab.simulate.report import report_of
from dtms_lab.simulate.run import findings, make_run
from dtms_lab.tapes.weather import shipped_tape

pytestmark = [pytest.mark.tapes, pytest.mark.xdist_group("shipped-tape")]

TABLE = {
    "HEALTHY > WARNING_L1": ("healthy_to_l1",),
    "HEALTHY > WARNING_L2": ("healthy_to_l2",),
    "WARNING_L1 > HEALTHY": ("l1_to_healthy", "l1_timeout"),
    "WARNING_L1 > WARNING_L2": ("l1_to_l2",),
    "WARNING_L2 > WARNING_L1": ("l2_to_l1", "l2_timeout"),
    "WARNING_L2 > HEDGED": ("l2_to_hedged",),
    "HEDGED > RECOVERING": ("hedged_to_recovering", "hedged_before_close_recovering"),
    "HEDGED > CLOSED": ("hedged_timeout", "hedged_before_close"),
    "HEDGED > WARNING_L2": ("hedge_gone",),
    "RECOVERING > HEALTHY": ("recovering_to_healthy",),
    "RECOVERING > WARNING_L2": ("recovering_to_l2",),
    "RECOVERING > CLOSED": ("recovering_timeout",),
    "change of character > CLOSED": ("character_warning_l2", "character_hedged", "character_recovering"),
    "gone > CLOSED": ("gone_healthy", "gone_warning_l1", "gone_warning_l2", "gone_hedged", "gone_recovering"),
}
"""The rows of behaviour.md section 4, by the names of our table."""


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    run = make_run(shipped_tape(), policies=load_policy(), signals=parse_entries("every:30,12"))
    run.run()
    return report_of(findings(run))


def test_every_state_is_visited(report: dict[str, Any]) -> None:
    states = ["CLOSED", "HEALTHY", "HEDGED", "RECOVERING", "WARNING_L1", "WARNING_L2"]
    assert report["states_visited"] == states


def test_every_row_of_the_table_happens_at_least_three_times(report: dict[str, Any]) -> None:
    print(report["rows"])
    counted = {row: sum(report["rows"].get(name, 0) for name in names) for row, names in TABLE.items()}
    assert {row: count for row, count in counted.items() if count < 3} == {}


def test_no_law_is_broken_while_everything_happens(report: dict[str, Any]) -> None:
    assert report["violations"] == []
    assert report["naked_ms_max"] == 0

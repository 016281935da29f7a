"""What the issue asks of the shipped policy on real market data, each line of it a test."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from dtms.core.layout import BRANCHES
from dtms.domain.score import Layer

pytestmark = [pytest.mark.tapes, pytest.mark.xdist_group("recorded-tapes")]

Reports = dict[str, dict[str, Any]]

KEYS = {
    "bars", "trades", "closed", "transitions", "actions", "refusals", "deferrals", "fallbacks", "naked_ms_max",
    "invariant_violations", "net_profit", "unmanaged_net_profit", "expectancy_r", "cost_r", "managed_minus_unmanaged_r",
    "stopped_within_30min_of_l1", "layers", "branches", "states_visited", "score", "assumptions", "verdict_hash",
}  # fmt: skip


def test_every_report_has_the_keys_that_were_promised(reports: Reports) -> None:
    for report in reports.values():
        assert set(report) >= KEYS


def test_no_law_is_broken_on_any_tape(reports: Reports) -> None:
    assert [report["violations"] for report in reports.values()] == [[]] * len(reports)


def test_no_managed_position_is_ever_without_its_stop(reports: Reports) -> None:
    assert {name: report["naked_ms_max"] for name, report in reports.items()} == dict.fromkeys(reports, 0)


def test_the_defensive_states_are_visited_and_named_by_trade(reports: Reports) -> None:
    visited = {state for report in reports.values() for state in report["states_visited"]}
    assert visited >= {"HEALTHY", "WARNING_L1", "WARNING_L2", "HEDGED"}
    hedged = [ids for report in reports.values() for row, ids in report["rows_trades"].items() if row == "l2_to_hedged"]
    assert sum(len(ids) for ids in hedged) >= 1


def test_every_entry_is_taken_under_management(reports: Reports) -> None:
    assert [report["entries_refused"] for report in reports.values()] == [[]] * len(reports)
    assert all(report["trades"] >= 30 for report in reports.values())


def test_each_branch_of_each_available_layer_fires_on_the_tapes_together(reports: Reports) -> None:
    fired: Counter[str] = Counter()
    for report in reports.values():
        fired.update(report["branches"])
    needed = [f"{layer.value}.{branch}" for layer in Layer if layer is not Layer.DELTA for branch in BRANCHES[layer]]
    rare = {branch: fired[branch] for branch in needed if fired[branch] < 20}
    assert rare == {}


def test_each_available_layer_speaks_neither_never_nor_always(reports: Reports) -> None:
    for name, report in reports.items():
        for layer, seen in report["layers"].items():
            if seen["available"] > 0:
                assert 0.01 <= seen["non_zero"] <= 0.85, (name, layer, seen)


def test_the_share_of_bad_scores_is_inside_its_bands(reports: Reports) -> None:
    for name, report in reports.items():
        score = report["score"]
        assert 0.12 <= score["le_-2"] <= 0.32, (name, score)
        assert 0.01 <= score["le_-4"] <= 0.13, (name, score)
        assert 0.0 <= score["le_-6"] <= 0.04, (name, score)


def test_no_rail_refused_everything_it_saw(reports: Reports) -> None:
    seen: Counter[str] = Counter()
    let: Counter[str] = Counter()
    for report in reports.values():
        for rail, counts in report["rails"].items():
            seen[rail] += counts["let"] + counts["denied"]
            let[rail] += counts["let"]
    assert seen
    assert [rail for rail in seen if let[rail] == 0] == []


def test_the_cost_of_managing_is_printed_with_its_interval(reports: Reports) -> None:
    for name, report in reports.items():
        interval = report["managed_minus_unmanaged_r"]
        assert interval["low"] <= interval["mean"] <= interval["high"], name

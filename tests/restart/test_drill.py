"""A sample of `dtms drill restart` as anybody runs it: real processes over both ledgers, killed, frozen and cut off."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from dtms.ports.crash import POINTS

GUARDED = frozenset(
    {
        "api.committed.exit_book",
        "api.committed.plan",
        "api.committed.reply",
        "api.committing.exit_book",
        "api.committing.plan",
        "api.committing.reply",
        "api.started",
        "api.starting",
        "gateway.acked",
        "gateway.answered",
        "gateway.before_claim",
        "gateway.before_conclude",
        "gateway.before_send",
        "gateway.claimed",
        "gateway.committed.ack",
        "gateway.committed.claim",
        "gateway.committed.conclude",
        "gateway.committed.unknown",
        "gateway.committing.ack",
        "gateway.committing.claim",
        "gateway.committing.conclude",
        "gateway.committing.unknown",
        "gateway.concluded",
        "gateway.delivered",
        "gateway.recovered",
        "gateway.recovering",
        "gateway.sending",
        "gateway.sent",
        "gateway.starting",
        "gateway.unknown",
        "server.before_decision",
        "server.committed.fact",
        "server.committed.market",
        "server.committed.plan",
        "server.committed.register",
        "server.committed.trade",
        "server.committing.fact",
        "server.committing.market",
        "server.committing.plan",
        "server.committing.register",
        "server.committing.trade",
        "server.decided",
        "server.recovered",
        "server.recovering",
        "server.starting",
    }
)
"""The crash points that there were when they were counted last: none may vanish, and each must still be reached."""


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """The command's last line."""
    command = [sys.executable, "-P", "-m", "dtms.cli.main", "drill", "restart", "--sample", "8", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode in (0, 1), done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"drill restart: {told['points']} points, {told['runs']} runs, {told['seconds']} s")
    return told


def test_every_run_was_made_and_every_promise_kept(report: dict[str, Any]) -> None:
    assert (report["failed_runs"], report["violations"]) == ([], [])
    assert [report[group] for group in ("lost", "doubled", "unprotected", "other")] == [0, 0, 0, 0]


def test_both_ledgers_were_drilled(report: dict[str, Any]) -> None:
    assert report["not_run"] == {}
    assert min(report["ledgers"].values()) > 0


def test_processes_were_killed_and_killed_again_while_they_recovered(report: dict[str, Any]) -> None:
    assert report["kills"] >= 8
    assert report["double_kills"] >= 4


def test_the_gateway_was_frozen_also_past_its_lease_and_the_links_were_bad(report: dict[str, Any]) -> None:
    assert report["sigstop"] == {"runs": 2, "violations": 0}
    assert report["proxy"] == {"runs": 1, "violations": 0}


def test_a_gateway_that_dies_in_each_of_its_recoveries_and_all_services_at_once_come_back(
    report: dict[str, Any],
) -> None:
    assert report["crash_loop"] == {"runs": 1, "violations": 0}


def test_something_happened_to_which_the_deaths_could_matter(report: dict[str, Any]) -> None:
    assert {"open", "sltp", "partial", "close"} <= {kind for kind, count in report["applied"].items() if count > 0}
    assert report["requests"]["answered"] == report["requests"]["made"] > 0


def test_no_crash_point_vanishes_unnoticed(report: dict[str, Any]) -> None:
    """N may grow: then add the new names above. It may not shrink."""
    assert set(POINTS) >= GUARDED
    assert sorted(GUARDED & set(report["not_reached"])) == []
    assert report["points"] >= len(GUARDED)

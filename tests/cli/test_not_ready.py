"""A service that is not ready says why, and the command line repeats it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import requests

from dtms.cli.http import _refused
from dtms.cli.output import UnreachableError
from dtms.services.web.health import ReadyReport, ready_answer
from dtms.services.web.problem import Problem


def test_the_causes_and_what_is_not_ok_stand_in_the_refusal() -> None:
    report = ReadyReport(
        ready=False,
        dependencies={"ledger": "not writable", "broker": "ok"},
        causes=("ledger_down: the disk is full",),
    )
    with pytest.raises(Problem) as raised:
        ready_answer(report)
    answer = requests.Response()
    answer.status_code = raised.value.status
    answer._content = raised.value.body("r")

    said = _refused(answer, "DTMS server")

    assert isinstance(said, UnreachableError)
    assert str(said).endswith("(not_ready); ledger_down: the disk is full; ledger: not writable")
    assert json.loads(answer.content)["causes"] == ["ledger_down: the disk is full"]


def test_a_report_without_a_thing_is_ready_where_nothing_else_fails() -> None:
    report = ReadyReport(ready=False, dependencies={"ledger": "ok", "progress": "undecided"})
    assert report.without("progress").ready is True
    assert replace(report, dependencies={"ledger": "down", "progress": "ok"}).without("progress").ready is False

"""The mode over HTTP and in the metrics: shown to anybody on this host, changed with the token alone."""

from __future__ import annotations

from typing import Any

import pytest

from dtms.core.modes import TABLE
from dtms.domain.modes import Cause
from dtms.services.web.health import ReadyReport

_SENTENCE = "the terminal shows another account"


def tell(world: Any, cause: Cause) -> None:
    world.executor.modes.set(cause, _SENTENCE)
    world.executor.tick()


def test_the_status_names_each_cause_with_its_remedy(world: Any) -> None:
    tell(world, Cause.REJECTS)
    told = world.ask("GET", "/dtms/status").json
    assert told["mode"] == "PROTECT_ONLY"
    assert told["causes"] == [
        {
            "cause": "rejects",
            "mode": "PROTECT_ONLY",
            "since": "2024-01-10T12:00:00.000+00:00",
            "ended": None,
            "told_by": "gateway",
            "detail": _SENTENCE,
            "remedy": TABLE[Cause.REJECTS].remedy,
        }
    ]


def test_the_metrics_show_the_mode_and_each_cause(world: Any) -> None:
    tell(world, Cause.REJECTS)
    tell(world, Cause.SEND_BUDGET)
    world.executor.modes.clear(Cause.SEND_BUDGET)
    world.executor.tick()
    lines = world.ask("GET", "/metrics").body.decode().splitlines()
    shown = {line for line in lines if line.startswith("dtms_mode")}
    assert shown == {
        'dtms_mode{mode="NORMAL"} 0.0',
        'dtms_mode{mode="DEGRADED"} 0.0',
        'dtms_mode{mode="PROTECT_ONLY"} 1.0',
        'dtms_mode{mode="HALT"} 0.0',
        'dtms_mode_cause{cause="rejects",role="gateway"} 1.0',
        'dtms_mode_cause{cause="send_budget",role="gateway"} 0.0',
    }


@pytest.mark.parametrize("order", ["halt", "resume"])
def test_an_order_without_the_token_changes_nothing(world: Any, order: str) -> None:
    answer = world.ask("POST", f"/dtms/mode/{order}", content={"reason": "please"}, token=None)
    assert (answer.status, answer.json["code"]) == (401, "token_missing")
    assert world.ask("GET", "/dtms/mode").json["mode"] == "NORMAL"


def test_a_halt_is_possible_before_recovery_has_ended(world: Any) -> None:
    world.swap(recovered=lambda: False, ready=lambda: ReadyReport(ready=False, dependencies={}))
    answer = world.ask("POST", "/dtms/mode/halt", content={"reason": "looking"})
    assert (answer.status, answer.json["mode"], answer.json["halted"]) == (200, "HALT", True)


def test_a_resume_that_is_refused_names_the_cause_and_no_word_of_its_detail(world: Any) -> None:
    tell(world, Cause.ACCOUNT_CHANGED)
    answer = world.ask("POST", "/dtms/mode/resume", content={"reason": "please"})
    assert (answer.status, answer.json["code"], answer.json["cause"]) == (409, "cause_holds", "account_changed")
    assert TABLE[Cause.ACCOUNT_CHANGED].remedy in answer.json["detail"]
    assert _SENTENCE not in answer.json["detail"]

"""Health, status, metrics and the document of the interface."""

from __future__ import annotations

from typing import Any

import pytest

from dtms.app.views.trade_cache import KILL_FACT
from dtms.domain.trade import TradeState
from dtms.services.web.health import ReadyReport


def test_the_service_names_itself(world: Any) -> None:
    told = world.ask("GET", "/health/live", token=None)

    assert (told.status, told.json) == (200, {"service": "dtms-server", "live": True})


@pytest.mark.parametrize("path", ["/health/ready", "/dtms/health"])
def test_readiness_is_said_with_its_reasons(world: Any, path: str) -> None:
    details = {"dtms_initialized": True, "monitoring_active": False, "active_trades": 3, "heartbeat_age_s": 4.5}
    good = world.ask("GET", path, token=None)
    world.swap(
        ready=lambda: ReadyReport(ready=False, dependencies={"monitor": "stalled", "ledger": "ok"}, details=details)
    )

    bad = world.ask("GET", path, token=None)

    assert (good.status, good.json["ready"]) == (200, True)
    assert (bad.status, bad.code, bad.headers["retry-after"]) == (503, "not_ready", "1")
    assert {name: bad.json[name] for name in ("ready", *details)} == {"ready": False, **details}
    assert bad.json["dependencies"] == {"monitor": "stalled", "ledger": "ok"}


def test_the_status_counts_trades_checks_and_actions(world: Any) -> None:
    world.managed()
    world.hedged()
    world.server.monitor.tick()
    world.clock.sleep(60)

    told = world.ask("GET", "/dtms/status", token=None).json

    assert told["system_active"] is True
    assert (told["active_trades"], told["uptime_s"], told["mode"], told["advisory"]) == (2, 60.0, "NORMAL", False)
    assert told["trades_by_state"] == {
        "HEALTHY": 1,
        "WARNING_L1": 0,
        "WARNING_L2": 0,
        "HEDGED": 1,
        "RECOVERING": 0,
    }
    assert (told["checks"]["passes"], told["checks"]["errors"]) == (1, 0)
    assert told["actions"] == {"applied": 1}
    assert told["last_check"] == "2024-01-10T12:00:00.000+00:00"
    assert told["policy"] == world.server.desk.policies.default.digest
    assert told["kill_switch"] is None


@pytest.mark.parametrize(
    ("level", "ready", "mode"),
    [
        (None, True, "NORMAL"),
        (None, False, "DEGRADED"),
        ("protect_only", True, "PROTECT_ONLY"),
        ("flatten", True, "PROTECT_ONLY"),
        ("pause", True, "HALT"),
    ],
)
def test_the_mode_is_what_kill_switch_and_health_leave(world: Any, level: str | None, ready: bool, mode: str) -> None:
    with world.ledger.write() as tx:
        tx.set_fact(KILL_FACT, level)
    world.swap(ready=lambda: ReadyReport(ready=ready, dependencies={}))

    told = world.ask("GET", "/dtms/status").json

    assert (told["mode"], told["kill_switch"], told["system_active"]) == (mode, level, ready)


def test_the_status_is_said_while_recovery_is_under_way(world: Any) -> None:
    world.swap(recovered=lambda: False, ready=lambda: ReadyReport(ready=False, dependencies={}))

    told = world.ask("GET", "/dtms/status")

    assert (told.status, told.json["system_active"]) == (200, False)


def test_metrics_show_what_the_status_says_and_who_was_naked(world: Any) -> None:
    ticket = world.hedged()
    naked = world.managed()
    world.put(naked, naked_ms=700)
    world.server.monitor.tick()

    lines = world.ask("GET", "/metrics").body.decode().splitlines()

    shown = dict(line.rsplit(" ", 1) for line in lines if line.startswith("dtms_") and "_http_" not in line)
    assert shown['dtms_trades{state="HEDGED"}'] == "1.0"
    assert shown['dtms_trades{state="HEALTHY"}'] == "1.0"
    assert shown["dtms_ready"] == "1.0"
    assert shown["dtms_monitor_passes_total"] == "1.0"
    assert shown['dtms_actions_total{kind="hedge",state="APPLIED"}'] == "1.0"
    assert shown[f'dtms_trade_naked_ms{{ticket="{naked}"}}'] == "700.0"
    assert f'dtms_trade_naked_ms{{ticket="{ticket}"}}' not in shown


def test_requests_are_counted_by_their_declared_paths(world: Any) -> None:
    ticket = world.managed()
    for _ in range(3):
        world.ask("GET", f"/dtms/trade/{ticket}")
    world.ask("GET", "/dtms/trade/4711")

    text = world.ask("GET", "/metrics").body.decode()

    hot = 'dtms_http_requests_total{method="GET",route="/dtms/trade/",service="dtms-server",status="200"} 2.0'
    cold = 'dtms_http_requests_total{method="GET",route="/dtms/trade/{ticket}",service="dtms-server",status="404"} 1.0'
    assert hot in text
    assert cold in text
    assert str(ticket) not in text


def test_the_document_lists_every_route_with_its_answers_and_token(world: Any) -> None:
    document = world.ask("GET", "/openapi.json").json
    routes = {(method.upper(), path) for path, item in document["paths"].items() for method in item}

    assert routes == {
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/dtms/health"),
        ("POST", "/dtms/trade/enable"),
        ("DELETE", "/dtms/trade/{ticket}"),
        ("POST", "/dtms/trade/{ticket}/confirm"),
        ("POST", "/dtms/intents/{intent_id}/settle"),
        ("GET", "/dtms/trade/{ticket}"),
        ("GET", "/dtms/trade/{ticket}/explain"),
        ("GET", "/dtms/trades"),
        ("POST", "/dtms/states"),
        ("GET", "/dtms/events"),
        ("GET", "/dtms/actions"),
        ("GET", "/dtms/status"),
        ("GET", "/dtms/mode"),
        ("POST", "/dtms/mode/halt"),
        ("POST", "/dtms/mode/resume"),
        ("GET", "/metrics"),
    }
    needs_token = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if "security" in operation
    }
    assert needs_token == {route for route in routes if route[0] in ("POST", "DELETE")} - {("POST", "/dtms/states")}
    answer = document["paths"]["/dtms/trade/{ticket}"]["get"]["responses"]["200"]["content"]["application/json"]
    assert answer == {"schema": {"$ref": "#/components/schemas/TradeAnswer"}}
    states = document["components"]["schemas"]["TradeState"]["enum"]
    assert set(states) == {state.value for state in TradeState}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("PUT", "/dtms/trade/1", 405, "method_not_allowed"),
        ("POST", "/dtms/status", 405, "method_not_allowed"),
        ("GET", "/dtms/states", 405, "method_not_allowed"),
        ("GET", "/dtms/trade/abc", 422, "invalid_request"),
        ("GET", "/dtms/trade/9223372036854775808", 422, "invalid_request"),
        ("GET", "/dtms/trade/+1", 422, "invalid_request"),
        ("GET", "/dtms/trade/1?x=1", 422, "invalid_request"),
    ],
)
def test_every_error_is_a_problem(world: Any, method: str, path: str, status: int, code: str) -> None:
    told = world.ask(method, path)

    assert (told.status, told.code, told.headers["content-type"]) == (status, code, "application/problem+json")


def test_a_world_that_was_swapped_leaves_nothing_behind(make_world: Any) -> None:
    first, second = make_world(), make_world()
    ticket = first.managed()
    shown = first.ask("GET", f"/dtms/trade/{ticket}").status
    known = first.ask("POST", "/dtms/states", {"tickets": [ticket]}).json["unknown"]

    first.site.use(second.parts)

    assert (shown, known) == (200, [])
    assert first.ask("GET", f"/dtms/trade/{ticket}").code == "trade_unknown"
    assert first.ask("POST", "/dtms/states", {"tickets": [ticket]}).json["unknown"] == [ticket]


def test_a_ledger_that_fails_is_503_and_never_404(world: Any) -> None:
    ticket = world.managed()
    world.ledger.close()

    statuses = {
        (told.status, told.code)
        for told in (
            world.ask("GET", f"/dtms/trade/{ticket}"),
            world.ask("GET", "/dtms/trades"),
            world.ask("POST", "/dtms/states", {"tickets": [ticket]}),
            world.ask("DELETE", f"/dtms/trade/{ticket}"),
            world.ask("GET", "/dtms/status"),
            world.ask("GET", "/dtms/actions"),
        )
    }

    assert statuses == {(503, "ledger_unavailable")}

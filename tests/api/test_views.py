"""What the main API shows: trades with both views, the dashboard, health and metrics."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

import pytest

from dtms.domain.trade import TradeState
from dtms.errors import LedgerUnavailableError
from dtms.services.web.health import ReadyReport

if TYPE_CHECKING:
    from tests.api.conftest import World


def test_a_trade_has_both_views_joined(world: World) -> None:
    ticket = world.managed()
    world.later(1, bid=1.0976)
    told = world.ask("GET", f"/api/trades/{ticket}").json
    assert (told["ticket"], told["state"], told["owner"], told["stop_loss"]) == (ticket, "HEALTHY", "shared", 1.0901)
    assert told["r_multiple"] == pytest.approx(0.5)
    assert told["profit"] == pytest.approx(0.0025 * 0.2 * 100_000)
    assert (told["exits"]["profile"], told["last_reason"]) == ("intraday", "registered")
    assert (told["version"], told["epoch"]) == (1, "first")


def test_the_views_hold_while_the_dtms_server_is_down(world: World) -> None:
    ticket = world.managed()
    world.dtms.down()
    world.swap(dtms=lambda: "unreachable")
    told = world.ask("GET", "/api/trades").json
    assert ([each["ticket"] for each in told["trades"]], told["dtms"]) == ([ticket], "unreachable")


def test_the_last_reason_is_the_newest_actions(world: World) -> None:
    ticket = world.hedged()
    assert world.ask("GET", f"/api/trades/{ticket}").json["last_reason"].startswith("defence.hedge")


def test_trades_come_in_pages_and_by_state_and_symbol(world: World) -> None:
    tickets = [world.managed() for _ in range(3)]
    world.put(tickets[1], state=TradeState.WARNING_L1)
    first = world.ask("GET", "/api/trades?limit=2").json
    second = world.ask("GET", f"/api/trades?limit=2&cursor={first['next_cursor']}").json
    shown = [each["ticket"] for page in (first, second) for each in page["trades"]]
    assert (shown, second["next_cursor"]) == (tickets, None)
    warned = world.ask("GET", "/api/trades?state=WARNING_L1").json
    assert [each["ticket"] for each in warned["trades"]] == [tickets[1]]
    assert world.ask("GET", "/api/trades?symbol=XAUUSD").json["trades"] == []


def test_closed_trades_are_shown_when_asked_for_and_released_ones_never(world: World) -> None:
    closed, released = world.managed(), world.managed()
    gone = {"state": TradeState.CLOSED, "closed_at": world.clock.now}
    world.put(closed, close_reason="gone_healthy", **gone)
    world.put(released, close_reason="released", **gone)
    assert world.ask("GET", "/api/trades").json["trades"] == []
    told = world.ask("GET", "/api/trades?state=CLOSED").json
    assert [each["ticket"] for each in told["trades"]] == [closed]
    assert world.ask("GET", f"/api/trades/{released}").code == "trade_unknown"


@pytest.mark.parametrize(
    "query", ["state=GOOD", "limit=0", "limit=1001", "cursor=-1", "cursor=1_0", "x=1", "limit=1&limit=2"]
)
def test_a_query_that_cannot_be_is_422(world: World, query: str) -> None:
    assert world.ask("GET", f"/api/trades?{query}").status == 422


def test_a_ledger_that_cannot_be_read_is_503_and_never_an_empty_list(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked() -> object:
        raise LedgerUnavailableError("locked")

    monkeypatch.setattr(world.ledger, "read", locked)
    told = world.ask("GET", "/api/trades")
    assert (told.status, told.code) == (503, "ledger_unavailable")


def test_the_root_leads_to_the_dashboard(world: World) -> None:
    told = world.ask("GET", "/", token=None)
    assert (told.status, told.headers["location"]) == (307, "/ui")


def test_the_dashboard_allows_its_own_script_and_style_and_nothing_else(world: World) -> None:
    told = world.ask("GET", "/ui", token=None)
    policy = told.headers["content-security-policy"]
    text = told.body.decode()
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert (told.status, told.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_the_dashboard_loads_nothing_from_elsewhere_and_writes_no_markup(world: World) -> None:
    text = world.ask("GET", "/ui").body.decode()
    assert (
        re.findall(r"https?://|//[a-z]+\.[a-z]|innerHTML|outerHTML|document\.write|eval\(|<link|<img|onclick", text)
        == []
    )
    assert re.findall(r"\sstyle=", text) == []


def test_errors_are_problems_also_beside_the_dashboard(world: World) -> None:
    told = [world.ask("GET", "/ui/x"), world.ask("POST", "/ui"), world.ask("DELETE", "/api/trades")]
    assert [(each.status, each.headers["content-type"]) for each in told] == [
        (404, "application/problem+json"),
        (405, "application/problem+json"),
        (405, "application/problem+json"),
    ]


def test_live_names_the_service(world: World) -> None:
    assert world.ask("GET", "/health/live").json == {"service": "dtms-api", "live": True}


def test_ready_says_whether_the_dtms_server_is_reachable(world: World) -> None:
    report = ReadyReport(ready=True, dependencies={"ledger": "ok"}, details={"dtms_reachable": False})
    world.swap(ready=lambda: report)
    told = world.ask("GET", "/health/ready")
    assert (told.status, told.json["ready"], told.json["dtms_reachable"]) == (200, True, False)


def test_metrics_show_trades_outbox_and_kill_switch(world: World) -> None:
    world.managed()
    world.dtms.down()
    world.open()
    world.ask("POST", "/api/kill-switch", {"level": "pause"}, key="k")
    lines = world.ask("GET", "/metrics").body.decode().splitlines()
    assert {
        'dtms_api_trades{state="HEALTHY"} 1.0',
        "dtms_api_outbox 1.0",
        'dtms_api_kill_switch{level="pause"} 1.0',
        'dtms_api_kill_switch{level="flatten"} 0.0',
        "dtms_api_breaker_open 0.0",
    } <= set(lines)


def test_every_route_of_the_table_stands_in_the_openapi_document(world: World) -> None:
    document = world.ask("GET", "/openapi.json").json
    found = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert {
        ("GET", "/api/dtms/status"),
        ("GET", "/api/dtms/trade/{ticket}"),
        ("GET", "/api/dtms/actions"),
        ("POST", "/api/trades"),
        ("GET", "/api/trades"),
        ("GET", "/api/trades/{ticket}"),
        ("PUT", "/api/exits/{ticket}"),
        ("GET", "/api/exits/{ticket}"),
        ("DELETE", "/api/exits/{ticket}"),
        ("GET", "/api/exits"),
        ("GET", "/api/registry/{ticket}"),
        ("POST", "/api/kill-switch"),
        ("DELETE", "/api/kill-switch"),
        ("GET", "/"),
        ("GET", "/metrics"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
    } <= found

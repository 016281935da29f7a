"""Live and ready."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dtms.errors import BrokerUnavailableError
from dtms.services.web.api import Api
from dtms.services.web.health import ReadyReport, add_health
from dtms.services.web.in_process import call
from dtms.services.web.offload import inline


def test_live_names_the_service(site: Any) -> None:
    assert msgspec.json.decode(site.ask("GET", "/health/live", token=None)[2]) == {
        "service": "dtms-server",
        "live": True,
    }


def test_ready_tells_its_dependencies(site: Any) -> None:
    status, _, body = site.ask("GET", "/health/ready")

    assert status == 200
    assert msgspec.json.decode(body) == {
        "active_trades": 3,
        "ready": True,
        "dependencies": {"ledger": "ok"},
        "causes": [],
    }


def ask_ready(ready: Any, path: str = "/health/ready") -> tuple[int, dict[str, str], dict[str, Any]]:
    api = Api("x")
    add_health(api, service="x", ready=ready, offload=inline, ready_paths=("/health/ready", "/dtms/health"))
    status, headers, body = call(api, "GET", f"http://127.0.0.1:8001{path}")
    return status, dict(headers), msgspec.json.decode(body)


@pytest.mark.parametrize("path", ["/health/ready", "/dtms/health"])
def test_not_ready_is_a_503_with_the_report_and_when_to_come_back(path: str) -> None:
    report = ReadyReport(
        ready=False, dependencies={"broker": "unreachable"}, details={"dtms_initialized": True}, retry_after_s=2
    )

    status, headers, body = ask_ready(lambda: report, path)

    assert (status, headers["retry-after"]) == (503, "2")
    assert headers["content-type"] == "application/problem+json"
    assert (body["ready"], body["dependencies"], body["code"]) == (False, {"broker": "unreachable"}, "not_ready")
    assert body["dtms_initialized"] is True


def test_readiness_that_cannot_be_told_is_not_ready() -> None:
    def ready() -> ReadyReport:
        raise BrokerUnavailableError("canary")

    status, _, body = ask_ready(ready)

    assert (status, body["ready"], body["dependencies"]) == (503, False, {"readiness": "BrokerUnavailableError"})

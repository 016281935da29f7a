"""Whatever is sent to the services as they run, the answer is a documented one: made from their own OpenAPI documents.

Half of the requests are as the document says, half break it in one place; where a path names a ticket, every second request
names one that is managed. Run by `make test-long`; the seed is Hypothesis' own and the same each time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from math import ceil
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.result import Err
from schemathesis.specs.openapi import checks as _registers_the_checks  # noqa: F401
from tests.up.conftest import FALL, Installed, running

from dtms.services.wiring import token_of
from dtms_lab.simulate.entries import parse_entries
from dtms_lab.tapes.tape import Tape

pytestmark = pytest.mark.long

CASES = 10_000
"""For each service, in equal parts for its operations and for both ways of making a request.

What an operation leaves (one without a parameter is asked once) goes to those after it.
"""

_CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
_STREAM = "GET /dtms/events"
"""A stream has no end; its own tests read it."""

_OPENINGS = 3


@dataclass
class Service:
    """One service under test, and what was seen of it."""

    url: str
    token: str
    tickets: list[int]
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    sent: int = 0

    def send(self, label: str, case: Any) -> None:
        """Send one request and check its answer against the document."""
        self.sent += 1
        if "ticket" in case.path_parameters and self.sent % 2:
            case.path_parameters["ticket"] = self.tickets[self.sent % len(self.tickets)]
        answer = case.call(headers={"Authorization": f"Bearer {self.token}"}, timeout=10.0)
        self.statuses[label, answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS.get_by_names(_CHECKED))


@pytest.fixture(params=["server", "api"])
def service(request: pytest.FixtureRequest, installed: Installed, weather: Tape) -> Iterator[Service]:
    """The installation with three trades, opened in the tape's first quarter of an hour; then the tape ends."""
    with running(installed, weather, start=FALL, bars=25, speed=60.0, signals=parse_entries("every:5,8")) as up:
        up.play(ended=lambda: sum(bool(entry.ticket) for entry in up.trader.entries) >= _OPENINGS)
        settings_ = installed.settings
        url = settings_.server_url if request.param == "server" else settings_.api_url
        tickets = [entry.ticket for entry in up.trader.entries if entry.ticket]
        yield Service(url, token_of(settings_), tickets)
        alive = [requests.get(f"{each}/health/live", timeout=10) for each in (settings_.server_url, settings_.api_url)]
        assert [answer.status_code for answer in alive] == [200, 200]
        assert {role: up.processes.supervisor.restarts(role) for role in ("gateway", "server", "api")} == {
            "gateway": 0,
            "server": 0,
            "api": 0,
        }


def test_any_request_gets_a_documented_answer(service: Service) -> None:
    found = schemathesis.openapi.from_url(f"{service.url}/openapi.json").get_all_operations()
    operations: list[Any] = [each.ok() for each in found if not isinstance(each, Err)]
    tried = sorted((each for each in operations if each.label != _STREAM), key=_order)
    faults: dict[str, str] = {}

    ways = list(product(tried, (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)))
    for number, (operation, mode) in enumerate(ways):
        label = f"{operation.label} ({mode.value})"
        try:
            _explore(service, operation, mode, ceil((CASES - service.sent) / (len(ways) - number)))
        except Unsatisfiable:
            continue  # nothing that could be broken: no parameter, no body
        except BaseExceptionGroup as group:
            faults[label] = "; ".join(str(each)[:500] for each in group.exceptions)

    print({f"{label} {status}": count for (label, status), count in sorted(service.statuses.items())})
    print(f"{service.sent} requests to {service.url}")
    assert faults == {}
    assert service.sent >= 0.95 * CASES
    assert not [label for (label, status) in service.statuses if status >= 500]
    assert any(status == 200 for (label, status) in service.statuses if label.startswith("GET") and "{ticket}" in label)


def _order(operation: Any) -> tuple[bool, bool, str]:
    """What ends a trade comes last, what has no parameter and leaves its part to others first."""
    has_parts = bool(operation.body) or any(operation.iter_parameters())
    return operation.method.upper() == "DELETE", has_parts, operation.label


def _explore(service: Service, operation: Any, mode: GenerationMode, count: int) -> None:
    def send(case: Any) -> None:
        service.send(operation.label, case)

    tried = settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    tried(given(case=operation.as_strategy(generation_mode=mode))(send))()

"""The main API's OpenAPI document tells a client what it may send and what comes back."""

from __future__ import annotations

from typing import Any

import pytest
from tests.web.documents import content_types, operations, unbounded_parameters


def test_every_parameter_of_the_api_has_its_bounds(world: Any) -> None:
    document = world.ask("GET", "/openapi.json").json

    assert unbounded_parameters(document) == []


@pytest.mark.parametrize(
    ("operation", "kind"),
    [("GET /metrics", "text/plain"), ("GET /ui", "text/html"), ("GET /api/dtms/trade/{ticket}", "application/json")],
)
def test_the_api_says_in_which_form_it_answers(world: Any, operation: str, kind: str) -> None:
    document = world.ask("GET", "/openapi.json").json

    assert content_types(document, operation) == {kind}


def test_a_write_that_takes_an_idempotency_key_says_so(world: Any) -> None:
    document = world.ask("GET", "/openapi.json").json

    keys = {
        name: parameter["required"]
        for name, operation in operations(document)
        for parameter in operation.get("parameters", ())
        if parameter["name"] == "Idempotency-Key"
    }
    assert keys == {
        "POST /api/trades": True,
        "PUT /api/exits/{ticket}": False,
        "DELETE /api/exits/{ticket}": False,
        "POST /api/kill-switch": True,
        "DELETE /api/kill-switch": False,
    }


def test_a_wrong_method_is_told_every_method_of_the_path(world: Any) -> None:
    answer = world.ask("PATCH", "/api/exits/1")

    assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, PUT")

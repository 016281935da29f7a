"""The DTMS server's OpenAPI document tells a client what it may send and what comes back."""

from __future__ import annotations

from typing import Any

import pytest
from tests.web.documents import content_types, unbounded_parameters


def test_every_parameter_of_the_server_has_its_bounds(world: Any) -> None:
    document = world.ask("GET", "/openapi.json").json

    assert unbounded_parameters(document) == []


@pytest.mark.parametrize(
    ("operation", "kind"), [("GET /metrics", "text/plain"), ("GET /dtms/events", "text/event-stream")]
)
def test_the_server_says_in_which_form_it_answers(world: Any, operation: str, kind: str) -> None:
    document = world.ask("GET", "/openapi.json").json

    assert content_types(document, operation) == {kind}


def test_a_wrong_method_is_told_every_method_of_the_path(world: Any) -> None:
    answer = world.ask("PATCH", "/dtms/trade/1")

    assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET")

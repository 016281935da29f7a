"""The OpenAPI document says what is answered."""

from __future__ import annotations

from typing import Any

import msgspec


def document(site: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(site.ask("GET", "/openapi.json", token=None)[2])
    return found


def test_every_operation_may_answer_a_problem_and_never_the_frameworks_own_error(site: Any) -> None:
    found = document(site)

    operations = [operation for item in found["paths"].values() for operation in item.values()]
    assert operations
    assert all("422" not in operation["responses"] for operation in operations)
    assert {str(operation["responses"]["default"]["content"]) for operation in operations} == {
        "{'application/problem+json': {'schema': {'$ref': '#/components/schemas/Problem'}}}"
    }
    assert "HTTPValidationError" not in found["components"]["schemas"]


def test_writes_need_the_bearer_token_and_queries_do_not(site: Any) -> None:
    paths = document(site)["paths"]

    assert paths["/orders"]["post"]["security"] == [{"bearer": []}]
    assert "security" not in paths["/dtms/states"]["post"]
    assert "security" not in paths["/trade/{ticket}"]["get"]


def test_a_body_that_we_decode_ourselves_is_in_the_document(site: Any) -> None:
    found = document(site)

    schema = found["paths"]["/orders"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/Order"}
    order = found["components"]["schemas"]["Order"]
    assert order["additionalProperties"] is False
    assert order["required"] == ["ticket", "symbol", "direction", "entry", "volume"]
    assert "Rules" in found["components"]["schemas"]
    assert "$defs" not in order

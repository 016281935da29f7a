"""Every error is a problem, says what it is, and repeats nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dtms import errors
from dtms.services.web import problem


def every_error(kind: type[errors.DtmsError] = errors.DtmsError) -> list[type[errors.DtmsError]]:
    found = [kind, *(found for child in kind.__subclasses__() for found in every_error(child))]
    return list(dict.fromkeys(found))


def test_every_error_of_ours_has_a_row_of_its_own() -> None:
    ours = [kind for kind in every_error() if kind.__module__ == "dtms.errors"]

    rows = [problem.of_error(_make(kind)) for kind in ours]

    assert len({row.code for row in rows}) == len(ours)
    assert all(400 <= row.status < 600 for row in rows)


def _make(kind: type[errors.DtmsError]) -> errors.DtmsError:
    if issubclass(kind, errors.BrokerRejectedError):
        return kind("x", rejection="no_money", code=10019)
    return kind("x")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("stale", 503, "data_stale"),
        ("invalid", 502, "data_invalid"),
        ("unavailable", 503, "broker_unavailable"),
        ("unknown", 504, "outcome_unknown"),
        ("rejected", 409, "broker_rejected"),
        ("ledger", 503, "ledger_unavailable"),
        ("stale-write", 409, "stale_write"),
        ("invariant", 500, "illegal_transition"),
    ],
)
def test_an_error_of_ours_becomes_its_status_without_its_text(site: Any, name: str, status: int, code: str) -> None:
    found, headers, body = site.ask("GET", f"/fail/{name}")

    members = msgspec.json.decode(body)
    assert (found, members["code"], members["status"]) == (status, code, status)
    assert dict(headers)["content-type"] == "application/problem+json"
    assert ("retry-after" in dict(headers)) == (status == 503)
    assert b"canary" not in body


def test_an_unknown_outcome_is_not_invited_to_be_sent_again(site: Any) -> None:
    _, headers, body = site.ask("GET", "/fail/unknown")

    assert "retry-after" not in dict(headers)
    assert "do not send it again" in msgspec.json.decode(body)["detail"]


def test_a_rejection_carries_our_word_and_the_brokers_number(site: Any) -> None:
    members = msgspec.json.decode(site.ask("GET", "/fail/rejected")[2])

    assert (members["rejection"], members["broker_code"]) == ("no_money", 10019)


def test_a_raised_problem_is_the_answer(site: Any) -> None:
    status, headers, body = site.ask("GET", "/teapot")

    assert status == 404
    assert msgspec.json.decode(body) == {
        "epoch": "e1",
        "type": "urn:dtms:problem:trade_unknown",
        "title": "Not Found",
        "status": 404,
        "detail": "DTMS does not manage this ticket.",
        "code": "trade_unknown",
        "request_id": dict(headers)["x-request-id"],
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/trade/1/", 404, "not_found"),
        ("GET", "/trade//", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("DELETE", "/trade/1", 405, "method_not_allowed"),
        ("HEAD", "/trade/1", 405, "method_not_allowed"),
        ("TRACE", "/trade/1", 405, "method_not_allowed"),
        ("CANARY", "/trade/1", 405, "method_not_allowed"),
        ("GET", "/orders", 405, "method_not_allowed"),
    ],
)
def test_the_frameworks_own_errors_are_problems(site: Any, method: str, path: str, status: int, code: str) -> None:
    found, headers, body = site.ask(method, path)

    assert (found, msgspec.json.decode(body)["code"]) == (status, code)
    assert dict(headers)["content-type"] == "application/problem+json"
    assert ("allow" in dict(headers)) == (status == 405)
    assert b"nowhere" not in body
    assert b"CANARY" not in body


@pytest.mark.parametrize(
    "ticket",
    [
        "canary",
        "0",
        "-1",
        "1.0",
        "1e3",
        "1_0",
        "+1",
        "01",
        "%201",
        "%D9%A1",
        "%EF%BC%91",
        "9223372036854775808",
        "1%00",
    ],
)
def test_a_ticket_in_a_path_is_plain_digits_of_64_bits(site: Any, ticket: str) -> None:
    status, _, body = site.ask("GET", f"/trade/{ticket}")

    members = msgspec.json.decode(body)
    assert status == 422
    assert [fault["field"] for fault in members["fields"]] == ["path.ticket"]
    assert b"canary" not in body


def test_the_largest_ticket_is_a_ticket(site: Any) -> None:
    assert msgspec.json.decode(site.ask("GET", "/trade/9223372036854775807")[2]) == {"ticket": 9223372036854775807}

"""Hot reads: the same guard, the same words, only faster."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dtms.errors import LedgerUnavailableError
from dtms.services.web.dispatch import HotAnswer
from dtms.services.web.etag import etag, matches
from dtms.services.web.problem import Problem

BODY = b'{"ticket":7,"hot":true}'


@pytest.fixture
def hot(make_site: Any) -> Any:
    def trade(rest: str) -> HotAnswer | None:
        if rest == "7":
            return 200, BODY, etag(3, 12)
        if rest == "404":
            raise Problem(404, "trade_unknown", "DTMS does not manage this ticket.")
        if rest == "503":
            raise LedgerUnavailableError("canary")
        if rest == "500":
            msg = "canary"
            raise ZeroDivisionError(msg)
        return None

    def status(rest: str) -> HotAnswer:
        assert rest == ""
        return 200, b"{}", None

    return make_site(exact={"/dtms/status": status}, prefixes={"/trade/": trade})


def test_a_hot_read_is_the_encoded_bytes_with_safe_headers(hot: Any) -> None:
    status, headers, body = hot.ask("GET", "/trade/7", {"X-Request-ID": "mine"}, token=None)

    assert (status, body) == (200, BODY)
    assert dict(headers) == {
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-request-id": "mine",
        "etag": '"3-12"',
        "content-type": "application/json",
        "content-length": str(len(BODY)),
    }


def test_an_exact_path_is_a_hot_read(hot: Any) -> None:
    assert hot.ask("GET", "/dtms/status")[2] == b"{}"


@pytest.mark.parametrize("tag", ['"3-12"', 'W/"3-12"', '"1-1", "3-12"', "*"])
def test_a_client_that_has_the_bytes_is_told_so_without_them(hot: Any, tag: str) -> None:
    status, headers, body = hot.ask("GET", "/trade/7", {"If-None-Match": tag})

    assert (status, body, dict(headers)["etag"]) == (304, b"", '"3-12"')
    assert "content-length" not in dict(headers)


@pytest.mark.parametrize("tag", ['"3-11"', "3-12", '"3-12', "", '"3-12"x'])
def test_another_tag_gets_the_bytes(hot: Any, tag: str) -> None:
    assert hot.ask("GET", "/trade/7", {"If-None-Match": tag})[0] == 200


def test_no_header_matches_nothing() -> None:
    assert matches(None, '"1-1"') is False


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/trade/8", b'{"ticket":8}'),
        ("/trade/7?x=1", b'{"ticket":7}'),
        ("/health/live", b'{"service":"dtms-server","live":true}'),
    ],
)
def test_what_is_not_hot_reaches_the_application(hot: Any, path: str, body: bytes) -> None:
    assert hot.ask("GET", path)[2] == body


def test_another_method_on_a_hot_path_is_the_applications_405(hot: Any) -> None:
    assert hot.ask("DELETE", "/trade/7")[0] == 405


@pytest.mark.parametrize(
    ("headers", "host", "status"),
    [
        ({}, "evil.com", 421),
        ({"Origin": "https://evil.com"}, "127.0.0.1:8001", 403),
        ({"Sec-Fetch-Site": "cross-site"}, "127.0.0.1:8001", 403),
    ],
)
def test_the_gate_stands_before_hot_reads_too(hot: Any, headers: dict[str, str], host: str, status: int) -> None:
    found, sent, body = hot.ask("GET", "/trade/7", headers, host=host)

    assert found == status
    assert dict(sent)["content-type"] == "application/problem+json"
    assert msgspec.json.decode(body)["request_id"] == dict(sent)["x-request-id"]


def test_a_hot_read_off_loopback_needs_the_token(make_site: Any) -> None:
    from dtms.services.web.guard import GuardPolicy

    policy = GuardPolicy(hosts=frozenset({b"127.0.0.1:8001"}), origins=frozenset(), token_for_reads=True)
    site = make_site(policy, exact={"/x": lambda _: (200, b"{}", None)})

    assert site.ask("GET", "/x", token=None)[0] == 401
    assert site.ask("GET", "/x")[0] == 200


@pytest.mark.parametrize(
    ("ticket", "status", "code"),
    [("404", 404, "trade_unknown"), ("503", 503, "ledger_unavailable"), ("500", 500, "internal")],
)
def test_a_failing_hot_read_is_a_problem(hot: Any, ticket: str, status: int, code: str) -> None:
    found, headers, body = hot.ask("GET", f"/trade/{ticket}")

    assert (found, msgspec.json.decode(body)["code"]) == (status, code)
    assert dict(headers)["content-type"] == "application/problem+json"
    assert b"canary" not in body

"""What gets past the guard, and what leaves with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from starlette.responses import Response

from dtms.errors import LedgerUnavailableError
from dtms.services.web.access import Access, OneToken, Principal
from dtms.services.web.guard import Gate, Guard, GuardPolicy, loopback_policy, principal_of
from dtms.services.web.in_process import Answer, call, drive
from dtms.services.web.metrics import Metrics

if TYPE_CHECKING:
    from starlette.types import Message

ORDER = b'{"ticket":1,"symbol":"EURUSD","direction":"BUY","entry":1.1,"volume":0.1}'


def problem(answer: Answer) -> dict[str, Any]:
    status, headers, body = answer
    assert dict(headers)["content-type"] == "application/problem+json"
    members: dict[str, Any] = msgspec.json.decode(body)
    assert members["status"] == status
    assert members["request_id"] == dict(headers)["x-request-id"]
    assert members["type"] == f"urn:dtms:problem:{members['code']}"
    return members


@pytest.mark.parametrize("host", ["localhost:8001", "127.0.0.1:8001", "[::1]:8001", "LOCALHOST:8001"])
def test_our_own_names_with_the_port_are_let_in(site: Any, host: str) -> None:
    assert site.ask("GET", "/trade/1", host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.com", "evil.com:8001", "127.0.0.1", "127.0.0.1:8000", "localhost", "127.0.0.1:8001.evil.com", "", "\xff"],
)
def test_a_host_that_is_not_ours_is_misdirected(site: Any, host: str) -> None:
    answer = site.ask("GET", "/trade/1", host=host)

    assert answer[0] == 421
    assert problem(answer)["code"] == "host_not_ours"


def test_a_host_that_is_not_ours_cannot_write_even_with_the_token(site: Any) -> None:
    assert site.ask("POST", "/orders", body=ORDER, host="evil.com:8001")[0] == 421
    assert site.orders == []


def test_a_repeated_host_header_is_refused(site: Any) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/trade/1",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8001"), (b"host", b"evil.com")],
    }
    drive(site.app(scope, receive, send))

    assert sent[0]["status"] == 400
    assert msgspec.json.decode(sent[1]["body"])["code"] == "header_repeated"


@pytest.mark.parametrize("origin", ["https://evil.com", "null", "http://127.0.0.1:9999", "http://evil.com:8001"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/trade/1"), ("POST", "/orders"), ("OPTIONS", "/orders")])
def test_a_foreign_origin_is_forbidden(site: Any, method: str, path: str, origin: str) -> None:
    answer = site.ask(method, path, {"Origin": origin}, ORDER if method == "POST" else b"")

    assert problem(answer)["code"] == "origin_not_allowed"
    assert answer[0] == 403
    assert site.orders == []


def test_our_own_origin_and_a_configured_one_are_let_in(make_site: Any) -> None:
    site = make_site(loopback_policy(8001, origins=["https://desk.example"]))

    assert site.ask("GET", "/trade/1", {"Origin": "http://localhost:8001"})[0] == 200
    assert site.ask("GET", "/trade/1", {"Origin": "https://desk.example"})[0] == 200


def test_a_cross_site_fetch_is_forbidden_and_a_same_origin_one_is_not(site: Any) -> None:
    assert problem(site.ask("GET", "/trade/1", {"Sec-Fetch-Site": "cross-site"}))["code"] == "cross_site"
    assert site.ask("GET", "/trade/1", {"Sec-Fetch-Site": "same-origin"})[0] == 200


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "token_missing"),
        ("", "token_missing"),
        ("Basic dHR0", "token_missing"),
        ("Bearer", "token_missing"),
        ("Bearer ", "token_invalid"),
        ("Bearer wrong", "token_invalid"),
        ("Bearer " + "t" * 42, "token_invalid"),
        ("Bearer " + "t" * 44, "token_invalid"),
        ("Bearer " + "\xe9" * 43, "token_invalid"),
    ],
)
def test_a_write_without_the_token_is_unauthorized_and_has_no_effect(site: Any, header: str | None, code: str) -> None:
    answer = site.ask("POST", "/orders", {} if header is None else {"Authorization": header}, ORDER, token=None)

    assert answer[0] == 401
    assert problem(answer)["code"] == code
    assert dict(answer[1])["www-authenticate"] == "Bearer"
    assert site.orders == []


def test_a_token_in_the_query_does_not_count(site: Any) -> None:
    assert site.ask("POST", f"/orders?token={'t' * 43}", body=ORDER, token=None)[0] == 401


def test_a_write_with_the_token_has_its_effect(site: Any) -> None:
    assert site.ask("POST", "/orders", body=ORDER)[0] == 201
    assert [order.ticket for order in site.orders] == [1]


def test_reads_and_the_batch_query_need_no_token_on_loopback(site: Any) -> None:
    assert site.ask("GET", "/trade/1", token=None)[0] == 200
    assert site.ask("POST", "/dtms/states", body=b'{"tickets":[1]}', token=None)[0] == 200


def test_off_loopback_reads_need_the_token_too(make_site: Any) -> None:
    policy = GuardPolicy(hosts=frozenset({b"dtms.example:8001"}), origins=frozenset(), token_for_reads=True)
    site = make_site(policy)

    assert problem(site.ask("GET", "/trade/1", host="dtms.example:8001", token=None))["code"] == "token_missing"
    assert site.ask("GET", "/trade/1", host="dtms.example:8001")[0] == 200


def test_a_token_without_the_scope_is_forbidden(make_site: Any) -> None:
    class ReadOnly:
        def principal(self, token: bytes) -> Principal | None:
            return Principal(name="viewer", access=frozenset({Access.READ}))

    site = make_site(None, ReadOnly())

    answer = site.ask("POST", "/orders", body=ORDER)

    assert answer[0] == 403
    assert problem(answer)["code"] == "scope_missing"
    assert site.orders == []


def test_a_path_or_method_that_does_not_exist_is_told_without_a_token(site: Any) -> None:
    assert problem(site.ask("POST", "/nowhere", token=None))["code"] == "not_found"
    answer = site.ask("DELETE", "/trade/1", token=None)
    assert answer[0] == 405
    assert dict(answer[1])["allow"] == "GET"


@pytest.mark.parametrize("given", ["abc-123", "x" * 64, "A.b:c/d=+@_"])
def test_a_request_id_is_taken_over(site: Any, given: str) -> None:
    assert dict(site.ask("GET", "/trade/1", {"X-Request-ID": given})[1])["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", 'a"b', "\xe9", "a\tb", "{x}"])
def test_a_malformed_request_id_is_replaced(site: Any, given: str) -> None:
    assert dict(site.ask("GET", "/trade/1", {"X-Request-ID": given})[1])["x-request-id"] == "id-1"


@pytest.mark.parametrize("path", ["/trade/1", "/nowhere", "/boom", "/fail/ledger", "/health/live", "/metrics"])
def test_every_answer_leaves_with_safe_headers_once(site: Any, path: str) -> None:
    names = [name for name, _ in site.ask("GET", path)[1]]

    assert [names.count(name) for name in ("cache-control", "x-content-type-options", "x-request-id")] == [1, 1, 1]


def test_an_unexpected_failure_is_recorded_once_and_told_to_nobody_else(site: Any, logged: Any) -> None:
    answer = site.ask("GET", "/boom")

    assert answer[0] == 500
    assert problem(answer)["code"] == "internal"
    assert b"canary" not in answer[2]
    assert [(record["event"], record["route"]) for record in logged] == [("request failed unexpectedly", "/boom")]


@pytest.mark.parametrize("wrong", ["canary-token", "t" * 42])
def test_no_token_is_ever_logged(site: Any, logged: Any, wrong: str) -> None:
    site.ask("POST", "/orders", body=ORDER)
    site.ask("POST", "/orders", body=ORDER, token=wrong)

    assert [record["code"] for record in logged] == ["token_invalid"]
    assert wrong not in str(logged)
    assert "t" * 43 not in str(logged)


def test_a_crash_of_the_simulation_passes_through_every_handler(make_site: Any) -> None:
    class SimCrashError(BaseException):
        pass

    def crash(_: str) -> None:
        raise SimCrashError

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise SimCrashError

    guard = Guard(app, Gate(loopback_policy(8001), OneToken("t")), Metrics("s"), routes=())
    with pytest.raises(SimCrashError):
        call(guard, "GET", "http://127.0.0.1:8001/")
    with pytest.raises(SimCrashError):
        make_site(None, None, exact={"/trade/7": crash}).ask("GET", "/trade/7")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"host", b"127.0.0.1:8001"), (b"origin", b"https://evil.com")], ["websocket.close"]),
        ([(b"host", b"evil.com")], ["websocket.close"]),
        ([(b"host", b"127.0.0.1:8001"), (b"origin", b"http://127.0.0.1:8001")], ["reached"]),
    ],
)
def test_a_websocket_from_a_foreign_page_is_closed(headers: list[tuple[bytes, bytes]], expected: list[str]) -> None:
    sent: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sent.append("reached")

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message["type"])

    guard = Guard(app, Gate(loopback_policy(8001), OneToken("t")), Metrics("s"), routes=())
    drive(guard({"type": "websocket", "path": "/ws", "headers": headers}, receive, send))

    assert sent == expected


def test_requests_and_refusals_are_counted_under_the_declared_path(site: Any) -> None:
    for ticket in range(1, 4):
        site.ask("GET", f"/trade/{ticket}")
    site.ask("GET", "/nowhere/at/all")
    site.ask("POST", "/orders", body=ORDER, token=None)

    text = call(site.app, "GET", "http://127.0.0.1:8001/metrics")[2].decode()

    service = 'service="dtms-server"'
    assert f'dtms_http_requests_total{{method="GET",route="/trade/{{ticket}}",{service},status="200"}} 3.0' in text
    assert f'dtms_http_requests_total{{method="GET",route="unmatched",{service},status="404"}} 1.0' in text
    assert f'dtms_http_refused_total{{code="token_missing",{service}}} 1.0' in text
    assert "/nowhere" not in text


def test_the_dashboard_has_a_guard_of_its_own_but_not_its_own_host(make_site: Any) -> None:
    site = make_site(loopback_policy(8001, own_guard=("/orders",)))

    assert site.ask("POST", "/orders", body=ORDER, token=None)[0] == 201
    assert site.ask("POST", "/orders", body=ORDER, token=None, host="evil.com")[0] == 421


def test_a_route_knows_who_asks() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Response(principal_of(scope).name)(scope, receive, send)

    policy = GuardPolicy(hosts=frozenset({b"127.0.0.1:8001"}), origins=frozenset(), token_for_reads=True)
    guard = Guard(app, Gate(policy, OneToken("t", name="desk")), Metrics("s"), routes=())

    assert call(guard, "GET", "http://127.0.0.1:8001/", {"Authorization": "bearer t"})[2] == b"desk"
    assert call(app, "GET", "http://127.0.0.1:8001/")[2] == b"local"


def test_an_error_of_ours_outside_of_the_framework_is_a_problem_too() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LedgerUnavailableError("canary")

    guard = Guard(app, Gate(loopback_policy(8001), OneToken("t")), Metrics("s"), routes=())
    answer = call(guard, "GET", "http://127.0.0.1:8001/")

    assert answer[0] == 503
    assert problem(answer)["code"] == "ledger_unavailable"
    assert b"canary" not in answer[2]

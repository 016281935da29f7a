"""The proxies of the DTMS server: what passes, and that no failure ever looks like an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import httpx
import pytest

from dtms.services.api.agreed import check_status
from dtms.services.api.breaker import Breaker
from dtms.services.api.dtms_link import Asked, DtmsLink
from dtms.services.web.problem import Problem

if TYPE_CHECKING:
    from tests.api.conftest import World

JSON = {"content-type": "application/json"}
PROBLEM = {"content-type": "application/problem+json"}


def test_the_status_is_the_servers_own(world: World) -> None:
    told = world.ask("GET", "/api/dtms/status", headers={"X-Request-ID": "mine-1"})
    assert (told.status, told.json["system_active"], told.headers["x-request-id"]) == (200, True, "mine-1")
    method, path, headers = world.dtms.requests[-1]
    assert (method, path, headers["x-request-id"]) == ("GET", "/dtms/status", "mine-1")


def test_the_trade_gets_the_exit_rules_added(world: World) -> None:
    ticket = world.managed()
    told = world.ask("GET", f"/api/dtms/trade/{ticket}")
    assert (told.status, told.json["ticket"], told.json["state"]) == (200, ticket, "HEALTHY")
    assert (told.json["exits"]["profile"], told.json["exits"]["partial_done"]) == ("intraday", False)


def test_a_trade_without_exit_rules_says_so(world: World) -> None:
    ticket = world.managed(exits=False)
    assert world.ask("GET", f"/api/dtms/trade/{ticket}").json["exits"] is None


def test_what_the_client_holds_already_is_304_without_a_body(world: World) -> None:
    ticket = world.managed()
    first = world.ask("GET", f"/api/dtms/trade/{ticket}")
    again = world.ask("GET", f"/api/dtms/trade/{ticket}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert world.dtms.requests[-1][2]["if-none-match"] == first.headers["etag"]


def test_an_unknown_trade_is_the_servers_404(world: World) -> None:
    told = world.ask("GET", "/api/dtms/trade/99", headers={"X-Request-ID": "mine-2"})
    assert (told.status, told.code, told.json["request_id"]) == (404, "trade_unknown", "mine-2")
    assert told.headers["content-type"] == "application/problem+json"


def test_a_404_of_a_stranger_stays_404_and_is_a_problem(world: World) -> None:
    world.dtms.answer = (404, {"content-type": "text/html"}, b"<h1>no</h1>")
    told = world.ask("GET", "/api/dtms/trade/99")
    assert (told.status, told.code) == (404, "not_found")


def test_the_journal_is_passed_with_its_query(world: World) -> None:
    ticket = world.managed()
    told = world.ask("GET", f"/api/dtms/actions?ticket={ticket}&limit=5")
    assert (told.status, told.json["actions"]) == (200, [])
    assert world.dtms.requests[-1][1] == f"/dtms/actions?ticket={ticket}&limit=5"


def test_a_query_that_the_server_refuses_is_422_for_the_caller(world: World) -> None:
    told = world.ask("GET", "/api/dtms/actions?limit=0")
    assert (told.status, told.json["fields"][0]["field"]) == (422, "query.limit")


def test_an_unknown_parameter_is_refused_before_the_server_is_asked(world: World) -> None:
    assert world.ask("GET", "/api/dtms/actions?tickets=1").status == 422
    assert world.dtms.requests == []


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/api/dtms/status", (200, JSON, b"not json")),
        ("/api/dtms/status", (200, JSON, b"[]")),
        ("/api/dtms/status", (200, JSON, b"{}")),
        ("/api/dtms/status", (200, JSON, b"")),
        ("/api/dtms/status", (204, JSON, b"")),
        ("/api/dtms/status", (301, {"location": "http://elsewhere/"}, b"")),
        ("/api/dtms/status", (401, PROBLEM, b'{"status":401,"code":"token_missing"}')),
        ("/api/dtms/status", (500, JSON, b"{}")),
        ("/api/dtms/status", (503, {"content-type": "text/html"}, b"busy")),
        ("/api/dtms/trade/7", (200, JSON, b'{"ticket":7,"state":"FINE"}')),
        ("/api/dtms/trade/7", (200, JSON, b'{"ticket":8,"state":"HEALTHY"}')),
        ("/api/dtms/trade/7", (200, JSON, b'{"ticket":7,"state":"HEALTHY","version":-1}')),
        ("/api/dtms/trade/7", (200, JSON, b"\xff\xfe")),
        ("/api/dtms/actions", (200, JSON, b'{"actions":7}')),
        ("/api/dtms/actions", (422, JSON, b"nonsense")),
    ],
)
def test_an_answer_that_is_not_as_agreed_is_502(
    world: World, path: str, answer: tuple[int, dict[str, str], bytes]
) -> None:
    world.dtms.answer = answer
    told = world.ask("GET", path)
    assert (told.status, told.code) == (502, "dtms_bad_answer")
    assert told.headers["content-type"] == "application/problem+json"


def test_a_server_that_is_not_ready_is_503(world: World) -> None:
    world.dtms.answer = (503, {**PROBLEM, "retry-after": "2"}, b'{"status":503,"code":"not_ready"}')
    told = world.ask("GET", "/api/dtms/trade/7")
    assert (told.status, told.code, told.headers["retry-after"]) == (503, "dtms_not_ready", "2")


def test_a_refused_connection_is_503(world: World) -> None:
    world.dtms.down()
    told = world.ask("GET", "/api/dtms/status")
    assert (told.status, told.code) == (503, "dtms_unreachable")


@pytest.mark.parametrize("fault", [httpx.ConnectTimeout, httpx.ReadTimeout, httpx.PoolTimeout])
def test_a_server_that_keeps_silent_is_504(world: World, fault: Callable[[str], Exception]) -> None:
    world.dtms.fault = lambda: fault("silent")
    told = world.ask("GET", "/api/dtms/trade/7")
    assert (told.status, told.code) == (504, "dtms_timeout")


@pytest.mark.parametrize("fault", [httpx.RemoteProtocolError, httpx.ReadError])
def test_an_answer_that_breaks_off_is_502(world: World, fault: Callable[[str], Exception]) -> None:
    world.dtms.fault = lambda: fault("broke off")
    assert world.ask("GET", "/api/dtms/status").status == 502


def test_after_five_failures_the_server_is_left_alone_for_five_seconds(world: World) -> None:
    world.dtms.down()
    for _ in range(5):
        assert world.ask("GET", "/api/dtms/status").code == "dtms_unreachable"
    told = world.ask("GET", "/api/dtms/status")
    assert (told.status, told.code, len(world.dtms.requests)) == (503, "dtms_breaker_open", 5)
    world.dtms.up()
    world.clock.sleep(4.999)
    assert world.ask("GET", "/api/dtms/status").status == 503
    world.clock.sleep(0.001)
    assert world.ask("GET", "/api/dtms/status").status == 200
    assert world.ask("GET", "/api/dtms/status").status == 200


def test_a_failed_probe_opens_the_breaker_again(world: World) -> None:
    world.dtms.down()
    for _ in range(5):
        world.ask("GET", "/api/dtms/status")
    world.clock.sleep(5)
    assert world.ask("GET", "/api/dtms/status").code == "dtms_unreachable"
    assert world.ask("GET", "/api/dtms/status").code == "dtms_breaker_open"


def test_unknown_trades_do_not_open_the_breaker(world: World) -> None:
    for _ in range(20):
        assert world.ask("GET", "/api/dtms/trade/99").status == 404
    assert world.ask("GET", "/api/dtms/status").status == 200


def test_only_one_probe_goes_out_at_a_time_and_an_abandoned_one_frees_its_place() -> None:
    now = [0]
    breaker = Breaker(lambda: now[0], failures=1, open_ns=10)
    assert breaker.admit() is True
    breaker.failed()
    now[0] = 10
    assert (breaker.admit(), breaker.admit()) == (True, False)
    breaker.abandoned()
    assert breaker.admit() is True


class Dripping(httpx.AsyncByteStream):
    """A body that never ends, a byte now and then: no wait for a byte is ever too long."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.001)
            yield b" "


def test_a_slow_drip_is_cut_off_by_the_time_out_for_the_whole_answer() -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, stream=Dripping()))

    async def ask() -> Problem:
        async with httpx.AsyncClient(transport=transport) as http:
            link = DtmsLink(http, "http://127.0.0.1:8001", now_ns=lambda: 0, timeout_s=0.05)
            with pytest.raises(Problem) as caught:
                await link.get(Asked(path="/dtms/status", request_id="r"), check_status)
            return caught.value

    assert asyncio.run(ask()).status == 504


def test_numbers_of_the_server_pass_digit_by_digit(world: World) -> None:
    body = b'{"ticket":7,"state":"HEALTHY","entry":0.1000,"big":12345678901234567890}'
    world.dtms.answer = (200, JSON, body)
    told = world.ask("GET", "/api/dtms/trade/7")
    assert told.body == body[:-1] + b',"exits":null}'
    assert json.loads(told.body)["entry"] == 0.1

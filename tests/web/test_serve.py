"""The same guards over a real socket, and an end that comes."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from dtms.errors import SettingsError
from dtms.services.web.guard import loopback_policy
from dtms.services.web.serve import make_server, require_loopback

ORDER = b'{"ticket":1,"symbol":"EURUSD","direction":"BUY","entry":1.1,"volume":0.1}'
BEARER = {"Authorization": "Bearer " + "t" * 43, "Content-Type": "application/json"}


@pytest.fixture
def served(make_site: Any) -> Iterator[tuple[Any, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        site = make_site(loopback_policy(port))
        server = make_server(site.app, host="127.0.0.1", port=port)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield site, port
        finally:
            server.should_exit = True
            thread.join(timeout=10)
            assert not thread.is_alive()


def raw(port: int, data: bytes) -> http.client.HTTPResponse:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(data)
        response = http.client.HTTPResponse(connection)
        response.begin()
        response.read()
        return response


def test_the_guards_hold_over_a_socket(served: Any) -> None:
    site, port = served
    base = f"http://127.0.0.1:{port}"
    with requests.Session() as session:
        session.trust_env = False

        def post(headers: dict[str, str], body: bytes = ORDER) -> int:
            return session.post(f"{base}/orders", data=body, headers=headers, timeout=5).status_code

        statuses = {
            "made": post(BEARER),
            "no token": post({"Content-Type": "application/json"}),
            "another host": post({**BEARER, "Host": "evil.com"}),
            "a page from elsewhere": post({**BEARER, "Origin": "https://evil.com"}),
            "a form": post({**BEARER, "Content-Type": "text/plain"}),
            "not finite": post(BEARER, ORDER.replace(b"1.1", b"1e400")),
            "unknown path": session.get(f"{base}/nowhere", timeout=5).status_code,
            "unexpected": session.get(f"{base}/boom", timeout=5).status_code,
        }

    assert statuses == {
        "made": 201,
        "no token": 401,
        "another host": 421,
        "a page from elsewhere": 403,
        "a form": 415,
        "not finite": 422,
        "unknown path": 404,
        "unexpected": 500,
    }
    assert [order.ticket for order in site.orders] == [1]


def test_an_endless_chunked_body_is_cut_off_and_the_connection_closed(served: Any) -> None:
    site, port = served
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    head = f"POST /orders HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {BEARER['Authorization']}\r\n"

    response = raw(
        port, head.encode() + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 3
    )

    assert (response.status, response.getheader("Connection")) == (413, "close")
    assert site.orders == []


def test_the_server_does_not_name_itself_nor_believe_a_proxy(served: Any) -> None:
    _, port = served

    response = raw(
        port,
        f"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Forwarded-For: 8.8.8.8\r\nConnection: close\r\n\r\n".encode(),
    )

    assert (response.status, response.getheader("Server")) == (200, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_addresses_may_be_served(host: str) -> None:
    require_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com", "", "127.0.0.1.evil.com"])  # noqa: S104 - refused
def test_an_address_that_others_reach_is_refused_with_the_remedy(host: str) -> None:
    with pytest.raises(SettingsError, match=r"is not loopback; use 127\.0\.0\.1 or ::1"):
        require_loopback(host)


SERVICE = """
import contextlib, socket, asyncio, time
from fastapi import Request
from starlette.responses import Response
from dtms.services.web.access import OneToken
from dtms.services.web.api import Api, wrap
from dtms.services.web.guard import Gate, loopback_policy
from dtms.services.web.metrics import Metrics
from dtms.services.web.offload import in_thread
from dtms.services.web.serve import make_server
from dtms.services.web.sse import EventFeed

class Quiet:
    epoch = "e1"
    def revision(self): return 0
    @contextlib.contextmanager
    def read(self): yield self
    def events_since(self, seq, limit=1000): return ()
    def last_event(self): return 0
    def boot_ns(self): return time.monotonic_ns()
    def wall_now(self): return time.time_ns() // 1_000_000

api = Api("s")
feed = EventFeed(Quiet(), Quiet(), in_thread, asyncio.sleep)

async def events(request: Request) -> Response:
    return await feed.response(request.headers.get("last-event-id"))

api.add_api_route("/events", events)
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
server = make_server(wrap(api, Gate(loopback_policy(port), OneToken("t")), Metrics("s")), host="127.0.0.1", port=port)
print(port, flush=True)
server.run(sockets=[listener])
"""


def test_sigterm_ends_a_service_that_has_an_open_stream() -> None:
    process = subprocess.Popen([sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("GET", "/events")
            stream = connection.getresponse()
            lines = [stream.readline().decode().strip() for _ in range(4)]

            process.send_signal(signal.SIGTERM)
            ended = process.wait(timeout=20)
    finally:
        process.kill()
        process.stdout.close()

    assert (stream.status, stream.getheader("Content-Type")) == (200, "text/event-stream; charset=utf-8")
    assert lines[:3] == ["retry: 1000", "", "event: heartbeat"]
    assert json.loads(lines[3].removeprefix("data: "))["epoch"] == "e1"
    assert ended in {0, -signal.SIGTERM}

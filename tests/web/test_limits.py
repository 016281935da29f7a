"""What a client may send before a request is understood, over real sockets: heads, trailers, silence, connections."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dtms.services.web.guard import loopback_policy
from dtms.services.web.protocol import Limits
from dtms.services.web.serve import make_server

LIMITS = Limits(head_bytes=8_192, headers=20, head_s=0.2, connections=4)
PATIENT = Limits(head_bytes=8_192, headers=20, head_s=60.0, connections=4)

TOKEN = "Authorization: Bearer " + "t" * 43

Serve = Callable[[Limits], int]


@pytest.fixture
def serve(make_site: Any) -> Iterator[Serve]:
    """Serve a site under limits and return its port."""
    with ExitStack() as ending:

        def start(limits: Limits) -> int:
            listener = ending.enter_context(socket.create_server(("127.0.0.1", 0)))
            port: int = listener.getsockname()[1]
            server = make_server(make_site(loopback_policy(port)).app, host="127.0.0.1", port=port, limits=limits)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()

            def stop() -> None:
                server.should_exit = True
                thread.join(timeout=10)
                assert not thread.is_alive()

            ending.callback(stop)
            return port

        yield start


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def answer(connection: socket.socket) -> tuple[int, str, str | None]:
    """Return an answer's status, code and whether the connection goes with it."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    body = response.read()
    told = json.loads(body) if body else {}
    return response.status, str(told.get("code")), response.getheader("Connection")


def is_closed(connection: socket.socket) -> bool:
    """Return whether the other side hangs up; waits for it."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def head(port: int, *lines: str, first: str = "GET /health/live HTTP/1.1") -> bytes:
    return "\r\n".join([first, f"Host: 127.0.0.1:{port}", *lines, "", ""]).encode()


def test_a_request_within_the_limits_is_answered(serve: Serve) -> None:
    port = serve(PATIENT)
    with connect(port) as connection:
        connection.sendall(head(port, *(f"X-{n}: {'v' * 300}" for n in range(18))))

        assert answer(connection)[0] == 200


@pytest.mark.parametrize(
    "lines",
    [("X-A: " + "v" * 9_000,), tuple(f"X-{n}: v" for n in range(21)), tuple(f"X-{n}: {'v' * 600}" for n in range(15))],
    ids=["one long header", "many headers", "much in all"],
)
def test_a_head_past_its_limit_is_refused_and_the_connection_closed(serve: Serve, lines: tuple[str, ...]) -> None:
    port = serve(PATIENT)
    with connect(port) as connection:
        connection.sendall(head(port, *lines))

        assert answer(connection) == (431, "headers_too_large", "close")
        assert is_closed(connection)


def test_a_long_target_is_refused(serve: Serve) -> None:
    port = serve(PATIENT)
    with connect(port) as connection:
        connection.sendall(head(port, first=f"GET /{'a' * 9_000} HTTP/1.1"))

        assert answer(connection) == (431, "headers_too_large", "close")


def test_a_header_without_an_end_is_refused_once_its_limit_is_passed(serve: Serve) -> None:
    port = serve(PATIENT)
    with connect(port) as connection:
        connection.sendall(head(port)[:-2] + b"X-A: ")
        for _ in range(9):
            connection.sendall(b"v" * 1_024)

        assert answer(connection) == (431, "headers_too_large", "close")


@pytest.mark.parametrize("trailer", [b"v" * 1_000, b"v\r\nX-A: "], ids=["one long trailer", "many trailers"])
def test_trailers_past_their_limit_are_refused(serve: Serve, trailer: bytes) -> None:
    port = serve(PATIENT)
    kind = "Content-Type: application/json"
    with connect(port) as connection:
        connection.sendall(head(port, "Transfer-Encoding: chunked", kind, TOKEN, first="POST /orders HTTP/1.1"))
        connection.sendall(b"1\r\n{\r\n0\r\nX-A: ")

        try:
            for _ in range(1_000_000 // len(trailer)):
                connection.sendall(trailer)
            told = answer(connection)
        except ConnectionError:  # cut off while we were still sending: the answer may be lost then
            told = (431, "headers_too_large", "close")
        assert told == (431, "headers_too_large", "close")


def test_half_a_head_is_not_waited_for(serve: Serve) -> None:
    port = serve(LIMITS)
    with connect(port) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0")

        assert is_closed(connection)


def test_a_client_that_says_nothing_is_not_waited_for(serve: Serve) -> None:
    port = serve(LIMITS)
    with connect(port) as connection:
        assert is_closed(connection)


def test_a_dripping_rest_of_an_answered_request_does_not_hold_the_connection(serve: Serve) -> None:
    port = serve(LIMITS)
    with connect(port) as connection:
        connection.sendall(head(port, "Content-Length: 1000000"))
        assert answer(connection)[0] == 200

        def drip() -> bool:
            try:
                connection.sendall(b"x")
                connection.settimeout(0.02)
                return connection.recv(1) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        assert any(drip() for _ in range(1_000))


def test_a_new_connection_takes_the_place_of_the_one_that_was_silent_longest(serve: Serve) -> None:
    port = serve(PATIENT)
    with ExitStack() as open_ones:
        silent = [open_ones.enter_context(connect(port)) for _ in range(PATIENT.connections)]
        for connection in silent[1:]:  # each is known to the server before the next one comes
            connection.sendall(head(port))
            assert answer(connection)[0] == 200

        late = open_ones.enter_context(connect(port))
        late.sendall(head(port))

        assert answer(late)[0] == 200
        assert is_closed(silent[0])
        silent[1].sendall(head(port))
        assert answer(silent[1])[0] == 200


def test_what_is_no_http_is_answered_as_a_problem(serve: Serve) -> None:
    port = serve(PATIENT)
    with connect(port) as connection:
        connection.sendall(b"\x16\x03\x01 no request\r\n\r\n")

        assert answer(connection) == (400, "bad_request", "close")

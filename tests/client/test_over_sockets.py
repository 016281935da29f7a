"""Both clients over real sockets, against a server that fails in every way a server can."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import pytest
import requests

from dtms.client import AsyncDtmsClient, DtmsClient, HttpxTransport, RequestsTransport, Source, StateAnswer
from dtms.client.contract import SECOND_NS
from dtms.client.fake import ManualClock
from dtms.client.wire import Request, TransportError

PATIENCE_S = 60.0
"""How long a test waits for what must happen; one that passes does not."""

Behaviour = Callable[[socket.socket], None]
HEDGED = json.dumps({"ticket": 1, "state": "HEDGED", "defensive": True, "version": 2, "epoch": "e"}).encode()


class FaultServer:
    """Answers each connection as it is told to, and notes the request lines."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = says(200, HEDGED)
        self.requests: list[str] = []
        self.cut_off = threading.Event()
        self.stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self.stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=PATIENCE_S)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while not self.stop.is_set():
            try:
                connection, _peer = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            received = b""
            while b"\r\n\r\n" not in received:
                chunk = connection.recv(65_536)
                if not chunk:
                    return
                received += chunk
            self.requests.append(received.split(b"\r\n", 1)[0].decode())
            self.behaviour(connection)

    def hang(self, connection: socket.socket) -> None:
        connection.settimeout(0.02)
        while not self.stop.is_set():
            try:
                if connection.recv(1) == b"":
                    self.cut_off.set()
                    return
            except TimeoutError:
                continue

    def drip(self, start: bytes, every_s: float) -> Behaviour:
        def behave(connection: socket.socket) -> None:
            connection.sendall(start)
            while not self.stop.wait(every_s):
                try:
                    connection.sendall(b"x")
                except OSError:
                    self.cut_off.set()
                    return

        return behave


def says(status: int, body: bytes, *headers: str, length: int | None = None) -> Behaviour:
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}", *headers]
    return lambda connection: connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    server = FaultServer()
    yield server
    server.close()


Ask = Callable[[int], StateAnswer]


@pytest.fixture(params=["blocking", "async"])
def ask(request: pytest.FixtureRequest, server: FaultServer, clock: ManualClock) -> Iterator[Ask]:
    """Ask by either client; the wait between attempts passes on the virtual clock only."""
    if request.param == "blocking":
        with DtmsClient(server.url, now_ns=clock.now_ns, sleep=clock.sleep, on_warning=lambda _text: None) as client:
            yield client.state
        return
    with asyncio.Runner() as runner:
        coroutines = AsyncDtmsClient(
            server.url, now_ns=clock.now_ns, sleep=clock.sleep_async, on_warning=lambda _text: None
        )
        yield lambda ticket: runner.run(coroutines.state(ticket))
        runner.run(coroutines.aclose())


def test_three_lines_are_enough(server: FaultServer) -> None:
    dtms = DtmsClient(base_url=server.url)
    assert dtms.is_defensive(1) is True
    assert server.requests[0] == "GET /dtms/trade/1 HTTP/1.1"


def test_a_good_answer_is_live(ask: Ask) -> None:
    assert (ask(1).source, ask(1).source) == (Source.LIVE, Source.CACHE)


@pytest.mark.parametrize(
    ("behaviour", "requests_made"),
    [
        (says(401, b"{}"), 1),
        (says(429, b"{}"), 1),
        (says(500, b""), 2),
        (says(502, b"<html>"), 2),
        (says(503, b"{}"), 2),
        (says(504, b"{}"), 2),
        (says(304, b""), 2),
        (says(302, b"", "Location: /dtms/trade/1"), 2),
        (says(200, b"{"), 2),
        (says(200, b'{"ticket":2,"state":"HEDGED"}'), 2),
        (says(200, HEDGED, length=len(HEDGED) + 1), 2),
        (says(200, gzip.compress(HEDGED), "Content-Encoding: gzip"), 2),
        (says(200, b" " * (1 << 20) + HEDGED), 2),
        (lambda connection: connection.sendall(b"220 smtp.example.com ready\r\n"), 2),
        (lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), 2),
        (lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n"), 2),
        (resets, 2),
        (lambda _connection: None, 2),
    ],
)
def test_every_fault_gives_the_last_known_state_after_the_agreed_attempts(
    ask: Ask, server: FaultServer, clock: ManualClock, behaviour: Behaviour, requests_made: int
) -> None:
    ask(1)
    clock.advance_ms(10_000)
    server.requests.clear()
    server.behaviour = behaviour
    answer = ask(1)
    assert (answer.source, answer.defensive) == (Source.LAST_KNOWN, True)
    assert len(server.requests) == requests_made


def test_a_body_of_exactly_the_limit_is_read(ask: Ask, server: FaultServer) -> None:
    server.behaviour = says(200, b" " * ((1 << 20) - len(HEDGED)) + HEDGED)
    assert ask(1).source is Source.LIVE


@pytest.mark.parametrize("body", [b'{"code":"trade_unknown","status":404}', b"<html>not here</html>"])
def test_a_404_is_not_in_dtms_ours_or_not(ask: Ask, server: FaultServer, body: bytes) -> None:
    server.behaviour = says(404, body, "Content-Type: application/problem+json")
    assert (ask(1).source, ask(1).defensive, len(server.requests)) == (Source.LIVE, False, 1)


def test_a_port_where_nobody_listens_is_an_outage(clock: ManualClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = DtmsClient(f"http://127.0.0.1:{port}", now_ns=clock.now_ns, sleep=clock.sleep, on_warning=lambda _t: None)
    start = clock.now_ns()
    assert client.is_defensive(1) is False
    assert clock.now_ns() - start == SECOND_NS // 2


def test_a_name_that_does_not_resolve_is_an_outage(clock: ManualClock) -> None:
    client = DtmsClient("http://dtms.invalid:8001", now_ns=clock.now_ns, sleep=clock.sleep, on_warning=lambda _t: None)
    assert client.is_defensive(1) is False


def test_a_drip_of_one_byte_each_1_9_seconds_is_cut_off_at_two_seconds_twice(server: FaultServer) -> None:
    server.behaviour = server.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", 1.9)
    client = DtmsClient(server.url, on_warning=lambda _text: None)
    start = time.monotonic()
    assert client.is_defensive(1) is False
    took = time.monotonic() - start
    # The lower bound is exact, above it the machine may be busy; without the cut-off this takes half an hour.
    assert 4.5 <= took < 10
    assert len(server.requests) == 2


def request_to(server: FaultServer, timeout_s: float) -> Request:
    return Request(method="GET", url=f"{server.url}/x", headers={}, body=None, timeout_s=timeout_s, max_bytes=1 << 20)


DRIPS = {
    "status line": b"HTTP/1.1 200 OK",
    "headers": b"HTTP/1.1 200 OK\r\nX-Slow: ",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFF\r\n",
    "no length": b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("start", DRIPS.values(), ids=DRIPS.keys())
@pytest.mark.parametrize("kind", ["requests", "httpx"])
def test_a_drip_is_cut_off_wherever_it_begins_and_the_connection_is_closed(
    server: FaultServer, start: bytes, kind: str
) -> None:
    server.behaviour = server.drip(start, 0.02)
    cut_off_while_waiting(server, kind)


@pytest.mark.parametrize("kind", ["requests", "httpx"])
def test_no_connection_is_kept_that_the_server_might_give_up(server: FaultServer, kind: str) -> None:
    def answer_and_stay(connection: socket.socket) -> None:
        says(200, HEDGED)(connection)
        server.hang(connection)

    async def ask_and_wait() -> None:
        transport = HttpxTransport()
        await transport.fetch(request_to(server, 5))
        assert await asyncio.to_thread(server.cut_off.wait, PATIENCE_S)
        await transport.aclose()

    server.behaviour = answer_and_stay
    if kind == "httpx":
        asyncio.run(ask_and_wait())
    else:
        RequestsTransport().fetch(request_to(server, 5))
        assert server.cut_off.wait(PATIENCE_S)


@pytest.mark.parametrize("kind", ["requests", "httpx"])
def test_a_hang_is_cut_off_and_the_connection_is_closed(server: FaultServer, kind: str) -> None:
    server.behaviour = server.hang
    cut_off_while_waiting(server, kind)


def cut_off_while_waiting(server: FaultServer, kind: str) -> None:
    """Ask with a time-out that is long enough to get the request there, which a loaded machine says; see it cut off."""
    for timeout_s in (0.15, 1.5, 15.0):
        with pytest.raises(TransportError, match=f"no whole answer within {re.escape(str(timeout_s))} s"):
            fetch(kind, request_to(server, timeout_s))
        if server.requests:
            break
    assert server.cut_off.wait(PATIENCE_S)


def fetch(kind: str, request: Request) -> None:
    if kind == "requests":
        RequestsTransport().fetch(request)
        return

    async def once() -> None:
        transport = HttpxTransport()
        try:
            await transport.fetch(request)
        finally:
            await transport.aclose()

    asyncio.run(once())


def test_workers_that_were_cut_off_end(server: FaultServer) -> None:
    server.behaviour = server.drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", 0.02)
    transport = RequestsTransport()
    for _ in range(12):
        with pytest.raises(TransportError):
            transport.fetch(request_to(server, 0.05))
    deadline = time.monotonic() + PATIENCE_S
    while any(t.name == "dtms-client" for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [t.name for t in threading.enumerate() if t.name == "dtms-client"] == []


class StuckSession(requests.Session):
    """A session whose requests cannot be cut off, like a name look-up that hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()
        self.started = 0

    def request(self, *_args: object, **_kwargs: object) -> requests.Response:
        self.started += 1
        self.release.wait(PATIENCE_S)
        raise requests.ConnectionError("released")


def test_workers_that_cannot_be_cut_off_are_bounded_and_the_client_recovers(server: FaultServer) -> None:
    session = StuckSession()
    transport = RequestsTransport(session)
    for _ in range(20):
        with pytest.raises(TransportError):
            transport.fetch(request_to(server, 0.01))
    assert session.started == 5
    session.release.set()
    deadline = time.monotonic() + PATIENCE_S
    while any(t.name == "dtms-client" for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(TransportError, match="released"):
        transport.fetch(request_to(server, 5))


@pytest.mark.parametrize("tickets", [range(1, 41), [1] * 40], ids=["forty trades", "one trade"])
def test_threads_that_ask_at_once_during_an_outage_cost_one_probe(server: FaultServer, tickets: Sequence[int]) -> None:
    server.behaviour = says(503, b"{}")
    client = DtmsClient(server.url, on_warning=lambda _text: None)
    threads = [threading.Thread(target=client.is_defensive, args=(ticket,)) for ticket in tickets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=PATIENCE_S)
    assert (len(server.requests), client.stats.probes, client.stats.default) == (2, 1, 40)


def test_threads_that_want_the_same_trade_at_once_ask_once(server: FaultServer) -> None:
    threads_started = threading.Event()

    def answer_late(connection: socket.socket) -> None:
        threads_started.wait(PATIENCE_S)
        time.sleep(0.1)  # long enough for the last thread to look and wait its turn; too short fails nothing
        says(200, HEDGED)(connection)

    def ask() -> None:
        sources.append(client.state(1).source)

    server.behaviour = answer_late
    client = DtmsClient(server.url)
    sources: list[Source] = []
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    threads_started.set()
    for thread in threads:
        thread.join(timeout=PATIENCE_S)
    assert (len(server.requests), sorted(sources)) == (1, [*[Source.CACHE] * 7, Source.LIVE])


@pytest.fixture
def dead_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")


@pytest.mark.usefixtures("dead_proxy")
def test_proxies_of_the_environment_are_not_asked(ask: Ask) -> None:
    assert ask(1).source is Source.LIVE


def test_coroutines_that_ask_at_once_during_an_outage_cost_one_probe(server: FaultServer) -> None:
    server.behaviour = says(503, b"{}")

    async def ask_all() -> tuple[int, int]:
        async with AsyncDtmsClient(server.url, on_warning=lambda _text: None) as client:
            await asyncio.gather(*(client.is_defensive(ticket) for ticket in range(1, 1_001)))
            return client.stats.probes, client.stats.default

    assert asyncio.run(ask_all()) == (1, 1_000)
    assert len(server.requests) == 2

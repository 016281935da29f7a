"""ASGI applications driven by hand: no thread, no event loop, no socket. For simulations on virtual time and for tests.

A coroutine that suspends for real has no loop that would wake it: that is our bug and raises. So routes, dependencies and
handlers are `async`, blocking calls go through an `Offload` that is inline, and event streams are tested as generators.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from io import BytesIO
from typing import Final, TypeVar
from urllib.parse import unquote_to_bytes, urlsplit

import httpx
import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from starlette.types import ASGIApp, Message, Scope

from dtms.errors import InvariantError

T = TypeVar("T")

Answer = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers with names in lower case, body."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def drive(coroutine: Coroutine[object, None, T]) -> T:
    """Run a coroutine to its end in one go.

    Raises:
        InvariantError: It suspended: something under it needs an event loop or a thread.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    coroutine.close()
    msg = "a coroutine driven by hand suspended; make what it awaits async without a loop, or run it through an offload"
    raise InvariantError(msg)


def call(
    app: ASGIApp,
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Answer:
    """Send one request and return the whole answer; `url` is absolute (http://127.0.0.1:8001/path?query)."""
    pairs = () if headers is None else headers.items()
    return drive(exchange(app, method, url, pairs, body))


async def exchange(
    app: ASGIApp, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes = b""
) -> Answer:
    """Send one request from within a coroutine; awaits the application and nothing else."""
    sent: list[Message] = []
    bodies = [body]

    async def receive() -> Message:
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(_scope(method, url, headers, body), receive, send)
    return _answer(sent)


def _scope(method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> Scope:
    parts = urlsplit(url)
    port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    names = {name for name, _ in raw}
    if b"host" not in names:
        raw.insert(0, (b"host", parts.netloc.encode("latin-1")))
    if body and b"content-length" not in names:
        raw.append((b"content-length", str(len(body)).encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": parts.scheme,
        "path": unquote_to_bytes(parts.path or "/").decode("utf-8", "replace"),
        "raw_path": (parts.path or "/").encode("latin-1"),
        "query_string": parts.query.encode("latin-1"),
        "root_path": "",
        "headers": raw,
        "client": ("127.0.0.1", 50_000),
        "server": (parts.hostname, port),
        "state": {},
    }


def _answer(sent: list[Message]) -> Answer:
    if not sent or sent[0]["type"] != "http.response.start":
        msg = "the application ended without an answer; every way out of a route must return a response"
        raise InvariantError(msg)
    start, *rest = sent
    headers = [(str(name, "latin-1").lower(), str(value, "latin-1")) for name, value in start["headers"]]
    return start["status"], headers, b"".join(message.get("body", b"") for message in rest)


class InProcessAdapter(BaseAdapter):
    """A transport of `requests` into an application: `session.mount("http://127.0.0.1:8002", InProcessAdapter(app))`."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__()
        self._app = app

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Answer a prepared request; time-outs do not exist here."""
        del stream, timeout, verify, cert, proxies
        given = request.body if request.body is not None else b""
        body = given.encode() if isinstance(given, str) else bytes(given)
        pairs = list(request.headers.items())
        status, headers, content = drive(exchange(self._app, str(request.method), str(request.url), pairs, body))
        response = requests.Response()
        response.status_code = status
        response.headers = CaseInsensitiveDict(headers)
        response.raw = BytesIO(content)
        response.url = str(request.url)
        response.request = request
        return response

    def close(self) -> None:
        """Nothing is held."""


class InProcessTransport(httpx.AsyncBaseTransport):
    """A transport of `httpx.AsyncClient` into an application; nested in another call it stays one synchronous run."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        body = await request.aread()
        pairs = request.headers.multi_items()
        status, headers, content = await exchange(self._app, request.method, str(request.url), pairs, body)
        return httpx.Response(status, headers=headers, content=content, request=request)

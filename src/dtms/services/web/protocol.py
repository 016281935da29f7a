"""HTTP/1.1 on one connection, with limits that hold before the first byte is understood.

uvicorn's own protocol keeps as many headers, trailers and connections as a client sends, for as long as it likes: 60 MB of
headers took 870 MB of memory. What a body may hold is the application's to say (`body.py`), for it depends on the route.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, cast

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from dtms.services.web.problem import PROBLEM_JSON, Problem

_log = structlog.get_logger("dtms.web")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one service takes of its clients.

    Attributes:
        head_bytes: Request line and headers together, likewise the trailers of a chunked body, in bytes.
        headers: How many headers, trailers among them.
        head_s: Seconds from the connection, or from the last answer, until a whole head is there.
        connections: Open connections; a further one takes the place of the one that has been silent the longest.
    """

    head_bytes: int = 32 * 1024
    headers: int = 100
    head_s: float = 10.0
    connections: int = 128


_MALFORMED: Final = Problem(400, "bad_request", "The request is not valid HTTP for this service.")
_TOO_LARGE: Final = Problem(
    431, "headers_too_large", "The headers are too many or too long; send fewer or shorter ones."
)
_CROWDED: Final = Problem(
    503,
    "too_many_connections",
    "Too many connections are open; close some and try again.",
    headers={"Retry-After": "1"},
)


class BoundedProtocol(HttpToolsProtocol):
    """One connection; `limits` is set by `bounded_by`."""

    limits = Limits()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.silent_since = 0.0
        self._head_timer: asyncio.TimerHandle | None = None
        self._not_taken = 0
        """Bytes since the parser last gave us a head, a piece of a body or an end, or more by what one read holds."""
        self._head_bytes = 0
        self._head_count = 0
        self._refused = False

    @property
    def is_silent(self) -> bool:
        """Return whether no request is under way here."""
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request, whatever its annotation says
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Take the connection, or refuse it where there are too many and each has a request under way."""
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > self.limits.connections and not self._make_room():
            self._refuse(_CROWDED)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, unless a limit was passed."""
        if self._refused:
            return
        self._not_taken += len(data)
        super().data_received(data)
        if self._not_taken > self.limits.head_bytes:
            self._refuse(_TOO_LARGE)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or what a callback below refused, as a problem."""
        del msg
        self._refuse(_TOO_LARGE if self._is_too_large() else _MALFORMED)

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._head_bytes = self._head_count = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request's target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer."""
        self._head_count += 1
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request over."""
        self._stop_waiting()
        self._not_taken = self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._not_taken = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._not_taken = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next head: a request's rest that never ends does not count as one."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._wait_for_head()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._is_too_large():
            msg = "the head passes its limit"  # the parser turns it into its own error, and that becomes the answer
            raise ValueError(msg)

    def _is_too_large(self) -> bool:
        return self._head_bytes > self.limits.head_bytes or self._head_count > self.limits.headers

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self.silent_since = self.loop.time()
        self._head_timer = self.loop.call_later(self.limits.head_s, self._hang_up)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _hang_up(self) -> None:
        if self.is_silent and not self.transport.is_closing():
            _log.info("connection closed: no request came in time", seconds=self.limits.head_s)
            self.transport.close()

    def _make_room(self) -> bool:
        """Close the connection that has been silent the longest; return whether there was one beside this."""
        others = (cast("BoundedProtocol", each) for each in self.connections if each is not self)
        silent = min((each for each in others if each.is_silent), key=lambda each: each.silent_since, default=None)
        if silent is None:
            return False
        _log.warning("connection closed: a newer one needs its place", open=len(self.connections))
        silent.transport.abort()
        self.connections.discard(silent)
        return True

    def _refuse(self, problem: Problem) -> None:
        """Answer and hang up; what still comes is not read."""
        self._refused = True
        _log.warning("request refused", code=problem.code)
        if not self.transport.is_closing():
            self.transport.write(_answer(problem))
            self.transport.close()


def bounded_by(limits: Limits) -> type[BoundedProtocol]:
    """Return the protocol with these limits."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits})


def _answer(problem: Problem) -> bytes:
    body = problem.body("-")
    headers = {
        **problem.headers,
        "Content-Type": PROBLEM_JSON,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Connection": "close",
    }
    head = [
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}",
        *(f"{n}: {v}" for n, v in headers.items()),
    ]
    return "\r\n".join([*head, "", ""]).encode("ascii") + body

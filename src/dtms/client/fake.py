"""A DTMS server in memory, on a clock that stands until it is told to move: for tests of the client and of its users.

It answers as the contract says, and fails as it is told to. No threads, no sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec

from dtms.client.contract import MILLISECOND_NS, SECOND_NS, SERVICE_NAME, TRADE_UNKNOWN, is_defensive_state
from dtms.client.wire import Reply, Request, TransportError
from dtms.domain.trade import TradeState

Fault = Callable[[Request], Reply]
"""What happens to one request in place of an answer."""


class ManualClock:
    """A clock that moves only when told to; sleeping moves it."""

    def __init__(self, start_ns: int = 1_000 * SECOND_NS) -> None:
        self._now = start_ns

    def now_ns(self) -> int:
        """Return the instant."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        self._now += round(seconds * SECOND_NS)

    async def sleep_async(self, seconds: float) -> None:
        """Let so much time pass."""
        self.sleep(seconds)

    def advance_ms(self, milliseconds: int) -> None:
        """Let so much time pass."""
        self._now += milliseconds * MILLISECOND_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeTrade:
    """What the server says of one trade."""

    state: TradeState
    version: int = 1
    pending_to: TradeState | None = None

    @property
    def body(self) -> dict[str, object]:
        """The fields that every answer about it has."""
        return {
            "state": self.state,
            "pending_to": self.pending_to,
            "defensive": is_defensive_state(self.state) or is_defensive_state(self.pending_to),
            "version": self.version,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request that reached the server, or would have."""

    at_ns: int
    method: str
    path: str
    body: bytes | None


class FakeDtms:
    """The server; give it as `transport`.

    `faults` are used up one a request; `fault` stays until it is set to None. `latency_s` passes before each answer.
    """

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.trades: dict[int, FakeTrade] = {}
        self.epoch = "epoch-1"
        self.name = SERVICE_NAME
        self.faults: deque[Fault] = deque()
        self.fault: Fault | None = None
        self.latency_s = 0.0
        self.received: list[Received] = []

    def fetch(self, request: Request) -> Reply:
        """Answer, or fail as told."""
        path = urlsplit(request.url).path
        self.received.append(Received(at_ns=self.clock.now_ns(), method=request.method, path=path, body=request.body))
        self.clock.sleep(self.latency_s)
        fault = self.faults.popleft() if self.faults else self.fault
        return self.answer(request) if fault is None else fault(request)

    def answer(self, request: Request) -> Reply:
        """Return the true answer."""
        path = urlsplit(request.url).path
        if path == "/health/live":
            return json_reply({"service": self.name})
        if path == "/dtms/states" and request.body is not None:
            return self._states(msgspec.json.decode(request.body, type=dict[str, list[int]])["tickets"])
        ticket = int(path.rsplit("/", 1)[-1])
        trade = self.trades.get(ticket)
        if trade is None:
            return json_reply({"code": TRADE_UNKNOWN, "status": HTTPStatus.NOT_FOUND}, status=HTTPStatus.NOT_FOUND)
        return json_reply({"ticket": ticket, "epoch": self.epoch, **trade.body})

    def hang(self, request: Request) -> Reply:
        """Let the whole time-out pass."""
        self.clock.sleep(request.timeout_s)
        msg = f"no whole answer within {request.timeout_s} s"
        raise TransportError(msg)

    def _states(self, tickets: list[int]) -> Reply:
        states = {str(ticket): self.trades[ticket].body for ticket in tickets if ticket in self.trades}
        unknown = [ticket for ticket in tickets if ticket not in self.trades]
        return json_reply({"epoch": self.epoch, "states": states, "unknown": unknown})


class AsyncFakeDtms:
    """The same server for coroutines; it never suspends, so no event loop is needed."""

    def __init__(self, server: FakeDtms) -> None:
        self._server = server

    async def fetch(self, request: Request) -> Reply:
        """Answer, or fail as told."""
        return self._server.fetch(request)


def refuse(request: Request) -> Reply:
    """Refuse the connection."""
    msg = f"connection to {request.url} refused"
    raise TransportError(msg)


def status_fault(status: int, body: bytes = b"") -> Fault:
    """Make a fault that answers with a status."""
    return lambda _request: Reply(status=status, body=body)


def body_fault(body: bytes) -> Fault:
    """Make a fault that answers 200 with a body."""
    return status_fault(HTTPStatus.OK, body)


def json_reply(content: object, status: int = HTTPStatus.OK) -> Reply:
    """Return an answer with a JSON body."""
    return Reply(status=int(status), body=msgspec.json.encode(content))

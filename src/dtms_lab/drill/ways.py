"""The ways between the processes: reads through the gateway, orders through its sender, HTTP between API and server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import requests
from requests.adapters import BaseAdapter
from starlette.types import ASGIApp

from dtms.client import Reply as HttpReply
from dtms.client.contract import TIMEOUT_S
from dtms.client.wire import Request as HttpRequest
from dtms.client.wire import TransportError
from dtms.domain.action import Action
from dtms.domain.instrument import Instrument
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import Account, Deal, Position, PositionsRead, WorkingOrder
from dtms.domain.receipt import Outcome, Receipt
from dtms.domain.units import Millis
from dtms.errors import BrokerUnavailableError, InvalidDataError
from dtms.ports.broker import BrokerWrites, GatewayReads
from dtms.services.web.in_process import InProcessAdapter, call
from dtms_lab.drill.dice import Dice
from dtms_lab.drill.hooks import Hooks
from dtms_lab.drill.kinds import Kind, SimCrash
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.fault_plan import ORDER_SEND
from dtms_lab.terminal.faults import HangError
from dtms_lab.terminal.link import Link, Reply

Answer = TypeVar("Answer")

_SLOW_S: Final = TIMEOUT_S + 0.3


class Door(Protocol):
    """What a reader needs of the gateway: its broker while it is up and in reach."""

    def broker_for(self, who: str) -> GatewayReads:
        """Return the gateway's reads.

        Raises:
            BrokerUnavailableError: It is down, stopped, or out of reach for this process.
        """
        ...

    def hung(self) -> None:
        """End the gateway: its terminal hangs, and its watchdog kills it."""
        ...


class QuoteTrouble(Protocol):
    """What may be wrong with a quote on its way."""

    def spoiled(self, quote: Quote) -> Quote:
        """Return the quote as it arrives.

        Raises:
            InvalidDataError: It cannot be one.
        """
        ...


@dataclass(slots=True, kw_only=True)
class Reads:
    """One process's view of the broker; fulfils `GatewayReads`. Each read may fail, and others may act after it."""

    who: str
    door: Door
    hooks: Hooks
    dice: Dice
    quotes: QuoteTrouble

    def account(self) -> Account:
        """Return the account."""
        return self._through(lambda broker: broker.account())

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument."""
        return self._through(lambda broker: broker.instrument(symbol))

    def positions(self) -> PositionsRead:
        """Return all positions."""
        return self._through(lambda broker: broker.positions())

    def working_orders(self) -> tuple[WorkingOrder, ...]:
        """Return the orders that are not finished."""
        return self._through(lambda broker: broker.working_orders())

    def quote(self, symbol: str) -> Quote:
        """Return the last quote, or what became of it."""
        return self.quotes.spoiled(self._through(lambda broker: broker.quote(symbol)))

    def bars(self, symbol: str, timeframe: Timeframe, count: int) -> tuple[Bar, ...]:
        """Return closed bars."""
        return self._through(lambda broker: broker.bars(symbol, timeframe, count))

    def deals(self, position: int) -> tuple[Deal, ...]:
        """Return a position's deals."""
        return self._through(lambda broker: broker.deals(position))

    def deals_between(self, start: Millis, end: Millis) -> tuple[Deal, ...]:
        """Return the deals of a span."""
        return self._through(lambda broker: broker.deals_between(start, end))

    def _through(self, ask: Callable[[GatewayReads], Answer]) -> Answer:
        broker = self.door.broker_for(self.who)
        if self.who != "gateway" and self.dice.strikes(Kind.READS_LOST):
            raise BrokerUnavailableError("the gateway gave no answer in time; nothing was sent")
        try:
            found = ask(broker)
        except HangError as hang:
            self.door.hung()
            if self.who == "gateway":
                raise SimCrash("gateway", "a read that hangs") from hang
            raise BrokerUnavailableError("the gateway gave no answer in time: it was killed") from hang
        self.hooks.between(self.who, "read")
        return found


@dataclass(slots=True)
class SendLog:
    """Which gateway sent which tag, as seen at its door: the truth for the fencing law."""

    epochs: dict[str, int] = field(default_factory=dict)
    at: dict[str, Millis] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, Millis]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Sender:
    """The gateway's sender; fulfils `BrokerWrites`, and writes down what leaves."""

    inner: BrokerWrites
    epoch: int
    log: SendLog
    clock: Callable[[], Millis]

    def send(self, action: Action, *, position: Position | None, tag: str) -> Receipt:
        """Send one action."""
        self.log.epochs[tag] = self.epoch
        self.log.at.setdefault(tag, self.clock())
        self.log.counts[tag] += 1
        try:
            receipt = self.inner.send(action, position=position, tag=tag)
        except HangError as hang:
            raise SimCrash("gateway", "a send that hangs") from hang
        if receipt.outcome is Outcome.REJECTED:
            self.log.refused.append((tag, self.clock()))
        return receipt


class TappedLink:
    """A link that counts the retcodes which the package was told; fulfils `Link`. `before` happens before each call."""

    def __init__(self, inner: Link, before: Callable[[], None]) -> None:
        self._inner = inner
        self._before = before
        self.retcodes: Counter[int] = Counter()

    def open(self) -> None:
        """Connect."""
        self._inner.open()

    def close(self) -> None:
        """Disconnect."""
        self._inner.close()

    def call(self, op: str, args: tuple[Any, ...]) -> Reply:
        """Perform one call."""
        self._before()
        reply = self._inner.call(op, args)
        if op == ORDER_SEND and reply.code == Mt5.RES_S_OK and reply.data:
            self.retcodes[int(reply.data[0])] += 1
        return reply


class ServerDiedError(Exception):
    """The server ended before it had answered."""


class Wire(Protocol):
    """What carries HTTP between the API and the server."""

    def up(self) -> bool:
        """Say whether the server is there and in reach."""
        ...

    def serve(self, work: Callable[[], Answer]) -> Answer:
        """Let the server do a piece of work for somebody else.

        Raises:
            ServerDiedError: It ended meanwhile.
        """
        ...

    def answered(self, method: str, url: str, status: int, body: bytes) -> None:
        """Take note of an answer, as whoever checks it."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...


class DtmsWay:
    """The client's transport: fulfils `Transport`. What is lost, late or garbled on the way is so for this request alone."""

    def __init__(self, app: ASGIApp, wire: Wire, dice: Dice) -> None:
        self._app = app
        self._wire = wire
        self._dice = dice
        self._last: HttpReply | None = None

    def fetch(self, request: HttpRequest) -> HttpReply:
        """Return the server's answer.

        Raises:
            TransportError: There was none in time.
        """
        if not self._wire.up() or self._dice.strikes(Kind.DTMS_LOST):
            raise TransportError("connection refused")
        try:
            status, _headers, body = self._wire.serve(
                lambda: call(self._app, request.method, request.url, request.headers, request.body or b"")
            )
        except ServerDiedError as error:
            raise TransportError("connection reset") from error
        self._wire.answered(request.method, request.url, status, body)
        if self._dice.strikes(Kind.DTMS_REPLY_LOST):
            raise TransportError("connection reset")
        if self._dice.strikes(Kind.DTMS_SLOW):
            self._wire.sleep(_SLOW_S)
            raise TransportError("timed out")
        before, self._last = self._last, HttpReply(status=status, body=body)
        if self._dice.strikes(Kind.DTMS_GARBLED):
            return self._garbled(HttpReply(status=status, body=body), before)
        return self._last

    def _garbled(self, reply: HttpReply, before: HttpReply | None) -> HttpReply:
        choices = [
            HttpReply(status=reply.status, body=reply.body[: len(reply.body) // 2]),
            HttpReply(status=500, body=b'{"code":"internal"}'),
            HttpReply(status=404, body=b"<html>not found</html>"),
            HttpReply(status=200, body=b'{"epoch":"drill","states":{},"unknown":[]}'),
            HttpReply(status=200, body=reply.body.replace(b":1", b":NaN")),
            HttpReply(status=401, body=b"{}"),
        ]
        if before is not None:
            choices += [before, before]
        return self._dice.stream("garbled").choice(choices)


class HttpWay(BaseAdapter):
    """The registrar's adapter for `requests`: the server's application, over the same bad line."""

    def __init__(self, app: ASGIApp, wire: Wire, dice: Dice) -> None:
        super().__init__()
        self._inner = InProcessAdapter(app)
        self._wire = wire
        self._dice = dice

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Answer a prepared request."""
        if not self._wire.up() or self._dice.strikes(Kind.DTMS_LOST):
            raise requests.ConnectionError("connection refused")
        try:
            response = self._wire.serve(lambda: self._inner.send(request, stream, timeout, verify, cert, proxies))
        except ServerDiedError as error:
            raise requests.ConnectionError("connection reset") from error
        self._wire.answered(str(request.method), str(request.url), response.status_code, response.content)
        if self._dice.strikes(Kind.DTMS_REPLY_LOST):
            raise requests.ConnectionError("connection reset")
        return response

    def close(self) -> None:
        """Nothing is held."""


def crossed(quote: Quote) -> InvalidDataError:
    """Return what the adapter says of a quote whose bid is above its ask."""
    return InvalidDataError(f"quote of {quote.symbol} at {quote.at}: bid above ask")

"""What goes over the wire: requests as values, and answers checked before they are believed. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final

import msgspec

from dtms.client.contract import (
    MAX_STATES_BYTES,
    MAX_TRADE_BYTES,
    TIMEOUT_S,
    TRADE_UNKNOWN,
    Known,
    StateEvent,
    is_defensive_state,
)
from dtms.domain.trade import TradeState
from dtms.errors import DtmsError, InvalidDataError

_Version = Annotated[int, msgspec.Meta(ge=0)]
_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_SERVER_ERRORS: Final = 500
_NO_RETRY_WIDE: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})


class NoAnswerError(DtmsError):
    """No usable answer came; the last known state or the default is used. It never leaves the client.

    Attributes:
        retry: Whether a second attempt is worth it.
        wide: Whether it speaks of the whole service; False where only the asked ticket's answer is at fault.
    """

    def __init__(self, reason: str, *, retry: bool, wide: bool) -> None:
        super().__init__(reason)
        self.retry = retry
        self.wide = wide


class TransportError(NoAnswerError):
    """Refused, reset, cut off by the time-out, or larger than the limit."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, retry=True, wide=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request; `timeout_s` is for all of it, and a body of more than `max_bytes` is an error."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout_s: float
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One whole HTTP answer."""

    status: int
    body: bytes


class _StateBody(msgspec.Struct, frozen=True):
    state: TradeState
    pending_to: TradeState | None = None
    defensive: bool | msgspec.UnsetType = msgspec.UNSET
    version: _Version | None = None
    epoch: str | int | None = None


class _TradeBody(_StateBody, frozen=True, kw_only=True):
    ticket: int


class _StatesBody(msgspec.Struct, frozen=True):
    states: dict[int, msgspec.Raw]
    unknown: list[int] = []
    epoch: str | int | None = None


class _EventBody(msgspec.Struct, frozen=True, kw_only=True):
    ticket: int
    state: TradeState
    pending_to: TradeState | None = None
    defensive: bool | msgspec.UnsetType = msgspec.UNSET
    version: _Version
    epoch: str | int


class _ProblemBody(msgspec.Struct, frozen=True):
    code: str | None = None


class _LiveBody(msgspec.Struct, frozen=True):
    service: str | None = None


_TRADE: Final = msgspec.json.Decoder(_TradeBody)
_STATES: Final = msgspec.json.Decoder(_StatesBody)
_STATE: Final = msgspec.json.Decoder(_StateBody)
_EVENT: Final = msgspec.json.Decoder(_EventBody)
_PROBLEM: Final = msgspec.json.Decoder(_ProblemBody)
_LIVE: Final = msgspec.json.Decoder(_LiveBody)


class Requests:
    """Makes the requests of the contract for one base URL."""

    def __init__(self, base_url: str, token: str | None) -> None:
        self._base = base_url
        # "identity": a compressed bomb cannot pass the byte limit. "close": none of us keeps a connection.
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity", "Connection": "close"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def trade(self, ticket: int) -> Request:
        """Ask for one trade."""
        return self._request("GET", f"/dtms/trade/{ticket}", None, MAX_TRADE_BYTES)

    def states(self, tickets: Sequence[int]) -> Request:
        """Ask for many trades at once."""
        return self._request("POST", "/dtms/states", msgspec.json.encode({"tickets": tickets}), MAX_STATES_BYTES)

    def live(self) -> Request:
        """Ask the service for its name."""
        return self._request("GET", "/health/live", None, MAX_TRADE_BYTES)

    def _request(self, method: str, path: str, body: bytes | None, max_bytes: int) -> Request:
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        return Request(
            method=method,
            url=f"{self._base}{path}",
            headers=headers,
            body=body,
            timeout_s=TIMEOUT_S,
            max_bytes=max_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NotInDtms:
    """A 404: DTMS does not manage the ticket; `ours` where the answer carries our code."""

    ours: bool


def read_trade(reply: Reply, ticket: int, sent_ns: int) -> Known | NotInDtms:
    """Return what the answer to `GET /dtms/trade/{ticket}` says.

    Raises:
        NoAnswerError: Another status than 200 and 404, not JSON, not our schema, or another trade's answer.
    """
    if reply.status == HTTPStatus.NOT_FOUND:
        return NotInDtms(ours=_problem_code(reply.body) == TRADE_UNKNOWN)
    _require_ok(reply)
    try:
        body = _TRADE.decode(reply.body)
    except _UNDECODABLE as error:
        raise _not_as_agreed("the answer for one trade", error) from error
    if body.ticket != ticket:
        reason = f"asked for trade {ticket}, answered for {body.ticket}"
        raise NoAnswerError(reason, retry=True, wide=False)
    return _known(ticket, body, body.epoch, sent_ns)


def read_states(reply: Reply, tickets: Sequence[int], sent_ns: int) -> dict[int, Known | NotInDtms]:
    """Return what the answer to `POST /dtms/states` says of each asked ticket.

    A ticket is missing from the result where the answer leaves it out, contradicts itself about it, or its entry is not as
    agreed: one bad entry does not cost the others their answer.

    Raises:
        NoAnswerError: Another status than 200, not JSON, or not our schema as a whole.
    """
    _require_ok(reply)
    try:
        body = _STATES.decode(reply.body)
    except _UNDECODABLE as error:
        raise _not_as_agreed("the answer for several trades", error) from error
    unknown = frozenset(body.unknown)
    found: dict[int, Known | NotInDtms] = {}
    for ticket in tickets:
        raw = body.states.get(ticket)
        if raw is None:
            if ticket in unknown:
                found[ticket] = NotInDtms(ours=True)
        elif ticket not in unknown:
            try:
                entry = _STATE.decode(raw)
            except _UNDECODABLE:
                continue
            found[ticket] = _known(ticket, entry, body.epoch, sent_ns)
    return found


def read_service_name(reply: Reply) -> str | None:
    """Return the name that the service gives itself at /health/live, None where it gives none.

    Raises:
        NoAnswerError: Another status than 200.
    """
    _require_ok(reply)
    try:
        return _LIVE.decode(reply.body).service
    except _UNDECODABLE:
        return None


def read_event(data: bytes | str, *, sent_ns: int) -> StateEvent:
    """Return the state event in the data of one server-sent event.

    Raises:
        InvalidDataError: It is not a state event as agreed; drop the feed and resume it, it may have lost one.
    """
    try:
        body = _EVENT.decode(data)
    except _UNDECODABLE as error:
        msg = f"state event is not as agreed ({_brief(error)}); resume the feed from the last good event"
        raise InvalidDataError(msg) from error
    return StateEvent(
        ticket=body.ticket,
        state=body.state,
        pending_to=body.pending_to,
        defensive=is_defensive_state(body.state) if body.defensive is msgspec.UNSET else body.defensive,
        version=body.version,
        epoch=str(body.epoch),
        sent_ns=sent_ns,
    )


def _known(ticket: int, body: _StateBody, epoch: str | int | None, sent_ns: int) -> Known:
    return Known(
        ticket=ticket,
        state=body.state,
        pending_to=body.pending_to,
        # The server's word counts; without it the contract says: from the state alone.
        defensive=is_defensive_state(body.state) if body.defensive is msgspec.UNSET else body.defensive,
        version=body.version,
        epoch=None if epoch is None else str(epoch),
        sent_ns=sent_ns,
    )


def _problem_code(body: bytes) -> str | None:
    try:
        return _PROBLEM.decode(body).code
    except _UNDECODABLE:
        return None


def _require_ok(reply: Reply) -> None:
    if reply.status == HTTPStatus.OK:
        return
    client_error = HTTPStatus.BAD_REQUEST <= reply.status < _SERVER_ERRORS
    msg = f"status {reply.status}"
    raise NoAnswerError(msg, retry=not client_error, wide=not client_error or reply.status in _NO_RETRY_WIDE)


def _not_as_agreed(what: str, error: Exception) -> NoAnswerError:
    return NoAnswerError(f"{what} is not as agreed ({_brief(error)})", retry=True, wide=True)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]

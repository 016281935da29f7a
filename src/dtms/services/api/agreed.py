"""What the DTMS server's answers must be before they are passed on: the parts that readers rely on, no more."""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import msgspec

from dtms.domain.trade import TradeState
from dtms.errors import InvalidDataError

T = TypeVar("T")

_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_Version = Annotated[int, msgspec.Meta(ge=0)]


class _Trade(msgspec.Struct, frozen=True):
    ticket: int
    state: TradeState
    pending_to: TradeState | None = None
    defensive: bool = False
    version: _Version | None = None
    epoch: str | int | None = None


class _Status(msgspec.Struct, frozen=True):
    system_active: bool


class _Actions(msgspec.Struct, frozen=True):
    actions: list[msgspec.Raw]


class _Problem(msgspec.Struct, frozen=True):
    status: int
    code: str


_TRADE: Final = msgspec.json.Decoder(_Trade)
_STATUS: Final = msgspec.json.Decoder(_Status)
_ACTIONS: Final = msgspec.json.Decoder(_Actions)
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_PROBLEM: Final = msgspec.json.Decoder(_Problem)


def check_trade(body: bytes, ticket: int) -> None:
    """Accept the answer about one trade.

    Raises:
        InvalidDataError: It is not JSON, not a trade, or another trade.
    """
    found = _decoded(_TRADE, body, "the answer about a trade")
    if found.ticket != ticket:
        msg = f"asked for trade {ticket}, answered for {found.ticket}"
        raise InvalidDataError(msg)


def check_status(body: bytes) -> None:
    """Accept the server's status.

    Raises:
        InvalidDataError: It is not JSON or not a status.
    """
    _decoded(_STATUS, body, "the status")


def check_actions(body: bytes) -> None:
    """Accept a page of the journal.

    Raises:
        InvalidDataError: It is not JSON or no such page.
    """
    _decoded(_ACTIONS, body, "the page of the journal")


def members(body: bytes) -> dict[str, msgspec.Raw]:
    """Return the members of a JSON object, each as its own bytes.

    Raises:
        InvalidDataError: It is none.
    """
    return _decoded(_OBJECT, body, "the answer")


def is_problem(body: bytes, status: int) -> bool:
    """Say whether the body is a problem of ours with this status."""
    try:
        return _PROBLEM.decode(body).status == status
    except _UNDECODABLE:
        return False


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes, what: str) -> T:
    try:
        return decoder.decode(body)
    except _UNDECODABLE as error:
        msg = f"{what} is not as agreed ({type(error).__name__}: {error})"[:300]
        raise InvalidDataError(msg) from error

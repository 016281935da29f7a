"""One effect for one Idempotency-Key, however often the request comes: the answer is kept with the effect, for 24 h.

The key belongs to who sent it and to the route. The same key with another body is 422, with the same body the same answer;
while the first request is still under way, 409. An answer that is given again says so, says from when it is, and what holds
now: it may not be true any more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dtms.domain.records import Reply
from dtms.domain.units import Millis, Ticket, to_iso
from dtms.ports.ledger import LedgerRead
from dtms.services.web.fields import Body
from dtms.services.web.guard import principal_of
from dtms.services.web.problem import PROBLEM_JSON, Problem

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
BEGUN: Final = 102
"""The status of the marker that an effect was begun whose answer is not there yet (RFC 2518, Processing)."""

KEY_PATTERN: Final = "^[!-~]{1,128}$"
"""As the OpenAPI document shows it."""

_KEY: Final = re.compile(r"[!-~]{1,128}")
_ERRORS: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """What names one request for ever."""

    key: str
    principal: str
    route: str
    body_hash: str

    @property
    def name(self) -> str:
        """Return it as one text."""
        return f"{self.principal}|{self.route}|{self.key}"

    def reply(self, status: int, body: bytes, now: Millis) -> Reply:
        """Return its answer as the ledger keeps it."""
        return Reply(
            key=self.key,
            principal=self.principal,
            route=self.route,
            body_hash=self.body_hash,
            status=status,
            body=body.decode(),
            created_at=now,
        )

    def begun(self, body: str, now: Millis) -> Reply:
        """Return the marker that is written with the effect, before its answer is known."""
        return Reply(
            key=self.key,
            principal=self.principal,
            route=_begun_route(self.route),
            body_hash=self.body_hash,
            status=BEGUN,
            body=body,
            created_at=now,
        )


def once_of(request: Request, route: str, body: Body | None) -> Once:
    """Return what names the request.

    Raises:
        Problem: 400, the key is missing or is none.
    """
    found = once_or_none(request, route, body)
    if found is None:
        detail = f"Send a fresh {HEADER} header with each new request, and the same one when repeating it."
        raise Problem(400, "idempotency_key_missing", detail)
    return found


def once_or_none(request: Request, route: str, body: Body | None) -> Once | None:
    """Return what names the request, None where it carries no key.

    Raises:
        Problem: 400, the key is none, or stands twice.
    """
    keys = request.headers.getlist(HEADER)
    if not keys:
        return None
    if len(keys) != 1 or _KEY.fullmatch(keys[0]) is None:
        detail = f"{HEADER} must stand once, with 1 to 128 printable ASCII characters and no space."
        raise Problem(400, "idempotency_key_invalid", detail)
    canonical = b"" if body is None else body.model_dump_json(exclude_unset=True).encode()
    return Once(
        key=keys[0],
        principal=principal_of(request.scope).name,
        route=route,
        body_hash=hashlib.sha256(canonical).hexdigest(),
    )


def kept(tx: LedgerRead, once: Once) -> Reply | None:
    """Return the answer that was given to this request before, None where there is none.

    Raises:
        Problem: 422, the key was used for another body.
    """
    return _same(once, tx.reply(once.key, once.principal, once.route))


def begun(tx: LedgerRead, once: Once) -> Reply | None:
    """Return the marker of a request whose effect was begun, None where it was not.

    Raises:
        Problem: 422, the key was used for another body.
    """
    return _same(once, tx.reply(once.key, once.principal, _begun_route(once.route)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """That an answer is an old one: when it was given, and in a word or two what holds now in its place."""

    at: Millis
    now: str

    @property
    def headers(self) -> dict[str, str]:
        """Return what says so beside the answer, which is byte for byte the first one."""
        return {REPLAYED: "true", f"{REPLAYED}-At": to_iso(self.at), "Idempotency-Now": self.now}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One answer; `replay` where it was given before."""

    status: int
    body: bytes
    replay: Replay | None = None


def trade_now(tx: LedgerRead, reply: Reply) -> str:
    """Return what holds now of the trade that a kept answer is about."""
    ticket = _ticket_in(reply.body)
    trade = None if ticket is None else tx.trade(Ticket(ticket))
    if trade is None:
        return "nothing was opened" if ticket is None else f"ticket {ticket} is not managed"
    if not trade.is_open:
        return f"ticket {ticket} is closed ({trade.close_reason})"
    return f"ticket {ticket} is {trade.state}, version {trade.version}"


def _ticket_in(body: str) -> int | None:
    try:
        return msgspec.json.decode(body, type=_Named).ticket
    except msgspec.DecodeError:
        return None


class _Named(msgspec.Struct, frozen=True):
    ticket: int | None = None


def answer_of(reply: Reply, replay: Replay | None = None) -> Response:
    """Return an answer as it was kept, marked where it is a repetition."""
    kind = PROBLEM_JSON if reply.status >= _ERRORS else "application/json"
    return Response(reply.body.encode(), reply.status, None if replay is None else replay.headers, kind)


class UnderWay:
    """The requests with a key that this process is answering now."""

    def __init__(self) -> None:
        self._hashes: dict[tuple[str, str, str], str] = {}

    @contextmanager
    def enter(self, once: Once) -> Iterator[None]:
        """Hold the key while the request is answered.

        Raises:
            Problem: 409 where the same request is under way; 422 where another body came with its key.
        """
        mark = (once.principal, once.route, once.key)
        present = self._hashes.get(mark)
        if present is not None and present != once.body_hash:
            raise _other_body()
        if present is not None:
            detail = "The same request is still under way; wait for its answer, then repeat it to read the answer."
            raise Problem(409, "idempotency_in_flight", detail, headers={"Retry-After": "1"})
        self._hashes[mark] = once.body_hash
        try:
            yield
        finally:
            del self._hashes[mark]


def _begun_route(route: str) -> str:
    return f"{route} (begun)"


def _same(once: Once, found: Reply | None) -> Reply | None:
    if found is not None and found.body_hash != once.body_hash:
        raise _other_body()
    return found


def _other_body() -> Problem:
    detail = f"This {HEADER} was used with another body; send a fresh key with each new request."
    return Problem(422, "idempotency_key_reused", detail)

"""The guard in front of every application: Host, Origin, token, request id, safe headers, and the last resort.

A local address is not a boundary: a page in the user's browser can send requests to it. So the Host header must name us
(DNS rebinding), a foreign Origin is refused (cross-site requests), and every write needs the token. Pure ASGI.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dtms.errors import DtmsError
from dtms.services.web.access import ANYBODY, Access, Principal, Tokens, access_needed
from dtms.services.web.metrics import Metrics
from dtms.services.web.problem import PROBLEM_JSON, REQUEST_ID, Problem, internal, of_error, request_id_of
from dtms.services.web.wrong_tokens import WrongTokens

PRINCIPAL: Final = "dtms.principal"
"""The key of the `Principal` in the ASGI scope."""

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")

Headers = Iterable[tuple[bytes, bytes]]

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:@/+=-]{1,64}")
_ONCE: Final = frozenset({b"host", b"origin", b"authorization", b"x-request-id", b"sec-fetch-site"})
_BEARER: Final = b"bearer "
_SAFE: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_WRONG_TOKEN: Final = "token_invalid"  # noqa: S105 - a problem's code
_WS_POLICY_VIOLATION: Final = 1008  # RFC 6455, section 7.4.1

_log = structlog.get_logger("dtms.web")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPolicy:
    """What the guard lets through.

    `hosts` are the accepted Host headers with their port, in lower case. `origins` are the accepted Origin headers.
    `token_for_reads` must be set off loopback. Paths under `own_guard` (the dashboard has a session of its own) need no
    token, but Host and Origin are checked there too.
    """

    hosts: frozenset[bytes]
    origins: frozenset[bytes]
    token_for_reads: bool = False
    own_guard: tuple[str, ...] = ()


def loopback_policy(port: int, *, origins: Iterable[str] = (), own_guard: tuple[str, ...] = ()) -> GuardPolicy:
    """Return the policy of a service on this machine's loopback: its three names with its port, and its own origin."""
    hosts = frozenset(f"{name}:{port}".encode() for name in LOOPBACK_NAMES)
    own = frozenset(b"http://" + host for host in hosts)
    return GuardPolicy(hosts=hosts, origins=own | {origin.encode() for origin in origins}, own_guard=own_guard)


class RequestIds:
    """Makes request identifiers: a prefix of this process and a counter."""

    def __init__(self, prefix: str | None = None) -> None:
        self._prefix = secrets.token_hex(4) if prefix is None else prefix
        self._count = itertools.count(1)

    def __call__(self) -> str:
        """Return the next identifier."""
        return f"{self._prefix}-{next(self._count):x}"


class Gate:
    """Decides whether a request may pass; the guard and the hot routes ask the same one."""

    def __init__(
        self,
        policy: GuardPolicy,
        tokens: Tokens,
        *,
        access: Callable[[str, str], Access] = access_needed,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        self._policy = policy
        self._tokens = tokens
        self._access = access
        self._new_id = RequestIds() if new_id is None else new_id

    def request_id(self, scope: Scope) -> str:
        """Return the client's request id where it is well-formed, else a new one; it is kept in the scope."""
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        found = given.decode("ascii") if _REQUEST_ID.fullmatch(given) else self._new_id()
        scope[REQUEST_ID] = found
        return found

    def admit(self, scope: Scope, *, write: bool = False) -> Principal:
        """Let the request pass, or raise the `Problem` that says why not.

        Args:
            scope: Its ASGI scope, of type http or websocket.
            write: Whether it reaches a route that changes something or may do so; a path that does not exist and a method
                that it does not have are answered without asking for the token.
        """
        raw = scope["headers"]
        headers = dict(raw)
        if len(headers) != len(raw):
            _require_once(raw)
        host = headers.get(b"host", b"")
        if host not in self._policy.hosts and host.lower() not in self._policy.hosts:
            raise Problem(421, "host_not_ours", "The Host header does not name this service with its port.")
        origin = headers.get(b"origin")
        if origin is not None and origin not in self._policy.origins:
            raise Problem(403, "origin_not_allowed", "Requests of pages from elsewhere are refused.")
        if headers.get(b"sec-fetch-site") == b"cross-site":
            raise Problem(403, "cross_site", "Requests of pages from elsewhere are refused.")
        return self._identify(scope, headers.get(b"authorization"), write=write)

    def _identify(self, scope: Scope, authorization: bytes | None, *, write: bool) -> Principal:
        path: str = scope["path"]
        if not write and not self._policy.token_for_reads:
            return ANYBODY
        if self._policy.own_guard and path.startswith(self._policy.own_guard):
            return ANYBODY
        needed = self._access(scope.get("method", "GET"), path)
        if needed is Access.READ and not self._policy.token_for_reads:
            return ANYBODY
        if authorization is None or not authorization.lower().startswith(_BEARER):
            raise _unauthorized("token_missing", "A bearer token is needed: Authorization: Bearer <token>.")
        principal = self._tokens.principal(authorization[len(_BEARER) :].strip())
        if principal is None:
            raise _unauthorized(_WRONG_TOKEN, "The bearer token is not known here.")
        if needed not in principal.access:
            raise Problem(403, "scope_missing", f"The token lacks the scope {needed}.")
        return principal


class Guard:
    """The outermost part of an application; only what the gate admits gets in, and every answer leaves with safe headers.

    Args:
        app: The application.
        gate: What decides.
        metrics: Where requests are counted.
        routes: The application's routes, asked whether a write meets one of them.
        now_ns: A clock for durations.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        metrics: Metrics,
        *,
        routes: Iterable[BaseRoute],
        now_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._app = app
        self._gate = gate
        self._metrics = metrics
        self._routes = routes
        self._now_ns = now_ns
        self._wrong_tokens = WrongTokens(now_ns)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; lifespan events go to the application as they are."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send, self._gate.request_id(scope))
        begun = self._now_ns()
        with structlog.contextvars.bound_contextvars(request_id=answer.request_id):
            try:
                scope[PRINCIPAL] = self._gate.admit(scope, write=self._is_write(scope))
                await self._app(scope, receive, answer.send)
            except Problem as problem:
                await self._refuse(scope, answer, problem)
            except DtmsError as error:
                _log.warning("request failed", error=repr(error))
                await answer.problem(of_error(error))
            except Exception:  # noqa: BLE001 - the boundary: recorded, and the client learns no more than the request id
                _log.exception("request failed unexpectedly", route=_template(scope))
                await answer.problem(internal())
            finally:
                self._metrics.request(_template(scope), scope["method"], answer.status, self._now_ns() - begun)

    async def _refuse(self, scope: Scope, answer: _Answer, problem: Problem) -> None:
        self._metrics.refused(problem.code)
        _log.warning("request refused", code=problem.code, method=scope["method"], client=_client(scope))
        if problem.code == _WRONG_TOKEN:
            await self._wrong_tokens.hold_back()
        await answer.problem(problem)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate.request_id(scope)
        try:
            scope[PRINCIPAL] = self._gate.admit(scope)
        except Problem as problem:
            self._metrics.refused(problem.code)
            _log.warning("websocket refused", code=problem.code, client=_client(scope))
            await receive()
            await send({"type": "websocket.close", "code": _WS_POLICY_VIOLATION, "reason": problem.code})
            return
        await self._app(scope, receive, send)

    def _is_write(self, scope: Scope) -> bool:
        if scope["method"] in {"GET", "HEAD"}:
            return False
        return any(route.matches(scope)[0] is Match.FULL for route in self._routes)


class _Answer:
    """The way out of one request: adds the guard's headers, and remembers whether an answer has begun."""

    __slots__ = ("_send", "request_id", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": _with_safe_headers(message.get("headers", ()), self.request_id)}
        await self._send(message)

    async def problem(self, problem: Problem) -> None:
        if self.status != 0:
            return  # the answer has begun; it breaks off, and the client sees that
        body = problem.body(self.request_id)
        headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
        headers += [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def principal_of(scope: Scope) -> Principal:
    """Return who sent the request; anybody may read where no guard stands before the application."""
    found = scope.get(PRINCIPAL)
    return found if isinstance(found, Principal) else ANYBODY


def safe_headers(request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers that every answer carries."""
    return [*_SAFE, (b"x-request-id", request_id.encode())]


async def send_problem(send: Send, scope: Scope, problem: Problem) -> None:
    """Send a problem as the whole answer, with the guard's headers."""
    await _Answer(send, request_id_of(scope)).problem(problem)


def _with_safe_headers(headers: Headers, request_id: str) -> list[tuple[bytes, bytes]]:
    merged = list(headers)
    present = {name.lower() for name, _ in merged}
    merged += [header for header in safe_headers(request_id) if header[0] not in present]
    return merged


def _require_once(raw: Headers) -> None:
    names = [name for name, _ in raw if name in _ONCE]
    if len(names) != len(set(names)):
        raise Problem(400, "header_repeated", "A header that decides about access stands twice in the request.")


def _unauthorized(code: str, detail: str) -> Problem:
    return Problem(401, code, detail, headers={"WWW-Authenticate": "Bearer"})


def _template(scope: Scope) -> str:
    """Return the route's path as it was declared: a label with a bounded number of values."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "unmatched"


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "unknown"

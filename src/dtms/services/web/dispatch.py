"""The small dispatcher in front of FastAPI: hot reads answered from encoded bytes, at nearly the speed of bare ASGI.

A route inside FastAPI costs half of the requests a second or more, whatever it answers. What is not hot falls through to
the application, which declares the same paths (for its OpenAPI document, other methods, and queries).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from dtms.errors import DtmsError
from dtms.services.web.etag import matches
from dtms.services.web.guard import Gate, safe_headers, send_problem
from dtms.services.web.metrics import Metrics
from dtms.services.web.problem import Problem, internal, of_error

HotAnswer = tuple[int, bytes, str | None]
"""Status, encoded JSON, and the ETag with its quotes, None where there is none."""

HotRead = Callable[[str], HotAnswer | None]
"""Gets what follows the prefix, "" for an exact path; None lets the application answer. It may raise a `Problem`."""

_JSON: Final = (b"content-type", b"application/json")

_log = structlog.get_logger("dtms.web")


class HotRoutes:
    """Answers GET on some paths itself and passes on everything else.

    Args:
        app: What answers everything else: the guarded application.
        gate: The same gate as the guard's; Host, Origin and token are checked here too.
        metrics: Where requests are counted.
        exact: Whole paths.
        prefixes: Paths up to and including their last slash; one more segment follows.
        now_ns: A clock for durations.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        metrics: Metrics,
        *,
        exact: Mapping[str, HotRead] | None = None,
        prefixes: Mapping[str, HotRead] | None = None,
        now_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._app = app
        self._gate = gate
        self._metrics = metrics
        self._exact = {} if exact is None else dict(exact)
        self._prefixes = {} if prefixes is None else dict(prefixes)
        self._now_ns = now_ns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a hot read, pass on everything else."""
        if scope["type"] == "http" and scope["method"] == "GET" and not scope["query_string"]:
            path: str = scope["path"]
            read = self._exact.get(path)
            if read is not None:
                if await self._answer(scope, send, read, "", path):
                    return
            else:
                cut = path.rfind("/") + 1
                prefix = path[:cut]
                read = self._prefixes.get(prefix)
                if read is not None and await self._answer(scope, send, read, path[cut:], prefix):
                    return
        await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, send: Send, read: HotRead, rest: str, route: str) -> bool:
        begun = self._now_ns()
        request_id = self._gate.request_id(scope)
        try:
            self._gate.admit(scope)
            found = read(rest)
        except Problem as problem:
            return await self._refuse(scope, send, problem, route, begun)
        except DtmsError as error:
            _log.warning("request failed", error=repr(error), request_id=request_id)
            return await self._refuse(scope, send, of_error(error), route, begun)
        except Exception:  # noqa: BLE001 - the boundary: recorded, and the client learns no more than the request id
            _log.exception("request failed unexpectedly", route=route, request_id=request_id)
            return await self._refuse(scope, send, internal(), route, begun)
        if found is None:
            return False
        status, body, etag = found
        headers = safe_headers(request_id)
        if etag is not None:
            headers.append((b"etag", etag.encode()))
            if matches(_if_none_match(scope), etag):
                status, body = 304, b""
        if status != 304:  # noqa: PLR2004 - 304 Not Modified has no body
            headers += (_JSON, (b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self._metrics.request(route, "GET", status, self._now_ns() - begun)
        return True

    async def _refuse(self, scope: Scope, send: Send, problem: Problem, route: str, begun: int) -> bool:
        self._metrics.refused(problem.code)
        await send_problem(send, scope, problem)
        self._metrics.request(route, "GET", problem.status, self._now_ns() - begun)
        return True


def _if_none_match(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"if-none-match":
            return str(value, "latin-1")
    return None

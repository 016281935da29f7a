"""The way from the main API to the DTMS server: one shared client, one time-out for all of it, one breaker.

Every failure has its own answer, and none is a 200: 502 for an answer that is not as agreed, 503 where the connection is
refused or the breaker is open, 504 where no whole answer came in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpx
import structlog

from dtms.errors import InvalidDataError
from dtms.services.api.agreed import is_problem
from dtms.services.api.breaker import Breaker
from dtms.services.web.problem import Problem

TIMEOUT_S: Final = 5.0
MAX_BYTES: Final = 16 << 20
"""A page of 1,000 trades is about 4 MiB."""

_NO_PATIENCE: Final = {"Retry-After": "5"}
_PASSED: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY})
"""What speaks of the caller's own request."""

_log = structlog.get_logger("dtms.api")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question: `path` with its query, the request's id, and what the caller holds already."""

    path: str
    request_id: str
    if_none_match: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A good answer: 200 with its body, or 304 without one."""

    status: int
    body: bytes
    etag: str | None


class DtmsLink:
    """Asks the DTMS server.

    Args:
        http: The shared client; its giver closes it.
        base_url: The DTMS server.
        now_ns: The boot-time clock.
        token: Shown where the server wants one for reads.
        timeout_s: For a whole answer, from connecting to the last byte.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        base_url: str,
        *,
        now_ns: Callable[[], int],
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._http = http
        self._base = base_url.rstrip("/")
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout_s = timeout_s
        self.breaker = Breaker(now_ns)

    async def get(self, asked: Asked, check: Callable[[bytes], None]) -> Answered:
        """Return a good answer.

        Args:
            asked: The question.
            check: Raises `InvalidDataError` where a body of status 200 is not as agreed.

        Raises:
            Problem: 400, 404 and 422 as the server said them; 502, 503 or 504 where it gave no good answer.
        """
        if not self.breaker.admit():
            detail = "The DTMS server failed several times running; it is asked again in some seconds."
            raise Problem(503, "dtms_breaker_open", detail, headers=_NO_PATIENCE)
        try:
            answered = self._judged(await self._fetch(asked), check)
        except Problem as problem:
            if problem.status in _PASSED or problem.code == "dtms_not_ready":
                self.breaker.succeeded()
            else:
                self.breaker.failed()
                _log.warning("DTMS server gave no good answer", code=problem.code, path=asked.path.partition("?")[0])
            raise
        except BaseException:
            self.breaker.abandoned()
            raise
        self.breaker.succeeded()
        return answered

    async def _fetch(self, asked: Asked) -> httpx.Response:
        headers = {**self._headers, "X-Request-ID": asked.request_id}
        if asked.if_none_match is not None:
            headers["If-None-Match"] = asked.if_none_match
        try:
            async with _time_limit(self._timeout_s):
                return await self._exchange(f"{self._base}{asked.path}", headers)
        except (httpx.TimeoutException, TimeoutError) as error:
            detail = f"The DTMS server gave no whole answer within {self._timeout_s:g} s."
            raise Problem(504, "dtms_timeout", detail) from error
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.DecodingError) as error:
            raise _not_as_agreed(repr(error)) from error
        except httpx.TransportError as error:
            detail = "The DTMS server cannot be reached; is it running?"
            raise Problem(503, "dtms_unreachable", detail, headers=_NO_PATIENCE) from error

    async def _exchange(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        request = self._http.build_request("GET", url, headers=headers, timeout=self._timeout_s)
        response = await self._http.send(request, stream=True, follow_redirects=False)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise _not_as_agreed(f"more than {MAX_BYTES} bytes")
        finally:
            await response.aclose()
        return httpx.Response(response.status_code, headers=_kept(response.headers), content=bytes(body))

    def _judged(self, response: httpx.Response, check: Callable[[bytes], None]) -> Answered:
        status, body = response.status_code, response.content
        etag = response.headers.get("etag")
        if status == HTTPStatus.NOT_MODIFIED:
            return Answered(status=status, body=b"", etag=etag)
        if status == HTTPStatus.OK:
            try:
                check(body)
            except InvalidDataError as error:
                raise _not_as_agreed(str(error)) from error
            return Answered(status=status, body=body, etag=etag)
        raise _as_problem(response)


def _as_problem(response: httpx.Response) -> Problem:
    """Return what an answer that is no success means for the caller."""
    status, body = response.status_code, response.content
    if status in _PASSED and is_problem(body, status):
        return PassedProblem(status, body)
    if status == HTTPStatus.NOT_FOUND:
        _log.warning("DTMS server answered 404 without its own code; is the URL the DTMS server's?")
        return Problem(404, "not_found", "The DTMS server does not know it.")
    if status == HTTPStatus.SERVICE_UNAVAILABLE and is_problem(body, status):
        headers = {"Retry-After": response.headers.get("retry-after", "1")}
        return Problem(503, "dtms_not_ready", "The DTMS server is not ready; try again.", headers=headers)
    return _not_as_agreed(f"status {status}")


class PassedProblem(Problem):
    """The DTMS server's own problem, passed on member by member; only the request's id is written anew."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status, "dtms", "The DTMS server's own answer.")
        self._body = body

    def body(self, request_id: str) -> bytes:
        """Return the server's body: it was asked with this request's id."""
        del request_id
        return self._body


def _not_as_agreed(why: str) -> Problem:
    _log.warning("DTMS server's answer is not as agreed", why=why)
    detail = "The DTMS server's answer is not as agreed; check that its URL and version are right (see the log)."
    return Problem(502, "dtms_bad_answer", detail)


def _kept(headers: httpx.Headers) -> dict[str, str]:
    return {name: headers[name] for name in ("etag", "retry-after", "content-type") if name in headers}


def _time_limit(timeout_s: float) -> AbstractAsyncContextManager[object]:
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # driven by hand: nothing waits, and there is no clock to wait on
        return nullcontext()
    return asyncio.timeout(timeout_s)

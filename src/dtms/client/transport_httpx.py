"""The live carrier for coroutines, over `httpx`, with a time-out for all of the exchange."""

from __future__ import annotations

import asyncio
from typing import Final

import httpx

from dtms.client.transport import is_plain, too_large
from dtms.client.wire import Reply, Request, TransportError

_TRANSPORT_FAULTS: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError)


class HttpxTransport:
    """Carries requests by an `httpx.AsyncClient`; one made here reads nothing from the environment."""

    def __init__(self, http: httpx.AsyncClient | None = None) -> None:
        self._owns = http is None
        self._http = _own_client() if http is None else http

    async def fetch(self, request: Request) -> Reply:
        """Return the whole answer, cut off at the time-out.

        Raises:
            TransportError: Refused, reset, cut off, or too large.
        """
        try:
            async with asyncio.timeout(request.timeout_s):
                return await self._exchange(request)
        except (TimeoutError, httpx.TimeoutException) as error:
            msg = f"no whole answer within {request.timeout_s} s"
            raise TransportError(msg) from error
        except _TRANSPORT_FAULTS as error:
            msg = f"{type(error).__name__}: {error}"[:200]
            raise TransportError(msg) from error

    async def aclose(self) -> None:
        """Close the client that was made here; one that was given is its giver's."""
        if self._owns:
            await self._http.aclose()

    async def _exchange(self, request: Request) -> Reply:
        async with self._http.stream(
            request.method,
            request.url,
            headers=dict(request.headers),
            content=request.body,
            timeout=request.timeout_s,
            follow_redirects=False,
        ) as response:
            if not is_plain(response.headers):
                msg = f"the answer is encoded as {response.headers['Content-Encoding']!r:.40}, which was not asked for"
                raise TransportError(msg)
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > request.max_bytes:
                    raise TransportError(too_large(request))
            return Reply(status=response.status_code, body=bytes(body))


def _own_client() -> httpx.AsyncClient:
    # A kept connection that the server has meanwhile given up would cost the first attempt.
    return httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

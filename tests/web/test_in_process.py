"""Applications without a socket, by every client that the services use."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import requests

from dtms.errors import InvariantError
from dtms.services.web.in_process import InProcessAdapter, InProcessTransport, call, drive

ORDER = {"ticket": 1, "symbol": "EURUSD", "direction": "BUY", "entry": 1.1, "volume": 0.1}
BEARER = {"Authorization": "Bearer " + "t" * 43}


def test_requests_reaches_the_application(site: Any) -> None:
    session = requests.Session()
    session.mount("http://127.0.0.1:8001", InProcessAdapter(site.app))

    made = session.post("http://127.0.0.1:8001/orders", json=ORDER, headers=BEARER)
    read = session.get("http://127.0.0.1:8001/trade/5")

    assert (made.status_code, read.json(), read.headers["Content-Type"]) == (201, {"ticket": 5}, "application/json")
    assert [order.entry for order in site.orders] == [1.1]


def test_httpx_reaches_the_application_without_a_loop(site: Any) -> None:
    client = httpx.AsyncClient(
        transport=InProcessTransport(site.app), base_url="http://127.0.0.1:8001", trust_env=False
    )

    async def ask() -> tuple[int, Any]:
        made = await client.post("/orders", json=ORDER, headers=BEARER)
        return made.status_code, (await client.get("/trade/5")).json()

    assert drive(ask()) == (201, {"ticket": 5})


def test_an_escaped_path_and_a_query_arrive_as_sent(site: Any) -> None:
    seen: list[tuple[str, bytes, bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["path"], scope["query_string"], dict(scope["headers"])[b"host"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    assert call(app, "GET", "http://127.0.0.1:8002/bars/BTC%2FUSDT?a=%20b") == (204, [], b"")
    assert seen == [("/bars/BTC/USDT", b"a=%20b", b"127.0.0.1:8002")]


def test_a_coroutine_that_needs_a_loop_is_our_bug() -> None:
    async def waits() -> None:
        await asyncio.sleep(0)

    with pytest.raises(InvariantError, match="driven by hand suspended"):
        drive(waits())


def test_an_application_that_does_not_answer_is_our_bug() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        return

    with pytest.raises(InvariantError, match="without an answer"):
        call(silent, "GET", "http://127.0.0.1:8001/")

"""The feed and the proxies over real sockets, against the DTMS server's real application."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import httpx
import pytest
import uvicorn

from dtms.client import DtmsClient, Reply, Source
from dtms.client.wire import Request, TransportError
from dtms.domain.trade import TradeState
from dtms.services.api.agreed import check_status
from dtms.services.api.dtms_link import Asked, DtmsLink
from dtms.services.api.feed import FeedBrokenError, FeedReader, StateFeed, http_feed
from dtms.services.server import Site, make_server_app
from dtms.services.server import simulated_parts as simulated_server
from dtms.services.web.access import OneToken
from dtms.services.web.guard import Gate, GuardPolicy
from dtms.services.web.problem import Problem

if TYPE_CHECKING:
    from tests.api.conftest import World

PATIENCE_S = 20.0


@pytest.fixture
def url(world: World) -> Iterator[str]:
    """The address of the DTMS server of the world."""
    parts = simulated_server(world.parts, world.server, world.broker, act=world.act)
    policy = GuardPolicy(hosts=EveryHost(), origins=frozenset())
    app = make_server_app(Site(parts), gate=Gate(policy, OneToken("t" * 43)))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


class EveryHost(frozenset[bytes]):
    """The port is known only when the server listens."""

    def __contains__(self, _host: object) -> bool:
        return True


def eventually(question: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while not question():
        if time.monotonic() >= end:
            return False
        time.sleep(0.01)
    return True


def newest(world: World) -> int:
    with world.ledger.read() as tx:
        return tx.last_event()


class NoTransport:
    """Nobody is to be asked: what is known came by the feed."""

    def fetch(self, request: Request) -> Reply:
        raise TransportError(f"{request.url} was asked")


def test_a_pushed_state_reaches_the_client_without_a_question(world: World, url: str) -> None:
    ticket = world.managed()
    client = DtmsClient(url, now_ns=world.clock.boot_ns, sleep=world.clock.sleep, transport=NoTransport())
    reader = FeedReader(client)
    feed = StateFeed(reader, http_feed(url))
    feed.start()
    try:
        assert eventually(lambda: client.stats.heartbeats > 0)
        world.hedged()
        assert eventually(lambda: client.stats.events > 0)
        assert eventually(lambda: client.state(ticket + 1).state is TradeState.HEDGED)
        answer = client.state(ticket + 1)
        assert (answer.source, answer.defensive, answer.epoch) == (Source.CACHE, True, "first")
        assert eventually(lambda: reader.last_id == newest(world))
    finally:
        feed.stop(0)
        world.managed()  # the clock stands, so there are no more heartbeats: another line must come
        assert feed.stop(PATIENCE_S) is True


def test_the_stream_goes_on_behind_the_last_event(world: World, url: str) -> None:
    world.managed()
    last = newest(world)
    with http_feed(url)(last - 1) as lines:
        assert b"id: %d" % last in islice(lines, 4)


def test_a_server_that_is_not_there_breaks_the_feed_and_does_not_raise_strangers() -> None:
    with pytest.raises(FeedBrokenError), http_feed("http://127.0.0.1:9")(None):
        pass


def test_a_service_that_sends_no_events_is_no_feed(url: str) -> None:
    with pytest.raises(FeedBrokenError, match="404"), http_feed(f"{url}/elsewhere")(None):
        pass


def test_the_shared_client_asks_over_a_real_socket(url: str) -> None:
    async def ask() -> tuple[int, int]:
        async with httpx.AsyncClient(trust_env=False) as http:
            link = DtmsLink(http, url, now_ns=time.monotonic_ns)
            good = await link.get(Asked(path="/dtms/status", request_id="r"), check_status)
            dead = DtmsLink(http, "http://127.0.0.1:9", now_ns=time.monotonic_ns)
            with pytest.raises(Problem) as caught:
                await dead.get(Asked(path="/dtms/status", request_id="r"), check_status)
            return good.status, caught.value.status

    assert asyncio.run(ask()) == (200, 503)

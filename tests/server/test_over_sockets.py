"""The query contract, end to end: both clients over real sockets against the real application."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest
import requests

from dtms.client import AsyncDtmsClient, DtmsClient, Identity, Source, StateAnswer, read_event
from dtms.domain.trade import Pending, TradeState
from dtms.services.server import make_server_app
from dtms.services.server.parts import polling
from dtms.services.web.access import OneToken
from dtms.services.web.guard import Gate, loopback_policy
from dtms.services.web.offload import in_thread
from dtms.services.web.serve import make_server

TOKEN = "t" * 43


@dataclass
class Served:
    """A world behind a socket."""

    world: Any
    url: str


@pytest.fixture
def served(make_world: Any) -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        world = make_world(port=port)
        world.swap(wait_until=polling(in_thread, asyncio.sleep, world.clock.boot_ns))
        app = make_server_app(world.site, gate=Gate(loopback_policy(port), OneToken(TOKEN)))
        server = make_server(app, host="127.0.0.1", port=port)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Served(world=world, url=f"http://127.0.0.1:{port}")
        finally:
            server.should_exit = True
            thread.join(timeout=10)
            assert not thread.is_alive()


Ask = Callable[[list[int]], dict[int, StateAnswer]]


@pytest.fixture(params=["one by one", "at once", "async, one by one", "async, at once"])
def ask(request: pytest.FixtureRequest, served: Served) -> Ask:
    """Asks about tickets in each of the client's ways, with nothing remembered from before."""
    at_once = request.param.endswith("at once")

    def blocking(tickets: list[int]) -> dict[int, StateAnswer]:
        client = DtmsClient(served.url, sleep=lambda _seconds: None, on_warning=lambda _text: None)
        return client.states(tickets) if at_once else {ticket: client.state(ticket) for ticket in tickets}

    async def coroutine(tickets: list[int]) -> dict[int, StateAnswer]:
        async def no_wait(_seconds: float) -> None:
            await asyncio.sleep(0)

        async with AsyncDtmsClient(served.url, sleep=no_wait, on_warning=lambda _text: None) as client:
            return await client.states(tickets) if at_once else {t: await client.state(t) for t in tickets}

    if request.param.startswith("async"):
        return lambda tickets: asyncio.run(coroutine(tickets))
    return blocking


def test_a_clients_answer_is_what_the_ledger_says(served: Served, ask: Ask) -> None:
    hedged, healthy = served.world.hedged(), served.world.managed()

    answers = ask([hedged, healthy, 4711])

    said = {t: (a.state, a.defensive, a.version, a.epoch, a.source) for t, a in answers.items()}
    assert said == {
        hedged: (TradeState.HEDGED, True, served.world.trade(hedged).version, "first", Source.LIVE),
        healthy: (TradeState.HEALTHY, False, 1, "first", Source.LIVE),
        4711: (None, False, None, None, Source.LIVE),
    }


def test_a_pending_defence_is_defensive_already(served: Served, ask: Ask) -> None:
    ticket = served.world.managed()
    pending = Pending(
        to=TradeState.WARNING_L2, row="l1_to_l2", decision_id="d", decided_at=served.world.clock.now, steps=()
    )
    served.world.put(ticket, state=TradeState.WARNING_L1, pending=pending)

    answer = ask([ticket])[ticket]

    assert (answer.state, answer.pending_to, answer.defensive) == (TradeState.WARNING_L1, TradeState.WARNING_L2, True)


def test_before_recovery_the_client_falls_back_and_never_takes_it_for_unknown(served: Served, ask: Ask) -> None:
    ticket = served.world.hedged()
    served.world.swap(recovered=lambda: False)

    answer = ask([ticket])[ticket]

    assert (answer.source, answer.defensive) == (Source.DEFAULT, False)


def test_a_client_that_knew_the_state_keeps_it_over_a_restart(served: Served) -> None:
    ticket = served.world.hedged()
    now = [0]
    client = DtmsClient(served.url, now_ns=lambda: now[0], sleep=lambda _s: None, on_warning=lambda _text: None)
    before = client.state(ticket)
    served.world.swap(recovered=lambda: False)
    now[0] = 29_000_000_000

    answer = client.state(ticket)

    assert before.source is Source.LIVE
    assert (answer.source, answer.defensive) == (Source.LAST_KNOWN, True)


def test_a_released_trade_is_not_in_dtms_and_clears_what_was_known(served: Served) -> None:
    ticket = served.world.hedged()
    now = [0]
    client = DtmsClient(served.url, now_ns=lambda: now[0])
    before = client.is_defensive(ticket)
    served.world.put(ticket, legs=(), state=TradeState.WARNING_L2)
    told = _session().delete(
        f"{served.url}/dtms/trade/{ticket}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10
    )
    now[0] = 10_000_000_000

    answer = client.state(ticket)

    assert (before, told.status_code) == (True, 204)
    assert (answer.state, answer.defensive, answer.source) == (None, False, Source.LIVE)


def test_the_server_is_known_by_its_name(served: Served) -> None:
    identity = DtmsClient(served.url).check_service()

    assert (identity.identity, identity.name) == (Identity.OURS, "dtms-server")


def test_a_registration_waits_for_the_gateway_that_works_beside_it(served: Served) -> None:
    world = served.world
    ticket = world.opened()
    stop = threading.Event()

    def gateway() -> None:
        while not stop.wait(0.005):
            world.act()

    thread = threading.Thread(target=gateway)
    thread.start()
    try:
        told = _session().post(
            f"{served.url}/dtms/trade/enable",
            json=world.order(ticket),
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=10,
        )
    finally:
        stop.set()
        thread.join(timeout=10)

    assert (told.status_code, told.json()["stop_loss"], told.json()["protection_active"]) == (201, 1.0901, True)


def test_a_stream_over_a_socket_resumes_where_it_broke_off(served: Served) -> None:
    first = served.world.managed()
    seen, state = _follow(served.url, "0", 1)
    second = served.world.managed()
    resumed, next_state = _follow(served.url, seen, 1)

    assert (state.ticket, state.version, state.epoch) == (first, 1, "first")
    assert (next_state.ticket, int(resumed)) == (second, int(seen) + 1)


def _follow(url: str, last: str, count: int) -> tuple[str, Any]:
    """Read so many state events behind the last one that was seen; return the newest one's id and value."""
    found: list[tuple[str, Any]] = []
    lines: dict[str, str] = {}
    with httpx.stream("GET", f"{url}/dtms/events", headers={"Last-Event-ID": last}, timeout=10) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                lines[name] = value
                continue
            if lines.get("event") == "state":
                sent_ns = msgspec.json.decode(lines["data"])["sent_ns"]
                found.append((lines["id"], read_event(lines["data"], sent_ns=sent_ns)))
            lines = {}
            if len(found) == count:
                break
    return found[-1]


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session

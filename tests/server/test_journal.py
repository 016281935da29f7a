"""The journal and the event stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from dtms.client import AsyncDtmsClient, DtmsClient, Source, read_event
from dtms.client.fake import AsyncFakeDtms, FakeDtms, ManualClock, refuse
from dtms.domain.records import EventKind
from dtms.domain.trade import ScorePoint, TradeState
from dtms.domain.units import MINUTE, Millis
from dtms.services.web.in_process import drive
from dtms.services.web.offload import inline
from dtms.services.web.sse import EventFeed


def test_the_journal_says_what_was_asked_and_what_became_of_it(world: Any) -> None:
    ticket = world.managed()
    world.amended(ticket, 1)
    world.put(ticket, recent=(ScorePoint(at=Millis(world.clock.now + 5 * MINUTE), total=-2.5),))

    (action,) = world.ask("GET", f"/dtms/actions?ticket={ticket}").json["actions"]

    assert action["target"] == {
        "kind": "set_stop",
        "ticket": ticket,
        "stop": 1.0902,
        "target": None,
        "widens": False,
    }
    keep = ("ticket", "kind", "rule", "owner", "state", "outcome", "score_before", "score_after", "regime")
    assert [action[name] for name in keep] == [
        ticket,
        "set_stop",
        "trailing",
        "exits",
        "APPLIED",
        "applied",
        -1.5,
        -2.5,
        "london/normal/trend",
    ]


def test_a_refused_action_names_its_rejection(world: Any) -> None:
    ticket = world.managed()
    world.executor.writes = None
    world.amended(ticket, 1)

    (action,) = world.ask("GET", f"/dtms/actions?ticket={ticket}").json["actions"]

    assert (action["state"], action["outcome"], action["rejection"]) == ("REJECTED", "rejected", "not_armed")
    assert action["reason"].startswith("the account is advisory")
    assert action["score_after"] is None


def test_pages_of_the_journal_hold_every_intent_once(world: Any) -> None:
    tickets = [world.managed(), world.managed()]
    for number in range(9):
        world.amended(tickets[number % 2], number)
        world.later(1)
    seen: list[str] = []
    query = "limit=4"
    while True:
        page = world.ask("GET", f"/dtms/actions?{query}").json
        seen += [action["decision_id"] for action in page["actions"]]
        if page["next_cursor"] is None:
            break
        query = f"limit=4&cursor={page['next_cursor']}"

    assert seen == [f"amend-{number}" for number in range(9)]


def test_the_journal_begins_where_it_is_asked_to(world: Any) -> None:
    ticket = world.managed()
    world.amended(ticket, 1)
    world.later(60)
    world.amended(ticket, 2)

    told = world.ask("GET", "/dtms/actions?since=2024-01-10T12:00:30%2B00:00").json

    assert [action["decision_id"] for action in told["actions"]] == ["amend-2"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "query.since"),
        ("since=2024-01-10T12:00:00", "query.since"),
        ("cursor=..", "query.cursor"),
        ("ticket=x", "query.ticket"),
        ("limit=1001", "query.limit"),
        ("trade=1", "query"),
    ],
)
def test_a_question_to_the_journal_that_cannot_be_is_422(world: Any, query: str, field: str) -> None:
    told = world.ask("GET", f"/dtms/actions?{query}")

    assert (told.status, told.fields) == (422, [field])


def _feed(world: Any) -> EventFeed:
    async def sleep(seconds: float) -> None:
        world.clock.sleep(seconds)

    return EventFeed(world.ledger, world.clock, inline, sleep)


def _frames(stream: AsyncGenerator[bytes], count: int) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    while len(found) < count:
        for text in drive(anext(stream)).decode().split("\n\n")[:-1]:
            lines = dict(line.split(": ", 1) for line in text.split("\n"))
            if "data" in lines:
                found.append(lines)
    return found


def test_the_stream_tells_what_the_clients_believe(world: Any) -> None:
    ticket = world.managed()
    hedged = world.hedged()
    with world.ledger.read() as tx:
        count = tx.last_event()
    frames = _frames(_feed(world).frames(0), count + 1)
    clock = ManualClock(world.clock.boot_ns())
    server = FakeDtms(clock)
    server.fault = refuse
    client = DtmsClient(now_ns=clock.now_ns, sleep=clock.sleep, transport=server)
    coroutines = AsyncDtmsClient(now_ns=clock.now_ns, sleep=clock.sleep_async, transport=AsyncFakeDtms(server))

    for frame in frames:
        data = msgspec.json.decode(frame["data"])
        if frame["event"] == "state":
            event = read_event(frame["data"], sent_ns=data["sent_ns"])
            assert client.apply_event(event)
            assert coroutines.apply_event(event)
        elif frame["event"] == "heartbeat":
            assert client.heartbeat(data["epoch"], data["sent_ns"])
    answers = client.states([ticket, hedged])

    assert [int(frame["id"]) for frame in frames if "id" in frame] == list(range(1, count + 1))
    assert {"state", "action", "heartbeat"} == {frame["event"] for frame in frames}
    assert (answers[ticket].state, answers[ticket].source) == (TradeState.HEALTHY, Source.CACHE)
    assert (answers[hedged].state, answers[hedged].defensive) == (TradeState.HEDGED, True)
    assert answers[hedged].version == world.trade(hedged).version
    assert drive(coroutines.is_defensive(hedged)) is True
    assert server.received == []


def test_a_stream_goes_on_behind_the_last_event_that_was_seen(world: Any) -> None:
    world.managed()
    feed = _feed(world)
    first = _frames(feed.frames(0), 1)
    world.amended(world.managed(), 1)

    after = drive(feed.begin(first[0]["id"]))
    rest = _frames(feed.frames(after), 2)

    assert [int(frame["id"]) for frame in rest] == [2, 3]
    assert [frame["event"] for frame in rest] == ["state", "action"]
    assert EventKind.ACTION.value == rest[1]["event"]


@pytest.mark.parametrize(("last", "status", "code"), [("99", 409, "event_id_gone"), ("x", 400, "event_id_invalid")])
def test_a_stream_that_cannot_be_resumed_says_so(world: Any, last: str, status: int, code: str) -> None:
    world.managed()

    told = world.ask("GET", "/dtms/events", headers={"Last-Event-ID": last})

    assert (told.status, told.code) == (status, code)

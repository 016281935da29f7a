"""The event stream: contiguous, resumable, honest about silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.domain.records import Event, EventKind
from dtms.domain.units import Millis, Ticket
from dtms.errors import LedgerUnavailableError
from dtms.ports.ledger import Ledger
from dtms.services.web.in_process import drive
from dtms.services.web.offload import inline
from dtms.services.web.problem import Problem
from dtms.services.web.sse import EventFeed, EventSource


@dataclass
class Log:
    """A ledger's events, a clock, and a world that goes on while the stream sleeps."""

    events: list[Event] = field(default_factory=list)
    now_ns: int = 0
    reads: int = 0
    slept: list[float] = field(default_factory=list)
    happenings: dict[int, list[Event]] = field(default_factory=dict)
    broken: bool = False
    writes: int = 0
    epoch: str = "e1"

    @contextmanager
    def read(self) -> Iterator[Log]:
        if self.broken:
            raise LedgerUnavailableError("locked")
        self.reads += 1
        yield self

    def revision(self) -> int:
        return self.writes

    def events_since(self, seq: int, limit: int = 1_000) -> tuple[Event, ...]:
        return tuple(sorted((event for event in self.events if event.seq > seq), key=lambda event: event.seq))[:limit]

    def last_event(self) -> int:
        return max((event.seq for event in self.events), default=0)

    def write(self, *events: Event) -> None:
        self.events.extend(events)
        self.writes += 1

    def market_now(self) -> Millis:
        return Millis(self.now_ns // 1_000_000)

    def wall_now(self) -> Millis:
        return Millis(self.now_ns // 1_000_000)

    def boot_ns(self) -> int:
        return self.now_ns

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ns += round(seconds * 1e9)
        for event in self.happenings.pop(len(self.slept), []):
            self.write(event)

    def feed(self) -> EventFeed:
        return EventFeed(self, self, inline, self.sleep)


def as_source(ledger: Ledger) -> EventSource:
    """The type checker holds that every ledger can feed the stream."""
    return ledger


def event(seq: int, body: str = '{"state":"HEALTHY","version":3}') -> Event:
    return Event(seq=seq, kind=EventKind.STATE, ticket=Ticket(7), at=Millis(seq * 1_000), body=body)


def frames(stream: AsyncGenerator[bytes], count: int) -> list[dict[str, Any]]:
    """The next frames, each as its fields, with data decoded."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        try:
            chunk = drive(anext(stream))
        except StopAsyncIteration:
            break
        for text in chunk.decode().split("\n\n")[:-1]:
            lines = dict(line.split(": ", 1) for line in text.split("\n"))
            if "data" in lines:
                found.append({**lines, "data": msgspec.json.decode(lines["data"])})
    return found


def seqs(found: list[dict[str, Any]]) -> list[int]:
    return [int(frame["id"]) for frame in found if "id" in frame]


def test_a_new_stream_begins_with_a_heartbeat_behind_the_newest_event() -> None:
    log = Log(events=[event(1), event(2)])

    after = drive(log.feed().begin(None))
    first = frames(log.feed().frames(after), 1)

    assert after == 2
    assert first == [
        {
            "event": "heartbeat",
            "data": {"epoch": "e1", "seq": 2, "at": "1970-01-01T00:00:00.000+00:00", "sent_ns": 0},
        }
    ]


def test_an_event_is_its_body_with_seq_ticket_time_and_epoch() -> None:
    log = Log(events=[event(5)], now_ns=17)

    found = frames(log.feed().frames(4), 1)

    assert found == [
        {
            "id": "5",
            "event": "state",
            "data": {
                "epoch": "e1",
                "seq": 5,
                "ticket": 7,
                "at": "1970-01-01T00:00:05.000+00:00",
                "state": "HEALTHY",
                "version": 3,
                "sent_ns": 17,
            },
        }
    ]


def test_a_heartbeat_comes_each_second_and_the_ledger_is_polled_each_quarter() -> None:
    log = Log()

    found = frames(log.feed().frames(0), 4)

    assert [frame["data"]["sent_ns"] for frame in found] == [0, 1_000_000_000, 2_000_000_000, 3_000_000_000]
    assert log.slept == [0.25] * 12
    assert log.reads == 1  # nothing was written, so nothing was read again


def test_resuming_after_each_event_gives_each_event_once_in_order() -> None:
    log = Log(events=[event(seq) for seq in range(1, 41)])
    seen: list[int] = []
    last = "0"

    while len(seen) < 40:
        stream = log.feed().frames(drive(log.feed().begin(last)))
        frame = frames(stream, 1)[0]
        seen.append(int(frame["id"]))
        last = frame["id"]

    assert seen == list(range(1, 41))


@given(
    st.lists(st.integers(min_value=1, max_value=3), min_size=1, max_size=8),
    st.lists(st.integers(min_value=0, max_value=20), max_size=4),
)
def test_a_stream_cut_anywhere_resumes_without_a_gap(bursts: list[int], cuts: list[int]) -> None:
    log = Log()
    seq = 0
    for poll, burst in enumerate(bursts, start=1):
        log.happenings[poll] = [event(seq + index + 1) for index in range(burst)]
        seq += burst
    seen: list[int] = []
    for cut in [*cuts, 10_000]:
        stream = log.feed().frames(drive(log.feed().begin(str(seen[-1] if seen else 0))))
        for _ in range(cut):
            seen += seqs(frames(stream, 1))
            if len(seen) == seq:
                break

    assert seen == list(range(1, seq + 1))


def test_a_backlog_of_thousands_is_drained_without_sleeping() -> None:
    log = Log(events=[event(seq) for seq in range(1, 3_501)])

    found = frames(log.feed().frames(0), 3_501)

    assert seqs(found) == list(range(1, 3_501))
    assert found[-1]["event"] == "heartbeat"
    assert log.slept == []


def test_an_event_behind_a_missing_one_waits_for_it_and_no_heartbeat_hides_that() -> None:
    log = Log(events=[event(1), event(3)], happenings={4: [event(2)]})

    found = frames(log.feed().frames(0), 4)

    assert [frame.get("id", frame["event"]) for frame in found] == ["1", "2", "3", "heartbeat"]
    assert found[-1]["data"]["sent_ns"] == 1_000_000_000


def test_a_gap_that_does_not_close_ends_the_stream() -> None:
    log = Log(events=[event(1), event(3)])

    found = frames(log.feed().frames(0), 99)

    assert seqs(found) == [1]
    assert sum(log.slept) == pytest.approx(5.25)


def test_a_ledger_that_fails_ends_the_stream_instead_of_saying_that_all_is_quiet() -> None:
    log = Log(events=[event(1)])
    stream = log.feed().frames(0)
    first = frames(stream, 2)

    log.broken = True
    log.writes += 1

    assert [frame["event"] for frame in first] == ["state", "heartbeat"]
    assert frames(stream, 9) == []


@pytest.mark.parametrize("given_id", ["", "abc", "-1", "1.0", "\u0661", "1" * 19, " 1", "1\n"])
def test_a_last_event_id_that_is_none_is_refused(given_id: str) -> None:
    with pytest.raises(Problem) as caught:
        drive(Log().feed().begin(given_id))
    assert (caught.value.status, caught.value.code) == (400, "event_id_invalid")


@pytest.mark.parametrize("given_id", ["1", "9"])
def test_where_the_ledger_cannot_go_on_the_client_is_told_to_start_anew(given_id: str) -> None:
    log = Log(events=[event(seq) for seq in range(5, 8)])

    with pytest.raises(Problem) as caught:
        drive(log.feed().begin(given_id))
    assert (caught.value.status, caught.value.code) == (409, "event_id_gone")


def test_a_body_with_line_breaks_stays_one_data_line() -> None:
    found = frames(Log(events=[event(1, '{\n "text": "a\\nb"\n}')]).feed().frames(0), 1)

    assert found[0]["data"]["text"] == "a\nb"


def test_more_than_64_streams_are_refused_and_a_closed_one_makes_room() -> None:
    async def run() -> tuple[int, str]:
        feed = Log().feed()
        streams = [feed.frames(0) for _ in range(64)]
        for stream in streams:
            await anext(stream)
        with pytest.raises(Problem) as caught:
            await feed.response(None)
        await streams[0].aclose()
        return caught.value.status, (await feed.response(None)).media_type or ""

    assert asyncio.run(run()) == (503, "text/event-stream")

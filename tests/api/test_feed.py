"""The pushed state feed: believed only without a gap, and only at the server's own instant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from dtms.client import StateEvent
from dtms.domain.trade import TradeState
from dtms.services.api.feed import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    FeedBrokenError,
    FeedGoneError,
    FeedReader,
    StateFeed,
)


@dataclass
class Listener:
    """Keeps what it is told, in order."""

    told: list[object] = field(default_factory=list)

    def apply_event(self, event: StateEvent) -> bool:
        self.told.append(event)
        return True

    def heartbeat(self, epoch: str, sent_ns: int) -> bool:
        self.told.append((epoch, sent_ns))
        return True

    def feed_lost(self) -> None:
        self.told.append("lost")


def state(seq: int, *, ticket: int = 7, version: int = 3, sent_ns: int = 50) -> list[bytes]:
    data = (
        f'{{"epoch":"e","seq":{seq},"ticket":{ticket},"at":"2024-01-10T12:00:00.000+00:00","state":"HEDGED",'
        f'"pending_to":null,"defensive":true,"version":{version},"row":"","sent_ns":{sent_ns}}}'
    )
    return [b"id: %d" % seq, b"event: state", b"data: " + data.encode(), b""]


def action(seq: int) -> list[bytes]:
    return [b"id: %d" % seq, b"event: action", b'data: {"kind":"reduce","sent_ns":1}', b""]


def beat(seq: int, sent_ns: int = 60) -> list[bytes]:
    return [b"event: heartbeat", b'data: {"epoch":"e","seq":%d,"at":"x","sent_ns":%d}' % (seq, sent_ns), b""]


def feed(reader: FeedReader, *frames: list[bytes]) -> None:
    for frame in frames:
        for line in frame:
            reader.take(line)


def test_a_state_is_told_with_the_servers_own_instant() -> None:
    listener = Listener()
    feed(FeedReader(listener), [b"retry: 1000", b""], beat(4), state(5, sent_ns=77))
    assert listener.told == [
        ("e", 60),
        StateEvent(
            ticket=7,
            state=TradeState.HEDGED,
            pending_to=None,
            defensive=True,
            version=3,
            epoch="e",
            sent_ns=77,
        ),
    ]


def test_actions_only_count() -> None:
    listener = Listener()
    reader = FeedReader(listener)
    feed(reader, beat(4), action(5), beat(5))
    assert (listener.told, reader.last_id) == ([("e", 60), ("e", 60)], 5)


def test_a_missing_event_breaks_the_feed() -> None:
    reader = FeedReader(Listener())
    feed(reader, beat(4), action(5))
    with pytest.raises(FeedBrokenError, match="event 7 came behind event 5"):
        feed(reader, action(7))
    assert reader.last_id == 5


def test_a_heartbeat_ahead_of_what_was_seen_breaks_the_feed_before_it_is_believed() -> None:
    listener = Listener()
    reader = FeedReader(listener)
    feed(reader, beat(4))
    with pytest.raises(FeedBrokenError, match="up to event 6, we have seen 4"):
        feed(reader, beat(6, sent_ns=99))
    assert listener.told == [("e", 60)]


@pytest.mark.parametrize(
    "frame",
    [
        [b"id: 5", b"event: state", b"data: {}", b""],
        [b"id: 5", b"event: state", b"data: not json", b""],
        [b"id: five", b"event: state", b'data: {"sent_ns":1}', b""],
        [b"event: state", b'data: {"sent_ns":1}', b""],
        [b"event: heartbeat", b'data: {"epoch":"e","seq":4}', b""],
        [b"event: heartbeat", b"data: \xff", b""],
        [b"data: " + b"x" * (1 << 21)],
    ],
)
def test_what_is_not_as_agreed_breaks_the_feed(frame: list[bytes]) -> None:
    with pytest.raises(FeedBrokenError):
        feed(FeedReader(Listener()), frame)


def test_comments_and_unknown_fields_are_passed_over() -> None:
    listener = Listener()
    feed(FeedReader(listener), [b": keep-alive", b"", b"color: red", b""], beat(1))
    assert listener.told == [("e", 60)]


@dataclass
class Script:
    """Streams, one a connection; an exception in a stream is raised there."""

    streams: list[list[bytes | Exception]]
    feed: StateFeed | None = None
    asked: list[int | None] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    @contextmanager
    def connect(self, last_id: int | None) -> Iterator[Iterable[bytes]]:
        self.asked.append(last_id)
        yield self._lines(self.streams.pop(0))

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if not self.streams and self.feed is not None:
            self.feed.stop()

    @staticmethod
    def _lines(stream: list[bytes | Exception]) -> Iterator[bytes]:
        for line in stream:
            if isinstance(line, Exception):
                raise line
            yield line


def followed(*streams: list[bytes | Exception]) -> tuple[Listener, Script]:
    listener, script = Listener(), Script(list(streams))
    script.feed = StateFeed(FeedReader(listener), script.connect, pause=script.pause)
    script.feed.run()
    return listener, script


def test_after_a_break_it_goes_on_behind_the_last_event_and_the_client_knows_of_the_gap() -> None:
    listener, script = followed([*beat(4), *action(5)], [*action(6), *beat(6)])
    assert script.asked == [None, 5]
    assert listener.told == [("e", 60), "lost", ("e", 60), "lost"]


def test_where_the_server_cannot_go_on_it_begins_anew() -> None:
    _, script = followed([*beat(4)], [FeedGoneError("gone")], [*beat(9)])
    assert script.asked == [None, 4, None]


def test_a_gap_is_healed_by_asking_again_behind_the_last_good_event() -> None:
    listener, script = followed([*beat(4), *state(6)], [*state(5), *state(6), *beat(6)])
    assert script.asked == [None, 4]
    assert [type(each).__name__ for each in listener.told] == [
        "tuple",
        "str",
        "StateEvent",
        "StateEvent",
        "tuple",
        "str",
    ]


def test_half_an_event_of_a_broken_stream_is_forgotten() -> None:
    listener, _ = followed([*beat(4), *state(5)[:-1]], [*state(5), *beat(5)])
    assert [each for each in listener.told if isinstance(each, StateEvent)] != []
    assert len([each for each in listener.told if isinstance(each, StateEvent)]) == 1


def test_a_dead_server_is_asked_less_and_less_often() -> None:
    refused: list[list[bytes | Exception]] = [[FeedBrokenError("refused")] for _ in range(10)]
    _, script = followed(*refused)
    assert script.pauses[:4] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S, 8 * FIRST_PAUSE_S]
    assert max(script.pauses) == LONGEST_PAUSE_S


def test_a_stream_that_worked_is_opened_again_at_once() -> None:
    refused = FeedBrokenError("refused")
    _, script = followed([refused], [refused], [*beat(1)], [*beat(1)])
    assert script.pauses[2:] == [FIRST_PAUSE_S, FIRST_PAUSE_S]

"""Server-sent events out of the ledger: `state`, `action`, and a heartbeat each second.

The writer may be another process, so the ledger is polled. What was read goes out in the order of `seq` and without a gap:
an event behind a missing one waits, and a stream that cannot go on contiguously ends. A heartbeat says that up to `seq`
nothing is missing; it is sent only where the ledger was read just before, and `sent_ns` is from before that read.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import msgspec
import structlog
from starlette.responses import StreamingResponse

from dtms.domain.records import Event
from dtms.domain.units import to_iso
from dtms.errors import LedgerError, LedgerUnavailableError
from dtms.ports.clock import Clock
from dtms.services.web.offload import Offload, Sleep
from dtms.services.web.problem import Problem

POLL_S: Final = 0.25
HEARTBEAT_NS: Final = 1_000_000_000
GAP_PATIENCE_NS: Final = 5_000_000_000
"""How long a missing event may be on its way: a transaction that took its number earlier and commits later."""

PAGE: Final = 1_000
MAX_STREAMS: Final = 64

_EVENT_ID: Final = re.compile(r"[0-9]{1,18}")

_log = structlog.get_logger("dtms.web")


class EventReads(Protocol):
    """The part of the ledger's read transaction that the stream needs."""

    def events_since(self, seq: int, limit: int = PAGE) -> tuple[Event, ...]:
        """Return events with a greater seq, ascending."""
        ...

    def last_event(self) -> int:
        """Return the seq of the newest event, 0 where there is none."""
        ...


class EventSource(Protocol):
    """The part of the ledger that the stream needs; `dtms.ports.ledger.Ledger` fulfils it."""

    @property
    def epoch(self) -> str:
        """Return the ledger's epoch."""
        ...

    def read(self) -> AbstractContextManager[EventReads]:
        """Open a read transaction."""
        ...

    def revision(self) -> int:
        """Return a number that grows with every committed write."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Poll:
    sent_ns: int
    revision: int
    events: tuple[Event, ...]


class EventFeed:
    """Follows the ledger's events; one for all streams of an application.

    Args:
        ledger: Where the events stand.
        clock: For the age of heartbeats and events.
        offload: Runs the ledger's blocking reads.
        sleep: Waits between two polls.
    """

    def __init__(self, ledger: EventSource, clock: Clock, offload: Offload, sleep: Sleep) -> None:
        self._ledger = ledger
        self._clock = clock
        self._offload = offload
        self._sleep = sleep
        self._streams = 0

    async def response(self, last_event_id: str | None) -> StreamingResponse:
        """Return the stream as an answer; needs an event loop.

        Raises:
            Problem: See `begin`; 503 where too many streams are open.
        """
        if self._streams >= MAX_STREAMS:
            detail = f"{MAX_STREAMS} event streams are open; close one."
            raise Problem(503, "streams_full", detail, headers={"Retry-After": "5"})
        after = await self.begin(last_event_id)
        return StreamingResponse(self.frames(after), media_type="text/event-stream")

    async def begin(self, last_event_id: str | None) -> int:
        """Return the seq behind which the stream begins: the client's last one, else the newest.

        Raises:
            Problem: 400 where the Last-Event-ID is no number; 409 where the ledger cannot go on behind it.
        """
        if last_event_id is None:
            return await self._offload(self._newest)
        if _EVENT_ID.fullmatch(last_event_id) is None:
            raise Problem(400, "event_id_invalid", "Last-Event-ID is not the id of an event of this stream.")
        after = int(last_event_id)
        if not await self._offload(lambda: self._can_resume(after)):
            detail = "The ledger cannot go on behind this event; load the states anew and follow without Last-Event-ID."
            raise Problem(409, "event_id_gone", detail)
        return after

    async def frames(self, after: int) -> AsyncGenerator[bytes]:
        """Yield encoded events behind `after` and heartbeats, until the ledger fails or a gap does not close."""
        self._streams += 1
        try:
            async for frame in self._frames(after):
                yield frame
        except LedgerError as error:
            # The answer has begun and cannot become a 503: the stream ends, and the client comes again.
            _log.warning("event stream ended", error=repr(error))
        finally:
            self._streams -= 1

    async def _frames(self, after: int) -> AsyncGenerator[bytes]:
        seq = after
        seen: int | None = None
        beat_ns: int | None = None
        gap_ns: int | None = None
        yield b"retry: 1000\n\n"
        while True:
            poll = await self._offload(partial(self._poll, seq, seen))
            whole = _contiguous(poll.events, seq)
            if whole:
                seq = whole[-1].seq
                yield b"".join(self._frame(event, poll.sent_ns) for event in whole)
            if len(whole) < len(poll.events):
                seen = None
                gap_ns = poll.sent_ns if gap_ns is None or whole else gap_ns
                self._require_patience(seq, poll.sent_ns - gap_ns)
            else:
                seen, gap_ns = poll.revision, None
                if len(whole) == PAGE:
                    seen = None
                    continue
                if beat_ns is None or poll.sent_ns - beat_ns >= HEARTBEAT_NS:
                    beat_ns = poll.sent_ns
                    yield self._heartbeat(seq, poll.sent_ns)
            await self._sleep(POLL_S)

    def _poll(self, seq: int, seen: int | None) -> _Poll:
        sent_ns = self._clock.boot_ns()
        revision = self._ledger.revision()
        if revision == seen:
            return _Poll(sent_ns=sent_ns, revision=revision, events=())
        with self._ledger.read() as ledger:
            return _Poll(sent_ns=sent_ns, revision=revision, events=ledger.events_since(seq, PAGE))

    def _newest(self) -> int:
        with self._ledger.read() as ledger:
            return ledger.last_event()

    def _can_resume(self, after: int) -> bool:
        with self._ledger.read() as ledger:
            if after > ledger.last_event():
                return False
            following = ledger.events_since(after, 1)
        return not following or following[0].seq == after + 1

    @staticmethod
    def _require_patience(seq: int, waited_ns: int) -> None:
        if waited_ns > GAP_PATIENCE_NS:
            msg = f"event {seq + 1} is missing in the ledger while later ones are there; streams cannot pass it"
            raise LedgerUnavailableError(msg)

    def _frame(self, event: Event, sent_ns: int) -> bytes:
        told = msgspec.json.decode(event.body)
        members = told if isinstance(told, dict) else {"body": told}
        data = {"epoch": self._ledger.epoch, "seq": event.seq, "ticket": event.ticket, "at": to_iso(event.at)}
        encoded = msgspec.json.encode({**data, **members, "sent_ns": sent_ns})
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.kind.value.encode(), encoded)

    def _heartbeat(self, seq: int, sent_ns: int) -> bytes:
        at = to_iso(self._clock.wall_now())
        encoded = msgspec.json.encode({"epoch": self._ledger.epoch, "seq": seq, "at": at, "sent_ns": sent_ns})
        return b"event: heartbeat\ndata: %s\n\n" % encoded


def _contiguous(events: tuple[Event, ...], after: int) -> tuple[Event, ...]:
    """Return the events that follow `after` without a gap."""
    whole = 0
    while whole < len(events) and events[whole].seq == after + 1 + whole:
        whole += 1
    return events[:whole]

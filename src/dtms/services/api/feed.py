"""The pushed state feed: reads the DTMS server's events and keeps the exit manager's client warm.

What an event or heartbeat is worth is known only from the server's own `sent_ns`, on the boot-time clock that both processes
of one host share; the instant at which it was read says nothing. Whenever an event may have been missed the client is told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http import HTTPStatus
from typing import Final, Protocol

import msgspec
import requests
import structlog

from dtms.client import StateEvent, read_event
from dtms.errors import DtmsError, InvalidDataError

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 10.0

_TIMEOUT_S: Final = (2.0, 5.0)
"""To connect, and without a byte: heartbeats come each second."""

_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, ValueError)
_MAX_DATA: Final = 1 << 20

_log = structlog.get_logger("dtms.api")

Connect = Callable[[int | None], AbstractContextManager[Iterable[bytes]]]
"""Opens the stream behind an event's id, None for the newest, and gives its lines."""


class FeedBrokenError(DtmsError):
    """The stream ended, or is not as agreed; it is opened again behind the last good event."""


class FeedGoneError(FeedBrokenError):
    """The server cannot go on behind the last event; the stream begins anew with the newest."""


class FeedListener(Protocol):
    """Who is told; `dtms.client.DtmsClient` fulfils it."""

    def apply_event(self, event: StateEvent) -> bool:
        """Take a pushed change of state."""
        ...

    def heartbeat(self, epoch: str, sent_ns: int) -> bool:
        """Take the word that nothing else has changed."""
        ...

    def feed_lost(self) -> None:
        """Learn that the feed has, or may have, a gap."""
        ...


class _SentWire(msgspec.Struct, frozen=True):
    sent_ns: int


class _HeartbeatWire(_SentWire, frozen=True):
    epoch: str | int
    seq: int


_SENT: Final = msgspec.json.Decoder(_SentWire)
_HEARTBEAT: Final = msgspec.json.Decoder(_HeartbeatWire)


class FeedReader:
    """Understands the stream's lines (the WHATWG's server-sent events) and tells the listener.

    `last_id` is the newest event that was taken without a gap, None before the first word of the server.
    """

    def __init__(self, listener: FeedListener) -> None:
        self._listener = listener
        self.last_id: int | None = None
        self.heartbeats = 0
        self._kind, self._id, self._data = b"", b"", b""

    def take(self, line: bytes) -> None:
        """Take one line without its end.

        Raises:
            FeedBrokenError: It is not as agreed, or an event is missing before it.
        """
        if not line:
            self._dispatch()
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data += value if not self._data else b"\n" + value
            if len(self._data) > _MAX_DATA:
                msg = f"an event is larger than {_MAX_DATA} bytes"
                raise FeedBrokenError(msg)
        elif name == b"event":
            self._kind = value
        elif name == b"id":
            self._id = value

    def lost(self) -> None:
        """Forget a half-read event and tell the listener that there may be a gap."""
        self._clear()
        self._listener.feed_lost()

    def forget(self) -> None:
        """Forget where the stream was: it begins anew with the newest event."""
        self.last_id = None

    def _clear(self) -> None:
        self._kind, self._id, self._data = b"", b"", b""

    def _dispatch(self) -> None:
        kind, given, data = self._kind, self._id, self._data
        self._clear()
        if not data:
            return
        try:
            if kind == b"heartbeat":
                self._heartbeat(_HEARTBEAT.decode(data))
            else:
                self._event(kind, int(given), data)
        except (*_UNDECODABLE, InvalidDataError) as error:
            msg = f"event {kind!r:.20} is not as agreed ({type(error).__name__}: {error})"[:300]
            raise FeedBrokenError(msg) from error

    def _event(self, kind: bytes, given: int, data: bytes) -> None:
        if self.last_id is not None and given != self.last_id + 1:
            msg = f"event {given} came behind event {self.last_id}: some are missing"
            raise FeedBrokenError(msg)
        if kind == b"state":
            self._listener.apply_event(read_event(data, sent_ns=_SENT.decode(data).sent_ns))
        self.last_id = given

    def _heartbeat(self, beat: _HeartbeatWire) -> None:
        if self.last_id is not None and beat.seq != self.last_id:
            msg = f"the server has told all up to event {beat.seq}, we have seen {self.last_id}"
            raise FeedBrokenError(msg)
        self.last_id = beat.seq
        self.heartbeats += 1
        self._listener.heartbeat(str(beat.epoch), beat.sent_ns)


class StateFeed:
    """Follows the stream in a thread of its own, and comes back after every end.

    Args:
        reader: Takes the lines.
        connect: Opens the stream.
        pause: Waits so many seconds, less when stopped; replaced in tests.
    """

    def __init__(self, reader: FeedReader, connect: Connect, *, pause: Callable[[float], object] | None = None) -> None:
        self._reader = reader
        self._connect = connect
        self._ending = threading.Event()
        self._pause = self._ending.wait if pause is None else pause
        self._thread: threading.Thread | None = None
        self._failures = 0

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread = threading.Thread(target=self.run, name="dtms-feed", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End at the next line; say whether it did in time."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def run(self) -> None:
        """Follow until `stop`."""
        while not self._ending.is_set():
            self.follow()
            if not self._ending.is_set():
                self._pause(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._failures - 1, 10)))

    def follow(self) -> None:
        """Follow one stream to its end; the listener knows afterwards that it has ended."""
        beats = self._reader.heartbeats
        try:
            with self._connect(self._reader.last_id) as lines:
                for line in lines:
                    self._reader.take(line)
                    if self._ending.is_set():
                        return
            reason = "it ended"
        except FeedGoneError as error:
            self._reader.forget()
            reason = str(error)
        except FeedBrokenError as error:
            reason = str(error)
        finally:
            self._reader.lost()
        self._failures = 1 if self._reader.heartbeats > beats else self._failures + 1
        _log.warning("state feed broke off", reason=reason, failures=self._failures)


def http_feed(base_url: str, *, token: str | None = None) -> Connect:
    """Return how the stream is opened over HTTP; for a server on this host, whose clock is ours."""
    url = f"{base_url.rstrip('/')}/dtms/events"

    @contextmanager
    def connect(last_id: int | None) -> Iterator[Iterable[bytes]]:
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if last_id is not None:
            headers["Last-Event-ID"] = str(last_id)
        try:
            with requests.Session() as session:
                session.trust_env = False
                with session.get(
                    url, headers=headers, stream=True, timeout=_TIMEOUT_S, allow_redirects=False
                ) as response:
                    _require_stream(response)
                    yield response.iter_lines(chunk_size=None)
        except (requests.RequestException, OSError) as error:
            msg = f"{url}: {type(error).__name__}"
            raise FeedBrokenError(msg) from error

    return connect


def _require_stream(response: requests.Response) -> None:
    if response.status_code == HTTPStatus.CONFLICT:
        msg = "the server cannot go on behind the last event"
        raise FeedGoneError(msg)
    kind = response.headers.get("Content-Type", "").partition(";")[0]
    if response.status_code != HTTPStatus.OK or kind != "text/event-stream":
        msg = f"the server answered {response.status_code} {kind!r:.40} and no event stream"
        raise FeedBrokenError(msg)

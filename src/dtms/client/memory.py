"""What the client remembers: the two caches of the contract, the versions seen, and what the pushed feed confirms.

Every age is checked here against the clock, so any mutable mapping may serve as a cache; those made here also drop what
is too old by themselves. Not safe to use from several threads without the caller's lock.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from cachetools import TLRUCache

from dtms.client.contract import FRESH_NS, LAST_KNOWN_NS, Known, StateEvent, cache_key

StateCache = MutableMapping[str, Known]

MAX_REMEMBERED: Final = 100_000
"""Tickets; the one not heard of for the longest time goes first."""

_K = TypeVar("_K")
_V = TypeVar("_V")


def new_state_cache(now_ns: Callable[[], int]) -> StateCache:
    """Make the 10 s cache: an entry ends at the age of exactly 10 s."""
    return TLRUCache(MAX_REMEMBERED, ttu=lambda _key, known, _now: known.sent_ns + FRESH_NS, timer=now_ns)


def new_last_known_cache(now_ns: Callable[[], int]) -> StateCache:
    """Make the 30 s cache: an entry is still there at the age of exactly 30 s."""
    return TLRUCache(MAX_REMEMBERED, ttu=lambda _key, known, _now: known.sent_ns + LAST_KNOWN_NS + 1, timer=now_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feed:
    """An unbroken pushed feed: it began at `since_ns`, its newest sign of life was sent at `alive_ns`."""

    epoch: str
    since_ns: int
    alive_ns: int


class Memory:
    """Answers by ticket, kept only while they are newer than what was seen before."""

    def __init__(self, fresh: StateCache, last_known: StateCache) -> None:
        self._fresh = fresh
        self._last_known = last_known
        self._versions: dict[tuple[str | None, int], int] = {}
        self._newest: dict[int, Known] = {}
        self._feed: _Feed | None = None

    def fresh(self, ticket: int, now: int) -> Known | None:
        """Return what was said of the ticket less than 10 s ago, None where that is not known."""
        found = _young(_read(self._fresh, ticket), ticket, now, FRESH_NS - 1)
        return found if found is not None else _young(self._confirmed(ticket), ticket, now, FRESH_NS - 1)

    def last_known(self, ticket: int, now: int) -> Known | None:
        """Return what was said of the ticket at most 30 s ago, None where that is not known or it is not in DTMS."""
        found = _young(self._confirmed(ticket), ticket, now, LAST_KNOWN_NS)
        if found is not None:
            return found
        return _young(_read(self._last_known, ticket), ticket, now, LAST_KNOWN_NS)

    def take(self, known: Known) -> bool:
        """Remember what was said of a ticket; False where it is refused: a lower version of this epoch than one seen."""
        mark = (known.epoch, known.ticket)
        seen = self._versions.get(mark)
        if known.version is not None:
            if seen is not None and known.version < seen:
                return False
            _keep(self._versions, mark, known.version)
        newest = self._newest.get(known.ticket)
        same = newest is not None and known.version is not None and _marks(newest) == _marks(known)
        if newest is None or not same or newest.sent_ns <= known.sent_ns:
            self._store(known)
        return True

    def take_absence(self, ticket: int, sent_ns: int) -> Known:
        """Remember that DTMS does not know the ticket, and forget what it said before.

        A registration may have been pushed after the request was sent; it stands, and is returned.
        """
        newest = self._newest.get(ticket)
        if newest is not None:
            if newest.sent_ns > sent_ns:
                return newest
            del self._newest[ticket]
            self._versions.pop((newest.epoch, ticket), None)
        key = cache_key(ticket)
        self._last_known.pop(key, None)
        absent = Known(
            ticket=ticket, state=None, pending_to=None, defensive=False, version=None, epoch=None, sent_ns=sent_ns
        )
        self._fresh[key] = absent
        return absent

    def take_event(self, event: StateEvent) -> bool:
        """Remember a pushed change; False where it is refused: a lower version, or older than a later "not in DTMS"."""
        self._hear(event.epoch, event.sent_ns)
        present = _read(self._fresh, event.ticket)
        if isinstance(present, Known) and present.state is None and present.sent_ns > event.sent_ns:
            return False
        return self.take(
            Known(
                ticket=event.ticket,
                state=event.state,
                pending_to=event.pending_to,
                defensive=event.defensive,
                version=event.version,
                epoch=event.epoch,
                sent_ns=event.sent_ns,
            )
        )

    def heartbeat(self, epoch: str, sent_ns: int) -> None:
        """Take the feed's word that nothing else has changed until `sent_ns`."""
        self._hear(epoch, sent_ns)

    def feed_lost(self) -> None:
        """Believe no heartbeat about what was learned up to now: the feed has, or may have, a gap."""
        self._feed = None

    def _hear(self, epoch: str, sent_ns: int) -> None:
        feed = self._feed
        if feed is None or feed.epoch != epoch:
            self._feed = _Feed(epoch=epoch, since_ns=sent_ns, alive_ns=sent_ns)
        elif sent_ns > feed.alive_ns:
            self._feed = replace(feed, alive_ns=sent_ns)

    def _confirmed(self, ticket: int) -> Known | None:
        """Return the newest state with the age that the feed gives it: a change since would have been pushed.

        That holds only for what was learned while the feed was up, and in its epoch.
        """
        feed = self._feed
        if feed is None:
            return None
        newest = self._newest.get(ticket)
        if newest is None or newest.epoch != feed.epoch or newest.sent_ns < feed.since_ns:
            return None
        if feed.alive_ns > newest.sent_ns:
            newest = replace(newest, sent_ns=feed.alive_ns)
            self._store(newest)
        return newest

    def _store(self, known: Known) -> None:
        key = cache_key(known.ticket)
        self._fresh[key] = known
        self._last_known[key] = known
        _keep(self._newest, known.ticket, known)


def _keep(table: dict[_K, _V], key: _K, value: _V) -> None:
    """Write an entry as the table's newest; beyond the bound the oldest goes. Far cheaper than a cache class a ticket."""
    table.pop(key, None)
    table[key] = value
    if len(table) > MAX_REMEMBERED:
        del table[next(iter(table))]


def _read(cache: StateCache, ticket: int) -> object:
    """Return what a cache holds; `get` of a timed cache would look it up twice, and reads the clock each time."""
    try:
        return cache[cache_key(ticket)]
    except KeyError:
        return None


def _marks(known: Known) -> tuple[str | None, int | None]:
    return known.epoch, known.version


def _young(known: object, ticket: int, now: int, limit_ns: int) -> Known | None:
    """Return a cached value if it is ours and of an age from 0 to `limit_ns`; a negative age is another boot's clock."""
    if isinstance(known, Known) and known.ticket == ticket and 0 <= now - known.sent_ns <= limit_ns:
        return known
    return None

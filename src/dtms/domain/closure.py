"""A market that is closed as its broker shows it: learnt from orders that are answered "market closed". No I/O.

No calendar knows every holiday and early close. What tells that a market is closed is the broker's answer; what tells that
it may be open again is a newer quote. Quotes can come out of session, so an order that is refused again makes the next
one wait longer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from dtms.domain.units import DAY, HOUR, MINUTE, SECOND, Millis

Span = tuple[Millis, Millis | None]
"""A closed stretch, [start, end); the end is None where it is not known yet."""

_FIRST_PAUSE: Final = 10 * SECOND
_LONGEST_PAUSE: Final = 15 * MINUTE
_BLIND: Final = HOUR
"""Without any quote an order is tried so often all the same: perhaps it is the quotes that are broken."""
_WISHED_PAUSE: Final = 5 * MINUTE
_WISHED_BLIND: Final = 15 * MINUTE
"""The same two for what a person wants closed."""
_TOLD_AFTER: Final = 2 * MINUTE
"""What is over sooner calls nobody."""
_SAME: Final = HOUR
"""A refusal so soon after a market seemed open again is of the same closure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """One closure of one symbol's market.

    Attributes:
        symbol: The broker's spelling.
        since: When an order was first answered "market closed".
        refused_at: When one was last.
        times: How many were although quotes had moved; one without any quote says nothing about the next quote.
        tick_at: The stamp of the newest quote at the last of them; None where none could be read.
        moved_at: When a newer quote was first seen since; None while there is none.
        ended_at: When an order was taken again, None before.
        told_at: When a person was last called for it, None before.
    """

    symbol: str
    since: Millis
    refused_at: Millis
    times: int
    tick_at: Millis | None
    moved_at: Millis | None = None
    ended_at: Millis | None = None
    told_at: Millis | None = None

    @property
    def reopened_at(self) -> Millis | None:
        """When the market may be open again: quotes move and the pause is over; None while they do not move."""
        return self._reopened(_LONGEST_PAUSE)

    @property
    def span(self) -> Span:
        """The closed stretch, for counting open-market time."""
        return self.since, self.reopened_at

    def holds(self, now: Millis, *, wished: bool = False) -> bool:
        """Say whether orders wait for the market; what a person has `wished` to be closed waits less long."""
        if self.ended_at is not None:
            return False
        reopened = self._reopened(_WISHED_PAUSE if wished else _LONGEST_PAUSE)
        blind = _WISHED_BLIND if wished else _BLIND
        return now < (self.refused_at + blind if reopened is None else reopened)

    def is_news(self, now: Millis) -> bool:
        """Say whether a person is to be called: once it has lasted a while, then once a day."""
        return (
            self.holds(now) and now - self.since >= _TOLD_AFTER and (self.told_at is None or now - self.told_at >= DAY)
        )

    def moves(self, tick_at: Millis) -> bool:
        """Say whether a quote's stamp shows that quotes move again."""
        return tick_at > (self.refused_at if self.tick_at is None else self.tick_at)

    def refused(self, now: Millis, tick_at: Millis | None) -> Closure:
        """Return the closure after a further order was answered "market closed"."""
        times = self.times if self.moved_at is None else self.times + 1
        return replace(self, refused_at=now, times=times, tick_at=tick_at, moved_at=None)

    def is_one_with(self, now: Millis) -> bool:
        """Say whether it lasts, or was over so shortly ago that a refusal now is of it and not the first of another one."""
        reopened = self.reopened_at
        return self.ended_at is None and (reopened is None or now - reopened < _SAME)

    def _reopened(self, longest: int) -> Millis | None:
        if self.moved_at is None:
            return self.ended_at
        pause = min(longest, _FIRST_PAUSE << min(self.times - 1, 20))
        reopened = Millis(max(self.moved_at, self.refused_at + pause))
        return reopened if self.ended_at is None else min(reopened, self.ended_at)


def first_refusal(symbol: str, now: Millis, tick_at: Millis | None) -> Closure:
    """Return the closure that an order's answer shows for the first time."""
    return Closure(symbol=symbol, since=now, refused_at=now, times=1, tick_at=tick_at)

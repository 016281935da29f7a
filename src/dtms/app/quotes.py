"""Which quotes are believed, how old they may be, and what spread is usual.

A bad tick never reaches a decision: it is dropped and counted. A move that is real is not dropped for long: a second
rejected tick in the same direction soon after is accepted, and after a pause there is nothing to compare with.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

from dtms.domain.calendar import MarketHours
from dtms.domain.market import Quote
from dtms.domain.policy.rails import RailsPolicy
from dtms.domain.units import SECOND, Millis

_GAPS = 200
_GAPS_REFRESH = 20
_SPREADS = 20_000
_SPREADS_REFRESH = 200
_SPREAD_LIMIT = 10.0
"""A spread wider than so many medians is a bad tick (reliability.md section 5)."""
_JUMP_ATR = 5.0
"""A jump of more than so many ATR(M15) is a bad tick unless a second one follows (reliability.md section 5)."""
_CONFIRM = 2 * SECOND


@dataclass(slots=True, kw_only=True)
class QuoteFeed:
    """The accepted quotes of one symbol.

    `spread_typical` stands in for the median until `spread_min_quotes` were seen; with neither the median is unknown.
    """

    symbol: str
    hours: MarketHours
    policy: RailsPolicy
    spread_typical: float | None
    last: Quote | None = None
    changed_at: Millis | None = None
    rejected: int = 0
    _suspect: Quote | None = None
    _gaps: deque[int] = field(default_factory=lambda: deque(maxlen=_GAPS))
    _median_gap: float | None = None
    _spreads: deque[float] = field(default_factory=lambda: deque(maxlen=_SPREADS))
    _median_spread: float | None = None
    _seen: int = 0

    def offer(self, quote: Quote, atr: float | None) -> bool:
        """Take a quote in; return whether it was accepted and is new."""
        last = self.last
        if last is not None:
            if quote.at < last.at:
                self.rejected += 1
                return False
            if quote.at == last.at and quote.bid == last.bid and quote.ask == last.ask:
                return False
            if self._is_bad(quote, last, atr) and not self._confirmed(quote, last):
                self._suspect = quote
                self.rejected += 1
                return False
            self._count_gap(quote.at - last.at)
        self._suspect = None
        self.last = quote
        self.changed_at = quote.at
        self._count_spread(quote.spread)
        return True

    def stale_after(self) -> int:
        """Return the age in ms beyond which the last quote is stale."""
        gap = self._median_gap
        least, most = self.policy.stale_min_s * SECOND, self.policy.stale_max_s * SECOND
        return round(most if gap is None else min(most, max(least, self.policy.stale_gaps * gap)))

    def is_stale(self, now: Millis) -> bool:
        """Say whether no new quote was accepted for too long; with none at all it is."""
        return self.last is None or now - self.last.at > self.stale_after()

    def median_spread(self) -> float | None:
        """Return the usual spread in price units; None where it is not known."""
        if self._seen >= self.policy.spread_min_quotes and self._median_spread is not None:
            return self._median_spread
        return self.spread_typical

    def _is_bad(self, quote: Quote, last: Quote, atr: float | None) -> bool:
        usual = self.median_spread()
        if usual is not None and quote.spread > _SPREAD_LIMIT * usual:
            return True
        fresh = quote.at - last.at <= self.stale_after()
        return fresh and atr is not None and abs(quote.bid - last.bid) > _JUMP_ATR * atr

    def _confirmed(self, quote: Quote, last: Quote) -> bool:
        """Say whether a second suspect tick ran in the same direction soon enough.

        On a feed whose quotes are seldom, "soon" is twice their usual distance: a crash must not blind the defence.
        """
        suspect = self._suspect
        if suspect is None:
            return False
        window = max(_CONFIRM, 2 * (self._median_gap or 0.0))
        same_way = (quote.bid - last.bid) * (suspect.bid - last.bid) > 0
        return same_way and quote.at - suspect.at <= window

    def _count_gap(self, gap: int) -> None:
        if self.hours.never_closes or gap <= self.policy.stale_max_s * SECOND:
            self._gaps.append(gap)
            if self._median_gap is None or self._seen % _GAPS_REFRESH == 0:
                self._median_gap = median(self._gaps)

    def _count_spread(self, spread: float) -> None:
        self._spreads.append(spread)
        self._seen += 1
        if self._seen >= self.policy.spread_min_quotes and (
            self._median_spread is None or self._seen % _SPREADS_REFRESH == 0
        ):
            self._median_spread = median(self._spreads)

"""Which quotes are believed, how old they may be, and what spread is usual.

A bad tick never reaches a decision: it is dropped and counted. A move that is real is not dropped for long: a second
rejected tick in the same direction soon after is accepted, so that a crash does not blind the defence.
"""

from __future__ import annotations

import zlib
from array import array
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from dtms.domain.calendar import MarketHours
from dtms.domain.market import Quote
from dtms.domain.policy.rails import RailsPolicy
from dtms.domain.units import SECOND, Millis
from dtms.errors import InvalidDataError

_GAPS = 200
_GAPS_REFRESH = 20
_SPREADS = 20_000
_SPREADS_REFRESH = 200
_SPREAD_LIMIT = 10.0
"""A spread wider than so many medians is a bad tick (reliability.md section 5)."""
_JUMP_ATR = 5.0
"""A jump of more than so many ATR(M15) is a bad tick unless a second one follows (reliability.md section 5)."""
_JUMP_SHARE: Final = 0.05
"""The limit of a jump as a share of the price while no ATR is known: a price of ten times as much is no market's."""
_CONFIRM = 2 * SECOND
_DOUBLE: Final = 8


@dataclass(slots=True, kw_only=True)
class QuoteFeed:
    """The accepted quotes of one symbol.

    How old a quote is counts from when it was received, on the market's clock: the broker's stamps only put quotes in
    order, for the offset of its clock may be wrong. After a silence the first quote may be an old one that was missed;
    it is as old as its stamp says, until another follows.

    `spread_typical` stands in for the median until `spread_min_quotes` were seen; with neither the median is unknown.
    `reference` is a price to compare the very first quote with, such as the last bar's close.
    """

    symbol: str
    hours: MarketHours
    policy: RailsPolicy
    spread_typical: float | None
    reference: float | None = None
    last: Quote | None = None
    changed_at: Millis | None = None
    rejected: int = 0
    _heard_at: Millis | None = None
    _suspect: Quote | None = None
    _gaps: deque[int] = field(default_factory=lambda: deque(maxlen=_GAPS))
    _median_gap: float | None = None
    _spreads: deque[float] = field(default_factory=lambda: deque(maxlen=_SPREADS))
    _median_spread: float | None = None
    _seen: int = 0

    def offer(self, quote: Quote, atr: float | None, now: Millis | None = None) -> bool:
        """Take a quote in; return whether it was accepted and is new.

        Args:
            quote: What the broker shows.
            atr: ATR(M15) in price units, None where it is not known.
            now: When it was received, on the market's clock; None where that is the quote's own instant.
        """
        received = quote.at if now is None else now
        last = self.last
        if last is not None and quote.at == last.at and quote.bid == last.bid and quote.ask == last.ask:
            self._suspect = None  # shown again as the newest one: what came between was none
            return False
        if quote == self._suspect:
            return False  # looked at again, not said again
        if quote.symbol != self.symbol or (last is not None and quote.at < last.at):
            self.rejected += 1
            return False
        if self._is_bad(quote, atr) and not self._confirmed(quote, atr, received):
            self._suspect = quote
            self.rejected += 1
            return False
        if last is not None:
            self._count_gap(quote.at - last.at)
        silent = self._heard_at is None or received - self._heard_at > self.stale_after()
        self._suspect = None
        self.last = quote
        self.changed_at = min(received, quote.at) if silent else received
        self._heard_at = received
        self._count_spread(quote.spread)
        return True

    def refuse(self) -> None:
        """Count what was no quote at all."""
        self.rejected += 1

    def forget_age(self) -> None:
        """Hold the last quote for stale until a new one comes: the machine has slept."""
        self.changed_at = None
        self._heard_at = None

    def stale_after(self) -> int:
        """Return the age in ms beyond which the last quote is stale."""
        gap = self._median_gap
        least, most = self.policy.stale_min_s * SECOND, self.policy.stale_max_s * SECOND
        return round(most if gap is None else min(most, max(least, self.policy.stale_gaps * gap)))

    def is_stale(self, now: Millis) -> bool:
        """Say whether no new quote was accepted for too long; with none at all it is."""
        return self.changed_at is None or now - self.changed_at > self.stale_after()

    def median_spread(self) -> float | None:
        """Return the usual spread in price units; None where it is not known."""
        if self._seen >= self.policy.spread_min_quotes and self._median_spread is not None:
            return self._median_spread
        return self.spread_typical

    @property
    def seen(self) -> int:
        """Return how many quotes were accepted, those before a restart included."""
        return self._seen

    def dump_spreads(self) -> bytes:
        """Return the spreads seen, for `load_spreads` after a restart."""
        return zlib.compress(array("d", [float(self._seen), *self._spreads]).tobytes(), 1)

    def load_spreads(self, saved: bytes) -> None:
        """Go on with the spreads of before a restart.

        Raises:
            InvalidDataError: They are damaged; the feed is as before, and the typical spread stands in.
        """
        try:
            body = zlib.decompress(saved)
        except zlib.error as damage:
            msg = f"saved spreads of {self.symbol} are damaged ({damage}); the typical spread stands in"
            raise InvalidDataError(msg) from damage
        numbers = array("d")
        numbers.frombytes(body[: len(body) - len(body) % _DOUBLE])
        if len(body) % _DOUBLE or not numbers or not all(0 <= number < float("inf") for number in numbers):
            msg = f"saved spreads of {self.symbol} are no spreads; the typical spread stands in"
            raise InvalidDataError(msg)
        self._seen = int(numbers[0])
        self._spreads.extend(numbers[1:])
        self._median_spread = median(self._spreads) if self._spreads else None

    def _is_bad(self, quote: Quote, atr: float | None) -> bool:
        usual = self.median_spread()
        if usual is not None and quote.spread > _SPREAD_LIMIT * usual:
            return True
        base = self._base()
        return base is not None and abs(quote.bid - base) > _limit(base, atr)

    def _base(self) -> float | None:
        """Return the price that a quote is compared with; None where there is none."""
        return self.reference if self.last is None else self.last.bid

    def _confirmed(self, quote: Quote, atr: float | None, received: Millis) -> bool:
        """Say whether a second suspect tick ran in the same direction soon enough.

        On a feed whose quotes are seldom, "soon" is twice their usual distance. After a silence there is little to
        compare with: the second one confirms whenever it comes, where it is near the first.
        """
        suspect, base = self._suspect, self._base()
        if suspect is None or base is None or quote.at <= suspect.at:
            return False
        soon = quote.at - suspect.at <= max(_CONFIRM, 2 * (self._median_gap or 0.0))
        near = self.is_stale(received) and abs(quote.bid - suspect.bid) <= _limit(suspect.bid, atr)
        return (quote.bid - base) * (suspect.bid - base) > 0 and (soon or near)

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


def _limit(price: float, atr: float | None) -> float:
    """Return how far a tick may lie from a price, in price units."""
    return _JUMP_SHARE * price if atr is None else _JUMP_ATR * atr

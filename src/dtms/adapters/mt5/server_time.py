"""From the trade server's clock to UTC: the terminal dresses server time as an epoch and never says the offset.

Either the offset is given, or it is estimated from fresh ticks. This is no clock: durations are measured elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from statistics import median
from zoneinfo import ZoneInfo

from dtms.domain.units import DAY, HOUR, MINUTE, Millis, to_utc
from dtms.errors import StaleDataError

_NEW_YORK = ZoneInfo("America/New_York")
_STEP = 15 * MINUTE
_SAMPLES = 9
_FRESH = MINUTE
"""A tick that was not there this long ago is at most this old: far less than half a step, so rounding removes it."""

_PLAUSIBLE = (-12 * HOUR, 14 * HOUR)
"""The offsets that exist on earth."""

ServerOffset = Callable[[Millis], int]
"""From an instant in UTC to how far the server's clock is ahead, in ms."""


@lru_cache(maxsize=65_536)
def _new_york_hour(hour: int) -> int:
    """New York's offsets are whole hours and change on the hour, so one value an hour is exact."""
    offset = to_utc(Millis(hour * HOUR)).astimezone(_NEW_YORK).utcoffset()
    seconds = 0 if offset is None else round(offset.total_seconds())
    return seconds * 1_000 + 7 * HOUR


def new_york_plus_7(at: Millis) -> int:
    """Return the offset of the clock that most brokers' servers show: New York plus 7 h, so that the day ends at 17:00.

    Source:
        Every recorded MetaTrader tape of metals breaks at 00:00 of this clock, in summer and in winter.
    """
    return _new_york_hour(at // HOUR)


class ServerClock:
    """Converts server times; estimates the offset where none is given.

    A sample is the time of a tick that was not there at the last look at most a minute ago, minus our clock. The estimate
    is the median of the last nine, rounded to 15 min: five must agree before it changes. Where it is what New York plus
    7 h says now, that convention with its summer time is used for all times, else the estimate itself.
    Until there is one, records are converted by the convention and market data is refused.
    """

    __slots__ = ("_clock", "_estimate", "_given", "_samples", "_seen")

    def __init__(self, clock: Callable[[], Millis], offset: ServerOffset | None = None) -> None:
        self._clock = clock
        self._given = offset
        self._estimate: int | None = None
        self._samples: deque[int] = deque(maxlen=_SAMPLES)
        self._seen: dict[str, tuple[int, Millis]] = {}

    @property
    def known(self) -> bool:
        """Say whether the offset was given or estimated, rather than assumed."""
        return self._given is not None or self._estimate is not None

    def require_known(self, what: str) -> None:
        """Refuse to date market data by an assumption.

        Raises:
            StaleDataError: No fresh tick was seen yet; ask for quotes until one comes.
        """
        if not self.known:
            msg = f"{what}: the trade server's clock offset is not known until a fresh tick was seen; ask again"
            raise StaleDataError(msg)

    def observe(self, symbol: str, server_ms: int) -> None:
        """Take a sample from a symbol's last tick, if it is fresh."""
        if self._given is not None:
            return
        now = self._clock()
        seen = self._seen.get(symbol)
        self._seen[symbol] = (server_ms, now)
        if seen is None or server_ms <= seen[0] or not 0 <= now - seen[1] <= _FRESH:
            return
        sample = server_ms - now
        if not _PLAUSIBLE[0] <= sample <= _PLAUSIBLE[1]:
            return
        self._samples.append(sample)
        self._estimate = round(median(self._samples) / _STEP) * _STEP

    def offset(self, at: Millis) -> int:
        """Return how far the server's clock is ahead at an instant, in ms."""
        if self._given is not None:
            return self._given(at)
        if self._estimate is None or self._estimate == new_york_plus_7(self._clock()):
            return new_york_plus_7(at)
        return self._estimate

    def to_server(self, at: Millis) -> int:
        """Return the server's reading of an instant, in ms."""
        return at + self.offset(at)

    def to_utc(self, server_ms: int) -> Millis:
        """Return the instant of a server time.

        The hour that is read twice when the clock is turned back is taken for the later one, unless that is still to come.
        """
        before, after = self._offsets_around(server_ms)
        if before == after:
            return Millis(server_ms - before)
        fitting = [server_ms - o for o in (before, after) if self.offset(Millis(server_ms - o)) == o]
        past = [at for at in fitting if at <= self._clock()]
        return Millis(max(past or fitting or [server_ms - after]))

    def all_to_utc(self, server_ms: list[int]) -> list[Millis]:
        """Return the instants of ascending server times; one look at the offset where it does not change among them."""
        if not server_ms:
            return []
        first, last = self._offsets_around(server_ms[0])[0], self._offsets_around(server_ms[-1])[1]
        if first == last and server_ms[-1] - server_ms[0] < 30 * DAY:
            return [Millis(at - first) for at in server_ms]
        return [self.to_utc(at) for at in server_ms]

    def _offsets_around(self, server_ms: int) -> tuple[int, int]:
        return self.offset(Millis(server_ms - DAY)), self.offset(Millis(server_ms + DAY))

"""From the trade server's clock to UTC: the terminal dresses server time as an epoch and never says the offset.

It is learnt from fresh ticks of any symbol; until then the last known one may stand in. This is no clock: durations are
measured elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from statistics import median
from zoneinfo import ZoneInfo

from dtms.domain.server_offset import SeenOffset
from dtms.domain.units import DAY, HOUR, MINUTE, SECOND, Millis, to_utc
from dtms.errors import StaleDataError

_NEW_YORK = ZoneInfo("America/New_York")
_STEP = 15 * MINUTE
_SAMPLES = 9
_FRESH = 5 * MINUTE
"""A tick that was not there this long ago is at most this old: less than half a step, so rounding removes it."""

_AHEAD = 2 * MINUTE
"""How far two clocks that are kept may differ: what is dated later than this has not happened yet."""

_LOOK_AGAIN = 10 * MINUTE
_BETWEEN_LOOKS = SECOND // 4
"""On the market's clock: not more often than the executor looks."""

_LONGEST_BETWEEN_LOOKS = 5 * SECOND
_SHARE_OF_THE_DARK = 20
"""A closed market is looked at ever more seldom, a twentieth of how long nothing has moved: a weekend is no storm."""

_PLAUSIBLE = (-12 * HOUR, 14 * HOUR)
"""The offsets that exist on earth."""


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


def _rounded(samples: list[int]) -> int:
    return round(median(samples) / _STEP) * _STEP


class ServerClock:
    """Converts server times, and learns the offset.

    A sample is the time of a tick that was not there at the last look at most five minutes ago, minus our clock. The
    estimate is the median of the last nine, rounded to 15 min: five must agree before it changes. Where most of them are
    what New York plus 7 h said when they were taken, that convention with its summer time is used for all times, past and
    to come, else the estimate itself.
    Until there is a sample an offset that was seen before stands in, unless a tick or bar of now contradicts it. With
    neither, records are converted by the convention and market data is refused.
    """

    __slots__ = (
        "_clock",
        "_dark_since",
        "_estimate",
        "_looked_at",
        "_recalled",
        "_sampled_at",
        "_samples",
        "_seen",
        "_usual",
    )

    def __init__(self, clock: Callable[[], Millis]) -> None:
        self._clock = clock
        self._recalled: SeenOffset | None = None
        self._samples: deque[tuple[int, int]] = deque(maxlen=_SAMPLES)
        """The sample, and what the convention said then."""
        self._estimate = 0
        self._usual = False
        self._sampled_at = Millis(0)
        self._looked_at: Millis | None = None
        self._dark_since: Millis | None = None
        self._seen: dict[str, tuple[int, Millis]] = {}

    @property
    def known(self) -> bool:
        """Say whether the offset was learnt or recalled, rather than assumed."""
        return bool(self._samples) or self._recalled is not None

    @property
    def seen(self) -> SeenOffset | None:
        """Return the offset as it was learnt from ticks, None where it was not."""
        return SeenOffset(ahead=self.offset(self._sampled_at), at=self._sampled_at) if self._samples else None

    @property
    def recalled(self) -> SeenOffset | None:
        """Return the last known offset where nothing newer has been learnt yet."""
        return None if self._samples else self._recalled

    def recall(self, last: SeenOffset) -> None:
        """Let the offset that was seen last, by an earlier process, stand in until a fresh tick is seen."""
        self._recalled = last

    def wants_look(self) -> bool:
        """Say whether ticks should be looked at now: nothing fresh was seen for long, and the last look is not just over."""
        now = self._clock()
        if self._samples and 0 <= now - self._sampled_at < _LOOK_AGAIN:
            return False
        if self._dark_since is None or now < self._dark_since:
            self._dark_since = now
        dark = (now - self._dark_since) // _SHARE_OF_THE_DARK
        pause = min(max(dark, _BETWEEN_LOOKS), _LONGEST_BETWEEN_LOOKS)
        if self._looked_at is not None and 0 <= now - self._looked_at < pause:
            return False
        self._looked_at = now
        return True

    def require_known(self, what: str) -> None:
        """Refuse to date market data by an assumption.

        Raises:
            StaleDataError: No fresh tick was seen yet; ask again once a quote of any watched symbol has changed.
        """
        if not self.known:
            msg = (
                f"{what}: the trade server's clock offset is not known until a quote of any symbol in Market Watch "
                "changes; ask again, where the market is closed when it opens"
            )
            raise StaleDataError(msg)

    def observe(self, symbol: str, server_ms: int) -> None:
        """Take a sample from a symbol's last tick, if it is fresh; a tick at 0 is none, and what follows it may be old."""
        if server_ms <= 0:
            return
        self._bound(server_ms)
        now = self._clock()
        seen = self._seen.get(symbol)
        self._seen[symbol] = (server_ms, now)
        if seen is None or server_ms <= seen[0] or not 0 <= now - seen[1] <= _FRESH:
            return
        sample = server_ms - now
        if _PLAUSIBLE[0] <= sample <= _PLAUSIBLE[1]:
            self._take(sample, now)

    def _take(self, sample: int, now: Millis) -> None:
        """Count a sample; of one look at many symbols only the freshest, lest one look outvote all before it."""
        self._dark_since = None
        if self._samples and 0 <= now - self._sampled_at < _BETWEEN_LOOKS:
            sample = max(sample, self._samples.pop()[0])
        else:
            self._sampled_at = now
        self._samples.append((sample, new_york_plus_7(now)))
        self._usual = _rounded([each - usual for each, usual in self._samples]) == 0
        self._estimate = _rounded([each for each, _ in self._samples])

    def require_past(self, what: str, server_ms: int) -> None:
        """Refuse what would lie in the future: the offset that says so is not the server's any more.

        Raises:
            StaleDataError: It does; ask again once more ticks were seen.
        """
        self._bound(server_ms)
        self.require_known(what)
        if self.to_utc(server_ms) > self._clock() + _AHEAD:
            msg = (
                f"{what}: they are dated after now, so the trade server's clock, or this machine's, has changed; the "
                "offset is being learnt anew, ask again, and check this machine's clock where it goes on"
            )
            raise StaleDataError(msg)

    def _bound(self, server_ms: int) -> None:
        """Forget a recalled offset by which this tick or bar has not happened yet."""
        if (
            self._recalled is not None
            and server_ms - self._ahead(self._recalled, self._clock()) > self._clock() + _AHEAD
        ):
            self._recalled = None

    def offset(self, at: Millis) -> int:
        """Return how far the server's clock is ahead at an instant, in ms."""
        if not self._samples:
            return new_york_plus_7(at) if self._recalled is None else self._ahead(self._recalled, at)
        return new_york_plus_7(at) if self._usual else self._estimate

    @staticmethod
    def _ahead(seen: SeenOffset, at: Millis) -> int:
        return new_york_plus_7(at) if seen.ahead == new_york_plus_7(seen.at) else seen.ahead

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

"""Everything the score knows about one symbol, fed with closed M1 bars.

The only stateful thing of `core`, and still a function of what it was fed: it has no clock, and a copy that was saved,
loaded and fed the bars since gives the same bits as the one that never stopped.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Final, cast

import numpy as np

from dtms.core._jit import Floats
from dtms.core.bars import FIELDS, M5_MS, Forming, M5Builder, SessionClock
from dtms.core.fold import step_bar
from dtms.core.layout import LAYOUT_VERSION, Out, h1_state, m5_state, m15_state
from dtms.core.params import parameters
from dtms.core.views import ViewMaker, staled
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import AssetClass
from dtms.domain.market import Bar
from dtms.domain.policy.score import RegimePolicy, ScorePolicy
from dtms.domain.score import MarketView
from dtms.domain.units import SECOND, Millis
from dtms.errors import InvalidDataError

STALE_AFTER_MS: Final = 2 * M5_MS + 15 * SECOND
"""A score whose bar ended longer ago than this, in open time, is none."""

_MAGIC: Final = "dtms market state"


class MarketState:
    """Bars, indicators and score of one symbol.

    Attributes:
        symbol: The broker's spelling, as the views carry it.
        revisions: M1 bars that were ignored because they came twice, out of order or too late.
    """

    def __init__(
        self, symbol: str, asset: AssetClass, policy: ScorePolicy, regime: RegimePolicy, *, canonical: str
    ) -> None:
        self.symbol = symbol
        self._canonical = canonical
        self._hours = MarketHours(asset)
        self._sessions = SessionClock(self._hours)
        self._p = parameters(policy, regime, canonical)
        self._maker = ViewMaker(symbol, policy, calibrated=regime.base(canonical) is not None)
        self._bars = M5Builder()
        self._m5 = m5_state()
        self._m15 = m15_state(self._p)
        self._h1 = h1_state()
        self._out = np.full(Out.SIZE, np.nan)
        self._last: MarketView | None = None
        self._stale: MarketView | None = None

    @property
    def revisions(self) -> int:
        """M1 bars that were ignored."""
        return self._bars.revisions

    @property
    def last_m1_start(self) -> Millis | None:
        """Start of the newest M1 bar taken, None before the first; feed what begins after it."""
        return self._bars.last_m1_start

    def on_m1(self, bar: Bar) -> None:
        """Take a closed M1 bar, oldest first; one that is not newer than the last is ignored and counted.

        Raises:
            InvalidDataError: The bar does not start on a whole minute; drop it.
        """
        self._bars.add(bar)

    def advance(self, now: Millis) -> tuple[MarketView, ...]:
        """Close every M5 bar whose end passed 2 s before `now`, with the M15 and H1 bars that end with it.

        Feed all M1 bars up to `now` first: one that comes after its M5 bar was closed is a revision.

        Returns:
            One view for each closed M5 bar that has ticks, oldest first. Each uses every bar of every timeframe that
            ends at or before it, and nothing later.
        """
        views = []
        while (bar := self._bars.close(now)) is not None:
            self._step(bar)
            views.append(self._maker.view(self._out))
        if views:
            self._last = views[-1]
            self._stale = None
        return tuple(views)

    def catch_up(self, now: Millis) -> MarketView | None:
        """Do what `advance` does, but make the newest view only: history in at a fiftieth of the time.

        Returns:
            The newest view, None before the first closed M5 bar.
        """
        stepped = False
        while (bar := self._bars.close(now)) is not None:
            self._step(bar)
            stepped = True
        if stepped:
            self._last = self._maker.view(self._out)
            self._stale = None
        return self._last

    def score_now(self, now: Millis) -> MarketView | None:
        """Return the newest view, without totals once its bar is stale; None before the first closed M5 bar."""
        last = self._last
        if last is None or self._hours.open_between(last.at, now) <= STALE_AFTER_MS:
            return last
        if self._stale is None:
            self._stale = staled(last)
        return self._stale

    def dump(self) -> bytes:
        """Return the whole state, forming bars included, for `load` of a state with the same symbol and policy."""
        pending = np.array([bar.numbers() for bar in self._bars.forming], dtype=np.float64).reshape(-1)
        arrays = (self._m5, self._m15, self._h1, self._out, pending)
        body = b"".join(array.tobytes() for array in arrays)
        head = self._stamp() | {
            "sizes": [array.size for array in arrays],
            "digest": hashlib.sha256(body).hexdigest(),
            "last_m1_start": self._bars.last_m1_start,
            "closed_end": self._bars.closed_end,
            "revisions": self._bars.revisions,
            "scored": self._last is not None,
        }
        return json.dumps(head).encode() + b"\n" + zlib.compress(body, 1)

    def load(self, data: bytes) -> None:
        """Replace the whole state by a saved one.

        Raises:
            InvalidDataError: The bytes are damaged, or of another version, symbol or policy. The state is unchanged;
                rebuild it from M1 bars.
        """
        head, arrays = self._unpack(data)
        m5, m15, h1, out, pending = arrays
        bars = M5Builder()
        bars.last_m1_start = cast("Millis | None", head["last_m1_start"])
        bars.closed_end = cast("int | None", head["closed_end"])
        bars.revisions = cast("int", head["revisions"])
        for row in pending.reshape(-1, FIELDS).tolist():
            bars.forming.append(Forming(int(row[0]), *row[1:]))
        self._bars = bars
        self._m5, self._m15, self._h1, self._out = m5, m15, h1, out
        self._last = self._maker.view(out) if head["scored"] else None
        self._stale = None

    def _step(self, bar: Forming) -> None:
        day, session = self._sessions.at(bar.start)
        start, open_, high, low, close, volume, buys, sells = bar.numbers()
        step_bar(
            self._m5,
            self._m15,
            self._h1,
            self._p,
            self._out,
            start,
            day,
            session,
            open_,
            high,
            low,
            close,
            volume,
            buys,
            sells,
        )

    def _stamp(self) -> dict[str, object]:
        return {
            "kind": _MAGIC,
            "version": LAYOUT_VERSION,
            "symbol": self._canonical,
            "asset": self._hours.asset.value,
            "policy": hashlib.sha256(self._p.tobytes()).hexdigest(),
        }

    def _unpack(self, data: bytes) -> tuple[dict[str, object], list[Floats]]:
        line, newline, packed = data.partition(b"\n")
        try:
            head = json.loads(line) if newline else None
            body = zlib.decompress(packed)
        except (ValueError, zlib.error) as damage:
            msg = f"saved market state of {self.symbol} is damaged ({damage}); rebuild it from M1 bars"
            raise InvalidDataError(msg) from damage
        if not isinstance(head, dict) or head.get("digest") != hashlib.sha256(body).hexdigest():
            msg = f"saved market state of {self.symbol} is damaged (its digest does not fit); rebuild it from M1 bars"
            raise InvalidDataError(msg)
        for name, expected in self._stamp().items():
            if head.get(name) != expected:
                msg = (
                    f"saved market state of {self.symbol} has {name} {head.get(name)!r}, not {expected!r}; "
                    "rebuild it from M1 bars"
                )
                raise InvalidDataError(msg)
        numbers = np.frombuffer(body, dtype=np.float64)
        ends = np.cumsum(head["sizes"])
        return head, [part.copy() for part in np.split(numbers, ends[:-1])]

"""Scores by script: a drill forces every transition within an hour, where a market would take months.

The script is a function of symbol and instant alone, so that every process, and each restart of one, reads the same. What is
real: the machine, the plans, the exits. What is not: bars and indicators, which have tests of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from dtms.app.market.market_data import MarketData, SymbolMarket
from dtms.app.market.quotes import QuoteFeed
from dtms.core.market_state import MarketState
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import Instrument
from dtms.domain.policy import Policy
from dtms.domain.score import (
    Confluence,
    Indicators,
    MarketView,
    Regime,
    Score,
    Structure,
    StructureEvent,
    StructureEventKind,
    Volatility,
)
from dtms.domain.units import DAY, MINUTE, Millis, Side

BAR: Final = MINUTE
"""The script's bars: shorter than M5, so that bars running and deadlines fit into one run."""
_LENGTH: Final = 600
_STALE_BARS: Final = 3
_LOOK_BACK: Final = 4 * DAY
"""A weekend is shorter."""
_EVENT_SHARE: Final = 0.07
_RELIEVED: Final = (-0.6, -0.4)
"""Scores of bars on which a trade recovers: a change of character there is rarer than the rows that ask for it."""
_RELIEVED_EVENT_SHARE: Final = 0.25

_EPISODES: Final[tuple[tuple[float | None, ...], ...]] = (
    (0.5, 1.2, 0.2),
    (-2.4, -2.1, -0.6, 0.4),
    (-2.5, -2.6, -4.4, -4.2),
    (-2.5, -2.6, -4.4, -4.6, -6.4, -6.8),
    (-2.5, -4.5, -4.5, -6.5, -6.5, -0.6, -0.4, -0.5, 1.4, 1.6),
    (-2.5, -4.5, -4.5, -6.5, -6.5, -0.6, -0.4, -0.5, -4.6, -5.0),
    (-6.5, -6.6, -6.9, -6.2),
    (-4.6, -4.8, -3.0, -3.1, -3.0, -3.2, -3.1, -3.0),
    (-4.5, -4.5, -1.5, 0.2),
    (-2.2, -2.2, -2.2, -2.2, -1.0, -1.0),
    (None, None),
    (-0.8, -0.7, 1.3, 1.5, 1.2),
)
"""Scores of a BUY, bar by bar; a SELL has their mirror."""
_DEEP: Final = -6.6
_RELIEF: Final = 0.6


@dataclass(frozen=True, slots=True)
class _Line:
    """One bar of the script, for a BUY."""

    score: float | None
    flip: int
    event: StructureEventKind | None


def _lines(stream: Random) -> tuple[_Line, ...]:
    lines: list[_Line] = []
    while len(lines) < _LENGTH:
        sign = stream.choice((1.0, 1.0, -1.0))
        for score in stream.choice(_EPISODES):
            shown = None if score is None else round(sign * score + stream.uniform(-0.2, 0.2), 3)
            share = (
                _EVENT_SHARE if score is None or not _RELIEVED[0] <= score <= _RELIEVED[1] else _RELIEVED_EVENT_SHARE
            )
            event = stream.choice(tuple(StructureEventKind)) if stream.random() < share else None
            lines.append(_Line(shown, stream.choice((0, 0, 0, 1, -1)), event))
    return tuple(lines)


class ScoreScript:
    """What each closed bar of each symbol says.

    Args:
        seed: Of the run.
        start: The instant at which the script begins.
        atr: ATR(M15) of each symbol, price units.
        deep_until: Up to here the scores of a BUY stay as low as they get, then they are relieved; None: as the seed says.
    """

    def __init__(self, seed: int, start: Millis, atr: Mapping[str, float], *, deep_until: Millis | None = None) -> None:
        self.atr = dict(atr)
        self._first = start // BAR
        self._deep_until = deep_until
        self._lines = {name: _lines(Random(f"{seed}:script:{name}")) for name in atr}  # noqa: S311 - a drill
        self._made: dict[tuple[str, int], MarketView] = {}

    def view(self, symbol: str, now: Millis, hours: MarketHours) -> MarketView | None:
        """Return the view of the last bar that has ended, also of one before the start; None where no market was then."""
        number = now // BAR
        at = Millis(number * BAR)
        if not hours.is_open(Millis(at - 1)):
            return None
        made = self._made.get((symbol, number))
        if made is None:
            made = self._made[symbol, number] = self._make(symbol, number, at, hours)
        return made

    def newest(self, symbol: str, now: Millis, bar: int, hours: MarketHours) -> MarketView | None:
        """Return the view of the newest bar that had a market, None where there was none for days."""
        end = now // bar * bar
        for back in range(_LOOK_BACK // bar):
            view = self.view(symbol, Millis(end - back * bar), hours)
            if view is not None:
                return view
        return None

    def _line(self, symbol: str, number: int, at: Millis) -> _Line:
        if self._deep_until is not None:
            return _Line(_DEEP if at < self._deep_until else _RELIEF, 0, None)
        return self._lines[symbol][(number - self._first) % _LENGTH]

    def _make(self, symbol: str, number: int, at: Millis, hours: MarketHours) -> MarketView:
        line = self._line(symbol, number, at)
        atr = self.atr[symbol]
        regime = Regime(
            session=hours.session(at),
            volatility=Volatility.NORMAL,
            structure=Structure.TREND,
            threshold=0.001,
            calibrated=True,
        )

        def score(side: Side) -> Score:
            return Score(
                symbol=symbol,
                side=side,
                at=at,
                total=None if line.score is None else side * line.score,
                missing="the script says none" if line.score is None else "",
                layers=(),
                confluence=Confluence.MIXED,
                regime=regime,
                flip_against=line.flip == -side,
                opposite_share_high=line.flip == -side,
            )

        return MarketView(
            symbol=symbol,
            at=at,
            close=100.0,
            buy=score(Side.BUY),
            sell=score(Side.SELL),
            indicators=Indicators(
                atr_m5=atr / 2.0,
                atr_m15=atr,
                squeeze=line.flip == 1,
                extension=0.5,
                extension_p90=1.5,
                ema50_m15_slope=0.0,
                ema200_m15_slope=0.0,
                ema50_h1_slope=0.0,
                vwap=None,
            ),
            events=() if line.event is None else (StructureEvent(kind=line.event, at=at),),
        )


class _ScriptedState(MarketState):
    """The indicators of one symbol, read from the script."""

    def __init__(self, script: ScoreScript, instrument: Instrument, hours: MarketHours, policy: Policy) -> None:
        super().__init__(
            instrument.symbol, instrument.asset, policy.score, policy.regime, canonical=instrument.canonical
        )
        self._script = script
        self._open_hours = hours
        self._newest: MarketView | None = None

    def score_now(self, now: Millis) -> MarketView | None:
        """Return the newest view, None where there is none or it is too old to act on."""
        found = self._script.view(self.symbol, now, self._open_hours)
        if found is not None:
            self._newest = found
        newest = self._newest
        return None if newest is None or now - newest.at > _STALE_BARS * BAR else newest


@dataclass(slots=True, kw_only=True)
class ScriptedMarketData(MarketData):
    """The market as a service sees it: the gateway's quotes, the script's bars.

    `bar` is their length here; the exits count on M5.
    """

    script: ScoreScript
    bar: int = BAR

    def poll_bars(self, symbol: str, now: Millis) -> tuple[MarketView, ...]:
        """Return the bar that has ended since the last look; those missed in between are not decided any more."""
        desk = self.symbol(symbol, now)
        if now < desk.next_close:
            return ()
        self._renew(desk)
        desk.next_close = Millis((now // self.bar + 1) * self.bar)
        view = self.script.newest(symbol, now, self.bar, MarketHours(desk.instrument.asset))
        if view is None or view is desk.view:
            return ()
        desk.view = view
        return (view,)

    def _open(self, symbol: str, now: Millis) -> SymbolMarket:
        instrument = self.reads.instrument(symbol)
        policy = self.policies.of(instrument.canonical)
        hours = MarketHours(instrument.asset)
        state = _ScriptedState(self.script, instrument, hours, policy)
        feed = QuoteFeed(symbol=symbol, hours=hours, policy=policy.rails, spread_typical=policy.spread_typical)
        return SymbolMarket(
            instrument=instrument,
            hours=hours,
            policy=policy,
            feed=feed,
            state=state,
            view=self.script.newest(symbol, now, self.bar, hours),
            next_close=Millis((now // self.bar + 1) * self.bar),
        )

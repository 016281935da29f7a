"""What would move a trade: the state machine asked about bars and instants that have not come yet.

No threshold stands here. The machine itself says which row would hold; the policy's numbers are only the places at which
it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import partial
from itertools import pairwise

from dtms.app.market.market_data import SymbolMarket
from dtms.core import machine
from dtms.domain.market import Timeframe
from dtms.domain.modes import Mode
from dtms.domain.policy.machine import MachinePolicy
from dtms.domain.position import Account, AccountKind
from dtms.domain.score import (
    Confluence,
    Indicators,
    MarketView,
    Regime,
    Score,
    Session,
    Structure,
    StructureEvent,
    StructureEventKind,
    Volatility,
)
from dtms.domain.trade import Hold, Trade
from dtms.domain.transitions import Cause, Row
from dtms.domain.units import HOUR, MINUTE, Millis, Side
from dtms.domain.verdict import RailFacts, Snapshot

_M5 = Timeframe.M5.value
_LONG_AGO = 1_000
"""Bars in a state, or since registration, that no wait reaches."""


class Reach(StrEnum):
    """How a score reaches a threshold."""

    AT_MOST = "at_most"
    BELOW = "below"
    AT_LEAST = "at_least"
    ABOVE = "above"


_REACHES = {
    (True, True): Reach.AT_MOST,
    (True, False): Reach.BELOW,
    (False, True): Reach.AT_LEAST,
    (False, False): Reach.ABOVE,
}
"""By whether lower scores reach it, and whether the number itself does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A score that makes a row hold: `reach` says on which side of `score`, on `bars` scored bars running from now on.

    With 0 bars it is the present score at the row's instant. `distance` is how many points the present score is away, 0
    where it is there; None where there is no score.
    """

    bars: int
    reach: Reach
    score: float
    distance: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PossibleTransition:
    """One row out of the present state.

    `triggers` by the score, `events` of the structure, `at` by the clock: each alone is enough, except that a trigger with
    0 bars belongs to `at`. `holds` says that it would be taken now, between bars. `blocked_by` names what holds it back:
    `grace`, `dwell`, `pending`, `hold`.
    """

    row: Row
    holds: bool
    triggers: tuple[Trigger, ...]
    events: tuple[StructureEventKind, ...]
    at: Millis | None
    blocked_by: tuple[str, ...]


def present_score(trade: Trade, desk: SymbolMarket, now: Millis) -> Score | None:
    """Return the trade's score as it stands, without a total once its bar is stale; None before the first bar."""
    view = desk.state.score_now(now)
    return None if view is None else view.score(trade.side)


class Foresight:
    """Asks the machine about one trade on bars and at instants that have not come."""

    def __init__(self, trade: Trade, desk: SymbolMarket, score: Score | None, now: Millis) -> None:
        self._trade = trade
        self._desk = desk
        self._policy = desk.policy.machine
        self._score = score
        self._total = None if score is None else score.total
        self._now = now
        # Waits and pending plans are asked about apart: a threshold is one even while something holds it back.
        self._free = replace(
            trade, pending=None, hold=Hold.NONE, bars_in_state=_LONG_AGO, bars_since_registration=_LONG_AGO
        )
        self._last_bar = max(Timeframe.M5.start_of(now), 0 if trade.last_bar is None else trade.last_bar)

    def way(self, row: Row) -> PossibleTransition:
        """Return one row with all that is known of it."""
        at, by_clock = self.by_clock(row)
        by_score = self._by_score(row)
        return PossibleTransition(
            row=row,
            holds=self._holds(row, self._trade, self._snapshot(self._now, self._total)),
            triggers=(*by_clock, *by_score),
            events=tuple(kind for kind in StructureEventKind if self._by_event(row, self._free, kind)),
            at=at,
            blocked_by=self._blocked(row, by_score),
        )

    def by_clock(self, row: Row) -> tuple[Millis | None, tuple[Trigger, ...]]:
        """Return when the clock alone leads to the row, with the score that it needs then."""
        if row.cause is not Cause.DEADLINE:
            return None, ()
        for at in self._instants():
            triggers = self._threshold(0, partial(self._at_instant, row, at))
            if triggers or self._holds(row, self._free, self._snapshot(at, self._total)):
                return at, triggers
        return None, ()

    def _instants(self) -> tuple[Millis, ...]:
        """Return the instants at which the clock may decide something: the deadline, and the time before a long close."""
        close = self._desk.hours.next_close(self._now, round(self._policy.long_close_hours * HOUR))
        before = None if close is None else Millis(close - round(self._policy.before_close_minutes * MINUTE))
        return tuple(sorted(at for at in (self._trade.deadline, before) if at is not None))

    def _by_score(self, row: Row) -> tuple[Trigger, ...]:
        """Return the thresholds on one bar, and on more bars running where that is another one."""
        if not row.scored:
            return ()
        found: list[Trigger] = []
        for bars in range(1, max(self._policy.running_bars, self._policy.l2_release_bars) + 1):
            for trigger in self._threshold(bars, partial(self._on_bars, row, self._free, bars)):
                if all((trigger.reach, trigger.score) != (other.reach, other.score) for other in found):
                    found.append(trigger)
        return tuple(found)

    def _threshold(self, bars: int, holds: Callable[[float], bool]) -> tuple[Trigger, ...]:
        """Return where a row begins to hold along the score: empty where it never does, or does at any score."""
        known = sorted(
            {float(getattr(self._policy, f.name)) for f in fields(MachinePolicy) if f.name.endswith("_score")}
        )
        # Between two neighbouring numbers of the policy nothing can change: one place between each is enough.
        places = [known[0] - 1.0, known[0]]
        for low, high in pairwise(known):
            places += [(low + high) / 2, high]
        places.append(known[-1] + 1.0)
        falls = holds(places[0])
        if falls is holds(places[-1]):
            return ()
        if not falls:
            places.reverse()
        inside = next(i for i, place in enumerate(places) if not holds(place)) - 1
        on_number = inside % 2 == 1
        number = places[inside] if on_number else places[inside + 1]
        reach = _REACHES[falls, on_number]
        return (Trigger(bars=bars, reach=reach, score=number, distance=self._distance(reach, number)),)

    def _distance(self, reach: Reach, number: float) -> float | None:
        if self._total is None:
            return None
        ahead = self._total - number if reach in (Reach.AT_MOST, Reach.BELOW) else number - self._total
        return max(0.0, ahead)

    def _blocked(self, row: Row, triggers: Sequence[Trigger]) -> tuple[str, ...]:
        trade = self._trade
        blocked = []
        if trade.hold is not Hold.NONE and row.cause is not Cause.GONE:
            blocked.append("hold")
        if trade.pending is not None and not self._overtakes(row):
            blocked.append("pending")
        if triggers:
            easiest = triggers[-1]
            total = easiest.score + (-1.0 if easiest.reach in (Reach.AT_MOST, Reach.BELOW) else 1.0)
            held = replace(self._free, bars_in_state=trade.bars_in_state)
            if not self._on_bars(row, held, easiest.bars, total):
                blocked.append("dwell")
            young = replace(self._free, bars_since_registration=trade.bars_since_registration)
            if not self._on_bars(row, young, easiest.bars, total):
                blocked.append("grace")
        return tuple(blocked)

    def _overtakes(self, row: Row) -> bool:
        """Say whether the row may hold while the transition under way is pending."""
        pending = replace(self._free, pending=self._trade.pending)
        by_clock = any(self._holds(row, pending, self._snapshot(at, self._total)) for at in self._instants())
        by_event = any(self._by_event(row, pending, kind) for kind in StructureEventKind)
        gone = self._holds(row, pending, replace(self._snapshot(self._now, self._total), gone=True, hedge_gone=True))
        return by_clock or by_event or gone

    def _at_instant(self, row: Row, at: Millis, total: float) -> bool:
        return self._holds(row, self._free, self._snapshot(at, total))

    def _on_bars(self, row: Row, trade: Trade, bars: int, total: float) -> bool:
        """Say whether the row holds on the last of so many bars from now on, all with this score."""
        snap = self._snapshot(self._now, total)
        for step in range(1, bars + 1):
            view = self._view(Millis(self._last_bar + step * _M5), total, ())
            trade = machine.observe(trade, view)
            snap = self._snapshot(view.at, total, view)
        return self._holds(row, trade, snap)

    def _by_event(self, row: Row, trade: Trade, kind: StructureEventKind) -> bool:
        at = Millis(self._last_bar + _M5)
        view = self._view(at, None, (StructureEvent(kind=kind, at=at),))
        return self._holds(row, machine.observe(trade, view), self._snapshot(at, None, view))

    def _holds(self, row: Row, trade: Trade, snap: Snapshot) -> bool:
        return any(candidate.name == row.name for candidate in machine.candidates(trade, snap, self._policy))

    def _snapshot(self, now: Millis, total: float | None, view: MarketView | None = None) -> Snapshot:
        return Snapshot(
            now=now,
            instrument=self._desk.instrument,
            account=_NO_ACCOUNT,
            hours=self._desk.hours,
            quote=self._desk.feed.last,
            quote_stale=False,
            view=view,
            score=total,
            indicators=None,
            gone=False,
            hedge_gone=False,
            rails=_NO_RAILS,
            kill=None,
            mode=Mode.NORMAL,
            commission_per_lot=0.0,
            swap_per_lot=0.0,
            oldest_on_symbol=True,
        )

    def _view(self, at: Millis, total: float | None, events: tuple[StructureEvent, ...]) -> MarketView:
        scores = {side: self._imagined(side, at, total) for side in Side}
        return MarketView(
            symbol=self._trade.symbol,
            at=at,
            close=self._trade.entry,
            buy=scores[Side.BUY],
            sell=scores[Side.SELL],
            indicators=_NO_INDICATORS,
            events=events,
        )

    def _imagined(self, side: Side, at: Millis, total: float | None) -> Score:
        """Return a score of this total; the flip and the volume share stay as they are."""
        now = self._score
        return Score(
            symbol=self._trade.symbol,
            side=side,
            at=at,
            total=total,
            missing="",
            layers=(),
            confluence=Confluence.NEUTRAL,
            regime=_NO_REGIME,
            flip_against=now is not None and now.flip_against,
            opposite_share_high=None if now is None else now.opposite_share_high,
        )


# The machine's conditions look at none of these; plans and rails do, and no plan is made here.
_NO_ACCOUNT = Account(
    login=0,
    server="",
    kind=AccountKind.SIMULATED,
    currency="",
    currency_digits=2,
    hedging=True,
    fifo=False,
    balance=0.0,
    equity=0.0,
    margin=0.0,
    margin_free=0.0,
    margin_level=None,
    trade_allowed=False,
)
_NO_RAILS = RailFacts(
    day_loss=None,
    hour_loss=None,
    losing_streak=None,
    news="",
    news_known=False,
    spread=None,
    spread_median=None,
    margin_level=None,
    quote_stale=None,
)
_NO_INDICATORS = Indicators(**dict.fromkeys((each.name for each in fields(Indicators)), None))
_NO_REGIME = Regime(
    session=Session.LONDON, volatility=Volatility.NORMAL, structure=Structure.TREND, threshold=0.0, calibrated=False
)

"""Bars with holes, late and revised, through the desk and the real kernels.

The law: a decision on the bar that ended at T is made of every M1 bar that ends at or before T and was shown by then, as it
was shown first, and of nothing later. What is taken is worked out here a second time, from what was shown when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtms.app.market.market_data import MarketData, SymbolMarket
from dtms.app.reads.delegating import DelegatingReads
from dtms.core.market_state import MarketState
from dtms.domain.market import Bar, Timeframe
from dtms.domain.score import MarketView
from dtms.domain.units import MINUTE, SECOND, Millis
from dtms.settings import load_policy

_SYMBOL = "EURUSD"
_WARM = 1_500
_LIVE = 30
_M5 = Timeframe.M5.value


@dataclass(frozen=True)
class Minute:
    """What becomes of one bar: when it is shown first, None for never, and when its figures are changed, if they are."""

    bar: Bar
    shown_at: int | None
    revised_at: int | None = None

    def at(self, now: int) -> Bar | None:
        """Return the bar as it is shown at an instant, None where it is not."""
        if self.shown_at is None or now < self.shown_at:
            return None
        if self.revised_at is None or now < self.revised_at:
            return self.bar
        return replace(self.bar, high=self.bar.high + 0.01, close=self.bar.close + 0.005)


class Shown(DelegatingReads):
    """Shows of each minute what was known of it at `now`."""

    def __init__(self, world: Any, minutes: Sequence[Minute], now: Millis) -> None:
        super().__init__(world.broker)
        self.minutes = minutes
        self.now = now

    def present(self) -> list[Bar]:
        """Return all that is shown now, oldest first."""
        return [bar for minute in self.minutes if (bar := minute.at(self.now)) is not None]

    def bars(self, symbol: str, timeframe: Timeframe, count: int) -> tuple[Bar, ...]:
        assert (symbol, timeframe) == (_SYMBOL, Timeframe.M1)
        return tuple(self.present()[-count:])


class Taken:
    """Which bars count, worked out from what was shown at each look that closed bars."""

    def __init__(self) -> None:
        self.bars: list[Bar] = []
        self.closed = 0

    def look(self, shown: Sequence[Bar], now: int) -> None:
        """Take what is new, and close what has ended two seconds ago and has anything in it."""
        newest = self.bars[-1].start if self.bars else -1
        self.bars += [bar for bar in shown if bar.start > newest and bar.start >= self.closed]
        ended = [bar.start // _M5 * _M5 + _M5 for bar in self.bars]
        self.closed = max([self.closed, *(end for end in ended if end + 2 * SECOND <= now)])

    def view(self, desk: SymbolMarket) -> MarketView | None:
        """Return what these bars say of the newest closed one, in a state that never saw anything else."""
        instrument, policy = desk.instrument, desk.policy
        fresh = MarketState(_SYMBOL, instrument.asset, policy.score, policy.regime, canonical=instrument.canonical)
        for bar in self.bars:
            if bar.start < self.closed:
                fresh.on_m1(bar)
        return fresh.catch_up(Millis(self.closed + 2 * SECOND))


_LATE = st.sampled_from((0, 0, 0, 0, 0, 1, 3, 40, 70, 200, 400))
_FATE = st.tuples(st.sampled_from((True,) * 6 + (False,)), _LATE, st.sampled_from((None, None, None, 5, 90, 600)))
_LOOKS = st.lists(st.one_of(st.integers(min_value=1, max_value=170), st.just(900)), min_size=12, max_size=40)
"""Seconds between two looks; a quarter of an hour is an outage."""


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fates=st.lists(_FATE, min_size=_LIVE, max_size=_LIVE), looks=_LOOKS)
def test_a_decision_is_made_of_every_bar_that_was_shown_by_then_and_of_nothing_later(
    world: Any, bars: list[Bar], fates: list[tuple[bool, int, int | None]], looks: list[int]
) -> None:
    history = bars[-_WARM - _LIVE :]
    minutes = [Minute(bar, bar.start + MINUTE) for bar in history[:_WARM]]
    for bar, (there, late, revised) in zip(history[_WARM:], fates, strict=True):
        shown = bar.start + MINUTE + late * SECOND
        minutes.append(Minute(bar, shown if there else None, None if revised is None else shown + revised * SECOND))
    now = Millis(history[_WARM].start + 3 * SECOND)
    reads = Shown(world, minutes, now)
    desk = MarketData(reads=reads, ledger=world.ledger, policies=load_policy(), scored=False)
    taken = Taken()
    of_symbol = desk.symbol(_SYMBOL, now)
    taken.look(reads.present(), now)
    assert of_symbol.view == taken.view(of_symbol)
    for seconds in looks:
        now = reads.now = Millis(now + seconds * SECOND)
        closes = now >= of_symbol.next_close
        views = desk.poll_bars(_SYMBOL, now)
        if not closes:
            assert views == ()
            continue
        taken.look(reads.present(), now)
        assert of_symbol.view == taken.view(of_symbol)
        assert of_symbol.view is not None
        assert of_symbol.view.at == taken.closed

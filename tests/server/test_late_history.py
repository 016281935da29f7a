"""A terminal that answers the first question about a symbol's history with what it holds, and loads the rest meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dtms.app.market.market_data import MarketData
from dtms.app.reads.delegating import DelegatingReads
from dtms.domain.market import Bar, Timeframe
from dtms.domain.units import MINUTE, SECOND, Millis
from dtms.settings import load_policy

BARS = 3_000


class LateHistory(DelegatingReads):
    """Has a symbol's history, of which it shows the newest `loaded` bars."""

    def __init__(self, world: Any, history: list[Bar]) -> None:
        super().__init__(world.broker)
        self.history = history
        self.loaded = 0
        self.asked = 0

    def bars(self, symbol: str, timeframe: Timeframe, count: int) -> tuple[Bar, ...]:
        assert (symbol, timeframe) == ("EURUSD", Timeframe.M1)
        self.asked += 1
        return tuple(self.history[-min(count, self.loaded) :]) if self.loaded else ()

    def next_bar(self) -> None:
        last = self.history[-1]
        self.history.append(replace(last, start=Millis(last.start + MINUTE)))


def desk_over(world: Any, reads: LateHistory) -> MarketData:
    return MarketData(reads=reads, ledger=world.ledger, policies=load_policy(), scored=False)


def seen(desk: MarketData, now: Millis) -> Any:
    """Return what the newest closed bar was decided on."""
    view = desk.symbol("EURUSD", now).view
    assert view is not None
    return view.at, view.indicators


@pytest.fixture
def reads(world: Any, bars: list[Bar]) -> LateHistory:
    return LateHistory(world, list(bars[-BARS:]))


@pytest.mark.parametrize("at_first", [0, 60], ids=["nothing", "an hour"])
def test_an_older_history_that_comes_later_is_taken_in(world: Any, reads: LateHistory, at_first: int) -> None:
    reads.loaded = at_first
    late, whole = desk_over(world, reads), desk_over(world, reads)
    now = Millis(reads.history[-1].start + MINUTE + 2 * SECOND)
    late.symbol("EURUSD", now)

    reads.loaded = BARS
    for _ in range(10):
        reads.next_bar()
        now = Millis(now + MINUTE)
        late.poll_bars("EURUSD", now)

    assert seen(late, now) == seen(whole, now)
    assert seen(late, now)[1].atr_m15 is not None


def test_a_history_that_is_short_for_good_is_not_asked_for_for_ever(world: Any, reads: LateHistory) -> None:
    reads.loaded = 60
    desk = desk_over(world, reads)
    now = Millis(reads.history[-1].start + MINUTE)
    desk.symbol("EURUSD", now)
    before = reads.asked
    for _ in range(60):
        reads.next_bar()
        reads.loaded += 1
        now = Millis(now + MINUTE)
        desk.poll_bars("EURUSD", now)

    assert reads.asked - before <= 12 + 3  # one a closed M5 bar, and one more within the first ten minutes

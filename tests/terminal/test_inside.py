"""What is assumed inside a long bar: its M1 bars have its own prices, and nothing on the way lies outside them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dtms.domain.market import Bar
from dtms.domain.units import MINUTE, Millis
from dtms_lab.terminal.inside import minutes_of

PRICES = st.integers(min_value=1, max_value=1_000_000).map(lambda ticks: round(ticks * 0.01, 2))


@st.composite
def bars(draw: st.DrawFn) -> Bar:
    low, near, far, high = sorted(draw(st.tuples(PRICES, PRICES, PRICES, PRICES)))
    opened, close = draw(st.sampled_from(((near, far), (far, near))))
    return Bar(start=Millis(0), open=opened, high=high, low=low, close=close, volume=draw(st.floats(0, 1e6)))


@given(bar=bars(), count=st.sampled_from((5, 15, 60)), low=st.booleans())
def test_the_minutes_inside_a_bar_are_one_path_with_the_bars_own_prices(bar: Bar, count: int, *, low: bool) -> None:
    inside = minutes_of(bar, count, low=low, digits=2)

    assert [minute.start for minute in inside] == [i * MINUTE for i in range(count)]
    assert (inside[0].open, inside[-1].close) == (bar.open, bar.close)
    assert (max(minute.high for minute in inside), min(minute.low for minute in inside)) == (bar.high, bar.low)
    assert all(a.close == b.open for a, b in pairwise(inside))


@given(bar=bars(), count=st.sampled_from((5, 15, 60)))
def test_the_extreme_that_is_to_come_first_comes_first(bar: Bar, count: int) -> None:
    fall, rise = (minutes_of(bar, count, low=low, digits=2) for low in (True, False))

    assert (
        next(i for i, m in enumerate(fall) if m.low == bar.low)
        <= next(i for i, m in enumerate(fall) if m.high == bar.high or i == count - 1)
        or bar.open == bar.high
    )
    assert (
        next(i for i, m in enumerate(rise) if m.high == bar.high)
        <= next(i for i, m in enumerate(rise) if m.low == bar.low or i == count - 1)
        or bar.open == bar.low
    )


@given(bar=bars(), spread=st.integers(0, 100), count=st.sampled_from((5, 15, 60)), low=st.booleans())
def test_the_ask_never_lies_below_the_bid_on_the_way(bar: Bar, spread: int, count: int, *, low: bool) -> None:
    lift = spread * 0.01
    asked = Bar(
        start=bar.start,
        open=round(bar.open + lift, 2),
        high=round(bar.high + lift, 2),
        low=round(bar.low + lift, 2),
        close=round(bar.close + lift, 2),
    )

    bids, asks = (minutes_of(each, count, low=low, digits=2) for each in (bar, asked))

    assert all(ask.open >= bid.open and ask.close >= bid.close for bid, ask in zip(bids, asks, strict=True))

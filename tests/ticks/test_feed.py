"""Every kind of bad tick at the desk, how old a quote is, what a restart keeps, and a feed that is much too fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.app.rig import SYMBOL, T0, Rig
from tests.ticks.drive import ATR, Planted, recorded

from dtms import bootstrap
from dtms.app.market.market_data import MarketData
from dtms.app.market.quotes import QuoteFeed
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import AssetClass
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.policy import RailsPolicy
from dtms.domain.units import HOUR, MINUTE, SECOND, Millis
from dtms.errors import InvalidDataError


def quote(ms: int, bid: float = 2_000.0, spread: float = 0.2) -> Quote:
    return Quote(symbol=SYMBOL, at=Millis(T0 + ms), bid=bid, ask=round(bid + spread, 2))


def feed(**changes: Any) -> QuoteFeed:
    made = {"symbol": SYMBOL, "hours": MarketHours(AssetClass.METAL), "policy": RailsPolicy(), "spread_typical": 0.2}
    return QuoteFeed(**{**made, **changes})


def lively(count: int = 30, every: int = 500) -> QuoteFeed:
    """A feed that has had a quote each half second."""
    made = feed()
    for place in range(count):
        assert made.offer(quote(place * every, 2_000.0 + place % 2 / 100), ATR, Millis(T0 + place * every))
    return made


@dataclass
class Desk:
    """A desk over a rig whose quotes a test may plant."""

    rig: Rig
    reads: Planted
    desk: MarketData

    @property
    def feed(self) -> QuoteFeed:
        return self.desk.symbol(SYMBOL, self.rig.clock.now).feed

    def look(self, bad: Quote | InvalidDataError | None = None) -> Quote | None:
        self.reads.bad = bad
        found = self.desk.quote(SYMBOL, self.rig.clock.now)
        self.reads.bad = None
        return found


@pytest.fixture
def desk() -> Desk:
    rig = Rig()
    reads: Any = Planted(rig.reads)
    made = Desk(rig, reads, bootstrap.make_desk(rig.parts, reads, scored=True))
    made.look()
    return made


def made_of(bid: float, ask: float) -> Quote | InvalidDataError:
    try:
        return Quote(symbol=SYMBOL, at=Millis(T0 + 250), bid=bid, ask=ask)
    except InvalidDataError as error:
        return error


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("bid", "ask"),
    [
        (0.0, 0.0),
        (0.0, 2_000.2),
        (-1.0, -0.8),
        (NAN, 2_000.2),
        (2_000.0, NAN),
        (INF, INF),
        (2_000.0, INF),
        (2_000.3, 2_000.2),
        (200_000.0, 200_020.0),
        (20.0, 20.002),
        (2_000.0, 2_002.1),
        (2_100.5, 2_100.7),
    ],
)
def test_a_bad_tick_is_dropped_and_counted_and_the_desk_goes_on(desk: Desk, bid: float, ask: float) -> None:
    before, last = desk.feed.rejected, desk.feed.last
    desk.rig.wait(0.25)
    assert desk.look(made_of(bid, ask)) is None
    assert (desk.feed.rejected, desk.feed.last) == (before + 1, last)
    desk.rig.wait(0.25)
    desk.rig.price(2_000.1)
    assert desk.look() == quote(500, 2_000.1)


def test_another_symbols_quote_is_dropped(desk: Desk) -> None:
    desk.rig.wait(1)
    assert desk.look(replace(quote(1_000), symbol="XAUEUR")) is None
    assert desk.feed.rejected == 1


def test_the_same_bad_tick_looked_at_again_confirms_nothing(desk: Desk) -> None:
    made = lively()
    far = quote(14_600, 2_050.0)
    assert [made.offer(far, ATR, Millis(far.at + later)) for later in (0, 250, 500)] == [False, False, False]
    assert made.rejected == 1
    assert not made.offer(replace(far, bid=2_051.0, ask=2_051.2), ATR, far.at)  # another one of the same instant
    assert made.offer(quote(14_700, 2_051.0), ATR)


def test_a_price_between_two_ticks_of_the_grid_is_put_on_it(desk: Desk) -> None:
    desk.rig.wait(1)
    assert desk.look(Quote(symbol=SYMBOL, at=Millis(T0 + 1_000), bid=2_000.0149, ask=2_000.2151)) == quote(
        1_000, 2_000.01, 0.21
    )


def test_a_price_of_a_hundred_times_as_much_is_dropped_though_no_atr_is_known() -> None:
    made = feed()
    assert made.offer(quote(0), None)
    assert not made.offer(quote(500, 200_000.0), None)


def test_the_very_first_quote_is_compared_with_the_last_bars_close() -> None:
    made = feed(reference=2_000.0)
    assert not made.offer(quote(0, 2_050.0), ATR)
    assert made.offer(quote(400, 2_000.3), ATR)
    gapped = feed(reference=2_000.0)
    assert not gapped.offer(quote(0, 2_050.0), ATR)
    assert gapped.offer(quote(90_000, 2_050.5), ATR)  # the market has truly moved over night


def test_two_spikes_on_both_sides_of_a_silence_do_not_confirm_each_other() -> None:
    made = lively()
    assert not made.offer(quote(14_600, 2_060.0), ATR)
    assert not made.offer(quote(24_600, 2_020.0), ATR)
    assert made.offer(quote(24_700, 2_000.1), ATR)


def test_the_good_quote_shown_again_disowns_the_spike() -> None:
    made = lively()
    good = made.last
    assert good is not None
    assert not made.offer(quote(14_600, 2_060.0), ATR)
    assert not made.offer(good, ATR)
    assert not made.offer(quote(14_700, 2_061.0), ATR)
    assert made.offer(quote(14_800, 2_062.0), ATR)


def test_a_frozen_feed_is_stale_by_when_its_last_change_was_received() -> None:
    made = lively()
    last = made.last
    assert last is not None
    for later in (1_000, 4_000, 5_000):
        assert not made.offer(last, ATR, Millis(last.at + later))
        assert not made.is_stale(Millis(last.at + later))
    assert not made.offer(last, ATR, Millis(last.at + 5_001))
    assert made.is_stale(Millis(last.at + 5_001))


@pytest.mark.parametrize("offset", [-HOUR, 90 * SECOND])
def test_a_wrong_offset_makes_a_live_feed_neither_stale_nor_fresh_for_ever(offset: int) -> None:
    made = feed()
    for place in range(30):
        made.offer(quote(place * 500 + offset, 2_000.0 + place % 2 / 100), ATR, Millis(T0 + place * 500))
        assert made.is_stale(Millis(T0 + place * 500)) is (place == 0 and offset < 0)
    received = T0 + 29 * 500
    assert not made.is_stale(Millis(received + 5_000))
    assert made.is_stale(Millis(received + 5_001))


def test_a_quote_that_was_missed_before_a_long_silence_is_as_old_as_its_stamp() -> None:
    made = lively()
    eight_hours = T0 + 8 * HOUR
    assert made.offer(quote(15_000, 2_000.3), ATR, Millis(eight_hours))
    assert made.is_stale(Millis(eight_hours))
    assert made.offer(quote(8 * HOUR + 100, 2_000.4), ATR, Millis(eight_hours + 200))
    assert not made.is_stale(Millis(eight_hours + 200))


def test_after_a_sleep_the_last_quote_is_stale_until_another_comes() -> None:
    made = lively()
    last = made.last
    assert last is not None
    made.forget_age()
    assert made.is_stale(last.at)
    assert made.offer(quote(15_000, 2_000.3), ATR)
    assert not made.is_stale(Millis(T0 + 15_000))


def test_the_usual_spread_survives_a_restart(desk: Desk) -> None:
    rig = desk.rig
    for place in range(1_600):
        rig.clock.now = Millis(T0 + 1_000 + place * 500)
        rig.price(2_000.0 + place % 3 / 100, 0.35 + place % 5 / 100)
        desk.look()
    assert desk.feed.median_spread() == pytest.approx(0.37)
    rig.clock.now = Millis(rig.clock.now + 5 * MINUTE)
    desk.desk.poll_bars(SYMBOL, rig.clock.now)
    again = bootstrap.make_desk(rig.parts, desk.desk.reads, scored=False)
    second = again.symbol(SYMBOL, rig.clock.now).feed
    assert second.seen == desk.feed.seen >= 1_600
    assert second.median_spread() == desk.feed.median_spread()


def test_saved_spreads_are_the_same_afterwards() -> None:
    made = lively(50)
    other = feed()
    other.load_spreads(made.dump_spreads())
    assert (other.seen, other.dump_spreads()) == (50, made.dump_spreads())


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-3], lambda b: b"x" + b, lambda _b: b"", lambda b: b.replace(b[5:8], b"")]
)
def test_damaged_spreads_are_refused_and_the_typical_one_stands_in(damage: Callable[[bytes], bytes]) -> None:
    made = feed()
    with pytest.raises(InvalidDataError, match="the typical spread stands in"):
        made.load_spreads(damage(lively(50).dump_spreads()))
    assert (made.seen, made.median_spread()) == (0, 0.2)


def test_of_fifty_thousand_quotes_a_second_the_last_one_counts_and_nothing_piles_up(desk: Desk) -> None:
    rig = desk.rig
    looked = []
    for place in range(50_000):
        at = Millis(T0 + 1_000 + place // 50)
        rig.clock.now = at
        rig.sim.on_quote(Quote(symbol=SYMBOL, at=at, bid=2_000.0 + place % 97 / 100, ask=2_001.0))
        if place % 12_500 == 12_499:  # four passes in this second
            looked.append(desk.look())
    assert [found.bid if found else None for found in looked] == [
        2_000.0 + place % 97 / 100 for place in (12_499, 24_999, 37_499, 49_999)
    ]
    assert desk.feed.seen == 5


def test_a_feed_that_is_offered_each_of_them_stays_bounded() -> None:
    made = feed()
    for place in range(50_000):
        made.offer(quote(place // 50, 2_000.0 + place % 97 / 100), ATR)
    assert made.last == quote(999, 2_000.0 + 49_999 % 97 / 100)
    assert (len(made._spreads), len(made._gaps)) == (20_000, 200)


def test_a_bar_off_the_minute_is_dropped_and_counted_and_the_symbol_is_scored_all_the_same() -> None:
    rig = Rig()
    start = T0 - 200 * MINUTE
    bars = [
        Bar(start=Millis(start + place * MINUTE), open=2_000.0, high=2_001.0, low=1_999.0, close=2_000.5, volume=9.0)
        for place in range(190)
    ]
    bars.insert(50, replace(bars[50], start=Millis(bars[50].start - 17_000)))

    class OffTheMinute:
        def bars(self, _symbol: str, _timeframe: Timeframe, count: int) -> tuple[Bar, ...]:
            return tuple(bars[-count:])

        def __getattr__(self, name: str) -> Any:
            return getattr(rig.reads, name)

    reads: Any = OffTheMinute()
    found = bootstrap.make_desk(rig.parts, reads, scored=False).symbol(SYMBOL, rig.clock.now)
    assert (found.dropped_bars, found.state.last_m1_start) == (1, bars[-1].start)
    assert found.view is not None


def test_a_real_crash_does_not_blind_the_feed(shared_data: Path) -> None:
    """Five dollars in three minutes on the 7th of May 2014, with spreads of more than ten usual ones in between."""
    made = feed(spread_typical=0.2)
    accepted = [tick.at for tick in recorded(shared_data, 472_274, 8_000) if made.offer(tick, ATR)]
    assert made.rejected > 500
    waits = sorted(b - a for a, b in pairwise(accepted))
    assert len(accepted) > 7_000
    assert waits[-1] < 3_500  # stale is 5 s
    assert waits[-2] < 2 * SECOND


@given(
    st.lists(
        st.tuples(
            st.integers(-3_000, 3_000),
            st.floats(1_900, 2_100),
            st.floats(0.01, 6),
            st.integers(-500, 2_000),
        ),
        min_size=1,
        max_size=80,
    )
)
def test_whatever_is_offered_what_is_believed_is_ordered_and_no_lone_jump(
    offers: list[tuple[int, float, float, int]],
) -> None:
    made = feed()
    at, now = 0, 0
    believed: list[Quote] = []
    bad: list[Quote] = []
    for gap, bid, spread, late in offers:
        at = max(0, at + gap)
        now = max(now, at + late)
        offered = quote(at, round(bid, 2), round(spread, 2))
        before = made.last
        wide = offered.spread > 2.0
        far = before is not None and abs(offered.bid - before.bid) > 5 * ATR
        if made.offer(offered, ATR, Millis(T0 + now)):
            if wide or far:
                assert bad, "a bad tick was believed without one before it"
            believed.append(offered)
            bad.clear()
        elif wide or far:
            bad.append(offered)
        assert made.last == (believed[-1] if believed else None)
    assert [each.at for each in believed] == sorted(each.at for each in believed)

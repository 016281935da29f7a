"""Laws that hold for every input."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dtms.core.exits import observe, propose_all
from dtms.core.settle import StepEnd
from dtms.domain.action import Close, Reduce, SetStop
from dtms.domain.exits import ExitSnapshot, ExitState
from dtms.domain.instrument import Instrument
from dtms.domain.policy.exits import PROFILES, ExitPolicy, ExitProfile, SessionFactors
from dtms.domain.receipt import Rejection
from dtms.domain.rules import ExitRule
from dtms.domain.score import Session
from dtms.domain.trade import Trade
from dtms.domain.units import SECOND, Lots, Side

if TYPE_CHECKING:
    from tests.exits.conftest import Desk, Step

NAMES = ("EURUSD", "USDJPY", "XAUUSD", "BTCUSD", "EURUSDj", "DE40", "NI225")
CENTRES = {"EURUSD": 1.1, "USDJPY": 150.0, "XAUUSD": 3300.0, "BTCUSD": 105_000.0, "EURUSDj": 1.1, "DE40": 18_000.0}
POLICY = ExitPolicy()
GRANTED = ExitPolicy(grant_widening=True)
CHANGING = ExitPolicy(
    grant_widening=True, session_factors=SessionFactors(asian=1.2, overlap=0.9, late=1.2, weekend=1.2)
)
SWITCHED_ON = ExitProfile(widening=True, adaptive=True, breakeven_r=0.3, partial_r=0.6)
PROFILE = st.sampled_from(
    [*PROFILES.values(), SWITCHED_ON, ExitProfile(breakeven=False), replace(SWITCHED_ON, trail_every_s=0)]
)
ENDS = [(StepEnd.APPLIED, None)] * 4 + [
    (StepEnd.REJECTED, Rejection.PRICE_MOVED),
    (StepEnd.REJECTED, Rejection.PRECONDITION),
    (StepEnd.NOT_APPLIED, None),
    (StepEnd.CANCELLED, None),
]


def centre(name: str) -> float:
    return CENTRES.get(name, 38_000.0)


def ticks(instrument: Instrument, name: str, count: float) -> float:
    return centre(name) + count * instrument.tick_size


MANY = settings(max_examples=300)
DICE = st.integers(0, 2**32).map(Random)
"""Long walks are thrown by a seeded die: a law drawn number by number costs ten times as much and finds no more."""


def sight(dice: Random) -> dict[str, Any]:
    """What the indicators show; values keep away from the thresholds they are compared with."""

    def reading() -> float | None:
        return dice.choice([None, *(n + 0.5 for n in range(-6, 6))])

    return {
        "squeeze": dice.choice([None, False, True]),
        "extension": reading(),
        "extension_p90": dice.choice([None, 3.0]),
        "ema50_m15_slope": reading(),
        "ema200_m15_slope": reading(),
        "ema50_h1_slope": reading(),
    }


def some_market(dice: Random, desk: Desk, instrument: Instrument, name: str) -> ExitSnapshot:
    bid = ticks(instrument, name, dice.randint(-400, 400))
    ask = bid + dice.randint(0, 20) * instrument.tick_size
    atr = dice.choice([None, *[(dice.randint(5, 150) + 0.37) * instrument.tick_size] * 5])
    return desk.market(
        instrument,
        bid,
        ask,
        now=desk.t0 + dice.randint(0, 400) * 60 * SECOND,
        indicators=desk.indicators(atr, **sight(dice)),
        session=dice.choice(list(Session)),
        commission_per_lot=dice.choice([0.0, 3.7, 7.0]),
        swap=dice.choice([0.0, 2.2, -1.37]),
        vix=dice.choice([None, dice.randint(10, 60) + 0.3]),
        vix_age_ms=0,
        dtms_warns=dice.choice([False, False, True, None]),
    )


def some_ride(dice: Random, desk: Desk, instrument: Instrument, name: str) -> list[Step]:
    """A walk of quotes in ticks that drifts one way, with changing indicators and a broker of moods."""
    place, at, steps = 0, int(desk.t0), []
    drift = dice.choice([-6, 0, 6])
    for _ in range(dice.randint(5, 60)):
        place += dice.randint(-30, 30) + drift
        at += dice.randint(1, 90) * SECOND
        bid = ticks(instrument, name, place)
        ask = bid + dice.randint(0, 6) * instrument.tick_size
        atr = dice.choice([None, *[dice.randint(10, 80) * instrument.tick_size] * 9])
        end, rejection = dice.choice(ENDS)
        changes = (
            ("indicators", desk.indicators(atr, **sight(dice))),
            ("session", dice.choice(list(Session))),
            ("vix", dice.choice([None, float(dice.randint(10, 60))])),
            ("vix_age_ms", 0),
        )
        quote = desk.quote(instrument, bid, ask, at=at)
        steps.append(desk.step(quote=quote, end=end, rejection=rejection, changes=changes))
    return steps


@MANY
@given(dice=DICE, name=st.sampled_from(NAMES), profile=PROFILE, side=st.sampled_from(Side))
def test_the_mirrored_market_asks_the_mirrored_trade_for_the_mirrored_change(
    *, desk: Desk, dice: Random, name: str, profile: ExitProfile, side: Side
) -> None:
    instrument, c = desk.instrument(name), centre(name)
    r = dice.randint(50, 200) * instrument.tick_size
    market = some_market(dice, desk, instrument, name)
    trade = desk.trade(instrument, side, entry=c + 7 * instrument.tick_size, r=r, volume=10 * instrument.volume_min)
    moved = dice.choice([None, *range(-10, 11)])
    if moved is not None:
        trade = replace(trade, stop=instrument.nearest(trade.entry + moved * instrument.tick_size))
    best = market.quote.executable(side) + side * dice.randint(0, 200) * instrument.tick_size
    kept: dict[str, Any] = {"breakeven_done": dice.random() < 0.5, "beyond_quotes": dice.randint(0, 2)}
    book = desk.book(trade, profile, best=best, **kept)

    decision = propose_all(trade, book, market, CHANGING)
    other = _reflected(instrument, trade, c)
    mirrored = propose_all(
        other, desk.book(other, profile, best=2 * c - best, **kept), desk.reflected(market, c), CHANGING
    )

    assert {k: instrument.nearest(2 * c - v) for k, v in desk.stops(decision).items()} == desk.stops(mirrored)
    assert desk.remaining(decision) == desk.remaining(mirrored)
    assert desk.closes(decision) == desk.closes(mirrored)
    assert desk.skips(decision) == desk.skips(mirrored)
    assert _memory(decision.book) == _memory(mirrored.book)


def _reflected(instrument: Instrument, trade: Trade, c: float) -> Trade:
    return replace(
        trade,
        side=trade.side.opposite,
        entry=2 * c - trade.entry,
        initial_stop=instrument.nearest(2 * c - trade.initial_stop),
        stop=None if trade.stop is None else instrument.nearest(2 * c - trade.stop),
    )


def _memory(book: ExitState) -> tuple[object, ...]:
    return (
        book.breakeven_done,
        book.partial_remaining,
        book.beyond_quotes,
        book.tightened,
        book.widened,
        book.quote_at,
    )


@MANY
@given(
    data=st.data(),
    side=st.sampled_from(Side),
    digits=st.integers(0, 5),
    points_a_tick=st.sampled_from([1, 5, 25]),
    value=st.sampled_from([0.1, 1.0, 10.0, 666.6667, 100_000.0, 16_000_000.0]),
)
def test_a_trade_stopped_at_breakeven_has_lost_nothing_with_all_its_costs(
    *, desk: Desk, data: st.DataObject, side: Side, digits: int, points_a_tick: int, value: float
) -> None:
    point = 10.0**-digits
    tick = points_a_tick * point
    instrument = desk.instrument("EURUSD", digits=digits, point=point, tick_size=tick, value_per_unit=value)
    entry = 50_000 * point + data.draw(st.floats(0, 5)) * tick
    r = data.draw(st.integers(20, 2_000)) * tick
    volume = data.draw(st.integers(1, 500)) / 100
    # what a round turn costs: money a lot, or money a million of turnover on both sides
    a_lot = data.draw(st.floats(0, 0.9)) * r * value
    a_million = data.draw(st.floats(0, 60))
    per_lot = data.draw(st.sampled_from([a_lot, 2 * a_million * entry * value / 1e6]))
    swap = data.draw(st.floats(-0.5, 0.5)) * r * value * volume
    spread = data.draw(st.integers(0, 10)) * tick
    trade = desk.trade(instrument, side, entry=entry, r=r, volume=volume)
    price = instrument.nearest(entry + side * 5 * r)
    bid, ask = (price, price + spread) if side is Side.BUY else (price - spread, price)
    assume(bid > 0)
    market = desk.market(instrument, bid, ask, commission_per_lot=per_lot, swap=swap)
    book = desk.book(trade, ExitProfile(trail=False, partial=False))

    stops = desk.stops(propose_all(trade, book, market, POLICY))

    assume(stops)
    stop = stops[ExitRule.BREAKEVEN]
    net = instrument.money(side * (stop - trade.entry), volume) - per_lot * volume + min(0.0, swap)
    allowance = instrument.money(0.5 * (ask - bid), volume)
    noise = instrument.money(1e-5 * tick, volume)
    assert net >= allowance - noise
    assert net < allowance + instrument.money(tick, volume) + noise
    assert side * (stop - trade.entry) >= -noise
    assert instrument.nearest(stop) == stop


@MANY
@given(dice=DICE, name=st.sampled_from(NAMES), profile=PROFILE, side=st.sampled_from(Side))
def test_no_walk_of_quotes_loosens_a_stop_without_the_grant(
    *, desk: Desk, dice: Random, name: str, profile: ExitProfile, side: Side
) -> None:
    instrument = desk.instrument(name)
    steps = some_ride(dice, desk, instrument, name)
    trade = _fresh(desk, instrument, name, side)
    seen = desk.ride(trade, desk.book(trade, profile), steps, desk.market(instrument, 1.0, 1.0), POLICY)
    worst = trade.stop
    for after, _, decision in seen:
        assert all(not each.action.widens for each in decision.proposals if isinstance(each.action, SetStop))
        assert worst is not None
        assert after.stop is not None
        assert side * (after.stop - worst) >= 0
        worst = after.stop


@MANY
@given(dice=DICE, name=st.sampled_from(NAMES), side=st.sampled_from(Side))
def test_widening_is_once_capped_and_before_any_tightening(*, desk: Desk, dice: Random, name: str, side: Side) -> None:
    instrument = desk.instrument(name)
    steps = some_ride(dice, desk, instrument, name)
    trade = _fresh(desk, instrument, name, side)
    seen = desk.ride(trade, desk.book(trade, SWITCHED_ON), steps, desk.market(instrument, 1.0, 1.0), GRANTED)
    stops = [trade.stop, *(after.stop for after, _, _ in seen)]
    pairs = [(a, b) for a, b in pairwise(stops) if a is not None and b is not None and a != b]
    wider = [n for n, (a, b) in enumerate(pairs) if side * (b - a) < 0]
    assert wider in ([], [0])
    for _, stop in pairs:
        assert side * (trade.entry - stop) <= 1.5 * trade.r + 1e-6 * instrument.tick_size


@MANY
@given(dice=DICE, name=st.sampled_from(NAMES), profile=PROFILE, side=st.sampled_from(Side))
def test_no_more_is_closed_than_was_opened_and_the_partial_once(
    *, desk: Desk, dice: Random, name: str, profile: ExitProfile, side: Side
) -> None:
    instrument = desk.instrument(name)
    steps = some_ride(dice, desk, instrument, name)
    volume = round(dice.randint(1, 60) * instrument.volume_step, 2)
    trade = replace(_fresh(desk, instrument, name, side), initial_volume=Lots(volume), volume=Lots(volume))
    seen = desk.ride(trade, desk.book(trade, profile), steps, desk.market(instrument, 1.0, 1.0), POLICY)
    applied, before = 0, trade
    for after, book, decision in seen:
        for each in decision.proposals:
            if isinstance(each.action, Reduce):
                assert 0 < each.action.remaining < before.volume
                assert instrument.tradable(each.action.remaining)
                assert before.volume - each.action.remaining <= profile.partial_share * before.volume + 1e-9
        assert after.volume <= before.volume
        applied += 0 < after.volume < before.volume
        assert book.partial_done is (applied == 1)
        before = after
    assert applied <= 1


@MANY
@given(dice=DICE, name=st.sampled_from(NAMES), profile=PROFILE, side=st.sampled_from(Side))
def test_a_cycle_proposes_one_close_or_one_stop_and_one_volume_and_each_stop_is_takeable(
    *, desk: Desk, dice: Random, name: str, profile: ExitProfile, side: Side
) -> None:
    instrument = desk.instrument(name, stops_level=0.0)
    instrument = replace(instrument, stops_level=4 * instrument.tick_size, freeze_level=2 * instrument.tick_size)
    steps = some_ride(dice, desk, instrument, name)
    trade = _fresh(desk, instrument, name, side)
    seen = desk.ride(trade, desk.book(trade, profile), steps, desk.market(instrument, 1.0, 1.0), GRANTED)
    for step, (_, _, decision) in zip(steps, seen, strict=False):
        kinds = [type(each.action) for each in decision.proposals]
        assert kinds in ([], [Close], [SetStop], [Reduce], [SetStop, Reduce])
        for stop in desk.stops(decision).values():
            assert instrument.nearest(stop) == stop
            assert side * (step.quote.executable(side) - stop) >= 6.99 * instrument.tick_size


@MANY
@given(dice=DICE, name=st.sampled_from(NAMES), side=st.sampled_from(Side))
def test_the_trail_steps_by_its_least_step_and_not_before_its_time(
    *, desk: Desk, dice: Random, name: str, side: Side
) -> None:
    instrument = desk.instrument(name)
    steps = some_ride(dice, desk, instrument, name)
    trade = _fresh(desk, instrument, name, side)
    seen = desk.ride(trade, desk.book(trade, SWITCHED_ON), steps, desk.market(instrument, 1.0, 1.0), POLICY)
    before, moved_at = trade, None
    for step, (after, _, decision) in zip(steps, seen, strict=False):
        stop = desk.stops(decision).get(ExitRule.TRAILING)
        if stop is not None and before.stop is not None:
            seen_atr = dict(step.changes)["indicators"].atr_m15  # type: ignore[attr-defined] # made by rides()
            assert side * (stop - before.stop) >= max(instrument.tick_size, 0.1 * seen_atr) * (1 - 1e-5)
            assert moved_at is None or step.quote.at - moved_at >= 30 * SECOND
            if after.stop == stop:
                moved_at = step.quote.at
        before = after


@MANY
@given(dice=DICE, name=st.sampled_from(NAMES), profile=PROFILE, side=st.sampled_from(Side))
def test_a_refused_stop_is_not_asked_for_again_on_its_bar(
    *, desk: Desk, dice: Random, name: str, profile: ExitProfile, side: Side
) -> None:
    instrument = desk.instrument(name)
    steps = [
        replace(step, end=StepEnd.REJECTED, rejection=Rejection.PRICE_MOVED)
        for step in some_ride(dice, desk, instrument, name)
    ]
    trade = _fresh(desk, instrument, name, side)
    seen = desk.ride(trade, desk.book(trade, profile), steps, desk.market(instrument, 1.0, 1.0), GRANTED)
    asked = [
        (step.quote.at // 300_000, each.action.widens)
        for step, (_, _, decision) in zip(steps, seen, strict=False)
        for each in decision.proposals
        if isinstance(each.action, SetStop)
    ]
    assert len(asked) == len(set(asked))


@MANY
@given(dice=DICE, name=st.sampled_from(NAMES), side=st.sampled_from(Side), price=st.integers(-100, 100))
def test_adaptive_triggers_never_ratchet(*, desk: Desk, dice: Random, name: str, side: Side, price: int) -> None:
    instrument = desk.instrument(name)
    trade = _fresh(desk, instrument, name, side)
    profile = ExitProfile(adaptive=True, trail=False)
    book = desk.book(trade, profile)
    for _ in range(dice.randint(1, 10)):
        seen = desk.indicators(50 * instrument.tick_size, **sight(dice))
        quiet = desk.market(instrument, trade.entry, trade.entry, indicators=seen)
        book = propose_all(trade, book, quiet, POLICY).book
    here = ticks(instrument, name, price * 4)
    market = desk.market(instrument, here, here, indicators=desk.indicators(50 * instrument.tick_size, **sight(dice)))
    assert (
        propose_all(trade, book, market, POLICY).proposals
        == propose_all(trade, desk.book(trade, profile), market, POLICY).proposals
    )


@MANY
@given(dice=DICE, name=st.sampled_from(NAMES), profile=PROFILE, side=st.sampled_from(Side))
def test_deciding_twice_is_deciding_once(
    *, desk: Desk, dice: Random, name: str, profile: ExitProfile, side: Side
) -> None:
    instrument = desk.instrument(name)
    market = some_market(dice, desk, instrument, name)
    trade = _fresh(desk, instrument, name, side)
    book = desk.book(trade, profile, breakeven_done=dice.random() < 0.5)
    once = propose_all(trade, book, market, GRANTED)
    assert propose_all(trade, book, market, GRANTED) == once
    assert propose_all(trade, once.book, market, GRANTED) == once
    assert propose_all(trade, observe(book, trade, market, GRANTED), market, GRANTED) == once


def _fresh(desk: Desk, instrument: Instrument, name: str, side: Side) -> Trade:
    return desk.trade(
        instrument, side, entry=centre(name), r=100 * instrument.tick_size, volume=10 * instrument.volume_min
    )

"""Bars, views and saved states of one symbol."""

from __future__ import annotations

import json
import math

import pytest
from tests.core_score.tapes import MINUTE, MONDAY, random_bars

from dtms.core.layout import BRANCHES
from dtms.core.market_state import MarketState
from dtms.domain.instrument import AssetClass
from dtms.domain.market import Bar
from dtms.domain.policy.score import RegimePolicy, ScorePolicy
from dtms.domain.score import Confluence, Layer, LayerReading, MarketView, Score, Session
from dtms.domain.units import HOUR, Millis, Side
from dtms.errors import InvalidDataError

M5 = 5 * MINUTE
CLOSED = 2_000
SUNDAY_OPEN = Millis(MONDAY - 2 * HOUR)
"""2023-11-19T22:00Z: New York is five hours behind, so FX opens."""


def new_state(
    asset: AssetClass = AssetClass.FX, symbol: str = "EURUSD", policy: ScorePolicy | None = None
) -> MarketState:
    return MarketState(symbol, asset, policy or ScorePolicy(), RegimePolicy(), canonical=symbol)


def bar(start: int, price: float = 1.1, *, volume: float | None = None) -> Bar:
    return Bar(start=Millis(start), open=price, high=price, low=price, close=price, volume=volume)


def scored(state: MarketState, bars: tuple[Bar, ...]) -> tuple[MarketView, ...]:
    for one in bars:
        state.on_m1(one)
    return state.advance(Millis(bars[-1].start + 2 * M5))


def layer(score: Score, name: Layer) -> LayerReading:
    return next(reading for reading in score.layers if reading.layer is name)


def test_a_bar_is_closed_two_seconds_after_its_end_whether_or_not_a_tick_followed() -> None:
    state = new_state()
    state.on_m1(bar(MONDAY))
    assert state.advance(Millis(MONDAY + M5 + CLOSED - 1)) == ()
    assert [view.at for view in state.advance(Millis(MONDAY + M5 + CLOSED))] == [MONDAY + M5]
    assert state.advance(Millis(MONDAY + 9 * M5)) == ()


def test_catching_up_ends_where_advancing_ends() -> None:
    bars = random_bars(11, 1_000, AssetClass.FX, volumes=True, sides=True)
    one, other = new_state(), new_state()
    last = scored(one, bars)[-1]
    for each in bars:
        other.on_m1(each)
    assert other.catch_up(MONDAY) is None
    assert other.catch_up(Millis(bars[-1].start + 2 * M5)) == last
    assert other.dump() == one.dump()


def test_a_bar_without_ticks_does_not_exist() -> None:
    state = new_state()
    for start in (MONDAY, MONDAY + 4 * M5):
        state.on_m1(bar(start))
    assert [view.at for view in state.advance(Millis(MONDAY + HOUR))] == [MONDAY + M5, MONDAY + 5 * M5]


def test_an_m1_bar_of_a_closed_m5_bar_is_a_revision() -> None:
    state = new_state()
    state.on_m1(bar(MONDAY))
    state.advance(Millis(MONDAY + M5 + CLOSED))
    state.on_m1(bar(MONDAY + 4 * MINUTE, 9.0))
    assert state.revisions == 1
    assert state.last_m1_start == MONDAY


def test_m1_bars_of_an_outage_are_taken_while_their_m5_bar_was_not_closed() -> None:
    state = new_state()
    state.on_m1(bar(MONDAY))
    state.advance(Millis(MONDAY + HOUR))
    state.on_m1(bar(MONDAY + M5))
    assert [view.at for view in state.advance(Millis(MONDAY + HOUR))] == [MONDAY + 2 * M5]
    assert state.revisions == 0


def test_a_bar_that_does_not_start_on_a_minute_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="no whole minute UTC"):
        new_state().on_m1(bar(MONDAY + 1))


def test_there_is_no_view_before_the_first_closed_bar() -> None:
    state = new_state()
    state.on_m1(bar(MONDAY))
    assert state.score_now(MONDAY) is None
    assert state.last_m1_start == MONDAY


def test_a_score_is_stale_after_two_timeframes_and_15_s_of_open_time() -> None:
    bars = random_bars(1, 2_000, AssetClass.FX, volumes=True, sides=True)
    state = new_state()
    last = scored(state, bars)[-1]
    limit = last.at + 2 * M5 + 15_000
    assert last.buy.total is not None
    assert state.score_now(Millis(limit)) is last
    stale = state.score_now(Millis(limit + 1))
    assert stale is not None
    assert [(s.total, s.missing) for s in (stale.buy, stale.sell)] == [(None, "stale bars")] * 2
    assert (stale.at, stale.indicators, stale.buy.layers) == (last.at, last.indicators, last.buy.layers)
    assert state.score_now(Millis(limit + 1)) is stale


def test_a_closed_market_makes_no_score_stale() -> None:
    friday = Millis(SUNDAY_OPEN + 5 * 24 * HOUR - 12 * HOUR)
    bars = random_bars(2, 12 * 60, AssetClass.FX, volumes=False, sides=False, start=friday)
    state = new_state()
    last = scored(state, bars)[-1]
    reopened = SUNDAY_OPEN + 7 * 24 * HOUR
    assert state.score_now(Millis(reopened + 5 * MINUTE)) is last
    later = state.score_now(Millis(reopened + 11 * MINUTE))
    assert later is not None
    assert later.buy.missing == "stale bars"


def test_too_few_layers_make_no_score_and_the_view_says_which() -> None:
    view = scored(new_state(), random_bars(3, 40, AssetClass.FX, volumes=True, sides=False))[-1]
    assert view.buy.total is None
    assert view.buy.missing == (
        "layers with 2 of 10.5 weight are available, less than 60%: "
        "unavailable are structure, momentum, ema, delta, candle"
    )
    assert view.buy.confluence is Confluence.NEUTRAL


def test_layers_become_available_with_their_bars_and_not_before() -> None:
    bars = random_bars(4, 3_600, AssetClass.CRYPTO, volumes=True, sides=True)
    state = new_state(AssetClass.CRYPTO, "BTCUSD")
    views = scored(state, bars)
    first = {name: next(view.at for view in views if layer(view.buy, name).raw is not None) for name in Layer}
    assert first[Layer.VWAP] == MONDAY + 7 * M5
    assert first[Layer.CANDLE] == MONDAY + 15 * M5
    assert first[Layer.DELTA] == MONDAY + 31 * M5
    assert first[Layer.MOMENTUM] == MONDAY + 17 * 3 * M5
    assert first[Layer.STRUCTURE] == MONDAY + 20 * 3 * M5
    assert first[Layer.EMA] == MONDAY + 210 * 3 * M5


def test_vwap_begins_anew_at_17_new_york_for_fx_and_at_midnight_utc_for_crypto() -> None:
    for asset, symbol, begin in ((AssetClass.FX, "EURUSD", 22), (AssetClass.CRYPTO, "BTCUSD", 24)):
        bars = random_bars(5, 26 * 60, asset, volumes=True, sides=False)
        views = scored(new_state(asset, symbol), bars)
        silent = [view.at for view in views if view.indicators.vwap is None]
        day = MONDAY + begin * HOUR
        assert silent[-6:] == [day + k * M5 for k in range(1, 7)]


def test_without_volumes_the_vwap_is_the_mean_of_typical_prices_and_says_twap() -> None:
    state = new_state()
    for i in range(8):
        state.on_m1(bar(MONDAY + 22 * HOUR + i * M5, 1.0 + i))
    last = state.advance(Millis(MONDAY + 24 * HOUR))[-1]
    assert last.indicators.vwap == pytest.approx(4.5, rel=1e-12)
    assert "twap" in layer(last.buy, Layer.VWAP).branches
    assert last.buy.opposite_share_high is None


def test_with_volumes_each_bar_weighs_its_volume_and_a_bar_without_a_direction_counts_half() -> None:
    state = new_state()
    for i in range(8):
        state.on_m1(bar(MONDAY + 22 * HOUR + i * M5, 1.0 + i, volume=1.0 if i < 7 else 3.0))
    last = state.advance(Millis(MONDAY + 24 * HOUR))[-1]
    assert last.indicators.vwap == pytest.approx((28 + 24) / 10, rel=1e-12)
    assert layer(last.buy, Layer.VWAP).branches == ("flip_with",)
    assert last.buy.opposite_share_high is False


def test_zero_volumes_are_no_volumes() -> None:
    state = new_state()
    for i in range(8):
        state.on_m1(bar(MONDAY + 22 * HOUR + i * M5, 1.0 + i, volume=0.0))
    last = state.advance(Millis(MONDAY + 24 * HOUR))[-1]
    assert "twap" in layer(last.sell, Layer.VWAP).branches
    assert last.sell.opposite_share_high is None


def test_an_m15_bar_whose_last_m5_never_came_is_used_from_the_next_bar_on() -> None:
    quarter = 3 * M5
    state = new_state(AssetClass.CRYPTO, "BTCUSD")
    for i in range(15):
        state.on_m1(bar(MONDAY + i * quarter, 100.0 + i % 2))
    views = state.advance(Millis(MONDAY + 16 * quarter))
    assert [view.indicators.atr_m15 for view in views] == [None] * 15
    state.on_m1(bar(MONDAY + 15 * quarter, 101.0))
    assert state.advance(Millis(MONDAY + 17 * quarter))[0].indicators.atr_m15 == 1.0


def test_the_session_is_that_of_the_bar_and_not_of_the_instant_after_it() -> None:
    state = new_state()
    for start in (MONDAY + 8 * HOUR - M5, MONDAY + 8 * HOUR):
        state.on_m1(bar(start))
    assert [view.buy.regime.session for view in state.advance(Millis(MONDAY + 9 * HOUR))] == [
        Session.ASIAN,
        Session.LONDON,
    ]


def test_thresholds_adapt_within_their_clamp_and_an_unlisted_symbol_is_uncalibrated() -> None:
    bars = tuple(bar(MONDAY + 23 * HOUR + i * MINUTE, 1.1 + 1e-9 * i) for i in range(60 * 8))
    known = scored(new_state(), bars)[-1].buy.regime
    other = scored(new_state(AssetClass.OTHER, "COCOA"), bars)[-1].buy.regime
    # Asian 1.5 x Range 1.3 = 1.95, clamped to 1.8.
    assert known.threshold == pytest.approx(0.0009, rel=1e-12)
    assert other.threshold == pytest.approx(0.0018, rel=1e-12)
    assert (known.calibrated, other.calibrated) == (True, False)


def test_every_branch_name_that_is_said_is_a_listed_one() -> None:
    views = scored(
        new_state(AssetClass.CRYPTO, "BTCUSD"), random_bars(6, 5_000, AssetClass.CRYPTO, volumes=True, sides=True)
    )
    said = {
        (reading.layer, name)
        for view in views
        for side in Side
        for reading in view.score(side).layers
        for name in reading.branches
    }
    assert said <= {(name, branch) for name in Layer for branch in BRANCHES[name]}
    assert {(Layer.DELTA, "delta_with"), (Layer.DELTA, "delta_against")} <= said


def test_weights_and_factors_of_the_policy_are_those_of_the_reading() -> None:
    policy = ScorePolicy(candle_weight=0.5, asian_factor=0.5, range_candle=1.0, high_candle=1.0)
    view = scored(new_state(policy=policy), random_bars(7, 200, AssetClass.FX, volumes=True, sides=True))[-1]
    candle = layer(view.buy, Layer.CANDLE)
    assert (candle.weight, candle.adaptive) == (0.5, 0.5)
    assert view.buy.regime.session is Session.ASIAN


def saved_state() -> tuple[MarketState, bytes]:
    state = new_state()
    scored(state, random_bars(8, 900, AssetClass.FX, volumes=True, sides=True))
    return state, state.dump()


def test_a_loaded_state_keeps_the_last_view_the_forming_bar_and_the_count_of_revisions() -> None:
    state = new_state()
    bars = random_bars(8, 900, AssetClass.FX, volumes=True, sides=True)
    last = scored(state, bars)[-1]
    state.on_m1(bars[-1])
    state.on_m1(bar(bars[-1].start + 3 * M5, 2000.0))
    copy = new_state()
    copy.load(state.dump())
    assert copy.score_now(last.at) == last
    assert copy.revisions == 1
    now = Millis(bars[-1].start + 10 * M5)
    assert copy.advance(now) == state.advance(now)


def test_a_state_of_another_symbol_or_policy_is_refused_and_changes_nothing() -> None:
    _, saved = saved_state()
    gold = new_state(AssetClass.METAL, "XAUUSD")
    with pytest.raises(InvalidDataError, match=r"has symbol 'EURUSD', not 'XAUUSD'; rebuild it from M1 bars"):
        gold.load(saved)
    other = new_state(policy=ScorePolicy(rsi_weak=44.0))
    with pytest.raises(InvalidDataError, match="has policy"):
        other.load(saved)
    assert other.score_now(MONDAY) is None


@pytest.mark.parametrize("spoil", ["cut", "bit", "empty", "no head", "version"])
def test_damaged_bytes_are_refused_and_change_nothing(spoil: str) -> None:
    state, saved = saved_state()
    before = state.dump()
    head, _, body = saved.partition(b"\n")
    damaged = {
        "cut": saved[:-40],
        "bit": head + b"\n" + bytes([body[0]]) + bytes([body[1] ^ 1]) + body[2:],
        "empty": b"",
        "no head": b"[]\n" + body,
        "version": json.dumps(json.loads(head) | {"version": 0}).encode() + b"\n" + body,
    }[spoil]
    with pytest.raises(InvalidDataError, match="rebuild it from M1 bars"):
        state.load(damaged)
    assert state.dump() == before


def test_unknown_is_none_and_never_a_number() -> None:
    view = scored(new_state(), random_bars(9, 30, AssetClass.FX, volumes=False, sides=False))[-1]
    known = view.indicators
    assert (known.atr_m15, known.squeeze, known.extension, known.extension_p90) == (None, None, None, None)
    assert (known.ema50_m15_slope, known.ema200_m15_slope, known.ema50_h1_slope) == (None, None, None)
    assert view.buy.opposite_share_high is None


def test_indicators_that_exits_read_are_known_with_enough_bars() -> None:
    bars = random_bars(10, 9_000, AssetClass.CRYPTO, volumes=True, sides=True)
    known = scored(new_state(AssetClass.CRYPTO, "BTCUSD"), bars)[-1].indicators
    assert None not in (known.atr_m5, known.atr_m15, known.squeeze, known.extension, known.extension_p90)
    assert None not in (known.ema50_m15_slope, known.ema200_m15_slope, known.ema50_h1_slope, known.vwap)
    assert known.extension_p90 is not None
    assert math.isfinite(known.extension_p90)
    assert known.extension_p90 > 0.0

"""Numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dtms.core.exits import propose_all
from dtms.domain.action import SetStop
from dtms.domain.policy.exits import PROFILES, ExitPolicy, ExitProfile, SessionFactors
from dtms.domain.rules import ExitRule
from dtms.domain.score import Session
from dtms.domain.units import Price, Side

if TYPE_CHECKING:
    from tests.exits.conftest import Desk

BREAKEVEN_STOPS = [
    # 10.20 USD on 1 lot = 0.000102; half of 1 pip = 0.00005: 1.100152 up, 1.099848 down
    ("EURUSD", Side.BUY, 1.10000, 0.00500, 1.0, 7.0, -3.20, 0.00010, 1.10016),
    ("EURUSD", Side.SELL, 1.10000, 0.00500, 1.0, 7.0, -3.20, 0.00010, 1.09984),
    # 7 USD / (100,000 / 150) = 0.0105 yen; half of 0.020 = 0.010
    ("USDJPY", Side.BUY, 150.000, 0.500, 0.3, 7.0, 0.0, 0.020, 150.021),
    ("USDJPY", Side.SELL, 150.000, 0.500, 0.3, 7.0, 0.0, 0.020, 149.979),
    # 6 USD a lot = 0.06; 12.50 USD debited on 0.5 lots = 0.25; half of 0.30 = 0.15
    ("XAUUSD", Side.BUY, 3300.00, 10.00, 0.5, 6.0, -12.5, 0.30, 3300.46),
    ("XAUUSD", Side.SELL, 3300.00, 10.00, 0.5, 6.0, -12.5, 0.30, 3299.54),
    # 30 USD a million a side on 105,000 USD = 6.30 a lot; half of 12 = 6; a swap credit counts 0
    ("BTCUSD", Side.BUY, 105_000.00, 800.00, 0.02, 2 * 30 * 105_000 / 1e6, 50.0, 12.0, 105_012.30),
    ("BTCUSD", Side.SELL, 105_000.00, 800.00, 0.02, 2 * 30 * 105_000 / 1e6, 50.0, 12.0, 104_987.70),
    # a yen account: 1,000 JPY / 16,000,000 = 0.0000625; 480 JPY on 0.1 lots = 0.0003; half of 0.00008: 1.1004025
    ("EURUSDj", Side.BUY, 1.10000, 0.00500, 0.1, 1_000.0, -480.0, 0.00008, 1.10041),
    # ticks of 0.5 at points of 0.1: 4 + 0.75 = 18,004.75
    ("DE40", Side.BUY, 18_000.0, 50.0, 1.0, 4.0, 0.0, 1.5, 18_005.0),
    ("DE40", Side.SELL, 18_000.0, 50.0, 1.0, 4.0, 0.0, 1.5, 17_995.0),
    # no digits, ticks of 5: 120 JPY a lot at 10 a point = 12; half of 10 = 5: 38,017
    ("NI225", Side.BUY, 38_000.0, 200.0, 2.0, 120.0, 0.0, 10.0, 38_020.0),
]


@pytest.mark.parametrize(
    ("name", "side", "entry", "r", "volume", "commission", "swap", "spread", "stop"), BREAKEVEN_STOPS
)
def test_breakeven_covers_commission_swap_and_half_the_spread(
    *,
    desk: Desk,
    name: str,
    side: Side,
    entry: float,
    r: float,
    volume: float,
    commission: float,
    swap: float,
    spread: float,
    stop: float,
) -> None:
    instrument = desk.instrument(name)
    trade = desk.trade(instrument, side, entry=entry, r=r, volume=volume)
    price = entry + side * r
    bid, ask = (price, price + spread) if side is Side.BUY else (price - spread, price)
    market = desk.market(instrument, bid, ask, commission_per_lot=commission, swap=swap)

    decision = propose_all(trade, desk.book(trade), market, ExitPolicy())

    assert [each.action for each in decision.proposals] == [SetStop(ticket=trade.ticket, stop=Price(stop), target=None)]
    assert decision.proposals[0].rule is ExitRule.BREAKEVEN


def test_a_breakeven_says_its_numbers_in_one_sentence(desk: Desk) -> None:
    instrument = desk.instrument("EURUSD")
    trade = desk.trade(instrument, Side.BUY, entry=1.1, r=0.005)
    market = desk.market(instrument, 1.105, 1.1051, commission_per_lot=7.0, swap=-3.2)
    decision = propose_all(trade, desk.book(trade), market, ExitPolicy())
    assert decision.proposals[0].reason == (
        "at +1.00 R the stop goes to 1.10016: entry 1.10000, costs 0.00010, allowance 0.00005 a unit"
    )


def test_a_target_is_kept_when_the_stop_moves(desk: Desk) -> None:
    instrument = desk.instrument("EURUSD")
    trade = desk.trade(instrument, Side.BUY, entry=1.1, r=0.005, target=Price(1.12))
    decision = propose_all(trade, desk.book(trade), desk.market(instrument, 1.105, 1.1051), ExitPolicy())
    assert [each.action for each in decision.proposals] == [
        SetStop(ticket=trade.ticket, stop=Price(1.10005), target=Price(1.12))
    ]


@pytest.mark.parametrize(
    ("name", "volume", "share", "changes", "remaining"),
    [
        ("EURUSD", 1.0, 0.33, {}, 0.67),
        ("EURUSD", 0.10, 0.33, {}, 0.07),
        ("EURUSD", 0.04, 0.33, {}, 0.03),
        ("EURUSD", 0.03, 0.33, {}, None),  # 0.0099 lots are no step
        ("EURUSD", 0.01, 0.33, {}, None),
        ("XAUUSD", 0.5, 0.5, {}, 0.25),
        ("BTCUSD", 0.007, 0.33, {"volume_min": 0.001, "volume_step": 0.001}, 0.005),
        ("DE40", 0.4, 0.33, {}, 0.3),
        ("DE40", 0.3, 0.33, {}, None),
        ("DE40", 0.8, 0.7, {"volume_min": 0.5}, None),  # 0.5 may be closed, 0.3 may not be left
        ("NI225", 10.0, 0.33, {}, 7.0),
    ],
)
def test_the_partial_rounds_the_closed_part_down_and_leaves_a_tradable_rest(
    *, desk: Desk, name: str, volume: float, share: float, changes: dict[str, Any], remaining: float | None
) -> None:
    instrument = desk.instrument(name, **changes)
    trade = desk.trade(instrument, Side.BUY, entry=20_000.0, r=100.0, volume=volume)
    profile = ExitProfile(breakeven=False, trail=False, partial_share=share)

    decision = propose_all(trade, desk.book(trade, profile), desk.market(instrument, 20_200.0, 20_210.0), ExitPolicy())

    assert desk.remaining(decision) == ({} if remaining is None else {ExitRule.PARTIAL: remaining})
    assert desk.skips(decision) == ((ExitRule.PARTIAL,) if remaining is None else ())


def test_a_partial_that_cannot_be_says_why(desk: Desk) -> None:
    instrument = desk.instrument("EURUSD")
    trade = desk.trade(instrument, Side.BUY, entry=1.1, r=0.005, volume=0.02)
    profile = ExitProfile(breakeven=False, trail=False)
    decision = propose_all(trade, desk.book(trade, profile), desk.market(instrument, 1.11, 1.1101), ExitPolicy())
    assert [each.reason for each in decision.skipped] == ["33% of 0.02 lots are under the minimum of 0.01"]


TRAILS = [
    # best less m x ATR, up to the tick for a BUY: m is 1.2, 1.2, 1.5, 2.0, 1.3
    ("EURUSD", "EURUSD", 1.10000, 0.00500, 0.00100, 1.10800, 1.10680),
    ("USDJPY", "USDJPY", 150.000, 0.500, 0.1234, 150.800, 150.652),
    ("XAUUSD", "XAUUSD", 3300.00, 10.00, 4.00, 3320.00, 3314.00),
    ("BTCUSD", "BTCUSD", 105_000.00, 800.00, 301.07, 106_000.00, 105_397.86),
    ("USDJPY", "GBPJPY", 190.000, 0.500, 0.1, 190.700, 190.570),
]


@pytest.mark.parametrize(("name", "canonical", "entry", "r", "atr", "best", "stop"), TRAILS)
def test_the_trail_follows_the_best_bid_at_the_symbols_multiple(
    *, desk: Desk, name: str, canonical: str, entry: float, r: float, atr: float, best: float, stop: float
) -> None:
    instrument = desk.instrument(name, canonical=canonical)
    trade = desk.trade(instrument, Side.BUY, entry=entry, r=r, stop=Price(entry))
    book = desk.book(trade, ExitProfile(partial=False), breakeven_done=True, best=best)
    price = best - 0.3 * atr
    market = desk.market(instrument, price, price + instrument.tick_size, indicators=desk.indicators(atr))
    assert desk.stops(propose_all(trade, book, market, ExitPolicy())) == {ExitRule.TRAILING: stop}


@pytest.mark.parametrize(
    ("changes", "stop"),
    [
        ({}, 3314.00),  # 1.5 ATR of 4
        ({"squeeze": True}, 3314.00),  # one gate of three
        ({"squeeze": True, "extension": 3.1}, 3312.00),  # two: 2.0 ATR
        ({"squeeze": True, "ema50_h1_slope": -0.1}, 3312.00),
        ({"extension": 3.1, "ema50_h1_slope": -0.1}, 3312.00),
        ({"squeeze": True, "extension": 3.1, "ema50_h1_slope": -0.1}, 3312.00),
        ({"squeeze": True, "extension": -3.1, "ema50_h1_slope": 0.1}, 3314.00),  # stretched against is not extended
        ({"squeeze": True, "extension": 2.1, "extension_p90": None}, 3312.00),  # no percentile yet: 2
        ({"squeeze": True, "extension": 1.9, "extension_p90": None, "ema50_h1_slope": -0.1}, 3312.00),
        ({"squeeze": True, "extension": None, "ema50_h1_slope": None}, 3314.00),  # not known does not give room
    ],
)
def test_two_failing_gates_of_three_give_the_trail_a_third_more_room(
    desk: Desk, changes: dict[str, Any], stop: float
) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, entry=3300.0, r=10.0, stop=Price(3300.0))
    book = desk.book(trade, ExitProfile(partial=False), breakeven_done=True, best=3320.0)
    market = desk.market(instrument, 3319.0, 3319.2, indicators=desk.indicators(4.0, **changes))
    assert desk.stops(propose_all(trade, book, market, ExitPolicy())) == {ExitRule.TRAILING: stop}


def test_a_gate_that_is_not_known_is_named_in_the_reason(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, entry=3300.0, r=10.0, stop=Price(3300.0))
    book = desk.book(trade, ExitProfile(partial=False), breakeven_done=True, best=3320.0)
    seen = desk.indicators(4.0, squeeze=True, ema50_h1_slope=None)
    decision = propose_all(trade, book, desk.market(instrument, 3319.0, 3319.2, indicators=seen), ExitPolicy())
    assert decision.proposals[0].reason == (
        "at +1.90 R the stop follows to 3314.00: best 3320.00 less 1.50 ATR; gates failing: squeeze; "
        "gates not known, not counted: EMA50(H1) against"
    )


def test_session_factors_multiply_the_trail(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, entry=3300.0, r=10.0, stop=Price(3300.0))
    book = desk.book(trade, ExitProfile(partial=False), breakeven_done=True, best=3320.0)
    policy = ExitPolicy(session_factors=SessionFactors(asian=1.2, overlap=0.9))
    asian = desk.market(instrument, 3319.0, 3319.2, indicators=desk.indicators(4.0), session=Session.ASIAN)
    overlap = replace(asian, session=Session.OVERLAP)
    assert desk.stops(propose_all(trade, book, asian, policy)) == {ExitRule.TRAILING: 3312.80}
    assert desk.stops(propose_all(trade, book, overlap, policy)) == {ExitRule.TRAILING: 3314.60}


def test_a_profiles_own_trail_beats_the_symbols(desk: Desk) -> None:
    instrument = desk.instrument("EURUSD")
    trade = desk.trade(instrument, Side.SELL, entry=1.1, r=0.005, stop=Price(1.1))
    book = desk.book(trade, PROFILES["swing"], breakeven_done=True, best=1.09)
    market = desk.market(instrument, 1.0910, 1.0911, indicators=desk.indicators(0.001))
    assert desk.stops(propose_all(trade, book, market, ExitPolicy())) == {ExitRule.TRAILING: 1.093}


TRIGGERS = [
    # what the market shows, and where breakeven and partial fire: the base is 0.3 R and 0.6 R
    ({}, 0.30),
    ({"extension": 3.1}, 0.20),
    ({"extension": 3.1, "squeeze": True}, 0.20),
    ({"squeeze": True}, 0.25),
    ({"squeeze": True, "ema50_m15_slope": 1.0, "ema200_m15_slope": 1.0}, 0.25),
    ({"ema50_m15_slope": 1.0, "ema200_m15_slope": 1.0}, 0.40),
    ({"ema50_m15_slope": 1.0, "ema200_m15_slope": 0.1}, 0.30),  # EMA200 is flat within 0.05 ATR
    ({"extension": None, "ema50_m15_slope": 1.0, "ema200_m15_slope": 1.0}, 0.30),  # not known makes nothing later
    ({"squeeze": None, "ema50_m15_slope": 1.0, "ema200_m15_slope": 1.0}, 0.30),
    ({"extension": None, "squeeze": True}, 0.25),
]


@pytest.mark.parametrize(("changes", "fires_at"), TRIGGERS)
@pytest.mark.parametrize("side", list(Side))
def test_one_adaptive_trigger_applies_in_its_order(
    desk: Desk, side: Side, changes: dict[str, Any], fires_at: float
) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, side, entry=3300.0, r=100.0)
    signed = {k: side * v if k != "squeeze" and v is not None else v for k, v in changes.items()}
    seen = desk.indicators(4.0, **signed)

    def fires(r: float) -> tuple[bool, bool]:
        price = 3300.0 + side * 100.0 * r
        market = desk.market(instrument, price, price, indicators=seen)
        decision = propose_all(trade, desk.book(trade, PROFILES["classic"]), market, ExitPolicy())
        return bool(desk.stops(decision)), bool(desk.remaining(decision))

    assert [fires(fires_at - 0.001), fires(fires_at)] == [(False, False), (True, False)]
    assert [fires(2 * fires_at - 0.001), fires(2 * fires_at)] == [(True, False), (True, True)]


WIDENED = [
    # VIX, and R from entry: x min(2, 1 + (VIX - 18) / 10), at most 1.5 R
    (18.0, None),
    (19.0, 1.1),
    (22.0, 1.4),
    (23.0, 1.5),
    (28.0, 1.5),
    (80.0, 1.5),
]


@pytest.mark.parametrize(("vix", "r"), WIDENED)
@pytest.mark.parametrize("side", list(Side))
def test_a_high_vix_widens_the_stop_by_its_formula(desk: Desk, side: Side, vix: float, r: float | None) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, side, entry=3300.0, r=10.0)
    market = desk.market(instrument, 3300.0, 3300.2, vix=vix, vix_age_ms=0)
    decision = propose_all(trade, desk.book(trade, ExitProfile(widening=True)), market, ExitPolicy(grant_widening=True))
    expected = (
        []
        if r is None
        else [SetStop(ticket=trade.ticket, stop=Price(round(3300.0 - side * 10.0 * r, 2)), target=None, widens=True)]
    )
    assert [each.action for each in decision.proposals] == expected

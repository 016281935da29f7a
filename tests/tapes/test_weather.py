"""The market weather: one seed, one tape; valid prices, the market's hours, and every kind of trouble."""

from __future__ import annotations

import hashlib
from pathlib import Path
from statistics import mean, median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtms.core.market_state import MarketState
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import AssetClass
from dtms.domain.market import Bar
from dtms.domain.policy.score import RegimePolicy, ScorePolicy
from dtms.domain.score import MarketView, StructureEventKind
from dtms.domain.symbols import asset_class
from dtms.domain.units import DAY, MINUTE, SECOND, Millis, Side
from dtms.errors import SettingsError
from dtms_lab.tapes.scripts import OVERTURE
from dtms_lab.tapes.tape import Tape, read_tape, require_m1, write_tape
from dtms_lab.tapes.weather import DEFAULT_START, SCRIPTS, Kind, Spell, Weather, make_tape, mirrored, play

SYMBOLS = ("XAUUSD", "BTCUSD", "EURUSD", "GBPUSD", "USDJPY")
FRIDAY_EVENING = Millis(DEFAULT_START + 2 * DAY - 2 * 60 * MINUTE)
"""An hour before the week's close."""


def _digest(tape: Tape) -> str:
    rows = zip(tape.bars, tape.asks or (), strict=True)
    numbers = [
        (
            bid.start,
            bid.volume,
            bid.buy_volume,
            *(p for bar in (bid, ask) for p in (bar.open, bar.high, bar.low, bar.close)),
        )
        for bid, ask in rows
    ]
    return hashlib.sha256(repr(numbers).encode()).hexdigest()


def _spell(kind: Kind, minutes: int, strength: float) -> Spell:
    return Spell(kind=kind, minutes=minutes, strength=strength)


def test_a_seed_gives_the_tape_it_always_gave() -> None:
    assert _digest(make_tape(7, 3)) == "ead16beb5ffcd140f79ddfa55fd90dc77e378e5c5e5bb8f08d7dbde2841490ac"


def test_another_seed_gives_another_tape() -> None:
    assert _digest(make_tape(1, 1)) != _digest(make_tape(2, 1))


def test_a_generated_tape_is_written_and_read_back_identically(tmp_path: Path) -> None:
    tape = make_tape(7, 3)
    write_tape(tape, tmp_path / "weather.csv.gz")

    assert read_tape(tmp_path / "weather.csv.gz") == tape


@settings(max_examples=15)
@given(seed=st.integers(min_value=0, max_value=2**32), symbol=st.sampled_from(SYMBOLS))
def test_every_bar_lies_in_the_markets_hours_with_its_ask_above_it(seed: int, symbol: str) -> None:
    tape = make_tape(seed, 2, symbol, FRIDAY_EVENING)

    hours = MarketHours(asset_class(symbol))
    require_m1(tape)
    assert tape.asks is not None
    assert all(hours.is_open(bar.start) for bar in tape.bars)
    assert all(bar.start % MINUTE == 0 for bar in tape.bars)
    assert all(ask.low > bid.low and ask.high > bid.high for bid, ask in zip(tape.bars, tape.asks, strict=True))
    assert tape.first == FRIDAY_EVENING


def test_volumes_are_buyers_plus_sellers() -> None:
    bars = make_tape(3, 1).bars

    assert all(bar.volume == (bar.buy_volume or 0.0) + (bar.sell_volume or 0.0) for bar in bars)
    assert all(bar.volume is not None and bar.volume >= 1 for bar in bars)


@pytest.mark.parametrize(("symbol", "unit"), [("XAUUSD", 3.0), ("BTCUSD", 190.0), ("EURUSD", 0.0005), ("USDJPY", 0.08)])
def test_the_usual_range_of_fifteen_minutes_is_about_the_symbols(symbol: str, unit: float) -> None:
    quarters: dict[int, list[Bar]] = {}
    for bar in make_tape(4, 7, symbol).bars:
        quarters.setdefault(bar.start // (15 * MINUTE), []).append(bar)

    ranges = [max(bar.high for bar in bars) - min(bar.low for bar in bars) for bars in quarters.values()]

    assert 0.8 * unit < median(ranges) < 1.3 * unit
    assert mean(ranges) < 1.6 * unit
    assert max(ranges) > 4 * unit


def test_the_price_comes_home_over_months() -> None:
    closes = [bar.close for bar in make_tape(5, 60).bars]

    assert min(closes) > 2_400 * 0.88
    assert max(closes) < 2_400 * 1.12


def test_a_crash_and_its_recovery_make_a_v_within_three_hours() -> None:
    tape = play(1, SCRIPTS["vee"])

    start = tape.bars[60].close
    bottom = min(tape.bars, key=lambda bar: bar.low)
    assert bottom.low < start - 6 * 3.0
    back = next(bar for bar in tape.bars if bar.start > bottom.start and bar.close > start - 3.0)
    assert back.start - tape.bars[60].start < 180 * MINUTE


def test_a_crash_widens_the_spread_beyond_what_adds_risk_and_then_lets_go() -> None:
    tape = play(2, (_spell(Kind.RANGE, 240, 1.0), _spell(Kind.CRASH, 40, 6.0), _spell(Kind.RANGE, 60, 1.0)))

    assert tape.asks is not None
    spreads = [ask.close - bid.close for bid, ask in zip(tape.bars, tape.asks, strict=True)]
    usual = median(spreads[:240])
    assert max(spreads[240:280]) > 2 * usual
    assert max(spreads[330:]) < 1.5 * usual


def test_a_spell_upside_down_goes_the_other_way() -> None:
    crash: Weather = (_spell(Kind.CRASH, 60, 8.0),)

    down, up = play(3, crash), play(3, mirrored(crash))

    assert down.bars[-1].close < 2_400 - 6 * 3.0
    assert up.bars[-1].close > 2_400 + 6 * 3.0
    assert mirrored(mirrored(crash)) == crash


def test_a_gap_is_silence_and_then_a_jump() -> None:
    tape = play(4, (_spell(Kind.QUIET, 30, 0.2), _spell(Kind.GAP, 4, 5.0), _spell(Kind.QUIET, 30, 0.2)))

    before, after = tape.bars[29], tape.bars[30]
    assert after.start - before.start == 5 * MINUTE
    assert after.open < before.close - 4 * 3.0


def test_a_weekend_passes_between_two_minutes_and_the_price_stays_where_it_reopened() -> None:
    tape = play(6, (_spell(Kind.QUIET, 180, 0.2),), start=FRIDAY_EVENING)

    gaps = [(a, b) for a, b in zip(tape.bars, tape.bars[1:], strict=False) if b.start - a.start > MINUTE]
    ((friday, sunday),) = gaps
    assert sunday.start - friday.start == 49 * 60 * MINUTE + MINUTE
    assert len(tape.bars) == 180
    later = tape.bars[-1].close - sunday.open
    assert abs(later) < 3.0


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_plays_as_many_minutes_as_it_says(name: str) -> None:
    tape = play(1, SCRIPTS[name])

    silent = sum(spell.minutes for spell in SCRIPTS[name] if spell.kind is Kind.GAP)
    assert len(tape.bars) == sum(spell.minutes for spell in SCRIPTS[name]) - silent


def _views(tape: Tape) -> list[MarketView]:
    state = MarketState("XAUUSD", AssetClass.METAL, ScorePolicy(), RegimePolicy(), canonical="XAUUSD")
    views: list[MarketView] = []
    for bar in tape.bars:
        state.on_m1(bar)
        views += state.advance(Millis(bar.start + MINUTE + 2 * SECOND))
    return views


def test_both_sides_see_every_threshold_of_the_state_machine_and_every_structure_event() -> None:
    views = _views(make_tape(7, 9))

    kinds = {event.kind for view in views for event in view.events}
    assert kinds == set(StructureEventKind)
    for side in Side:
        totals = [total for view in views if (total := view.score(side).total) is not None]
        worst = sum(total <= -6 for total in totals)
        warned = sum(-6 < total <= -2 for total in totals)
        supported = sum(total >= 1 for total in totals)
        assert worst > 20
        assert warned > 200
        assert supported > 200
        assert any(view.score(side).flip_against and view.score(side).opposite_share_high for view in views)


def test_a_crash_reaches_the_hedge_score_and_its_recovery_the_confirming_one() -> None:
    views = _views(play(1, OVERTURE + SCRIPTS["vee"]))

    overture = sum(spell.minutes for spell in OVERTURE) // 5
    totals = [view.buy.total for view in views[overture:] if view.buy.total is not None]
    bottom = totals.index(min(totals))
    assert totals[bottom] <= -6
    assert max(totals[bottom:]) >= 1


def test_what_cannot_be_generated_is_refused_with_the_remedy() -> None:
    with pytest.raises(SettingsError, match="no weather for DE40: its scale is not known; take one of XAUUSD, BTCUSD"):
        make_tape(1, 1, "DE40")
    with pytest.raises(SettingsError, match="a tape of 0 days has no bars; ask for at least 1"):
        make_tape(1, 0)
    with pytest.raises(SettingsError, match="cannot start at 5 ms; give a whole minute, 0 or later"):
        make_tape(1, 1, start=Millis(5))
    with pytest.raises(SettingsError, match="no bars; start at another time or say more"):
        make_tape(1, 1, start=Millis(FRIDAY_EVENING + 60 * MINUTE))
    with pytest.raises(SettingsError, match="no bars; start at another time or say more"):
        play(1, ())
    with pytest.raises(SettingsError, match="spell crash lasts 0 minutes; make it at least 1"):
        _spell(Kind.CRASH, 0, 1.0)

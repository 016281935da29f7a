from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from dtms.domain.policy.exits import (
    DEFAULT_PROFILE,
    PROFILES,
    ExitPolicy,
    ExitProfile,
    SessionFactors,
    profile_from,
)
from dtms.domain.score import Session
from dtms.errors import SettingsError


def test_the_default_profile_is_intraday_with_the_specified_numbers() -> None:
    intraday = ExitPolicy().profile(DEFAULT_PROFILE)
    assert (DEFAULT_PROFILE, intraday.breakeven_r, intraday.breakeven_spreads) == ("intraday", 1.0, 0.5)
    assert (intraday.partial, intraday.partial_r, intraday.partial_share) == (True, 2.0, 0.33)
    assert (intraday.trail, intraday.trail_step_atr, intraday.trail_every_s) == (True, 0.1, 30.0)
    assert (intraday.trail_gates_factor, intraday.trail_close_quotes) == (4 / 3, 2)
    off = (intraday.widening, intraday.adaptive, intraday.max_age, intraday.weekend, intraday.stall)
    assert off == (False, False, False, False, False)


def test_the_other_profiles_differ_as_specified() -> None:
    scalp, swing, classic = PROFILES["scalp"], PROFILES["swing"], PROFILES["classic"]
    assert (scalp.breakeven_r, scalp.partial_r, scalp.partial_share) == (0.75, 1.5, 0.33)
    assert (swing.breakeven_r, swing.partial, swing.trail_atr) == (1.5, False, 3.0)
    assert (classic.breakeven_r, classic.partial_r, classic.partial_share, classic.adaptive) == (0.3, 0.6, 0.5, True)


@pytest.mark.parametrize(
    ("symbol", "multiple"),
    [
        ("BTCUSD", 2.0),
        ("BTCUSDT", 2.0),
        ("GBPUSD", 1.3),
        ("EURUSD", 1.2),
        ("USDJPY", 1.2),
        ("XAUUSD", 1.5),
        ("AUDUSD", 1.5),
        ("EURJPY", 1.2),
        ("GBPJPY", 1.3),
        ("EURGBP", 1.3),
    ],
)
def test_the_greater_multiple_of_a_symbols_currencies_is_its_trail(symbol: str, multiple: float) -> None:
    assert ExitPolicy().trail_multiple(symbol) == multiple


def test_only_bitcoin_needs_more_to_be_stretched() -> None:
    policy = ExitPolicy()
    assert (policy.extended_limit("BTCUSD"), policy.extended_limit("ETHUSD"), policy.extended_limit("EURUSD")) == (
        4,
        2,
        2,
    )


def test_session_factors_are_all_one_by_default_and_read_by_session() -> None:
    assert [SessionFactors().of(session) for session in Session] == [1.0] * 6
    assert SessionFactors(asian=1.2, overlap=0.9).of(Session.OVERLAP) == 0.9


def test_own_numbers_replace_only_what_they_name() -> None:
    own = profile_from({"breakeven_r": 0.8, "partial": False, "trail_atr": 2.5, "stall_bars": 12})
    assert own == ExitProfile(breakeven_r=0.8, partial=False, trail_atr=2.5, stall_bars=12)
    assert profile_from({}, base=PROFILES["swing"]) == PROFILES["swing"]


def test_an_unknown_number_is_refused_by_its_name() -> None:
    with pytest.raises(SettingsError, match=r"no field breakeven_pct, foo; the fields are adaptive, breakeven,"):
        profile_from({"breakeven_pct": 30, "foo": 1, "partial_r": 2})


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"breakeven_r": 0}, r"exits\.breakeven_r is 0; set it between 0\.05 and 20 R"),
        ({"breakeven_r": "1"}, r"exits\.breakeven_r is '1'"),
        ({"breakeven_r": True}, r"exits\.breakeven_r is True"),
        ({"breakeven_r": None}, r"exits\.breakeven_r is None"),
        ({"partial_r": float("nan")}, r"exits\.partial_r is nan"),
        ({"partial_share": 1.0}, r"exits\.partial_share is 1\.0; set it between 0\.01 and 0\.99 of the volume"),
        ({"trail": 1}, r"exits\.trail is 1; set it to true or false"),
        ({"trail_atr": -1}, r"exits\.trail_atr is -1; set it between 0\.1 and 20 ATR"),
        ({"stall_bars": 2.5}, r"exits\.stall_bars is 2\.5; set it to a whole number of M5 bars"),
        ({"widening_cap_r": 10}, r"exits\.widening_cap_r is 10; set it between 1 and 3 R"),
    ],
)
def test_a_number_that_cannot_be_is_refused_with_its_range(numbers: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        profile_from(numbers)


def test_every_number_of_a_profile_is_checked() -> None:
    for each in fields(ExitProfile):
        with pytest.raises(SettingsError, match=f"exits.{each.name} "):
            profile_from({each.name: "nonsense"})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"default_profile": "day"}, "default_profile is 'day'; choose one of intraday, scalp, swing, classic"),
        ({"profiles": (("own", ExitProfile()), ("intraday", ExitProfile()))}, "named 'own'"),
        ({"trail_by_currency": (("GBP", 0.0),)}, r"trail_by_currency\.GBP is 0\.0"),
        ({"grant_widening": 1}, "grant_widening is 1; set it to true or false"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        ExitPolicy(**changes)


def test_a_profile_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match="is 'day'; choose one of intraday, scalp, swing, classic"):
        ExitPolicy().profile("day")

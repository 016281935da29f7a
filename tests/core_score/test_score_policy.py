"""The numbers of regime and score are the specified ones, and impossible ones are refused by name."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from dtms.core.params import LAYERS, P, parameters
from dtms.domain.policy.score import RegimePolicy, ScorePolicy
from dtms.domain.score import Layer, Session
from dtms.errors import SettingsError


def test_every_number_of_both_policies_reaches_the_kernels() -> None:
    regime, score = RegimePolicy(), ScorePolicy()
    names = {field.name.lower() for field in P}
    blocks = {f"{prefix}{layer.value}" for layer in Layer for prefix in ("range_", "high_")}
    blocks |= {f"{layer.value}_weight" for layer in Layer} | {f"session_{session.value}" for session in Session}
    blocks |= {f"volatility_{x}" for x in ("low", "normal", "high")} | {"structure_range", "structure_trend"}
    blocks |= {"base_by_symbol", "base_other"}
    assert {field.name for field in (*fields(score), *fields(regime))} - names - blocks == set()
    assert parameters(score, regime, "XAUUSD")[P.BASE] == 0.001
    assert parameters(score, regime, "COCOA")[P.BASE] == 0.001
    assert parameters(score, regime, "EURUSD")[P.BASE] == 0.0005


def test_every_field_says_its_unit_range_and_default() -> None:
    for policy in (ScorePolicy, RegimePolicy):
        text = policy.__doc__ or ""
        for field in fields(policy):
            assert re.search(rf"\b{field.name}\b", text.partition("Attributes:")[2]), field.name


def test_layers_are_in_the_order_that_the_kernels_number_them() -> None:
    assert [layer.value for layer in LAYERS] == ["structure", "vwap", "momentum", "ema", "delta", "candle"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rsi_weak": 101.0}, "policy score.rsi_weak is 101.0; set it between 0 and 100"),
        ({"structure_against": 0.5}, "policy score.structure_against is 0.5; set it between -1 and 0"),
        ({"macd_fast": 30}, "policy score.macd_fast, macd_slow are (30, 26); they must rise strictly in this order"),
        ({"structure_bars": 20.0}, "policy score.structure_bars is 20.0; set it to a whole number between 8 and 60"),
        ({"delta_bars_min": 200}, "policy score.delta_bars_min is 200, more than score.delta_bars 120"),
        ({"extension_bars": 50}, "policy score.extension_bars_min is 300, more than score.extension_bars 50"),
        ({"structure_weight": 4.0}, "layer structure alone reaches -4.8 points (weight 4 x factor 1.2)"),
        ({"vwap_share_high_raw": -0.9}, "the raw values of layer vwap add up to [-1.56667, 0.666667]"),
        ({"candle_weight": float("nan")}, "policy score.candle_weight is nan"),
        ({f"{layer.value}_weight": 0.0 for layer in Layer}, "every weight is 0"),
    ],
)
def test_an_impossible_score_policy_is_refused_by_name_value_and_remedy(
    change: dict[str, float], sentence: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        ScorePolicy(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"low_ratio": 0.0}, "policy regime.low_ratio is 0.0; set it between 0.05 and 1"),
        ({"session_asian": -1.0}, "policy regime.session_asian is -1.0; set it between 0.1 and 10"),
        ({"base_by_symbol": (("XAUUSD", 5.0),)}, "policy regime.base_by_symbol.XAUUSD is 5.0"),
        ({"width_bars": 50}, "policy regime.width_bars_min is 100, more than regime.width_bars 50"),
        ({"atr_bars": 1}, "policy regime.atr_bars is 1; set it between 2 and 100 bars"),
    ],
)
def test_an_impossible_regime_policy_is_refused_by_name_value_and_remedy(
    change: dict[str, float], sentence: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        RegimePolicy(**change)  # type: ignore[arg-type]


def test_the_reach_of_a_regime_is_the_sum_of_what_its_available_layers_can_give() -> None:
    policy = ScorePolicy()
    without_delta = [layer for layer in Layer if layer is not Layer.DELTA]
    assert policy.reach(without_delta, ranging=False, high=False, asian=False) == pytest.approx(
        (-9.5, 3 + 4 / 3 + 4 / 3 + 1.5)
    )
    assert policy.reach([Layer.STRUCTURE], ranging=True, high=True, asian=True)[0] == pytest.approx(
        -3 * 0.7 * 1.2 * 0.8
    )

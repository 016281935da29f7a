"""What the score does on the recorded tapes: every rule speaks, none never stops, and low scores are as rare as meant."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from tests.core_score.tapes import RECORDED

from dtms.core.layout import BRANCHES
from dtms.core.market_state import MarketState
from dtms.domain.market import Bar
from dtms.domain.policy.score import RegimePolicy, ScorePolicy
from dtms.domain.score import Layer, Score
from dtms.domain.units import Millis


@dataclass
class Tally:
    """What was counted over one tape, both sides together."""

    totals: list[float] = field(default_factory=list)
    available: Counter[Layer] = field(default_factory=Counter)
    speaking: Counter[Layer] = field(default_factory=Counter)
    begun: Counter[tuple[Layer, str]] = field(default_factory=Counter)

    def add(self, score: Score, before: Score | None) -> None:
        for i, layer in enumerate(score.layers):
            known = before.layers[i].branches if before is not None else ()
            self.begun.update((layer.layer, name) for name in layer.branches if name not in known)
            if score.total is not None and layer.raw is not None:
                self.available[layer.layer] += 1
                self.speaking[layer.layer] += layer.raw != 0.0
        if score.total is not None:
            self.totals.append(score.total)


@pytest.fixture(scope="module")
def tallies(tapes: dict[str, tuple[Bar, ...]]) -> dict[str, Tally]:
    out = {}
    for name, (_, symbol, asset) in RECORDED.items():
        state = MarketState(symbol, asset, ScorePolicy(), RegimePolicy(), canonical=symbol)
        for bar in tapes[name]:
            state.on_m1(bar)
        tally = out[name] = Tally()
        before = None
        for view in state.advance(Millis(2**52)):
            tally.add(view.buy, None if before is None else before.buy)
            tally.add(view.sell, None if before is None else before.sell)
            before = view
    return out


@pytest.mark.parametrize("name", RECORDED)
def test_low_scores_are_as_rare_as_the_rules_mean(name: str, tallies: dict[str, Tally]) -> None:
    totals = np.array(tallies[name].totals)
    assert 0.12 <= np.mean(totals <= -2.0) <= 0.32
    assert 0.01 <= np.mean(totals <= -4.0) <= 0.13
    assert 0.00 <= np.mean(totals <= -6.0) <= 0.04


@pytest.mark.parametrize("name", RECORDED)
def test_each_available_layer_speaks_on_some_bars_and_not_on_most(name: str, tallies: dict[str, Tally]) -> None:
    tally = tallies[name]
    assert set(tally.available) == set(Layer) - {Layer.DELTA}
    for layer, bars in tally.available.items():
        assert 0.01 <= tally.speaking[layer] / bars <= 0.85, layer


def test_each_branch_of_each_available_layer_begins_at_least_20_times_over_the_tapes(
    tallies: dict[str, Tally],
) -> None:
    begun: Counter[tuple[Layer, str]] = Counter()
    for tally in tallies.values():
        begun.update(tally.begun)
    names = {(layer, name) for layer in Layer for name in BRANCHES[layer]}
    for layer, name in names - {(Layer.DELTA, "delta_with"), (Layer.DELTA, "delta_against"), (Layer.VWAP, "twap")}:
        assert begun[layer, name] >= 20, (layer, name)


@pytest.mark.parametrize("name", RECORDED)
def test_a_tape_without_volumes_says_twap_on_every_bar_that_has_one(name: str, tallies: dict[str, Tally]) -> None:
    weighted = name.startswith("mt5")
    assert (tallies[name].begun[Layer.VWAP, "twap"] > 0) is not weighted


@pytest.mark.parametrize("name", RECORDED)
def test_a_tape_without_trade_side_leaves_the_delta_layer_unavailable(name: str, tallies: dict[str, Tally]) -> None:
    assert tallies[name].available[Layer.DELTA] == 0

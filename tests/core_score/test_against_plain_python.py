"""Batch equals streaming equals plain Python."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core_score.plain import Plain
from tests.core_score.tapes import MINUTE, RECORDED, random_bars

from dtms.core.batch import Rows, columns, score_rows
from dtms.core.layout import Block, Out
from dtms.core.market_state import MarketState
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import AssetClass
from dtms.domain.market import Bar
from dtms.domain.policy.score import RegimePolicy, ScorePolicy
from dtms.domain.score import MarketView, Score
from dtms.domain.units import Millis

POLICY = ScorePolicy()
REGIME = RegimePolicy()
ASSETS = st.sampled_from((AssetClass.FX, AssetClass.METAL, AssetClass.CRYPTO))


def views_of(bars: tuple[Bar, ...], asset: AssetClass, symbol: str) -> tuple[MarketView, ...]:
    state = MarketState(symbol, asset, POLICY, REGIME, canonical=symbol)
    for bar in bars:
        state.on_m1(bar)
    return state.advance(Millis(bars[-1].start + 10 * MINUTE))


def rows_of(bars: tuple[Bar, ...], asset: AssetClass, symbol: str) -> Rows:
    until = Millis(bars[-1].start + 10 * MINUTE)
    return score_rows(columns(bars, asset), POLICY, REGIME, canonical=symbol, until=until)


def raws(score: Score) -> list[float]:
    return [math.nan if layer.raw is None else layer.raw for layer in score.layers]


def compare(plain: Plain, views: tuple[MarketView, ...], chosen: range) -> tuple[int, int]:
    """Return how many scores agreed, and how many differed where an input was within 1e-9 of its threshold."""
    agreed = near = 0
    for t in chosen:
        for side, score in ((1, views[t].buy), (-1, views[t].sell)):
            expected, total = plain.score(t, side)
            got = math.nan if score.total is None else score.total
            if np.allclose((*raws(score), got), (*expected, total), rtol=0, atol=1e-9, equal_nan=True):
                agreed += 1
            else:
                assert plain.near, (t, side, raws(score), expected)
                near += 1
    return agreed, near


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_tapes_score_as_plain_python_says(name: str, tapes: dict[str, tuple[Bar, ...]]) -> None:
    _, symbol, asset = RECORDED[name]
    bars = tapes[name][:9_000]
    views = views_of(bars, asset, symbol)
    plain = Plain(bars, MarketHours(asset), symbol)
    agreed, near = compare(plain, views, range(3, len(views), 37))
    assert agreed >= 90
    assert near <= agreed // 50


@given(seed=st.integers(0, 10**6), asset=ASSETS, volumes=st.booleans(), sides=st.booleans())
@settings(max_examples=8)
def test_random_tapes_score_as_plain_python_says(seed: int, asset: AssetClass, volumes: bool, sides: bool) -> None:
    bars = random_bars(seed, 4_500, asset, volumes=volumes, sides=sides)
    views = views_of(bars, asset, "XAUUSD")
    plain = Plain(bars, MarketHours(asset), "XAUUSD")
    agreed, near = compare(plain, views, range(0, len(views), 41))
    assert agreed > 20
    assert near == 0


@given(seed=st.integers(0, 10**6), asset=ASSETS, volumes=st.booleans(), sides=st.booleans())
@settings(max_examples=12)
def test_a_folded_tape_gives_the_bits_of_a_streamed_one(
    seed: int, asset: AssetClass, volumes: bool, sides: bool
) -> None:
    bars = random_bars(seed, 2_500, asset, volumes=volumes, sides=sides)
    state = MarketState("gold", asset, POLICY, REGIME, canonical="XAUUSD")
    streamed: list[MarketView] = []
    for bar in bars:
        streamed += state.advance(bar.start)
        state.on_m1(bar)
    streamed += state.advance(Millis(bars[-1].start + 10 * MINUTE))
    rows = rows_of(bars, asset, "XAUUSD")
    assert len(rows) == len(streamed)
    for row, view in zip(rows, streamed, strict=True):
        assert row[Out.START] + 5 * MINUTE == view.at
        for block, score in ((Out.BUY, view.buy), (Out.SELL, view.sell)):
            numbers = [*raws(score), math.nan if score.total is None else score.total]
            folded = [*row[block : block + 6], row[block + Block.TOTAL]]
            assert np.array_equal(numbers, folded, equal_nan=True)


def digest(bars: tuple[Bar, ...], asset: AssetClass) -> str:
    return hashlib.sha256(rows_of(bars, asset, "XAUUSD").tobytes()).hexdigest()


def test_compiled_kernels_give_the_bits_of_plain_python() -> None:
    """The same tape, in a process where every kernel is a plain function and any warning is an error."""
    code = (
        "from tests.core_score.test_against_plain_python import *\n"
        "bars = random_bars(7, 4_000, AssetClass.METAL, volumes=True, sides=True)\n"
        "print(digest(bars, AssetClass.METAL))\n"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(root)}
    plain = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert digest(random_bars(7, 4_000, AssetClass.METAL, volumes=True, sides=True), AssetClass.METAL) == (
        plain.stdout.strip()
    )

"""ATR, RSI, EMA, MACD and Bollinger bands against TA-Lib on recorded bars, and against published worked vectors."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import talib
from tests.core_score.plain import Series, series_of
from tests.core_score.tapes import RECORDED

from dtms.core.indicators import ring_deviation, ring_mean, step_atr, step_ema, step_macd, step_rsi
from dtms.domain.market import Bar

Values = npt.NDArray[np.float64]


def columns(s: Series) -> tuple[Values, Values, Values]:
    return np.array(s.highs), np.array(s.lows), np.array(s.closes)


def ours_atr(high: Values, low: Values, close: Values) -> Values:
    state = np.zeros(4)
    return np.array([step_atr(state, 0, 14, *bar) for bar in zip(high, low, close, strict=True)])


def ours(step: Callable[..., float], size: int, close: Values, *periods: int) -> Values:
    state = np.zeros(size)
    return np.array([step(state, 0, *periods, x) for x in close])


def ours_bands(close: Values) -> tuple[Values, Values]:
    ring = np.zeros(64)
    middle, half = np.full(len(close), math.nan), np.full(len(close), math.nan)
    for i, x in enumerate(close):
        ring[i & 63] = x
        if i >= 19:
            middle[i] = ring_mean(ring, 0, 63, i + 1, 20)
            half[i] = 2 * ring_deviation(ring, 0, 63, i + 1, 20, middle[i])
    return middle, half


def assert_same(got: Values, reference: Values, price: Values) -> None:
    known = ~np.isnan(reference)
    assert np.array_equal(~np.isnan(got), known)
    allowed = 1e-9 * np.abs(reference[known]) + 1e-12 * price[known]
    assert np.all(np.abs(got[known] - reference[known]) <= allowed)


@pytest.mark.parametrize("minutes", [5, 15])
@pytest.mark.parametrize("name", RECORDED)
def test_indicators_are_those_of_talib_on_recorded_bars(
    name: str, minutes: int, tapes: dict[str, tuple[Bar, ...]]
) -> None:
    high, low, close = columns(series_of(tapes[name], minutes))
    assert_same(ours_atr(high, low, close), talib.ATR(high, low, close, 14), close)
    assert_same(ours(step_rsi, 4, close, 14), talib.RSI(close, 14), close)
    assert_same(ours(step_ema, 3, close, 50), talib.EMA(close, 50), close)
    assert_same(ours(step_ema, 3, close, 200), talib.EMA(close, 200), close)
    assert_same(ours(step_macd, 10, close, 12, 26, 9), talib.MACD(close, 12, 26, 9)[2], close)
    middle, half = ours_bands(close)
    upper, reference, lower = talib.BBANDS(close, 20, 2, 2)
    assert_same(middle, reference, close)
    assert_same(middle + half, upper, close)
    assert_same(middle - half, lower, close)


@pytest.mark.parametrize("name", RECORDED)
def test_bands_are_the_two_pass_deviation_of_numpy(name: str, tapes: dict[str, tuple[Bar, ...]]) -> None:
    _, _, close = columns(series_of(tapes[name], 15))
    windows = np.lib.stride_tricks.sliding_window_view(close, 20)
    assert_same(ours_bands(close)[1][19:], 2 * windows.std(axis=1), close[19:])


def worked(folder: Path, name: str, field: str) -> Values:
    rows = json.loads((folder / "indicators" / "skender" / "results" / f"{name}.standard.json").read_text())
    return np.array([math.nan if row[field] is None else row[field] for row in rows], dtype=np.float64)


def quotes(folder: Path) -> tuple[Values, Values, Values]:
    with (folder / "indicators" / "skender" / "quotes_default.csv").open() as file:
        rows = list(csv.DictReader(file))
    return tuple(np.array([float(row[name]) for row in rows]) for name in ("high", "low", "close"))  # type: ignore[return-value]


def test_worked_vectors_of_the_same_convention_are_met(shared_data: Path) -> None:
    high, low, close = quotes(shared_data)
    assert_same(ours_atr(high, low, close), worked(shared_data, "atr", "atr"), close)
    assert_same(ours(step_rsi, 4, close, 14), worked(shared_data, "rsi", "rsi"), close)
    assert_same(ours(step_ema, 3, close, 20), worked(shared_data, "ema", "ema"), close)
    middle, half = ours_bands(close)
    assert_same(middle, worked(shared_data, "bb", "sma"), close)
    assert_same(middle + half, worked(shared_data, "bb", "upperBand"), close)
    assert_same(middle - half, worked(shared_data, "bb", "lowerBand"), close)


def test_macd_meets_the_worked_vector_once_its_other_seeding_has_faded(shared_data: Path) -> None:
    _, _, close = quotes(shared_data)
    got, reference = ours(step_macd, 10, close, 12, 26, 9), worked(shared_data, "macd", "histogram")
    assert abs(got[33] - reference[33]) > 1e-3
    assert_same(got[250:], reference[250:], close[250:])


def test_rsi_of_a_market_that_never_moved_is_unavailable_where_talib_says_zero() -> None:
    flat = np.full(40, 1.25)
    assert talib.RSI(flat, 14)[20] == 0.0
    assert np.all(np.isnan(ours(step_rsi, 4, flat, 14)))


def test_macd_begins_with_talibs_first_value() -> None:
    close = np.cumsum(np.sin(np.arange(80.0))) + 100
    got = ours(step_macd, 10, close, 12, 26, 9)
    assert math.isnan(got[32])
    assert got[33] == talib.MACD(close, 12, 26, 9)[2][33]

"""The policy as the kernels read it: one array of doubles, indexed by `P`."""

from __future__ import annotations

from enum import IntEnum, auto
from itertools import product
from typing import Final

import numpy as np

from dtms.core._jit import Floats, kernel
from dtms.domain.policy.score import RegimePolicy, ScorePolicy
from dtms.domain.score import Layer, Session, Structure, Volatility

LAYERS: Final = tuple(Layer)
SESSIONS: Final = tuple(Session)
VOLATILITIES: Final = (Volatility.LOW, Volatility.NORMAL, Volatility.HIGH)
STRUCTURES: Final = (Structure.TREND, Structure.RANGE)
N_LAYERS: Final = 6
ASIAN: Final = 0
LOW: Final = 0
NORMAL: Final = 1
HIGH: Final = 2
TREND: Final = 0
RANGE: Final = 1
"""Codes in the kernels are places in these tuples."""


class P(IntEnum):
    """Parameters: blocks first, then one number a policy field of the same name.

    WEIGHTS is the sum of the six WEIGHT; ADAPTIVE has six factors for each of the eight regimes of `adaptive_row`.
    """

    BASE = 0
    WEIGHTS = 1
    WEIGHT = 2
    ADAPTIVE = 8
    SESSION = 56
    VOLATILITY = 62
    STRUCTURE = 65
    CLAMP_LOW = 67
    CLAMP_HIGH = auto()
    ATR_BARS = auto()
    ATR_MEAN_BARS = auto()
    LOW_RATIO = auto()
    HIGH_RATIO = auto()
    BOLLINGER_BARS = auto()
    BOLLINGER_DEVIATIONS = auto()
    WIDTH_BARS = auto()
    WIDTH_BARS_MIN = auto()
    WIDTH_PERCENTILE = auto()
    WIDTH_FRACTION = auto()
    AVAILABLE_SHARE = auto()
    STRUCTURE_BARS = auto()
    STRUCTURE_BREAK = auto()
    STRUCTURE_CHARACTER_ATR = auto()
    STRUCTURE_FADE_BARS = auto()
    STRUCTURE_WITH = auto()
    STRUCTURE_AGAINST = auto()
    STRUCTURE_CHARACTER = auto()
    VWAP_BARS_MIN = auto()
    VWAP_IMPULSE_BARS = auto()
    VWAP_RELEASE = auto()
    VWAP_FLIP_AGAINST = auto()
    VWAP_FLIP_WITH = auto()
    VWAP_SHARE_BARS = auto()
    VWAP_SHARE_HIGH = auto()
    VWAP_SHARE_HIGH_LOW_VOLATILITY = auto()
    VWAP_SHARE_MID = auto()
    VWAP_SHARE_LOW = auto()
    VWAP_SHARE_HIGH_RAW = auto()
    VWAP_SHARE_MID_RAW = auto()
    VWAP_SHARE_LOW_RAW = auto()
    RSI_BARS = auto()
    RSI_LAG = auto()
    RSI_WEAK = auto()
    RSI_WEAK_LOW_VOLATILITY = auto()
    RSI_STRETCHED = auto()
    RSI_SUPPORT = auto()
    RSI_WEAK_RAW = auto()
    RSI_STRETCHED_RAW = auto()
    RSI_SUPPORT_RAW = auto()
    MACD_FAST = auto()
    MACD_SLOW = auto()
    MACD_SIGNAL = auto()
    MACD_BARS = auto()
    MACD_RAW = auto()
    EMA_FAST = auto()
    EMA_SLOW = auto()
    EMA_SLOPE_BARS = auto()
    EMA_FAST_FLAT_ATR = auto()
    EMA_SLOW_FLAT_ATR = auto()
    EMA_BOTH_WITH = auto()
    EMA_FAST_AGAINST = auto()
    EMA_BOTH_AGAINST = auto()
    EMA_H1_BARS = auto()
    DELTA_BARS = auto()
    DELTA_BARS_MIN = auto()
    DELTA_Z = auto()
    DELTA_AGAINST = auto()
    DELTA_WITH = auto()
    CANDLE_BODY = auto()
    CANDLE_RANGE_ATR = auto()
    CANDLE_AGAINST_VWAP = auto()
    CANDLE_AGAINST = auto()
    CANDLE_WITH = auto()
    CANDLE_WITH_VWAP = auto()
    ASIAN_FACTOR = auto()
    SQUEEZE_BARS = auto()
    SQUEEZE_ATR = auto()
    EXTENSION_BARS = auto()
    EXTENSION_BARS_MIN = auto()
    EXTENSION_PERCENTILE = auto()
    CONFLUENCE_SHARE = auto()
    CONFLUENCE_MIN = auto()


@kernel("i8(i8, f8, f8)")
def adaptive_row(ranging: int, volatility: float, session: float) -> int:
    """Return where the adaptive factors of a regime begin, behind `P.ADAPTIVE`."""
    row = 0
    if ranging == RANGE:
        row += 4
    if volatility == HIGH:
        row += 2
    if session == ASIAN:
        row += 1
    return row * N_LAYERS


def parameters(score: ScorePolicy, regime: RegimePolicy, canonical: str) -> Floats:
    """Return the parameters of one symbol as the kernels read them, indexed by `P`."""
    p = np.zeros(max(P) + 1, dtype=np.float64)
    base = regime.base(canonical)
    p[P.BASE] = regime.base_other if base is None else base
    for i, layer in enumerate(LAYERS):
        p[P.WEIGHT + i] = score.weight(layer)
        for ranging, high, asian in product((False, True), repeat=3):
            row = adaptive_row(RANGE if ranging else TREND, HIGH if high else NORMAL, ASIAN if asian else ASIAN + 1)
            p[P.ADAPTIVE + row + i] = score.adaptive(layer, ranging=ranging, high=high, asian=asian)
    p[P.WEIGHTS] = sum(score.weight(layer) for layer in LAYERS)
    for i, session in enumerate(SESSIONS):
        p[P.SESSION + i] = regime.session_factor(session)
    for i, volatility in enumerate(VOLATILITIES):
        p[P.VOLATILITY + i] = regime.volatility_factor(volatility)
    for i, structure in enumerate(STRUCTURES):
        p[P.STRUCTURE + i] = regime.structure_factor(structure)
    for field in P:
        if field >= P.CLAMP_LOW:
            name = field.name.lower()
            p[field] = getattr(score, name) if hasattr(score, name) else getattr(regime, name)
    return p

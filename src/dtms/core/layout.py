"""Where each number lives in the kernels' arrays: states and output row (parameters: `params`).

One array of doubles a timeframe, because Numba passes arrays cheaply and records dearly. Integers are stored as
doubles, exact to 2**53. Rings have fixed capacities; how much of one is used is a parameter.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np

from dtms.core._jit import Floats
from dtms.core.params import NORMAL, P
from dtms.domain.score import Layer

LAYOUT_VERSION: Final = 1
"""Grows with every change of this file that moves or redefines a number in a saved state."""


class S5(IntEnum):
    """State on M5: ATR, the session day's sums, what the last bar says to both sides, and rings of its bars."""

    COUNT = 0
    ATR = 1
    DAY = 5
    DAY_BARS = 6
    SUM_PRICE_VOLUME = 7
    SUM_VOLUME = 8
    SUM_PRICE = 9
    BARS_WITHOUT_VOLUME = 10
    LAST_START = 11
    SIGNED_COUNT = 12
    VWAP = 13
    LAST_SIDE = 14
    WEIGHTED = 15
    FLIP_UP = 16
    FLIP_DOWN = 17
    SELLERS_SHARE = 18
    SIGNED_Z = 19
    TYPICALS = 20
    UPS = 28
    DOWNS = 92
    SIGNED = 156
    FLIPS = 668
    SIZE = 2588


class Flip(IntEnum):
    """One bar of the session day as the flip rule reads it; `S5.FLIPS` is a ring of these.

    IMPULSE is in price units. SIDE is +1 above VWAP, -1 below, 0 on it or without one; RUNNING is 1 where the bar before
    was on the same side. The threshold, a fraction, is IF_RANGE where WIDTH is under the fixed share of the evaluated
    close, else IF_TREND; where the regime was known already, WIDTH is infinite and IF_TREND is the threshold.
    """

    IMPULSE = 0
    SIDE = 1
    RUNNING = 2
    WIDTH = 3
    IF_TREND = 4
    IF_RANGE = 5
    SIZE = 6


class S15(IntEnum):
    """State on M15: indicators, regime, swings, the forming bar, rings of the last bars, then the two ranked windows.

    MOMENTUM and EMA are `Reading` pairs: what hangs on M15 bars alone is worked out once an M15 bar.
    """

    COUNT = 0
    ATR = 1
    RSI = 5
    FAST = 9
    SLOW = 12
    MACD = 15
    KELTNER_EMA = 25
    KELTNER_ATR = 28
    VOLATILITY = 32
    RANGING = 33
    WIDTH = 34
    SQUEEZE = 35
    EXTENSION = 36
    EXTENSION_RANK = 37
    SWINGS_UP = 38
    SWINGS_DOWN = 46
    PART_START = 54
    PART_HIGH = 55
    PART_LOW = 56
    PART_CLOSE = 57
    LAST_END = 58
    EVENT_COUNT = 59
    ATR_NOW = 60
    FAST_SLOPE = 61
    SLOW_SLOPE = 62
    MOMENTUM = 64
    EMA = 68
    HIGHS = 72
    LOWS = 136
    CLOSES = 200
    FASTS = 264
    SLOWS = 328
    ATRS = 392
    RSIS = 520
    HISTOGRAMS = 528
    EVENTS = 536
    WIDTHS = 824


class Reading(IntEnum):
    """A layer's raw value and branches for a BUY, then for a SELL."""

    BUY = 0
    BUY_BITS = 1
    SELL = 2
    SELL_BITS = 3


class Swings(IntEnum):
    """The last two confirmed swings of one direction, in price times direction, so that both directions are highs.

    BEST_CLOSE is the most extreme close since the later one counts, CHANGED is 1 once it changed the character.
    """

    EARLIER_INDEX = 0
    EARLIER = 1
    LATER_INDEX = 2
    LATER = 3
    BEST_CLOSE = 4
    CHANGED = 5
    SIZE = 8


class Event(IntEnum):
    """One M15 bar that was beyond the last swing of a direction; `S15.EVENTS` is a ring of these.

    BAR is its number; UP and DOWN are one `Beyond` each.
    """

    BAR = 0
    UP = 1
    DOWN = 5
    SIZE = 9


class Beyond(IntEnum):
    """How far a close was beyond the last swing, in price times direction; -inf where there is no swing.

    BEFORE is the same of the best close between that swing and this bar. CHANGES is 1 where the bar is the first so far
    beyond that the character changes, SPENT where an earlier one was.
    """

    BY = 0
    BEFORE = 1
    CHANGES = 2
    SPENT = 3


class H1(IntEnum):
    """State on H1: the forming bar and one EMA."""

    PART_START = 0
    PART_CLOSE = 1
    EMA = 2
    PREVIOUS = 5
    SIZE = 6


class Out(IntEnum):
    """The output row of one M5 bar; NaN says unavailable."""

    CLOSE = 0
    ATR_M5 = 1
    ATR_M15 = 2
    SQUEEZE = 3
    EXTENSION = 4
    EXTENSION_RANK = 5
    FAST_SLOPE = 6
    SLOW_SLOPE = 7
    H1_SLOPE = 8
    VWAP = 9
    SESSION = 10
    VOLATILITY = 11
    RANGING = 12
    THRESHOLD = 13
    EVENTS = 14
    START = 15
    ADAPTIVE = 16
    BUY = 22
    SELL = 38
    SIZE = 54


class Block(IntEnum):
    """One side's part of the output row. BITS are the branches that fired, numbered as in `BRANCHES`."""

    RAW = 0
    BITS = 6
    TOTAL = 12
    CONFLUENCE = 13
    FLIP_AGAINST = 14
    SHARE_HIGH = 15
    SIZE = 16


BAR_RING: Final = 64
ATR_RING: Final = 128
SHORT_RING: Final = 8
EVENT_RING: Final = 32
DAY_RING: Final = 320
"""At least the M5 bars of the longest session day: 25 hours where clocks go back."""
SIGNED_RING: Final = 512

BREAK_UP: Final = 1
BREAK_DOWN: Final = 2
CHARACTER_UP: Final = 4
CHARACTER_DOWN: Final = 8

BRANCHES: Final[dict[Layer, tuple[str, ...]]] = {
    Layer.STRUCTURE: ("break_with", "break_against", "character_against"),
    Layer.VWAP: (
        "flip_against",
        "flip_with",
        "share_over_65",
        "share_over_55",
        "share_under_35",
        "twap",
    ),
    Layer.MOMENTUM: ("rsi_weak", "rsi_stretched", "rsi_support", "macd_with", "macd_against"),
    Layer.EMA: ("ema_both_with", "ema50_against", "ema_both_against"),
    Layer.DELTA: ("delta_with", "delta_against"),
    Layer.CANDLE: ("candle_against_vwap", "candle_against", "candle_with", "candle_with_vwap"),
}
"""Every branch of every layer's rule; bit n of a layer's BITS is its n-th name. `twap` says that bars weigh 1."""


def m5_state() -> Floats:
    """Return the M5 state of a symbol without bars."""
    state = np.zeros(S5.SIZE, dtype=np.float64)
    state[S5.DAY] = state[S5.LAST_START] = -1.0
    return state


def m15_state(p: Floats) -> Floats:
    """Return the M15 state of a symbol without bars; its size depends on the policy's windows."""
    size = int(extension_offset(p)) + 1 + 2 * int(p[P.EXTENSION_BARS])
    state = np.zeros(size, dtype=np.float64)
    state[S15.VOLATILITY] = NORMAL
    unknown = (S15.SQUEEZE, S15.EXTENSION, S15.EXTENSION_RANK, S15.ATR_NOW, S15.FAST_SLOPE, S15.SLOW_SLOPE)
    for field in unknown:
        state[field] = np.nan
    for reading in (S15.MOMENTUM, S15.EMA):
        state[reading + Reading.BUY] = state[reading + Reading.SELL] = np.nan
    state[S15.WIDTH] = np.inf
    for swings in (S15.SWINGS_UP, S15.SWINGS_DOWN):
        state[swings + Swings.EARLIER_INDEX] = state[swings + Swings.LATER_INDEX] = -1.0
    state[S15.PART_START] = state[S15.LAST_END] = -1.0
    return state


def h1_state() -> Floats:
    """Return the H1 state of a symbol without bars."""
    state = np.zeros(H1.SIZE, dtype=np.float64)
    state[H1.PART_START] = -1.0
    state[H1.EMA + 2] = state[H1.PREVIOUS] = np.nan
    return state


def extension_offset(p: Floats) -> int:
    """Return where the extension window begins, behind the width window."""
    return int(S15.WIDTHS + 1 + 2 * p[P.WIDTH_BARS])

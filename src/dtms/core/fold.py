"""The fused kernels: one closed M5 bar in, one output row out; and the same folded over a whole tape.

Live calls `step_bar` once a bar, replay folds it: one arithmetic. M15 and H1 bars are built here from M5 bars. One that
ends with the M5 bar is closed before that bar is evaluated; one whose last M5 bars never came is closed when the next
M5 bar lies behind it, which no evaluation in between could have seen. Bars are aligned to UTC multiples.
"""

from __future__ import annotations

import math
from typing import Final

from dtms.core._jit import Floats, kernel
from dtms.core.indicators import step_atr, step_ema, step_macd, step_rsi
from dtms.core.layers import step_flow
from dtms.core.layout import BAR_RING, DAY_RING, H1, S5, S15, SHORT_RING, Flip, Out
from dtms.core.params import N_LAYERS, RANGE, TREND, P, adaptive_row
from dtms.core.regime import impulse_threshold, is_range, step_bands, step_volatility
from dtms.core.scoring import score_side
from dtms.core.structure import step_structure, structure_events
from dtms.core.trend import step_trend
from dtms.core.windows import percentile, push_ranked

M1_MS: Final = 60_000
M5_MS: Final = 300_000
M15_MS: Final = 900_000
H1_MS: Final = 3_600_000
HOUR_MS: Final = 3_600_000
RUNNING_MS: Final = 2 * M5_MS
"""Ends of consecutive bars at most two timeframes apart are running; within a session day all time is open time."""


@kernel("void(f8[::1], f8[::1], f8, f8, f8)")
def step_m15(s: Floats, p: Floats, high: float, low: float, close: float) -> None:
    """Take one closed M15 bar."""
    bar = int(s[S15.COUNT])
    s[S15.COUNT] = bar + 1
    ring = bar & (BAR_RING - 1)
    short = bar & (SHORT_RING - 1)
    s[S15.HIGHS + ring] = high
    s[S15.LOWS + ring] = low
    s[S15.CLOSES + ring] = close
    atr = step_atr(s, S15.ATR, int(p[P.ATR_BARS]), high, low, close)
    slow = step_ema(s, S15.SLOW, int(p[P.EMA_SLOW]), close)
    s[S15.FASTS + ring] = step_ema(s, S15.FAST, int(p[P.EMA_FAST]), close)
    s[S15.SLOWS + ring] = slow
    s[S15.RSIS + short] = step_rsi(s, S15.RSI, int(p[P.RSI_BARS]), close)
    s[S15.HISTOGRAMS + short] = step_macd(
        s, S15.MACD, int(p[P.MACD_FAST]), int(p[P.MACD_SLOW]), int(p[P.MACD_SIGNAL]), close
    )
    step_volatility(s, p, atr)
    step_bands(s, p, high, low, close)
    step_structure(s, p, close, atr)
    s[S15.ATR_NOW] = atr
    step_trend(s, p)
    s[S15.EXTENSION] = math.nan
    if atr > 0.0 and not math.isnan(slow):
        extension = (close - slow) / atr
        s[S15.EXTENSION] = extension
        capacity = int(p[P.EXTENSION_BARS])
        at = S15.WIDTHS + 1 + 2 * int(p[P.WIDTH_BARS])
        known = push_ranked(s, at, capacity, abs(extension))
        if known >= int(p[P.EXTENSION_BARS_MIN]):
            s[S15.EXTENSION_RANK] = percentile(s, at, capacity, known, p[P.EXTENSION_PERCENTILE])


@kernel("void(f8[::1], f8[::1], f8)")
def step_h1(s: Floats, p: Floats, close: float) -> None:
    """Take one closed H1 bar."""
    period = int(p[P.EMA_H1_BARS])
    s[H1.PREVIOUS] = s[H1.EMA + 2] if s[H1.EMA] >= period else math.nan
    step_ema(s, H1.EMA, period, close)


@kernel("void(f8[::1], f8[::1], f8[::1], f8)")
def _close_behind(s15: Floats, sh: Floats, p: Floats, start: float) -> None:
    """Close the forming M15 and H1 bars that end at or before `start`."""
    if s15[S15.PART_START] >= 0.0 and s15[S15.PART_START] + M15_MS <= start:
        s15[S15.LAST_END] = s15[S15.PART_START] + M15_MS
        s15[S15.PART_START] = -1.0
        step_m15(s15, p, s15[S15.PART_HIGH], s15[S15.PART_LOW], s15[S15.PART_CLOSE])
    if sh[H1.PART_START] >= 0.0 and sh[H1.PART_START] + H1_MS <= start:
        sh[H1.PART_START] = -1.0
        step_h1(sh, p, sh[H1.PART_CLOSE])


@kernel("void(f8[::1], f8[::1], f8[::1], f8, f8, f8, f8)")
def _grow(s15: Floats, sh: Floats, p: Floats, start: float, high: float, low: float, close: float) -> None:
    """Put an M5 bar into the forming M15 and H1 bars, and close those that end with it."""
    _close_behind(s15, sh, p, start)
    if s15[S15.PART_START] < 0.0:
        s15[S15.PART_START] = int(start) // M15_MS * M15_MS
        s15[S15.PART_HIGH] = high
        s15[S15.PART_LOW] = low
    s15[S15.PART_HIGH] = max(s15[S15.PART_HIGH], high)
    s15[S15.PART_LOW] = min(s15[S15.PART_LOW], low)
    s15[S15.PART_CLOSE] = close
    if sh[H1.PART_START] < 0.0:
        sh[H1.PART_START] = int(start) // H1_MS * H1_MS
    sh[H1.PART_CLOSE] = close
    _close_behind(s15, sh, p, start + M5_MS)


@kernel("void(f8[::1], f8[::1], f8, f8, f8, f8, f8)")
def _step_day(s: Floats, p: Floats, day: float, open_: float, close: float, typical: float, volume: float) -> None:
    """Put an M5 bar into the session day: VWAP (or the plain mean of typical prices) and the volume of either side."""
    bar = int(s[S5.COUNT]) - 1
    if s[S5.DAY] != day:
        s[S5.DAY] = day
        s[S5.DAY_BARS] = 0.0
        s[S5.SUM_PRICE_VOLUME] = 0.0
        s[S5.SUM_VOLUME] = 0.0
        s[S5.SUM_PRICE] = 0.0
        s[S5.BARS_WITHOUT_VOLUME] = 0.0
        s[S5.LAST_SIDE] = 0.0
    s[S5.DAY_BARS] += 1.0
    s[S5.SUM_PRICE] += typical
    if math.isnan(volume):
        s[S5.BARS_WITHOUT_VOLUME] += 1.0
    else:
        s[S5.SUM_VOLUME] += volume
        s[S5.SUM_PRICE_VOLUME] += typical * volume
    ring = bar & (BAR_RING - 1)
    up = 0.5
    if close > open_:
        up = 1.0
    elif close < open_:
        up = 0.0
    s[S5.UPS + ring] = up * volume
    s[S5.DOWNS + ring] = (1.0 - up) * volume
    s[S5.WEIGHTED] = 0.0
    s[S5.VWAP] = math.nan
    if s[S5.DAY_BARS] > p[P.VWAP_BARS_MIN]:
        s[S5.VWAP] = s[S5.SUM_PRICE] / s[S5.DAY_BARS]
        if s[S5.BARS_WITHOUT_VOLUME] == 0.0 and s[S5.SUM_VOLUME] > 0.0:
            s[S5.WEIGHTED] = 1.0
            s[S5.VWAP] = s[S5.SUM_PRICE_VOLUME] / s[S5.SUM_VOLUME]


@kernel("void(f8[::1], f8[::1], f8[::1], f8, f8, f8, f8)")
def _step_flip(s: Floats, s15: Floats, p: Floats, start: float, session: float, close: float, typical: float) -> None:
    """Keep what the flip rule will ask of this bar."""
    bar = int(s[S5.COUNT]) - 1
    lag = int(p[P.VWAP_IMPULSE_BARS])
    at = S5.FLIPS + Flip.SIZE * (bar % DAY_RING)
    s[at + Flip.IMPULSE] = 0.0
    if bar >= lag:
        s[at + Flip.IMPULSE] = typical - s[S5.TYPICALS + ((bar - lag) & (SHORT_RING - 1))]
    s[S5.TYPICALS + (bar & (SHORT_RING - 1))] = typical
    side = 0.0
    if close > s[S5.VWAP]:
        side = 1.0
    elif close < s[S5.VWAP]:
        side = -1.0
    running = side != 0.0 and side == s[S5.LAST_SIDE] and start - s[S5.LAST_START] <= RUNNING_MS
    s[at + Flip.SIDE] = side
    s[at + Flip.RUNNING] = 1.0 if running else 0.0
    s[S5.LAST_SIDE] = side
    volatility = s15[S15.VOLATILITY]
    ranging = RANGE if s15[S15.RANGING] == RANGE else TREND
    s[at + Flip.WIDTH] = s15[S15.WIDTH]
    s[at + Flip.IF_TREND] = impulse_threshold(p, session, volatility, ranging)
    s[at + Flip.IF_RANGE] = impulse_threshold(p, session, volatility, RANGE)


@kernel("void(f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8, f8, f8, f8, f8, f8, f8, f8, f8, f8)")
def step_bar(
    s5: Floats,
    s15: Floats,
    sh: Floats,
    p: Floats,
    out: Floats,
    start: float,
    day: float,
    session: float,
    open_: float,
    high: float,
    low: float,
    close: float,
    volume: float,
    buys: float,
    sells: float,
) -> None:
    """Take one closed M5 bar and write its output row.

    `s5`, `s15` and `sh` are the states on M5, M15 and H1, changed in place; `p` the parameters (`params.P`); `out` the row
    (`layout.Out`). `start` is the bar's start, after that of the bar before, and `day` the start of its session day, both
    milliseconds UTC; `session` the place in `params.SESSIONS`. `volume`, and the aggressors' `buys` and `sells`, are NaN
    where the tape has none.
    """
    _grow(s15, sh, p, start, high, low, close)
    s5[S5.COUNT] += 1.0
    typical = (high + low + close) / 3.0
    out[Out.ATR_M5] = step_atr(s5, S5.ATR, int(p[P.ATR_BARS]), high, low, close)
    _step_day(s5, p, day, open_, close, typical, volume)
    _step_flip(s5, s15, p, start, session, close, typical)
    step_flow(s5, p, close, buys - sells)
    s5[S5.LAST_START] = start
    volatility = s15[S15.VOLATILITY]
    ranging = RANGE if is_range(s15, p, close) else TREND
    out[Out.START] = start
    out[Out.CLOSE] = close
    out[Out.ATR_M15] = s15[S15.ATR_NOW]
    out[Out.SQUEEZE] = s15[S15.SQUEEZE]
    out[Out.EXTENSION] = s15[S15.EXTENSION]
    out[Out.EXTENSION_RANK] = s15[S15.EXTENSION_RANK]
    out[Out.FAST_SLOPE] = s15[S15.FAST_SLOPE]
    out[Out.SLOW_SLOPE] = s15[S15.SLOW_SLOPE]
    out[Out.H1_SLOPE] = sh[H1.EMA + 2] - sh[H1.PREVIOUS] if sh[H1.EMA] > p[P.EMA_H1_BARS] else math.nan
    out[Out.VWAP] = s5[S5.VWAP]
    out[Out.SESSION] = session
    out[Out.VOLATILITY] = volatility
    out[Out.RANGING] = ranging
    out[Out.THRESHOLD] = impulse_threshold(p, session, volatility, ranging)
    out[Out.EVENTS] = structure_events(s15, p, close) if s15[S15.LAST_END] == start + M5_MS else 0
    row = P.ADAPTIVE + adaptive_row(ranging, volatility, session)
    for i in range(N_LAYERS):
        out[Out.ADAPTIVE + i] = p[row + i]
    score_side(s5, s15, p, out, 1.0, open_, high - low, close, Out.BUY)
    score_side(s5, s15, p, out, -1.0, open_, high - low, close, Out.SELL)

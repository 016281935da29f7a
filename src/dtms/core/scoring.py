"""Kernels that make the score of both sides out of layers, weights and adaptive factors."""

from __future__ import annotations

import math
from typing import Final

from dtms.core._jit import Floats, kernel
from dtms.core.layers import candle_raw, delta_raw, vwap_raw
from dtms.core.layout import S5, S15, Block, Out, Reading
from dtms.core.params import N_LAYERS, P
from dtms.core.structure import structure_raw

_GRID: Final = 1e9
"""A total is a multiple of one part in this many."""
SUPPORTIVE: Final = 0
ADVERSE: Final = 1
MIXED: Final = 2
NEUTRAL: Final = 3


@kernel("void(f8[::1], f8[::1], i8)")
def add_up(p: Floats, out: Floats, block: int) -> None:
    """Write a side's total and confluence from its raw values; the total is NaN where too little is available."""
    available = 0.0
    positive = 0.0
    negative = 0.0
    for i in range(N_LAYERS):
        raw = out[block + Block.RAW + i]
        if math.isnan(raw):
            continue
        weight = p[P.WEIGHT + i]
        available += weight
        part = raw * weight * out[Out.ADAPTIVE + i]
        positive += max(part, 0.0)
        negative += max(-part, 0.0)
    # Rounded, so that parts which add up to a threshold do so whatever their order.
    total = math.floor((positive - negative) * _GRID + 0.5) / _GRID
    out[block + Block.TOTAL] = total if available >= p[P.AVAILABLE_SHARE] * p[P.WEIGHTS] else math.nan
    both = positive + negative
    confluence = MIXED
    if both < p[P.CONFLUENCE_MIN] or both <= 0.0:
        confluence = NEUTRAL
    elif max(positive, negative) >= p[P.CONFLUENCE_SHARE] * both:
        confluence = SUPPORTIVE if positive > negative else ADVERSE
    out[block + Block.CONFLUENCE] = confluence


@kernel("void(f8[::1], f8[::1], f8[::1], f8[::1], f8, f8, f8, f8, i8)")
def score_side(
    s5: Floats, s15: Floats, p: Floats, out: Floats, side: float, open_: float, span: float, close: float, block: int
) -> None:
    """Write one side's block of the output row; everything both sides share is in the row or the states already."""
    raw = block + Block.RAW
    bits = block + Block.BITS
    reading = Reading.BUY if side > 0.0 else Reading.SELL
    vwap = out[Out.VWAP]
    out[raw] = structure_raw(s15, p, side, close, out, bits)
    out[raw + 1] = vwap_raw(s5, p, out[Out.VOLATILITY], side, out, block)
    out[raw + 2] = s15[S15.MOMENTUM + reading]
    out[bits + 2] = s15[S15.MOMENTUM + reading + 1]
    out[raw + 3] = s15[S15.EMA + reading]
    out[bits + 3] = s15[S15.EMA + reading + 1]
    out[raw + 4] = delta_raw(p, side * s5[S5.SIGNED_Z], out, bits + 4)
    out[raw + 5] = candle_raw(
        p, side * (close - open_), span, side * (open_ - vwap), side * (close - vwap), out[Out.ATR_M5], out, bits + 5
    )
    add_up(p, out, block)

"""A whole tape of M1 bars folded through the same kernels that live calls once a bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dtms.core._jit import Floats, kernel
from dtms.core.bars import session_table
from dtms.core.fold import HOUR_MS, M1_MS, M5_MS, step_bar
from dtms.core.layout import Out, h1_state, m5_state, m15_state
from dtms.core.params import parameters
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import AssetClass
from dtms.domain.market import Bar
from dtms.domain.policy.score import RegimePolicy, ScorePolicy
from dtms.domain.units import Millis

Rows = npt.NDArray[np.float64]
"""Two dimensions: one row a bar."""

COLUMNS: Final = 8
"""Start, open, high, low, close, volume, bought, sold; volumes NaN where there are none."""


@kernel("i8(f8[:,::1], f8[::1], f8[::1], f8, f8[::1], f8[::1], f8[::1], f8[::1], f8[:,::1])")
def fold_m1(
    m1: Rows,
    days: Floats,
    sessions: Floats,
    until: float,
    s5: Floats,
    s15: Floats,
    sh: Floats,
    p: Floats,
    rows: Rows,
) -> int:
    """Build M5 bars from M1 bars and write one output row for each that ends at or before `until`.

    `m1` has the shape (n, COLUMNS), n >= 1, strictly ascending. `days` and `sessions` hold session day and session of every
    hour from that of the first bar on. `until` is in milliseconds UTC. `s5`, `s15` and `sh` are the states, changed in
    place. `rows` has room for one row a M5 bar, indexed by `layout.Out`; returned is how many were written.
    """
    count = m1.shape[0]
    first_hour = int(m1[0, 0]) // HOUR_MS
    written = 0
    i = 0
    while i < count:
        start = int(m1[i, 0]) // M5_MS * M5_MS
        if start + M5_MS > until:
            break
        open_ = m1[i, 1]
        high = m1[i, 2]
        low = m1[i, 3]
        close = m1[i, 4]
        volume = m1[i, 5]
        buys = m1[i, 6]
        sells = m1[i, 7]
        i += 1
        while i < count and m1[i, 0] < start + M5_MS:
            high = max(high, m1[i, 2])
            low = min(low, m1[i, 3])
            close = m1[i, 4]
            volume += m1[i, 5]
            buys += m1[i, 6]
            sells += m1[i, 7]
            i += 1
        hour = start // HOUR_MS - first_hour
        step_bar(
            s5,
            s15,
            sh,
            p,
            rows[written],
            start,
            days[hour],
            sessions[hour],
            open_,
            high,
            low,
            close,
            volume,
            buys,
            sells,
        )
        written += 1
    return written


class Columns(NamedTuple):
    """A tape as the fold reads it."""

    m1: Rows
    days: Floats
    sessions: Floats


def columns(bars: Sequence[Bar], asset: AssetClass) -> Columns:
    """Return M1 bars, ascending and at least one, as the fold's arrays."""
    m1 = np.array(
        [
            (b.start, b.open, b.high, b.low, b.close, _nan(b.volume), _nan(b.buy_volume), _nan(b.sell_volume))
            for b in bars
        ],
        dtype=np.float64,
    ).reshape(-1, COLUMNS)
    days, sessions = session_table(MarketHours(asset), bars[0].start, bars[-1].start)
    return Columns(m1, days, sessions)


def score_rows(
    tape: Columns, policy: ScorePolicy, regime: RegimePolicy, *, canonical: str, until: Millis | None = None
) -> Rows:
    """Return the output row of every M5 bar of a tape, indexed by `layout.Out`.

    The last M5 bar counts only if it ended at or before `until`; None says that the tape ends with its last M1 bar.
    """
    p = parameters(policy, regime, canonical)
    end = tape.m1[-1, 0] + M1_MS if until is None else float(until)
    spanned = int(tape.m1[-1, 0] - tape.m1[0, 0]) // M5_MS + 2
    rows = np.empty((min(len(tape.m1), spanned), Out.SIZE), dtype=np.float64)
    written = fold_m1(tape.m1, tape.days, tape.sessions, end, m5_state(), m15_state(p), h1_state(), p, rows)
    return rows[:written]


def _nan(volume: float | None) -> float:
    return math.nan if volume is None else volume

"""Selections of bars and ticks, as the package's copy functions name them; dates are server seconds."""

from __future__ import annotations

import numpy as np

from dtms.domain.units import SECOND
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.history import TICKS_DTYPE, Rates, RateStore
from dtms_lab.terminal.server_time import ServerOffset

_QUOTE_FLAGS = Mt5.TICK_FLAG_BID | Mt5.TICK_FLAG_ASK


def rates_from(bars: Rates, date: float, count: int) -> Rates:
    """Return at most `count` bars that opened at `date` or before, oldest first."""
    end = int(np.searchsorted(bars["time"], int(date), side="right"))
    return bars[max(0, end - count) : end].copy()


def rates_from_pos(bars: Rates, start: int, count: int) -> Rates:
    """Return at most `count` bars that end `start` bars before the newest, oldest first; 0 is the running bar."""
    end = max(0, len(bars) - start)
    return bars[max(0, end - count) : end].copy()


def rates_range(bars: Rates, first: float, last: float) -> Rates:
    """Return the bars that opened in [first, last]."""
    start = int(np.searchsorted(bars["time"], int(np.ceil(first)), side="left"))
    end = int(np.searchsorted(bars["time"], int(last), side="right"))
    return bars[start : max(start, end)].copy()


def ticks(
    store: RateStore, offset: ServerOffset, *, first: float, last: float | None, count: int | None, flags: int
) -> Rates:
    """Return ticks from `first` on, up to `last` or `count`; every tick here is a change of bid or ask, none a trade."""
    found: list[tuple[int, float, float, float, int, int, int, float]] = []
    if flags != Mt5.COPY_TICKS_TRADE:
        from_ms = round(first * SECOND)
        to_ms = None if last is None else round(last * SECOND)
        for at, bid, ask in store.ticks:
            shown = at + offset(at)
            if shown < from_ms:
                continue
            if (to_ms is not None and shown > to_ms) or (count is not None and len(found) >= count):
                break
            found.append((shown // SECOND, bid, ask, 0.0, 0, shown, _QUOTE_FLAGS, 0.0))
    return np.array(found, dtype=TICKS_DTYPE)

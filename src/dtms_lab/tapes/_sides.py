"""Quotes of which a row tells one side only, as MetaTrader writes them: the other side is the last one told."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from dtms_lab.tapes._defects import defect
from dtms_lab.tapes._remarks import Remarks

if TYPE_CHECKING:
    from dtms_lab.tapes._rows import Rows


def carried(path: Path, rows: Rows, remarks: Remarks) -> Rows:
    """Return the rows with both sides in each: a missing side is carried forward, and it is said how many were.

    Rows before both sides were told once are left out, and rows whose carried side would lie on the wrong side of the told
    one: the market moved, and the row that says where to is the next.

    Raises:
        SettingsError: No row is left.
    """
    kept: list[int] = []
    bids: list[tuple[float, ...]] = []
    asks: list[tuple[float, ...]] = []
    bid = ask = math.nan
    one_sided = early = crossed = 0
    for i, ((new_bid,), (new_ask,)) in enumerate(zip(rows.bids, rows.asks, strict=True)):
        half = math.isnan(new_bid) or math.isnan(new_ask)
        bid, ask = (bid if math.isnan(new_bid) else new_bid), (ask if math.isnan(new_ask) else new_ask)
        if math.isnan(bid) or math.isnan(ask):
            early += 1
            continue
        if half and ask < bid:
            crossed += 1
            continue
        one_sided += half
        kept.append(i)
        bids.append((bid,))
        asks.append((ask,))
    if not kept:
        raise defect(path, None, "no row follows in which both bid and ask are known", "export both sides")
    if one_sided or early or crossed:
        remarks.note(
            f"{one_sided} rows tell one side of the quote only: the other is carried forward; {early} before both were known "
            f"and {crossed} that crossed the carried side were left out"
        )
    rows.lines = [rows.lines[i] for i in kept]
    rows.times = [rows.times[i] for i in kept]
    rows.bids, rows.asks = bids, asks
    for times in rows.others.values():
        times.values[:] = [times.values[i] for i in kept]
    return rows

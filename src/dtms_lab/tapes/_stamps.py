"""Which end of a bar its time is, and bars of a closed market that an exporter made up."""

from __future__ import annotations

from typing import Final

from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import AssetClass
from dtms.domain.market import Timeframe
from dtms.domain.units import Millis
from dtms_lab.tapes._layout import Layout
from dtms_lab.tapes._remarks import Remarks
from dtms_lab.tapes._rows import Rows

_ALMOST: Final = 1
"""Milliseconds by which an exporter's last instant of a bar falls short of the next bar's start."""


def stamped_at_start(rows: Rows, layout: Layout, timeframe: Timeframe, remarks: Remarks) -> None:
    """Move rows that bear their bar's end to its start, where the format or a column says so."""
    frame = timeframe.value
    if layout.form.stamps_end or layout.close_time == layout.time:
        rows.times = [_round(at) - frame for at in rows.times]
        remarks.note(f"times are the ends of the bars; each was moved to its start, {timeframe.name} before")
    elif layout.form.name == "Nautilus" and rows.ends == rows.times:
        rows.times = [at - frame for at in rows.times]
        remarks.doubt(
            "bar_stamp",
            f"ts_event and ts_init are equal: by Nautilus's convention both are the bar's end, so each was moved {timeframe.name} "
            "before; name the column of the start with --columns time=... where that is wrong",
        )


def _round(at: int) -> int:
    """Return the end that 59.999 s stands for."""
    return at + _ALMOST if at % 1_000 == 999 else at  # noqa: PLR2004 - the last millisecond of a second


def leave_dead_weekends(rows: Rows, utc: list[Millis], asset: AssetClass, remarks: Remarks) -> list[Millis]:
    """Leave out rows of a closed market in which nothing moved: some exporters fill weekends so; return the others' instants."""
    if not rows.volumes or MarketHours(asset).never_closes:
        return utc
    hours = MarketHours(asset)
    still = [min(prices) == max(prices) and not volume for prices, volume in zip(rows.bids, rows.volumes, strict=True)]
    if not any(still) or not any(rows.volumes):
        return utc
    keep = [not (dead and not hours.is_open(at)) for dead, at in zip(still, utc, strict=True)]
    left = keep.count(False)
    if not left or not any(keep):
        return utc
    remarks.note(f"{left} bars of a closed market, without volume or movement, were left out")
    for name in ("lines", "times", "bids", "asks", "volumes", "buys", "sells", "spreads"):
        cells = getattr(rows, name)
        if cells:
            setattr(rows, name, [cell for cell, kept in zip(cells, keep, strict=True) if kept])
    return [at for at, kept in zip(utc, keep, strict=True) if kept]

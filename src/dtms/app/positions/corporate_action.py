"""Tells a position that the broker itself has rewritten: a split, another unit, another currency.

A trade's R, levels and memories are in its old prices then, so nothing may be worked out from them: it is observed only.
"""

from __future__ import annotations

from typing import Final

from dtms.domain.figures import plain
from dtms.domain.position import Position
from dtms.domain.trade import Trade

_GREATEST_MOVE: Final = 1.5
"""An entry that is so many times another: a position that is reopened at the rollover, at the day's price, moves far less."""
_KEPT: Final = 0.02
"""A split keeps lots times price but for its rounding."""
_SAME: Final = 1e-6


def rewriting(trade: Trade, main: Position) -> str:
    """Return what the broker has done to a position in one sentence with the remedy, "" where it has done nothing.

    A reopening for swap changes the entry a little and not the volume, a part that is closed the volume alone, and what is
    added on a netting account makes lots times price grow: none of them is a rewriting.
    """
    prices, lots = main.entry / trade.entry, main.volume / trade.volume if trade.volume > 0 else 1.0
    split = abs(prices - 1.0) > _SAME and abs(lots - 1.0) > _SAME and abs(prices * lots - 1.0) <= _KEPT
    if not split and 1.0 / _GREATEST_MOVE <= prices <= _GREATEST_MOVE:
        return ""
    return (
        f"the broker shows {plain(main.volume)} lots from {plain(main.entry)} instead of {plain(trade.volume)} from "
        f"{plain(trade.entry)} (a split, or another unit?): the trade is observed only; check its stop, release it, and register it again"
    )

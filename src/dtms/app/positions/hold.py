"""Holding a trade: it is observed only, nothing is decided for it until a person has looked."""

from __future__ import annotations

from dataclasses import replace

from dtms.domain.trade import Hold, Trade
from dtms.ports.ledger import LedgerWrite


def hold(tx: LedgerWrite, trade: Trade | None, why: Hold) -> bool:
    """Hold an open trade; False where there is none, or it is held already: the first reason stays.

    Raises:
        StaleWriteError: Somebody else has written the trade since it was read.
    """
    if trade is None or not trade.is_open or trade.hold is not Hold.NONE:
        return False
    tx.save_trade(replace(trade, hold=why, version=trade.version + 1))
    return True

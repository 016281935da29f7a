"""The record of a stop that was found at the broker and that no order of ours has set."""

from __future__ import annotations

from dtms.domain.position import Position
from dtms.domain.records import StopRecord
from dtms.domain.rules import StopRule
from dtms.domain.trade import Trade
from dtms.domain.units import Millis


def stop_seen(trade: Trade, position: Position, now: Millis, *, rule: StopRule) -> StopRecord:
    """Return the record of a position's present stop; `rule` says how it came into the ledger."""
    return StopRecord(
        trade_id=trade.trade_id,
        position=trade.identifier,
        at=now,
        old=trade.stop,
        new=position.stop,
        rule=rule,
        intent_id=None,
        answer="",
    )

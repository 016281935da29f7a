"""A trade in money and in R, from the deals of all its legs."""

from __future__ import annotations

from collections.abc import Iterable

from dtms.domain.instrument import Instrument
from dtms.domain.position import Deal, Position
from dtms.domain.trade import Trade
from dtms.ports.ledger import LedgerRead


def deals_of(tx: LedgerRead, trade: Trade) -> tuple[Deal, ...]:
    """Return the recorded deals of all legs of a trade, oldest first by leg."""
    return tuple(deal for position in (trade.identifier, *trade.children) for deal in tx.deals(position))


def realised(tx: LedgerRead, trade: Trade) -> float:
    """Return the result of all deals of all legs with commission, swap and fee, in account currency."""
    return sum(deal.net for deal in deals_of(tx, trade))


def floating(trade: Trade, positions: Iterable[Position]) -> float:
    """Return the floating result of all open legs, swap included, in account currency; what was turned round is not ours."""
    sides = {trade.identifier: trade.side, **{leg.identifier: leg.side for leg in trade.legs}}
    ours = (position for position in positions if sides.get(position.identifier) is position.side)
    return sum(position.profit + position.swap for position in ours)


def total_r(trade: Trade, money: float, instrument: Instrument) -> float:
    """Return money as a multiple of the first risk: money / (R x first volume x value of one unit)."""
    return money / instrument.money(trade.r, trade.initial_volume)

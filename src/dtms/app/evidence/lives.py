"""The lives of a position in its deals: a netting position may be turned round, or opened again, under one identifier.

A life lasts from flat, or from the other side, to flat or to the other side. A trade is one life, never two. Deals are
believed where they sum to what the broker shows: a history that is late proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dtms.app.evidence.proof import LOTS_NOISE
from dtms.domain.position import Deal, DealEntry, Position
from dtms.domain.trade import Trade
from dtms.domain.units import Side


@dataclass(slots=True)
class Life:
    """One life with its deals in their order; the deal that turns a position round ends one life and begins the next."""

    side: Side
    deals: list[Deal]
    over: bool = False


def lives_of(deals: Iterable[Deal]) -> list[Life]:
    """Return the lives that the deals of one position tell of, oldest first; without its opening a life is not told."""
    found: list[Life] = []
    held = 0.0
    for deal in sorted(deals, key=lambda deal: deal.deal_id):  # a broker's clock may have been put back between them
        if held == 0.0 and deal.entry is not DealEntry.IN:
            continue
        before, held = held, _signed(held + deal.side * deal.volume)
        if before == 0.0:
            found.append(Life(Side(deal.side), [deal]))
            continue
        found[-1].deals.append(deal)
        found[-1].over = before * held <= 0
        if found[-1].over and held != 0.0:
            found.append(Life(Side(deal.side), [deal]))
    return found


def ended_life(trade: Trade, deals: Iterable[Deal], shown: Position | None) -> tuple[Deal, ...] | None:
    """Return the deals of a trade's life where they prove that it has ended, else None.

    Args:
        trade: Its life is the newest of its side that had begun when it was registered.
        deals: All deals of its position.
        shown: What the broker shows under its identifier now, None for nothing: the deals must sum to it.
    """
    told = tuple(deals)
    volume = 0.0 if shown is None else shown.side * shown.volume
    if _signed(sum(deal.side * deal.volume for deal in told) - volume) != 0.0:
        return None
    lives = [life for life in lives_of(told) if life.side is trade.side]
    begun = [life for life in lives if life.deals[0].at <= trade.registered_at]
    mine = (begun or lives[:1])[-1:]
    return tuple(mine[0].deals) if mine and mine[0].over else None


def added_by_others(trade: Trade, deals: Iterable[Deal], ours: frozenset[str]) -> tuple[Deal, ...]:
    """Return the deals that have added to a trade since it was registered and carry none of its orders' tags."""
    return tuple(
        deal
        for deal in deals
        if deal.entry is DealEntry.IN and deal.at > trade.registered_at and deal.comment not in ours
    )


def _signed(volume: float) -> float:
    """Return a signed volume without the noise of binary fractions."""
    return 0.0 if abs(volume) <= LOTS_NOISE else volume

"""The positions and active orders of one symbol, with the bounds that make a quote cheap."""

from __future__ import annotations

import math

from dtms.domain.market import Quote
from dtms.domain.units import Side
from dtms_lab.terminal.records import SimOrder, SimPosition


class SymbolBook:
    """Positions and orders by ticket, oldest first.

    A quote that lies inside the bounds triggers nothing, and the floating result follows from four sums: with thousands of
    positions a quote still costs the same.
    """

    def __init__(self) -> None:
        self.positions: dict[int, SimPosition] = {}
        self.orders: dict[int, SimOrder] = {}
        self._dirty = True
        self._lots = (0.0, 0.0)
        self._cost = (0.0, 0.0)
        self._swap = 0.0
        self._bid_low = -math.inf
        self._bid_high = math.inf
        self._ask_low = -math.inf
        self._ask_high = math.inf

    def put(self, position: SimPosition) -> None:
        """Add or replace a position."""
        self.positions[position.ticket] = position
        self._dirty = True

    def drop(self, ticket: int) -> None:
        """Remove a position."""
        del self.positions[ticket]
        self._dirty = True

    def touched(self, quote: Quote) -> bool:
        """Say whether any stop or target is reached: a BUY's by the bid, a SELL's by the ask."""
        if self._dirty:
            self._refresh()
        return (
            quote.bid <= self._bid_low
            or quote.bid >= self._bid_high
            or quote.ask >= self._ask_high
            or quote.ask <= self._ask_low
        )

    def lots(self, side: Side) -> float:
        """Return the open volume of one side."""
        if self._dirty:
            self._refresh()
        return self._lots[0 if side is Side.BUY else 1]

    @property
    def net_lots(self) -> float:
        """Open volume, long minus short."""
        return self.lots(Side.BUY) - self.lots(Side.SELL)

    @property
    def swap(self) -> float:
        """Accrued swap of all positions, outside the balance."""
        if self._dirty:
            self._refresh()
        return self._swap

    def price_move(self, quote: Quote) -> float:
        """Return the sum of favourable move x lots over all positions, in price units x lots."""
        if self._dirty:
            self._refresh()
        return (quote.bid * self._lots[0] - self._cost[0]) - (quote.ask * self._lots[1] - self._cost[1])

    def cost(self, side: Side) -> float:
        """Return the sum of open price x lots of one side."""
        if self._dirty:
            self._refresh()
        return self._cost[0 if side is Side.BUY else 1]

    def _refresh(self) -> None:
        buys = [p for p in self.positions.values() if p.side is Side.BUY]
        sells = [p for p in self.positions.values() if p.side is Side.SELL]
        self._bid_low = max((p.stop for p in buys if p.stop is not None), default=-math.inf)
        self._bid_high = min((p.target for p in buys if p.target is not None), default=math.inf)
        self._ask_high = min((p.stop for p in sells if p.stop is not None), default=math.inf)
        self._ask_low = max((p.target for p in sells if p.target is not None), default=-math.inf)
        self._lots = (math.fsum(p.volume for p in buys), math.fsum(p.volume for p in sells))
        self._cost = (
            math.fsum(p.volume * p.price_open for p in buys),
            math.fsum(p.volume * p.price_open for p in sells),
        )
        self._swap = math.fsum(p.swap for p in self.positions.values())
        self._dirty = False

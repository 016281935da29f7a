"""Orders that the broker has accepted and works on: what the list of active orders shows of one that is late."""

from __future__ import annotations

from typing import Final

from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.records import Request, SimOrder
from dtms_lab.terminal.rows import Row, order_row
from dtms_lab.terminal.server import SimServer

_AT_THE_MARKET: Final = (Mt5.TRADE_ACTION_DEAL, Mt5.TRADE_ACTION_CLOSE_BY)
FIRST_TICKET: Final = 9_000_000_000
"""Far from the numbers that the server gives: a late order gets one of those when it is applied."""


def order_under_way(server: SimServer, request: Request, ticket: int) -> Row | None:
    """Return the row of an order at the market; None for a change of levels, which is no order."""
    if request.action not in _AT_THE_MARKET:
        return None
    state = server.state
    held = state.positions.get(request.position)
    closes_by = request.action == Mt5.TRADE_ACTION_CLOSE_BY
    order = SimOrder(
        ticket=ticket,
        symbol=request.symbol if held is None else held.symbol,
        type=Mt5.ORDER_TYPE_CLOSE_BY if closes_by else request.type,
        state=Mt5.ORDER_STATE_STARTED,
        volume=request.volume,
        remaining=request.volume,
        price=request.price,
        stop=request.stop,
        target=request.target,
        magic=request.magic,
        comment=request.comment,
        reason=Mt5.ORDER_REASON_EXPERT,
        type_time=request.type_time,
        type_filling=request.type_filling,
        expiration=request.expiration,
        setup_at=server.now(),
        done_at=None,
        position_id=0 if held is None else held.identifier,
        position_by_id=request.position_by,
    )
    return order_row(state, order)

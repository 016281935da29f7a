"""Pending orders at the server: placed, changed, removed, expired, and activated by a quote."""

from __future__ import annotations

from dataclasses import replace

from dtms.domain.market import Quote
from dtms.domain.units import DAY, SECOND, Millis
from dtms_lab.mt5_constants import CHECK_PASSED, FILLING_MASK_FOK, Mt5
from dtms_lab.terminal.checks import check, held_position
from dtms_lab.terminal.execution import Trade, deal
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.records import SIDE_OF_TYPE, Request, SimOrder, SimPosition, market_type
from dtms_lab.terminal.state import ServerState

_AT_THE_MARKET = (Mt5.ORDER_TYPE_BUY, Mt5.ORDER_TYPE_SELL)
_LIMITS = (Mt5.ORDER_TYPE_BUY_LIMIT, Mt5.ORDER_TYPE_SELL_LIMIT)


def place(state: ServerState, request: Request, at: Millis, reason: int) -> SimOrder:
    """Place a checked pending order."""
    order = SimOrder(
        ticket=state.next_order(),
        symbol=request.symbol,
        type=request.type,
        state=Mt5.ORDER_STATE_PLACED,
        volume=request.volume,
        remaining=request.volume,
        price=request.price,
        stop=request.stop,
        target=request.target,
        magic=request.magic,
        comment=request.comment,
        reason=reason,
        type_time=request.type_time,
        type_filling=request.type_filling,
        expiration=request.expiration,
        setup_at=at,
        done_at=None,
    )
    state.put_order(order)
    state.note_order(AppliedKind.ORDER_PLACED, at=at, before=None, after=order)
    return order


def modify(state: ServerState, request: Request, at: Millis) -> SimOrder:
    """Change a checked pending order; everything is sent anew."""
    before = state.orders[request.order]
    after = replace(
        before,
        price=request.price,
        stop=request.stop,
        target=request.target,
        type_time=request.type_time,
        expiration=request.expiration,
    )
    state.put_order(after)
    state.note_order(AppliedKind.ORDER_MODIFIED, at=at, before=before, after=after)
    return after


def end(state: ServerState, order: SimOrder, final: int, kind: AppliedKind, at: Millis) -> None:
    """Move an order to the history in its final state, not filled."""
    state.retire_order(replace(order, state=final, done_at=at))
    state.note_order(kind, at=at, before=order, after=None)


def on_quote(state: ServerState, quote: Quote) -> bool:
    """Expire and activate the symbol's orders; say whether anything changed."""
    changed = False
    for order in tuple(state.books[quote.symbol].orders.values()):
        if order.type in _AT_THE_MARKET:
            continue  # it is worked on, and waits for no price
        if _expired(state, order, quote.at):
            end(state, order, Mt5.ORDER_STATE_EXPIRED, AppliedKind.ORDER_EXPIRED, quote.at)
            changed = True
        elif _reached(order, quote):
            _activate(state, order, quote)
            changed = True
    return changed


def _expired(state: ServerState, order: SimOrder, at: Millis) -> bool:
    if order.type_time == Mt5.ORDER_TIME_DAY:
        return state.server_ms(at) // DAY > state.server_ms(order.setup_at) // DAY
    if order.type_time == Mt5.ORDER_TIME_SPECIFIED:
        return state.server_seconds(at) >= order.expiration
    if order.type_time == Mt5.ORDER_TIME_SPECIFIED_DAY:
        return state.server_ms(at) // DAY > order.expiration * SECOND // DAY
    return False


def _reached(order: SimOrder, quote: Quote) -> bool:
    side = SIDE_OF_TYPE[order.type]
    beyond = side * (quote.opening(side) - order.price)
    return beyond <= 0 if order.type in _LIMITS else beyond >= 0


def _market_filling(state: ServerState, order: SimOrder) -> int:
    """A pending order may wait with RETURN, which a market execution does not know."""
    if order.type_filling != Mt5.ORDER_FILLING_RETURN:
        return order.type_filling
    fok = state.specs[order.symbol].filling_mask & FILLING_MASK_FOK
    return Mt5.ORDER_FILLING_FOK if fok else Mt5.ORDER_FILLING_IOC


def _activate(state: ServerState, order: SimOrder, quote: Quote) -> None:
    """Fill at the quote that reached the order, a gap included; without the money or permission the order is rejected."""
    side = SIDE_OF_TYPE[order.type]
    request = Request(
        action=Mt5.TRADE_ACTION_DEAL,
        symbol=order.symbol,
        volume=order.remaining,
        type=market_type(side),
        price=quote.opening(side),
        type_filling=_market_filling(state, order),
    )
    if check(state, request, Mt5.DEAL_REASON_CLIENT) != CHECK_PASSED:
        end(state, order, Mt5.ORDER_STATE_REJECTED, AppliedKind.ORDER_REJECTED, quote.at)
        return
    held = held_position(state, request)
    known = held if isinstance(held, SimPosition) else None
    identifier = order.ticket if known is None else known.identifier
    state.retire_order(
        replace(order, state=Mt5.ORDER_STATE_FILLED, remaining=0.0, done_at=quote.at, position_id=identifier)
    )
    trade = Trade(
        symbol=order.symbol,
        side=side,
        volume=order.remaining,
        price=request.price,
        at=quote.at,
        reason=order.reason,
        magic=order.magic,
        comment=order.comment,
        tag=order.comment,
        filling=order.type_filling,
        stop=order.stop,
        target=order.target,
        order=order.ticket,
    )
    deal(state, trade, known)

"""What the server refuses of pending orders, and whether a symbol can be traded at all now."""

from __future__ import annotations

from dtms.domain.market import Quote
from dtms.domain.units import Side
from dtms_lab.mt5_constants import CHECK_PASSED, ORDER_MODE_LIMIT, ORDER_MODE_STOP, ORDER_MODE_STOP_LIMIT, Mt5
from dtms_lab.terminal.catalogue import SymbolSpec
from dtms_lab.terminal.market_rules import (
    GRID_TOLERANCE,
    entry_permission,
    filling_ok,
    level_ok,
    on_grid,
    opening_volume_ok,
    same_price,
    stops_ok,
)
from dtms_lab.terminal.records import SIDE_OF_TYPE, Request, SimOrder
from dtms_lab.terminal.state import ServerState

_MODE_OF_TYPE = {
    Mt5.ORDER_TYPE_BUY_LIMIT: ORDER_MODE_LIMIT,
    Mt5.ORDER_TYPE_SELL_LIMIT: ORDER_MODE_LIMIT,
    Mt5.ORDER_TYPE_BUY_STOP: ORDER_MODE_STOP,
    Mt5.ORDER_TYPE_SELL_STOP: ORDER_MODE_STOP,
    Mt5.ORDER_TYPE_BUY_STOP_LIMIT: ORDER_MODE_STOP_LIMIT,
    Mt5.ORDER_TYPE_SELL_STOP_LIMIT: ORDER_MODE_STOP_LIMIT,
}
_LIMITS = (Mt5.ORDER_TYPE_BUY_LIMIT, Mt5.ORDER_TYPE_SELL_LIMIT)


def venue(state: ServerState, spec: SymbolSpec) -> int:
    """Return whether the symbol can be traded now: enabled, in session, quoted."""
    if spec.trade_mode == Mt5.SYMBOL_TRADE_MODE_DISABLED:
        return Mt5.TRADE_RETCODE_TRADE_DISABLED
    if not state.in_session(spec.name, state.now()):
        return Mt5.TRADE_RETCODE_MARKET_CLOSED
    return CHECK_PASSED if spec.name in state.quotes else Mt5.TRADE_RETCODE_PRICE_OFF


def check_pending(state: ServerState, request: Request) -> int:
    """Return whether a pending order may be placed."""
    spec = state.specs.get(request.symbol)
    if spec is None:
        return Mt5.TRADE_RETCODE_INVALID
    mode = _MODE_OF_TYPE.get(request.type)
    if mode is None or not spec.order_mode & mode:
        return Mt5.TRADE_RETCODE_INVALID_ORDER
    if not filling_ok(spec, request.type_filling, pending=True):
        return Mt5.TRADE_RETCODE_INVALID_FILL
    refusal = venue(state, spec) or _check_expiration(state, request)
    if refusal != CHECK_PASSED:
        return refusal
    if not opening_volume_ok(spec, request.volume):
        return Mt5.TRADE_RETCODE_INVALID_VOLUME
    side = SIDE_OF_TYPE[request.type]
    refusal = _check_price(spec, request, request.type, state.quotes[spec.name]) or entry_permission(spec, side)
    if refusal != CHECK_PASSED:
        return refusal
    if 0 < state.account.limit_orders <= len(state.orders):
        return Mt5.TRADE_RETCODE_LIMIT_ORDERS
    return check_limit_volume(state, spec, request.volume, side)


def check_limit_volume(state: ServerState, spec: SymbolSpec, volume: float, side: Side) -> int:
    """Return whether the symbol's limit on one side's volume, open and waiting, leaves room."""
    if spec.volume_limit <= 0:
        return CHECK_PASSED
    book = state.books[spec.name]
    waiting = sum(o.remaining for o in book.orders.values() if SIDE_OF_TYPE[o.type] is side)
    over = book.lots(side) + waiting + volume > spec.volume_limit + GRID_TOLERANCE * spec.volume_step
    return Mt5.TRADE_RETCODE_LIMIT_VOLUME if over else CHECK_PASSED


def _check_expiration(state: ServerState, request: Request) -> int:
    if request.type_time in (Mt5.ORDER_TIME_GTC, Mt5.ORDER_TIME_DAY):
        return CHECK_PASSED
    if request.type_time in (Mt5.ORDER_TIME_SPECIFIED, Mt5.ORDER_TIME_SPECIFIED_DAY):
        server_now = state.server_seconds(state.now())
        return CHECK_PASSED if request.expiration > server_now else Mt5.TRADE_RETCODE_INVALID_EXPIRATION
    return Mt5.TRADE_RETCODE_INVALID_EXPIRATION


def _check_price(spec: SymbolSpec, request: Request, kind: int, quote: Quote) -> int:
    """A limit waits on the better side of the market, a stop on the worse, each by the stops level at least."""
    if request.price <= 0 or not on_grid(request.price, spec.tick_size):
        return Mt5.TRADE_RETCODE_INVALID_PRICE
    side = SIDE_OF_TYPE[kind]
    away = side * (quote.opening(side) - request.price)
    if not level_ok(spec, away if kind in _LIMITS else -away):
        return Mt5.TRADE_RETCODE_INVALID_PRICE
    fine = stops_ok(spec, side, request.price, stop=request.stop, target=request.target)
    return CHECK_PASSED if fine else Mt5.TRADE_RETCODE_INVALID_STOPS


def check_modify(state: ServerState, request: Request) -> int:
    """Return whether a pending order may be changed."""
    order = state.orders.get(request.order)
    if order is None:
        return Mt5.TRADE_RETCODE_INVALID
    spec = state.specs[order.symbol]
    unchanged = (
        same_price(spec, order.price, request.price)
        and same_price(spec, order.stop, request.stop)
        and same_price(spec, order.target, request.target)
        and (order.type_time, order.expiration) == (request.type_time, request.expiration)
    )
    if unchanged:
        return Mt5.TRADE_RETCODE_NO_CHANGES
    refusal = venue(state, spec) or _check_expiration(state, request)
    if refusal != CHECK_PASSED:
        return refusal
    if _order_frozen(spec, order, state.quotes[spec.name]):
        return Mt5.TRADE_RETCODE_FROZEN
    return _check_price(spec, request, order.type, state.quotes[spec.name])


def check_remove(state: ServerState, request: Request) -> int:
    """Return whether a pending order may be removed; one that is no longer active cannot."""
    order = state.orders.get(request.order)
    if order is None:
        return Mt5.TRADE_RETCODE_INVALID
    quote = state.quotes.get(order.symbol)
    if quote is not None and _order_frozen(state.specs[order.symbol], order, quote):
        return Mt5.TRADE_RETCODE_FROZEN
    return CHECK_PASSED


def _order_frozen(spec: SymbolSpec, order: SimOrder, quote: Quote) -> bool:
    if spec.freeze_level == 0:
        return False
    distance = abs(quote.opening(SIDE_OF_TYPE[order.type]) - order.price)
    return distance <= spec.freeze_distance + GRID_TOLERANCE * spec.tick_size

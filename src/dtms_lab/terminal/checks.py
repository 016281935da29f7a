"""What the server refuses, in the order in which it looks: `check` returns a retcode, or `CHECK_PASSED`.

Source:
    Retcodes and their conditions: the vendor's language reference. The order of the checks is not documented; this one goes
    from "not understood" over "not allowed" and "not now" to "not with these numbers" and "not with this money".
"""

from __future__ import annotations

import math

from dtms.domain.units import Side
from dtms_lab.mt5_constants import CHECK_PASSED, HEDGE_PROHIBITED, ORDER_MODE_CLOSE_BY, Mt5
from dtms_lab.terminal.catalogue import SymbolSpec
from dtms_lab.terminal.market_rules import (
    GRID_TOLERANCE,
    entry_permission,
    filling_ok,
    frozen,
    on_grid,
    opening_volume_ok,
    same_price,
    stops_ok,
)
from dtms_lab.terminal.pending_checks import check_limit_volume, check_modify, check_pending, check_remove, venue
from dtms_lab.terminal.records import SIDE_OF_TYPE, Request, SimPosition
from dtms_lab.terminal.state import VOLUME_DIGITS, ServerState


def check(state: ServerState, request: Request, reason: int) -> int:
    """Return `CHECK_PASSED`, or the retcode that refuses the request; changes nothing."""
    if not state.trade_allowed:
        return Mt5.TRADE_RETCODE_TRADE_DISABLED
    if reason == Mt5.DEAL_REASON_EXPERT and not state.expert_allowed:
        return Mt5.TRADE_RETCODE_SERVER_DISABLES_AT
    if not math.isfinite(request.volume):
        return Mt5.TRADE_RETCODE_INVALID
    if not all(map(math.isfinite, (request.price, request.stoplimit, request.sl, request.tp))):
        return Mt5.TRADE_RETCODE_INVALID_PRICE
    match request.action:
        case Mt5.TRADE_ACTION_DEAL:
            return _check_deal(state, request)
        case Mt5.TRADE_ACTION_SLTP:
            return _check_levels(state, request)
        case Mt5.TRADE_ACTION_CLOSE_BY:
            return _check_close_by(state, request)
        case Mt5.TRADE_ACTION_PENDING:
            return check_pending(state, request)
        case Mt5.TRADE_ACTION_MODIFY:
            return check_modify(state, request)
        case Mt5.TRADE_ACTION_REMOVE:
            return check_remove(state, request)
        case _:
            return Mt5.TRADE_RETCODE_INVALID


def held_position(state: ServerState, request: Request) -> SimPosition | int | None:
    """Return the position that a request is about; a retcode where it cannot be; `None` where it opens a new one."""
    if request.position != 0:
        position = state.positions.get(request.position)
        if position is None:
            known = request.position in state.gone
            return Mt5.TRADE_RETCODE_POSITION_CLOSED if known else Mt5.TRADE_RETCODE_INVALID
        if request.symbol not in ("", position.symbol):
            return Mt5.TRADE_RETCODE_INVALID
        return position
    if state.account.hedging:
        return None
    return next(iter(state.books[request.symbol].positions.values()), None) if request.symbol in state.books else None


def _check_deal(state: ServerState, request: Request) -> int:
    spec = state.specs.get(request.symbol)
    if spec is None:
        return Mt5.TRADE_RETCODE_INVALID
    if request.type not in (Mt5.ORDER_TYPE_BUY, Mt5.ORDER_TYPE_SELL):
        return Mt5.TRADE_RETCODE_INVALID_ORDER
    if not filling_ok(spec, request.type_filling, pending=False):
        return Mt5.TRADE_RETCODE_INVALID_FILL
    refusal = venue(state, spec) or _asked_price(state, spec, request)
    if refusal != CHECK_PASSED:
        return refusal
    slack = GRID_TOLERANCE * spec.volume_step
    if request.volume <= 0 or request.volume > spec.volume_max + slack or not on_grid(request.volume, spec.volume_step):
        return Mt5.TRADE_RETCODE_INVALID_VOLUME
    held = held_position(state, request)
    if isinstance(held, int):
        return held
    side = SIDE_OF_TYPE[request.type]
    if held is None or (held.side is side and not state.account.hedging):
        return _check_open(state, spec, request, side)
    if held.side is side:
        return Mt5.TRADE_RETCODE_INVALID
    return _check_close(state, spec, request, held)


def _asked_price(state: ServerState, spec: SymbolSpec, request: Request) -> int:
    """The price counts only where the broker executes at the price that was asked for."""
    if spec.execution not in (Mt5.SYMBOL_TRADE_EXECUTION_REQUEST, Mt5.SYMBOL_TRADE_EXECUTION_INSTANT):
        return CHECK_PASSED
    if request.price <= 0 or not on_grid(request.price, spec.tick_size):
        return Mt5.TRADE_RETCODE_INVALID_PRICE
    market = state.quotes[spec.name].opening(SIDE_OF_TYPE[request.type])
    allowed = request.deviation * spec.point + GRID_TOLERANCE * spec.tick_size
    return CHECK_PASSED if abs(request.price - market) <= allowed else Mt5.TRADE_RETCODE_REQUOTE


def _check_open(state: ServerState, spec: SymbolSpec, request: Request, side: Side) -> int:
    if not opening_volume_ok(spec, request.volume):
        return Mt5.TRADE_RETCODE_INVALID_VOLUME
    quote = state.quotes[spec.name]
    if not stops_ok(spec, side, quote.executable(side), stop=request.stop, target=request.target):
        return Mt5.TRADE_RETCODE_INVALID_STOPS
    return (
        entry_permission(spec, side)
        or _check_limits(state, spec, request.volume, side)
        or _check_money(state, spec, request.volume, side)
    )


def _check_limits(state: ServerState, spec: SymbolSpec, volume: float, side: Side) -> int:
    book = state.books[spec.name]
    account = state.account
    if account.hedging and account.hedge_prohibited and book.lots(side.opposite) > 0:
        return HEDGE_PROHIBITED
    if account.limit_positions > 0 and len(state.positions) >= account.limit_positions:
        return Mt5.TRADE_RETCODE_LIMIT_POSITIONS
    return check_limit_volume(state, spec, volume, side)


def _check_money(state: ServerState, spec: SymbolSpec, volume: float, side: Side) -> int:
    quote = state.quotes[spec.name]
    price = quote.opening(side)
    needed = state.margin_with(spec.name, side, volume, price)
    if needed <= state.margin():
        return CHECK_PASSED
    cost = state.money.commission(spec, volume, price)
    return CHECK_PASSED if state.figures().equity + cost >= needed else Mt5.TRADE_RETCODE_NO_MONEY


def _check_close(state: ServerState, spec: SymbolSpec, request: Request, held: SimPosition) -> int:
    """A deal against a position: closes it, a part of it, or on a netting account turns it round."""
    slack = GRID_TOLERANCE * spec.volume_step
    rest = round(held.volume - request.volume, VOLUME_DIGITS)
    if rest < -slack and state.account.hedging:
        return Mt5.TRADE_RETCODE_INVALID_CLOSE_VOLUME
    if rest > slack and min(rest, request.volume) < spec.volume_min - slack:
        return Mt5.TRADE_RETCODE_INVALID_VOLUME
    if state.account.fifo_close and _older_exists(state, held):
        return Mt5.TRADE_RETCODE_FIFO_CLOSE
    quote = state.quotes[spec.name]
    if frozen(spec, held.side, quote, stop=held.stop, target=held.target):
        return Mt5.TRADE_RETCODE_FROZEN
    if rest >= -slack:
        return CHECK_PASSED
    turned = SIDE_OF_TYPE[request.type]
    if not opening_volume_ok(spec, -rest):
        return Mt5.TRADE_RETCODE_INVALID_VOLUME
    if not stops_ok(spec, turned, quote.executable(turned), stop=request.stop, target=request.target):
        return Mt5.TRADE_RETCODE_INVALID_STOPS
    return entry_permission(spec, turned) or _check_money(state, spec, request.volume, turned)


def _older_exists(state: ServerState, held: SimPosition) -> bool:
    return any(p.side is held.side and p.ticket < held.ticket for p in state.books[held.symbol].positions.values())


def _check_levels(state: ServerState, request: Request) -> int:
    """Both levels are validated, the unchanged one too: the stricter of the two readings of the documentation."""
    held = held_position(state, request)
    if held is None:
        return Mt5.TRADE_RETCODE_INVALID
    if isinstance(held, int):
        return held
    spec = state.specs[held.symbol]
    if same_price(spec, held.stop, request.stop) and same_price(spec, held.target, request.target):
        return Mt5.TRADE_RETCODE_NO_CHANGES
    refusal = venue(state, spec)
    if refusal != CHECK_PASSED:
        return refusal
    quote = state.quotes[spec.name]
    if frozen(spec, held.side, quote, stop=held.stop, target=held.target):
        return Mt5.TRADE_RETCODE_FROZEN
    if not stops_ok(spec, held.side, quote.executable(held.side), stop=request.stop, target=request.target):
        return Mt5.TRADE_RETCODE_INVALID_STOPS
    return CHECK_PASSED


def _check_close_by(state: ServerState, request: Request) -> int:
    if not state.account.hedging or request.position == 0 or request.position_by == 0:
        return Mt5.TRADE_RETCODE_INVALID
    held = held_position(state, request)
    by = held_position(state, request._replace(position=request.position_by))
    for found in (held, by):
        if isinstance(found, int):
            return found
    if not isinstance(held, SimPosition) or not isinstance(by, SimPosition):
        return Mt5.TRADE_RETCODE_INVALID
    if held.symbol != by.symbol or held.side is by.side:
        return Mt5.TRADE_RETCODE_INVALID
    spec = state.specs[held.symbol]
    if not spec.order_mode & ORDER_MODE_CLOSE_BY:
        return Mt5.TRADE_RETCODE_INVALID_ORDER
    refusal = venue(state, spec)
    if refusal != CHECK_PASSED:
        return refusal
    quote = state.quotes[spec.name]
    if any(frozen(spec, p.side, quote, stop=p.stop, target=p.target) for p in (held, by)):
        return Mt5.TRADE_RETCODE_FROZEN
    return CHECK_PASSED

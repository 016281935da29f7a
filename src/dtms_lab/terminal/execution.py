"""How the server applies a request that passed: positions, deals, orders and the balance move together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dtms.domain.units import Millis, Side
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.dealer import AS_ASKED, Fill
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.records import SIDE_OF_TYPE, Request, SimDeal, SimOrder, SimPosition, market_type
from dtms_lab.terminal.state import VOLUME_DIGITS, ServerState


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One market execution: what is dealt, at which price, and on whose account it is written down.

    `tag` and `sent_magic` are comment and number as they were sent, for the oracle; `comment` and `magic` what the server
    keeps. A `sent_magic` of None is the kept one.
    """

    symbol: str
    side: Side
    volume: float
    price: float
    at: Millis
    reason: int
    magic: int = 0
    comment: str = ""
    tag: str = ""
    sent_magic: int | None = None
    filling: int = Mt5.ORDER_FILLING_FOK
    stop: float | None = None
    target: float | None = None
    order: int = 0


def deal(state: ServerState, trade: Trade, held: SimPosition | None) -> SimDeal:
    """Execute a trade; against `held` it closes (or on a netting account adds or turns round), else it opens."""
    trade = trade if trade.order else replace(trade, order=_filled_order(state, trade, held))
    if held is None:
        return _open(state, trade)
    if held.side is trade.side:
        return _add(state, trade, held)
    rest = round(held.volume - trade.volume, VOLUME_DIGITS)
    if rest >= 0:
        return _close(state, trade, held, rest)
    return _turn(state, trade, held, -rest)


def _filled_order(state: ServerState, trade: Trade, held: SimPosition | None) -> int:
    """Write the market order into the history; it is filled at once."""
    ticket = state.next_order()
    state.retire_order(
        SimOrder(
            ticket=ticket,
            symbol=trade.symbol,
            type=market_type(trade.side),
            state=Mt5.ORDER_STATE_FILLED,
            volume=trade.volume,
            remaining=0.0,
            price=trade.price,
            stop=trade.stop,
            target=trade.target,
            magic=trade.magic,
            comment=trade.comment,
            reason=trade.reason,
            type_time=Mt5.ORDER_TIME_GTC,
            type_filling=trade.filling,
            expiration=0,
            setup_at=trade.at,
            done_at=trade.at,
            position_id=ticket if held is None else held.identifier,
        )
    )
    return ticket


def _book(
    state: ServerState, trade: Trade, identifier: int, entry: int, *, profit: float = 0.0, swap: float = 0.0
) -> SimDeal:
    return state.add_deal(
        order=trade.order,
        position_id=identifier,
        spec=state.specs[trade.symbol],
        side=trade.side,
        entry=entry,
        reason=trade.reason,
        volume=trade.volume,
        price=trade.price,
        profit=profit,
        swap=swap,
        magic=trade.magic,
        comment=trade.comment,
        at=trade.at,
    )


def _note(
    state: ServerState,
    kind: AppliedKind,
    trade: Trade,
    made: SimDeal,
    *,
    before: SimPosition | None,
    after: SimPosition | None,
) -> None:
    state.note(
        kind,
        at=trade.at,
        before=before,
        after=after,
        tag=trade.tag,
        magic=trade.magic if trade.sent_magic is None else trade.sent_magic,
        reason=trade.reason,
        order=trade.order,
        deal=made.ticket,
        volume=trade.volume,
        price=trade.price,
    )


def _open(state: ServerState, trade: Trade) -> SimDeal:
    made = _book(state, trade, trade.order, Mt5.DEAL_ENTRY_IN)
    opened = SimPosition(
        ticket=trade.order,
        identifier=trade.order,
        symbol=trade.symbol,
        side=trade.side,
        volume=trade.volume,
        price_open=trade.price,
        stop=trade.stop,
        target=trade.target,
        magic=trade.magic,
        comment=trade.comment,
        reason=trade.reason,
        opened_at=trade.at,
        updated_at=trade.at,
    )
    state.put(opened)
    _note(state, AppliedKind.OPEN, trade, made, before=None, after=opened)
    return made


def _add(state: ServerState, trade: Trade, held: SimPosition) -> SimDeal:
    """Netting: the open price becomes the volume-weighted mean; levels that the order names replace the position's."""
    made = _book(state, trade, held.identifier, Mt5.DEAL_ENTRY_IN)
    volume = round(held.volume + trade.volume, VOLUME_DIGITS)
    grown = replace(
        held,
        volume=volume,
        price_open=(held.price_open * held.volume + trade.price * trade.volume) / volume,
        stop=held.stop if trade.stop is None else trade.stop,
        target=held.target if trade.target is None else trade.target,
        updated_at=trade.at,
    )
    state.put(grown)
    _note(state, AppliedKind.ADD, trade, made, before=held, after=grown)
    return made


_KIND_OF_REASON = {
    Mt5.DEAL_REASON_SL: AppliedKind.STOP,
    Mt5.DEAL_REASON_TP: AppliedKind.TARGET,
    Mt5.DEAL_REASON_SO: AppliedKind.STOP_OUT,
}


def _close(state: ServerState, trade: Trade, held: SimPosition, rest: float) -> SimDeal:
    profit = state.money.profit(
        state.specs[held.symbol], held.side, trade.volume, opened=held.price_open, closed=trade.price
    )
    swap = held.swap if rest == 0 else state.money.round(held.swap * trade.volume / held.volume)
    made = _book(state, trade, held.identifier, Mt5.DEAL_ENTRY_OUT, profit=profit, swap=swap)
    left = shrink(state, held, rest, swap, trade.at)
    kind = _KIND_OF_REASON.get(trade.reason, AppliedKind.CLOSE if left is None else AppliedKind.PARTIAL)
    _note(state, kind, trade, made, before=held, after=left)
    return made


def shrink(state: ServerState, held: SimPosition, rest: float, swap: float, at: Millis) -> SimPosition | None:
    """Leave `rest` lots of a position, with the swap that was not paid out; `None` where nothing is left."""
    if rest == 0:
        state.drop(held)
        return None
    left = replace(held, volume=rest, swap=state.money.round(held.swap - swap), updated_at=at)
    state.put(left)
    return left


def _turn(state: ServerState, trade: Trade, held: SimPosition, volume: float) -> SimDeal:
    """Netting: a deal larger than the position turns it round; the identifier stays, the ticket is the new order's."""
    profit = state.money.profit(
        state.specs[held.symbol], held.side, held.volume, opened=held.price_open, closed=trade.price
    )
    made = _book(state, trade, held.identifier, Mt5.DEAL_ENTRY_INOUT, profit=profit, swap=held.swap)
    turned = replace(
        held,
        ticket=trade.order,
        side=trade.side,
        volume=volume,
        price_open=trade.price,
        stop=trade.stop,
        target=trade.target,
        magic=trade.magic,
        comment=trade.comment,
        swap=0.0,
        updated_at=trade.at,
    )
    state.drop(held)
    state.put(turned)
    _note(state, AppliedKind.REVERSE, trade, made, before=held, after=turned)
    return made


def set_levels(state: ServerState, request: Request, held: SimPosition, at: Millis) -> None:
    """Replace stop and target of a position; leaves no order and no deal, as in the field."""
    moved = replace(held, stop=request.stop, target=request.target, updated_at=at)
    state.put(moved)
    state.note(AppliedKind.SLTP, at=at, before=held, after=moved, tag=request.comment, magic=request.magic, price=None)


def close_by(
    state: ServerState,
    request: Request,
    held: SimPosition,
    by: SimPosition,
    *,
    at: Millis,
    reason: int,
    fill: Fill = AS_ASKED,
) -> SimDeal:
    """Close two opposite positions against each other, atomically; both deals are OUT_BY.

    The first deal, at the other's open price, carries the whole result; the second, at its own open price, none.
    """
    spec = state.specs[held.symbol]
    volume = min(held.volume, by.volume)
    kept = _stamped(request, fill)
    ticket = state.next_order()
    state.retire_order(
        SimOrder(
            ticket=ticket,
            symbol=held.symbol,
            type=Mt5.ORDER_TYPE_CLOSE_BY,
            state=Mt5.ORDER_STATE_FILLED,
            volume=volume,
            remaining=0.0,
            price=by.price_open,
            stop=None,
            target=None,
            magic=kept.magic,
            comment=kept.comment,
            reason=reason,
            type_time=Mt5.ORDER_TIME_GTC,
            type_filling=Mt5.ORDER_FILLING_FOK,
            expiration=0,
            setup_at=at,
            done_at=at,
            position_id=held.identifier,
            position_by_id=by.identifier,
        )
    )
    profit = state.money.profit(spec, held.side, volume, opened=held.price_open, closed=by.price_open)
    deals: list[SimDeal] = []
    for leg, result in ((held, profit), (by, 0.0)):
        rest = round(leg.volume - volume, VOLUME_DIGITS)
        swap = leg.swap if rest == 0 else state.money.round(leg.swap * volume / leg.volume)
        trade = Trade(
            symbol=leg.symbol,
            side=leg.side.opposite,
            volume=volume,
            price=by.price_open,
            at=at,
            reason=reason,
            magic=kept.magic,
            comment=kept.comment,
            tag=request.comment,
            sent_magic=request.magic,
            order=ticket,
        )
        made = _book(state, trade, leg.identifier, Mt5.DEAL_ENTRY_OUT_BY, profit=result, swap=swap)
        left = shrink(state, leg, rest, swap, at)
        _note(state, AppliedKind.CLOSE_BY, trade, made, before=leg, after=left)
        deals.append(made)
    return deals[0]


def _stamped(request: Request, fill: Fill) -> Request:
    """Return a request with the comment and the number that the server keeps of it."""
    return request._replace(
        comment=request.comment if fill.comment is None else fill.comment,
        magic=request.magic if fill.magic is None else fill.magic,
    )


def trade_of(request: Request, *, volume: float, price: float, fill: Fill, at: Millis, reason: int) -> Trade:
    """Return the trade that a checked DEAL request asks for, as the dealer lets it be."""
    kept = _stamped(request, fill)
    return Trade(
        symbol=request.symbol,
        side=SIDE_OF_TYPE[request.type],
        volume=volume,
        price=price,
        at=at,
        reason=reason,
        magic=kept.magic,
        comment=kept.comment,
        tag=request.comment,
        sent_magic=request.magic,
        filling=request.type_filling,
        stop=request.stop,
        target=request.target,
    )

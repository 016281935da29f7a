"""Orders at the market that the server works on: accepted, listed, and filled in several deals as time goes by.

An exchange leaves the rest of a part-filled order in its book; a dealer may take an order and fill it bit by bit. All deals
of one order have its number, and what it opens is one position.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dtms.domain.units import Millis
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal import execution
from dtms_lab.terminal.execution import Trade
from dtms_lab.terminal.records import Request, SimOrder, SimPosition
from dtms_lab.terminal.state import VOLUME_DIGITS, ServerState

_NOTHING = 0.5 * 10**-VOLUME_DIGITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """So much of an order is filled at an instant; `volume` in lots."""

    at: Millis
    volume: float


@dataclass(slots=True)
class _Work:
    """One order with what is left of it to do; `target` is the identifier of the position it deals on, 0 before it has any."""

    order: SimOrder
    trade: Trade
    parts: list[Part]
    closes: bool
    identifier: int


class WorkingOrders:
    """The orders at the market that are not finished."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._works: dict[int, _Work] = {}

    def begin(self, request: Request, trade: Trade, parts: Iterable[Part], held: SimPosition | None) -> SimOrder:
        """Take an order in; what is due at once is dealt by the next `pump`."""
        ticket = self._state.next_order()
        order = SimOrder(
            ticket=ticket,
            symbol=trade.symbol,
            type=request.type,
            state=Mt5.ORDER_STATE_STARTED,
            volume=request.volume,
            remaining=request.volume,
            price=trade.price,
            stop=trade.stop,
            target=trade.target,
            magic=trade.magic,
            comment=trade.comment,
            reason=trade.reason,
            type_time=request.type_time,
            type_filling=request.type_filling,
            expiration=0,
            setup_at=trade.at,
            done_at=None,
            position_id=0 if held is None else held.identifier,
        )
        self._state.put_order(order)
        self._works[ticket] = _Work(
            order,
            replace(trade, order=ticket),
            list(parts),
            held is not None and held.side is not trade.side,
            order.position_id,
        )
        return order

    def pump(self, now: Millis) -> float:
        """Deal what is due; return how much that was, lots."""
        dealt = 0.0
        for work in tuple(self._works.values()):
            while work.parts and work.parts[0].at <= now and self._can(work.order.symbol, now):
                dealt += self._deal(work, work.parts.pop(0).volume, now)
        return dealt

    def _can(self, symbol: str, now: Millis) -> bool:
        return symbol in self._state.quotes and self._state.in_session(symbol, now)

    def _deal(self, work: _Work, volume: float, now: Millis) -> float:
        state = self._state
        held = next(
            (p for p in state.books[work.order.symbol].positions.values() if p.identifier == work.identifier), None
        )
        if held is None and work.identifier:
            self._end(work, Mt5.ORDER_STATE_CANCELED, now)  # what it was about has ended meanwhile
            return 0.0
        if work.closes and held is not None:
            volume = min(volume, held.volume)
        price = state.quotes[work.order.symbol].opening(work.trade.side)
        execution.deal(state, replace(work.trade, volume=volume, price=price, at=now), held)
        work.identifier = work.identifier or work.order.ticket
        left = round(work.order.remaining - volume, VOLUME_DIGITS)
        work.order = replace(work.order, remaining=left, state=Mt5.ORDER_STATE_PARTIAL, position_id=work.identifier)
        if left <= _NOTHING or not work.parts:
            self._end(work, Mt5.ORDER_STATE_FILLED if left <= _NOTHING else Mt5.ORDER_STATE_CANCELED, now)
        else:
            state.put_order(work.order)
        state.changed(now)
        return volume

    def _end(self, work: _Work, final: int, now: Millis) -> None:
        del self._works[work.order.ticket]
        work.parts.clear()
        self._state.retire_order(replace(work.order, state=final, done_at=now))
        self._state.changed(now)

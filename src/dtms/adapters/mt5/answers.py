"""From the terminal's answer to a `Receipt`: what was done, how much of it, and to which position.

Everything here happens after the order left: a read that fails now never says "not sent".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from dtms.adapters.mt5 import retcodes
from dtms.adapters.mt5.broker import Mt5Broker
from dtms.adapters.mt5.retcodes import Reaction
from dtms.adapters.mt5.surface import OrderSendResult, Request, TradeDeal
from dtms.domain.action import Action, Close, CloseHedge, OpenHedge, OpenTrade, ReAdd, SetStop, kind_of
from dtms.domain.position import Position
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.errors import BrokerUnavailableError, OutcomeUnknownError

Answer = TypeVar("Answer")

_NOISE = 0.5e-8
"""Volumes and prices of the terminal have at most 8 digits; less than half the last one is noise of binary fractions."""

_OPENINGS = (OpenHedge, ReAdd, OpenTrade)
_NO_POSITION = (None, None)
_ECHOED = ("action", "magic", "symbol", "volume", "sl", "tp", "type", "position", "position_by", "comment")


class Answers:
    """Reads the terminal's answers, and looks up in positions and history what they leave out."""

    def __init__(self, broker: Mt5Broker) -> None:
        self._link = broker.link

    def receipt(
        self,
        action: Action,
        request: Request,
        result: OrderSendResult,
        *,
        asked: float,
        position: Position | None,
        hedging: bool,
    ) -> Receipt:
        """Return the receipt of an answer; `asked` is what the order was to deal, which one request may be a part of.

        Raises:
            OutcomeUnknownError: The answer does not say what became of the order, or says it without the figures.
        """
        meaning = retcodes.retcode_of(result.retcode)
        comment = f"{meaning.name}: {result.comment}" if result.comment else meaning.name
        levels_only = isinstance(action, SetStop)
        match meaning.reaction:
            case Reaction.APPLIED if levels_only:
                return Receipt(outcome=Outcome.APPLIED, code=result.retcode, comment=comment)
            case Reaction.APPLIED | Reaction.PARTIAL if not levels_only:
                dealt = self._dealt(action, request, result, asked, position=position, hedging=hedging)
                return replace(dealt, comment=comment)
            case Reaction.GOAL_MET if _meets_goal(action, result.retcode):
                return Receipt(outcome=Outcome.APPLIED, code=result.retcode, goal_met=True, comment=comment)
            case Reaction.APPLIED | Reaction.PARTIAL | Reaction.UNKNOWN:
                raise _unknown(action, request, result, meaning.name)
            case _ if meaning.rejection is not None:
                return _rejected(meaning.rejection, result, comment)
            case _:
                raise _unknown(action, request, result, meaning.name)

    def _dealt(
        self,
        action: Action,
        request: Request,
        result: OrderSendResult,
        asked: float,
        *,
        position: Position | None,
        hedging: bool,
    ) -> Receipt:
        opening = isinstance(action, _OPENINGS)
        filled, price = self._filled(result, None if opening or position is None else position.identifier)
        if filled <= 0:
            raise _unknown(action, request, result, "done, but how much cannot be told")
        opened = self._opened(request, result, hedging=hedging) if opening else _NO_POSITION
        if opened is None:
            raise _unknown(action, request, result, "done, but its position cannot be told")
        part = result.retcode == retcodes.DONE_PARTIAL or filled < asked - _NOISE
        return Receipt(
            outcome=Outcome.PARTIAL if part else Outcome.APPLIED,
            code=result.retcode,
            order=_number(result.order),
            deal=_number(result.deal),
            ticket=opened[0],
            position=opened[1],
            filled=filled,
            price=price,
        )

    def _filled(self, result: OrderSendResult, identifier: int | None) -> tuple[float, float | None]:
        """Return volume and price: the answer's own, else those of the order's deals on this position.

        A close-by makes one deal for each of its two positions.
        """
        if result.volume > 0 and result.price > 0:
            return result.volume, result.price
        deals = [deal for deal in self._deals_of(result.order) if identifier in (None, deal.position_id)]
        dealt = sum(deal.volume for deal in deals)
        mean = sum(deal.volume * deal.price for deal in deals) / dealt if dealt > 0 else None
        return (
            result.volume if result.volume > 0 else dealt,
            result.price if result.price > 0 else mean,
        )

    def _opened(self, request: Request, result: OrderSendResult, *, hedging: bool) -> tuple[int, int] | None:
        """Return ticket and identifier of the position that the order opened or grew; None where it cannot be told."""
        positions_get = self._link.mt5.positions_get
        if hedging and result.order > 0:
            for found in self._look(lambda: positions_get(ticket=result.order)) or ():
                return found.ticket, found.identifier
            # A position's identifier is the ticket of the order that opened it (MQL5 reference, POSITION_IDENTIFIER).
            return result.order, result.order
        for found in self._look(lambda: positions_get(symbol=request["symbol"])) or ():
            if not hedging or found.comment == request["comment"]:
                return found.ticket, found.identifier
        deals = self._deals_of(result.order)
        return next(((deal.position_id, deal.position_id) for deal in deals if deal.position_id > 0), None)

    def _deals_of(self, order: int) -> tuple[TradeDeal, ...]:
        if order <= 0:
            return ()
        found = self._look(lambda: self._link.mt5.history_deals_get(ticket=order)) or ()
        return tuple(deal for deal in found if deal.order == order)

    def _look(self, call: Callable[[], Answer | None]) -> Answer | None:
        try:
            return self._link.ask("a look after the order", call)
        except BrokerUnavailableError:
            return None  # it left already: what cannot be looked up is not known, no more


def wrong_echo(request: Request, result: OrderSendResult) -> str:
    """Return how the request that the answer repeats differs from ours, empty where it does not.

    A reply that was late or came twice must not be credited to the next order.
    """
    for name in _ECHOED:
        sent = request.get(name)
        if sent is None:
            continue
        echoed = getattr(result.request, name, None)
        if isinstance(sent, float) and isinstance(echoed, int | float):
            same = abs(echoed - sent) < _NOISE
        else:
            same = echoed == sent
        if not same:
            return f"its {name} is {echoed!r}, ours {sent!r}"
    return ""


def _meets_goal(action: Action, code: int) -> bool:
    """A close-by names two positions, and either may be the closed one."""
    if code == retcodes.NO_CHANGES:
        return isinstance(action, SetStop)
    return isinstance(action, CloseHedge) or (isinstance(action, Close) and action.by is None)


def _rejected(rejection: Rejection, result: OrderSendResult, comment: str) -> Receipt:
    return Receipt(
        outcome=Outcome.REJECTED,
        code=result.retcode,
        rejection=rejection,
        order=_number(result.order),
        deal=_number(result.deal),
        comment=comment,
    )


def _unknown(action: Action, request: Request, result: OrderSendResult, why: str) -> OutcomeUnknownError:
    return OutcomeUnknownError(
        f"{kind_of(action)} {request['comment']} of {request['symbol']}: retcode {result.retcode} {why} "
        f"({result.comment}), order {result.order}, deal {result.deal}; it may have been applied, reconcile",
        order=_number(result.order),
        code=result.retcode,
    )


def _number(ticket: int) -> int | None:
    """The terminal writes 0 for "none"."""
    return ticket if ticket > 0 else None

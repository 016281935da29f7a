"""The only code that sends to MetaTrader 5: one order, one answer, and never a second try where the first may have worked.

A request that the broker has definitely refused for something that can be put in another way (filling mode, price,
volume step, lifetime) is put so within the same order: `adapters.mt5.mending`. An advisory gateway has none of these.
Every way out says whether the order left: `BrokerUnavailableError` it did not, `OutcomeUnknownError` it may have, a
`Receipt` is the broker's answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from dtms.adapters.mt5 import constants as c
from dtms.adapters.mt5 import mapping, orders, retcodes
from dtms.adapters.mt5.answers import Answers, wrong_echo
from dtms.adapters.mt5.broker import Mt5Broker
from dtms.adapters.mt5.link import LINK_EXCEPTIONS
from dtms.adapters.mt5.mending import Habits, Tries
from dtms.adapters.mt5.surface import OrderSendResult, Request
from dtms.domain.action import Action, Close, CloseHedge, OpenHedge, OpenTrade, ReAdd, Reduce, SetStop, kind_of
from dtms.domain.figures import plain
from dtms.domain.position import Position
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.units import DAY, SECOND, Side
from dtms.errors import BrokerUnavailableError, InvalidDataError, InvariantError, OutcomeUnknownError, WrongAccountError

_LOCAL = 0
"""The code of a refusal that was ours: no code of the terminal is 0."""


class Mt5Sender:
    """Sends approved actions through the terminal of an `Mt5Broker`.

    Args:
        broker: The reads of the same terminal.
        deviation: Accepted distance from the requested price in points, where the symbol's execution knows one.

    Source:
        The deviation's default is that of MetaQuotes' example of `order_send`.
    """

    def __init__(self, broker: Mt5Broker, *, deviation: int = 20) -> None:
        self._broker = broker
        self._deviation = deviation
        self._answers = Answers(broker)
        self._habits = Habits()

    def send(self, action: Action, *, position: Position | None, tag: str) -> Receipt:
        """Send one action and return the broker's answer.

        Args:
            action: The absolute target.
            position: The fresh read of the position that is touched; of the parent for a hedge or re-add, of the hedge
                itself for closing it; None for an opening.
            tag: The order's comment, ASCII, at most 29 characters.

        Raises:
            BrokerUnavailableError: It provably never left; also where the terminal is logged in to another account.
            OutcomeUnknownError: It left, or may have: reconcile.
            InvariantError: The position is missing or the tag is not one; nothing left.
        """
        if not (tag.isascii() and 0 < len(tag) <= c.COMMENT_MAX):
            msg = f"tag {tag!r} is not 1 to {c.COMMENT_MAX} ASCII characters; nothing was sent"
            raise InvariantError(msg)
        lost = orders.lost_level(action)
        if lost:
            return _refused(Rejection.INVALID_STOPS, lost)
        tries = Tries(
            habits=self._habits, since=self._broker.now(), coarsens=isinstance(action, (Reduce, OpenHedge, ReAdd))
        )
        refused: Receipt | None = None
        while True:
            try:
                answer, again = self._try(action, position, tag, tries)
            except OutcomeUnknownError as error:
                raise OutcomeUnknownError(_on_try(tries, str(error)), order=error.order, code=error.code) from error
            except WrongAccountError:
                raise
            except BrokerUnavailableError:
                if refused is None:
                    raise
                return refused  # it was refused before, and what would mend it cannot be read now
            if answer is None and tries.coarsening and tries.coarsen():
                continue  # the volume is on that step already: the next one
            if answer is None:
                return refused if refused is not None else _refused(Rejection.INVALID_VOLUME, "nothing is left of it")
            refused = replace(answer, tries=max(1, tries.count), comment=_on_try(tries, answer.comment))
            if not again:
                return refused

    def _try(self, action: Action, position: Position | None, tag: str, tries: Tries) -> tuple[Receipt | None, bool]:
        """Send one request; return its answer and whether another one may mend it, None where there is no other one."""
        account, _ = self._broker.link.verify()
        hedging = mapping.is_hedging(account)
        try:
            prepared = self._prepare(action, position, tries, can_hedge=hedging and not account.fifo_close)
        except InvalidDataError as error:
            return _refused(Rejection.INVALID_REQUEST, str(error)), False
        if isinstance(prepared, Receipt):
            return (prepared, False) if tries.count == 0 else (None, False)
        request: Request = {**prepared, "magic": self._broker.magic, "comment": tag}
        if tries.count > 0 and not tries.is_new(request):
            return None, False
        result = self._order_send(request, f"{kind_of(action)} {tag}")
        if isinstance(result, Receipt):
            tries.count += 1
            return result, False
        again = tries.again(retcodes.retcode_of(result.retcode).mend, request, self._broker.now())
        asked = _asked(action, position, float(request.get("volume", 0.0)))
        return self._answers.receipt(action, request, result, asked=asked, position=position, hedging=hedging), again

    def _prepare(
        self, action: Action, position: Position | None, tries: Tries, *, can_hedge: bool
    ) -> Request | Receipt:
        match action:
            case OpenTrade():
                return orders.open_position(action.symbol, action, action.volume, self._terms(action.symbol, tries))
            case OpenHedge() if not can_hedge:
                # On netting an opposite order closes or reverses the position: it must never leave.
                return _refused(Rejection.HEDGE_PROHIBITED, "the account holds no opposite positions (netting or FIFO)")
            case OpenHedge() | ReAdd():
                parent = _required(action, position)
                if action.ticket not in (parent.ticket, parent.identifier):
                    return _another_position(action, action.ticket, parent)
                side = parent.side.opposite if isinstance(action, OpenHedge) else parent.side
                if action.side is not side:
                    msg = (
                        f"{kind_of(action)} of the {parent.side.name} position {parent.ticket} is a {action.side.name}"
                    )
                    raise InvariantError(msg)
                terms = self._terms(parent.symbol, tries)
                volume = self._cut(parent.symbol, action.volume, terms)
                if volume <= 0:
                    return _refused(
                        Rejection.INVALID_VOLUME, f"{plain(action.volume)} lots are less than the symbol's step"
                    )
                return orders.open_position(parent.symbol, action, volume, terms)
            case SetStop() | Reduce() | Close() | CloseHedge():
                return self._touch(action, _required(action, position), tries)
            case _:
                assert_never(action)

    def _touch(
        self, action: SetStop | Reduce | Close | CloseHedge, position: Position, tries: Tries
    ) -> Request | Receipt:
        ticket = action.hedge if isinstance(action, CloseHedge) else action.ticket
        if ticket not in (position.ticket, position.identifier):
            return _another_position(action, ticket, position)
        match action:
            case SetStop():
                return orders.set_levels(position, action.stop, action.target)
            case Close(by=by) if by is not None:
                return orders.close_by(position, by)
            case Close() | CloseHedge():
                return orders.close(position, position.volume, self._terms(position.symbol, tries))
            case Reduce():
                return self._reduce(action, position, tries)
            case _:
                assert_never(action)

    def _reduce(self, action: Reduce, position: Position, tries: Tries) -> Request | Receipt:
        instrument = self._broker.instrument(position.symbol)
        if position.volume < action.remaining or instrument.same_lots(position.volume, action.remaining):
            return Receipt(
                outcome=Outcome.APPLIED,
                code=_LOCAL,
                goal_met=True,
                comment=f"the volume is {plain(position.volume)} already",
            )
        terms = self._terms(position.symbol, tries)
        volume = self._cut(position.symbol, instrument.lots_down(position.volume - action.remaining), terms)
        if instrument.is_flat(volume) or not instrument.tradable(action.remaining):
            return _refused(
                Rejection.INVALID_VOLUME,
                f"closing {plain(position.volume - action.remaining)} of {plain(position.volume)} lots to leave {plain(action.remaining)}: "
                f"both must be on the step of {instrument.volume_step} and at least {instrument.volume_min}",
            )
        return orders.close(position, volume, terms)

    def _terms(self, symbol: str, tries: Tries) -> orders.Terms:
        info = self._broker.symbol_info(symbol)
        prices = self._prices(symbol) if info.trade_exemode in c.PRICED_EXECUTIONS else None
        return orders.Terms(
            execution=info.trade_exemode,
            fillings=info.filling_mode,
            price_of=prices,
            deviation=self._deviation,
            volume_step=info.volume_step * tries.coarser,
            volume_max=info.volume_max,
            refused_fillings=self._habits.fillings.get(symbol, frozenset()),
            lifetime=self._habits.lifetime(symbol),
            expires=(self._broker.server_clock.to_server(self._broker.now()) + DAY) // SECOND,
        )

    def _cut(self, symbol: str, volume: float, terms: orders.Terms) -> float:
        """Return a volume cut down to the step that the symbol is believed to have, 0 below its minimum."""
        return replace(self._broker.instrument(symbol), volume_step=terms.volume_step).lots_down(volume)

    def _prices(self, symbol: str) -> dict[Side, float]:
        mt5 = self._broker.link.mt5
        tick = self._broker.link.ask("symbol_info_tick", lambda: mt5.symbol_info_tick(symbol))
        if not (tick.bid > 0 and tick.ask > 0):
            msg = f"symbol {symbol}: an order must name its price and there is none (bid {tick.bid}, ask {tick.ask})"
            raise BrokerUnavailableError(msg)
        return {Side.BUY: tick.ask, Side.SELL: tick.bid}

    def _order_send(self, request: Request, what: str) -> OrderSendResult | Receipt:
        """Send, and read `last_error` straight after where there is no answer."""
        link = self._broker.link
        try:
            result = link.mt5.order_send(request)
        except LINK_EXCEPTIONS as error:
            link.drop()
            msg = f"{what}: order_send failed with {error!r}; it may have left, reconcile"
            raise OutcomeUnknownError(msg) from error
        if result is None:
            return _no_answer(*link.last_error(), what)
        wrong = wrong_echo(request, result)
        if wrong:
            link.drop()
            msg = (
                f"{what}: the answer {result.retcode} belongs to another request ({wrong}); it may have left, reconcile"
            )
            raise OutcomeUnknownError(msg)
        return result


def _no_answer(code: int, text: str, what: str) -> Receipt:
    meaning = retcodes.send_error_of(code)
    sentence = f"{what}: no answer, last_error {code} ({text}): {meaning.text}"
    if meaning.left:
        msg = f"{sentence}; it may have left, reconcile"
        raise OutcomeUnknownError(msg)
    if meaning.rejection is None:
        msg = f"{sentence}; it was not sent"
        raise BrokerUnavailableError(msg)
    return Receipt(outcome=Outcome.REJECTED, code=code, rejection=meaning.rejection, comment=sentence)


def _asked(action: Action, position: Position | None, sent: float) -> float:
    """Return the volume that the order was to deal, of which one request may be a part."""
    match action:
        case Close() | CloseHedge() if position is not None:
            return position.volume
        case Reduce() if position is not None:
            return position.volume - action.remaining
        case OpenHedge() | ReAdd() | OpenTrade():
            return action.volume
        case _:
            return sent


def _on_try(tries: Tries, words: str) -> str:
    return words if tries.count <= 1 else f"{words} (try {tries.count} of this order)"


def _required(action: Action, position: Position | None) -> Position:
    if position is None:
        msg = f"{kind_of(action)} needs the fresh read of its position and got none; nothing was sent"
        raise InvariantError(msg)
    return position


def _another_position(action: Action, ticket: int, position: Position) -> Receipt:
    """The ticket changed since the decision, or the wrong position was read: decide anew."""
    return _refused(
        Rejection.PRECONDITION, f"{kind_of(action)} is of ticket {ticket}, the position read is {position.ticket}"
    )


def _refused(rejection: Rejection, why: str) -> Receipt:
    return Receipt(outcome=Outcome.REJECTED, code=_LOCAL, rejection=rejection, comment=f"not sent: {why}")

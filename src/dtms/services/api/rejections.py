"""An order that was not carried out, in our words: which answer each rejection of broker or gateway is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dtms.app.commands.opening_checks import OpeningRefusal, OpeningRefusedError
from dtms.domain.intent import Intent, IntentState
from dtms.domain.receipt import Rejection
from dtms.services.web.problem import FieldFault, Problem, invalid


@dataclass(frozen=True, slots=True)
class _Row:
    status: int
    detail: str
    field: str = ""


_ROWS: Final[Mapping[Rejection, _Row]] = {
    Rejection.PRICE_MOVED: _Row(409, "The price moved before it was opened; ask again."),
    Rejection.INVALID_STOPS: _Row(
        422, "The broker refused stop or target: too near, or on the wrong side.", "stop_loss"
    ),
    Rejection.FROZEN: _Row(409, "The price is inside the freeze level; ask again later."),
    Rejection.NO_MONEY: _Row(409, "The account's free margin is too small for it."),
    Rejection.MARKET_CLOSED: _Row(409, "The market of the symbol is closed."),
    Rejection.HEDGE_PROHIBITED: _Row(409, "The account holds no opposite positions of a symbol."),
    Rejection.INVALID_VOLUME: _Row(422, "The broker refused the volume.", "volume"),
    Rejection.INVALID_REQUEST: _Row(422, "The broker refused the order as it is."),
    Rejection.TRADE_DISABLED: _Row(409, "The broker does not let this account or symbol trade now."),
    Rejection.AUTO_TRADING_OFF: _Row(409, "Automated trading is switched off in the terminal."),
    Rejection.TOO_MANY_REQUESTS: _Row(409, "The broker takes no more requests for the moment."),
    Rejection.POSITION_GONE: _Row(409, "The position is not open any more."),
    Rejection.LIMIT_REACHED: _Row(409, "A limit of the broker for positions or volume is reached."),
    Rejection.DEALER: _Row(409, "The broker's dealer refused it."),
    Rejection.FIFO: _Row(409, "The account closes the oldest position first."),
    Rejection.PRECONDITION: _Row(409, "The account is not as it was when it was planned; ask again."),
    Rejection.LOOSENS: _Row(409, "It would loosen a stop."),
    Rejection.NOT_ARMED: _Row(403, "The account is advisory; arm it before anything is opened."),
    Rejection.KILL_SWITCH: _Row(409, "The kill switch is pressed; nothing is opened."),
    Rejection.MODE: _Row(409, "The system is not in a mode in which anything is opened; see dtms mode."),
    Rejection.NOT_SENT: _Row(503, "The broker could not be reached; nothing was sent. Use a new Idempotency-Key."),
}


def of_intent(intent: Intent) -> Problem:
    """Return the answer to an opening that ended without a position."""
    if intent.state is IntentState.CANCELLED:
        detail = "No gateway took the order in time; it was cancelled and nothing was sent. Is the gateway running?"
        return Problem(503, "gateway_silent", detail, extra={"intent_id": intent.intent_id})
    receipt = intent.receipt
    rejection = None if receipt is None else receipt.rejection
    if receipt is None or rejection is None:
        detail = "It was not carried out, as the broker's own lists show."
        return Problem(409, "not_applied", detail, extra={"intent_id": intent.intent_id})
    row = _ROWS[rejection]
    fields = [FieldFault(field=row.field, code=rejection.value, message=row.detail)] if row.field else []
    extra = {"rejection": rejection.value, "broker_code": receipt.code, "intent_id": intent.intent_id}
    return Problem(row.status, rejection.value, row.detail, fields=fields, extra=extra)


def of_refusal(error: OpeningRefusedError) -> Problem:
    """Return the answer to an order that was refused before anything was written."""
    match error.kind:
        case OpeningRefusal.NOT_ARMED:
            return Problem(403, error.code, str(error))
        case OpeningRefusal.INVALID:
            return invalid([FieldFault(field=error.field, code=error.code, message=str(error))])
        case OpeningRefusal.DENIED:
            return Problem(409, error.code, str(error))

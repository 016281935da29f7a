"""What each code of the terminal means for an order: two tables, and nothing that acts on them.

A code that is not in them is unknown: the order may have been applied. `docs/retcodes.md` is written from them.

Source:
    MetaTrader5 wheel 5.0.6231 and the MQL5 reference, "Return Codes of the Trade Server" and "GetLastError".
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from dtms.domain.receipt import Rejection


class Reaction(StrEnum):
    """The only safe reaction to an answer of the trade server."""

    APPLIED = "applied"
    PARTIAL = "partial"
    GOAL_MET = "goal_met"
    """The target holds already, for the action that can mean it; for another one it is a rejection."""
    MEND = "mend"
    """Not applied, and a request that is put in another way may be: tried again within the same order."""
    RETRY = "retry"
    """Not applied; the same goal may be planned anew, when its rejection says (`domain.receipt.RETRY`)."""
    GIVE_UP = "give_up"
    """Not applied, and never will be for this intent."""
    HALT = "halt"
    """Not applied, and nothing else will be: trading is off, the breaker opens and a person is called."""
    UNKNOWN = "unknown"
    """Perhaps applied: reconcile."""


class Mend(StrEnum):
    """What of a refused request is put in another way."""

    FILLING = "filling"
    """The next filling mode, those of the symbol's mask first; what the symbol refused is remembered."""
    PRICE = "price"
    """The present price, where the symbol's execution names one."""
    VOLUME = "volume"
    """The specification read anew, then a coarser step: never more than was asked, and never a full close or an opening by hand."""
    EXPIRATION = "expiration"
    """The next lifetime of the order: until cancelled, the day."""


class Retcode(NamedTuple):
    """One answer of the trade server; `rejection` is what is told where it is final."""

    name: str
    reaction: Reaction
    rejection: Rejection | None = None
    mend: Mend | None = None


class SendError(NamedTuple):
    """One value of `last_error` after an order that got no answer.

    `left` says whether it may have left. A `rejection` marks an answer of the terminal itself that trying again does
    not change.
    """

    text: str
    left: bool
    rejection: Rejection | None = None


DONE = 10009
DONE_PARTIAL = 10010
NO_CHANGES = 10025
POSITION_CLOSED = 10036
INVALID_FILL = 10030

RETCODES: dict[int, Retcode] = {
    10004: Retcode("REQUOTE", Reaction.MEND, Rejection.PRICE_MOVED, Mend.PRICE),
    10006: Retcode("REJECT", Reaction.RETRY, Rejection.DEALER),
    10007: Retcode("CANCEL", Reaction.GIVE_UP, Rejection.INVALID_REQUEST),  # cancelled by hand
    10008: Retcode("PLACED", Reaction.UNKNOWN),  # accepted, not yet filled
    DONE: Retcode("DONE", Reaction.APPLIED),
    DONE_PARTIAL: Retcode("DONE_PARTIAL", Reaction.PARTIAL),
    10011: Retcode("ERROR", Reaction.UNKNOWN),
    10012: Retcode("TIMEOUT", Reaction.UNKNOWN),  # the text says cancelled; that is not proof
    10013: Retcode("INVALID", Reaction.GIVE_UP, Rejection.INVALID_REQUEST),
    10014: Retcode("INVALID_VOLUME", Reaction.MEND, Rejection.INVALID_VOLUME, Mend.VOLUME),
    10015: Retcode("INVALID_PRICE", Reaction.MEND, Rejection.PRICE_MOVED, Mend.PRICE),
    10016: Retcode("INVALID_STOPS", Reaction.RETRY, Rejection.INVALID_STOPS),  # at the next decision, not in a loop
    10017: Retcode("TRADE_DISABLED", Reaction.HALT, Rejection.TRADE_DISABLED),
    10018: Retcode("MARKET_CLOSED", Reaction.RETRY, Rejection.MARKET_CLOSED),
    10019: Retcode("NO_MONEY", Reaction.GIVE_UP, Rejection.NO_MONEY),
    10020: Retcode("PRICE_CHANGED", Reaction.MEND, Rejection.PRICE_MOVED, Mend.PRICE),
    10021: Retcode("PRICE_OFF", Reaction.MEND, Rejection.PRICE_MOVED, Mend.PRICE),
    10022: Retcode("INVALID_EXPIRATION", Reaction.MEND, Rejection.INVALID_REQUEST, Mend.EXPIRATION),
    10023: Retcode("ORDER_CHANGED", Reaction.UNKNOWN),
    10024: Retcode("TOO_MANY_REQUESTS", Reaction.RETRY, Rejection.TOO_MANY_REQUESTS),
    NO_CHANGES: Retcode("NO_CHANGES", Reaction.GOAL_MET),
    10026: Retcode("SERVER_DISABLES_AT", Reaction.HALT, Rejection.AUTO_TRADING_OFF),
    10027: Retcode("CLIENT_DISABLES_AT", Reaction.HALT, Rejection.AUTO_TRADING_OFF),
    10028: Retcode("LOCKED", Reaction.UNKNOWN),
    10029: Retcode("FROZEN", Reaction.RETRY, Rejection.FROZEN),
    INVALID_FILL: Retcode("INVALID_FILL", Reaction.MEND, Rejection.INVALID_REQUEST, Mend.FILLING),
    10031: Retcode("CONNECTION", Reaction.UNKNOWN),  # no link to the trade server, noticed who knows when
    10032: Retcode("ONLY_REAL", Reaction.HALT, Rejection.TRADE_DISABLED),
    10033: Retcode("LIMIT_ORDERS", Reaction.GIVE_UP, Rejection.LIMIT_REACHED),
    10034: Retcode("LIMIT_VOLUME", Reaction.GIVE_UP, Rejection.LIMIT_REACHED),
    10035: Retcode("INVALID_ORDER", Reaction.GIVE_UP, Rejection.INVALID_REQUEST),
    POSITION_CLOSED: Retcode("POSITION_CLOSED", Reaction.GOAL_MET, Rejection.POSITION_GONE),
    10038: Retcode("INVALID_CLOSE_VOLUME", Reaction.GIVE_UP, Rejection.INVALID_VOLUME),
    10039: Retcode("CLOSE_ORDER_EXIST", Reaction.UNKNOWN),  # another close is in flight, perhaps ours
    10040: Retcode("LIMIT_POSITIONS", Reaction.GIVE_UP, Rejection.LIMIT_REACHED),
    10041: Retcode("REJECT_CANCEL", Reaction.GIVE_UP, Rejection.INVALID_REQUEST),
    10042: Retcode("LONG_ONLY", Reaction.GIVE_UP, Rejection.HEDGE_PROHIBITED),
    10043: Retcode("SHORT_ONLY", Reaction.GIVE_UP, Rejection.HEDGE_PROHIBITED),
    10044: Retcode("CLOSE_ONLY", Reaction.GIVE_UP, Rejection.HEDGE_PROHIBITED),
    10045: Retcode("FIFO_CLOSE", Reaction.GIVE_UP, Rejection.FIFO),
    10046: Retcode("HEDGE_PROHIBITED", Reaction.GIVE_UP, Rejection.HEDGE_PROHIBITED),
}

_UNMAPPED = Retcode("unmapped", Reaction.UNKNOWN)

SUCCESS = 1
DESYNCHRONISED = -10000
CALL_FAILED = -1
NOT_FOUND = -4
INVALID_PARAMS = -2

SEND_ERRORS: dict[int, SendError] = {
    INVALID_PARAMS: SendError("invalid arguments", left=False, rejection=Rejection.INVALID_REQUEST),
    -3: SendError("no memory", left=False),
    NOT_FOUND: SendError("not found", left=False),
    -5: SendError("invalid version", left=False),
    -6: SendError("authorization failed", left=False),
    -7: SendError("unsupported method", left=False, rejection=Rejection.INVALID_REQUEST),
    -8: SendError("auto-trading disabled in the terminal", left=False, rejection=Rejection.AUTO_TRADING_OFF),
    -10004: SendError("no IPC connection", left=False),
    CALL_FAILED: SendError("call failed", left=True),
    DESYNCHRONISED: SendError("IPC stream desynchronised", left=True),
    -10001: SendError("IPC send failed", left=True),  # a part of it may have been written
    -10002: SendError("IPC receive failed", left=True),
}

_UNKNOWN_ERROR = SendError("unmapped", left=True)

BROKEN_LINK = frozenset({DESYNCHRONISED, -10001, -10002, -10003, -10004, -10005})
"""Values of `last_error` after which the link is opened anew: answers on the old one may belong to older questions."""


def retcode_of(code: int) -> Retcode:
    """Return what an answer means; a code that nobody mapped is unknown."""
    return RETCODES.get(code, _UNMAPPED)


def send_error_of(code: int) -> SendError:
    """Return what a missing answer means; a value that nobody mapped may have left."""
    return SEND_ERRORS.get(code, _UNKNOWN_ERROR)

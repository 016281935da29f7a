"""What the broker answered, in our words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """What became of a request that the broker answered."""

    APPLIED = "applied"
    PARTIAL = "partial"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    """The broker took the order and has not told what became of it."""


class Rejection(StrEnum):
    """Why the broker, or we in its place, said no."""

    PRICE_MOVED = "price_moved"
    INVALID_STOPS = "invalid_stops"
    FROZEN = "frozen"
    NO_MONEY = "no_money"
    MARKET_CLOSED = "market_closed"
    HEDGE_PROHIBITED = "hedge_prohibited"
    INVALID_VOLUME = "invalid_volume"
    INVALID_REQUEST = "invalid_request"
    TRADE_DISABLED = "trade_disabled"
    AUTO_TRADING_OFF = "auto_trading_off"
    TOO_MANY_REQUESTS = "too_many_requests"
    POSITION_GONE = "position_gone"
    LIMIT_REACHED = "limit_reached"
    DEALER = "dealer"
    FIFO = "fifo"
    PRECONDITION = "precondition"
    LOOSENS = "loosens"
    NOT_ARMED = "not_armed"
    KILL_SWITCH = "kill_switch"
    MODE = "mode"
    NOT_SENT = "not_sent"


class Retry(StrEnum):
    """When a refused goal may be asked for again."""

    SOON = "soon"
    """In seconds, with a wait that grows: nothing about the order is wrong."""
    OPENING = "when the market opens"
    NEXT_DECISION = "at the next decision"
    """Another price or another position makes it another order."""
    TRADING_ON = "when trading is on again"
    NEVER = "never"


RETRY: Final[dict[Rejection, Retry]] = {
    Rejection.PRICE_MOVED: Retry.SOON,
    Rejection.INVALID_STOPS: Retry.NEXT_DECISION,
    Rejection.FROZEN: Retry.SOON,
    Rejection.NO_MONEY: Retry.NEVER,
    Rejection.MARKET_CLOSED: Retry.OPENING,
    Rejection.HEDGE_PROHIBITED: Retry.NEVER,
    Rejection.INVALID_VOLUME: Retry.NEVER,
    Rejection.INVALID_REQUEST: Retry.NEVER,
    Rejection.TRADE_DISABLED: Retry.TRADING_ON,
    Rejection.AUTO_TRADING_OFF: Retry.TRADING_ON,
    Rejection.TOO_MANY_REQUESTS: Retry.SOON,
    Rejection.POSITION_GONE: Retry.NEXT_DECISION,
    Rejection.LIMIT_REACHED: Retry.NEVER,
    Rejection.DEALER: Retry.SOON,
    Rejection.FIFO: Retry.NEXT_DECISION,
    Rejection.PRECONDITION: Retry.SOON,
    Rejection.LOOSENS: Retry.NEVER,
    Rejection.NOT_ARMED: Retry.NEVER,
    Rejection.KILL_SWITCH: Retry.NEVER,
    Rejection.MODE: Retry.NEVER,
    Rejection.NOT_SENT: Retry.SOON,
}
"""The one place that says so, for plans, exits, hands and the kill switch; total."""

RETRYABLE: Final = frozenset(reason for reason, when in RETRY.items() if when in (Retry.SOON, Retry.OPENING))
"""Rejections after which the same goal may be planned anew; every other one is permanent for the intent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One answer.

    `code` is the broker's own number. `filled` is the volume executed now, `price` its price; `position` the stable
    identifier of a position that was opened, `ticket` its ticket. `goal_met` marks an answer that says the target held
    already (no change needed, position closed). `tries` counts the requests that left for this one order: all but the last
    were refused for something that the adapter could mend. `left` is what the position held after it where that was read:
    others may have taken from it too; it is not kept in the ledger.
    """

    outcome: Outcome
    code: int
    rejection: Rejection | None = None
    order: int | None = None
    deal: int | None = None
    ticket: int | None = None
    position: int | None = None
    filled: float = 0.0
    price: float | None = None
    goal_met: bool = False
    comment: str = ""
    tries: int = 1
    left: float | None = None

"""What the broker answered, in our words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a request that the broker answered."""

    APPLIED = "applied"
    PARTIAL = "partial"
    REJECTED = "rejected"


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


RETRYABLE = frozenset(
    {
        Rejection.PRICE_MOVED,
        Rejection.FROZEN,
        Rejection.MARKET_CLOSED,
        Rejection.TOO_MANY_REQUESTS,
        Rejection.PRECONDITION,
        Rejection.DEALER,
        Rejection.NOT_SENT,
    }
)
"""Rejections after which the same goal may be planned anew; every other one is permanent for the intent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One answer.

    `code` is the broker's own number. `filled` is the volume executed now, `price` its price; `position` the stable
    identifier of a position that was opened, `ticket` its ticket. `goal_met` marks an answer that says the target held
    already (no change needed, position closed).
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

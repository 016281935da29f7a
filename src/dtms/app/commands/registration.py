"""The words of a registration: what a caller says of a position, what came of it, and why it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dtms.domain.trade import Trade
from dtms.domain.units import Side, Ticket
from dtms.errors import DtmsError


class RefusalKind(StrEnum):
    """Why a registration is refused; each is one answer of the API."""

    NOT_OPEN = "position_not_open"
    CONFLICT = "conflict"
    SYMBOL_TAKEN = "symbol_taken"
    RISK_UNKNOWN = "risk_unknown"
    WRONG_SIDE = "stop_on_wrong_side"
    TARGET_WRONG_SIDE = "target_on_wrong_side"
    INVALID = "invalid"
    NOT_READY = "not_ready"
    UNKNOWN_PROFILE = "profile_unknown"
    HEDGE_OPEN = "hedge_open"
    ON_ITS_WAY = "intent_on_its_way"
    TRADE_UNKNOWN = "trade_unknown"
    INTENT_UNKNOWN = "intent_unknown"
    NOT_QUARANTINED = "not_quarantined"
    OTHERWISE = "broker_shows_otherwise"


class RegistrationRefusedError(DtmsError):
    """A registration or release that cannot be; `field` names what to change."""

    def __init__(self, kind: RefusalKind, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.kind = kind
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a caller says about a position; the broker is asked for everything that it can tell."""

    ticket: Ticket
    symbol: str
    side: Side
    entry: float
    volume: float
    stop: float | None
    initial_stop: float | None = None
    target: float | None = None
    profile: str = "intraday"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The trade, and whether it had been there before."""

    trade: Trade
    already: bool

"""What the system may do by itself, and the causes that take some of it away."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dtms.domain.units import Millis


class Mode(StrEnum):
    """What the system may do by itself: everything, everything with care, only reduce, nothing. Ascending by severity."""

    NORMAL = "NORMAL"
    DEGRADED = "DEGRADED"
    PROTECT_ONLY = "PROTECT_ONLY"
    HALT = "HALT"


class Cause(StrEnum):
    """Why the system does less than it could; `dtms.core.modes` says what each one means."""

    UNKNOWN_OUTCOME = "unknown_outcome"
    STALE_MARKET = "stale_market"
    BROKER_SILENT = "broker_silent"
    CLOCK_STEPPED = "clock_stepped"
    SUSPENDED = "suspended"
    UNRECONCILED = "unreconciled"
    ORPHANS = "orphans"
    KILL_FILE = "kill_file"
    QUARANTINED = "quarantined"
    REJECTS = "rejects"
    TRADING_OFF = "trading_off"
    SEND_BUDGET = "send_budget"
    UNDECIDED = "undecided"
    MARKET_UNREAD = "market_unread"
    PASS_FAILING = "pass_failing"  # noqa: S105 - a pass of the loop, no password
    ERRORS_GROW = "errors_grow"
    STOP_OUT = "stop_out"
    ACCOUNT_CHANGED = "account_changed"
    LEDGER_DOWN = "ledger_down"
    LEDGER_DAMAGED = "ledger_damaged"
    FENCED = "fenced"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveCause:
    """One cause as somebody told it.

    Attributes:
        cause: Which.
        since: When it began, on the market's clock.
        detail: What was seen, in a sentence for the operator.
        ended: When it ended, None while it holds. One that ended still counts until a full reconcile was clean after it.
        role: Who told: `gateway`, `server` or `api`, or `operator` for a halt by hand.
    """

    cause: Cause
    since: Millis
    detail: str
    ended: Millis | None = None
    role: str = ""

"""A trade: a position under our management, with its state, its plan under way and its history in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from dtms.domain.action import Action
from dtms.domain.rules import DefenceRule
from dtms.domain.units import Lots, Millis, Price, Side, Ticket, TradeId
from dtms.errors import InvalidDataError


class TradeState(StrEnum):
    """Where the defence of a trade stands."""

    HEALTHY = "HEALTHY"
    WARNING_L1 = "WARNING_L1"
    WARNING_L2 = "WARNING_L2"
    HEDGED = "HEDGED"
    RECOVERING = "RECOVERING"
    CLOSED = "CLOSED"


DEFENSIVE_STATES = frozenset({TradeState.WARNING_L2, TradeState.HEDGED})
"""The states in which DTMS alone may touch the trade."""


class Owner(StrEnum):
    """Who may change the trade: DTMS alone, both programs, or nobody (advisory or released)."""

    DTMS = "dtms"
    SHARED = "shared"
    NONE = "none"


class LegKind(StrEnum):
    """What a child position is for."""

    HEDGE = "hedge"
    RE_ADD = "re_add"


class Hold(StrEnum):
    """Why a trade is only observed; nothing is planned for it until the operator says so."""

    NONE = "none"
    VOLUME_ADDED = "volume_added"
    QUARANTINED = "quarantined"
    INVARIANT = "invariant"
    BY_HAND = "by_hand"
    ENTRY = "entry"
    ANOTHER = "another"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A child position that we opened: linked to its parent, follows its stop and target, closes with it."""

    kind: LegKind
    ticket: Ticket
    identifier: int
    side: Side
    volume: Lots
    entry: float
    stop: Price | None
    target: Price | None
    opened_at: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One absolute target of a plan, with what happens where it is impossible.

    A required step that is impossible takes its `fallback` steps and the transition commits with `fallback_name`; with
    neither, the transition waits and the step is tried again. A best-effort step's refusal is only recorded. `at_r` is
    the r-multiple at which it was decided. `own_stop_distance` asks that a position which the step opens gets its stop
    so far from its own fill, in price units; `taken` is the volume that a reduction takes off. `price_based` marks a target that came from a price.
    """

    action: Action
    rule: DefenceRule
    required: bool
    fallback: tuple[PlanStep, ...] = ()
    fallback_name: str = ""
    at_r: float | None = None
    own_stop_distance: float | None = None
    taken: float = 0.0
    price_based: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A transition under way: decided, written with its first intent, not yet committed.

    `step` counts the steps already settled, `attempt` the tries of the present one; `retry_at` holds a further try back.
    `fallbacks` names what was taken instead.
    """

    to: TradeState
    row: str
    decision_id: str
    decided_at: Millis
    steps: tuple[PlanStep, ...]
    step: int = 0
    fallbacks: tuple[str, ...] = ()
    attempt: int = 1
    retry_at: Millis | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceFlags:
    """What happened once and must not happen again, and what is remembered across states.

    `tightened_at_r` is the greatest r-multiple seen when the stop was last tightened. `hedge_equivalent` is the volume
    that HEDGED took off where hedging is not possible, to be restored on RECOVERING.
    """

    defensive_partial_done: bool = False
    hedge_used: bool = False
    hedge_reduction_done: bool = False
    readd_done: bool = False
    tightened_at_r: float | None = None
    hedge_equivalent: float = 0.0
    defensive_partial_volume: float = 0.0
    hedge_filled_at: Millis | None = None
    countermoves: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePoint:
    """One scored M5 bar, remembered for the rules that ask for bars running."""

    at: Millis
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A position of a trade, its own or a child's, that reads do not show, by its identifier; `since` the first of them."""

    identifier: int
    since: Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A position under management.

    `initial_stop` and `r` (abs(entry - initial_stop), price units) are frozen at registration. `stop`, `target` and
    `volume` are the main leg's as last confirmed at the broker. `version` grows with state, pending, stop, target,
    volume, legs and rules, never with score or quotes. `bars_in_state` counts the M5 bars decided since the state was
    entered; `bars_since_registration` since registration. `legs` are the children open now, `children` the identifiers of
    all that ever were. `entry` is what was paid: the broker's at registration, moved by what we add ourselves and by a
    person's word; `shown_entry` is the broker's where it is accepted and differs (reopened for swap, held for a person),
    None where it does not. `commission_per_lot` is what opening and closing one lot cost together, account currency. `recent` holds the last scored bars, oldest first.
    `missing` names which of its positions the last read did not show, so that a restart goes on waiting from the first.

    Raises:
        InvalidDataError: A field cannot be true; the row or request is refused.
    """

    trade_id: TradeId
    ticket: Ticket
    identifier: int
    symbol: str
    side: Side
    entry: float
    initial_volume: Lots
    initial_stop: Price
    r: float
    volume: Lots
    stop: Price | None
    target: Price | None
    state: TradeState
    state_since: Millis
    version: int
    owner: Owner
    registered_at: Millis
    profile: str = "intraday"
    pending: Pending | None = None
    deadline: Millis | None = None
    legs: tuple[Leg, ...] = ()
    children: tuple[int, ...] = ()
    marks: OnceFlags = field(default_factory=OnceFlags)
    recent: tuple[ScorePoint, ...] = ()
    bars_in_state: int = 0
    bars_since_registration: int = 0
    last_bar: Millis | None = None
    last_row: str = ""
    hold: Hold = Hold.NONE
    naked_ms: int = 0
    naked_since: Millis | None = None
    missing: tuple[Missing, ...] = ()
    closed_at: Millis | None = None
    close_reason: str = ""
    calibrated: bool = True
    commission_per_lot: float = 0.0
    shown_entry: float | None = None
    seq: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.r) and self.r > 0):
            msg = f"trade {self.ticket}: R is {self.r!r}; the initial stop must lie away from the entry"
            raise InvalidDataError(msg)
        if not (math.isfinite(self.initial_volume) and self.initial_volume > 0):
            msg = f"trade {self.ticket}: first volume {self.initial_volume!r} must be positive"
            raise InvalidDataError(msg)
        if not self.volume >= 0:
            msg = f"trade {self.ticket}: volume {self.volume!r} must not be negative"
            raise InvalidDataError(msg)
        if self.version < 1:
            msg = f"trade {self.ticket}: version {self.version} must start at 1"
            raise InvalidDataError(msg)

    @property
    def is_open(self) -> bool:
        """Say whether the trade is not CLOSED."""
        return self.state is not TradeState.CLOSED

    @property
    def pending_to(self) -> TradeState | None:
        """Return the state that the transition under way leads to, None where there is none."""
        return None if self.pending is None else self.pending.to

    @property
    def defensive(self) -> bool:
        """Say whether state or pending state is HEDGED or WARNING_L2, until the way out has committed."""
        return self.is_open and (self.state in DEFENSIVE_STATES or self.pending_to in DEFENSIVE_STATES)

    @property
    def hedge(self) -> Leg | None:
        """Return the open hedge, if any."""
        return next((leg for leg in self.legs if leg.kind is LegKind.HEDGE), None)

    @property
    def entry_at_broker(self) -> float:
        """Return the entry that the broker is known to show."""
        return self.entry if self.shown_entry is None else self.shown_entry

    def missing_since(self, identifier: int) -> Millis | None:
        """Return when a read first did not show a position of the trade, None where the last one did."""
        return next((each.since for each in self.missing if each.identifier == identifier), None)

    def favourable(self, price: float) -> float:
        """Return how far `price` lies in the trade's favour, in price units."""
        return self.side * (price - self.entry)

    def r_multiple(self, price: float) -> float:
        """Return `favourable / R` at an executable price."""
        return self.favourable(price) / self.r

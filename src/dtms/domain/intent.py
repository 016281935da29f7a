"""An intent: an action once it is written to the ledger, with its whole way to the broker and back."""

from __future__ import annotations

import hashlib
from base64 import b32encode
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from dtms.domain.action import Action, ActionKind, Resource, kind_of, resource_of
from dtms.domain.receipt import Receipt
from dtms.domain.rules import Rule
from dtms.domain.units import Millis, TradeId


class IntentState(StrEnum):
    """The journal's states (reliability.md section 1)."""

    PLANNED = "PLANNED"
    SENDING = "SENDING"
    ACKED = "ACKED"
    APPLIED = "APPLIED"
    PARTIAL = "PARTIAL"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"
    NOT_APPLIED = "NOT_APPLIED"
    QUARANTINED = "QUARANTINED"
    CANCELLED = "CANCELLED"


UNFINISHED = frozenset({IntentState.PLANNED, IntentState.SENDING, IntentState.ACKED, IntentState.UNKNOWN})
"""States that something must still decide."""

IN_FLIGHT = frozenset({IntentState.SENDING, IntentState.UNKNOWN})
"""States that claim the resource: at most one a position and resource."""

INTENT_TRANSITIONS: dict[IntentState, frozenset[IntentState]] = {
    IntentState.PLANNED: frozenset({IntentState.SENDING, IntentState.CANCELLED}),
    IntentState.SENDING: frozenset({IntentState.ACKED, IntentState.REJECTED, IntentState.UNKNOWN}),
    IntentState.ACKED: frozenset({IntentState.APPLIED, IntentState.PARTIAL, IntentState.UNKNOWN}),
    IntentState.UNKNOWN: frozenset(
        {IntentState.APPLIED, IntentState.PARTIAL, IntentState.NOT_APPLIED, IntentState.QUARANTINED}
    ),
    IntentState.QUARANTINED: frozenset({IntentState.APPLIED, IntentState.NOT_APPLIED}),
    IntentState.APPLIED: frozenset(),
    IntentState.PARTIAL: frozenset(),
    IntentState.REJECTED: frozenset(),
    IntentState.NOT_APPLIED: frozenset(),
    IntentState.CANCELLED: frozenset(),
}
"""The journal's table; a pair that is not in it raises."""


class Planner(StrEnum):
    """Who asked: the defence, the exit manager, a person or another program, or the gateway's own safety."""

    DTMS = "dtms"
    EXITS = "exits"
    COMMAND = "command"


class Purpose(NamedTuple):
    """What an intent is for, however often it is decided anew: limits, waits and alarms count by it, never by decision.

    `position` is the stable identifier of the position that is touched, None for an opening.
    """

    trade_id: TradeId
    owner: Planner
    kind: ActionKind
    position: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Precondition:
    """What the decision saw; the gateway compares it with a fresh read just before it sends.

    A stop change holds `stop` and `target`, a partial `volume`, a hedge `volume` and that there is no open hedge; a full
    close holds nothing but the position's identity. `price_based` marks a target that came from a price: such an intent
    dies after 60 s.
    """

    stop: float | None = None
    target: float | None = None
    volume: float | None = None
    version: int = 0
    price_based: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One row of the journal.

    `position` is the stable identifier of the position that the action touches, None for an opening. `owner` planned it,
    `rule` says why. `step` is the place in the plan, `attempt` grows with each new try of the same step. `tag` is what
    the broker sees; it is derived, so a restart makes the same one.
    """

    intent_id: str
    trade_id: TradeId
    position: int | None
    decision_id: str
    step: int
    attempt: int
    action: Action
    precondition: Precondition
    owner: Planner
    rule: Rule
    state: IntentState
    tag: str
    created_at: Millis
    expires_at: Millis | None
    epoch: int = 0
    receipt: Receipt | None = None
    reason: str = ""
    sent_at: Millis | None = None
    settled_at: Millis | None = None
    score_before: float | None = None
    regime: str = ""

    @property
    def kind(self) -> ActionKind:
        """The journal's word for the action."""
        return kind_of(self.action)

    @property
    def resource(self) -> Resource:
        """What of the position the action claims."""
        return resource_of(self.action)

    @property
    def purpose(self) -> Purpose:
        """What it is for: the same for each try and each new decision that wants the same."""
        return Purpose(self.trade_id, self.owner, self.kind, self.position)

    @property
    def unfinished(self) -> bool:
        """Say whether something must still decide it."""
        return self.state in UNFINISHED


def intent_id(trade_id: TradeId, decision_id: str, step: int, attempt: int, created_at: Millis) -> str:
    """Return the ULID-shaped key of an intent: 48 bits of time, 80 of the decision's hash, in Crockford's base 32.

    The random part of a ULID is replaced by the hash of what `UNIQUE` holds, so that the same decision evaluated twice
    makes the same key.

    Source:
        The ULID specification, canonical string representation.
    """
    digest = hashlib.sha256(f"{trade_id}|{decision_id}|{step}|{attempt}".encode()).digest()
    value = (created_at << 80) | int.from_bytes(digest[:10])
    return "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


def tag_of(trade_id: TradeId, decision_id: str, step: int, attempt: int) -> str:
    """Return the broker-visible tag: base 32 of the step's hash, with `z2`, `z3` for later attempts.

    Derived, so a restart makes the same one; later attempts keep the first one's stem, so that a late application of an
    earlier attempt is still seen as the same step. 23 characters and the suffix: the terminal takes comments of 29.
    """
    digest = hashlib.sha256(f"{trade_id}|{decision_id}|{step}".encode()).digest()
    base = b32encode(digest[:14]).decode().rstrip("=").lower()
    return base if attempt == 1 else f"{base}z{attempt}"


_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

"""What the ledger keeps beside trades and intents: transitions, events, audit, outbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from dtms.domain.rules import StopRule
from dtms.domain.trade import TradeState
from dtms.domain.units import Millis, Ticket, TradeId


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionRecord:
    """One committed transition with the plan that carried it."""

    trade_id: TradeId
    ticket: Ticket
    row: str
    source: TradeState
    target: TradeState
    decision_id: str
    decided_at: Millis
    committed_at: Millis
    version: int
    score: float | None
    fallbacks: tuple[str, ...]
    plan: str


class EventKind(StrEnum):
    """What the event stream tells."""

    STATE = "state"
    ACTION = "action"
    HEARTBEAT = "heartbeat"
    MODE = "mode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of the stream; `seq` is contiguous in the ledger, `body` is JSON."""

    seq: int
    kind: EventKind
    ticket: Ticket | None
    at: Millis
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One link of the append-only chain: `digest` = SHA-256 over the previous digest and the canonical row."""

    seq: int
    at: Millis
    actor: str
    what: str
    trade_id: TradeId | None
    body: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRecord:
    """One stop that was seen at the broker, and the one reason for it.

    `intent_id` is None where the change was made by hand or was there when the trade was adopted; `rule` says which.
    """

    trade_id: TradeId
    position: int
    at: Millis
    old: float | None
    new: float | None
    rule: StopRule
    intent_id: str | None
    answer: str


class OutboxKind(StrEnum):
    """What waits to be told to another service."""

    REGISTER = "register"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxItem:
    """One message that must reach another service at least once; `body` is JSON."""

    item_id: int
    kind: OutboxKind
    key: str
    body: str
    created_at: Millis
    attempts: int = 0
    next_at: Millis = field(default=Millis(0))
    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A stored answer to a request with an idempotency key."""

    key: str
    principal: str
    route: str
    body_hash: str
    status: int
    body: str
    created_at: Millis

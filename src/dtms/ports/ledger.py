"""The ledger: the truth for intentions. One read or write transaction at a time, and nothing outside of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from dtms.domain.exits import ExitState
from dtms.domain.intent import Intent, IntentState
from dtms.domain.position import Deal
from dtms.domain.records import (
    AuditEntry,
    Event,
    EventKind,
    OutboxItem,
    OutboxKind,
    Reply,
    StopRecord,
    TransitionRecord,
)
from dtms.domain.trade import Trade
from dtms.domain.units import Millis, Ticket, TradeId


class LedgerRead(Protocol):
    """One consistent view. Absent means absent: failure raises `LedgerUnavailableError`."""

    def trade(self, ticket: Ticket) -> Trade | None:
        """Return the trade of a present ticket, or of an old one for 24 h after it changed."""
        ...

    def trade_by_id(self, trade_id: TradeId) -> Trade | None:
        """Return a trade by our key."""
        ...

    def open_trades(self) -> tuple[Trade, ...]:
        """Return all trades that are not CLOSED, ascending by ticket."""
        ...

    def trades(
        self, *, state: str | None = None, symbol: str | None = None, after: int = 0, limit: int = 100
    ) -> tuple[Trade, ...]:
        """Return a page of trades ascending by ticket, beginning behind ticket `after`."""
        ...

    def closed_since(self, at: Millis) -> tuple[Trade, ...]:
        """Return the trades that were closed at or after `at`, ascending by closing time."""
        ...

    def intent(self, intent_id: str) -> Intent | None:
        """Return one intent."""
        ...

    def planned(self, limit: int = 100) -> tuple[Intent, ...]:
        """Return PLANNED intents, oldest first."""
        ...

    def unfinished(self, trade_id: TradeId | None = None) -> tuple[Intent, ...]:
        """Return intents in PLANNED, SENDING, ACKED or UNKNOWN, oldest first, of one trade or of all."""
        ...

    def intents(
        self, *, trade_id: TradeId | None = None, since: Millis = Millis(0), after: str = "", limit: int = 100
    ) -> tuple[Intent, ...]:
        """Return a page of intents ascending by id, created at or after `since`, beginning behind id `after`."""
        ...

    def transitions(self, trade_id: TradeId | None = None, limit: int = 1_000) -> tuple[TransitionRecord, ...]:
        """Return committed transitions, oldest first."""
        ...

    def stops(self, trade_id: TradeId) -> tuple[StopRecord, ...]:
        """Return every stop seen at the broker for a trade, oldest first."""
        ...

    def deals(self, position: int) -> tuple[Deal, ...]:
        """Return recorded deals of a position, oldest first."""
        ...

    def exit_book(self, ticket: Ticket) -> ExitState | None:
        """Return a trade's exit rules and their state."""
        ...

    def exit_books(self) -> tuple[ExitState, ...]:
        """Return the exit rules of all open trades, ascending by ticket."""
        ...

    def events_since(self, seq: int, limit: int = 1_000) -> tuple[Event, ...]:
        """Return events with a greater seq, ascending."""
        ...

    def last_event(self) -> int:
        """Return the seq of the newest event, 0 where there is none."""
        ...

    def due(self, now: Millis, limit: int = 100) -> tuple[OutboxItem, ...]:
        """Return outbox items whose next attempt is due, oldest first."""
        ...

    def waiting(self) -> tuple[OutboxItem, ...]:
        """Return all outbox items that are not done, oldest first."""
        ...

    def market_state(self, symbol: str) -> bytes | None:
        """Return the saved indicator state of a symbol."""
        ...

    def fact(self, name: str) -> str | None:
        """Return a named fact (kill switch, mode, equity at the day's start), None where it was never set."""
        ...

    def facts(self, *names: str) -> Mapping[str, str]:
        """Return those of up to 8 named facts that were ever set, in one question."""
        ...

    def reply(self, key: str, principal: str, route: str) -> Reply | None:
        """Return the stored answer to an idempotency key."""
        ...

    def audit(self, after: int = 0, limit: int = 1_000) -> tuple[AuditEntry, ...]:
        """Return links of the audit chain, ascending."""
        ...


class LedgerWrite(LedgerRead, Protocol):
    """One write transaction: all of it or nothing."""

    def add_trade(self, trade: Trade) -> None:
        """Insert a new trade; raises `StaleWriteError` where its ticket is managed already."""
        ...

    def save_trade(self, trade: Trade) -> Trade:
        """Write a trade on condition that nobody wrote since it was read (`seq`); return it with its new seq.

        Raises:
            StaleWriteError: Somebody wrote first; reload and decide again.
        """
        ...

    def add_intent(self, intent: Intent) -> bool:
        """Insert a PLANNED intent; False where the same decision, step and attempt is there already."""
        ...

    def claim(self, intent: Intent, *, epoch: int, now: Millis, lease: str | None = None) -> Intent | None:
        """Move PLANNED to SENDING in one conditional statement; None where somebody was faster or the resource is taken.

        With `lease` the same statement asks that the lease of that name is of this epoch and has not ended.

        Raises:
            EpochOverError: A gateway with a newer epoch has claimed; this one must stop sending.
            FencedError: The lease has ended or is another's.
        """
        ...

    def save_intent(self, intent: Intent, *, expected: IntentState) -> None:
        """Write an intent's new state; raises `StaleWriteError` where it is not `expected` any more.

        Raises:
            IllegalTransitionError: The journal's table holds no way from `expected` to the new state.
        """
        ...

    def add_transition(self, record: TransitionRecord) -> None:
        """Append a committed transition."""
        ...

    def add_stop(self, record: StopRecord) -> None:
        """Append a stop seen at the broker."""
        ...

    def add_deals(self, deals: Sequence[Deal]) -> int:
        """Insert deals that are not known yet, and take over what the broker has corrected; return how many were new."""
        ...

    def put_exit_book(self, book: ExitState) -> ExitState:
        """Insert or write exit rules on condition of their `seq`; return them with their new seq."""
        ...

    def delete_exit_book(self, ticket: Ticket) -> bool:
        """Remove a trade's exit rules; False where there were none."""
        ...

    def add_event(self, kind: EventKind, ticket: Ticket | None, at: Millis, body: str) -> int:
        """Append an event; return its seq."""
        ...

    def add_outbox(self, kind: OutboxKind, key: str, body: str, at: Millis) -> None:
        """Append a message; the same kind and key is kept once."""
        ...

    def retry_outbox(self, item: OutboxItem, *, next_at: Millis, error: str) -> None:
        """Count a failed attempt and set the next."""
        ...

    def done_outbox(self, item: OutboxItem) -> None:
        """Mark a message as delivered."""
        ...

    def put_market_state(self, symbol: str, at: Millis, state: bytes) -> None:
        """Write the indicator state of a symbol."""
        ...

    def set_fact(self, name: str, value: str | None) -> None:
        """Write or, with None, remove a named fact."""
        ...

    def touch(self, name: str, value: str) -> None:
        """Write a named fact that nobody decides on: the revision does not grow."""
        ...

    def add_reply(self, reply: Reply) -> None:
        """Store an answer under its idempotency key."""
        ...

    def add_audit(self, *, at: Millis, actor: str, what: str, trade_id: TradeId | None, body: str) -> None:
        """Append a link to the audit chain."""
        ...


class Ledger(Protocol):
    """The ledger of one account.

    `epoch` is a word that is new at creation and at restore; every answer about a trade carries it.
    """

    @property
    def epoch(self) -> str:
        """Return the ledger's epoch."""
        ...

    def read(self) -> AbstractContextManager[LedgerRead]:
        """Open a read transaction."""
        ...

    def write(self) -> AbstractContextManager[LedgerWrite]:
        """Open a write transaction; it commits when the block ends and rolls back when it raises.

        Raises:
            LedgerUnavailableError: Locked too long, disk full, server gone.
            StaleWriteError: A concurrent transaction won (PostgreSQL only); run the block again.
            FencedError: The lease that this ledger object took has been taken by another since.
        """
        ...

    def revision(self) -> int:
        """Return a number that grows with every committed write of any process: cheap, for "did anything change?"."""
        ...

    def close(self) -> None:
        """Release connections and locks."""
        ...

"""The reading half of the ledger's port, inside one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import repeat

from dtms.adapters.sql import rows
from dtms.adapters.sql import statements as sql
from dtms.adapters.sql.executor import Executor
from dtms.adapters.sql.schema import RESTORE
from dtms.domain.exits import ExitState
from dtms.domain.intent import Intent
from dtms.domain.position import Deal
from dtms.domain.records import AuditEntry, Event, OutboxItem, Reply, StopRecord, TransitionRecord
from dtms.domain.trade import Trade
from dtms.domain.units import DAY, Millis, Ticket, TradeId
from dtms.errors import LedgerUnavailableError

_INT64 = 2**63
_START = Millis(0)


@dataclass(slots=True)
class Meta:
    """The counters of the ledger's one meta row."""

    revision: int
    last_event: int
    audit_seq: int
    audit_digest: str
    gateway_epoch: int


class ReadTransaction:
    """Fulfils `dtms.ports.ledger.LedgerRead`.

    Args:
        executor: The connection, inside a transaction.
        now: The instant at which old tickets and stored replies are still valid or not.
    """

    __slots__ = ("_executor", "_now")

    def __init__(self, executor: Executor, now: Millis) -> None:
        self._executor = executor
        self._now = now

    def trade(self, ticket: Ticket) -> Trade | None:
        """Return the trade of a present ticket, the last closed one of it, or that of an old ticket for 24 h."""
        if not -_INT64 <= ticket < _INT64:
            return None
        row = self._executor.one(sql.TRADE_BY_TICKET, ticket=ticket)
        if row is None:
            row = self._executor.one(sql.TRADE_BY_ALIAS, ticket=ticket, now=self._now)
        return None if row is None else rows.read_rows(rows.READ_TRADE, [row])[0]

    def trade_by_id(self, trade_id: TradeId) -> Trade | None:
        """Return a trade by our key."""
        row = self._executor.one(sql.TRADE_BY_ID, trade_id=trade_id)
        return None if row is None else rows.read_rows(rows.READ_TRADE, [row])[0]

    def open_trades(self) -> tuple[Trade, ...]:
        """Return all trades that are not CLOSED, ascending by ticket."""
        found = self._executor.all(sql.OPEN_TRADES)
        rows.READ_TRADE.expect(len(found))
        return rows.read_rows(rows.READ_TRADE, found)

    def trades(
        self, *, state: str | None = None, symbol: str | None = None, after: int = 0, limit: int = 100
    ) -> tuple[Trade, ...]:
        """Return a page of trades ascending by ticket, beginning behind ticket `after`."""
        if after >= _INT64:
            return ()
        found = self._executor.all(sql.TRADES_PAGE, state=state, symbol=symbol, after=after, limit=limit)
        return rows.read_rows(rows.READ_TRADE, found)

    def closed_since(self, at: Millis) -> tuple[Trade, ...]:
        """Return the trades that were closed at or after `at`, ascending by closing time."""
        return rows.read_rows(rows.READ_TRADE, self._executor.all(sql.CLOSED_SINCE, at=at))

    def intent(self, intent_id: str) -> Intent | None:
        """Return one intent."""
        row = self._executor.one(sql.INTENT_BY_ID, intent_id=intent_id)
        return None if row is None else rows.read_rows(rows.READ_INTENT, [row])[0]

    def planned(self, limit: int = 100) -> tuple[Intent, ...]:
        """Return PLANNED intents, oldest first."""
        return rows.read_rows(rows.READ_INTENT, self._executor.all(sql.PLANNED, limit=limit))

    def unfinished(self, trade_id: TradeId | None = None) -> tuple[Intent, ...]:
        """Return intents in PLANNED, SENDING, ACKED or UNKNOWN, oldest first, of one trade or of all."""
        if trade_id is None:
            return rows.read_rows(rows.READ_INTENT, self._executor.all(sql.UNFINISHED))
        return rows.read_rows(rows.READ_INTENT, self._executor.all(sql.UNFINISHED_OF, trade_id=trade_id))

    def intents(
        self, *, trade_id: TradeId | None = None, since: Millis = _START, after: str = "", limit: int = 100
    ) -> tuple[Intent, ...]:
        """Return a page of intents ascending by id, created at or after `since`, beginning behind id `after`."""
        if trade_id is None:
            found = self._executor.all(sql.INTENTS_PAGE, since=since, after=after, limit=limit)
        else:
            found = self._executor.all(sql.INTENTS_PAGE_OF, trade_id=trade_id, since=since, after=after, limit=limit)
        return rows.read_rows(rows.READ_INTENT, found)

    def transitions(self, trade_id: TradeId | None = None, limit: int = 1_000) -> tuple[TransitionRecord, ...]:
        """Return the newest `limit` committed transitions, oldest of them first."""
        if trade_id is None:
            found = self._executor.all(sql.TRANSITIONS_ALL, limit=limit)
        else:
            found = self._executor.all(sql.TRANSITIONS_OF, trade_id=trade_id, limit=limit)
        return rows.read_rows(rows.TRANSITION.load, reversed(found))

    def stops(self, trade_id: TradeId) -> tuple[StopRecord, ...]:
        """Return every stop seen at the broker for a trade, oldest first."""
        return rows.read_rows(rows.STOP.load, self._executor.all(sql.STOPS_OF, trade_id=trade_id))

    def deals(self, position: int) -> tuple[Deal, ...]:
        """Return recorded deals of a position, oldest first."""
        return rows.read_rows(rows.DEAL.load, self._executor.all(sql.DEALS_OF, position=position))

    def exit_book(self, ticket: Ticket) -> ExitState | None:
        """Return a trade's exit rules and their state."""
        if not -_INT64 <= ticket < _INT64:
            return None
        row = self._executor.one(sql.BOOK_BY_TICKET, ticket=ticket)
        return None if row is None else rows.read_rows(rows.READ_BOOK, [row])[0]

    def exit_books(self) -> tuple[ExitState, ...]:
        """Return the exit rules of all open trades, ascending by ticket."""
        found = self._executor.all(sql.BOOKS_OPEN)
        rows.READ_BOOK.expect(len(found))
        return rows.read_rows(rows.READ_BOOK, found)

    def events_since(self, seq: int, limit: int = 1_000) -> tuple[Event, ...]:
        """Return events with a greater seq, ascending."""
        return rows.read_rows(rows.EVENT.load, self._executor.all(sql.EVENTS_SINCE, seq=seq, limit=limit))

    def last_event(self) -> int:
        """Return the seq of the newest event, 0 where there is none."""
        return self.meta().last_event

    def due(self, now: Millis, limit: int = 100) -> tuple[OutboxItem, ...]:
        """Return outbox items whose next attempt is due, oldest first."""
        return rows.read_rows(rows.ITEM.load, self._executor.all(sql.OUTBOX_DUE, now=now, limit=limit))

    def waiting(self) -> tuple[OutboxItem, ...]:
        """Return all outbox items that are not done, oldest first."""
        return rows.read_rows(rows.ITEM.load, self._executor.all(sql.OUTBOX_WAITING))

    def market_state(self, symbol: str) -> bytes | None:
        """Return the saved indicator state of a symbol."""
        row = self._executor.one(sql.MARKET_STATE, symbol=symbol)
        return None if row is None else bytes(row[0])

    def fact(self, name: str) -> str | None:
        """Return a named fact, None where it was never set."""
        row = self._executor.one(sql.FACT, name=name)
        return None if row is None else str(row[0])

    def facts(self, *names: str) -> Mapping[str, str]:
        """Return those of up to 8 named facts that were ever set."""
        filled = (*names, *repeat(names[0], sql.FACTS_AT_ONCE - len(names)))
        return dict(self._executor.all(sql.FACTS_NAMED, **dict(zip(sql.FACT_NAMES, filled, strict=True))))

    def reply(self, key: str, principal: str, route: str) -> Reply | None:
        """Return the stored answer to an idempotency key; it is kept for 24 h."""
        oldest = self._now - DAY
        row = self._executor.one(sql.REPLY, key=key, principal=principal, route=route, after=oldest)
        return None if row is None else rows.read_rows(rows.REPLY.load, [row])[0]

    def audit(self, after: int = 0, limit: int = 1_000) -> tuple[AuditEntry, ...]:
        """Return links of the audit chain, ascending."""
        return rows.read_rows(rows.AUDIT.load, self._executor.all(sql.AUDIT_AFTER, seq=after, limit=limit))

    def meta(self) -> Meta:
        """Return the ledger's counters, as this transaction sees them; beyond the port."""
        row = self._executor.one(sql.META_READ)
        if row is None:
            msg = f"the ledger has lost its meta row; {RESTORE}"
            raise LedgerUnavailableError(msg)
        return Meta(*row)

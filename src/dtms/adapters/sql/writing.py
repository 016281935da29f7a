"""The writing half of the ledger's port, inside one transaction.

There is one writer at a time (an immediate transaction on SQLite, a lock on the meta row on PostgreSQL), so what a
transaction read stays true until it commits; a write decided on an *earlier* read is conditional and raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dtms.adapters.sql import rows
from dtms.adapters.sql import statements as sql
from dtms.adapters.sql.audit import digest
from dtms.adapters.sql.backend import LeaseTime
from dtms.adapters.sql.executor import Executor
from dtms.adapters.sql.lease_statements import LEASE_IS_HELD
from dtms.adapters.sql.reading import Meta, ReadTransaction
from dtms.adapters.sql.schema import RESTORE
from dtms.domain.action import RiskDirection, risk_of
from dtms.domain.exits import ExitState
from dtms.domain.intent import INTENT_TRANSITIONS, Intent, IntentState
from dtms.domain.position import Deal
from dtms.domain.records import EventKind, OutboxItem, OutboxKind, Reply, StopRecord, TransitionRecord
from dtms.domain.trade import Trade, TradeState
from dtms.domain.units import DAY, Millis, Ticket, TradeId
from dtms.errors import IllegalTransitionError, InvariantError, LedgerUnavailableError, StaleWriteError
from dtms.ports.lease import EpochOverError, FencedError


class WriteTransaction(ReadTransaction):
    """Fulfils `dtms.ports.ledger.LedgerWrite`.

    Args:
        executor: The connection, inside a transaction that holds the writer's lock.
        now: As for reading; old tickets answer for 24 h from here.
        account: What stamps intents and deals.
        meta: The counters, read under the lock.
        lease_now: Returns the parameters that tell a lease's statement the time.
    """

    __slots__ = ("_account", "_changed", "_lease_now", "_meta")

    def __init__(self, executor: Executor, now: Millis, account: str, meta: Meta, lease_now: LeaseTime) -> None:
        super().__init__(executor, now)
        self._account = account
        self._meta = meta
        self._lease_now = lease_now
        self._changed = False

    def _change(self, statement: sql.Statement, **values: object) -> bool:
        changed = self._executor.change(statement, **values) > 0
        self._changed = self._changed or changed
        return changed

    def meta(self) -> Meta:
        """Return the counters with what this transaction has added."""
        return self._meta

    def add_trade(self, trade: Trade) -> None:
        """Insert a new trade; raises `StaleWriteError` where its ticket is managed already."""
        if not self._change(sql.TRADE_ADD, **rows.trade_row(trade)):
            msg = f"ticket {trade.ticket} (trade {trade.trade_id}) is managed already; load it instead of adding it"
            raise StaleWriteError(msg)

    def save_trade(self, trade: Trade) -> Trade:
        """Write a trade on condition that nobody wrote since it was read (`seq`); return it with its new seq.

        Raises:
            StaleWriteError: Somebody wrote first; reload and decide again.
            IllegalTransitionError: The trade is CLOSED, which absorbs.
            InvariantError: The version would fall.
        """
        saved = replace(trade, seq=trade.seq + 1)
        values = {**rows.trade_row(saved), "id": trade.trade_id, "read_seq": trade.seq}
        if self._change(sql.TRADE_SAVE, **values):
            return saved
        old_ticket = self._check_saving(trade)
        self._change(sql.TRADE_SAVE_NEW_TICKET, **values)
        self._move_ticket(trade, old_ticket)
        return saved

    def _check_saving(self, trade: Trade) -> int:
        """Say why a trade could not be saved; return its old ticket where the ticket alone was the reason."""
        row = self._executor.one(sql.TRADE_COLUMNS, trade_id=trade.trade_id)
        if row is None:
            msg = f"trade {trade.trade_id} (ticket {trade.ticket}) is not in the ledger; add it first"
            raise StaleWriteError(msg)
        ticket, state, version, seq = row
        if seq != trade.seq:
            msg = f"trade {trade.ticket} was written since it was read (seq {seq}, read {trade.seq}); reload and decide again"
            raise StaleWriteError(msg)
        if state == TradeState.CLOSED and trade.is_open:
            msg = f"trade {trade.ticket} is CLOSED and cannot become {trade.state}; register the position anew"
            raise IllegalTransitionError(msg)
        if version > trade.version:
            msg = f"trade {trade.ticket}: version would fall from {version} to {trade.version}; keep it or raise it"
            raise InvariantError(msg)
        return int(ticket)

    def _move_ticket(self, trade: Trade, old: int) -> None:
        self._change(sql.ALIAS_PUT, ticket=old, trade_id=trade.trade_id, until=self._now + DAY)
        row = self._executor.one(sql.BOOK_BY_ID, trade_id=trade.trade_id)
        if row is not None:
            self.put_exit_book(replace(rows.read_rows(rows.BOOK.load, [row])[0], ticket=trade.ticket))

    def add_intent(self, intent: Intent) -> bool:
        """Insert a PLANNED intent; False where the same decision, step and attempt is there already."""
        if intent.state is not IntentState.PLANNED:
            msg = f"intent {intent.intent_id} is {intent.state}; a new intent is PLANNED, nothing else"
            raise InvariantError(msg)
        values = rows.intent_row(intent, self._account)
        if self._change(sql.INTENT_ADD, **values):
            return True
        if self._executor.one(sql.INTENT_OF_ATTEMPT, **values) is None:
            msg = f"intent {intent.intent_id}: its key or its tag {intent.tag} belongs to another decision; derive both"
            raise InvariantError(msg)
        return False

    def claim(self, intent: Intent, *, epoch: int, now: Millis, lease: str | None = None) -> Intent | None:
        """Move PLANNED to SENDING in one conditional statement; None where somebody was faster or the resource is taken.

        An intent waits for one of the same position and resource that is SENDING, and, unless it reduces risk, for one
        that is UNKNOWN, and for any of the position that is QUARANTINED. With `lease` the same statement asks that the
        lease of that name is of this epoch and has not ended.

        Raises:
            EpochOverError: A gateway with a newer epoch has claimed; this one must stop sending.
            FencedError: The lease has ended or is another's.
        """
        if epoch < self._meta.gateway_epoch:
            msg = f"gateway epoch {epoch} is over, epoch {self._meta.gateway_epoch} has taken its place; stop this gateway"
            raise EpochOverError(msg)
        passes = rows.passes_unknown(intent)
        reduces = risk_of(intent.action) is RiskDirection.REDUCE
        leased = {} if lease is None else {"lease_name": lease, "lease_epoch": epoch, **self._lease_now()}
        claimed = self._change(
            sql.INTENT_CLAIM if lease is None else sql.INTENT_CLAIM_LEASED,
            id=intent.intent_id,
            epoch=epoch,
            sent_at=now,
            guard=None if passes else intent.resource.value,
            passes=int(passes),
            reduces=int(reduces),
            **leased,
        )
        if not claimed:
            if lease is not None and self._executor.one(LEASE_IS_HELD, **leased) is None:
                msg = f"the lease {lease!r} of epoch {epoch} has ended; stop sending until it is taken anew"
                raise FencedError(msg)
            return None
        self._meta.gateway_epoch = epoch
        # What is sent is what the journal holds, whatever the caller's copy says.
        return self.intent(intent.intent_id)

    def save_intent(self, intent: Intent, *, expected: IntentState) -> None:
        """Write an intent's new state; raises `StaleWriteError` where it is not `expected` any more.

        Raises:
            IllegalTransitionError: The journal's table holds no way from `expected` to the new state; SENDING is reached
                through `claim` alone.
        """
        if intent.state not in INTENT_TRANSITIONS[expected] or intent.state is IntentState.SENDING:
            msg = f"intent {intent.intent_id}: no way leads from {expected} to {intent.state}; read it again and decide anew"
            raise IllegalTransitionError(msg)
        values = rows.INTENT.dump(intent)
        if not self._change(sql.INTENT_SAVE, id=intent.intent_id, expected=expected.value, **values):
            msg = f"intent {intent.intent_id} is not {expected} any more; read it again and decide anew"
            raise StaleWriteError(msg)

    def add_transition(self, record: TransitionRecord) -> None:
        """Append a committed transition."""
        self._change(sql.TRANSITION_ADD, **rows.TRANSITION.dump(record))

    def add_stop(self, record: StopRecord) -> None:
        """Append a stop seen at the broker."""
        self._change(sql.STOP_ADD, **rows.STOP.dump(record))

    def add_deals(self, deals: Sequence[Deal]) -> int:
        """Insert deals that are not known yet, and take over what the broker has corrected; return how many were new."""
        return sum(self._new_deal(deal) for deal in deals)

    def _new_deal(self, deal: Deal) -> bool:
        row = rows.DEAL.dump(deal)
        if self._change(sql.DEAL_ADD, account=self._account, **row):
            return True
        figures = {name: row[name] for name in sql.FIGURES}
        named = {f"new_{name}": value for name, value in figures.items()}
        self._change(sql.DEAL_CORRECT, of=self._account, number=deal.deal_id, **figures, **named)
        return False

    def put_exit_book(self, book: ExitState) -> ExitState:
        """Insert or write exit rules on condition of their `seq` (0 = new); return them with their new seq."""
        saved = replace(book, seq=book.seq + 1)
        values = {"ticket": saved.ticket, "seq": saved.seq, "body": rows.BOOK.dump(saved)}
        if book.seq == 0:
            done = self._change(sql.BOOK_ADD, trade_id=book.trade_id, **values)
        else:
            done = self._change(sql.BOOK_SAVE, id=book.trade_id, read_seq=book.seq, **values)
        if not done:
            msg = f"the exit rules of ticket {book.ticket} were written since they were read; reload and decide again"
            raise StaleWriteError(msg)
        return saved

    def delete_exit_book(self, ticket: Ticket) -> bool:
        """Remove a trade's exit rules; False where there were none."""
        return self._change(sql.BOOK_DELETE, ticket=ticket)

    def add_event(self, kind: EventKind, ticket: Ticket | None, at: Millis, body: str) -> int:
        """Append an event; return its seq."""
        seq = self._meta.last_event + 1
        self._change(sql.EVENT_ADD, seq=seq, kind=kind.value, ticket=ticket, at=at, body=body)
        self._meta.last_event = seq
        return seq

    def add_outbox(self, kind: OutboxKind, key: str, body: str, at: Millis) -> None:
        """Append a message; the same kind and key is kept once."""
        self._change(
            sql.OUTBOX_ADD,
            kind=kind.value,
            key=key,
            body=body,
            created_at=at,
            attempts=0,
            next_at=at,
            last_error="",
            done=0,
        )

    def retry_outbox(self, item: OutboxItem, *, next_at: Millis, error: str) -> None:
        """Count a failed attempt and set the next."""
        read = item.attempts
        if not self._change(sql.OUTBOX_RETRY, id=item.item_id, read_attempts=read, next_at=next_at, last_error=error):
            msg = f"outbox item {item.item_id} ({item.kind} {item.key}) was tried by another since; read it again"
            raise StaleWriteError(msg)

    def done_outbox(self, item: OutboxItem) -> None:
        """Mark a message as delivered."""
        self._change(sql.OUTBOX_DONE, id=item.item_id)

    def put_market_state(self, symbol: str, at: Millis, state: bytes) -> None:
        """Write the indicator state of a symbol."""
        self._change(sql.MARKET_STATE_PUT, symbol=symbol, at=at, state=state)

    def set_fact(self, name: str, value: str | None) -> None:
        """Write or, with None, remove a named fact."""
        if value is None:
            self._change(sql.FACT_DELETE, name=name)
        else:
            self._change(sql.FACT_PUT, name=name, value=value)

    def touch(self, name: str, value: str) -> None:
        """Write a named fact that nobody decides on: the revision does not grow, so nobody reads anew because of it."""
        self._executor.change(sql.FACT_PUT, name=name, value=value)

    def add_reply(self, reply: Reply) -> None:
        """Store an answer under its idempotency key; what is older than 24 h is removed.

        Raises:
            StaleWriteError: The same request has an answer already; read that one.
        """
        self._change(sql.REPLIES_EXPIRE, until=self._now - DAY)
        if not self._change(sql.REPLY_ADD, **rows.REPLY.dump(reply)):
            msg = f"idempotency key {reply.key!r} has an answer for {reply.route} already; read that one"
            raise StaleWriteError(msg)

    def add_audit(self, *, at: Millis, actor: str, what: str, trade_id: TradeId | None, body: str) -> None:
        """Append a link to the audit chain."""
        seq = self._meta.audit_seq + 1
        link = digest(self._meta.audit_digest, seq=seq, at=at, actor=actor, what=what, trade_id=trade_id, body=body)
        self._change(sql.AUDIT_ADD, seq=seq, at=at, actor=actor, what=what, trade_id=trade_id, body=body, digest=link)
        self._meta.audit_seq = seq
        self._meta.audit_digest = link

    def finish(self) -> None:
        """Write the counters before the commit, where anything was changed.

        Raises:
            LedgerError: A statement failed before, whoever caught it; nothing may be committed.
        """
        if self._executor.failure is not None:
            raise self._executor.failure
        if not self._changed:
            return
        meta = self._meta
        changed = self._executor.change(
            sql.META_WRITE,
            last_event=meta.last_event,
            audit_seq=meta.audit_seq,
            audit_digest=meta.audit_digest,
            gateway_epoch=meta.gateway_epoch,
        )
        if changed != 1:
            msg = f"the ledger has lost its meta row; {RESTORE}"
            raise LedgerUnavailableError(msg)

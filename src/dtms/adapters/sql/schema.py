"""The tables of the ledger: one definition for SQLite and PostgreSQL.

Instants are integer milliseconds, money and prices double precision, JSON is canonical text (so that a hash over a row
is the same everywhere). The migrations make exactly these tables; a test compares the two.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

SCHEMA = 2
"""The newest schema that this program knows; `meta.schema` of a ledger must not be greater."""

RESTORE = "restore it from a backup (dtms ledger restore FILE)"
"""What to do with a ledger that cannot be trusted any more."""

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Only a plain INTEGER primary key is SQLite's row id.
_ROW_ID = BigInteger().with_variant(Integer(), "sqlite")


def _of_trade() -> Column[str]:
    # Deferred: the order of writes inside a transaction is the caller's business.
    trade = ForeignKey("trades.trade_id", deferrable=True, initially="DEFERRED")
    return Column("trade_id", Text, trade, nullable=False)


def _int(name: str, *, null: bool = False, **more: Any) -> Column[int]:
    return Column(name, BigInteger, nullable=null, **more)


def _text(name: str, *, null: bool = False, **more: Any) -> Column[str]:
    return Column(name, Text, nullable=null, **more)


def _real(name: str, *, null: bool = False) -> Column[float]:
    return Column(name, Double, nullable=null)


META = Table(
    "meta",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _text("account"),
    _int("schema"),
    _text("epoch"),
    _int("revision"),
    _int("last_event"),
    _int("audit_seq"),
    _text("audit_digest"),
    _int("gateway_epoch"),
    CheckConstraint("id = 1", name="one_row"),
)
"""One row. Counters that every write transaction moves stand here, so that their order is the order of commits."""

TRADES = Table(
    "trades",
    METADATA,
    _text("trade_id", primary_key=True),
    _int("ticket"),
    _int("identifier"),
    _text("symbol"),
    _text("state"),
    _text("owner"),
    _int("version"),
    _int("seq"),
    _int("closed_at", null=True),
    _text("body"),
    Index("ix_trades_ticket", "ticket"),
    Index("ix_trades_closed_at", "closed_at"),
    Index(
        "uq_trades_open_ticket",
        "ticket",
        unique=True,
        sqlite_where=text("state <> 'CLOSED'"),
        postgresql_where=text("state <> 'CLOSED'"),
    ),
)

TICKET_ALIASES = Table(
    "ticket_aliases",
    METADATA,
    _int("ticket"),
    _of_trade(),
    _int("until"),
    PrimaryKeyConstraint("ticket", "trade_id"),
)
"""Old tickets that still answer for their trade, until an instant."""

TRANSITIONS = Table(
    "transitions",
    METADATA,
    Column("id", _ROW_ID, primary_key=True),
    _of_trade(),
    _int("ticket"),
    _text("row"),
    _text("source"),
    _text("target"),
    _text("decision_id"),
    _int("decided_at"),
    _int("committed_at"),
    _int("version"),
    _real("score", null=True),
    _text("fallbacks"),
    _text("plan"),
    Index("ix_transitions_trade_id", "trade_id", "id"),
)

_SENDERS = text("state = 'SENDING'")
_CLAIMS = text("state IN ('SENDING', 'UNKNOWN') AND guard IS NOT NULL")
_BLOCKING = text("state IN ('SENDING', 'UNKNOWN', 'QUARANTINED')")
_UNFINISHED = text("state IN ('PLANNED', 'SENDING', 'ACKED', 'UNKNOWN')")

INTENTS = Table(
    "intents",
    METADATA,
    _text("intent_id", primary_key=True),
    _text("account"),
    _int("position_identifier", null=True),
    _text("trade_id"),
    _text("decision_id"),
    _int("step"),
    _int("attempt"),
    _text("kind"),
    _text("resource"),
    _text("guard", null=True),
    _text("target"),
    _text("precondition"),
    _text("owner"),
    _text("rule"),
    _int("epoch"),
    _text("state"),
    _text("tag"),
    _int("created_at"),
    _int("deadline", null=True),
    _text("result", null=True),
    _text("reason"),
    _int("sent_at", null=True),
    _int("settled_at", null=True),
    _real("score_before", null=True),
    _text("regime"),
    UniqueConstraint("tag"),
    UniqueConstraint("trade_id", "decision_id", "step", "attempt"),
    Index("ix_intents_trade_id", "trade_id", "intent_id"),
    Index("ix_intents_unfinished", "intent_id", sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED),
    Index("ix_intents_claims", "position_identifier", sqlite_where=_BLOCKING, postgresql_where=_BLOCKING),
    Index(
        "uq_intents_sender",
        "position_identifier",
        "resource",
        unique=True,
        sqlite_where=_SENDERS,
        postgresql_where=_SENDERS,
    ),
    Index(
        "uq_intents_guard",
        "position_identifier",
        "guard",
        unique=True,
        sqlite_where=_CLAIMS,
        postgresql_where=_CLAIMS,
    ),
)
"""The journal. `guard` is the claimed resource, NULL for an intent that may pass one whose outcome is unknown."""

DEALS = Table(
    "deals",
    METADATA,
    _text("account"),
    _int("deal_id"),
    _int("order_id"),
    _int("position"),
    _text("symbol"),
    _int("side"),
    _text("entry"),
    _text("reason"),
    _real("volume"),
    _real("price"),
    _real("profit"),
    _real("commission"),
    _real("swap"),
    _real("fee"),
    _int("magic"),
    _text("comment"),
    _int("at"),
    PrimaryKeyConstraint("account", "deal_id"),
    Index("ix_deals_position", "position", "at"),
)

STOPS = Table(
    "stops",
    METADATA,
    Column("id", _ROW_ID, primary_key=True),
    _of_trade(),
    _int("position"),
    _int("at"),
    _real("old", null=True),
    _real("new", null=True),
    _text("rule"),
    _text("intent_id", null=True),
    _text("answer"),
    Index("ix_stops_trade_id", "trade_id", "id"),
)

EXIT_BOOKS = Table(
    "exit_books",
    METADATA,
    _of_trade(),
    _int("ticket"),
    _int("seq"),
    _text("body"),
    PrimaryKeyConstraint("trade_id"),
    Index("ix_exit_books_ticket", "ticket"),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("seq", _ROW_ID, primary_key=True, autoincrement=False),
    _text("kind"),
    _int("ticket", null=True),
    _int("at"),
    _text("body"),
)

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("item_id", _ROW_ID, primary_key=True),
    _text("kind"),
    _text("key"),
    _text("body"),
    _int("created_at"),
    _int("attempts"),
    _int("next_at"),
    _text("last_error"),
    _int("done"),
    UniqueConstraint("kind", "key"),
    Index("ix_outbox_waiting", "item_id", sqlite_where=text("done = 0"), postgresql_where=text("done = 0")),
)

MARKET_STATES = Table(
    "market_states",
    METADATA,
    _text("symbol", primary_key=True),
    _int("at"),
    Column("state", LargeBinary, nullable=False),
)

FACTS = Table("facts", METADATA, _text("name", primary_key=True), _text("value"))

LEASES = Table(
    "leases",
    METADATA,
    _text("name", primary_key=True),
    _text("owner"),
    _int("epoch"),
    _text("boot"),
    _int("expires_at"),
    _int("heartbeat"),
)
"""Who may send. Instants are the server's wall clock on PostgreSQL, boot time on SQLite; `boot` says of which start."""

REPLIES = Table(
    "replies",
    METADATA,
    _text("key"),
    _text("principal"),
    _text("route"),
    _text("body_hash"),
    _int("status"),
    _text("body"),
    _int("created_at"),
    PrimaryKeyConstraint("key", "principal", "route"),
    Index("ix_replies_created_at", "created_at"),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("seq", _ROW_ID, primary_key=True, autoincrement=False),
    _int("at"),
    _text("actor"),
    _text("what"),
    _text("trade_id", null=True),
    _text("body"),
    _text("digest"),
)

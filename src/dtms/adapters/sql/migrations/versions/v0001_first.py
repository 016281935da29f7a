"""The first schema: trades, journal, messages, records."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table."""
    _trades()
    _journal()
    _messages()
    _records()


def _int(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=null)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def _real(name: str, *, null: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=null)


def _of_trade(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_trade_id"
    return sa.ForeignKeyConstraint(["trade_id"], ["trades.trade_id"], name=name, initially="DEFERRED", deferrable=True)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def _trades() -> None:
    op.create_table(
        "trades",
        _text("trade_id"),
        _int("ticket"),
        _int("identifier"),
        _text("symbol"),
        _text("state"),
        _text("owner"),
        _int("version"),
        _int("seq"),
        _int("closed_at", null=True),
        _text("body"),
        sa.PrimaryKeyConstraint("trade_id", name="pk_trades"),
    )
    op.create_index("ix_trades_closed_at", "trades", ["closed_at"])
    op.create_index("ix_trades_ticket", "trades", ["ticket"])
    op.create_index("uq_trades_open_ticket", "trades", ["ticket"], unique=True, **_where("state <> 'CLOSED'"))
    op.create_table(
        "ticket_aliases",
        _int("ticket"),
        _text("trade_id"),
        _int("until"),
        _of_trade("ticket_aliases"),
        sa.PrimaryKeyConstraint("ticket", "trade_id", name="pk_ticket_aliases"),
    )
    op.create_table(
        "transitions",
        sa.Column("id", _ROW_ID, nullable=False),
        _text("trade_id"),
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
        _of_trade("transitions"),
        sa.PrimaryKeyConstraint("id", name="pk_transitions"),
    )
    op.create_index("ix_transitions_trade_id", "transitions", ["trade_id", "id"])
    op.create_table(
        "stops",
        sa.Column("id", _ROW_ID, nullable=False),
        _text("trade_id"),
        _int("position"),
        _int("at"),
        _real("old", null=True),
        _real("new", null=True),
        _text("rule"),
        _text("intent_id", null=True),
        _text("answer"),
        _of_trade("stops"),
        sa.PrimaryKeyConstraint("id", name="pk_stops"),
    )
    op.create_index("ix_stops_trade_id", "stops", ["trade_id", "id"])
    op.create_table(
        "exit_books",
        _text("trade_id"),
        _int("ticket"),
        _int("seq"),
        _text("body"),
        _of_trade("exit_books"),
        sa.PrimaryKeyConstraint("trade_id", name="pk_exit_books"),
    )
    op.create_index("ix_exit_books_ticket", "exit_books", ["ticket"])


def _journal() -> None:
    op.create_table(
        "intents",
        _text("intent_id"),
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
        sa.PrimaryKeyConstraint("intent_id", name="pk_intents"),
        sa.UniqueConstraint("tag", name="uq_intents_tag"),
        sa.UniqueConstraint(
            "trade_id", "decision_id", "step", "attempt", name="uq_intents_trade_id_decision_id_step_attempt"
        ),
    )
    op.create_index(
        "ix_intents_claims",
        "intents",
        ["position_identifier"],
        **_where("state IN ('SENDING', 'UNKNOWN', 'QUARANTINED')"),
    )
    op.create_index("ix_intents_trade_id", "intents", ["trade_id", "intent_id"])
    op.create_index(
        "ix_intents_unfinished",
        "intents",
        ["intent_id"],
        **_where("state IN ('PLANNED', 'SENDING', 'ACKED', 'UNKNOWN')"),
    )
    op.create_index(
        "uq_intents_guard",
        "intents",
        ["position_identifier", "guard"],
        unique=True,
        **_where("state IN ('SENDING', 'UNKNOWN') AND guard IS NOT NULL"),
    )
    op.create_index(
        "uq_intents_sender", "intents", ["position_identifier", "resource"], unique=True, **_where("state = 'SENDING'")
    )
    op.create_table(
        "deals",
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
        sa.PrimaryKeyConstraint("account", "deal_id", name="pk_deals"),
    )
    op.create_index("ix_deals_position", "deals", ["position", "at"])


def _messages() -> None:
    op.create_table(
        "events",
        sa.Column("seq", _ROW_ID, autoincrement=False, nullable=False),
        _text("kind"),
        _int("ticket", null=True),
        _int("at"),
        _text("body"),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
    )
    op.create_table(
        "outbox",
        sa.Column("item_id", _ROW_ID, nullable=False),
        _text("kind"),
        _text("key"),
        _text("body"),
        _int("created_at"),
        _int("attempts"),
        _int("next_at"),
        _text("last_error"),
        _int("done"),
        sa.PrimaryKeyConstraint("item_id", name="pk_outbox"),
        sa.UniqueConstraint("kind", "key", name="uq_outbox_kind_key"),
    )
    op.create_index("ix_outbox_waiting", "outbox", ["item_id"], **_where("done = 0"))
    op.create_table(
        "replies",
        _text("key"),
        _text("principal"),
        _text("route"),
        _text("body_hash"),
        _int("status"),
        _text("body"),
        _int("created_at"),
        sa.PrimaryKeyConstraint("key", "principal", "route", name="pk_replies"),
    )
    op.create_index("ix_replies_created_at", "replies", ["created_at"])


def _records() -> None:
    op.create_table(
        "meta",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        _text("account"),
        _int("schema"),
        _text("epoch"),
        _int("revision"),
        _int("last_event"),
        _int("audit_seq"),
        _text("audit_digest"),
        _int("gateway_epoch"),
        sa.CheckConstraint("id = 1", name="ck_meta_one_row"),
        sa.PrimaryKeyConstraint("id", name="pk_meta"),
    )
    op.create_table(
        "market_states",
        _text("symbol"),
        _int("at"),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", name="pk_market_states"),
    )
    op.create_table("facts", _text("name"), _text("value"), sa.PrimaryKeyConstraint("name", name="pk_facts"))
    op.create_table(
        "audit",
        sa.Column("seq", _ROW_ID, autoincrement=False, nullable=False),
        _int("at"),
        _text("actor"),
        _text("what"),
        _text("trade_id", null=True),
        _text("body"),
        _text("digest"),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )

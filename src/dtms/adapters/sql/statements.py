"""Every statement that the ledger runs, built once.

Building one costs some 300 microseconds and running it through the whole of SQLAlchemy another 50, so they are module
constants with bind parameters, compiled to plain SQL once a dialect (`Compiled`), and run on the driver's connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Delete,
    Dialect,
    Select,
    Table,
    Text,
    Update,
    and_,
    bindparam,
    delete,
    exists,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.sql.elements import ColumnElement

from dtms.adapters.sql import rows
from dtms.adapters.sql.lease_statements import LEASE_HELD
from dtms.adapters.sql.schema import (
    AUDIT,
    DEALS,
    EVENTS,
    EXIT_BOOKS,
    FACTS,
    INTENTS,
    MARKET_STATES,
    META,
    OUTBOX,
    REPLIES,
    STOPS,
    TICKET_ALIASES,
    TRADES,
    TRANSITIONS,
)

Statement = Select[Any] | Insert | Update | Delete


class Compiled:
    """SQL text for one dialect, with the parameters that the statement itself fixes."""

    __slots__ = ("_fixed", "sql")

    def __init__(self, statement: Statement, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self.sql = str(compiled)
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def bind(self, values: dict[str, Any]) -> Mapping[str, Any]:
        """Return all parameters of one execution."""
        return {**self._fixed, **values} if self._fixed else values


def _p(column: Column[Any], name: str | None = None) -> Any:
    return bindparam(name or column.name, type_=column.type)


def _limit() -> Any:
    return bindparam("limit", type_=BigInteger())


def _add(table: Table, *left_out: str) -> Insert:
    # The PostgreSQL spelling of INSERT compiles for SQLite as well, and both know ON CONFLICT. Inline: the key of a new
    # row is not asked back.
    return insert(table).values({c.name: _p(c) for c in table.c if c.name not in left_out}).inline()


def _read(table: Table, row: rows.Row[Any]) -> Select[Any]:
    return select(*(table.c[name] for name in row.columns))


def _put(table: Table) -> Insert:
    statement = _add(table)
    keys = [c.name for c in table.primary_key]
    values = {c.name: statement.excluded[c.name] for c in table.c if c.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=values)


def _word(value: str) -> ColumnElement[str]:
    # A literal, not a parameter: SQLite uses a partial index only where the query's text implies it.
    return literal_column(f"'{value}'", Text)


def _if_given(column: Column[Any]) -> ColumnElement[bool]:
    return or_(_p(column).is_(None), column == _p(column))


_OPEN = TRADES.c.state != _word("CLOSED")
_OPEN_FIRST = (TRADES.c.state == _word("CLOSED"), TRADES.c.closed_at.desc())
_UNFINISHED = INTENTS.c.state.in_([_word(s) for s in ("PLANNED", "SENDING", "ACKED", "UNKNOWN")])

META_READ = select(
    META.c.revision, META.c.last_event, META.c.audit_seq, META.c.audit_digest, META.c.gateway_epoch
).where(META.c.id == literal_column("1"))
META_LOCK = META_READ.with_for_update()
REVISION = select(META.c.revision).where(META.c.id == literal_column("1"))
IDENTITY = select(META.c.account, META.c.schema, META.c.epoch)
META_WRITE = (
    update(META)
    .where(META.c.id == literal_column("1"))
    .values({name: _p(META.c[name]) for name in ("last_event", "audit_seq", "audit_digest", "gateway_epoch")})
    .values(revision=META.c.revision + literal_column("1"))
)
META_CREATE = _add(META)
EPOCH_RENEW = update(META).values(epoch=_p(META.c.epoch), revision=META.c.revision + literal_column("1"))

_BODY = select(TRADES.c.body)
TRADE_BY_TICKET = _BODY.where(TRADES.c.ticket == _p(TRADES.c.ticket)).order_by(*_OPEN_FIRST).limit(literal_column("1"))
TRADE_BY_ALIAS = (
    _BODY.join(TICKET_ALIASES, TICKET_ALIASES.c.trade_id == TRADES.c.trade_id)
    .where(
        TICKET_ALIASES.c.ticket == _p(TRADES.c.ticket), TICKET_ALIASES.c.until > bindparam("now", type_=BigInteger())
    )
    .order_by(TICKET_ALIASES.c.until.desc())
    .limit(literal_column("1"))
)
TRADE_BY_ID = _BODY.where(TRADES.c.trade_id == _p(TRADES.c.trade_id))
OPEN_TRADES = _BODY.where(_OPEN).order_by(TRADES.c.ticket)
TRADES_PAGE = (
    _BODY.where(TRADES.c.ticket > bindparam("after", type_=BigInteger()))
    .where(_if_given(TRADES.c.state), _if_given(TRADES.c.symbol))
    .order_by(TRADES.c.ticket, TRADES.c.trade_id)
    .limit(_limit())
)
CLOSED_SINCE = _BODY.where(
    TRADES.c.state == _word("CLOSED"), TRADES.c.closed_at >= bindparam("at", type_=BigInteger())
).order_by(TRADES.c.closed_at, TRADES.c.ticket)
TRADE_COLUMNS = select(TRADES.c.ticket, TRADES.c.state, TRADES.c.version, TRADES.c.seq).where(
    TRADES.c.trade_id == _p(TRADES.c.trade_id)
)
TRADE_ADD = _add(TRADES).on_conflict_do_nothing()
_TRADE_WRITE = (
    update(TRADES)
    .values({c.name: _p(c) for c in TRADES.c if c.name != "trade_id"})
    .where(
        TRADES.c.trade_id == bindparam("id", type_=Text()), TRADES.c.seq == bindparam("read_seq", type_=BigInteger())
    )
    .where(TRADES.c.version <= _p(TRADES.c.version))
    .where(or_(_OPEN, _p(TRADES.c.state) == _word("CLOSED")))
)
TRADE_SAVE = _TRADE_WRITE.where(TRADES.c.ticket == _p(TRADES.c.ticket))
TRADE_SAVE_NEW_TICKET = _TRADE_WRITE
ALIAS_PUT = _put(TICKET_ALIASES)

_INTENT = _read(INTENTS, rows.INTENT)
INTENT_BY_ID = _INTENT.where(INTENTS.c.intent_id == _p(INTENTS.c.intent_id))
_OLDEST_FIRST = (INTENTS.c.created_at, INTENTS.c.step, INTENTS.c.attempt, INTENTS.c.intent_id)
PLANNED = _INTENT.where(_UNFINISHED, INTENTS.c.state == _word("PLANNED")).order_by(*_OLDEST_FIRST).limit(_limit())
UNFINISHED = _INTENT.where(_UNFINISHED).order_by(*_OLDEST_FIRST)
UNFINISHED_OF = UNFINISHED.where(INTENTS.c.trade_id == _p(INTENTS.c.trade_id))
INTENTS_PAGE = (
    _INTENT.where(INTENTS.c.intent_id > bindparam("after", type_=Text()))
    .where(INTENTS.c.created_at >= bindparam("since", type_=BigInteger()))
    .order_by(INTENTS.c.intent_id)
    .limit(_limit())
)
INTENTS_PAGE_OF = INTENTS_PAGE.where(INTENTS.c.trade_id == _p(INTENTS.c.trade_id))
INTENT_ADD = _add(INTENTS).on_conflict_do_nothing()
INTENT_OF_ATTEMPT = select(INTENTS.c.intent_id).where(
    *(INTENTS.c[name] == _p(INTENTS.c[name]) for name in ("trade_id", "decision_id", "step", "attempt"))
)
_OTHER = INTENTS.alias("other")
_PLANNED = INTENTS.alias("planned")


def _flag(name: str) -> ColumnElement[bool]:
    return bindparam(name, type_=BigInteger()) == literal_column("0")


INTENT_CLAIM = (
    update(INTENTS)
    .values(state=_word("SENDING"), epoch=_p(INTENTS.c.epoch), sent_at=_p(INTENTS.c.sent_at), guard=_p(INTENTS.c.guard))
    .where(
        # Whoever else holds this row (a person's query, a report) would hold up all writers: it is passed over, as if
        # somebody had been faster, and tried again at the next pass. SQLite has no such locks and leaves this out.
        INTENTS.c.intent_id
        == select(_PLANNED.c.intent_id)
        .where(_PLANNED.c.intent_id == bindparam("id", type_=Text()), _PLANNED.c.state == _word("PLANNED"))
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    .where(
        ~exists().where(
            _OTHER.c.position_identifier == INTENTS.c.position_identifier,
            _OTHER.c.state.in_([_word(s) for s in ("SENDING", "UNKNOWN", "QUARANTINED")]),
            or_(
                and_(_OTHER.c.resource == INTENTS.c.resource, _OTHER.c.state == _word("SENDING")),
                and_(_OTHER.c.resource == INTENTS.c.resource, _OTHER.c.state == _word("UNKNOWN"), _flag("passes")),
                and_(_OTHER.c.state == _word("QUARANTINED"), _flag("reduces")),
            ),
        )
    )
)
INTENT_CLAIM_LEASED = INTENT_CLAIM.where(LEASE_HELD)
INTENT_SAVE = (
    update(INTENTS)
    .values({name: _p(INTENTS.c[name]) for name in ("state", "result", "reason", "sent_at", "settled_at")})
    .where(INTENTS.c.intent_id == bindparam("id", type_=Text()))
    .where(INTENTS.c.state == bindparam("expected", type_=Text()))
)

TRANSITION_ADD = _add(TRANSITIONS, "id")
_TRANSITION = _read(TRANSITIONS, rows.TRANSITION).order_by(TRANSITIONS.c.id.desc()).limit(_limit())
TRANSITIONS_ALL = _TRANSITION
TRANSITIONS_OF = _TRANSITION.where(TRANSITIONS.c.trade_id == _p(TRANSITIONS.c.trade_id))

STOP_ADD = _add(STOPS, "id")
STOPS_OF = _read(STOPS, rows.STOP).where(STOPS.c.trade_id == _p(STOPS.c.trade_id)).order_by(STOPS.c.id)

DEAL_ADD = _add(DEALS).on_conflict_do_nothing(index_elements=["account", "deal_id"])
FIGURES = ("price", "profit", "commission", "swap", "fee")
"""What a broker may correct in a deal that was told already."""
DEAL_CORRECT = (
    update(DEALS)
    .values({name: _p(DEALS.c[name]) for name in FIGURES})
    .where(DEALS.c.account == bindparam("of", type_=Text()))
    .where(DEALS.c.deal_id == bindparam("number", type_=BigInteger()))
    .where(or_(*(DEALS.c[name] != bindparam(f"new_{name}", type_=DEALS.c[name].type) for name in FIGURES)))
)
DEALS_OF = _read(DEALS, rows.DEAL).where(DEALS.c.position == _p(DEALS.c.position)).order_by(DEALS.c.at, DEALS.c.deal_id)

_BOOK = select(EXIT_BOOKS.c.body).join(TRADES, TRADES.c.trade_id == EXIT_BOOKS.c.trade_id)
BOOK_BY_TICKET = (
    _BOOK.where(EXIT_BOOKS.c.ticket == _p(EXIT_BOOKS.c.ticket)).order_by(*_OPEN_FIRST).limit(literal_column("1"))
)
BOOK_BY_ID = select(EXIT_BOOKS.c.body).where(EXIT_BOOKS.c.trade_id == _p(EXIT_BOOKS.c.trade_id))
BOOKS_OPEN = _BOOK.where(_OPEN).order_by(EXIT_BOOKS.c.ticket)
BOOK_ADD = _add(EXIT_BOOKS).on_conflict_do_nothing()
BOOK_SAVE = (
    update(EXIT_BOOKS)
    .values({name: _p(EXIT_BOOKS.c[name]) for name in ("ticket", "seq", "body")})
    .where(EXIT_BOOKS.c.trade_id == bindparam("id", type_=Text()))
    .where(EXIT_BOOKS.c.seq == bindparam("read_seq", type_=BigInteger()))
)
BOOK_DELETE = delete(EXIT_BOOKS).where(EXIT_BOOKS.c.ticket == _p(EXIT_BOOKS.c.ticket))

EVENT_ADD = _add(EVENTS)
EVENTS_SINCE = _read(EVENTS, rows.EVENT).where(EVENTS.c.seq > _p(EVENTS.c.seq)).order_by(EVENTS.c.seq).limit(_limit())

_ITEM = _read(OUTBOX, rows.ITEM).where(OUTBOX.c.done == literal_column("0"))
OUTBOX_ADD = _add(OUTBOX, "item_id").on_conflict_do_nothing(index_elements=["kind", "key"])
OUTBOX_WAITING = _ITEM.order_by(OUTBOX.c.item_id)
OUTBOX_DUE = OUTBOX_WAITING.where(OUTBOX.c.next_at <= bindparam("now", type_=BigInteger())).limit(_limit())
OUTBOX_RETRY = (
    update(OUTBOX)
    .values(
        attempts=OUTBOX.c.attempts + literal_column("1"),
        next_at=_p(OUTBOX.c.next_at),
        last_error=_p(OUTBOX.c.last_error),
    )
    .where(OUTBOX.c.item_id == bindparam("id", type_=BigInteger()), OUTBOX.c.done == literal_column("0"))
    .where(OUTBOX.c.attempts == bindparam("read_attempts", type_=BigInteger()))
)
OUTBOX_DONE = (
    update(OUTBOX).values(done=literal_column("1")).where(OUTBOX.c.item_id == bindparam("id", type_=BigInteger()))
)

MARKET_STATE = select(MARKET_STATES.c.state).where(MARKET_STATES.c.symbol == _p(MARKET_STATES.c.symbol))
MARKET_STATE_PUT = _put(MARKET_STATES)
FACT = select(FACTS.c.value).where(FACTS.c.name == _p(FACTS.c.name))
FACTS_AT_ONCE: Final = 8
FACT_NAMES: Final = tuple(f"name{place}" for place in range(FACTS_AT_ONCE))
"""A list of fixed length, so that the statement is compiled once as the others are."""
FACTS_NAMED = select(FACTS.c.name, FACTS.c.value).where(
    FACTS.c.name.in_([_p(FACTS.c.name, each) for each in FACT_NAMES])
)
FACT_PUT = _put(FACTS)
FACT_DELETE = delete(FACTS).where(FACTS.c.name == _p(FACTS.c.name))

REPLY = _read(REPLIES, rows.REPLY).where(
    REPLIES.c.key == _p(REPLIES.c.key),
    REPLIES.c.principal == _p(REPLIES.c.principal),
    REPLIES.c.route == _p(REPLIES.c.route),
    REPLIES.c.created_at > bindparam("after", type_=BigInteger()),
)
REPLY_ADD = _add(REPLIES).on_conflict_do_nothing()
REPLIES_EXPIRE = delete(REPLIES).where(REPLIES.c.created_at <= bindparam("until", type_=BigInteger()))

AUDIT_ADD = _add(AUDIT)
AUDIT_AFTER = _read(AUDIT, rows.AUDIT).where(AUDIT.c.seq > _p(AUDIT.c.seq)).order_by(AUDIT.c.seq).limit(_limit())

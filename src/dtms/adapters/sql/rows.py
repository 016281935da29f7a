"""Rows to domain values and back; which columns hold JSON stands here, the tables themselves in `schema`."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from dtms.adapters.sql.codec import Codec, Convert, converters
from dtms.adapters.sql.kept import Kept
from dtms.adapters.sql.schema import RESTORE
from dtms.domain.action import Close, Resource, RiskDirection, risk_of
from dtms.domain.exits import ExitState
from dtms.domain.intent import Intent
from dtms.domain.position import Deal
from dtms.domain.records import AuditEntry, Event, OutboxItem, Reply, StopRecord, TransitionRecord
from dtms.domain.trade import Trade
from dtms.errors import DtmsError, InvalidDataError, LedgerUnavailableError

T = TypeVar("T")


class Row(Generic[T]):
    """A flat dataclass as one row: enums by value, numbers finite (SQLite would keep NaN as NULL), the rest JSON text.

    Args:
        hint: The dataclass.
        names: Columns that are not called like their field.
        json: Fields that are kept as JSON; None stays NULL.
    """

    __slots__ = ("_dumps", "_fields", "_hint", "_loads", "columns")

    def __init__(self, hint: type[T], *, names: dict[str, str] | None = None, json: tuple[str, ...] = ()) -> None:
        hints = typing.get_type_hints(hint)
        self._hint = hint
        self._fields = tuple(field.name for field in dataclasses.fields(typing.cast("Any", hint)))
        self.columns = tuple((names or {}).get(name, name) for name in self._fields)
        pairs = [_json(hints[name], name) if name in json else converters(hints[name]) for name in self._fields]
        self._dumps = tuple(dump for dump, _ in pairs)
        self._loads = tuple(load for _, load in pairs)

    def dump(self, value: T) -> dict[str, Any]:
        """Return the columns of a value; raises `InvalidDataError` where one of its fields cannot be written."""
        columns: dict[str, Any] = {}
        name = ""
        try:
            for name, column, dump in zip(self._fields, self.columns, self._dumps, strict=True):
                columns[column] = dump(getattr(value, name))
        except ValueError as error:
            msg = f"{self._hint.__name__}.{name} cannot be written: {error}; give it a value of its declared type"
            raise InvalidDataError(msg) from error
        return columns

    def load(self, *row: Any) -> T:
        """Return the value of a row whose columns are in the order of `columns`."""
        return self._hint(**{name: load(v) for name, load, v in zip(self._fields, self._loads, row, strict=True)})


def _json(hint: Any, name: str) -> tuple[Convert, Convert]:
    codec: Codec[Any] = Codec(hint, name)
    return (
        lambda value: None if value is None else codec.dump(value),
        lambda text: None if text is None else codec.load(text),
    )


TRADE: Codec[Trade] = Codec(Trade, "trade")
BOOK: Codec[ExitState] = Codec(ExitState, "exit book")
INTENT = Row(
    Intent,
    names={"action": "target", "receipt": "result", "position": "position_identifier", "expires_at": "deadline"},
    json=("action", "precondition", "receipt"),
)
TRANSITION = Row(TransitionRecord, json=("fallbacks",))
STOP = Row(StopRecord)
DEAL = Row(Deal)
EVENT = Row(Event)
ITEM = Row(OutboxItem)
REPLY = Row(Reply)
AUDIT = Row(AuditEntry)

READ_TRADE: Kept[Trade] = Kept(TRADE.load)
READ_BOOK: Kept[ExitState] = Kept(BOOK.load)
READ_INTENT: Kept[Intent] = Kept(INTENT.load)
"""What is read anew with each change of the ledger, where nearly every row is as it was."""


def read_rows(load: Callable[..., T], rows: Iterable[tuple[Any, ...]]) -> tuple[T, ...]:
    """Return the values of rows.

    Raises:
        LedgerUnavailableError: A row is not what this program writes; acting on the rest would act on half a ledger.
    """
    loaded: list[T] = []
    for row in rows:
        try:
            loaded.append(load(*row))
        except (DtmsError, ValueError, TypeError) as error:
            msg = f"the ledger's row {row!r:.200} cannot be trusted: {error}; {RESTORE}"
            raise LedgerUnavailableError(msg) from error
    return tuple(loaded)


def trade_row(trade: Trade) -> dict[str, Any]:
    """Return the columns of a trade: what queries need, and all of it as JSON."""
    return {
        "trade_id": trade.trade_id,
        "ticket": trade.ticket,
        "identifier": trade.identifier,
        "symbol": trade.symbol,
        "state": trade.state.value,
        "owner": trade.owner.value,
        "version": trade.version,
        "seq": trade.seq,
        "closed_at": trade.closed_at,
        "body": TRADE.dump(trade),
    }


def intent_row(intent: Intent, account: str) -> dict[str, Any]:
    """Return the columns of an intent that is planned: it claims nothing yet."""
    row = INTENT.dump(intent)
    row.update(account=account, kind=intent.kind.value, resource=intent.resource.value, guard=None)
    return row


def passes_unknown(intent: Intent) -> bool:
    """Say whether the intent may go out while an earlier one of its resource has an unknown outcome.

    Only what reduces risk may: a stop always, a volume only where nothing is left (reliability.md section 1).
    """
    if risk_of(intent.action) is not RiskDirection.REDUCE:
        return False
    return intent.resource is Resource.STOP or isinstance(intent.action, Close)

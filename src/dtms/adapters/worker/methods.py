"""The broker's port as calls over the border: how each one's arguments and answer are encoded, in one table.

msgspec writes and reads the domain's dataclasses as they are and runs their constructors, so that what comes out was
validated twice. It cannot tell the actions of a union apart: an action travels with its word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from dtms.adapters.worker.frames import encode
from dtms.domain.action import (
    Action,
    ActionKind,
    Close,
    CloseHedge,
    OpenHedge,
    OpenTrade,
    ReAdd,
    Reduce,
    SetStop,
    kind_of,
)
from dtms.domain.instrument import Instrument
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import Account, Deal, Position, PositionsRead, WorkingOrder
from dtms.domain.receipt import Receipt
from dtms.domain.server_offset import SeenOffset
from dtms.domain.units import Millis

T = TypeVar("T")

SEND: Final = "send"

ACTIONS: Final[dict[ActionKind, type[Any]]] = {
    ActionKind.OPEN: OpenTrade,
    ActionKind.SET_STOP: SetStop,
    ActionKind.REDUCE: Reduce,
    ActionKind.CLOSE: Close,
    ActionKind.HEDGE: OpenHedge,
    ActionKind.UNHEDGE: CloseHedge,
    ActionKind.RE_ADD: ReAdd,
}


class Read(Generic[T]):
    """One of the broker's reads."""

    __slots__ = ("_args", "_result", "name")

    def __init__(self, name: str, args: Any, result: Any) -> None:
        self.name = name
        self._args = msgspec.msgpack.Decoder(args)
        self._result = msgspec.msgpack.Decoder(result)

    def args_of(self, raw: msgspec.Raw) -> tuple[Any, ...]:
        """Return the arguments that were sent."""
        return cast("tuple[Any, ...]", self._args.decode(raw))

    def result_of(self, raw: msgspec.Raw) -> T:
        """Return the answer that was sent; raises `msgspec.DecodeError` or a domain error for what is none."""
        return cast("T", self._result.decode(raw))


ACCOUNT: Final = Read[Account]("account", tuple[()], Account)
INSTRUMENT: Final = Read[Instrument]("instrument", tuple[str], Instrument)
POSITIONS: Final = Read[PositionsRead]("positions", tuple[()], PositionsRead)
QUOTE: Final = Read[Quote]("quote", tuple[str], Quote)
BARS: Final = Read[tuple[Bar, ...]]("bars", tuple[str, Timeframe, int], tuple[Bar, ...])
DEALS: Final = Read[tuple[Deal, ...]]("deals", tuple[int], tuple[Deal, ...])
DEALS_BETWEEN: Final = Read[tuple[Deal, ...]]("deals_between", tuple[Millis, Millis], tuple[Deal, ...])

WORKING: Final = Read[tuple[WorkingOrder, ...]]("working_orders", tuple[()], tuple[WorkingOrder, ...])
MARKET_WATCH: Final = Read[tuple[str, ...]]("market_watch", tuple[()], tuple[str, ...])

SEEN_OFFSET: Final = Read[SeenOffset | None]("seen_offset", tuple[()], SeenOffset | None)
RECALL_OFFSET: Final = Read[None]("recall_offset", tuple[SeenOffset], None)

READS: Final[dict[str, Read[Any]]] = {
    read.name: read
    for read in (
        *(ACCOUNT, INSTRUMENT, POSITIONS, QUOTE, BARS, DEALS, DEALS_BETWEEN, WORKING, MARKET_WATCH),
        *(SEEN_OFFSET, RECALL_OFFSET),
    )
}

_order = msgspec.msgpack.Decoder(tuple[ActionKind, msgspec.Raw, Position | None, str])
_actions: Final[dict[ActionKind, Callable[[msgspec.Raw], Action]]] = {
    kind: msgspec.msgpack.Decoder(action).decode for kind, action in ACTIONS.items()
}
receipt_of: Final = msgspec.msgpack.Decoder(Receipt).decode


def order_to_wire(action: Action, position: Position | None, tag: str) -> bytes:
    """Return the arguments of a send as they are sent."""
    return encode((kind_of(action), action, position, tag))


def order_from_wire(raw: msgspec.Raw) -> tuple[Action, Position | None, str]:
    """Return the arguments of a send that were sent."""
    kind, action, position, tag = _order.decode(raw)
    return _actions[kind](action), position, tag

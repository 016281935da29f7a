"""The main API's own answers as they go over the wire; a trade is the DTMS server's answer with the exits' view joined."""

from __future__ import annotations

import msgspec

from dtms.app.modes.kill_switch import KillSource
from dtms.domain.trade import Owner
from dtms.domain.verdict import KillLevel
from dtms.services.server.wire import TradeAnswer, UnmanagedAnswer

Numbers = dict[str, float | int | bool | None]


class ExitsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The exit rules of one trade and what they remember.

    `profile` is a profile's name, or `own`; `best` is the highest bid of a BUY (lowest ask of a SELL) since the rules were
    given, null before the first quote; `partial_remaining` the volume that a partial under way leaves.
    """

    ticket: int
    symbol: str
    version: int
    epoch: str
    owner: Owner
    profile: str
    numbers: Numbers
    breakeven_done: bool
    partial_done: bool
    partial_remaining: float | None
    best: float | None
    trail_moved_at: str | None
    tightened: bool
    widened: bool


class ExitsListAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The exit rules of all open trades that have some, ascending by ticket."""

    epoch: str
    exits: list[ExitsAnswer]


class ProxiedTrade(TradeAnswer, frozen=True, kw_only=True):
    """The DTMS server's own answer about one trade, with the exits' view beside it; `exits` is null where it has none."""

    exits: ExitsAnswer | None


class JoinedAnswer(TradeAnswer, frozen=True, kw_only=True):
    """One trade, both views joined; `exits` is null where it has no exit rules, `last_reason` the newest word about it."""

    exits: ExitsAnswer | None
    last_reason: str


class LeftAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is open now, as the ledger knows it: tickets of trades, of positions in our name that no trade manages, and how
    many are others' (null before the first look at the broker). `flatten` closes the first two and never the last.
    """

    managed: tuple[int, ...]
    unmanaged: tuple[int, ...]
    foreign: int | None


class KillAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The kill switch; `level` is null while it is not pressed. `by` and `source` say who pressed it, and from where."""

    level: KillLevel | None
    since: str | None
    by: str
    source: KillSource | None
    left: LeftAnswer


class TradesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of trades, ascending by ticket; `next_cursor` is null on the last. `dtms` says how the DTMS server was met last.

    `unmanaged` are all positions in our name that no trade manages, on every page.
    """

    epoch: str
    kill_switch: KillAnswer
    dtms: str
    trades: list[JoinedAnswer]
    unmanaged: tuple[UnmanagedAnswer, ...]
    next_cursor: str | None


class OpenedAnswer(JoinedAnswer, frozen=True, kw_only=True):
    """A trade that was opened and registered; `protection` is `active`."""

    intent_id: str
    protection: str


class PendingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An opening whose registration waits; `ticket` is null while it is not known whether it was opened."""

    epoch: str
    intent_id: str
    intent_state: str
    protection: str
    ticket: int | None
    reason: str


class RegistryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Who may change a trade, and what the exits have done; null where the trade has no exit rules."""

    ticket: int
    owner: Owner
    version: int
    epoch: str
    breakeven_done: bool | None
    partial_done: bool | None

"""What each position at the broker is to us: ours as expected, ours without a record, or somebody else's.

Whose a position is, is read from its magic number and its comment; what the ledger knows of it, from trades and intents.
A comment may be stripped by the broker: what looks foreign and fits an opening that nobody could tell is not foreign.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from dtms.app.evidence.proof import LOTS_NOISE
from dtms.app.journal.scan import OPENINGS, openings_since
from dtms.app.journal.tags import is_tag
from dtms.app.views.trade_cache import LedgerView
from dtms.domain.action import OpenTrade, ReAdd
from dtms.domain.figures import plain
from dtms.domain.intent import UNFINISHED, Intent, IntentState
from dtms.domain.position import DealEntry, Position
from dtms.domain.trade import Trade
from dtms.domain.units import DAY, MINUTE, Millis, Side, TradeId
from dtms.ports.ledger import LedgerRead

LET_GO_FACT: Final = "let_go"
"""The ledger's fact with the identifiers of positions that a person has released: foreign from then on."""

RELEASED: Final = "released"

_WINDOW: Final = 2 * MINUTE
"""A position whose comment was lost is taken for an opening's when it was opened so near to it."""
_OPENED: Final = frozenset({IntentState.APPLIED, IntentState.PARTIAL})

NO_TRADE: Final = "stray:"
"""How the journal names what closes a position that no trade manages, with the identifier behind it."""


class Standing(StrEnum):
    """What a position is to us."""

    EXPECTED = "expected"
    CHANGED = "changed"
    ORPHAN = "orphan"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A position in our name that the ledger has no record of, or another record than the broker.

    `in_our_name` is False where it only may be ours: it carries no mark, and fits an order that nobody could tell.
    """

    ticket: int
    identifier: int
    symbol: str
    side: str
    volume: float
    stop: float | None
    why: str
    since: Millis
    in_our_name: bool = False

    @property
    def words(self) -> str:
        """Return what it is, for a person."""
        stop = "NO stop" if self.stop is None else f"stop {plain(self.stop)}"
        return f"{self.side} {plain(self.volume)} {self.symbol}, ticket {self.ticket}, {stop}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """One position with its standing; `why` says what is wrong with an orphan, `sure` that it is ours.

    `waits` marks what was opened and is not registered yet.
    """

    position: Position
    standing: Standing
    why: str = ""
    sure: bool = True
    waits: bool = False


@dataclass(slots=True, kw_only=True)
class Register:
    """What the ledger knows of positions, in one read of it."""

    tx: LedgerRead
    magic: int
    mains: dict[int, Trade] = field(default_factory=dict)
    legs: frozenset[int] = frozenset()
    let_go: frozenset[int] = frozenset()
    unfinished: tuple[Intent, ...] = ()

    @classmethod
    def of(cls, tx: LedgerRead, page: LedgerView, magic: int) -> Register:
        """Return it over a page of the book; the transaction answers what the page does not hold."""
        trades = page.trades
        return cls(
            tx=tx,
            magic=magic,
            mains={trade.identifier: trade for trade in trades},
            legs=frozenset(leg.identifier for trade in trades for leg in trade.legs),
            let_go=let_go(tx),
            unfinished=page.unfinished,
        )

    def ours(self, magic: int, comment: str) -> bool:
        """Say whether a magic number and comment are in our name: our number, or one of our tags where it was stripped."""
        return magic == self.magic or (magic == 0 and is_tag(comment))

    def judge(self, position: Position) -> Classified:
        """Return what a position is to us."""
        trade = self.mains.get(position.identifier)
        if trade is not None:
            standing = Standing.EXPECTED if _as_known(trade, position) else Standing.CHANGED
            return Classified(position=position, standing=standing)
        if position.identifier in self.legs or self._being_settled(position):
            return Classified(position=position, standing=Standing.EXPECTED)
        if position.identifier in self.let_go:
            return Classified(position=position, standing=Standing.FOREIGN)
        closed = _closed_trade(self.tx, position.identifier)
        if closed is not None:
            if closed.close_reason == RELEASED or self._turned_by_others(closed, position):
                return Classified(position=position, standing=Standing.FOREIGN)
            return _orphan(position, f"its trade {closed.trade_id} is CLOSED in the ledger ({closed.close_reason})")
        if not self.ours(position.magic, position.comment):
            return self._stripped(position)
        return self._tagged(position)

    def _being_settled(self, position: Position) -> bool:
        """Say whether an order on its way touches the position, or is what opened it.

        What closes a stray leaves it one: it may wait for days, and be checked against what is known of strays then.
        """
        return any(
            (intent.position == position.identifier and not intent.trade_id.startswith(NO_TRADE))
            or (position.comment == intent.tag and isinstance(intent.action, OPENINGS))
            or (intent.receipt is not None and intent.receipt.position == position.identifier)
            for intent in self.unfinished
        )

    def _turned_by_others(self, closed: Trade, position: Position) -> bool:
        """Say whether others have turned a closed trade round, or opened its identifier again: what is there is theirs.

        Its deals tell where an order of ours did it.
        """
        later = [deal for deal in self.tx.deals(closed.identifier) if deal.entry is DealEntry.INOUT]
        if any(self.ours(deal.magic, deal.comment) for deal in later):
            return False
        return bool(later) or position.side is not closed.side

    def _tagged(self, position: Position) -> Classified:
        opening = next(
            (
                intent
                for intent in openings_since(self.tx, Millis(position.opened_at - DAY))
                if intent.tag == position.comment
                or (intent.receipt is not None and intent.receipt.position == position.identifier)
            ),
            None,
        )
        if opening is None:
            return _orphan(position, "it carries our mark and the ledger holds no order that opened it")
        match opening.state:
            case IntentState.QUARANTINED:
                return _orphan(position, _settle(opening))
            case state if state in UNFINISHED:
                return Classified(position=position, standing=Standing.EXPECTED)
            case state if state in _OPENED and self._waits(opening):
                return Classified(position=position, standing=Standing.EXPECTED, waits=True)
            case state if state in _OPENED and self._went_along(opening):
                return Classified(position=position, standing=Standing.FOREIGN)
            case state:
                trade = opening.trade_id
                return _orphan(
                    position, f"its order {opening.intent_id} is {state} and belongs to no open trade ({trade})"
                )

    def _waits(self, opening: Intent) -> bool:
        """Say whether an opening's position is still on its way to be registered."""
        return isinstance(opening.action, OpenTrade) and any(i.key == opening.intent_id for i in self.tx.waiting())

    def _went_along(self, opening: Intent) -> bool:
        """Say whether a position that was added to a trade was released with it; a hedge must be closed before that."""
        trade = self.tx.trade_by_id(opening.trade_id)
        return isinstance(opening.action, ReAdd) and trade is not None and trade.close_reason == RELEASED

    def _stripped(self, position: Position) -> Classified:
        for intent in openings_since(self.tx, Millis(position.opened_at - _WINDOW)):
            unsure = intent.state in (IntentState.UNKNOWN, IntentState.QUARANTINED)
            if unsure and self._fits(intent, position):
                return _orphan(position, _settle(intent), sure=False)
        return Classified(position=position, standing=Standing.FOREIGN)

    def _fits(self, intent: Intent, position: Position) -> bool:
        action = intent.action
        if not isinstance(action, OPENINGS):
            return False
        symbol = action.symbol if isinstance(action, OpenTrade) else _symbol_of(self.tx, intent.trade_id)
        near = abs(position.opened_at - (intent.sent_at or intent.created_at)) <= _WINDOW
        same = abs(position.volume - action.volume) <= LOTS_NOISE and position.side is action.side
        return near and same and position.symbol == symbol


def let_go(tx: LedgerRead) -> frozenset[int]:
    """Return the identifiers of positions that a person has released."""
    text = tx.fact(LET_GO_FACT)
    return frozenset() if text is None else frozenset(int(each) for each in json.loads(text))


def orphan_of(judged: Classified, since: Millis) -> Orphan:
    """Return the record of an orphan."""
    position = judged.position
    return Orphan(
        ticket=position.ticket,
        identifier=position.identifier,
        symbol=position.symbol,
        side=Side(position.side).name,
        volume=position.volume,
        stop=position.stop,
        why=judged.why,
        since=since,
        in_our_name=judged.sure,
    )


def _orphan(position: Position, why: str, *, sure: bool = True) -> Classified:
    return Classified(position=position, standing=Standing.ORPHAN, why=why, sure=sure)


def _settle(intent: Intent) -> str:
    return f"it may be what order {intent.intent_id} has opened; say so with: dtms settle {intent.intent_id} --applied"


def _as_known(trade: Trade, position: Position) -> bool:
    told = (trade.ticket, trade.volume, trade.stop, trade.target, trade.side, trade.symbol, trade.entry_at_broker)
    shown = (position.ticket, position.volume, position.stop, position.target)
    return told == (*shown, position.side, position.symbol, position.entry)


def _closed_trade(tx: LedgerRead, identifier: int) -> Trade | None:
    """Return the newest trade that this position was, where it is not open any more."""
    last: Trade | None = None
    number = 1
    while found := tx.trade_by_id(TradeId(str(identifier) if number == 1 else f"{identifier}.{number}")):
        last, number = found, number + 1
    return last


def _symbol_of(tx: LedgerRead, trade_id: TradeId) -> str:
    trade = tx.trade_by_id(trade_id)
    return "" if trade is None else trade.symbol

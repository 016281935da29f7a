"""What is shown of trades: the ledger, the last read of the broker and the market's score, put together. Reads only.

Nothing here waits for the broker: an answer about a trade's state must come while the broker hangs, or whoever defers to
it takes the silence for "not defensive". What the broker has not shown lately is None, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

from dtms.app.journal import pnl
from dtms.app.journal.scan import each_intent
from dtms.app.market.market_data import MarketData, SymbolMarket
from dtms.app.views.explain import clock_ways
from dtms.app.views.outlook import present_score
from dtms.domain.instrument import Instrument
from dtms.domain.intent import Intent, IntentState
from dtms.domain.policy import Policy
from dtms.domain.position import Position, PositionsRead
from dtms.domain.score import Score
from dtms.domain.trade import Trade
from dtms.domain.transitions import Row
from dtms.domain.units import MINUTE, Millis, Ticket, TradeId
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger, LedgerRead

RELEASED = "released"
"""The close reason of a trade that is managed no more although its position may be open: it answers as unknown."""

LAST_ACTIONS = 10
_REST = 1 * MINUTE
"""An intent that ended, and is older than this, is not read again: nobody writes an older one any more."""
_MOST_REMEMBERED = 20_000


class Sight(Protocol):
    """What was last seen of the broker; it never waits."""

    def positions(self) -> PositionsRead | None:
        """Return the last read of the positions, None where there is none that is young enough to be shown."""
        ...

    def instrument(self, symbol: str) -> Instrument | None:
        """Return the instrument, None where it is not known here yet."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFacts:
    """One trade with everything that is shown of it.

    Money is in account currency, `price` the one at which the main leg is valued; None says "not known now". `positions`
    are the open legs as the broker showed them, by identifier. `protected` says that a stop is at the broker; `naked_ms`
    counts the present time without one too. `clock` has the rows that the clock leads to, with their instants. `actions` are the newest intents, oldest first; `unfinished` those of them,
    or older ones, that something must still decide. `instrument` is None while nobody has asked the broker for it.
    """

    trade: Trade
    as_of: Millis
    instrument: Instrument | None
    positions: Mapping[int, Position]
    price: float | None
    floating: float | None
    realised: float
    total_r: float | None
    r_multiple: float | None
    protected: bool
    naked_ms: int
    score: Score | None
    clock: tuple[tuple[Row, Millis], ...]
    unfinished: tuple[Intent, ...]
    actions: tuple[Intent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TradesPage:
    """A page of trades; `after` is what the next page begins behind, None where this is the last."""

    facts: tuple[TradeFacts, ...]
    after: int | None


@dataclass(frozen=True, slots=True)
class _Remembered:
    """The newest intents of a trade that cannot change any more, and the id up to which they were read."""

    cursor: str = ""
    kept: tuple[Intent, ...] = ()


class TradeQueries:
    """Gathers what is shown; may be used from several threads."""

    def __init__(self, *, ledger: Ledger, clock: Clock, desk: MarketData, sight: Sight) -> None:
        self._ledger = ledger
        self._clock = clock
        self._desk = desk
        self._sight = sight
        self._remembered: dict[TradeId, _Remembered] = {}
        self._indexed: tuple[PositionsRead, Mapping[int, Position]] | None = None

    def trade(self, ticket: Ticket) -> TradeFacts | None:
        """Return the trade of a ticket; None where it was never managed or was released."""
        now, seen = self._clock.market_now(), self._positions()
        with self._ledger.read() as tx:
            trade = tx.trade(ticket)
            if trade is None or is_released(trade):
                return None
            return self._facts(tx, trade, seen, now)

    def page(self, *, state: str | None, symbol: str | None, after: int, limit: int) -> TradesPage:
        """Return trades ascending by ticket, beginning behind ticket `after`; released ones are left out."""
        now, seen = self._clock.market_now(), self._positions()
        with self._ledger.read() as tx:
            found = tx.trades(state=state, symbol=symbol, after=after, limit=limit)
            facts = tuple(self._facts(tx, trade, seen, now) for trade in found if not is_released(trade))
        return TradesPage(facts=facts, after=found[-1].ticket if len(found) == limit else None)

    def desk_of(self, symbol: str, now: Millis) -> SymbolMarket | None:
        """Return the desk of a symbol that is watched already; to open one takes the broker's history."""
        return self._desk.symbol(symbol, now) if symbol in self._desk.symbols() else None

    def policy_of(self, symbol: str) -> Policy:
        """Return the policy of a broker's symbol, as far as its name tells which pair it is."""
        policies = self._desk.policies
        return policies.of(policies.canonical(symbol))

    def _positions(self) -> Mapping[int, Position] | None:
        read = self._sight.positions()
        if read is None:
            return None
        indexed = self._indexed
        if indexed is None or indexed[0] is not read:
            indexed = (read, {position.identifier: position for position in read.positions})
            self._indexed = indexed
        return indexed[1]

    def _facts(self, tx: LedgerRead, trade: Trade, seen: Mapping[int, Position] | None, now: Millis) -> TradeFacts:
        desk = self.desk_of(trade.symbol, now)
        instrument = self._sight.instrument(trade.symbol) if desk is None else desk.instrument
        legs = _legs(trade, seen)
        main = legs.get(trade.identifier)
        price = _price(trade, main, desk)
        floating = _floating(trade, legs)
        realised = pnl.realised(tx, trade)
        actions = self._actions(tx, trade.trade_id, now)
        return TradeFacts(
            trade=trade,
            as_of=now,
            instrument=instrument,
            positions=legs,
            price=price,
            floating=floating,
            realised=realised,
            total_r=None
            if floating is None or instrument is None
            else pnl.total_r(trade, realised + floating, instrument),
            r_multiple=None if price is None else trade.r_multiple(price),
            protected=trade.is_open and (trade.stop if main is None else main.stop) is not None,
            naked_ms=trade.naked_ms + (0 if trade.naked_since is None else max(0, now - trade.naked_since)),
            score=None if desk is None else present_score(trade, desk, now),
            clock=() if desk is None else clock_ways(trade, desk, now),
            unfinished=tuple(intent for intent in actions if intent.unfinished),
            actions=actions[-LAST_ACTIONS:],
        )

    def _actions(self, tx: LedgerRead, trade_id: TradeId, now: Millis) -> tuple[Intent, ...]:
        """Return the newest intents of a trade, reading only those that can have changed since the last time."""
        known = self._remembered.get(trade_id, _Remembered())
        read = tuple(each_intent(tx, trade_id, after=known.cursor))
        resting = tuple(takewhile(lambda intent: _rests(intent, now), read))
        if resting:
            kept = (*known.kept, *resting)[-LAST_ACTIONS:]
            self._remembered.pop(trade_id, None)
            self._remembered[trade_id] = _Remembered(resting[-1].intent_id, kept)
            while len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)), None)
        return (*known.kept, *read)


def is_released(trade: Trade) -> bool:
    """Say whether we stopped managing the trade before its end."""
    return not trade.is_open and trade.close_reason == RELEASED


def _rests(intent: Intent, now: Millis) -> bool:
    over = not intent.unfinished and intent.state is not IntentState.QUARANTINED
    return over and now - intent.created_at > _REST


def _legs(trade: Trade, seen: Mapping[int, Position] | None) -> Mapping[int, Position]:
    if seen is None or not trade.is_open:
        return {}
    wanted = (trade.identifier, *(leg.identifier for leg in trade.legs))
    return {identifier: seen[identifier] for identifier in wanted if identifier in seen}


def _floating(trade: Trade, legs: Mapping[int, Position]) -> float | None:
    """Return the floating result; a leg that was not seen makes the whole unknown."""
    if not trade.is_open:
        return 0.0
    if len(legs) <= len(trade.legs):
        return None
    return pnl.floating(trade, legs.values())


def _price(trade: Trade, main: Position | None, desk: SymbolMarket | None) -> float | None:
    if not trade.is_open:
        return None
    if main is not None:
        return main.current
    if desk is None or desk.feed.last is None:
        return None
    return desk.feed.last.executable(trade.side)

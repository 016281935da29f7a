"""Whether what the broker shows under a trade's identifier is still that trade: `domain.facts` as code.

Nothing is written and nothing is concluded here. What is not the trade is never touched; what was averaged is held.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dtms.app.evidence.lives import added_by_others, ended_life
from dtms.app.evidence.proof import LOTS_NOISE
from dtms.app.journal.scan import OPENINGS, each_intent
from dtms.domain.facts import Fact
from dtms.domain.instrument import Instrument
from dtms.domain.position import Deal, Position
from dtms.domain.trade import Leg, Trade
from dtms.errors import BrokerError
from dtms.ports.broker import BrokerReads
from dtms.ports.ledger import Ledger

_SAME_TICK = 1.001
"""A mean that the broker has rounded, in ticks: it moves neither breakeven nor R by anything that matters."""


class EntrySays(StrEnum):
    """What an entry means that the broker shows."""

    SAME = "same"
    ROUNDED = "rounded"
    REOPENED = "reopened"
    AVERAGED = "averaged"
    UNTOLD = "untold"
    """The deals cannot be read now: asked again on the next pass."""


def other_facts(trade: Trade, position: Position, instrument: Instrument) -> tuple[Fact, ...]:
    """Return each fact by which a position is not what the ledger says of it: main leg or child, as its identifier tells.

    A position that is neither (a child whose trade is closed) is compared by its symbol alone. A child cannot grow, and
    its entry is what was answered for it, so neither is compared.
    """
    leg = next((leg for leg in trade.legs if leg.identifier == position.identifier), None)
    if leg is not None or position.identifier != trade.identifier:
        return another(trade, leg, position)
    found = another(trade, None, position)
    if trade.is_open and position.volume - trade.volume > LOTS_NOISE:
        found = (*found, Fact.VOLUME_UP)
    if not same_entry(trade.entry_at_broker, position.entry, instrument):
        found = (*found, Fact.ENTRY)
    return found


def another(trade: Trade, leg: Leg | None, position: Position) -> tuple[Fact, ...]:
    """Return the facts that no position can change: with another one it is another position."""
    side = leg.side if leg is not None else trade.side if position.identifier == trade.identifier else position.side
    found = () if position.side is side else (Fact.SIDE,)
    return found if position.symbol == trade.symbol else (*found, Fact.SYMBOL)


def same_entry(known: float, shown: float, instrument: Instrument) -> bool:
    """Say whether two entries are the same tick, or its neighbour."""
    return abs(known - shown) <= _SAME_TICK * instrument.tick_size


@dataclass(slots=True, kw_only=True)
class Recogniser:
    """Asks the deals of one account's positions what a changed fact comes from."""

    ledger: Ledger
    reads: BrokerReads

    def another(self, trade: Trade, main: Position) -> bool:
        """Say whether a position cannot be the trade, or is proved by its deals to be a later life of its identifier.

        The deals are asked where the ticket or the entry has changed, as both do when a position is turned round twice.
        """
        if another(trade, None, main):
            return True
        if main.ticket == trade.ticket and main.entry == trade.entry_at_broker:
            return False
        return self.ended(trade, main) is not None

    def ended(self, trade: Trade, shown: Position | None) -> tuple[Deal, ...] | None:
        """Return the deals of the trade's life where they prove its end, None where they do not or cannot be read now."""
        try:
            return ended_life(trade, self.reads.deals(trade.identifier), shown)
        except BrokerError:
            return None

    def entry(self, trade: Trade, main: Position, instrument: Instrument) -> EntrySays:
        """Return what the entry that the broker shows of a trade means."""
        if main.entry == trade.entry_at_broker:
            return EntrySays.SAME
        if same_entry(trade.entry_at_broker, main.entry, instrument):
            return EntrySays.ROUNDED
        try:
            deals = self.reads.deals(trade.identifier)
        except BrokerError:
            return EntrySays.UNTOLD
        reopened = main.ticket != trade.ticket and not added_by_others(trade, deals, self._ours(trade))
        return EntrySays.REOPENED if reopened else EntrySays.AVERAGED

    def _ours(self, trade: Trade) -> frozenset[str]:
        with self.ledger.read() as tx:
            return frozenset(i.tag for i in each_intent(tx, trade.trade_id) if isinstance(i.action, OPENINGS))

"""I19, seen: whatever others have made of a position, the ledger knows it before long, or the trade is held.

The other half of I19, that nothing of ours touches what is not the trade, is judged at each operation (`law_orders`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dtms.domain.trade import Hold, Owner, Trade
from dtms.domain.units import SECOND, TradeId
from dtms_lab.drill.record import Record
from dtms_lab.terminal.records import SimPosition

_SEEN_MS: Final = 60 * SECOND
"""Of time in which the system could work, and in which no order of the trade was on its way: facts wait for those."""
_GONE_MS: Final = 120 * SECOND
"""An absence proves nothing: deals that tell of it are waited for, for a minute, and who has just started looks twice."""
_GONE: Final = "the broker shows no position of it"
_CHILD_GONE: Final = "the broker shows no position of a child of it"
_A_STEP_MS: Final = 2 * SECOND
_LOTS: Final = 1e-6
_TICKS: Final = 1.5
"""A mean that the broker has rounded is no other entry."""


@dataclass(slots=True)
class FactLaw:
    """Judges for how long the ledger may take another position for a trade."""

    record: Record
    _since: dict[TradeId, int] = field(default_factory=dict)

    def passed(self, able_ms: int) -> None:
        """Check after a step in which the system could act for so long."""
        wrong = {trade.trade_id: words for trade in self.record.open if (words := self._unseen(trade))}
        busy = {intent.trade_id for intent in self.record.unfinished}
        step = min(able_ms, _A_STEP_MS)
        kept = {trade_id: self._since.get(trade_id, 0) for trade_id in wrong}
        self._since = {trade_id: since + (0 if trade_id in busy else step) for trade_id, since in kept.items()}
        for trade_id, since in self._since.items():
            if since > (_GONE_MS if wrong[trade_id] in (_GONE, _CHILD_GONE) else _SEEN_MS):
                detail = f"trade {trade_id}: {wrong[trade_id]}; for {since / 1e3:.0f} s it is neither known nor held"
                self.record.report("I19 seen", detail, trade_id)

    def _unseen(self, trade: Trade) -> str:
        """Return how the broker's position is not what the ledger takes it for, "" where it is or where nobody acts on it."""
        held = self.record.position(trade.identifier)
        if trade.hold is not Hold.NONE or trade.owner is Owner.NONE:
            return ""
        if held is None:
            return _GONE
        if any(self.record.position(leg.identifier) is None for leg in trade.legs):
            return _CHILD_GONE
        return unlike(trade, held, self.record.tick(trade.symbol))


def unlike(trade: Trade, held: SimPosition, tick: float) -> str:
    """Return the first fact by which a position is not the trade, "" where there is none.

    Args:
        trade: As the ledger has it.
        held: As the broker has it.
        tick: The symbol's, price units.
    """
    if (held.side, held.symbol) != (trade.side, trade.symbol):
        return f"it is {held.side.name} {held.symbol} at the broker, {trade.side.name} {trade.symbol} in the ledger"
    if held.volume > trade.volume + _LOTS:
        return f"there are {held.volume} lots at the broker, {trade.volume} in the ledger"
    if abs(held.price_open - trade.entry_at_broker) > _TICKS * tick:
        return f"its entry is {held.price_open} at the broker, {trade.entry_at_broker} in the ledger"
    return ""

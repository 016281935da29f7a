"""I17: right after a conclusion, with no other operation since, the ledger's volume and levels equal the broker's.

It is judged at the instant at which the gateway has written the conclusion, before anybody has another turn: what a later
pass over the broker's facts would put right was wrong until then, and a decision may have been made on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dtms.adapters.terminal.oracle import OracleEntry
from dtms.adapters.terminal.records import SimPosition
from dtms.domain.trade import Leg, Trade
from dtms.sim.drill.record import Record

_DONE: Final = ("APPLIED", "PARTIAL")
_LOTS: Final = 1e-6


@dataclass(slots=True)
class ConclusionLaw:
    """Judges what each conclusion made of its trade.

    Args:
        record: The run as seen from outside.
        judged: How many conclusions were judged, for who asks whether the law has seen anything.
    """

    record: Record
    judged: int = 0
    _last: dict[int, str] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)

    def on_entry(self, entry: OracleEntry) -> None:
        """Take note of an operation at the broker, whoever has asked for it."""
        ours = entry.tag in self.record.log.epochs and entry.tag not in self._over
        self._last[entry.identifier] = entry.tag if ours else ""

    def concluded(self) -> None:
        """Judge the positions whose last operation has just been concluded."""
        for identifier, tag in tuple(self._last.items()):
            if not tag or self.record.disk().intent_state(tag) not in _DONE:
                continue
            self._over.add(tag)
            self._last[identifier] = ""
            self._judge(identifier, tag)

    def _judge(self, identifier: int, tag: str) -> None:
        with self.record.disk().ledger.read() as tx:
            trade = next((t for t in tx.open_trades() if identifier in (t.identifier, *t.children)), None)
        if trade is None:
            return
        self.judged += 1
        wrong = differs(self.record.tick(trade.symbol), _known(trade, identifier), self.record.position(identifier))
        if wrong:
            detail = f"{tag} of {trade.trade_id} was concluded, and of position {identifier} there is {wrong}"
            self.record.report("I17 concluded as done", detail)


def _known(trade: Trade, identifier: int) -> Trade | Leg | None:
    if identifier == trade.identifier:
        return trade
    return next((leg for leg in trade.legs if leg.identifier == identifier), None)


def differs(tick: float, known: Trade | Leg | None, held: SimPosition | None) -> str:
    """Return how the ledger's picture of one position differs from the broker's, "" where it does not.

    Args:
        tick: The symbol's, price units: levels that are less than half of it apart are the same.
        known: What the ledger says; None where it has no such leg.
        held: What the broker has; None where the position is closed.
    """
    ours, theirs = 0.0 if known is None else known.volume, 0.0 if held is None else held.volume
    if abs(ours - theirs) > _LOTS:
        return f"volume {ours} in the ledger, {theirs} at the broker"
    if known is None or held is None:
        return ""
    for name, mine, its in (("stop", known.stop, held.stop), ("target", known.target, held.target)):
        if (mine is None) is not (its is None) or (
            mine is not None and its is not None and abs(mine - its) > 0.5 * tick
        ):
            return f"{name} {mine} in the ledger, {its} at the broker"
    return ""

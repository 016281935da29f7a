"""I17: right after a conclusion, with no other operation since, the ledger's volume and levels equal the broker's.

It is judged at the instant at which the gateway has written the conclusion, before anybody has another turn: what a later
pass over the broker's facts would put right was wrong until then, and a decision may have been made on it.

What others have added while an order of ours was worked on is not that order's: a conclusion may leave it unbooked, for the
pass that calls a person for it. It may leave no more than that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dtms.domain.trade import Leg, Trade
from dtms_lab.drill.record import Record
from dtms_lab.terminal.oracle import OracleEntry
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.records import SimPosition

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
    _volume: dict[int, str] = field(default_factory=dict)
    _levels: dict[int, str] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)
    _added: dict[int, float] = field(default_factory=dict)
    """What others have added to a position since the ledger last had its volume, lots."""

    def on_entry(self, entry: OracleEntry) -> None:
        """Take note of an operation at the broker, whoever has asked for it: whose the volume and the levels are now."""
        ours = entry.tag in self.record.log.epochs and entry.tag not in self._over
        tag = entry.tag if ours else ""
        if entry.volume_before != entry.volume_after:
            self._volume[entry.identifier] = tag
            if entry.kind is not AppliedKind.POSITION:  # the same change once more, as the position shows it
                self._count_added(entry, ours=ours)
        if (entry.stop_before, entry.target_before) != (entry.stop_after, entry.target_after):
            self._levels[entry.identifier] = tag

    def concluded(self) -> None:
        """Judge what the operations that have just been concluded were the last to change."""
        done = {tag for tag in (*self._volume.values(), *self._levels.values()) if tag and self._is_done(tag)}
        for last, levels in ((self._volume, False), (self._levels, True)):
            for identifier, tag in tuple(last.items()):
                if tag in done:
                    last[identifier] = ""
                    self._judge(identifier, tag, levels=levels)
        self._over |= done

    def _count_added(self, entry: OracleEntry, *, ours: bool) -> None:
        """Sum up what others add; what the ledger had taken in before this operation is counted no more."""
        known = _known_to(self._trade(entry.identifier), entry.identifier)
        if known is None or abs(known.volume - entry.volume_before) <= _LOTS:
            self._added.pop(entry.identifier, None)
        if known is not None and not ours and entry.volume_after > entry.volume_before:
            more = entry.volume_after - entry.volume_before
            self._added[entry.identifier] = self._added.get(entry.identifier, 0.0) + more

    def _trade(self, identifier: int) -> Trade | None:
        with self.record.disk().ledger.read() as tx:
            return next((t for t in tx.open_trades() if identifier in (t.identifier, *t.children)), None)

    def _is_done(self, tag: str) -> bool:
        return self.record.disk().intent_state(tag) in _DONE

    def _judge(self, identifier: int, tag: str, *, levels: bool) -> None:
        trade = self._trade(identifier)
        if trade is None:
            return
        self.judged += 1
        known, held = _known_to(trade, identifier), self.record.position(identifier)
        if levels:
            wrong = levels_differ(self.record.tick(trade.symbol), known, held)
        else:
            wrong = volumes_differ(known, held, added=self._added.get(identifier, 0.0))
        if wrong:
            detail = f"{tag} of {trade.trade_id} was concluded, and of position {identifier} there is {wrong}"
            self.record.report("I17 concluded as done", detail)


def _known_to(trade: Trade | None, identifier: int) -> Trade | Leg | None:
    if trade is None:
        return None
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
    return volumes_differ(known, held) or levels_differ(tick, known, held)


def volumes_differ(known: Trade | Leg | None, held: SimPosition | None, *, added: float = 0.0) -> str:
    """Return how the volumes differ, "" where they do not; what is not there has none.

    Args:
        known: What the ledger says; None where it has no such leg.
        held: What the broker has; None where the position is closed.
        added: What others have added and the ledger need not have yet, lots, >= 0.
    """
    ours, theirs = 0.0 if known is None else known.volume, 0.0 if held is None else held.volume
    missing = theirs - ours
    if abs(missing) <= _LOTS or (added > 0 and abs(missing - added) <= _LOTS):
        return ""
    return f"volume {ours} in the ledger, {theirs} at the broker"


def levels_differ(tick: float, known: Trade | Leg | None, held: SimPosition | None) -> str:
    """Return how stop or target differ, "" where they do not, and where there is no position on one side."""
    if known is None or held is None:
        return ""
    for name, mine, its in (("stop", known.stop, held.stop), ("target", known.target, held.target)):
        if (mine is None) is not (its is None) or (
            mine is not None and its is not None and abs(mine - its) > 0.5 * tick
        ):
            return f"{name} {mine} in the ledger, {its} at the broker"
    return ""

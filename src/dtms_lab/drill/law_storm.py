"""I12 by trade and purpose: what the broker refuses is not sent again and again, however often it is decided anew."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Final

from dtms.app.journal.scan import each_intent
from dtms.domain.intent import Planner, Purpose
from dtms.domain.units import DAY, HOUR, MINUTE, Millis
from dtms_lab.drill.record import Record

_BAR: Final = 5 * MINUTE
_EXITS_A_BAR: Final = 3
"""Refusals of one exit within five minutes: one a bar on either side of a bar's end, and one at once after a lost race."""
_DEFENCE_A_BAR: Final = 20
"""Of one purpose of the defence: the quick and the patient tries of a step, in up to three plans that follow each other."""


@dataclass(slots=True)
class StormLaw:
    """Counts what was refused at the gateway's door; a person's own wishes are not counted."""

    record: Record
    an_hour: int
    """The product's own budget: refusals of one trade and purpose within an hour."""
    _seen: int = 0
    _purposes: dict[str, Purpose] = field(default_factory=dict)
    _refused: dict[Purpose, deque[Millis]] = field(default_factory=lambda: defaultdict(deque))

    def check(self) -> None:
        """Judge the refusals since the last look."""
        refused = self.record.log.refused
        new, self._seen = refused[self._seen :], len(refused)
        for tag, at in new:
            purpose = self._purpose(tag)
            if purpose is None or purpose.owner is Planner.COMMAND:
                continue
            times = self._refused[purpose]
            times.append(at)
            while at - times[0] >= HOUR:
                times.popleft()
            self._judge(purpose, times, at)

    def _judge(self, purpose: Purpose, times: deque[Millis], at: Millis) -> None:
        within_a_bar = sum(at - one < _BAR for one in times)
        most = _EXITS_A_BAR if purpose.owner is Planner.EXITS else _DEFENCE_A_BAR
        words = f"{purpose.kind} of {purpose.trade_id} by {purpose.owner}"
        if within_a_bar > most:
            detail = f"{words} was refused {within_a_bar} times within five minutes"
            self.record.report("I12 storm", detail, str(purpose))
        if len(times) > self.an_hour:
            detail = f"{words} was refused {len(times)} times within an hour"
            self.record.report("I12 storm", detail, f"{purpose} hour")

    def _purpose(self, tag: str) -> Purpose | None:
        """Return what an order was for, as the disk says it."""
        if tag not in self._purposes:
            with self.record.disk().ledger.read() as tx:
                recent = each_intent(tx, since=Millis(self.record.clock() - DAY))
                self._purposes.update({intent.tag: intent.purpose for intent in recent})
        return self._purposes.get(tag)

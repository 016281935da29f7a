"""What is refused again and again, by trade and purpose: a person is called once, then once a day, until it is done.

A restart forgets neither the count nor who was called: both follow from the journal alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dtms.app.journal.scan import each_intent
from dtms.core.settle import StepEnd
from dtms.domain.intent import Intent, IntentState, Purpose
from dtms.domain.receipt import Receipt, Rejection
from dtms.domain.units import DAY, Millis
from dtms.ports.ledger import Ledger

LONG: Final = 3
"""So many refusals running are no accident any more."""
_RUN_ENDS: Final = DAY
"""A refusal so long after the last one begins a new run."""
_REFUSED: Final = (StepEnd.REJECTED, StepEnd.NOT_APPLIED)
_DONE: Final = (StepEnd.APPLIED, StepEnd.PARTIAL)
_END_OF: Final = {
    IntentState.APPLIED: StepEnd.APPLIED,
    IntentState.PARTIAL: StepEnd.PARTIAL,
    IntentState.REJECTED: StepEnd.REJECTED,
    IntentState.NOT_APPLIED: StepEnd.NOT_APPLIED,
}


@dataclass(slots=True)
class _Run:
    times: int
    last: Millis
    told: Millis | None


@dataclass(slots=True, kw_only=True)
class Refusals:
    """The runs of refusals of one account."""

    ledger: Ledger
    _runs: dict[Purpose, _Run] = field(default_factory=dict)

    def recall(self, now: Millis) -> None:
        """Count what the journal shows of the last two days.

        Raises:
            LedgerError: It cannot be read; the caller tries again.
        """
        self._runs.clear()
        with self.ledger.read() as tx:
            ended = [i for i in each_intent(tx, since=Millis(now - 2 * DAY)) if i.settled_at is not None]
        for intent in sorted(ended, key=lambda i: (i.settled_at or 0, i.intent_id)):
            end = _END_OF.get(intent.state)
            if end is not None and intent.settled_at is not None:
                self.ended(intent, end, intent.receipt, intent.settled_at)

    def ended(self, intent: Intent, end: StepEnd, receipt: Receipt | None, now: Millis, *, parked: bool = False) -> int:
        """Take note of an end; return how many refusals running a person is to be told of now, 0 for none.

        Args:
            intent: What has ended.
            end: How.
            receipt: The broker's answer or ours; one of ours (code 0) counts only where it parks a plan.
            now: When it ended.
            parked: Whether a plan cannot go on without it.
        """
        if end in _DONE:
            self._runs.pop(intent.purpose, None)
            return 0
        if receipt is not None and receipt.rejection is Rejection.MARKET_CLOSED:
            return 0  # told by symbol, not by trade: `app.market.closures`
        unsent = end is StepEnd.REJECTED and (receipt is None or receipt.code == 0)
        if end not in _REFUSED or (unsent and not parked):
            return 0
        run = self._runs.get(intent.purpose)
        if run is None or now - run.last >= _RUN_ENDS:
            run = self._runs[intent.purpose] = _Run(0, now, None)
        run.times += 1
        run.last = now
        if run.times < LONG and not parked:
            return 0
        if run.told is not None and now - run.told < DAY:
            return 0
        run.told = now
        return run.times

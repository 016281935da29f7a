"""The settling of UNKNOWN intents: by evidence, by absence only after the settle time, never by sending again."""

from __future__ import annotations

from dataclasses import dataclass, field

from dtms.app.evidence.broker_lookup import BrokerLookup
from dtms.app.evidence.proof import Seen
from dtms.app.journal.scan import OPENINGS
from dtms.core.settle import StepEnd
from dtms.domain.action import SetStop
from dtms.domain.intent import Intent
from dtms.domain.policy import OperationPolicy
from dtms.domain.position import PositionsRead
from dtms.domain.receipt import Receipt
from dtms.domain.units import SECOND, Millis
from dtms.ports.broker import GatewayReads

_CLEAN_READS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How an intent in doubt has to end."""

    end: StepEnd
    receipt: Receipt | None
    reason: str


@dataclass(slots=True)
class _Doubt:
    """What was seen of one UNKNOWN intent so far."""

    absent_reads: int = 0
    last_token: int = -1
    since: Millis = Millis(0)
    last_at: Millis = Millis(0)

    def look(self, read: PositionsRead, now: Millis, longest_gap: float, *, absent: bool) -> None:
        """Take in one clean read; after a long time without any, which is what a lost link leaves, begin anew."""
        if self.last_token < 0 or now - self.last_at > longest_gap:
            self.since, self.absent_reads = now, 0
        self.last_at = now
        if read.token != self.last_token:
            self.last_token = read.token
            self.absent_reads = self.absent_reads + 1 if absent else 0


@dataclass(slots=True)
class InDoubt:
    """What one gateway has seen of the intents in doubt; lost in a restart, then gathered anew."""

    witness: BrokerLookup
    orders: GatewayReads
    _doubts: dict[str, _Doubt] = field(default_factory=dict)

    def settlement(self, intent: Intent, now: Millis, policy: OperationPolicy) -> Settlement | None:
        """Look at the broker once more and say how an UNKNOWN intent ends, None where it cannot be told yet.

        An opening whose tag is not seen is never "not applied" by the clock alone, nor is what the broker has told a fill
        of, nor a change of volume that nothing explains: they are quarantined.

        Raises:
            BrokerError: The broker does not answer; nothing follows from that.
            MarketDataError: The instrument cannot be used; nothing follows from that.
        """
        doubt = self._doubts.setdefault(intent.intent_id, _Doubt())
        read = self.witness.reads.positions()
        found = self.witness.seen(intent, read)
        works = self.under_way(intent)
        if found.seen is Seen.APPLIED and not isinstance(intent.action, OPENINGS):
            return Settlement(end=StepEnd.APPLIED, receipt=found.receipt, reason="seen at the broker")
        if found.seen in (Seen.APPLIED, Seen.PARTIAL) and not works:
            return self._of_what_is_there(intent)
        settle = policy.settle_s * SECOND
        absent = found.seen is Seen.ABSENT and not works
        doubt.look(read, now, 2 * settle, absent=absent)
        if now - doubt.since < settle:
            return None  # the terminal may still show what it knew before it lost its server
        age = now - (intent.sent_at or intent.created_at)
        told = isinstance(intent.action, OPENINGS) or (intent.receipt is not None and intent.receipt.filled > 0)
        if not told and age >= settle and doubt.absent_reads >= _CLEAN_READS:
            reason = "not seen in two clean reads after the settle time"
            return Settlement(end=StepEnd.NOT_APPLIED, receipt=None, reason=reason)
        if age >= policy.quarantine_s * SECOND:
            return Settlement(end=StepEnd.QUARANTINED, receipt=None, reason="not decided in time")
        return None

    def _of_what_is_there(self, intent: Intent) -> Settlement | None:
        """Settle what nothing is at work on any more, by a fresh look: a last deal may have come before the list was read.

        Of a part, and of an opening, which counts as applied whatever there is of it.
        """
        found = self.witness.seen(intent)
        if found.seen is Seen.APPLIED:
            return Settlement(end=StepEnd.APPLIED, receipt=found.receipt, reason="seen at the broker")
        if found.seen is Seen.PARTIAL:
            return Settlement(end=StepEnd.PARTIAL, receipt=found.receipt, reason="seen in part at the broker")
        return None

    def under_way(self, intent: Intent) -> bool:
        """Say whether the broker still works on an order with the intent's tag or number, or on one of its position.

        Then nothing is "not applied", and no part is the whole: it may fill at any moment. A change of levels is no order
        and is never listed.

        Raises:
            BrokerError: The broker does not answer; nothing follows from that.
        """
        if isinstance(intent.action, SetStop):
            return False
        number = None if intent.receipt is None else intent.receipt.order
        return any(
            order.comment == intent.tag
            or order.order == number
            or (order.position is not None and order.position == intent.position)
            for order in self.orders.working_orders()
        )

    def settled(self, intent: Intent) -> None:
        """Forget what was seen of an intent that has ended."""
        self._doubts.pop(intent.intent_id, None)

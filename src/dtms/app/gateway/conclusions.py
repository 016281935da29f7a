"""What came of an intent, written down: read back, unknown, settled by evidence, ended. The gateway's; nothing is sent here.

Each of these says whether the intent has changed. Whatever was sent and has no answer is UNKNOWN first.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dtms.app.evidence.broker_lookup import BrokerLookup, symbol_of
from dtms.app.evidence.in_doubt import InDoubt
from dtms.app.evidence.proof import Seen
from dtms.app.gateway.refusals import Refusals
from dtms.app.journal import journal
from dtms.app.journal.scan import OPENINGS
from dtms.app.market.closures import Closures
from dtms.app.positions.hold import hold
from dtms.core.settle import SettleContext, StepEnd
from dtms.domain.action import OpenTrade
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import Instrument
from dtms.domain.intent import Intent, IntentState
from dtms.domain.policy import Policies
from dtms.domain.receipt import Outcome, Receipt
from dtms.domain.trade import Hold
from dtms.errors import BrokerError, InvariantError, MarketDataError, StaleWriteError
from dtms.ports.clock import Clock
from dtms.ports.crash import CrashPoints
from dtms.ports.ledger import Ledger
from dtms.ports.notifier import AlertKind, Notifier


@dataclass(slots=True, kw_only=True)
class Conclusions:
    """Writes what came of one gateway's intents; `doubts` is what it has seen of those that nobody could tell."""

    ledger: Ledger
    clock: Clock
    policies: Policies
    notifier: Notifier
    crash: CrashPoints
    witness: BrokerLookup
    doubts: InDoubt
    refusals: Refusals
    closures: Closures
    _observed: set[str] = field(default_factory=set)

    def unknown(self, intent: Intent, reason: str) -> bool:
        """Write that nobody can tell what the broker has done, and call a person."""
        now = self.clock.market_now()
        unknown = replace(intent, state=IntentState.UNKNOWN, reason=reason, sent_at=intent.sent_at or now)
        with self.ledger.write() as tx:
            tx.save_intent(unknown, expected=intent.state)
        self.notifier.alert(AlertKind.UNKNOWN, intent.intent_id, f"{intent.kind} of {intent.trade_id}: {reason}")
        self.crash.reach("gateway.unknown")
        return True

    def end(self, intent: Intent, end: StepEnd, receipt: Receipt | None, reason: str) -> bool:
        """Write an end with all that follows from it; a lost race is run again from the ledger's present state."""
        with self.ledger.read() as tx:
            trade = tx.trade_by_id(intent.trade_id)
        symbol = symbol_of(intent, trade)
        scene = self._scene(symbol, self.witness.last_instrument(symbol))
        deals = self.witness.deals_after(intent, end, receipt, trade)
        self.crash.reach("gateway.before_conclude")
        while True:
            try:
                with self.ledger.write() as tx:
                    if deals:
                        tx.add_deals(deals)
                    settled = journal.conclude(tx, intent, end, receipt, scene, reason=reason)
                break
            except StaleWriteError:
                with self.ledger.read() as tx:
                    present = tx.intent(intent.intent_id)
                if present is None or present.state is not intent.state:
                    return False
        self.doubts.settled(intent)
        self._observed.discard(intent.intent_id)
        self.crash.reach("gateway.concluded")
        if receipt is not None:
            waits = not isinstance(intent.action, OpenTrade)
            self.closures.answered(symbol, receipt, self.clock.market_now(), waits=waits)
        self._tell_refusals(intent, end, receipt, reason, parked=settled is not None and settled.parked)
        return True

    def _tell_refusals(
        self, intent: Intent, end: StepEnd, receipt: Receipt | None, reason: str, *, parked: bool
    ) -> None:
        """Call a person for what is refused again and again: once, then once a day."""
        times = self.refusals.ended(intent, end, receipt, self.clock.market_now(), parked=parked)
        if times:
            detail = f"{intent.kind} cannot be done now: {reason}; refused {times} times running, it is tried again"
            self.notifier.alert(AlertKind.PARKED, intent.trade_id, f"{detail} less and less often")

    def acknowledged(self, intent: Intent, receipt: Receipt) -> Intent:
        """Write the broker's answer; return the intent as written."""
        acked = replace(intent, state=IntentState.ACKED, receipt=receipt, sent_at=self.clock.market_now())
        with self.ledger.write() as tx:
            tx.save_intent(acked, expected=IntentState.SENDING)
        return acked

    def verify(self, acked: Intent) -> bool:
        """Read back: what was acknowledged must be there; where it is not, the outcome is unknown."""
        receipt = acked.receipt
        if receipt is None:
            return self.unknown(acked, "acknowledged without a receipt")
        if receipt.outcome is Outcome.PARTIAL:
            return self._verify_part(acked, receipt)
        try:
            found = self.witness.seen(acked)
        except (BrokerError, MarketDataError):
            return False
        if found.seen is not Seen.APPLIED:
            # Also where it says that the goal was met already: "closed" may mean that the ticket changed.
            return self.unknown(acked, "the broker acknowledged it but does not show it")
        merged = _merged(receipt, found.receipt)
        return self.end(acked, StepEnd.APPLIED, merged, receipt.comment)

    def _verify_part(self, acked: Intent, receipt: Receipt) -> bool:
        """Conclude a part fill where nothing of it is to come: an exchange leaves the rest of an order in its book.

        A list of orders tells nothing while the terminal shows what was before: the fill itself has to be seen first. And
        what was filled is read after the list: a last deal may have come between the two.
        """
        try:
            seen = self.witness.seen(acked).seen in (Seen.PARTIAL, Seen.APPLIED)
            works = self.doubts.under_way(acked)
            found = self.witness.seen(acked)
        except (BrokerError, MarketDataError):
            return False
        if works or not seen:
            return self.unknown(acked, "it was filled in part, and the broker may still work on the rest")
        whole = found.seen is Seen.APPLIED and not isinstance(acked.action, OPENINGS)
        shown = receipt if found.receipt is None else found.receipt
        filled = max(receipt.filled, shown.filled)
        end = StepEnd.APPLIED if whole else StepEnd.PARTIAL
        return self.end(acked, end, replace(receipt, filled=filled, left=shown.left), receipt.comment)

    def settle_doubt(self, intent: Intent) -> bool:
        """Decide an UNKNOWN intent where the broker shows enough; False where it has to wait."""
        try:
            found = self.doubts.settlement(intent, self.clock.market_now(), self.policies.of("").operation)
        except (BrokerError, MarketDataError):
            return False
        if found is None:
            return False
        if found.end is StepEnd.QUARANTINED:
            detail = f"{intent.kind} of {intent.trade_id} cannot be told; decide by hand"
            self.notifier.alert(AlertKind.QUARANTINED, intent.intent_id, detail)
        return self.end(intent, found.end, found.receipt, found.reason)

    def closed_already(self, intent: Intent) -> bool:
        """Take a close as done: somebody else closed the position."""
        receipt = Receipt(outcome=Outcome.APPLIED, code=0, goal_met=True, comment="closed already")
        return self.verify(self.acknowledged(intent, receipt))

    def observe_only(self, intent: Intent, error: InvariantError) -> None:
        """Leave a trade alone on which a law was broken; the others go on."""
        if intent.intent_id in self._observed:
            return
        self._observed.add(intent.intent_id)
        self.notifier.alert(AlertKind.QUARANTINED, intent.trade_id, f"{intent.kind}: {error}")
        with self.ledger.write() as tx:
            hold(tx, tx.trade_by_id(intent.trade_id), Hold.INVARIANT)

    def _scene(self, symbol: str, instrument: Instrument) -> SettleContext:
        return SettleContext(
            now=self.clock.market_now(),
            instrument=instrument,
            hours=MarketHours(instrument.asset, self.closures.spans(symbol)),
            policy=self.policies.of(instrument.canonical),
        )


def _merged(answer: Receipt, seen: Receipt | None) -> Receipt:
    """Return the broker's answer, completed by what the read-back showed."""
    if seen is None:
        return answer
    return replace(
        answer,
        ticket=answer.ticket if answer.ticket is not None else seen.ticket,
        position=answer.position if answer.position is not None else seen.position,
        price=answer.price if answer.price is not None else seen.price,
        filled=answer.filled if answer.filled > 0 else seen.filled,
        left=seen.left,
    )

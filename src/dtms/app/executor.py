"""The gateway's verbs: claim an intent, check it against a fresh read, send it, record what came of it.

The only code that sends. SENDING is durable before the first byte leaves; whatever happens after that without an answer
is UNKNOWN and is settled by evidence, never by sending again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dtms.app import evidence, journal
from dtms.app.book import KILL_FACT, Book
from dtms.app.evidence import Seen
from dtms.core.settle import REOPENING_WAIT, Scene, StepEnd
from dtms.domain.action import (
    Action,
    Close,
    CloseHedge,
    OpenHedge,
    OpenTrade,
    ReAdd,
    Reduce,
    RiskDirection,
    SetStop,
    risk_of,
)
from dtms.domain.calendar import MarketHours
from dtms.domain.instrument import Instrument
from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.policy import PolicyBook
from dtms.domain.position import Deal, Position, PositionsRead
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.trade import Hold, Trade
from dtms.domain.units import MINUTE, SECOND, Millis
from dtms.domain.verdict import KillLevel
from dtms.errors import (
    BrokerError,
    BrokerUnavailableError,
    InvariantError,
    MarketDataError,
    OutcomeUnknownError,
    StaleWriteError,
)
from dtms.ports.broker import BrokerReads, BrokerWrites
from dtms.ports.clock import Clock
from dtms.ports.crash import CrashPoints
from dtms.ports.ledger import Ledger, LedgerRead, LedgerWrite
from dtms.ports.notifier import AlertKind, Notifier

_TRADING_OFF = (Rejection.AUTO_TRADING_OFF, Rejection.TRADE_DISABLED)
_CLEAN_READS = 2
_OPENINGS = (OpenHedge, ReAdd, OpenTrade)
_REOPENING_MOST = 10 * MINUTE
_REOPENING_SPREADS = 3.0
_ALL = 10_000
"""More intents than a trade ever has."""
_MAY_BE_OPEN = frozenset(
    {
        IntentState.SENDING,
        IntentState.ACKED,
        IntentState.APPLIED,
        IntentState.PARTIAL,
        IntentState.UNKNOWN,
        IntentState.QUARANTINED,
    }
)
"""Ends, and states before an end, after which a position may have been opened."""


@dataclass(slots=True)
class _Doubt:
    """What was seen of one UNKNOWN intent so far; lost in a restart, then gathered anew."""

    absent_reads: int = 0
    last_token: int = -1
    since: Millis = Millis(0)
    last_at: Millis = Millis(0)
    alarmed: bool = False

    def look(self, read: PositionsRead, now: Millis, longest_gap: float, *, absent: bool) -> None:
        """Take in one clean read; after a long time without any, which is what a lost link leaves, begin anew."""
        if self.last_token < 0 or now - self.last_at > longest_gap:
            self.since, self.absent_reads = now, 0
        self.last_at = now
        if read.token != self.last_token:
            self.last_token = read.token
            self.absent_reads = self.absent_reads + 1 if absent else 0


@dataclass(slots=True, kw_only=True)
class Executor:
    """Carries intents to the broker for one account.

    `writes` is None while the account is advisory: the capability to send is absent, not switched off. `epoch` is this
    gateway's fencing number.
    """

    ledger: Ledger
    reads: BrokerReads
    writes: BrokerWrites | None
    clock: Clock
    policies: PolicyBook
    notifier: Notifier
    crash: CrashPoints
    epoch: int
    sent: int = 0
    book: Book = field(init=False)
    _doubts: dict[str, _Doubt] = field(default_factory=dict)
    _instruments: dict[str, Instrument] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.book = Book(self.ledger)

    def recover(self) -> None:
        """Turn what was on its way when the last gateway ended into UNKNOWN; it is settled by evidence from then on."""
        with self.ledger.read() as tx:
            unfinished = tx.unfinished()
        for intent in unfinished:
            if intent.state is IntentState.SENDING or (intent.state is IntentState.ACKED and intent.receipt is None):
                self._unknown(intent, "the gateway ended while it was on its way")
        self.tick()

    def tick(self) -> int:
        """Carry out what is planned and settle what is not decided yet; return how many intents changed.

        Raises:
            BrokerError: The broker does not answer; the ledger has it, and the next pass goes on.
            MarketDataError: A symbol cannot be used; everything else was worked on.
        """
        changed = 0
        unusable: MarketDataError | None = None
        for intent in self.book.page().unfinished:
            try:
                changed += self._work_on(intent)
            except InvariantError as error:
                self._observe_only(intent, error)
            except MarketDataError as error:
                unusable = error
        if unusable is not None:
            raise unusable
        return changed

    def _work_on(self, intent: Intent) -> bool:
        match intent.state:
            case IntentState.PLANNED:
                return self._carry_out(intent)
            case IntentState.SENDING if intent.epoch <= self.epoch:
                # One pass at a time: what is still SENDING when a pass begins was left by one that broke off, or by a
                # gateway whose place was taken: it may have claimed after this one had recovered.
                return self._unknown(intent, "the pass that carried it out broke off")
            case IntentState.ACKED:
                return self._verify(intent)
            case IntentState.UNKNOWN:
                return self._reconcile(intent)
            case _:
                return False

    def _observe_only(self, intent: Intent, error: InvariantError) -> None:
        """Leave a trade alone on which a law was broken; the others go on."""
        doubt = self._doubts.setdefault(intent.intent_id, _Doubt())
        if doubt.alarmed:
            return
        doubt.alarmed = True
        self.notifier.alert(AlertKind.QUARANTINED, intent.trade_id, f"{intent.kind}: {error}")
        with self.ledger.write() as tx:
            trade = tx.trade_by_id(intent.trade_id)
            if trade is not None and trade.is_open and trade.hold is Hold.NONE:
                tx.save_trade(replace(trade, hold=Hold.INVARIANT, version=trade.version + 1))

    def _carry_out(self, planned: Intent) -> bool:
        now = self.clock.market_now()
        if planned.created_at > now:
            return False  # a further try that is held back
        if planned.expires_at is not None and now >= planned.expires_at:
            return self._end(planned, StepEnd.CANCELLED, None, "the price it was decided on is too old")
        held = self._held(planned, now)
        if held is not None:
            return held
        self.crash.reach("gateway.before_claim")
        with self.ledger.write() as tx:
            claimed = tx.claim(planned, epoch=self.epoch, now=now)
            denied = None if claimed is None else self._denied(tx, claimed)
        if claimed is None:
            return False
        self.crash.reach("gateway.claimed")
        try:
            position, refusal = self._check(claimed)
        except (BrokerUnavailableError, MarketDataError) as error:
            return self._end(claimed, StepEnd.REJECTED, _refused(Rejection.NOT_SENT), str(error))
        refusal = denied or refusal
        if refusal is not None:
            rejection, reason = refusal
            if rejection is Rejection.POSITION_GONE:
                if not self._proved_gone(claimed):
                    rejection, reason = Rejection.NOT_SENT, f"{reason}, as this read says; no deals prove it"
                elif isinstance(claimed.action, (Close, CloseHedge)):
                    return self._closed_already(claimed)
            return self._end(claimed, StepEnd.REJECTED, _refused(rejection), reason)
        return self._send(claimed, position)

    def _held(self, planned: Intent, now: Millis) -> bool | None:
        """Say what the market's hours do to an intent: cancelled by a new session, held at a reopening, None for neither.

        A held intent stays planned, so the answer is that nothing changed.
        """
        with self.ledger.read() as tx:
            trade = tx.trade_by_id(planned.trade_id)
        if trade is None:
            return None
        try:
            instrument = self._instrument(trade.symbol)
        except BrokerError:
            return False
        hours = MarketHours(instrument.asset)
        if planned.precondition.price_based and hours.session(planned.created_at) is not hours.session(now):
            return self._end(planned, StepEnd.CANCELLED, None, "the session changed since it was decided")
        closing = isinstance(planned.action, Close) or (
            isinstance(planned.action, Reduce) and planned.owner is Planner.DTMS
        )
        return False if closing and self._reopening(trade.symbol, instrument, hours, now) else None

    def _reopening(self, symbol: str, instrument: Instrument, hours: MarketHours, now: Millis) -> bool:
        """Say whether the market has just opened and its spread is not back: closes wait two minutes, at most ten."""
        opened = hours.last_open(now)
        if opened is None or not hours.is_open(now) or now - opened >= _REOPENING_MOST:
            return False
        if now - opened < REOPENING_WAIT:
            return True
        typical = self.policies.of(instrument.canonical).spread_typical
        try:
            spread = self.reads.quote(symbol).spread
        except (BrokerError, MarketDataError):
            return True
        return typical is not None and spread >= _REOPENING_SPREADS * typical

    def _proved_gone(self, intent: Intent) -> bool:
        """Say whether deals prove the end of a position that was not in the read: one read can be wrong."""
        try:
            return intent.position is not None and evidence.flat(self.reads.deals(intent.position))
        except BrokerError:
            return False

    def _closed_already(self, intent: Intent) -> bool:
        """Take a close as done: somebody else closed the position."""
        receipt = Receipt(outcome=Outcome.APPLIED, code=0, goal_met=True, comment="closed already")
        acked = replace(intent, state=IntentState.ACKED, receipt=receipt, sent_at=self.clock.market_now())
        with self.ledger.write() as tx:
            tx.save_intent(acked, expected=IntentState.SENDING)
        return self._verify(acked)

    def _denied(self, tx: LedgerWrite, intent: Intent) -> tuple[Rejection, str] | None:
        """Say why the ledger forbids sending: not armed, kill switch, or a trade that is only observed."""
        if self.writes is None:
            return Rejection.NOT_ARMED, "the account is advisory; arm it to let dtms act"
        level = tx.fact(KILL_FACT)
        increases = risk_of(intent.action) is RiskDirection.INCREASE
        if isinstance(intent.action, OpenHedge) and _hedged_before(tx, intent):
            return Rejection.HEDGE_PROHIBITED, "a hedge of this trade was opened, or may have been: one hedge a trade"
        if increases and level in (KillLevel.PROTECT_ONLY, KillLevel.FLATTEN):
            return Rejection.KILL_SWITCH, f"the kill switch is at {level}; only what reduces risk is sent"
        trade = tx.trade_by_id(intent.trade_id)
        if increases and trade is not None and trade.hold is not Hold.NONE:
            return Rejection.PRECONDITION, f"ticket {trade.ticket} is observed only: {trade.hold}"
        return None

    def _check(self, intent: Intent) -> tuple[Position | None, tuple[Rejection, str] | None]:
        """Compare what the decision saw with a fresh read of the broker, by kind."""
        read = self.reads.positions()
        position = None if intent.position is None else read.find(intent.position)
        if intent.position is not None and position is None:
            return None, (Rejection.POSITION_GONE, f"position {intent.position} is not open any more")
        if position is None:
            return None, None
        instrument = self.reads.instrument(position.symbol)
        return position, _mismatch(intent, position, read, instrument)

    def _send(self, intent: Intent, position: Position | None) -> bool:
        assert self.writes is not None, "an advisory gateway never comes here"  # noqa: S101 - narrows the type
        self.crash.reach("gateway.before_send")
        self.sent += 1
        try:
            receipt = self.writes.send(_addressed(intent.action, position), position=position, tag=intent.tag)
        except BrokerUnavailableError as error:
            return self._end(intent, StepEnd.REJECTED, _refused(Rejection.NOT_SENT), str(error))
        except OutcomeUnknownError as error:
            return self._unknown(intent, str(error))
        except InvariantError as error:
            self._observe_only(intent, error)
            return self._end(intent, StepEnd.REJECTED, _refused(Rejection.INVALID_REQUEST), f"not sent: {error}")
        self.crash.reach("gateway.sent")
        if receipt.outcome is Outcome.REJECTED:
            if receipt.rejection is Rejection.POSITION_GONE and not self._proved_gone(intent):
                receipt = replace(receipt, rejection=Rejection.PRECONDITION)  # its ticket may have changed
            return self._end(intent, StepEnd.REJECTED, receipt, receipt.comment)
        now = self.clock.market_now()
        acked = replace(intent, state=IntentState.ACKED, receipt=receipt, sent_at=now)
        with self.ledger.write() as tx:
            tx.save_intent(acked, expected=IntentState.SENDING)
        self.crash.reach("gateway.acked")
        return self._verify(acked)

    def _verify(self, acked: Intent) -> bool:
        """Read back: what was acknowledged must be there; where it is not, the outcome is unknown."""
        receipt = acked.receipt
        if receipt is None:
            return self._unknown(acked, "acknowledged without a receipt")
        if receipt.outcome is Outcome.PARTIAL:
            return self._end(acked, StepEnd.PARTIAL, receipt, receipt.comment)
        try:
            found = self._evidence(acked)
        except (BrokerError, MarketDataError):
            return False
        if found.seen is not Seen.APPLIED:
            # Also where it says that the goal was met already: "closed" may mean that the ticket changed.
            return self._unknown(acked, "the broker acknowledged it but does not show it")
        merged = _merged(receipt, found.receipt)
        return self._end(acked, StepEnd.APPLIED, merged, receipt.comment)

    def _evidence(self, intent: Intent) -> evidence.Evidence:
        read = self.reads.positions()
        return self._evidence_in(intent, read)

    def _evidence_in(self, intent: Intent, read: PositionsRead) -> evidence.Evidence:
        with self.ledger.read() as tx:
            trade = tx.trade_by_id(intent.trade_id)
        instrument = self._last_instrument(_symbol(intent, trade))
        if not isinstance(intent.action, _OPENINGS):
            deals = () if intent.position is None else self.reads.deals(intent.position)
            return evidence.find(intent, read, deals, instrument)
        found = evidence.find(intent, read, (), instrument)
        if found.seen is Seen.APPLIED:
            return found
        # What was opened may be closed again, or stand there under another comment: its deals tell.
        deals = self.reads.deals_between(Millis(intent.created_at - MINUTE), Millis(read.as_of + MINUTE))
        return evidence.find(intent, read, deals, instrument)

    def _reconcile(self, intent: Intent) -> bool:
        """Decide an UNKNOWN intent by evidence; by absence only after the settle time and two clean reads.

        An opening whose tag is not seen is never "not applied" by the clock alone, nor is what the broker has told a fill
        of, nor a change of volume that nothing explains: they are quarantined.
        """
        now = self.clock.market_now()
        doubt = self._doubts.setdefault(intent.intent_id, _Doubt())
        try:
            read = self.reads.positions()
            found = self._evidence_in(intent, read)
        except (BrokerError, MarketDataError):
            return False
        if found.seen is Seen.APPLIED:
            return self._end(intent, StepEnd.APPLIED, found.receipt, "seen at the broker")
        if found.seen is Seen.PARTIAL:
            return self._end(intent, StepEnd.PARTIAL, found.receipt, "seen in part at the broker")
        policy = self.policies.of("").operation
        settle = policy.settle_s * SECOND
        doubt.look(read, now, 2 * settle, absent=found.seen is Seen.ABSENT)
        if now - doubt.since < settle:
            return False  # the terminal may still show what it knew before it lost its server
        age = now - (intent.sent_at or intent.created_at)
        told = isinstance(intent.action, _OPENINGS) or (intent.receipt is not None and intent.receipt.filled > 0)
        if not told and age >= settle and doubt.absent_reads >= _CLEAN_READS:
            return self._end(intent, StepEnd.NOT_APPLIED, None, "not seen in two clean reads after the settle time")
        if age >= policy.quarantine_s * SECOND:
            self.notifier.alert(
                AlertKind.QUARANTINED,
                intent.intent_id,
                f"{intent.kind} of {intent.trade_id} cannot be told; decide by hand",
            )
            return self._end(intent, StepEnd.QUARANTINED, None, "not decided in time")
        return False

    def _unknown(self, intent: Intent, reason: str) -> bool:
        now = self.clock.market_now()
        unknown = replace(intent, state=IntentState.UNKNOWN, reason=reason, sent_at=intent.sent_at or now)
        with self.ledger.write() as tx:
            tx.save_intent(unknown, expected=intent.state)
        self.notifier.alert(AlertKind.UNKNOWN, intent.intent_id, f"{intent.kind} of {intent.trade_id}: {reason}")
        self.crash.reach("gateway.unknown")
        return True

    def _end(self, intent: Intent, end: StepEnd, receipt: Receipt | None, reason: str) -> bool:
        """Write an end with all that follows from it; a lost race is run again from the ledger's present state."""
        with self.ledger.read() as tx:
            trade = tx.trade_by_id(intent.trade_id)
        scene = self._scene(self._last_instrument(_symbol(intent, trade)))
        deals = self._deals_after(intent, end, receipt, trade)
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
        self._doubts.pop(intent.intent_id, None)
        self.crash.reach("gateway.concluded")
        if settled is not None and settled.parked:
            self.notifier.alert(AlertKind.PARKED, intent.trade_id, f"{intent.kind} cannot be done now: {reason}")
        if receipt is not None and receipt.rejection in _TRADING_OFF:
            self.notifier.alert(AlertKind.BREAKER, "trading", f"nothing can be sent, positions are unmanaged: {reason}")
        return True

    def _deals_after(
        self, intent: Intent, end: StepEnd, receipt: Receipt | None, trade: Trade | None
    ) -> tuple[Deal, ...]:
        """Return the deals of the positions that a volume change touched; none where they cannot be read now."""
        if end not in (StepEnd.APPLIED, StepEnd.PARTIAL) or isinstance(intent.action, SetStop) or trade is None:
            return ()
        touched = {trade.identifier, *trade.children} | ({intent.position} if intent.position is not None else set())
        if receipt is not None and receipt.position is not None:
            touched.add(receipt.position)
        try:
            return tuple(deal for position in sorted(touched) for deal in self.reads.deals(position))
        except BrokerError:
            return ()

    def _instrument(self, symbol: str) -> Instrument:
        """Return the instrument as it is now."""
        self._instruments[symbol] = self.reads.instrument(symbol)
        return self._instruments[symbol]

    def _last_instrument(self, symbol: str) -> Instrument:
        """Return the instrument, as it was last where it cannot be read now: enough to conclude, never to send."""
        try:
            return self._instrument(symbol)
        except (BrokerError, MarketDataError):
            if symbol not in self._instruments:
                raise
            return self._instruments[symbol]

    def _scene(self, instrument: Instrument) -> Scene:
        return Scene(
            now=self.clock.market_now(),
            instrument=instrument,
            hours=MarketHours(instrument.asset),
            policy=self.policies.of(instrument.canonical),
        )


def _hedged_before(tx: LedgerRead, intent: Intent) -> bool:
    """Say whether another decision's hedge of the trade was opened or may have been; its ledger row is no second one."""
    trade = tx.trade_by_id(intent.trade_id)
    if trade is not None and trade.hedge is not None:
        return True
    return any(
        isinstance(other.action, OpenHedge) and other.intent_id != intent.intent_id and other.state in _MAY_BE_OPEN
        for other in tx.intents(trade_id=intent.trade_id, limit=_ALL)
    )


def _addressed(action: Action, position: Position | None) -> Action:
    """Return an action with the present ticket of its position: the journal knows it by its identifier, which stays."""
    if position is None or isinstance(action, OpenTrade):
        return action
    if isinstance(action, CloseHedge):
        return replace(action, hedge=position.ticket)
    return replace(action, ticket=position.ticket)


def _refused(rejection: Rejection) -> Receipt:
    return Receipt(outcome=Outcome.REJECTED, code=0, rejection=rejection)


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
    )


def _symbol(intent: Intent, trade: Trade | None) -> str:
    if trade is not None:
        return trade.symbol
    if isinstance(intent.action, OpenTrade):
        return intent.action.symbol
    msg = f"intent {intent.intent_id} belongs to trade {intent.trade_id}, which the ledger does not hold"
    raise StaleWriteError(msg)


def _mismatch(
    intent: Intent, position: Position, read: PositionsRead, instrument: Instrument
) -> tuple[Rejection, str] | None:
    """Return why the fresh read contradicts what the decision saw; None where it may be sent."""
    seen, action = intent.precondition, intent.action
    match action:
        case SetStop():
            if not (
                instrument.same_price(position.stop, seen.stop) and instrument.same_price(position.target, seen.target)
            ):
                return Rejection.PRECONDITION, (
                    f"stop {position.stop} and target {position.target} are not {seen.stop} and {seen.target} any more"
                )
            loosens = position.stop is not None and instrument.is_tighter(position.side, position.stop, action.stop)
            if loosens and not action.widens:
                return Rejection.LOOSENS, f"stop {action.stop} would loosen {position.stop}"
        case Reduce() | OpenHedge() | ReAdd():
            if seen.volume is None or not instrument.same_lots(position.volume, seen.volume):
                return Rejection.PRECONDITION, f"volume {position.volume} is not {seen.volume} any more"
            if isinstance(action, Reduce) and action.remaining >= position.volume:
                return Rejection.PRECONDITION, f"remaining {action.remaining} is not less than {position.volume}"
        case Close(by=by) if by is not None:
            if all(other.ticket != by for other in read.positions):
                return Rejection.PRECONDITION, f"position {by} to close against is not open any more"
        case Close() | CloseHedge() | OpenTrade():
            pass
    return None

"""The gateway's verbs: claim an intent, check it against a fresh read, send it; what came of it is `app.gateway.conclusions`.

The only code that sends. SENDING is durable before the first byte leaves; whatever happens after that without an answer
is UNKNOWN and is settled by evidence, never by sending again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dtms.app.evidence.broker_lookup import BrokerLookup
from dtms.app.evidence.in_doubt import InDoubt
from dtms.app.gateway.conclusions import Conclusions
from dtms.app.gateway.hours import HoursGate, HoursSay
from dtms.app.gateway.preconditions import (
    addressed,
    hedged_before,
    mismatch,
    not_the_stray,
    not_the_trade,
    taken_on_netting,
)
from dtms.app.gateway.refusals import Refusals
from dtms.app.gateway.send_gate import SendGate
from dtms.app.journal import journal
from dtms.app.market.closures import Closures
from dtms.app.modes.keeper import ModeKeeper, stays_planned, watch_journal
from dtms.app.modes.kill_switch import kill_state
from dtms.app.modes.ledger_watch import LedgerWatch
from dtms.app.reconcile.strays import strays
from dtms.app.views.trade_cache import KILL_FACT, TradeCache
from dtms.core.settle import StepEnd
from dtms.domain.action import Close, CloseHedge, OpenHedge, OpenTrade, RiskDirection, risk_of
from dtms.domain.intent import Intent, IntentState
from dtms.domain.modes import Mode
from dtms.domain.policy import Policies
from dtms.domain.position import Position, PositionsRead
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.trade import Hold, Trade
from dtms.domain.units import Millis
from dtms.domain.verdict import KillLevel
from dtms.errors import (
    BrokerUnavailableError,
    InvariantError,
    LedgerUnavailableError,
    MarketDataError,
    OutcomeUnknownError,
    WrongAccountError,
)
from dtms.ports.broker import BrokerReads, BrokerWrites, GatewayReads
from dtms.ports.clock import Clock
from dtms.ports.crash import CrashPoints
from dtms.ports.ledger import Ledger, LedgerWrite
from dtms.ports.notifier import Notifier


@dataclass(slots=True, kw_only=True)
class Executor:
    """Carries intents to the broker for one account.

    `writes` is None while the account is advisory: the capability to send is absent, not switched off. `epoch` is this
    gateway's fencing number, `lease` the name of the lease that claiming asks for, None where one host needs none.
    `worked` counts the intents that were looked at: a pass over many is long, and one that stands still does not count on.
    `gate` holds back and refuses beside the journal; the executor reads through it, for it sees whose account answers.
    """

    ledger: Ledger
    gate: SendGate
    orders: GatewayReads
    writes: BrokerWrites | None
    clock: Clock
    policies: Policies
    notifier: Notifier
    crash: CrashPoints
    epoch: int
    modes: ModeKeeper
    ledger_watch: LedgerWatch
    lease: str | None = None
    sent: int = 0
    worked: int = 0
    book: TradeCache = field(init=False)
    reads: BrokerReads = field(init=False)
    conclusions: Conclusions = field(init=False)
    _mode: Mode = Mode.NORMAL
    _witness: BrokerLookup = field(init=False)
    _closures: Closures = field(init=False)
    _hours: HoursGate = field(init=False)

    def __post_init__(self) -> None:
        self.book = TradeCache(self.ledger)
        self.reads = self.gate.reads
        self._witness = BrokerLookup(ledger=self.ledger, reads=self.reads)
        self._closures = Closures(ledger=self.ledger, reads=self.reads, notifier=self.notifier)
        self.conclusions = Conclusions(
            ledger=self.ledger,
            clock=self.clock,
            policies=self.policies,
            notifier=self.notifier,
            crash=self.crash,
            witness=self._witness,
            doubts=InDoubt(self._witness, self.orders),
            refusals=Refusals(ledger=self.ledger),
            closures=self._closures,
        )
        self._hours = HoursGate(witness=self._witness, policies=self.policies, closures=self._closures)

    def recover(self) -> None:
        """Turn what was on its way when the last gateway ended into UNKNOWN; it is settled by evidence from then on."""
        self.crash.reach("gateway.recovering")
        self.gate.recall()
        self.conclusions.refusals.recall(self.clock.market_now())
        with self.ledger.read() as tx:
            unfinished = tx.unfinished()
        for intent in unfinished:
            if intent.state is IntentState.SENDING or (intent.state is IntentState.ACKED and intent.receipt is None):
                self.conclusions.unknown(intent, "the gateway ended while it was on its way")
        self.tick()
        self.crash.reach("gateway.recovered")

    def tick(self) -> int:
        """Carry out what is planned and settle what is not decided yet; return how many intents changed.

        Raises:
            BrokerError: The broker does not answer; the ledger has it, and the next pass goes on.
            LedgerError: Nothing can be read or written, so nothing is sent.
            MarketDataError: A symbol cannot be used; everything else was worked on.
        """
        try:
            changed = self._pass()
        except LedgerUnavailableError as error:
            self.ledger_watch.down(error)
            raise
        if self.ledger_watch.failures:
            self.ledger_watch.look()
        return changed

    def watch(self) -> None:
        """Look, each second at most, whose account it is and whether it may trade: also while nothing is planned."""
        self.gate.watch(sends=self.writes is not None)

    def _pass(self) -> int:
        self.gate.begin(self.book.page())
        self._closures.look(self.clock.market_now())
        page = self.book.page()
        watch_journal(self.modes, page)
        self._mode = self.modes.review(page)
        changed = 0
        unusable: MarketDataError | None = None
        for intent in page.unfinished:
            self.worked += 1
            try:
                changed += self._work_on(intent)
            except InvariantError as error:
                self.conclusions.observe_only(intent, error)
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
                return self.conclusions.unknown(intent, "the pass that carried it out broke off")
            case IntentState.ACKED:
                return self.conclusions.verify(intent)
            case IntentState.UNKNOWN:
                return self.conclusions.settle_doubt(intent)
            case _:
                return False

    def _carry_out(self, planned: Intent) -> bool:
        now = self.clock.market_now()
        if planned.created_at > now:
            return False  # a further try that is held back
        if planned.expires_at is not None and now >= planned.expires_at:
            return self.conclusions.end(planned, StepEnd.CANCELLED, None, "the price it was decided on is too old")
        if stays_planned(self._mode, planned) or self.gate.holds_back(planned):
            return False
        held = None if self.gate.will_refuse(planned) else self._held(planned, now)
        if held is not None:
            return held
        self.crash.reach("gateway.before_claim")
        with self.ledger.write() as tx:
            claimed = tx.claim(planned, epoch=self.epoch, now=now, lease=self.lease)
            if claimed is not None:
                journal.tell_sending(tx, claimed, now)
            denied = None if claimed is None else self._denied(tx, claimed)
        if claimed is None:
            return False
        self.crash.reach("gateway.claimed")
        try:
            position, refusal = self._check(claimed)
        except (BrokerUnavailableError, MarketDataError) as error:
            return self._reject(claimed, Rejection.NOT_SENT, str(error))
        refusal = denied or refusal
        if refusal is not None:
            rejection, reason = refusal
            if rejection is Rejection.POSITION_GONE:
                if not self._witness.proved_gone(claimed):
                    rejection, reason = Rejection.NOT_SENT, f"{reason}, as this read says; no deals prove it"
                elif isinstance(claimed.action, (Close, CloseHedge)):
                    return self.conclusions.closed_already(claimed)
            return self._reject(claimed, rejection, reason)
        return self._send(claimed, position)

    def _held(self, planned: Intent, now: Millis) -> bool | None:
        """Say what the market's hours do to an intent: cancelled by a new session, held at a reopening, None for neither.

        A held intent stays planned, so the answer is that nothing changed.
        """
        with self.ledger.read() as tx:
            trade = tx.trade_by_id(planned.trade_id)
            kill = kill_state(tx)
        symbol = _symbol_of(planned, trade)
        if not symbol:
            return None
        flatten_since = kill.since if kill.level is KillLevel.FLATTEN else None
        match self._hours.of(planned, symbol, now, flatten_since=flatten_since):
            case HoursSay.OVER:
                return self.conclusions.end(
                    planned, StepEnd.CANCELLED, None, "the session changed since it was decided"
                )
            case HoursSay.WAIT:
                return False
            case HoursSay.GO:
                return None

    def _denied(self, tx: LedgerWrite, intent: Intent) -> tuple[Rejection, str] | None:
        """Say why the ledger forbids sending: not armed, kill switch, or a trade that is only observed."""
        if self.writes is None:
            return Rejection.NOT_ARMED, "the account is advisory; arm it to let dtms act"
        forbidden = self.modes.forbids(tx, intent)
        if forbidden is not None:
            return forbidden
        increases = risk_of(intent.action) is RiskDirection.INCREASE
        if isinstance(intent.action, OpenHedge) and hedged_before(tx, intent):
            return Rejection.HEDGE_PROHIBITED, "a hedge of this trade was opened, or may have been: one hedge a trade"
        level = tx.fact(KILL_FACT)
        denied = self.gate.denies(intent, None if level is None else KillLevel(level))
        if denied is not None:
            return denied
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
        too_large = self.gate.too_large(intent, read)
        if position is None:
            return None, too_large or self._netted(intent, read)
        instrument = self.reads.instrument(position.symbol)
        with self.ledger.read() as tx:
            trade = tx.trade_by_id(intent.trade_id)
            known = strays(tx) if trade is None else ()
        other = not_the_stray(known, position) if trade is None else not_the_trade(trade, position, instrument)
        return position, other or too_large or mismatch(intent, position, read, instrument)

    def _netted(self, intent: Intent, read: PositionsRead) -> tuple[Rejection, str] | None:
        """Return why an opening would be netted with what is there, or may be there: None on an account that hedges."""
        action = intent.action
        if not isinstance(action, OpenTrade) or self.reads.account().hedging:
            return None
        if any(held.symbol == action.symbol for held in read.positions):
            reason = f"the account nets and {action.symbol} has a position by now; close that one first"
            return Rejection.PRECONDITION, reason
        with self.ledger.read() as tx:
            taken = taken_on_netting(tx, intent)
        return (Rejection.PRECONDITION, taken) if taken else None

    def _send(self, intent: Intent, position: Position | None) -> bool:
        assert self.writes is not None, "an advisory gateway never comes here"  # noqa: S101 - narrows the type
        self.crash.reach("gateway.before_send")
        pressed = self.gate.last_word(intent)
        if pressed is not None:
            return self._reject(intent, pressed[0], pressed[1])
        self.gate.sending(intent)
        self.sent += 1
        try:
            receipt = self.writes.send(addressed(intent.action, position), position=position, tag=intent.tag)
        except BrokerUnavailableError as error:
            if isinstance(error, WrongAccountError):
                self.gate.guard.saw(error)
            return self._reject(intent, Rejection.NOT_SENT, str(error))
        except OutcomeUnknownError as error:
            taken = None if error.order is None else _taken(error.order, error.code)
            return self.conclusions.unknown(replace(intent, receipt=taken), str(error))
        except InvariantError as error:
            self.conclusions.observe_only(intent, error)
            return self._reject(intent, Rejection.INVALID_REQUEST, f"not sent: {error}")
        self.crash.reach("gateway.sent")
        self.gate.answered(intent, receipt)
        if receipt.outcome is Outcome.REJECTED:
            if receipt.rejection is Rejection.POSITION_GONE and not self._witness.proved_gone(intent):
                receipt = replace(receipt, rejection=Rejection.PRECONDITION)  # its ticket may have changed
            return self.conclusions.end(intent, StepEnd.REJECTED, receipt, receipt.comment)
        acked = self.conclusions.acknowledged(intent, receipt)
        self.crash.reach("gateway.acked")
        return self.conclusions.verify(acked)

    def _reject(self, intent: Intent, rejection: Rejection, reason: str) -> bool:
        """End an intent that was not sent."""
        receipt = Receipt(outcome=Outcome.REJECTED, code=0, rejection=rejection)
        return self.conclusions.end(intent, StepEnd.REJECTED, receipt, reason)


def _taken(order: int, code: int) -> Receipt:
    """Return what is known of an order that the broker took without telling what became of it."""
    return Receipt(outcome=Outcome.UNKNOWN, code=code, order=order)


def _symbol_of(planned: Intent, trade: Trade | None) -> str:
    """Return the symbol whose hours an intent waits for; "" for an opening, which whoever asked for it waits for."""
    if trade is not None:
        return trade.symbol
    return planned.action.symbol if isinstance(planned.action, Close) else ""

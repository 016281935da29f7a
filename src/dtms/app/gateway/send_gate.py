"""What stands between a planned intent and the broker beside the journal: kill switch, account, breaker, limits.

Asked at four places: when a pass begins, before the claim (what is held back stays planned), inside the claim (what is
refused is rejected), and once more when the next thing is the send itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from dtms.app.gateway.backlog import Backlog
from dtms.app.gateway.breaker import Breaker
from dtms.app.gateway.limits import SendingLimits
from dtms.app.journal.scan import OPENINGS
from dtms.app.modes.kill_switch import KillSwitch
from dtms.app.reads.account_guard import AccountGuard, GuardedReads
from dtms.app.views.trade_cache import KILL_FACT, LedgerView
from dtms.domain.action import RiskDirection, risk_of
from dtms.domain.figures import plain
from dtms.domain.intent import Intent
from dtms.domain.modes import Cause
from dtms.domain.policy import OperationPolicy, Policies
from dtms.domain.position import PositionsRead
from dtms.domain.receipt import Receipt, Rejection
from dtms.domain.verdict import KillLevel
from dtms.errors import BrokerError, LedgerError
from dtms.ports.broker import BrokerReads
from dtms.ports.causes import Causes
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger
from dtms.ports.notifier import Notifier

Refused = tuple[Rejection, str]

_WATCH_EVERY_NS = 1_000_000_000
_CLOSED_TO_INCREASES = (KillLevel.PROTECT_ONLY, KillLevel.FLATTEN)


@dataclass(slots=True, kw_only=True)
class SendGate:
    """The gate of one account. `reads` are to be used instead of those it was given: they see whose account answers."""

    ledger: Ledger
    reads: BrokerReads
    clock: Clock
    policies: Policies
    notifier: Notifier
    causes: Causes
    kill: KillSwitch
    random: Random
    limits: SendingLimits = field(init=False)
    breaker: Breaker = field(init=False)
    guard: AccountGuard = field(init=False)
    backlog: Backlog = field(init=False)
    _level: KillLevel | None = None
    _watched_ns: int | None = None

    def __post_init__(self) -> None:
        self.backlog = Backlog(self.notifier)
        self.guard = AccountGuard(self.causes, self.clock.boot_ns)
        self.reads = GuardedReads(self.reads, self.guard)
        self.breaker = Breaker(causes=self.causes, notifier=self.notifier, random=self.random)
        self.limits = SendingLimits(ledger=self.ledger, causes=self.causes, notifier=self.notifier, random=self.random)

    def recall(self) -> None:
        """Fill the budgets from the journal.

        Raises:
            LedgerError: It cannot be read; nothing may be sent before it was.
        """
        self.limits.recall(self.clock.market_now())

    def begin(self, page: LedgerView) -> None:
        """Begin a pass: take over the kill switch's file, and at `flatten` write what closes.

        Raises:
            LedgerError: The switch could not be written down; what it forbids is not sent all the same.
        """
        self._watch_file()
        self._level = self.kill.level(page.kill)
        if self._level is not None or page.kill is not None:
            self.kill.enforce()
        now = self.clock.market_now()
        self.limits.tell(now, self.clock.boot_ns(), self._policy)
        self.backlog.look(page, now, self._policy)

    def _watch_file(self) -> None:
        why = self.kill.unreadable()
        if why:
            self.causes.set(Cause.KILL_FILE, f"{self.kill.sentinel}: {why}")
        else:
            self.causes.clear(Cause.KILL_FILE)

    def watch(self, *, sends: bool) -> None:
        """Look each second whose account it is and, where this gateway `sends`, whether it may trade: also without work.

        An advisory gateway is well served by a password that can only look.
        """
        now_ns = self.clock.boot_ns()
        if self._watched_ns is not None and now_ns - self._watched_ns < _WATCH_EVERY_NS:
            return
        self._watched_ns = now_ns
        try:
            account = self.reads.account()
        except BrokerError:
            return  # the guard has seen whose fault it was; silence is told by who waits for an answer
        if account.trade_allowed or not sends:
            self.breaker.trading_on(now_ns)
        else:
            self.breaker.trading_off(now_ns, f"account {account.key} may not trade: AutoTrading is off, or its rights")

    def holds_back(self, planned: Intent) -> str:
        """Return why an intent stays planned for now, "" where it may be claimed."""
        if self._wrong_account():
            return self.guard.wrong
        now, now_ns = self.clock.market_now(), self.clock.boot_ns()
        if risk_of(planned.action) is RiskDirection.INCREASE:
            if self._level is KillLevel.PAUSE:
                return "the kill switch is at pause"
            if self.will_refuse(planned):
                return ""  # it is refused when it is claimed
        waits = self.breaker.waits(planned, now_ns, self._policy)
        return waits or self.limits.waits(planned, now, now_ns, self._policy)

    def will_refuse(self, planned: Intent) -> bool:
        """Say whether an intent that adds risk is refused when it is claimed: it need not wait for a market before."""
        if risk_of(planned.action) is not RiskDirection.INCREASE or self._level is KillLevel.PAUSE:
            return False
        return self._level is not None or bool(self.breaker.refuses(planned, self.clock.boot_ns(), self._policy))

    def denies(self, intent: Intent, known: KillLevel | None) -> Refused | None:
        """Return why a claimed intent is refused; `known` is the kill switch's level in the claiming transaction."""
        if risk_of(intent.action) is not RiskDirection.INCREASE:
            return None
        level = self.kill.level(known)
        if level in _CLOSED_TO_INCREASES:
            return Rejection.KILL_SWITCH, f"{self._pressed(level)}; only what reduces risk is sent"
        open_breaker = self.breaker.refuses(intent, self.clock.boot_ns(), self._policy)
        return (Rejection.MODE, open_breaker) if open_breaker else None

    def too_large(self, intent: Intent, read: PositionsRead) -> Refused | None:
        """Return why an action that adds risk is refused for its size; what reduces risk is never too large."""
        action = intent.action
        if not isinstance(action, OPENINGS):
            return None
        most, all_together = self._policy.max_lots_per_action, self._policy.max_lots_account
        if action.volume > most:
            return Rejection.LIMIT_REACHED, f"{plain(action.volume)} lots are more than the {plain(most)} of one action"
        held = sum(position.volume for position in read.positions)
        if held + action.volume > all_together:
            return Rejection.LIMIT_REACHED, (
                f"{plain(action.volume)} lots more than the {plain(held)} that are open would pass the account's {plain(all_together)}"
            )
        return None

    def last_word(self, intent: Intent) -> Refused | None:
        """Return why an intent must not be sent after all: the kill switch was pressed since it was claimed, or may have been."""
        if risk_of(intent.action) is not RiskDirection.INCREASE:
            return None
        try:
            with self.ledger.read() as tx:
                fact = tx.fact(KILL_FACT)
        except LedgerError as error:
            return Rejection.NOT_SENT, f"nobody can tell whether the kill switch was pressed: {error}"
        level = self.kill.level(None if fact is None else KillLevel(fact))
        if level is None:
            return None
        return Rejection.KILL_SWITCH, f"{self._pressed(level)} before it was sent"

    def sending(self, intent: Intent) -> None:
        """Take note of an order that is about to leave."""
        self.limits.took(intent, self.clock.market_now(), self.clock.boot_ns(), self._policy)

    def answered(self, intent: Intent, receipt: Receipt) -> None:
        """Take note of the broker's answer, and of the requests that were mended before it: each counts as one sent."""
        now_ns = self.clock.boot_ns()
        for _ in range(receipt.tries - 1):
            self.limits.took(intent, self.clock.market_now(), now_ns, self._policy)
        if receipt.rejection is Rejection.TOO_MANY_REQUESTS:
            self.limits.backoff.refused(now_ns, self._policy)
        else:
            self.limits.backoff.answered()
        self.breaker.answered(intent, receipt, now_ns, self._policy)
        self.limits.answered(intent, receipt, self.clock.market_now())

    def _pressed(self, level: KillLevel) -> str:
        why = self.kill.unreadable()
        return f"the kill switch's file cannot be read ({why})" if why else f"the kill switch is at {level}"

    def _wrong_account(self) -> bool:
        """Say whether another account answers; after a wrong answer it is asked once more before anything is claimed."""
        if not self.guard.wrong:
            return False
        try:
            self.reads.account()
        except BrokerError:
            return True
        return False

    @property
    def _policy(self) -> OperationPolicy:
        return self.policies.default.operation

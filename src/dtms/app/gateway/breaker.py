"""The breaker: after refusals for good one after the other, or with trading switched off, nothing that adds risk is sent.

What reduces risk is tried on, with a pause that grows: nobody else will close the position, and each try is the probe
that finds out when trading is back. After a cool-down the breaker is half open: one action of any kind may go, and its
answer closes the breaker or opens it again. Lost in a restart: then the next refusals open it again, trading that is off
at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from dtms.domain.action import RiskDirection, risk_of
from dtms.domain.intent import Intent
from dtms.domain.modes import Cause
from dtms.domain.policy import OperationPolicy
from dtms.domain.receipt import RETRYABLE, Outcome, Receipt, Rejection
from dtms.ports.causes import Causes
from dtms.ports.notifier import AlertKind, Notifier

TRADING_OFF = frozenset({Rejection.AUTO_TRADING_OFF, Rejection.TRADE_DISABLED})
_PASSING = RETRYABLE | {Rejection.INVALID_STOPS, Rejection.POSITION_GONE, Rejection.FIFO}
"""Refusals that say nothing about the account: another price, a moment later, a new decision, or an older position closed
first may do."""
_NS = 1_000_000_000
_BELIEVED_NS = 15 * 60 * _NS


class BreakerState(StrEnum):
    """Where the breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True, kw_only=True)
class Breaker:
    """The breaker of one account; all instants are of the clock that never steps."""

    causes: Causes
    notifier: Notifier
    random: Random
    state: BreakerState = BreakerState.CLOSED
    reason: str = ""
    _cause: Cause = Cause.REJECTS
    _by_word: bool = False
    _refused: dict[tuple[str, str], None] = field(default_factory=dict)
    _opened_ns: int = 0
    _tries: int = 0
    _next_try_ns: int = 0
    _doubt_ns: int = 0
    """Until then an account that says of itself that it may not trade is believed; then one order finds out."""

    def refuses(self, intent: Intent, now_ns: int, policy: OperationPolicy) -> str:
        """Return why an intent that adds risk is refused, "" where it is not."""
        self._cool(now_ns, policy)
        if self.state is BreakerState.OPEN and risk_of(intent.action) is RiskDirection.INCREASE:
            return f"the breaker is open: {self.reason}; what adds risk is refused until an action was carried out"
        return ""

    def waits(self, intent: Intent, now_ns: int, policy: OperationPolicy) -> str:
        """Return why an intent that reduces risk is held back for a moment, "" where it is not."""
        self._cool(now_ns, policy)
        next_try_ns = max(self._next_try_ns, self._doubt_ns if self._by_word else 0)
        if (
            self.state is BreakerState.OPEN
            and now_ns < next_try_ns
            and risk_of(intent.action) is not RiskDirection.INCREASE
        ):
            return f"the breaker is open: {self.reason}; it is tried again soon"
        return ""

    def trading_off(self, now_ns: int, reason: str) -> None:
        """Open at once: the account itself says that it may not trade; it stays open until the account says otherwise."""
        self._open(Cause.TRADING_OFF, now_ns, reason)
        self._by_word = True

    def trading_on(self, now_ns: int) -> None:
        """Take the account's word that it may trade again: the next action is the probe.

        After a refusal by the broker its word is not enough: then the cool-down counts.
        """
        if self.state is BreakerState.OPEN and self._by_word:
            self._half_open(now_ns)

    def answered(self, intent: Intent, receipt: Receipt, now_ns: int, policy: OperationPolicy) -> None:
        """Take note of the broker's answer; one of our own (code 0) is none."""
        if receipt.outcome is not Outcome.REJECTED or receipt.goal_met:
            self._close()
            return
        rejection = receipt.rejection
        if receipt.code == 0 or rejection is None:
            return
        if rejection in TRADING_OFF:
            self._open(Cause.TRADING_OFF, now_ns, f"{rejection}, code {receipt.code}: {receipt.comment}")
            self._pause(now_ns, policy)
            self._doubt_ns = now_ns + _BELIEVED_NS
            return
        if rejection in _PASSING:
            return
        self._refused[(intent.trade_id, intent.decision_id)] = None
        if self.state is BreakerState.CLOSED and len(self._refused) < policy.breaker_rejects:
            return
        count = len(self._refused)
        self._open(
            Cause.REJECTS, now_ns, f"{count} refusals for good running, the last {rejection}, code {receipt.code}"
        )
        self._pause(now_ns, policy)

    def _open(self, cause: Cause, now_ns: int, reason: str) -> None:
        told = self.state is BreakerState.OPEN and self._cause is cause
        if self.state is BreakerState.OPEN and self._cause is not cause:
            self.causes.clear(self._cause)
        self.state, self._cause, self.reason, self._by_word = BreakerState.OPEN, cause, reason, False
        self._opened_ns = now_ns
        if told:
            return
        self.causes.set(cause, reason)
        what = (
            "nothing can be sent, positions are unmanaged" if cause is Cause.TRADING_OFF else "nothing that adds risk"
        )
        self.notifier.alert(AlertKind.BREAKER, "trading", f"{what}: {reason}; stops at the broker hold")

    def _pause(self, now_ns: int, policy: OperationPolicy) -> None:
        bound = min(policy.backoff_most_s, policy.backoff_first_s * 2.0 ** min(self._tries, 20))
        self._tries += 1
        self._next_try_ns = now_ns + round(self.random.uniform(0.0, bound) * _NS)

    def _cool(self, now_ns: int, policy: OperationPolicy) -> None:
        if self.state is BreakerState.OPEN and now_ns - self._opened_ns >= policy.breaker_cooldown_s * _NS:
            self._half_open(now_ns)

    def _half_open(self, now_ns: int) -> None:
        """Let a probe through; the cause ends here, for nothing would be planned that could be one."""
        self.state, self._next_try_ns = BreakerState.HALF_OPEN, now_ns
        self.causes.clear(self._cause)

    def _close(self) -> None:
        self._refused.clear()
        if self.state is BreakerState.CLOSED:
            return
        self.state, self.reason, self._tries = BreakerState.CLOSED, "", 0
        self.causes.clear(self._cause)

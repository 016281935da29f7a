"""How fast and how much one account may send: a second's and a day's budget with a share kept for what protects.

A limit never refuses what it holds back: the intent stays planned and goes as soon as there is room, unless the price it
was decided on grows too old. The day's count is derived from the journal at each start (every intent that was claimed
carries `sent_at`) and not kept as a number of its own: there is then nothing that could disagree with what was sent, and
nothing more to write for each order. A day ends at midnight UTC; an intent that was planned more than a day before this
day began is not counted after a restart.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from dtms.app.gateway.urgency import Urgency, urgency_of
from dtms.app.journal.scan import each_intent
from dtms.domain.action import Close
from dtms.domain.intent import Intent, IntentState, Planner, Purpose
from dtms.domain.modes import Cause
from dtms.domain.policy import OperationPolicy
from dtms.domain.receipt import Outcome, Receipt
from dtms.domain.units import DAY, HOUR, Millis, TradeId
from dtms.ports.causes import Causes
from dtms.ports.ledger import Ledger
from dtms.ports.notifier import AlertKind, Notifier

Key = TypeVar("Key", TradeId, Purpose)

_NS = 1_000_000_000


@dataclass(slots=True)
class Backoff:
    """Full jitter: each wait is random, between nothing and a bound that doubles with each "too many requests".

    What protects has a way of its own: it waits at most the first bound, however often the broker has said so.
    """

    random: Random
    _times: int = 0
    _ordinary_ns: int = 0
    _protective_ns: int = 0

    def refused(self, now_ns: int, policy: OperationPolicy) -> None:
        """Take note of one "too many requests"."""
        bound = min(policy.backoff_most_s, policy.backoff_first_s * 2.0 ** min(self._times, 20))
        self._times += 1
        self._ordinary_ns = now_ns + round(self.random.uniform(0.0, bound) * _NS)
        self._protective_ns = now_ns + round(self.random.uniform(0.0, policy.backoff_first_s) * _NS)

    def answered(self) -> None:
        """Take note of any other answer: the broker takes requests again."""
        self._times = 0

    def waits(self, urgency: Urgency, now_ns: int) -> bool:
        """Say whether something of this urgency has to wait."""
        return now_ns < (self._ordinary_ns if urgency is Urgency.ORDINARY else self._protective_ns)


@dataclass(slots=True, kw_only=True)
class SendingLimits:
    """The budgets of one account; `recall` fills them from the journal.

    Rates are counted on the clock that never steps, days on the market's; refusals by trade and purpose, so that no rule,
    however often it is refused, has a budget of its own with each decision.
    """

    ledger: Ledger
    causes: Causes
    notifier: Notifier
    random: Random
    backoff: Backoff = field(init=False)
    today: int = 0
    _told: str = ""
    _told_trades: dict[TradeId, Millis] = field(default_factory=dict)
    _day: int = -1
    _tokens: float = 0.0
    _filled_ns: int | None = None
    _hours: dict[TradeId, deque[Millis]] = field(default_factory=dict)
    _refused: dict[Purpose, deque[Millis]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.backoff = Backoff(self.random)

    def recall(self, now: Millis) -> None:
        """Count what the journal shows as sent today and within the last hour.

        Raises:
            LedgerError: It cannot be read; nothing may be sent before it was.
        """
        self._day, self.today = now // DAY, 0
        self._hours.clear()
        self._refused.clear()
        with self.ledger.read() as tx:
            for intent in each_intent(tx, since=Millis((self._day - 1) * DAY)):
                if intent.sent_at is not None and _left(intent):
                    for _ in range(1 if intent.receipt is None else intent.receipt.tries):
                        self._count(intent, intent.sent_at, now)
                    if intent.receipt is not None and intent.receipt.outcome is not Outcome.UNKNOWN:
                        self.answered(intent, intent.receipt, intent.sent_at)

    def waits(self, intent: Intent, now: Millis, now_ns: int, policy: OperationPolicy) -> str:
        """Return why an intent has to wait, "" where it may go now."""
        urgency = urgency_of(intent)
        if self.backoff.waits(urgency, now_ns):
            return "the broker said that requests come too fast"
        self._fill(now_ns, policy)
        kept = policy.protective_share if urgency is Urgency.ORDINARY else 0.0
        if self._tokens < 1.0 + kept * _capacity(policy):
            return f"the account sends at most {policy.sends_per_second:g} orders a second"
        if urgency is not Urgency.FLATTEN and self.spent(urgency, now, policy):
            return f"{self.today} of {policy.sends_per_day} orders a day are sent; more follow after midnight UTC"
        if not _ends(intent) and _within(self._hours, intent.trade_id, now) >= _room(policy.sends_per_trade_hour, kept):
            return self._loops(intent, now, policy)
        if _within(self._refused, intent.purpose, now) >= _room(policy.refusals_per_hour, kept):
            return f"the broker has refused this {policy.refusals_per_hour} times within an hour"
        return ""

    def tell(self, now: Millis, now_ns: int, policy: OperationPolicy) -> None:
        """Tell once when a budget is spent or the broker asks for patience, and once more when that is over."""
        if self.spent(Urgency.PROTECTIVE, now, policy):
            what = f"the day's {policy.sends_per_day} orders are sent: what protects waits too, until midnight UTC"
        elif self.spent(Urgency.ORDINARY, now, policy):
            what = f"only what protects is sent: the rest of the day's {policy.sends_per_day} orders is kept for it"
        elif self.backoff.waits(Urgency.ORDINARY, now_ns):
            what = "the broker said that requests come too fast; what can wait is held back"
        else:
            what = ""
        if what == self._told:
            return
        self._told = what
        if not what:
            self.causes.clear(Cause.SEND_BUDGET)
            return
        self.causes.set(Cause.SEND_BUDGET, what)
        self.notifier.alert(AlertKind.BREAKER, "send budget", f"{what}; stops at the broker hold")

    def spent(self, urgency: Urgency, now: Millis, policy: OperationPolicy) -> bool:
        """Say whether the day's budget is spent for this urgency."""
        self._turn_day(now)
        kept = policy.protective_share if urgency is Urgency.ORDINARY else 0.0
        return self.today >= _room(policy.sends_per_day, kept)

    def took(self, intent: Intent, now: Millis, now_ns: int, policy: OperationPolicy) -> None:
        """Take note of a request that leaves, or has left beside the order's first."""
        self._fill(now_ns, policy)
        self._tokens -= 1.0
        self._turn_day(now)
        self._count(intent, now, now)

    def answered(self, intent: Intent, receipt: Receipt, now: Millis) -> None:
        """Take note of the broker's answer: what it refuses is counted by trade and purpose, a person's wish is not."""
        if receipt.outcome is not Outcome.REJECTED:
            self._refused.pop(intent.purpose, None)
        elif receipt.code != 0 and intent.owner is not Planner.COMMAND:
            self._refused.setdefault(intent.purpose, deque()).append(now)

    def _turn_day(self, now: Millis) -> None:
        """Begin a new day's count; a clock that was set back a day gives no new budget."""
        day = now // DAY
        if day == self._day:
            return
        if day > self._day:
            self.today = 0
            self._hours = {each: sent for each, sent in self._hours.items() if now - sent[-1] < HOUR}
            self._refused = {each: at for each, at in self._refused.items() if now - at[-1] < HOUR}
            self._told_trades = {each: at for each, at in self._told_trades.items() if now - at < HOUR}
        self._day = day

    def _loops(self, intent: Intent, now: Millis, policy: OperationPolicy) -> str:
        """Return the reason to wait of a trade that was changed too often, telling it once an hour."""
        why = f"the trade has had its {policy.sends_per_trade_hour} orders an hour"
        told = self._told_trades.get(intent.trade_id)
        if told is None or now - told >= HOUR:
            self._told_trades[intent.trade_id] = now
            detail = f"{why}; {intent.kind} waits: find out what plans so much for it"
            self.notifier.alert(AlertKind.PARKED, intent.trade_id, detail)
        return why

    def _fill(self, now_ns: int, policy: OperationPolicy) -> None:
        whole = _capacity(policy)
        if self._filled_ns is None:
            self._tokens = whole
        else:
            passed_s = max(0, now_ns - self._filled_ns) / _NS
            self._tokens = min(whole, self._tokens + passed_s * policy.sends_per_second)
        self._filled_ns = now_ns

    def _count(self, intent: Intent, at: Millis, now: Millis) -> None:
        if at // DAY == self._day and urgency_of(intent) is not Urgency.FLATTEN:
            self.today += 1
        if now - at < HOUR and not _ends(intent):
            self._hours.setdefault(intent.trade_id, deque()).append(at)


def _ends(intent: Intent) -> bool:
    """Say whether this is a close that protects: a trade has so few of them that they wait for no trade's hour."""
    return isinstance(intent.action, Close) and urgency_of(intent) is not Urgency.ORDINARY


def _within(counted: dict[Key, deque[Millis]], key: Key, now: Millis) -> int:
    """Return how many of one key are less than an hour old, forgetting the others."""
    found = counted.get(key)
    if found is None:
        return 0
    while found and now - found[0] >= HOUR:
        found.popleft()
    if not found:
        del counted[key]
    return len(found)


def _capacity(policy: OperationPolicy) -> float:
    """Return the most tokens: a second's worth, and enough for one ordinary order beside the share that is kept."""
    return max(policy.sends_per_second, 1.0 / (1.0 - policy.protective_share))


def _room(budget: int, kept: float) -> int:
    """Return how much of a budget may be used; at least one is."""
    return max(1, int(budget * (1.0 - kept)))


def _left(intent: Intent) -> bool:
    """Say whether a claimed intent left for the broker, or may have: only a refusal of our own (code 0) shows it did not."""
    return not (intent.state is IntentState.REJECTED and intent.receipt is not None and intent.receipt.code == 0)

"""Whose account is behind the terminal: one crossed answer is refused, the same wrong account three times running halts.

A pipe that was crossed with another terminal's gives another account for a call or two, and is right again once it was
opened anew: to call a person for that would teach him to ignore the call. So a single wrong answer refuses that one read
or send (it proves nothing and sends nothing), and until an answer is right again nothing is claimed. Three of them from
the same account, each at least a second after the one before and none right in between, are no accident: somebody has
logged the terminal in elsewhere. Then the system halts, and stays halted when the account comes back, because what
happened meanwhile nobody has seen: a person looks and resumes. A gateway that finds the wrong account at its start does
not start at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from dtms.app.reads.delegating import DelegatingReads
from dtms.domain.modes import Cause
from dtms.domain.position import Account, Deal, PositionsRead
from dtms.domain.units import Millis
from dtms.errors import WrongAccountError
from dtms.ports.broker import BrokerReads
from dtms.ports.causes import Causes

T = TypeVar("T")

_RUNNING = 3
_APART_NS = 1_000_000_000


@dataclass(slots=True)
class AccountGuard:
    """Counts wrong answers; `wrong` says what was found, "" while the last answer was the right account's."""

    causes: Causes
    now_ns: Callable[[], int]
    wrong: str = ""
    _found: str = ""
    _running: int = 0
    _counted_ns: int = 0

    def saw(self, error: WrongAccountError) -> None:
        """Take note of another account's answer."""
        now_ns = self.now_ns()
        self.wrong = (
            f"the terminal is logged in to {error.found}, expected is {error.expected}; log it in to {error.expected}, "
            "compare its positions with `dtms status`, then resume"
        )
        if error.found != self._found:
            self._found, self._running = error.found, 0
        if self._running and now_ns - self._counted_ns < _APART_NS:
            return
        self._running, self._counted_ns = self._running + 1, now_ns
        if self._running == _RUNNING:
            self.causes.set(Cause.ACCOUNT_CHANGED, self.wrong)

    def right(self) -> None:
        """Take note of an answer that was checked to be of our account."""
        if self.wrong:
            self.wrong, self._found, self._running = "", "", 0
            self.causes.clear(Cause.ACCOUNT_CHANGED)


class GuardedReads(DelegatingReads):
    """Tells a guard of each wrong answer, and of each right one where the adapter checks the account before and after."""

    def __init__(self, reads: BrokerReads, guard: AccountGuard) -> None:
        super().__init__(reads)
        self._guard = guard

    def _ask(self, question: Callable[[BrokerReads], T]) -> T:
        try:
            return super()._ask(question)
        except WrongAccountError as error:
            self._guard.saw(error)
            raise

    def _checked(self, question: Callable[[BrokerReads], T]) -> T:
        answer = self._ask(question)
        self._guard.right()
        return answer

    def account(self) -> Account:
        """Return the account as it stands."""
        return self._checked(lambda reads: reads.account())

    def positions(self) -> PositionsRead:
        """Return all open positions."""
        return self._checked(lambda reads: reads.positions())

    def deals(self, position: int) -> tuple[Deal, ...]:
        """Return the deals of one position."""
        return self._checked(lambda reads: reads.deals(position))

    def deals_between(self, start: Millis, end: Millis) -> tuple[Deal, ...]:
        """Return the deals in [start, end]."""
        return self._checked(lambda reads: reads.deals_between(start, end))

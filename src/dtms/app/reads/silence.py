"""The broker's reads with an ear on what they tell beside the answer: its silence, and positions closed for want of margin.

Each is a cause of a lesser mode. Market data that cannot be true are no silence: the broker answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from dtms.app.modes.keeper import ModeKeeper
from dtms.app.reads.delegating import DelegatingReads
from dtms.domain.figures import plain
from dtms.domain.modes import Cause
from dtms.domain.position import Account, Deal, DealReason, PositionsRead
from dtms.domain.units import Millis
from dtms.errors import BrokerUnavailableError
from dtms.ports.broker import BrokerReads
from dtms.ports.causes import Causes

T = TypeVar("T")

FAILURES: Final = 3
SILENT_NS: Final = 3_000_000_000
"""One lost read is nothing, nor is a terminal that reconnects within the moment; both must be passed."""


class SilenceDetectingReads(DelegatingReads):
    """Tells `Cause.BROKER_SILENT` where account or positions could not be read several times running.

    These two are asked every few seconds, and without either of them the system is blind; each ends its own silence.

    Args:
        reads: The broker.
        causes: Where it is told.
        now_ns: The clock that never steps.
    """

    def __init__(self, reads: BrokerReads, causes: Causes, now_ns: Callable[[], int]) -> None:
        super().__init__(reads)
        self._causes = causes
        self._now_ns = now_ns
        self._failed: dict[str, tuple[int, int]] = {}

    def account(self) -> Account:
        """Return the account as it stands."""
        return self._heard("account", super().account)

    def positions(self) -> PositionsRead:
        """Return all open positions."""
        return self._heard("positions", super().positions)

    def _heard(self, what: str, ask: Callable[[], T]) -> T:
        try:
            answer = ask()
        except BrokerUnavailableError as error:
            times, since_ns = self._failed.get(what, (0, self._now_ns()))
            self._failed[what] = times + 1, since_ns
            if times + 1 >= FAILURES and self._now_ns() - since_ns >= SILENT_NS:
                self._causes.set(
                    Cause.BROKER_SILENT, f"{times + 1} reads of {what} running have failed; the last: {error}"
                )
            raise
        if self._failed.pop(what, None) is not None and not self._failed:
            self._causes.clear(Cause.BROKER_SILENT)
        return answer


class MarginReads(DelegatingReads):
    """Tells `Cause.STOP_OUT` where a deal says that the broker closed a position for want of margin.

    It ends when the account's margin level is above the rail's limit, or nothing is open any more.

    Args:
        reads: The broker.
        modes: Where it is told; what it remembers from before a restart is judged anew.
        margin_level: The rail's limit, percent.
    """

    def __init__(self, reads: BrokerReads, modes: ModeKeeper, margin_level: float) -> None:
        super().__init__(reads)
        self._modes = modes
        self._margin_level = margin_level
        self._told: set[int] = set()

    def account(self) -> Account:
        """Return the account; its margin level may end the cause."""
        account = super().account()
        if self._modes.remembers(Cause.STOP_OUT):
            level = account.margin_level
            if level is None or level >= self._margin_level:
                self._modes.clear(Cause.STOP_OUT)
            else:
                self._modes.set(
                    Cause.STOP_OUT, f"the margin level is {level:.0f} %, the limit {self._margin_level:.0f} %"
                )
        return account

    def deals(self, position: int) -> tuple[Deal, ...]:
        """Return the deals of one position; one of them may tell of a stop-out."""
        deals = super().deals(position)
        self._look(deals)
        return deals

    def deals_between(self, start: Millis, end: Millis) -> tuple[Deal, ...]:
        """Return the deals in [start, end]; one of them may tell of a stop-out."""
        deals = super().deals_between(start, end)
        self._look(deals)
        return deals

    def _look(self, deals: Iterable[Deal]) -> None:
        for deal in deals:
            if deal.reason is DealReason.STOP_OUT and deal.deal_id not in self._told:
                self._told.add(deal.deal_id)
                words = f"position {deal.position} on {deal.symbol} was closed by the broker: {plain(deal.volume)} lots"
                self._modes.set(Cause.STOP_OUT, words)

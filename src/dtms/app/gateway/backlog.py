"""The journal's backlog: how many actions wait to be sent and how long the oldest has waited, told once when it is too much.

What waits for a market that its broker shows as closed is told by `app.market.closures`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dtms.app.views.trade_cache import LedgerView
from dtms.domain.intent import IntentState
from dtms.domain.policy import OperationPolicy
from dtms.domain.units import SECOND, Millis
from dtms.ports.notifier import AlertKind, Notifier


@dataclass(slots=True)
class Backlog:
    """What waits in the journal of one account."""

    notifier: Notifier
    _told: bool = False

    def look(self, page: LedgerView, now: Millis, policy: OperationPolicy) -> None:
        """Tell once when it passes a limit, and again only after it was below."""
        closed = {closure.symbol for closure in page.closures if closure.is_one_with(now)}
        for_the_market = {trade.trade_id for trade in page.trades if trade.symbol in closed}
        waiting = [
            intent.created_at
            for intent in page.unfinished
            if intent.state is IntentState.PLANNED
            and intent.created_at <= now
            and intent.trade_id not in for_the_market
        ]
        lag = now - min(waiting, default=now)
        too_much = len(waiting) > policy.max_planned or lag > policy.max_lag_s * SECOND
        if too_much and not self._told:
            detail = (
                f"{len(waiting)} actions wait to be sent, the oldest for {lag // SECOND} s; see `dtms mode` for why"
            )
            self.notifier.alert(AlertKind.PARKED, "journal", detail)
        self._told = too_much

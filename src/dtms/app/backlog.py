"""The journal's backlog: how many actions wait to be sent and how long the oldest has waited, told once when it is too much."""

from __future__ import annotations

from dataclasses import dataclass

from dtms.app.book import Page
from dtms.domain.intent import IntentState
from dtms.domain.policy import OperationPolicy
from dtms.domain.units import SECOND, Millis
from dtms.ports.notifier import AlertKind, Notifier


@dataclass(slots=True)
class Backlog:
    """What waits in the journal of one account."""

    notifier: Notifier
    _told: bool = False

    def look(self, page: Page, now: Millis, policy: OperationPolicy) -> None:
        """Tell once when it passes a limit, and again only after it was below."""
        waiting = [
            intent.created_at
            for intent in page.unfinished
            if intent.state is IntentState.PLANNED and intent.created_at <= now
        ]
        lag = now - min(waiting, default=now)
        too_much = len(waiting) > policy.max_planned or lag > policy.max_lag_s * SECOND
        if too_much and not self._told:
            detail = (
                f"{len(waiting)} actions wait to be sent, the oldest for {lag // SECOND} s; see `dtms mode` for why"
            )
            self.notifier.alert(AlertKind.PARKED, "journal", detail)
        self._told = too_much

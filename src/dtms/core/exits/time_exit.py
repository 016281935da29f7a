"""Time exit: close after a maximum age, or before the market's weekend. Off by default; it looks at clocks, not at prices."""

from __future__ import annotations

from dtms.core.exits._case import Case
from dtms.domain.action import Close
from dtms.domain.exits import Proposal, Skipped
from dtms.domain.rules import ExitRule
from dtms.domain.units import DAY, HOUR, MINUTE

_WEEKEND = DAY
"""A pause this long is a weekend; the daily break of metals is one hour."""


def propose(case: Case) -> Proposal | Skipped | None:
    """Propose to close where an age or a weekend asks for it.

    The age runs in the symbol's open-market time from registration. A market that never closes has no weekend.
    """
    reason = _too_old(case) or _weekend(case)
    if not reason:
        return None
    if not case.market.hours.is_open(case.market.now):
        return Skipped(rule=ExitRule.TIME_EXIT, reason=f"{reason}; the market is closed, the close waits for it")
    return Proposal(rule=ExitRule.TIME_EXIT, action=Close(ticket=case.trade.ticket), reason=reason, price_based=False)


def _too_old(case: Case) -> str:
    if not case.profile.max_age:
        return ""
    age = case.market.hours.open_between(case.trade.registered_at, case.market.now)
    limit = case.profile.max_age_hours
    return f"the trade is {age / HOUR:.2f} h old in open time, the limit is {limit:g} h" if age >= limit * HOUR else ""


def _weekend(case: Case) -> str:
    if not case.profile.weekend:
        return ""
    close = case.market.hours.next_close(case.market.now, longer_than=_WEEKEND)
    if close is None:
        return ""
    left = close - case.market.now
    limit = case.profile.weekend_minutes
    if left > limit * MINUTE:
        return ""
    return f"the market closes for the weekend in {left / MINUTE:.1f} min, the limit is {limit:g} min"

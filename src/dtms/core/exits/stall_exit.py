"""Stall exit: close a trade that went nowhere. Off by default."""

from __future__ import annotations

from dtms.core.exits._case import Case
from dtms.domain.action import Close
from dtms.domain.exits import Proposal, Skipped
from dtms.domain.market import Timeframe
from dtms.domain.rules import ExitRule


def propose(case: Case) -> Proposal | Skipped | None:
    """Propose to close where so many M5 bars passed and the best price stayed short of the profile's R.

    Bars are counted as open-market time since registration, so that a restart loses none; a bar without ticks counts.
    """
    profile, trade, market = case.profile, case.trade, case.market
    best = case.book.best
    if not profile.stall or best is None or case.reached(best, profile.stall_r):
        return None
    bars = market.hours.open_between(trade.registered_at, market.bar_at) // Timeframe.M5.value
    if bars < profile.stall_bars:
        return None
    reason = (
        f"{bars} M5 bars brought {trade.r_multiple(best):+.2f} R at best, "
        f"{profile.stall_r:+g} R was asked for in {profile.stall_bars}"
    )
    if not market.hours.is_open(market.now):
        return Skipped(rule=ExitRule.STALL_EXIT, reason=f"{reason}; the market is closed, the close waits for it")
    return Proposal(rule=ExitRule.STALL_EXIT, action=Close(ticket=trade.ticket), reason=reason, price_based=False)

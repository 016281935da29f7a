"""Volatility widening: the one exception to the monotone stop. Off by default, flagged, granted by the policy, once a trade."""

from __future__ import annotations

from dataclasses import replace

from dtms.core.exits._case import Case, stop_change
from dtms.domain.action import Action
from dtms.domain.exits import ExitState, Proposal, Skipped
from dtms.domain.rules import ExitRule
from dtms.domain.trade import TradeState
from dtms.domain.units import DAY, Millis


def observe(case: Case) -> ExitState:
    """Remember that the stop was once tighter, or once wider, than the initial one, whoever moved it."""
    trade, book, instrument = case.trade, case.book, case.market.instrument
    if trade.stop is None:
        return book
    if not book.tightened and instrument.is_tighter(trade.side, trade.stop, trade.initial_stop):
        return replace(book, tightened=True)
    if not book.widened and instrument.is_tighter(trade.side, trade.initial_stop, trade.stop):
        return replace(book, widened=True)
    return book


def propose(case: Case) -> Proposal | Skipped | None:
    """Propose the wider stop, or say which condition denies it."""
    trade, book, instrument = case.trade, case.book, case.market.instrument
    if not case.profile.widening or book.breakeven_done or book.tightened or book.widened or trade.stop is None:
        return None
    vix, age = case.market.vix, case.market.vix_age_ms
    if vix is not None and vix <= case.profile.widening_vix:
        return None
    denied = _denied(case)
    if denied:
        return Skipped(rule=ExitRule.WIDENING, reason=denied)
    if vix is None or age is None or age > case.profile.vix_age_days * DAY:
        return Skipped(
            rule=ExitRule.WIDENING, reason=f"VIX is not known or older than {case.profile.vix_age_days:g} days"
        )
    distance = _distance(case, vix)
    stop = instrument.stop(trade.side, trade.entry - trade.side * distance)
    if not instrument.is_tighter(trade.side, trade.stop, stop):
        return None
    reason = (
        f"VIX {vix:.2f} is above {case.profile.widening_vix:g}: the stop goes from {case.shown(trade.stop)} to "
        f"{case.shown(stop)}, {distance / trade.r:.2f} R from entry"
    )
    return stop_change(case, ExitRule.WIDENING, stop, reason, widens=True)


def applied(book: ExitState, _action: Action, _at: Millis) -> ExitState:
    """Remember that the stop was widened."""
    return replace(book, widened=True)


def _denied(case: Case) -> str:
    trade = case.trade
    if not case.policy.grant_widening:
        return "the policy does not grant widening (exits.grant_widening)"
    if trade.state is not TradeState.HEALTHY:
        return f"DTMS holds the trade in {trade.state}"
    if case.market.dtms_warns is None:
        return "it is not known whether DTMS warns"
    if case.market.dtms_warns:
        return "DTMS warns"
    if trade.marks.tightened_at_r is not None:
        return "DTMS tightened the stop before"
    return ""


def _distance(case: Case, vix: float) -> float:
    """Return the stop's new distance from entry, in price units, never above the cap."""
    profile, trade = case.profile, case.trade
    factor = min(profile.widening_factor, 1 + (vix - profile.widening_vix) / profile.widening_vix_span)
    return min(abs(trade.entry - trade.initial_stop) * factor, profile.widening_cap_r * trade.r)

"""Breakeven: once the trade is far enough in profit, the stop goes where being stopped costs nothing."""

from __future__ import annotations

from dataclasses import replace

from dtms.core.costs import breakeven_level, unit_costs
from dtms.core.exits._case import Case, stop_change
from dtms.domain.action import Action
from dtms.domain.exits import ExitState, Proposal, Skipped
from dtms.domain.rules import ExitRule
from dtms.domain.units import Millis, Price


def observe(case: Case) -> ExitState:
    """Remember breakeven as done where the stop is at or past the level already, whoever put it there."""
    trade, book = case.trade, case.book
    if book.breakeven_done or trade.stop is None or trade.volume <= 0:
        return book
    if case.market.instrument.is_tighter(trade.side, level(case), trade.stop):
        return book
    return replace(book, breakeven_done=True)


def propose(case: Case) -> Proposal | Skipped | None:
    """Propose the stop at breakeven while the price stands at the trigger.

    The trigger is not remembered: a price that reached it and came back before the stop was taken must reach it again,
    because a stop put close under a falling price is another decision than the one that the trigger made.
    """
    trade, book = case.trade, case.book
    if not case.profile.breakeven or book.breakeven_done:
        return None
    if not case.reached(case.price, case.profile.breakeven_r * case.trigger.factor):
        return None
    stop = level(case)
    if not case.market.instrument.is_tighter(trade.side, stop, trade.stop):
        return None
    why = f" ({case.trigger.why})" if case.trigger.why else ""
    reason = (
        f"{case.at_r}{why} the stop goes to {case.shown(stop)}: entry {case.shown(trade.entry)}, "
        f"costs {case.shown(_costs(case))}, allowance {case.shown(_allowance(case))} a unit"
    )
    return stop_change(case, ExitRule.BREAKEVEN, stop, reason)


def applied(book: ExitState, _action: Action, _at: Millis) -> ExitState:
    """Remember that the broker has the stop."""
    return replace(book, breakeven_done=True, tightened=True)


def level(case: Case) -> Price:
    """Return the stop at which the remaining volume, closed with the allowance's slippage, has lost nothing.

    Rounded away from loss. The costs of what was closed already went with it.
    """
    trade, market = case.trade, case.market
    return breakeven_level(
        side=trade.side,
        entry=trade.entry,
        costs=_costs(case),
        allowance=_allowance(case),
        instrument=market.instrument,
    )


def _costs(case: Case) -> float:
    market = case.market
    return unit_costs(
        volume=case.trade.volume,
        commission_per_lot=market.commission_per_lot,
        swap=market.swap,
        instrument=market.instrument,
    )


def _allowance(case: Case) -> float:
    return case.profile.breakeven_spreads * case.market.quote.spread

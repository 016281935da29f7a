"""Plans and actions whose tickets have changed: a position that was re-opened has another one. Pure.

A plan names tickets; the broker keeps a position's identifier and may give it a new ticket at a swap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dtms.domain.action import Action, Close, CloseHedge, OpenTrade
from dtms.domain.trade import PlanStep, Trade
from dtms.domain.units import Ticket


def readdressed(trade: Trade, tickets: Mapping[Ticket, Ticket]) -> Trade:
    """Return the trade whose plan under way names the present tickets: a position that was re-opened has another one."""
    pending = trade.pending
    if pending is None or not tickets:
        return trade
    steps = tuple(_step_to(step, tickets) for step in pending.steps)
    return trade if steps == pending.steps else replace(trade, pending=replace(pending, steps=steps))


def _step_to(step: PlanStep, tickets: Mapping[Ticket, Ticket]) -> PlanStep:
    fallback = tuple(_step_to(each, tickets) for each in step.fallback)
    return replace(step, action=action_to(step.action, tickets), fallback=fallback)


def action_to(action: Action, tickets: Mapping[Ticket, Ticket]) -> Action:
    """Return an action with each ticket that has changed replaced by the present one."""
    if isinstance(action, OpenTrade):
        return action
    ticket = tickets.get(action.ticket, action.ticket)
    match action:
        case Close(by=by) if by is not None:
            return replace(action, ticket=ticket, by=tickets.get(by, by))
        case CloseHedge(hedge=hedge):
            return replace(action, ticket=ticket, hedge=tickets.get(hedge, hedge))
        case _:
            return replace(action, ticket=ticket)

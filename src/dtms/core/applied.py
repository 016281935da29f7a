"""What an applied action makes of a trade: its stop, volume and children, and what may happen to it only once. Pure.

Nothing is decided here and no plan goes on: that is `core.settle`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from dtms.domain.action import Action, Close, CloseHedge, OpenHedge, OpenTrade, ReAdd, Reduce, SetStop
from dtms.domain.receipt import Receipt
from dtms.domain.rules import DefenceRule
from dtms.domain.trade import Leg, LegKind, PlanStep, Trade
from dtms.domain.units import Lots, Millis, Ticket
from dtms.errors import InvariantError


def apply_facts(trade: Trade, action: Action, receipt: Receipt | None, now: Millis, *, partial: bool = False) -> Trade:
    """Return the trade with what the broker has applied; its version grows."""
    changed = _facts(trade, action, receipt, now, partial=partial)
    return changed if changed is trade else replace(changed, version=trade.version + 1)


def _facts(trade: Trade, action: Action, receipt: Receipt | None, now: Millis, *, partial: bool) -> Trade:
    match action:
        case SetStop(ticket=ticket) if ticket == trade.ticket:
            return replace(trade, stop=action.stop, target=action.target)
        case SetStop():
            return _with_leg(trade, action.ticket, stop=action.stop, target=action.target)
        case Reduce() | Close():
            return _less(trade, action, receipt, partial=partial)
        case CloseHedge():
            return _less(trade, Close(ticket=action.hedge), receipt, partial=partial)
        case OpenHedge():
            return _more(trade, LegKind.HEDGE, action, receipt, now)
        case ReAdd():
            return _more(trade, LegKind.RE_ADD, action, receipt, now)
        case OpenTrade():
            return trade
        case _:
            assert_never(action)


def _less(trade: Trade, action: Reduce | Close, receipt: Receipt | None, *, partial: bool) -> Trade:
    if action.ticket == trade.ticket:
        remaining = _remaining(trade.volume, action, receipt, partial=partial)
        legs = trade.legs
        if isinstance(action, Close) and action.by is not None and not partial:
            legs = tuple(leg for leg in legs if leg.ticket != action.by)
        return replace(trade, volume=remaining, legs=legs)
    if isinstance(action, Close) and not partial:
        return replace(trade, legs=tuple(leg for leg in trade.legs if leg.ticket != action.ticket))
    leg = next((leg for leg in trade.legs if leg.ticket == action.ticket), None)
    if leg is None:
        return trade
    return _with_leg(trade, action.ticket, volume=_remaining(leg.volume, action, receipt, partial=partial))


def _remaining(before: float, action: Reduce | Close, receipt: Receipt | None, *, partial: bool) -> Lots:
    """Return what is left of a position: what our order left of it, less what others took while it was worked on.

    Where the symbol's step has grown, an order takes less than was asked, and is done all the same. A read that shows more
    than our own arithmetic is older than the fill, or somebody has added; neither is ours to book.
    """
    asked = action.remaining if isinstance(action, Reduce) else 0.0
    if receipt is None:
        return Lots(asked)
    by_fill = round(before - receipt.filled, 8)
    if partial:
        asked = by_fill
    elif isinstance(action, Reduce) and receipt.filled > 0:
        asked = max(asked, by_fill)
    return Lots(asked if receipt.left is None else min(asked, receipt.left))


def _with_leg(trade: Trade, ticket: Ticket, **changes: object) -> Trade:
    legs = tuple(replace(leg, **changes) if leg.ticket == ticket else leg for leg in trade.legs)  # type: ignore[arg-type]
    return replace(trade, legs=legs)


def _more(trade: Trade, kind: LegKind, action: OpenHedge | ReAdd, receipt: Receipt | None, now: Millis) -> Trade:
    if receipt is None or receipt.position is None or receipt.ticket is None or receipt.price is None:
        msg = f"ticket {trade.ticket}: {kind} was applied but the receipt names no position; reconcile by hand"
        raise InvariantError(msg)
    if receipt.position == trade.identifier:
        return _grown(trade, receipt.filled, receipt.price)
    leg = Leg(
        kind=kind,
        ticket=Ticket(receipt.ticket),
        identifier=receipt.position,
        side=action.side,
        volume=Lots(receipt.filled if receipt.filled > 0 else action.volume),
        entry=receipt.price,
        stop=action.stop,
        target=action.target,
        opened_at=now,
    )
    marks = trade.marks
    if kind is LegKind.HEDGE:
        marks = replace(marks, hedge_used=True, hedge_filled_at=now)
    return replace(trade, legs=(*trade.legs, leg), children=(*trade.children, leg.identifier), marks=marks)


def _grown(trade: Trade, filled: float, price: float) -> Trade:
    """Return a netting trade that we have added to: its entry becomes the mean, as the broker's does."""
    volume = round(trade.volume + filled, 8)
    shown = trade.shown_entry
    return replace(
        trade,
        volume=Lots(volume),
        entry=(trade.entry * trade.volume + price * filled) / volume,
        shown_entry=None if shown is None else (shown * trade.volume + price * filled) / volume,
    )


def taken(before: Trade, after: Trade, receipt: Receipt | None) -> float:
    """Return the volume that this action took off the main leg; what others took meanwhile does not count."""
    gone = max(0.0, round(before.volume - after.volume, 8))
    return gone if receipt is None or receipt.filled <= 0 else min(gone, receipt.filled)


def marked(trade: Trade, step: PlanStep, taken: float) -> Trade:
    """Remember what may happen only once.

    A reduction counts from its first part on: what the broker filled is never taken a second time.
    """
    marks = trade.marks
    match step.rule:
        case DefenceRule.TIGHTEN:
            marks = replace(marks, tightened_at_r=step.at_r)
        case DefenceRule.PARTIAL:
            volume = round(marks.defensive_partial_volume + taken, 8)
            marks = replace(marks, defensive_partial_done=True, defensive_partial_volume=volume)
        case DefenceRule.HEDGE:
            marks = replace(marks, hedge_used=True)
        case DefenceRule.HEDGE_REDUCTION:
            marks = replace(marks, hedge_used=True, hedge_reduction_done=True)
        case DefenceRule.HEDGE_EQUIVALENT:
            volume = round(marks.hedge_equivalent + taken, 8)
            marks = replace(marks, hedge_used=True, hedge_reduction_done=True, hedge_equivalent=volume)
        case DefenceRule.RESTORE:
            marks = replace(marks, hedge_equivalent=0.0)
        case DefenceRule.RE_ADD:
            marks = replace(marks, readd_done=True)
        case (
            DefenceRule.BREAKEVEN
            | DefenceRule.HEDGE_STOP
            | DefenceRule.UNHEDGE
            | DefenceRule.CLOSE
            | DefenceRule.CLOSE_CHILD
            | DefenceRule.ORPHAN
        ):
            return trade
        case _:
            assert_never(step.rule)
    return replace(trade, marks=marks)

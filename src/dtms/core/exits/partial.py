"""Partial: a share of the volume is taken off at its trigger, once in a trade's life.

The share is of the volume that is left when it fires. The volume to be left is fixed when the rule first asks and kept in
the book until the broker's answer: asking again asks for the same, so no lost answer can close the share twice.
"""

from __future__ import annotations

from dataclasses import replace

from dtms.core.exits._case import Case
from dtms.domain.action import Action, Reduce
from dtms.domain.exits import ExitState, Proposal, Skipped
from dtms.domain.rules import ExitRule
from dtms.domain.units import Lots, Millis


def observe(case: Case) -> ExitState:
    """Remember the partial as done once the position is down to what was asked for, whatever became of the answer."""
    book = case.book
    asked = book.partial_remaining
    if asked is None or book.partial_done:
        return book
    volume = case.trade.volume
    if volume > asked and not case.market.instrument.same_lots(volume, asked):
        return book
    return replace(book, partial_done=True, partial_remaining=None)


def propose(case: Case) -> Proposal | Skipped | None:
    """Propose to close the share, or say why it cannot be closed."""
    profile, book = case.profile, case.book
    if not profile.partial or book.partial_done:
        return None
    if not case.reached(case.price, profile.partial_r * case.trigger.factor):
        return None
    remaining = _remaining(case) if book.partial_remaining is None else book.partial_remaining
    if isinstance(remaining, Skipped):
        return remaining
    why, shown = f" ({case.trigger.why})" if case.trigger.why else "", case.market.instrument.shown_lots
    return Proposal(
        rule=ExitRule.PARTIAL,
        action=Reduce(ticket=case.trade.ticket, remaining=remaining),
        reason=f"{case.at_r}{why} {profile.partial_share:.0%} are taken off: {shown(case.trade.volume)} lots become {shown(remaining)}",
        price_based=True,
    )


def asked(book: ExitState, remaining: Lots) -> ExitState:
    """Fix the volume that the partial leaves."""
    return book if book.partial_remaining == remaining else replace(book, partial_remaining=remaining)


def applied(book: ExitState, _action: Action, _at: Millis) -> ExitState:
    """Remember the partial as done, for ever."""
    return replace(book, partial_done=True, partial_remaining=None)


def _remaining(case: Case) -> Lots | Skipped:
    instrument, volume = case.market.instrument, case.trade.volume
    shown = instrument.shown_lots
    part = instrument.lots_down(volume * case.profile.partial_share)
    if instrument.is_flat(part):
        return Skipped(
            rule=ExitRule.PARTIAL,
            reason=f"{case.profile.partial_share:.0%} of {shown(volume)} lots are under the minimum of {shown(instrument.volume_min)}",
        )
    rest = instrument.lots_down(volume - part)
    if instrument.is_flat(rest):
        return Skipped(
            rule=ExitRule.PARTIAL,
            reason=f"{shown(volume)} lots less {shown(part)} leave less than the minimum of {shown(instrument.volume_min)}",
        )
    return rest

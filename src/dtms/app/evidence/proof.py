"""What the broker shows of an intent: done, not done, or not to be told from this read.

Set-state actions are judged by value, volumes by the position and its deals, openings by their tag. Absence proves
nothing by itself: the caller asks twice, a settle time apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from dtms.app.journal.tags import is_tag
from dtms.domain.action import Close, CloseHedge, OpenHedge, OpenTrade, ReAdd, Reduce, SetStop
from dtms.domain.instrument import Instrument
from dtms.domain.intent import Intent
from dtms.domain.position import Deal, DealEntry, DealReason, Position, PositionsRead
from dtms.domain.receipt import Outcome, Receipt

LOTS_NOISE = 1e-9
"""Sums of volumes differ by binary noise; the smallest step of any broker is far above it."""
_BY_OTHERS = (DealReason.MANUAL, DealReason.STOP, DealReason.TARGET, DealReason.STOP_OUT)


class Seen(StrEnum):
    """What one clean read says."""

    APPLIED = "applied"
    PARTIAL = "partial"
    ABSENT = "absent"
    UNCLEAR = "unclear"
    """The volume changed and nothing says by whom: perhaps by the intent, its comment lost or its deals still to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The answer with a receipt made from what was found."""

    seen: Seen
    receipt: Receipt | None = None


def find(intent: Intent, read: PositionsRead, deals: Iterable[Deal], instrument: Instrument) -> Evidence:
    """Return what one clean read says about an intent.

    Args:
        intent: What was asked.
        read: The open positions.
        deals: Of the intent's position; for an opening those of the account since it was planned.
        instrument: For comparing prices and volumes.
    """
    action = intent.action
    position = None if intent.position is None else read.find(intent.position)
    match action:
        case SetStop():
            return _stop_is(intent, action, position, _of(intent, deals), instrument)
        case Reduce():
            return _reduced(intent, action, position, _of(intent, deals), instrument)
        case Close() | CloseHedge():
            return _closed(intent, position, _of(intent, deals), instrument)
        case OpenHedge() | ReAdd() | OpenTrade():
            return _opened(intent, read, tuple(deals), instrument)
        case _:
            assert_never(action)


def _of(intent: Intent, deals: Iterable[Deal]) -> tuple[Deal, ...]:
    """Return the deals of the intent's position: a reply on a pipe out of step may be another's."""
    return tuple(deal for deal in deals if deal.position == intent.position)


def _applied(**facts: object) -> Evidence:
    return Evidence(seen=Seen.APPLIED, receipt=Receipt(outcome=Outcome.APPLIED, code=0, **facts))  # type: ignore[arg-type]


def _stop_is(
    intent: Intent, action: SetStop, position: Position | None, deals: tuple[Deal, ...], instrument: Instrument
) -> Evidence:
    if position is None:
        # A change of levels leaves no deal: of a position that has ended its stop may tell, else only the answer.
        answered = intent.receipt is not None and intent.receipt.outcome is Outcome.APPLIED and flat(deals)
        told = answered or _stopped_there(intent, action, deals, instrument)
        return _applied() if told else Evidence(seen=Seen.ABSENT)
    same = instrument.same_price(position.stop, action.stop) and instrument.same_price(position.target, action.target)
    return _applied() if same else Evidence(seen=Seen.ABSENT)


def _stopped_there(intent: Intent, action: SetStop, deals: tuple[Deal, ...], instrument: Instrument) -> bool:
    """Say whether a stop ended the position at a price that only the new one explains: not yet reached by the old one."""
    last = next((deal for deal in reversed(deals) if deal.entry is DealEntry.OUT), None)
    if last is None or last.reason is not DealReason.STOP or not flat(deals):
        return False
    side, noise, old = last.side.opposite, 0.5 * instrument.tick_size, intent.precondition.stop
    reached = side * (last.price - action.stop) <= noise
    return reached and (old is None or side * (last.price - old) > noise)


def _closed(intent: Intent, position: Position | None, deals: tuple[Deal, ...], instrument: Instrument) -> Evidence:
    """Judge a close; where no deal carries its tag somebody else closed the position, and the goal was met."""
    filled = _filled(intent, deals)
    if flat(deals):
        return Evidence(seen=Seen.ABSENT) if position is not None else _applied(filled=filled, goal_met=filled <= 0)
    if position is None:
        return Evidence(seen=Seen.UNCLEAR)  # perhaps it is closed, and its deals come later
    if filled > 0:
        left = position.volume
        return Evidence(seen=Seen.PARTIAL, receipt=Receipt(outcome=Outcome.PARTIAL, code=0, filled=filled, left=left))
    explained = _explained(intent, position.volume, deals, instrument)
    return Evidence(seen=Seen.ABSENT if explained else Seen.UNCLEAR)


def _filled(intent: Intent, deals: tuple[Deal, ...]) -> float:
    """Return what the intent's deals took out of its position."""
    return sum(deal.volume for deal in deals if _its_own(intent, deal) and deal.entry is not DealEntry.IN)


def _its_own(intent: Intent, deal: Deal) -> bool:
    """Say whether a deal is the intent's: by its tag, or by the number of the order that the broker told.

    The number counts where the comment was rewritten alone: a pipe that was crossed for one call tells another account's.
    """
    if deal.comment.startswith(intent.tag):
        return True
    told = None if intent.receipt is None else intent.receipt.order
    return told is not None and deal.order_id == told and not is_tag(deal.comment) and deal.reason not in _BY_OTHERS


def _reduced(
    intent: Intent, action: Reduce, position: Position | None, deals: tuple[Deal, ...], instrument: Instrument
) -> Evidence:
    filled = _filled(intent, deals)
    # What is not shown may be hidden for a moment; that its deals sum up proves that nothing is left.
    left = position.volume if position is not None else 0.0 if flat(deals) else None
    if position is not None and instrument.same_lots(position.volume, action.remaining):
        return _applied(filled=filled, left=left)
    if filled > 0:
        wanted = (intent.precondition.volume or 0.0) - action.remaining
        seen = Seen.APPLIED if instrument.same_lots(filled, wanted) else Seen.PARTIAL
        outcome = Outcome.APPLIED if seen is Seen.APPLIED else Outcome.PARTIAL
        return Evidence(seen=seen, receipt=Receipt(outcome=outcome, code=0, filled=filled, left=left))
    explained = _explained(intent, 0.0 if position is None else position.volume, deals, instrument)
    return Evidence(seen=Seen.ABSENT if explained else Seen.UNCLEAR)


def _explained(intent: Intent, volume: float, deals: tuple[Deal, ...], instrument: Instrument) -> bool:
    """Say whether others' deals explain every change of the volume since the intent was planned."""
    before = intent.precondition.volume
    if before is None:
        return True
    since = before - sum(deal.volume if deal.entry is DealEntry.IN else -deal.volume for deal in deals)
    taken = 0.0
    for deal in sorted(deals, key=lambda deal: -deal.deal_id):  # a broker's clock may have been put back between them
        if since <= LOTS_NOISE:
            break
        if deal.entry is not DealEntry.IN:
            since -= deal.volume
            taken += deal.volume if deal.reason in _BY_OTHERS or is_tag(deal.comment) else 0.0
    return instrument.same_lots(before - volume, taken)


def flat(deals: Iterable[Deal]) -> bool:
    """Say whether the deals of a position prove its end: what went out of it sums to what came in, as their sides tell.

    A position that is missing in a read proves nothing, nor does a deal out of it that closed only a part, nor one that
    turned it round.
    """
    all_deals = tuple(deals)
    opened = any(deal.entry is DealEntry.IN for deal in all_deals)
    return opened and abs(sum(deal.side * deal.volume for deal in all_deals)) <= LOTS_NOISE


def _opened(intent: Intent, read: PositionsRead, deals: tuple[Deal, ...], instrument: Instrument) -> Evidence:
    """Look for the position by its comment, by what the broker answered, and in the history by its opening deal."""
    named = None if intent.receipt is None else intent.receipt.position
    for found in read.positions:
        # Netting: it was there before, so its volume is not what was filled.
        grown = found.identifier == intent.position
        known = found.identifier == named and _answered(intent, found, instrument)
        if known or (found.comment == intent.tag and not grown):
            filled = intent.receipt.filled if grown and intent.receipt is not None else found.volume
            return _applied(ticket=found.ticket, position=found.identifier, filled=filled, price=found.entry)
    ours = [deal for deal in deals if deal.comment == intent.tag and deal.entry is DealEntry.IN]
    if not ours:
        return Evidence(seen=Seen.ABSENT)
    identifier, filled = ours[0].position, sum(deal.volume for deal in ours)
    open_now = read.find(identifier)
    return _applied(
        ticket=identifier if open_now is None else open_now.ticket,
        position=identifier,
        filled=filled,
        price=sum(deal.volume * deal.price for deal in ours) / filled,
    )


def _answered(intent: Intent, position: Position, instrument: Instrument) -> bool:
    """Say whether a position is what the answer told of: side, price, and the volume filled, or grown by that (netting).

    The number alone does not tell: a pipe that was crossed for one call names a position of another account.
    """
    side, filled = getattr(intent.action, "side", None), 0.0 if intent.receipt is None else intent.receipt.filled
    before = 0.0
    if position.identifier == intent.position:
        before = intent.precondition.volume or 0.0
    price = None if intent.receipt is None or before > 0 else intent.receipt.price
    same = position.symbol == instrument.symbol and position.side is side
    same = same and (before <= 0 or filled > 0)  # a volume that has not changed shows no fill
    same = same and (price is None or instrument.same_price(position.entry, price))
    return same and instrument.same_lots(position.volume, before + filled)

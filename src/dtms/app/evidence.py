"""What the broker shows of an intent: done, not done, or not to be told from this read.

Set-state actions are judged by value, volumes by the position and its deals, openings by their tag. Absence proves
nothing by itself: the caller asks twice, a settle time apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from dtms.domain.action import Close, CloseHedge, OpenHedge, OpenTrade, ReAdd, Reduce, SetStop
from dtms.domain.instrument import Instrument
from dtms.domain.intent import Intent
from dtms.domain.position import Deal, DealEntry, Position, PositionsRead
from dtms.domain.receipt import Outcome, Receipt

_OUT = (DealEntry.OUT, DealEntry.OUT_BY, DealEntry.INOUT)
_LOTS_NOISE = 1e-9
"""Sums of volumes differ by binary noise; the smallest step of any broker is far above it."""


class Seen(StrEnum):
    """What one clean read says."""

    APPLIED = "applied"
    PARTIAL = "partial"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The answer with a receipt made from what was found."""

    seen: Seen
    receipt: Receipt | None = None


def find(intent: Intent, read: PositionsRead, deals: Iterable[Deal], instrument: Instrument) -> Evidence:
    """Return what one clean read of positions and of the position's deals says about an intent."""
    action = intent.action
    position = None if intent.position is None else read.find(intent.position)
    match action:
        case SetStop():
            return _stop_is(action, position, instrument)
        case Reduce():
            return _reduced(intent, action, position, tuple(deals), instrument)
        case Close() | CloseHedge():
            return _applied() if position is None and flat(deals) else Evidence(seen=Seen.ABSENT)
        case OpenHedge() | ReAdd() | OpenTrade():
            return _opened(intent, read)
        case _:
            assert_never(action)


def _applied(**facts: object) -> Evidence:
    return Evidence(seen=Seen.APPLIED, receipt=Receipt(outcome=Outcome.APPLIED, code=0, **facts))  # type: ignore[arg-type]


def _stop_is(action: SetStop, position: Position | None, instrument: Instrument) -> Evidence:
    if position is None:
        return Evidence(seen=Seen.ABSENT)
    same = instrument.same_price(position.stop, action.stop) and instrument.same_price(position.target, action.target)
    return _applied() if same else Evidence(seen=Seen.ABSENT)


def _reduced(
    intent: Intent, action: Reduce, position: Position | None, deals: tuple[Deal, ...], instrument: Instrument
) -> Evidence:
    ours = [deal for deal in deals if deal.comment.startswith(intent.tag) and deal.entry is not DealEntry.IN]
    filled = sum(deal.volume for deal in ours)
    if position is not None and instrument.same_lots(position.volume, action.remaining):
        return _applied(filled=filled)
    if filled > 0:
        wanted = (intent.precondition.volume or 0.0) - action.remaining
        seen = Seen.APPLIED if instrument.same_lots(filled, wanted) else Seen.PARTIAL
        outcome = Outcome.APPLIED if seen is Seen.APPLIED else Outcome.PARTIAL
        return Evidence(seen=seen, receipt=Receipt(outcome=outcome, code=0, filled=filled))
    return Evidence(seen=Seen.ABSENT)


def flat(deals: Iterable[Deal]) -> bool:
    """Say whether the deals of a position prove its end: what went out of it sums to what came in.

    A position that is missing in a read proves nothing, nor does a deal out of it that closed only a part.
    """
    all_deals = tuple(deals)
    opened = sum(deal.volume for deal in all_deals if deal.entry is DealEntry.IN)
    closed = sum(deal.volume for deal in all_deals if deal.entry in _OUT)
    return opened > 0 and closed >= opened - _LOTS_NOISE


def _opened(intent: Intent, read: PositionsRead) -> Evidence:
    found = next((p for p in read.positions if p.comment == intent.tag), None)
    if found is None:
        return Evidence(seen=Seen.ABSENT)
    return _applied(ticket=found.ticket, position=found.identifier, filled=found.volume, price=found.entry)

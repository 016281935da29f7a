"""What a decision may ask of the broker: a closed union of absolute targets.

"stop = 1.2345", "remaining = 0.05", never "move by" or "close half": so the same action done twice is done once.
Match on it with `assert_never`: a new action breaks the type check until every consumer handles it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from dtms.domain.units import Lots, Price, Side, Ticket


class ActionKind(StrEnum):
    """The journal's word for an action."""

    OPEN = "open"
    SET_STOP = "set_stop"
    REDUCE = "reduce"
    CLOSE = "close"
    HEDGE = "hedge"
    UNHEDGE = "unhedge"
    RE_ADD = "re_add"


class Resource(StrEnum):
    """What of a position an action claims; one unfinished action a resource."""

    STOP = "stop"
    VOLUME = "volume"
    HEDGE = "hedge"


class RiskDirection(StrEnum):
    """Whether an action makes the worst loss smaller, leaves it, or may make it larger."""

    REDUCE = "reduce"
    NEUTRAL = "neutral"
    INCREASE = "increase"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetStop:
    """Amend stop and target of the position `ticket` in place; a target of None means "no target", so name the present one.

    `widens` marks the one flagged exception to the monotone stop.
    """

    ticket: Ticket
    stop: Price
    target: Price | None
    widens: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduce:
    """Close so much of the position that `remaining` is left, > 0."""

    ticket: Ticket
    remaining: Lots


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Close the whole position; with `by`, against that opposite position of the same volume.

    `symbol` is the position's where no trade tells it: of one in our name that no trade manages.
    """

    ticket: Ticket
    by: Ticket | None = None
    symbol: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenHedge:
    """Open an opposite position for the parent `ticket`."""

    ticket: Ticket
    side: Side
    volume: Lots
    stop: Price
    target: Price | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseHedge:
    """Close the hedge position `hedge` of the parent `ticket`; it adds risk."""

    ticket: Ticket
    hedge: Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class ReAdd:
    """Open a further position on the parent's side, with the parent's stop and target."""

    ticket: Ticket
    side: Side
    volume: Lots
    stop: Price
    target: Price | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTrade:
    """Open a new position; it has no ticket yet."""

    symbol: str
    side: Side
    volume: Lots
    stop: Price
    target: Price | None


Action = SetStop | Reduce | Close | OpenHedge | CloseHedge | ReAdd | OpenTrade


def kind_of(action: Action) -> ActionKind:
    """Return the journal's word for an action."""
    match action:
        case SetStop():
            return ActionKind.SET_STOP
        case Reduce():
            return ActionKind.REDUCE
        case Close():
            return ActionKind.CLOSE
        case OpenHedge():
            return ActionKind.HEDGE
        case CloseHedge():
            return ActionKind.UNHEDGE
        case ReAdd():
            return ActionKind.RE_ADD
        case OpenTrade():
            return ActionKind.OPEN
        case _:
            assert_never(action)


def resource_of(action: Action) -> Resource:
    """Return what of the position the action claims."""
    match action:
        case SetStop():
            return Resource.STOP
        case Reduce() | Close() | OpenTrade() | ReAdd():
            return Resource.VOLUME
        case OpenHedge() | CloseHedge():
            return Resource.HEDGE
        case _:
            assert_never(action)


def risk_of(action: Action) -> RiskDirection:
    """Return the direction of risk of an action."""
    match action:
        case SetStop(widens=True) | OpenHedge() | CloseHedge() | ReAdd() | OpenTrade():
            return RiskDirection.INCREASE
        case SetStop() | Reduce() | Close():
            return RiskDirection.REDUCE
        case _:
            assert_never(action)

"""How much an intent matters where not everything can be sent."""

from __future__ import annotations

from enum import IntEnum

from dtms.app.modes.flatten import RULE
from dtms.domain.action import Close, Reduce, RiskDirection, SetStop, risk_of
from dtms.domain.intent import Intent, Planner


class Urgency(IntEnum):
    """Ascending: what waits first comes first."""

    ORDINARY = 0
    PROTECTIVE = 1
    FLATTEN = 2


def urgency_of(intent: Intent) -> Urgency:
    """Return how much an intent matters.

    Ordinary is what adds risk, and what the exit manager wants of a position that has its stop: a trail, a share or a
    close that comes a little later is no danger, and no exit rule can spend what protection needs. Protective is a first
    stop, and what the defence or a person does to reduce risk. The kill switch's own closings come before all.
    """
    if intent.rule == RULE:
        return Urgency.FLATTEN
    if risk_of(intent.action) is RiskDirection.INCREASE:
        return Urgency.ORDINARY
    match intent.action:
        case SetStop() if intent.owner is Planner.EXITS and intent.precondition.stop is None:
            return Urgency.PROTECTIVE
        case _ if intent.owner is Planner.EXITS:
            return Urgency.ORDINARY
        case SetStop() | Reduce() | Close():
            return Urgency.PROTECTIVE
        case _:
            return Urgency.ORDINARY

"""Adaptive triggers: what the market multiplies the triggers of breakeven and partial by. It proposes nothing itself.

Worked out from the profile's numbers at each decision and never written down, so nothing can ratchet.
"""

from __future__ import annotations

from dtms.core.exits import _gates
from dtms.core.exits._case import BASE, Trigger
from dtms.domain.exits import ExitSnapshot
from dtms.domain.policy.exits import ExitPolicy, ExitProfile
from dtms.domain.units import Side


def trigger(side: Side, profile: ExitProfile, market: ExitSnapshot, policy: ExitPolicy) -> Trigger:
    """Return the one factor that applies: extended, else squeeze, else trend, else none.

    What is not known never makes a trigger later: `trend`, which does, needs the two before it to be known and false. A
    squeeze under an unknown extension applies, for either of the two would have made the trigger earlier than it does.
    """
    if not profile.adaptive:
        return BASE
    canonical = market.instrument.canonical
    extended = _gates.extended(side, market.indicators, policy, canonical)
    squeezed = _gates.squeezed(market.indicators)
    if extended:
        return Trigger(factor=profile.extended_factor, why="extended")
    if squeezed:
        return Trigger(factor=profile.squeeze_factor, why="squeeze")
    trend = _gates.trend_with(side, market.indicators, policy)
    readings = (("extension", extended), ("squeeze", squeezed), ("trend", trend))
    unknown = [name for name, reading in readings if reading is None]
    if unknown:
        return Trigger(factor=1.0, why=f"{', '.join(unknown)} not known, triggers as they are")
    return Trigger(factor=profile.trend_factor, why="trend") if trend else BASE

"""Which points are struck in which run: each one in each state of the market, and its process again while it recovers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Final

from dtms.domain.units import MINUTE, Millis
from dtms.ports.crash import COMMITS, PLACES, POINTS
from dtms.services.armed import Strike
from dtms_lab.restart.scenario import START, TROUBLE_MINUTES

_BOUNDS: Final = (1, 13, 27, TROUBLE_MINUTES)
PHASES: Final = tuple(
    (Millis(START + first * MINUTE), Millis(START + last * MINUTE)) for first, last in pairwise(_BOUNDS)
)
"""The states of the market: calm with trades that open, warned with parts closed, hedged and closing."""

_AT_START: Final = frozenset(p for p in PLACES if p.endswith(("starting", "started", "recovering", "recovered")))
RECOVERY: Final = {
    "gateway": ("gateway.recovering", "gateway.recovered", "gateway.starting", "gateway.*"),
    "server": ("server.recovering", "server.recovered", "server.starting", "server.*"),
    "api": ("api.starting", "api.started", "api.*"),
}
"""Where a process that recovers is killed again; the last one is the first point that it passes."""

_AFTER_A_DEATH: Final = frozenset(p for p in POINTS if p.endswith("unknown"))
"""Passed by a gateway that finds what another one left on its way."""

USUAL: Final = tuple(
    point
    for point in POINTS
    if point in PLACES or any(point.startswith(f"{r}.comm") and point.endswith(tuple(k)) for r, k in COMMITS.items())
)
"""The points that every whole run reaches; the others of the registry need a rare event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One point in one state of the market."""

    point: str
    phase: int


def everything(points: Iterable[str]) -> tuple[Target, ...]:
    """Return each point in each state."""
    return tuple(Target(point=point, phase=phase) for point in points for phase in range(len(PHASES)))


def sampled(points: Sequence[str], count: int, seed: int) -> tuple[Target, ...]:
    """Return so many points, as different as can be, in states that follow each other."""
    chosen = Random(seed).sample(list(points), min(count, len(points)))  # noqa: S311 - seeded on purpose
    return tuple(Target(point=point, phase=number % len(PHASES)) for number, point in enumerate(chosen))


def dealt(targets: Sequence[Target], seed: int) -> tuple[tuple[Target, ...], ...]:
    """Return the targets by runs: at most one for each state of the market, of different points."""
    dice = Random(seed)  # noqa: S311 - seeded on purpose
    piles = [[t for t in targets if t.phase == phase] for phase in range(len(PHASES))]
    for pile in piles:
        dice.shuffle(pile)
    runs = max((len(pile) for pile in piles), default=0)
    return tuple(tuple(pile[number] for pile in piles if number < len(pile)) for number in range(runs))


def crash_plan(targets: Sequence[Target], turn: int) -> str:
    """Return the plan of a run: each target is struck in its state, and the same process again while it recovers."""
    strikes = [strike for number, target in enumerate(targets) for strike in _strikes(target, turn + number)]
    return ",".join(str(strike) for strike in strikes)


def place_of(target: Target, number: int) -> int:
    """Return which entry of a run's plan strikes its target of this number: the first of its two, or the second."""
    return 2 * number + (target.point in _AT_START or target.point in _AFTER_A_DEATH)


def doubled(struck: Iterable[int]) -> int:
    """Return how many processes were killed and killed again while they recovered."""
    done = set(struck)
    return sum(place % 2 == 0 and place + 1 in done for place in done)


def _strikes(target: Target, turn: int) -> tuple[Strike, Strike]:
    role = target.point.split(".", 1)[0]
    at, until = PHASES[target.phase]
    if target.point in _AFTER_A_DEATH:
        first, second = "gateway.claimed", target.point
    elif target.point in _AT_START:
        first, second = f"{role}.*", target.point  # it is passed by a process that starts, so one must die first
    else:
        again = RECOVERY[role]
        first, second = target.point, again[turn % len(again)]
    return Strike(name=first, at=at, until=until), Strike(name=second, at=at, until=until)

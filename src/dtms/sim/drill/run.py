"""Running seeds: trouble, healing, the last checks."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Final

import msgspec

from dtms.domain.units import SECOND, Millis
from dtms.sim.drill.final import converged, last_checks
from dtms.sim.drill.swarm import SeedPlan, make_plan
from dtms.sim.drill.watch import Violation
from dtms.sim.drill.world import World

_HEALING_STEPS: Final = 200
_CALM_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """What one seed came to."""

    seed: int
    steps: int
    violations: tuple[Violation, ...]
    faults: Counter[str]
    applied: int
    intents: int
    transitions: Counter[str]
    retcodes: Counter[int]
    unknown: int
    quarantined: int
    places: Counter[str]
    digest: str


def run_seed(seed: int, steps: int) -> SeedResult:
    """Run one seed."""
    return run_plan(make_plan(seed, steps))


def run_plan(plan: SeedPlan) -> SeedResult:
    """Run one plan: its steps in trouble, then the healing phase, then the last checks."""
    world = World(plan)
    for _ in range(plan.steps):
        world.step()
        if world.watch.found:
            break
    if not world.watch.found:
        world.heal()
        _recover(world)
        last_checks(world)
    return _result(plan, world)


def _recover(world: World) -> None:
    """Let the system come to rest: at most the healing time, and what waits for a later instant is waited for."""
    for number in range(_HEALING_STEPS):
        world.calm_step(_CALM_S)
        if world.watch.found:
            return
        at = converged(world)
        if at is not None and at <= world.clock.now and number > 3:  # noqa: PLR2004 - every process has had its turn
            return
        if at is not None and at > world.clock.now + SECOND:
            world.clock.now = Millis(at - SECOND)


def _result(plan: SeedPlan, world: World) -> SeedResult:
    watch = world.watch
    ledger = world.ground.disk.ledger
    with ledger.read() as tx:
        transitions = tx.transitions(limit=100_000)
        intents = tx.intents(limit=100_000)
    digest = hashlib.sha256()
    for entry in world.oracle.entries:
        digest.update(msgspec.json.encode(entry))
    for record in transitions:
        digest.update(msgspec.json.encode(record))
    return SeedResult(
        seed=plan.seed,
        steps=world.steps,
        violations=tuple(watch.found),
        faults=world.dice.counts + world.injector.counts,
        applied=sum(applied.count for applied in watch.applied.values()),
        intents=len(intents),
        transitions=watch.rows,
        retcodes=world.tap.retcodes,
        unknown=len(watch.unknown),
        quarantined=sum(intent.state.value == "QUARANTINED" for intent in intents),
        places=world.places,
        digest=digest.hexdigest(),
    )

"""Running seeds: trouble, healing, the last checks."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from dtms.app.market.closures import read_closures
from dtms.core.settle import REOPENING_WAIT
from dtms.domain.intent import Intent, IntentState
from dtms.domain.units import SECOND, Millis
from dtms_lab.drill.disk import MemoryDisk, NewDisk
from dtms_lab.drill.final import converged, last_checks
from dtms_lab.drill.record import Violation
from dtms_lab.drill.swarm import SeedPlan, make_plan
from dtms_lab.drill.world import World

_HEALING_STEPS: Final = 140
_FINE_STEPS: Final = 90
_LEAST_STEPS: Final = 4
"""Every process has had its turn by then."""
_RESTED_STEPS: Final = 2
"""What one process does last, another one sees with its next turn."""
_CALM_S: Final = 1.0
_COARSE_S: Final = 10.0
_AFTER_OPEN: Final = 150 * SECOND
"""Closes wait for the spread after a market has opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """What one seed came to."""

    seed: int
    steps: int
    violations: tuple[Violation, ...]
    faults: dict[str, int]
    applied: int
    intents: int
    transitions: dict[str, int]
    retcodes: dict[int, int]
    unknown: dict[str, int]
    """Intents whose outcome was ever unknown, by kind."""
    quarantined: dict[str, int]
    """Intents that are left to the operator at the end, by kind."""
    places: dict[str, int]
    healed_ms: int
    """How long the system took to come to rest once all trouble had ended."""
    digest: str


Observer = Callable[[World], None]
"""Is shown the world after each step."""


def _nobody(_world: World) -> None:
    pass


def run_seed(seed: int, steps: int, new_disk: NewDisk = MemoryDisk) -> SeedResult:
    """Run one seed."""
    return run_plan(make_plan(seed, steps), new_disk=new_disk)


def run_plan(plan: SeedPlan, observer: Observer = _nobody, *, new_disk: NewDisk = MemoryDisk) -> SeedResult:
    """Run one plan: its steps in trouble, then the healing phase, then the last checks."""
    world = World(plan, new_disk)
    try:
        return _lived(plan, world, observer)
    finally:
        world.ground.disk.close()


def _lived(plan: SeedPlan, world: World, observer: Observer) -> SeedResult:
    healed = 0
    for _ in range(plan.steps):
        world.step()
        observer(world)
        if world.record.found:
            break
    if not world.record.found:
        world.heal()
        healed = _recover(world, observer)
        world.progress.fault_free()
        _recover(world, observer)
        last_checks(world)
    return _result(plan, world, healed)


def _recover(world: World, observer: Observer) -> int:
    """Let the system come to rest; return how long it took to, without what had to be waited for.

    Where the market is closed, its next session is waited for; a step that is held back, its instant.
    """
    began = world.clock.now
    waited = rested = 0
    since = began
    for number in range(_HEALING_STEPS):
        waited += _until_open(world)
        world.calm_step(_CALM_S if number < _FINE_STEPS else _COARSE_S)
        observer(world)
        if world.record.found:
            break
        at = converged(world)
        rested = rested + 1 if at is not None and at <= world.clock.now else 0
        since = world.clock.now if rested <= 1 else since
        if rested >= _RESTED_STEPS and number >= _LEAST_STEPS:
            break
        if at is not None and at > world.clock.now + SECOND:
            waited += at - SECOND - world.clock.now
            world.clock.now = Millis(at - SECOND)
    return since - began - waited


def _until_open(world: World) -> int:
    """Go to where every market has been open for a while, by the calendar and as was learnt; return how far that was."""
    now = world.clock.now
    opened = [world.market.hours(name).after_open(now, _AFTER_OPEN) for name in world.market.closed()]
    world.clock.now = max([now, *opened, *_learnt(world)])
    return world.clock.now - now


def _learnt(world: World) -> list[Millis]:
    """Return until when orders wait by what was learnt of closed markets: for the next try, then closes for the spread.

    A market in which quotes went on while it was closed opens without a sign, so that its next try may be minutes off.
    """
    with world.ground.disk.ledger.read() as tx:
        spans = [closure.span for closure in read_closures(tx)]
    known = [(since, end) for since, end in spans if end is not None]
    return [Millis(end + _AFTER_OPEN) if end - since >= REOPENING_WAIT else end for since, end in known]


def _result(plan: SeedPlan, world: World, healed: int) -> SeedResult:
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
        violations=tuple(world.record.found),
        faults=dict(world.dice.counts + world.injector.counts),
        applied=sum(applied.count for applied in watch.orders.applied.values()),
        intents=len(intents),
        transitions=dict(watch.ledger.rows),
        retcodes=dict(world.tap.retcodes),
        unknown=_by_kind(intent for intent in intents if intent.intent_id in world.record.unknown),
        quarantined=_by_kind(intent for intent in intents if intent.state is IntentState.QUARANTINED),
        places=dict(world.places),
        healed_ms=healed,
        digest=digest.hexdigest(),
    )


def _by_kind(intents: Iterable[Intent]) -> dict[str, int]:
    return dict(Counter(intent.kind.value for intent in intents))

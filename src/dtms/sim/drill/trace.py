"""What happened in one seed, step by step, in words: only steps in which anything did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from dtms.adapters.terminal.recorder import AppliedKind
from dtms.domain.units import to_iso
from dtms.sim.drill.world import World

Say = Callable[[str], None]

_NEW_TRANSITIONS = "SELECT id, trade_id, row, source, target FROM transitions WHERE id > ? ORDER BY id"
_INTENTS = "SELECT intent_id, kind, rule, state, tag FROM intents ORDER BY intent_id"


class Tracer:
    """An observer that tells what has changed since the last step."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._counts: Counter[str] = Counter()
        self._entries = 0
        self._transition = 0
        self._intents: dict[str, str] = {}
        self._alerts = 0
        self._healed = False

    def __call__(self, world: World) -> None:
        """Tell of one step; fulfils `Observer`."""
        lines = [*self._trouble(world), *self._planned(world), *self._applied(world), *self._moved(world)]
        lines += self._alarmed(world)
        lines += [f"BROKEN {found.law}: {found.detail}" for found in world.record.found]
        if world.dice.healed and not self._healed:
            self._healed = True
            self._say("-- all trouble ends --")
        for line in lines:
            self._say(f"{world.steps:4d} {to_iso(world.clock.now)[11:23]} {line}")

    def _trouble(self, world: World) -> Iterator[str]:
        counts = world.dice.counts + world.injector.counts + world.failures
        yield from (f"fault    {name} x{count}" for name, count in sorted((counts - self._counts).items()))
        self._counts = counts

    def _planned(self, world: World) -> Iterator[str]:
        for intent_id, kind, rule, state, tag in world.ground.disk.connection.execute(_INTENTS).fetchall():
            before = self._intents.get(intent_id)
            if before != state:
                yield f"intent   {kind} {rule or ''} {tag} {before or 'new'} > {state}"
                self._intents[intent_id] = state

    def _applied(self, world: World) -> Iterator[str]:
        entries: tuple[Any, ...] = tuple(world.oracle.entries)
        for entry in entries[self._entries :]:
            if entry.kind is not AppliedKind.POSITION:
                volumes = f"{entry.volume_before:g} > {entry.volume_after:g} lots"
                levels = f"stop {entry.stop_before} > {entry.stop_after}"
                yield f"broker   {entry.kind} of {entry.identifier}, {volumes}, {levels}, tag {entry.tag or 'none'}"
        self._entries = len(entries)

    def _moved(self, world: World) -> Iterator[str]:
        rows = world.ground.disk.connection.execute(_NEW_TRANSITIONS, (self._transition,)).fetchall()
        for number, trade_id, row, source, target in rows:
            self._transition = number
            yield f"trade    {trade_id} {source} > {target} by {row}"

    def _alarmed(self, world: World) -> Iterator[str]:
        alerts = world.ground.notifier.alerts
        for alert in alerts[self._alerts :]:
            yield f"alert    {alert.kind} {alert.subject}: {alert.detail}"
        self._alerts = len(alerts)

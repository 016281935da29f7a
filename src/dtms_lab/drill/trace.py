"""What happened in one seed, step by step, in words: only steps in which anything did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import bindparam, select

from dtms.adapters.sql.schema import INTENTS, TRANSITIONS
from dtms.domain.units import to_iso
from dtms_lab.drill.world import World
from dtms_lab.terminal.recorder import AppliedKind

Say = Callable[[str], None]

_NEW_TRANSITIONS: Final = (
    select(*(TRANSITIONS.c[name] for name in ("id", "trade_id", "row", "source", "target")))
    .where(TRANSITIONS.c.id > bindparam("after"))
    .order_by(TRANSITIONS.c.id)
)
_INTENTS: Final = select(*(INTENTS.c[name] for name in ("intent_id", "kind", "rule", "state", "tag")))


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
        # Sorted here: a server's text order is its own.
        for intent_id, kind, rule, state, tag in sorted(world.ground.disk.rows(_INTENTS), key=itemgetter(0)):
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
        rows = world.ground.disk.rows(_NEW_TRANSITIONS, after=self._transition)
        for number, trade_id, row, source, target in rows:
            self._transition = number
            yield f"trade    {trade_id} {source} > {target} by {row}"

    def _alarmed(self, world: World) -> Iterator[str]:
        alerts = world.ground.notifier.alerts
        for alert in alerts[self._alerts :]:
            yield f"alert    {alert.kind} {alert.subject}: {alert.detail}"
        self._alerts = len(alerts)

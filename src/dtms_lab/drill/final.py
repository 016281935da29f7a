"""What must hold once all trouble has ended and the system has come to rest."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from dtms.adapters.sql.audit import GENESIS, digest
from dtms.adapters.sql.schema import INTENTS, TRADES
from dtms.domain.action import Close, CloseHedge, Reduce, SetStop
from dtms.domain.intent import Intent, IntentState
from dtms.domain.records import AuditEntry
from dtms.domain.trade import Hold, Owner, Trade
from dtms.domain.units import SECOND, Millis
from dtms.ports.notifier import AlertKind
from dtms_lab.drill.law_concluded import differs
from dtms_lab.drill.script import BAR
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.records import SimPosition

if TYPE_CHECKING:
    from dtms_lab.drill.world import World

_PAGE: Final = 1_000
_NEVER: Final = (IntentState.REJECTED, IntentState.NOT_APPLIED, IntentState.CANCELLED)
_DONE: Final = (IntentState.APPLIED, IntentState.PARTIAL)
_EDGE_MS: Final = 5 * SECOND
_LOTS: Final = 1e-6
RELEASED: Final = "released"
"""The reason for which a trade is CLOSED and its position may stay open."""

_CLOCKS_APART: Final = 4 * SECOND
"""The processes follow small steps of the wall clock slowly, so theirs may be so far from the world's."""
_SAME_PRICE = 1e-6
"""Price units; far under any tick."""

_TRADES: Final = select(TRADES.c.trade_id, TRADES.c.body)
_INTENTS: Final = select(INTENTS.c.intent_id, INTENTS.c.state)


def converged(world: World) -> Millis | None:
    """Return the instant at which the system is at rest: now, or when something that waits comes due; None: not yet."""
    record = world.record
    if record.unfinished or not world.operator.at_rest or apart(world, parked=False):
        return None
    waiting = [trade.pending.retry_at for trade in record.open if trade.pending is not None]
    if any(at is None for at in waiting):
        return None
    if _registrations(world):
        return None
    return max([at for at in waiting if at is not None], default=world.clock.now)


def _registrations(world: World) -> list[str]:
    """Return the openings that have still to be registered: those that cannot be told wait for the operator."""
    with world.ground.disk.ledger.read() as tx:
        intents = [tx.intent(item.key) for item in tx.waiting()]
    return [i.intent_id for i in intents if i is not None and i.state is not IntentState.QUARANTINED]


def apart(world: World, *, parked: bool = True) -> str:
    """Return how the ledger's picture of the open trades differs from the broker's, "" where it does not.

    Without `parked` those trades are left out whose plan waits for a later instant.
    """
    positions = {position.identifier: position for position in world.sim.state.positions.values()}
    for trade in world.record.open:
        waits = trade.pending is not None and trade.pending.retry_at is not None
        if trade.hold is not Hold.NONE or trade.owner is Owner.NONE or (waits and not parked):
            continue
        held = positions.get(trade.identifier)
        if held is None:
            return f"trade {trade.trade_id} is {trade.state} and its position is closed"
        wrong = differs(world.record.tick(trade.symbol), _as_placeable(world, trade, held), held)
        wrong = wrong or _legs_differ(world, trade, positions)
        if wrong:
            return f"trade {trade.trade_id}: {wrong}"
    return ""


def _as_placeable(world: World, trade: Trade, held: SimPosition) -> Trade:
    """Return the trade with the broker's stop where its own cannot be put back: a hand took it away, and price passed it."""
    quote = world.sim.state.quotes[trade.symbol]
    spec = world.sim.state.specs[trade.symbol]
    least = max(spec.stops_level, spec.freeze_level, 1) * spec.point
    passed = trade.stop is not None and trade.side * (quote.executable(trade.side) - trade.stop) < least
    loosened = held.stop is None or (trade.stop is not None and trade.side * (held.stop - trade.stop) < 0)
    by_hand = trade.identifier in world.record.by_others
    return replace(trade, stop=held.stop) if passed and loosened and by_hand else trade  # type: ignore[arg-type]


def _legs_differ(world: World, trade: Trade, positions: dict[int, SimPosition]) -> str:
    for leg in trade.legs:
        held = positions.get(leg.identifier)
        if held is None:
            return f"leg {leg.identifier} is closed at the broker"
        wrong = differs(world.record.tick(trade.symbol), leg, held)
        if wrong:
            return f"leg {leg.identifier}: {wrong}"
    return ""


def last_checks(world: World) -> None:
    """Check the end of a run that has come to rest, or say that it has not."""
    intents, audit, trades = _everything(world)
    _nothing_lost(world, intents)
    _exactly_once(world, intents)
    _no_strays(world, intents, trades)
    _targets_back(world)
    _audited(world, intents, audit)
    if not world.record.found:
        _recovery_is_start(world)


def _recovery_is_start(world: World) -> None:
    """I15: after a crash and a recovery everything stands as after a stop and a start, and nothing was sent for it."""
    _away_from_a_bars_end(world)
    before, sent = _rows(world), len(world.oracle)
    world.restart()
    crashed = _rows(world)
    world.restart()
    started = _rows(world)
    if crashed != started:
        world.record.report("I15 recovery", f"a second start changed {_first_difference(crashed, started)}")
    if before != crashed:
        world.record.report("I15 recovery", f"a recovery changed {_first_difference(before, crashed)}")
    if len(world.oracle) != sent:
        world.record.report("I15 recovery", f"a recovery sent {world.oracle.entries[sent].kind}")


def _away_from_a_bars_end(world: World) -> None:
    """Go to where no bar ends: a process that starts anew may be a few seconds off the one before, and would decide it."""
    for _ in range(2 * _EDGE_MS // SECOND + 1):
        if _EDGE_MS <= world.clock.now % BAR <= BAR - _EDGE_MS:
            return
        world.calm_step(1.0)


def _rows(world: World) -> tuple[tuple[str, ...], ...]:
    disk = world.ground.disk
    trades = [("trade", *row) for row in disk.rows(_TRADES)]
    intents = [("intent", *row) for row in disk.rows(_INTENTS)]
    return (*sorted(trades), *sorted(intents))


def _first_difference(before: tuple[tuple[str, ...], ...], after: tuple[tuple[str, ...], ...]) -> str:
    changed = sorted(set(before) ^ set(after))
    return " ".join(changed[0])[:300] if changed else "nothing"


def _everything(world: World) -> tuple[tuple[Intent, ...], tuple[AuditEntry, ...], tuple[Trade, ...]]:
    intents: list[Intent] = []
    audit: list[AuditEntry] = []
    trades: list[Trade] = []
    with world.ground.disk.ledger.read() as tx:
        while page := tx.intents(after=intents[-1].intent_id if intents else "", limit=_PAGE):
            intents += page
        while links := tx.audit(after=audit[-1].seq if audit else 0, limit=_PAGE):
            audit += links
        while found := tx.trades(after=trades[-1].ticket if trades else 0, limit=_PAGE):
            trades += found
    return tuple(intents), tuple(audit), tuple(trades)


def _nothing_lost(world: World, intents: tuple[Intent, ...]) -> None:
    """I2: every intent has an end; who cannot be told was told to the operator. Ledger and broker agree."""
    report = world.record.report
    paged = {alert.subject for alert in world.ground.notifier.alerts if alert.kind is AlertKind.QUARANTINED}
    for intent in intents:
        if intent.unfinished:
            report("I2 nothing lost", f"{intent.kind} {intent.rule} of {intent.trade_id} is {intent.state} at the end")
        elif intent.state is IntentState.QUARANTINED and intent.intent_id not in paged:
            report("I2 nothing lost", f"{intent.kind} of {intent.trade_id} was quarantined and nobody was called")
    wrong = apart(world)
    if wrong:
        report("I2 converged", wrong)
    for trade in world.record.open:
        if trade.pending is not None and trade.pending.retry_at is None and trade.hold is Hold.NONE:
            report("I2 converged", f"trade {trade.trade_id} is still on its way to {trade.pending.to}")
    for key in _registrations(world):
        report("I2 converged", f"what intent {key} has opened is not registered")
    if not world.operator.at_rest:
        report("I2 converged", f"the operator is still waiting: {world.operator.wants}")


def _exactly_once(world: World, intents: tuple[Intent, ...]) -> None:
    """I1: terminal states and applications agree."""
    for intent in intents:
        applied = world.watch.orders.applied.get(intent.tag)
        count = 0 if applied is None else applied.count
        if intent.state in _NEVER and count and not _traceless(world, intent):
            world.record.report("I1 exactly once", f"{_words(intent)} was applied {count} times")
        elif intent.state in _DONE and count == 0 and not _met(world, intent):
            world.record.report("I1 exactly once", f"{_words(intent)} was never applied, and its goal was not met")


def _met(world: World, intent: Intent) -> bool:
    """Say whether an intent's goal was true at the broker when it was settled, whoever had brought it about."""
    states = [
        entry
        for entry in world.oracle.entries
        if entry.identifier == intent.position
        and entry.kind is AppliedKind.POSITION
        and intent.settled_at is not None
        and entry.at <= intent.settled_at + _CLOCKS_APART
    ]
    last = states[-1] if states else None
    match intent.action:
        case SetStop():
            if last is not None and last.volume_after <= 0:
                return True  # a change of levels leaves no trace, and nobody can look at a closed position's stop
            return any(
                entry.stop_after is not None and abs(entry.stop_after - intent.action.stop) < _SAME_PRICE
                for entry in states[-3:]
            )
        case Reduce():
            return last is not None and last.volume_after <= intent.action.remaining + _LOTS
        case Close() | CloseHedge():
            return last is not None and last.volume_after <= 0
        case _:
            return False


def _traceless(world: World, intent: Intent) -> bool:
    """Say whether a stop change that was applied had been overtaken before anybody could look: it leaves no trace."""
    if not isinstance(intent.action, SetStop) or intent.state is not IntentState.NOT_APPLIED:
        return False
    if intent.tag in world.record.relevelled:
        return True  # what was asked for was never there
    after = [e for e in world.oracle.entries if e.identifier == intent.position and e.kind is not AppliedKind.POSITION]
    place = next((number for number, entry in enumerate(after) if entry.tag == intent.tag), len(after))
    return any(entry.at <= (intent.settled_at or 0) + _CLOCKS_APART for entry in after[place + 1 :])


def _words(intent: Intent) -> str:
    return f"{intent.kind} {intent.rule} {intent.tag} of {intent.trade_id}, {intent.state} ({intent.reason}),"


def _no_strays(world: World, intents: tuple[Intent, ...], trades: tuple[Trade, ...]) -> None:
    """I7, I9: what stands open in our name belongs to an open trade, or somebody was called; nothing CLOSED stands open.

    What others have turned round is theirs (I19): whoever managed it before was called.
    """
    turned = {e.identifier for e in world.oracle.of(AppliedKind.REVERSE) if e.tag not in world.ground.log.epochs}
    theirs = {p.identifier for p in world.sim.state.positions.values() if p.identifier in turned}
    held = {p.identifier: p for p in world.sim.state.positions.values() if p.identifier not in theirs}
    for trade in trades:
        called = trade.close_reason == RELEASED or world.record.alerted(trade, AlertKind.BY_HAND, AlertKind.QUARANTINED)
        if trade.identifier in theirs and not called:
            world.record.report("I19 called", f"trade {trade.trade_id} was turned round and nobody was called")
    known = {leg.identifier for trade in trades for leg in trade.legs if trade.is_open}
    known |= {trade.identifier for trade in trades if trade.is_open}
    released = [trade for trade in trades if trade.close_reason == RELEASED]
    let_go = {identifier for trade in released for identifier in (trade.identifier, *trade.children)}
    for trade in trades:
        for identifier in (trade.identifier, *trade.children):
            if not trade.is_open and identifier in held and identifier not in known | let_go:
                world.record.report("I7 stray", f"trade {trade.trade_id} is CLOSED, its position {identifier} is open")
    unsure = {intent.tag for intent in intents if intent.state is IntentState.QUARANTINED}
    alerted = {alert.subject for alert in world.ground.notifier.alerts}
    for entry in world.oracle.of(AppliedKind.OPEN):
        position = held.get(entry.identifier)
        ours = entry.tag in world.ground.log.epochs and entry.tag not in unsure
        if (
            ours
            and position is not None
            and entry.identifier not in known | let_go
            and str(position.ticket) not in alerted
        ):
            world.record.report(
                "I7 stray", f"position {entry.identifier}, opened by {entry.tag}, belongs to no open trade"
            )


def _targets_back(world: World) -> None:
    """I6: a target that the broker dropped with a stop of ours is put back, or a person was told."""
    for trade in world.record.open:
        lost = world.watch.orders.dropped.get(trade.identifier)
        told = world.record.alerted(trade, AlertKind.BY_HAND) or trade.hold is not Hold.NONE
        if lost is not None and trade.owner is not Owner.NONE and not told:
            world.record.report(
                "I6 target kept", f"target {lost} of trade {trade.trade_id} was dropped and nobody was told"
            )


def _audited(world: World, intents: tuple[Intent, ...], audit: tuple[AuditEntry, ...]) -> None:
    """I11: the chain is whole, and each effect at the broker stands in it with its cause."""
    before = GENESIS
    told: set[str] = set()
    for number, link in enumerate(audit, start=1):
        made = digest(
            before,
            seq=link.seq,
            at=link.at,
            actor=link.actor,
            what=link.what,
            trade_id=link.trade_id,
            body=link.body,
        )
        if link.seq != number or made != link.digest:
            world.record.report("I11 audit", f"link {link.seq} of the audit chain does not follow from the one before")
            return
        before = link.digest
        if link.what == "action":
            told.add(str(json.loads(link.body)["intent_id"]))
    by_tag = {intent.tag: intent for intent in intents}
    for tag, applied in world.watch.orders.applied.items():
        intent = by_tag.get(tag)
        if applied.count and (intent is None or (intent.intent_id not in told and not intent.unfinished)):
            world.record.report("I11 audit", f"what {tag} did at the broker stands in no audit row")
    _stops_recorded(world, by_tag)


def _stops_recorded(world: World, by_tag: dict[str, Intent]) -> None:
    """Each stop of ours that was seen at the broker has one record."""
    with world.ground.disk.ledger.read() as tx:
        trades = {intent.trade_id for intent in by_tag.values()}
        recorded = {record.intent_id for trade_id in sorted(trades) for record in tx.stops(trade_id)}
    for entry in world.oracle.of(AppliedKind.SLTP):
        intent = by_tag.get(entry.tag)
        if (
            intent is not None
            and intent.state is IntentState.APPLIED
            and intent.intent_id not in recorded
            and entry.identifier in world.record.mains
        ):
            world.record.report("I11 stop recorded", f"stop {entry.stop_after} of {entry.identifier} has no record")

"""Laws checked against the oracle: what the broker really applied, beside what the ledger says was intended.

Each check is independent of the code under test: it reads the oracle's entries and the ledger's rows, nothing else. Every
violation names the law, the instant and the position.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dtms.domain.action import OpenHedge, SetStop
from dtms.domain.intent import Intent, IntentState
from dtms.domain.records import StopRecord
from dtms.domain.trade import Trade
from dtms.domain.units import SECOND, Millis
from dtms.ports.ledger import Ledger
from dtms_lab.terminal.oracle import OracleEntry
from dtms_lab.terminal.recorder import AppliedKind

ORPHAN_MS = 10 * SECOND
"""How long a hedge may outlive its main leg (reliability.md section 1, rule 9)."""
REGISTRATION_MS = 2 * SECOND
"""How long a newly managed position may be without a stop (reliability.md section 1, rule 9)."""
_TICK = 1e-9

_DONE = (IntentState.APPLIED, IntentState.PARTIAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken law."""

    law: str
    at: Millis
    position: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the ledger says, read once."""

    trades: tuple[Trade, ...]
    intents: tuple[Intent, ...]
    stops: tuple[StopRecord, ...]
    magic: int


def read_books(ledger: Ledger, *, magic: int) -> Books:
    """Return all trades, intents and stop records of a ledger."""
    with ledger.read() as tx:
        trades: list[Trade] = []
        while page := tx.trades(after=trades[-1].ticket if trades else 0, limit=1_000):
            trades += page
        intents: list[Intent] = []
        while batch := tx.intents(after=intents[-1].intent_id if intents else "", limit=1_000):
            intents += batch
        stops = [record for trade in trades for record in tx.stops(trade.trade_id)]
    return Books(trades=tuple(trades), intents=tuple(intents), stops=tuple(stops), magic=magic)


def check(entries: Sequence[OracleEntry], books: Books, *, until: Millis, reaction: int = 0) -> tuple[Violation, ...]:
    """Return every violation of the laws in an oracle log, oldest first.

    Args:
        entries: The oracle's entries, oldest first.
        books: The ledger's side.
        until: The end of the run: windows that are still open are measured up to here.
        reaction: Milliseconds of the entries' clock that processes may take beyond a law's own window: on a tape that
            runs faster than the machine, a moment of the machine is long.
    """
    states = _states(entries)
    found = [
        *_exactly_once(entries, books),
        *_write_ahead(entries, books),
        *_protected(states, books, until),
        *_monotone(entries, books),
        *_volumes(entries),
        *_hedges(states, entries, books, until, ORPHAN_MS + reaction),
        *_stops_recorded(entries, books),
        *_foreign_untouched(entries, books),
    ]
    return tuple(sorted(found, key=lambda violation: (violation.at, violation.law)))


def naked_ms(entries: Sequence[OracleEntry], books: Books, until: Millis) -> dict[int, int]:
    """Return for each managed position how long it was without a stop at the broker while managed."""
    states = _states(entries)
    return {
        trade.identifier: sum(end - start for start, end in _naked_spans(states[trade.identifier], trade, until))
        for trade in books.trades
    }


def _states(entries: Iterable[OracleEntry]) -> dict[int, list[OracleEntry]]:
    found: dict[int, list[OracleEntry]] = defaultdict(list)
    for entry in entries:
        if entry.kind is AppliedKind.POSITION:
            found[entry.identifier].append(entry)
    return found


def _ours(entries: Iterable[OracleEntry], books: Books) -> Iterator[OracleEntry]:
    """Yield the operations that this installation asked for: its number, applied by request and not by the server."""
    triggered = (AppliedKind.STOP, AppliedKind.TARGET, AppliedKind.STOP_OUT, AppliedKind.SWAP, AppliedKind.POSITION)
    return (e for e in entries if e.magic == books.magic and e.tag and e.kind not in triggered)


def _exactly_once(entries: Sequence[OracleEntry], books: Books) -> Iterator[Violation]:
    """I1: at most one applied operation a tag, and over all attempts of a step; one where the journal says applied."""
    applied: Counter[str] = Counter()
    first: dict[str, OracleEntry] = {}
    for entry in _ours(entries, books):
        if entry.tag not in first or entry.order != first[entry.tag].order:
            applied[entry.tag] += 1
            first.setdefault(entry.tag, entry)
    for tag, count in applied.items():
        if count > 1:
            entry = first[tag]
            detail = f"tag {tag} was applied {count} times"
            yield Violation(law="exactly_once", at=entry.at, position=entry.identifier, detail=detail)
    yield from _once_a_step(books.intents, applied)
    for intent in books.intents:
        goal_met = intent.receipt is not None and intent.receipt.goal_met
        if (
            intent.state in _DONE
            and not goal_met
            and applied[intent.tag] == 0
            and not isinstance(intent.action, SetStop)
        ):
            yield _of_intent("exactly_once", intent, "is applied in the journal, the broker never applied it")
        if (
            intent.state in (IntentState.REJECTED, IntentState.NOT_APPLIED, IntentState.CANCELLED)
            and applied[intent.tag]
        ):
            yield _of_intent("exactly_once", intent, f"is {intent.state} in the journal, the broker applied it")


def _once_a_step(intents: Iterable[Intent], applied: Mapping[str, int]) -> Iterator[Violation]:
    """Yield the further attempts of one decision's step that were applied too; after a part fill the rest may follow."""
    done: set[tuple[str, str, int]] = set()
    for intent in sorted(intents, key=lambda each: each.attempt):
        step = (intent.trade_id, intent.decision_id, intent.step)
        if applied.get(intent.tag, 0) == 0:
            continue
        if step in done:
            yield _of_intent("exactly_once", intent, f"is attempt {intent.attempt} of a step that was done before")
        if intent.state is not IntentState.PARTIAL:
            done.add(step)


def _write_ahead(entries: Sequence[OracleEntry], books: Books) -> Iterator[Violation]:
    """I3: whatever was applied in our name had an intent with its tag."""
    tags = {intent.tag: intent for intent in books.intents}
    for entry in _ours(entries, books):
        intent = tags.get(entry.tag)
        if intent is None:
            detail = f"{entry.kind} with tag {entry.tag} has no intent"
            yield Violation(law="write_ahead", at=entry.at, position=entry.identifier, detail=detail)
        elif intent.created_at > entry.at:
            yield _of_intent("write_ahead", intent, "was planned after it was applied")


def _protected(states: dict[int, list[OracleEntry]], books: Books, until: Millis) -> Iterator[Violation]:
    """I5: a managed open position has its stop, the registration window aside."""
    for trade in books.trades:
        for start, end in _naked_spans(states[trade.identifier], trade, until):
            window = trade.registered_at + REGISTRATION_MS
            if end > window:
                detail = f"no stop at the broker for {end - max(start, window)} ms"
                yield Violation(law="protected", at=start, position=trade.identifier, detail=detail)


def _naked_spans(states: Sequence[OracleEntry], trade: Trade, until: Millis) -> Iterator[tuple[Millis, Millis]]:
    managed_to = trade.closed_at if trade.closed_at is not None else until
    for state, following in zip(states, (*states[1:], None), strict=True):
        if state.stop_after is not None or state.volume_after <= 0:
            continue
        start = max(state.at, trade.registered_at)
        end = min(managed_to, until if following is None else following.at)
        if end > start:
            yield Millis(start), Millis(end)


def _monotone(entries: Sequence[OracleEntry], books: Books) -> Iterator[Violation]:
    """I6: no stop change of ours moves a main leg's stop to the losing side, the flagged widening aside."""
    tags = {intent.tag: intent for intent in books.intents}
    mains = {trade.identifier for trade in books.trades}
    for entry in _ours(entries, books):
        before, after = entry.stop_before, entry.stop_after
        if entry.kind is not AppliedKind.SLTP or entry.identifier not in mains or before is None:
            continue
        intent = tags.get(entry.tag)
        widens = intent is not None and isinstance(intent.action, SetStop) and intent.action.widens
        if (after is None or entry.side * (after - before) < -_TICK) and not widens:
            detail = f"the stop went from {before} to {after}"
            yield Violation(law="monotone_stop", at=entry.at, position=entry.identifier, detail=detail)


def _volumes(entries: Sequence[OracleEntry]) -> Iterator[Violation]:
    """I6: closed <= opened, and no position turns around."""
    opened: Counter[int] = Counter()
    closed: Counter[int] = Counter()
    closing = (
        AppliedKind.CLOSE,
        AppliedKind.PARTIAL,
        AppliedKind.STOP,
        AppliedKind.TARGET,
        AppliedKind.STOP_OUT,
        AppliedKind.CLOSE_BY,
    )
    for entry in entries:
        grown = round((entry.volume_after - entry.volume_before) * 1e8)
        if entry.kind in (AppliedKind.OPEN, AppliedKind.ADD):
            opened[entry.identifier] += grown
        elif entry.kind in closing:
            closed[entry.identifier] -= grown
        too_much = entry.kind in closing and closed[entry.identifier] > opened[entry.identifier]
        if entry.volume_after < 0 or too_much:
            detail = f"closed {closed[entry.identifier] / 1e8} of {opened[entry.identifier] / 1e8} lots"
            yield Violation(law="closed_at_most_opened", at=entry.at, position=entry.identifier, detail=detail)


def _hedges(
    states: dict[int, list[OracleEntry]], entries: Sequence[OracleEntry], books: Books, until: Millis, orphan: int
) -> Iterator[Violation]:
    """I7: one hedge a trade, no larger than its main leg, and never long without it."""
    tags = {e.tag: e.identifier for e in entries if e.kind is AppliedKind.OPEN}
    trades = {trade.trade_id: trade for trade in books.trades}
    for trade_id, trade in trades.items():
        hedging = [i for i in books.intents if i.trade_id == trade_id and isinstance(i.action, OpenHedge)]
        hedges = [tags[intent.tag] for intent in hedging if intent.tag in tags]
        if len(hedges) > 1:
            detail = f"{len(hedges)} hedges were opened"
            yield Violation(law="one_hedge", at=states[hedges[1]][0].at, position=trade.identifier, detail=detail)
        main = states[trade.identifier]
        for hedge in hedges:
            yield from _paired(states[hedge], main, trade, until, orphan)


def _paired(
    hedge: Sequence[OracleEntry], main: Sequence[OracleEntry], trade: Trade, until: Millis, orphan: int
) -> Iterator[Violation]:
    ended = next((s.at for s in hedge if s.volume_after <= 0), until)
    main_ended = next((s.at for s in main if s.volume_after <= 0), None)
    if main_ended is not None and ended - main_ended > orphan:
        detail = f"the hedge outlived it by {ended - main_ended} ms"
        yield Violation(law="orphaned_hedge", at=main_ended, position=trade.identifier, detail=detail)
    for state in hedge:
        beside = [s for s in main if s.at <= state.at]
        if beside and beside[-1].volume_after > 0 and state.volume_after > beside[-1].volume_after + _TICK:
            detail = f"the hedge of {state.volume_after} is larger than the main leg of {beside[-1].volume_after}"
            yield Violation(law="hedge_volume", at=state.at, position=trade.identifier, detail=detail)


def _stops_recorded(entries: Sequence[OracleEntry], books: Books) -> Iterator[Violation]:
    """Every stop change of a managed position has exactly one record of the same values."""
    positions = {trade.identifier for trade in books.trades}
    recorded = Counter((record.position, record.new) for record in books.stops)
    changed = Counter(
        (entry.identifier, entry.stop_after)
        for entry in entries
        if entry.kind is AppliedKind.SLTP and entry.identifier in positions and entry.stop_before != entry.stop_after
    )
    for (position, stop), count in changed.items():
        if recorded[position, stop] < count:
            detail = f"stop {stop} was set {count} times and recorded {recorded[position, stop]} times"
            yield Violation(law="stop_recorded", at=Millis(0), position=position, detail=detail)


def _foreign_untouched(entries: Sequence[OracleEntry], books: Books) -> Iterator[Violation]:
    """I9: nothing of ours ever touched a position that is neither managed nor a child."""
    known = {trade.identifier for trade in books.trades} | {c for trade in books.trades for c in trade.children}
    opened = {e.identifier for e in _ours(entries, books) if e.kind is AppliedKind.OPEN}
    for entry in _ours(entries, books):
        if entry.identifier not in known | opened:
            detail = f"{entry.kind} touched a position that is not ours"
            yield Violation(law="foreign_untouched", at=entry.at, position=entry.identifier, detail=detail)


def _of_intent(law: str, intent: Intent, detail: str) -> Violation:
    position = intent.position if intent.position is not None else 0
    return Violation(
        law=law, at=intent.created_at, position=position, detail=f"{intent.kind} {intent.intent_id} {detail}"
    )

"""What a run of the drill is judged by: the oracle's file and the ledger, never what a process believes.

Lost: an intention without its end, an end without its effect, an effect without its record, or a ledger that says
something else than the broker. Doubled: an operation applied more than once for one intent, step, hedge or request.
Unprotected: a managed position without its stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dtms.adapters.sql import SqlLedger, verify_chain
from dtms.domain.intent import IntentState
from dtms.domain.trade import Trade
from dtms.domain.transitions import ROWS
from dtms.domain.units import Millis
from dtms.errors import LedgerError
from dtms_lab.laws.invariants import Books, Violation, check, read_books
from dtms_lab.restart.person import Wish
from dtms_lab.terminal.oracle import OracleEntry
from dtms_lab.terminal.recorder import AppliedKind

_DOUBLED: Final = ("one_hedge",)
_UNPROTECTED: Final = ("protected",)
_LOST: Final = ("write_ahead", "stop_recorded")
_PRICE: Final = 1e-6
_LOTS: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken promise, in words; `group` is lost, doubled, unprotected or other."""

    group: str
    law: str
    detail: str

    def __str__(self) -> str:
        return f"{self.group}: {self.law}: {self.detail}"


def judge(
    entries: Sequence[OracleEntry],
    ledger: SqlLedger,
    *,
    magic: int,
    wishes: Sequence[Wish],
    said: str,
    until: Millis,
    reaction: int,
) -> tuple[Finding, ...]:
    """Return everything that is broken in a run as it stands; in one that is not at rest, also what is under way.

    Args:
        entries: What the broker applied.
        ledger: The run's ledger.
        magic: The installation's number at the broker.
        wishes: What the person asked for, with the answers.
        said: All that the processes logged: alerts stand there.
        until: The end of the run.
        reaction: Milliseconds of the tape in which processes were dead or reacting: added to the laws' own windows.
    """
    books = read_books(ledger, magic=magic)
    found = [
        Finding(group=_group(violation.law, violation.detail), law=violation.law, detail=_words(violation))
        for violation in check(entries, books, until=until, reaction=reaction)
    ]
    found += _without_end(ledger, books, said)
    found += [Finding(group="lost", law="apart", detail=words) for words in apart(entries, books)]
    found += _wishes(wishes, entries)
    found += _table(ledger)
    try:
        verify_chain(ledger)
    except LedgerError as error:
        found.append(Finding(group="other", law="audit", detail=str(error)))
    return tuple(found)


def _words(violation: Violation) -> str:
    return f"position {violation.position} at {violation.at}: {violation.detail}"


def _group(law: str, detail: str) -> str:
    if law == "exactly_once":
        return "lost" if "never applied" in detail else "doubled"
    groups = {**dict.fromkeys(_DOUBLED, "doubled"), **dict.fromkeys(_UNPROTECTED, "unprotected")}
    return {**groups, **dict.fromkeys(_LOST, "lost")}.get(law, "other")


def _without_end(ledger: SqlLedger, books: Books, said: str) -> list[Finding]:
    """I2: every intent has its end; who cannot be told has called somebody; every message was delivered."""
    found = []
    for intent in books.intents:
        if intent.unfinished:
            words = (
                f"{intent.kind} {intent.intent_id} of {intent.trade_id} is {intent.state} at the end: {intent.reason}"
            )
            found.append(Finding(group="lost", law="no_end", detail=words))
        elif intent.state is IntentState.QUARANTINED and intent.intent_id not in said:
            words = f"{intent.kind} {intent.intent_id} is in quarantine and nobody was called"
            found.append(Finding(group="lost", law="silent_quarantine", detail=words))
    with ledger.read() as tx:
        for item in tx.waiting():
            intent_of = tx.intent(item.key)
            if intent_of is None or intent_of.state is not IntentState.QUARANTINED:
                words = f"message {item.kind} {item.key} was never delivered: {item.last_error}"
                found.append(Finding(group="lost", law="outbox", detail=words))
    return found


def apart(entries: Sequence[OracleEntry], books: Books) -> list[str]:
    """Return how the ledger's open trades differ from the broker's positions."""
    last = {entry.identifier: entry for entry in entries if entry.kind is AppliedKind.POSITION}
    held = {identifier: entry for identifier, entry in last.items() if entry.volume_after > _LOTS}
    words = []
    known: set[int] = set()
    for trade in books.trades:
        if not trade.is_open:
            continue
        known |= {trade.identifier, *trade.children, *(leg.identifier for leg in trade.legs)}
        words += _differs(trade, held)
    unsure = {intent.tag for intent in books.intents if intent.state is IntentState.QUARANTINED}
    tags = {entry.identifier: entry.tag for entry in entries if entry.kind is AppliedKind.OPEN}
    for identifier, entry in held.items():
        if entry.magic == books.magic and identifier not in known and tags.get(identifier) not in unsure:
            words.append(
                f"position {identifier} of {entry.volume_after} lots stands open in our name and is no open trade's"
            )
    return words


def _differs(trade: Trade, held: dict[int, OracleEntry]) -> list[str]:
    at = held.get(trade.identifier)
    if at is None:
        return [f"trade {trade.trade_id} is {trade.state}, its position {trade.identifier} is closed"]
    words = []
    if abs(at.volume_after - trade.volume) > _LOTS:
        words.append(f"trade {trade.trade_id} has volume {trade.volume}, its position {at.volume_after}")
    ours, theirs = trade.stop, at.stop_after
    if theirs is None or ours is None or abs(ours - theirs) > _PRICE:
        words.append(f"trade {trade.trade_id} has stop {ours}, its position {theirs}")
    gone = [leg.identifier for leg in trade.legs if leg.identifier not in held]
    return [*words, *(f"trade {trade.trade_id} has leg {identifier}, which is closed" for identifier in gone)]


def _wishes(wishes: Sequence[Wish], entries: Sequence[OracleEntry]) -> list[Finding]:
    """One key, one position, and every position that was told is there."""
    opened = {entry.ticket for entry in entries if entry.kind is AppliedKind.OPEN}
    found = []
    for wish in wishes:
        if len(wish.tickets) > 1:
            found.append(Finding(group="doubled", law="one_key", detail=f"{wish.key} opened {sorted(wish.tickets)}"))
        missing = wish.tickets - opened
        if missing:
            found.append(
                Finding(group="lost", law="told", detail=f"{wish.key} was told {sorted(missing)}, never opened")
            )
    return found


def _table(ledger: SqlLedger) -> list[Finding]:
    """I10: only declared rows, versions strictly increasing."""
    with ledger.read() as tx:
        records = tx.transitions(limit=1_000_000)
    found = []
    versions: dict[str, int] = {}
    for record in records:
        if record.row not in ROWS:
            found.append(Finding(group="other", law="table", detail=f"row {record.row} is not declared"))
        if record.version <= versions.get(record.trade_id, 0):
            words = f"trade {record.trade_id} went from version {versions[record.trade_id]} to {record.version}"
            found.append(Finding(group="other", law="version", detail=words))
        versions[record.trade_id] = record.version
    return found

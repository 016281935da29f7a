"""The mode as the ledger has it: one fact of causes a process, the latched halt, and the last clean full reconcile.

Each process writes the causes that it saw itself and nothing else, so no two ever write the same fact.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from dtms.core import modes
from dtms.domain.modes import ActiveCause, Cause, Mode
from dtms.domain.units import Millis
from dtms.errors import LedgerUnavailableError
from dtms.ports.ledger import LedgerRead

Role = Literal["gateway", "server", "api"]

ROLES: Final[tuple[Role, ...]] = ("gateway", "server", "api")
HALT_FACT: Final = "halt"
RECONCILED_FACT: Final = "reconciled"
"""The last reconcile of any kind (`app.reconcile.outcome`): its `confirmed` is when a full one was last clean."""

TOLD_FACT: Final = "mode"
"""The mode that was last told to people and to the event stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """What the ledger says about the mode.

    Attributes:
        mode: The worst that anything standing asks for.
        causes: What stands, the worst first.
        told: The mode that was last told.
        halt: What a person must resume from, None where nothing is latched.
        clean_at: When the last full reconcile was clean, None where none was; asked only while there are causes.
    """

    mode: Mode = Mode.NORMAL
    causes: tuple[ActiveCause, ...] = ()
    told: Mode = Mode.NORMAL
    halt: ActiveCause | None = None
    clean_at: Millis | None = None


def read_modes(tx: LedgerRead) -> Modes:
    """Return what all processes have told.

    Raises:
        LedgerUnavailableError: A fact cannot be read as what it should be.
    """
    return modes_of(tx.facts(*MODE_FACTS))


def modes_of(facts: Mapping[str, str]) -> Modes:
    """Return what all processes have told, from what the ledger holds of `MODE_FACTS`.

    Raises:
        LedgerUnavailableError: A fact cannot be read as what it should be.
    """
    told: list[ActiveCause] = []
    for name in _CAUSES_FACTS:
        if name in facts:
            told += decode(facts[name], name)
    text = facts.get(HALT_FACT)
    halt = None if text is None else decode(text, HALT_FACT)[0]
    clean_at = _confirmed(facts.get(RECONCILED_FACT)) if told else None
    word = facts.get(TOLD_FACT)
    if not told and halt is None and word is None:
        return Modes()
    present = modes.standing(told, halt, clean_at)
    return Modes(
        mode=present.mode,
        causes=present.causes,
        told=_mode(word),
        halt=halt,
        clean_at=clean_at,
    )


def read_causes(tx: LedgerRead, role: str) -> tuple[ActiveCause, ...]:
    """Return what one process has told, as it stands in the ledger."""
    name = causes_fact(role)
    text = tx.fact(name)
    return () if text is None else decode(text, name)


def causes_fact(role: str) -> str:
    """Return the name of a process's fact."""
    return f"causes.{role}"


_CAUSES_FACTS: Final = tuple(causes_fact(role) for role in ROLES)
MODE_FACTS: Final = (*_CAUSES_FACTS, HALT_FACT, TOLD_FACT, RECONCILED_FACT)
"""Everything that the mode is read from."""


def _confirmed(text: str | None) -> Millis | None:
    """Return when a full reconcile was last clean, None where none was."""
    if text is None:
        return None
    try:
        at = json.loads(text)["confirmed"]
        return None if at is None else Millis(int(at))
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(RECONCILED_FACT, text) from error


def encode(causes: Iterable[ActiveCause]) -> str:
    """Return the fact of some causes."""
    return json.dumps(
        {
            cause.cause: {"since": cause.since, "detail": cause.detail, "ended": cause.ended, "role": cause.role}
            for cause in causes
        }
    )


@lru_cache(maxsize=64)
def decode(text: str, name: str) -> tuple[ActiveCause, ...]:
    """Return the causes of a fact: asked for with each change of the ledger, and nearly always the same as before.

    Raises:
        LedgerUnavailableError: It is not as `encode` writes it.
    """
    try:
        found = tuple(
            ActiveCause(
                cause=Cause(word),
                since=Millis(int(each["since"])),
                detail=str(each["detail"]),
                ended=None if each["ended"] is None else Millis(int(each["ended"])),
                role=str(each["role"]),
            )
            for word, each in json.loads(text).items()
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(name, text) from error
    if name == HALT_FACT and len(found) != 1:
        raise _unreadable(name, text)
    return found


def _mode(word: str | None) -> Mode:
    if word is None:
        return Mode.NORMAL
    try:
        return Mode(word)
    except ValueError as error:
        raise _unreadable(TOLD_FACT, word) from error


def _unreadable(name: str, text: str) -> LedgerUnavailableError:
    msg = f"the ledger's fact {name!r} holds {text[:80]!r}, which cannot be read; restore the ledger from a backup"
    return LedgerUnavailableError(msg)

"""Crash points of a process that is drilled: where it is killed or stopped, and the record of what it reached.

Armed by `DTMS_CRASH_POINT` only; a process in service has none of this. The plan is a list of entries, each one done once
and in their order by all processes of an installation together: what was done stands in a file, for whoever did it is dead.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from dtms.domain.intent import Intent, IntentState
from dtms.domain.units import Millis
from dtms.errors import InvariantError, SettingsError
from dtms.platforms.files import read_at
from dtms.platforms.processes import die, freeze
from dtms.ports.crash import COMMITTED, COMMITTING, POINTS, CrashPoints
from dtms.ports.ledger import Ledger, LedgerRead, LedgerWrite
from dtms.private_files import open_to_append

RECORD: Final = "record"
"""The plan that kills nobody and writes down every point that is reached."""

REACHED_FILE: Final = "crash-reached.log"
DONE_FILE: Final = "crash-done.log"

_ENTRY: Final = re.compile(
    r"(?P<name>[a-z_.]+\*?)(:(?P<nth>[0-9]+))?(@(?P<at>[0-9]+)(-(?P<until>[0-9]+))?)?(?P<stop>!stop)?"
)
_NEVER: Final = Millis(2**62)
_UNFINISHED: Final = {IntentState.ACKED: "ack", IntentState.UNKNOWN: "unknown"}
_KINDS: Final = {
    "claim": "claim",
    "add_trade": "register",
    "add_transition": "transition",
    "add_intent": "plan",
    "save_trade": "trade",
    "put_exit_book": "exit_book",
    "delete_exit_book": "exit_book",
    "retry_outbox": "outbox",
    "done_outbox": "outbox",
    "add_reply": "reply",
    "put_market_state": "market",
    "set_fact": "fact",
}
"""What names a transaction, by the writes in it; the first of these that was done does."""

_ORDER: Final = ("claim", "ack", "unknown", "conclude", *dict.fromkeys(tuple(_KINDS.values())[1:]), "record")


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """One entry of a plan: at the `nth` passing of a point by one process, within [`at`, `until`) of the market's time.

    `name` may end in `*`: any point that begins so. `stop` freezes the process instead of killing it. An entry
    whose time is over is left out, and the next one's turn has come.
    """

    name: str
    nth: int = 1
    at: Millis = Millis(0)
    until: Millis = _NEVER
    stop: bool = False

    def __post_init__(self) -> None:
        stem = self.name.removesuffix("*")
        known = any(point.startswith(stem) for point in POINTS) if stem != self.name else self.name in POINTS
        if not known or self.nth < 1:
            msg = f"crash point {self.name!r} (passing {self.nth}) is none; see dtms.ports.crash.POINTS"
            raise SettingsError(msg)

    def __str__(self) -> str:
        end = f"-{self.until}" if self.until != _NEVER else ""
        since = f"@{self.at}{end}" if self.at > 0 or end else ""
        return f"{self.name}:{self.nth}{since}{'!stop' if self.stop else ''}"

    def meets(self, name: str, now: Millis) -> bool:
        """Say whether passing a point now counts."""
        same = name.startswith(self.name[:-1]) if self.name.endswith("*") else name == self.name
        return same and self.at <= now < self.until


def read_plan(text: str) -> tuple[Strike, ...]:
    """Return the entries of a plan such as ``gateway.claimed:2@1700000000000-1700000600000,gateway.recovering``.

    Raises:
        SettingsError: An entry is none.
    """
    strikes = []
    for part in text.split(","):
        found = _ENTRY.fullmatch(part.strip())
        if found is None:
            msg = f"DTMS_CRASH_POINT has the entry {part!r}; write NAME, NAME:NTH, NAME:NTH@FROM-UNTIL or NAME!stop"
            raise SettingsError(msg)
        strikes.append(
            Strike(
                name=found["name"],
                nth=int(found["nth"] or 1),
                at=Millis(int(found["at"] or 0)),
                until=Millis(int(found["until"] or _NEVER)),
                stop=found["stop"] is not None,
            )
        )
    return tuple(strikes)


class CrashAt:
    """Writes down every point that this process reaches, and ends or freezes it where the plan says so, as a power cut does."""

    def __init__(self, plan: tuple[Strike, ...], folder: Path, now: Callable[[], Millis]) -> None:
        self._plan = plan
        self._now = now
        self._hits: Counter[int] = Counter()
        self._reached = _open(folder / REACHED_FILE)
        self._done = _open(folder / DONE_FILE)

    def reach(self, name: str) -> None:
        """End here where this is the place.

        Raises:
            InvariantError: The registry does not hold the name.
        """
        if name not in POINTS:
            msg = f"crash point {name!r} is not in the registry; add it to dtms.ports.crash"
            raise InvariantError(msg)
        now = self._now()
        os.write(self._reached, f"{name} {os.getpid()} {now}\n".encode())
        number = self._next(now)
        if number is None or not self._plan[number].meets(name, now):
            return
        self._hits[number] += 1
        strike = self._plan[number]
        if self._hits[number] < strike.nth:
            return
        # Written before, for afterwards there is nobody to write it; the kernel keeps it over our death.
        os.write(self._done, f"{number} {name} {os.getpid()} {now}\n".encode())
        if strike.stop:
            freeze()
        else:
            die()

    def _next(self, now: Millis) -> int | None:
        size = os.fstat(self._done).st_size
        done = {int(line.split()[0]) for line in read_at(self._done, size, 0).splitlines()}
        turns = (number for number, strike in enumerate(self._plan) if number not in done and now < strike.until)
        return next(turns, None)


def _open(path: Path) -> int:
    return open_to_append(path)


def crash_points_of(text: str, folder: Path, now: Callable[[], Millis]) -> CrashPoints:
    """Return what a drilled process passes its points through.

    Raises:
        SettingsError: The plan cannot be read.
    """
    return CrashAt(() if text == RECORD else read_plan(text), folder, now)


class CrashLedger:
    """A ledger with a crash point on either side of every commit, named by role and by what was written."""

    def __init__(self, ledger: Ledger, crash: CrashPoints, role: str) -> None:
        self._ledger = ledger
        self._crash = crash
        self._role = role

    @property
    def epoch(self) -> str:
        """Return the ledger's epoch."""
        return self._ledger.epoch

    @contextmanager
    def read(self) -> Iterator[LedgerRead]:
        """Open a read transaction."""
        with self._ledger.read() as tx:
            yield tx

    @contextmanager
    def write(self) -> Iterator[LedgerWrite]:
        """Open a write transaction; pass a point before it is durable, and one after."""
        with self._ledger.write() as tx:
            noted = _Noted(tx)
            yield cast("LedgerWrite", noted)
            kind = noted.kind
            if kind is not None:
                self._crash.reach(f"{self._role}.{COMMITTING}.{kind}")
        if kind is not None:
            self._crash.reach(f"{self._role}.{COMMITTED}.{kind}")

    def revision(self) -> int:
        """Return the ledger's revision."""
        return self._ledger.revision()

    def close(self) -> None:
        """Release connections and locks."""
        self._ledger.close()


class _Noted:
    """A write transaction that notes what is written in it."""

    def __init__(self, tx: LedgerWrite) -> None:
        self._tx = tx
        self._kinds: set[str] = set()

    @property
    def kind(self) -> str | None:
        """Return what names this transaction; None where nothing was written."""
        return next((kind for kind in _ORDER if kind in self._kinds), None)

    def save_intent(self, intent: Intent, *, expected: IntentState) -> None:
        self._kinds.add(_UNFINISHED.get(intent.state, "conclude"))
        self._tx.save_intent(intent, expected=expected)

    def __getattr__(self, name: str) -> Any:
        if name in _KINDS:
            self._kinds.add(_KINDS[name])
        elif name.startswith(("add_", "put_", "save_", "set_", "delete_")):
            self._kinds.add("record")
        return getattr(self._tx, name)

"""The kill switch: three levels, a fact of the ledger and a file beside it, so that no restart and no failure forgets it.

The file is written first and taken over into the ledger as soon as that can be written: it also works for a person with
nothing but a shell, and the gateway asks it before each send. The ledger knows who pressed: what the file pressed is let go
by removing the file, what a person or program pressed over the API is let go by releasing. How everything is closed at
`flatten` stands in `app.modes.flatten`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from dtms.app.modes import flatten
from dtms.app.modes.kill_file import FileWord, Pressed, Unreadable, read_word, remove_word, write_word
from dtms.app.views.trade_cache import KILL_FACT
from dtms.domain.units import Millis, to_iso
from dtms.domain.verdict import KillLevel
from dtms.errors import LedgerError, SettingsError
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger, LedgerRead, LedgerWrite
from dtms.ports.notifier import AlertKind, Notifier

_SINCE_FACT: Final = "kill_switch_since"
_SEVERITY: Final = {None: 0, KillLevel.PAUSE: 1, KillLevel.PROTECT_ONLY: 2, KillLevel.FLATTEN: 3}
GONE_NS: Final = 1_000_000_000
"""So long the file must be away before what it pressed is let go."""

_NOBODY: Final = "file"
"""Who pressed where the file does not say."""


class KillSource(StrEnum):
    """From where the switch was pressed, which is where it is let go."""

    FILE = "file"
    REQUEST = "request"


@dataclass(frozen=True, slots=True, kw_only=True)
class KillState:
    """The level, None where the switch is not pressed; who pressed it, when and from where, None where that is not known.

    `under` is what was pressed by a request before the file said something else: it holds again when the file is removed.
    """

    level: KillLevel | None = None
    since: Millis | None = None
    by: str = ""
    source: KillSource | None = None
    under: KillState | None = None


@dataclass(slots=True, kw_only=True)
class KillSwitch:
    """The switch of one account. `sentinel` is the file; without one the ledger alone holds the level."""

    ledger: Ledger
    clock: Clock
    notifier: Notifier
    sentinel: Path | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _gone_ns: int | None = None

    def state(self) -> KillState:
        """Return the switch as the ledger has it."""
        with self.ledger.read() as tx:
            return kill_state(tx)

    def press(
        self,
        level: KillLevel,
        actor: str,
        also: Callable[[LedgerWrite, KillState], None] = lambda _tx, _state: None,
    ) -> KillState:
        """Set the level; pressing the same one again changes nothing.

        Args:
            level: Also a lower one than the present.
            actor: Who presses, for the audit.
            also: Writes more in the same transaction.

        Raises:
            LedgerError: The ledger cannot be written now. The file is, and the level holds as soon as the ledger can be.
            SettingsError: Neither can be written: nothing is pressed.
        """
        with self._lock:
            unwritten = self._write_file(level, actor)
            with self._unless(unwritten), self.ledger.write() as tx:
                before = kill_state(tx)
                state = self._engage(tx, before, level, actor, KillSource.REQUEST)
                also(tx, state)
            self._tell(before, state)
            if unwritten is not None:
                self.notifier.alert(
                    AlertKind.KILL_SWITCH, "kill switch file", f"pressed in the ledger alone: {unwritten}"
                )
            return state

    def release(
        self, actor: str, also: Callable[[LedgerWrite, KillState], None] = lambda _tx, _state: None
    ) -> KillState:
        """Let go of the switch; closings that were sent already stand, those that wait are cancelled.

        Raises:
            SettingsError: The file cannot be removed; the switch stays pressed.
            LedgerError: The ledger cannot be written; the switch stays pressed.
        """
        with self._lock:
            if self.sentinel is not None:
                remove_word(self.sentinel)
            with self.ledger.write() as tx:
                before = kill_state(tx)
                state = self._let_go(tx, before, KillState(), actor)
                also(tx, state)
            self._tell(before, state, by=actor)
            return state

    def level(self, known: KillLevel | None) -> KillLevel | None:
        """Return the level that holds now: the worse of `known`, which the ledger told, and what the file says.

        A file that cannot be read has pressed nothing, but may have: as long as that lasts nothing that adds risk is sent.
        """
        match self._file():
            case None:
                return known
            case Unreadable():
                return _worse(known, KillLevel.PROTECT_ONLY)
            case Pressed(level=level):
                return _worse(known, level)

    def unreadable(self) -> str:
        """Return why the file cannot be read, "" where it can or is not there."""
        told = self._file()
        return told.why if isinstance(told, Unreadable) else ""

    def enforce(self) -> int:
        """Take over what the file says or does not say any more; at `flatten` write the next closing step of each position.

        Safe to run at any time, as often as wanted, and by two processes at once. What the file says is read again inside
        the transaction that takes it over: who lets go of the switch removes the file before the ledger's fact, so a file
        that is still there then was not let go of.

        Returns:
            How many steps were written.

        Raises:
            LedgerError: The caller tries again.
        """
        with self._lock:
            state = self.state()
            if self.sentinel is not None and _differs(self._settled(self._file(), state), state):
                with self.ledger.write() as tx:
                    before = kill_state(tx)
                    told = self._settled(self._file(), before)
                    state = self._taken_over(tx, before, told)
                self._tell(before, state, doubt=told.doubt if isinstance(told, Pressed) else None)
        if state.level is not KillLevel.FLATTEN:
            return 0
        since = Millis(0) if state.since is None else state.since
        return flatten.flatten(self.ledger, self.notifier, self.clock.market_now(), since)

    def _write_file(self, level: KillLevel, actor: str) -> SettingsError | None:
        """Write the file; return what stands in the way: the ledger holds the level too, and nobody presses in vain."""
        try:
            if self.sentinel is not None:
                write_word(self.sentinel, level, actor)
        except SettingsError as error:
            return error
        return None

    @contextmanager
    def _unless(self, unwritten: SettingsError | None) -> Iterator[None]:
        """Where the file could not be written, say so when the ledger cannot be written either."""
        try:
            yield
        except LedgerError:
            if unwritten is not None:
                raise unwritten from None
            raise

    def _file(self) -> FileWord:
        return None if self.sentinel is None else read_word(self.sentinel)

    def _settled(self, told: FileWord, state: KillState) -> FileWord:
        """Return what the file says, and for a while after it went what it said: editors remove a file to write it anew."""
        if told is not None or state.level is None:
            self._gone_ns = None
            return told
        now_ns = self.clock.boot_ns()
        self._gone_ns = now_ns if self._gone_ns is None else self._gone_ns
        return None if now_ns - self._gone_ns >= GONE_NS else Pressed(level=state.level, by=state.by)

    def _taken_over(self, tx: LedgerWrite, before: KillState, told: FileWord) -> KillState:
        if not _differs(told, before):
            return before
        if isinstance(told, Pressed):
            by = told.by or _NOBODY
            return self._engage(tx, before, told.level, by, KillSource.FILE)
        return self._let_go(tx, before, before.under or KillState(), "file removed")

    def _engage(
        self, tx: LedgerWrite, before: KillState, level: KillLevel, actor: str, source: KillSource
    ) -> KillState:
        if before.level is level:
            if source is KillSource.REQUEST and before.source is not source:
                # The file of this very press was seen first, or a person makes the file's word their own.
                _put(tx, state := KillState(level=level, since=before.since, by=actor, source=source))
                return state
            return before
        from_file = source is KillSource.FILE
        under = before.under if before.source is KillSource.FILE else before
        state = KillState(
            level=level,
            since=self.clock.market_now(),
            by=actor,
            source=source,
            under=under if from_file and under is not None and under.level is not None else None,
        )
        _put(tx, state)
        if level is not KillLevel.FLATTEN:
            flatten.withdraw(tx, self.clock.market_now())
        self._audit(tx, actor, "kill_switch_pressed", level, source)
        return state

    def _let_go(self, tx: LedgerWrite, before: KillState, after: KillState, actor: str) -> KillState:
        if before.level is not None:
            _put(tx, after)
            if after.level is not KillLevel.FLATTEN:
                flatten.withdraw(tx, self.clock.market_now())
            self._audit(tx, actor, "kill_switch_released", before.level, before.source)
        return after

    def _audit(self, tx: LedgerWrite, actor: str, what: str, level: KillLevel, source: KillSource | None) -> None:
        body = json.dumps({"level": level, "source": source})
        tx.add_audit(at=self.clock.market_now(), actor=actor, what=what, trade_id=None, body=body)

    def _tell(self, before: KillState, after: KillState, *, by: str = "", doubt: str | None = None) -> None:
        """Call a person for each change: nobody should learn from a missed trade that the switch was pressed."""
        if before.level is after.level:
            return
        now = to_iso(self.clock.market_now())
        if after.level is None:
            who = by or "removing the file"
            detail = f"let go of by {who}; it was at {before.level}, pressed by {before.by or 'somebody'}"
        else:
            detail = f"at {after.level}, pressed by {after.by or 'somebody'} ({after.source})"
        if doubt is not None:
            detail = (
                f"the file says {doubt!r}, which is no level: it counts as {after.level}. "
                "Write pause, protect_only or flatten into it, or let go with: dtms kill release"
            )
        # The instant makes each change an alert of its own: a second press in a quiet time is news.
        self.notifier.alert(AlertKind.KILL_SWITCH, f"kill switch {now}", detail)


def kill_state(tx: LedgerRead) -> KillState:
    """Return the switch as the ledger has it."""
    level = tx.fact(KILL_FACT)
    if level is None:
        return KillState()
    told = tx.fact(_SINCE_FACT)
    return KillState(level=KillLevel(level)) if told is None else _read_back(KillLevel(level), json.loads(told))


def _read_back(level: KillLevel, told: dict[str, object]) -> KillState:
    source, under = told.get("source"), told.get("under")
    return KillState(
        level=level,
        since=Millis(int(str(told["at"]))),
        by=str(told["by"]),
        source=None if source is None else KillSource(str(source)),
        under=_read_back(KillLevel(under["level"]), under) if isinstance(under, dict) else None,
    )


def _put(tx: LedgerWrite, state: KillState) -> None:
    if state.level is None:
        tx.set_fact(KILL_FACT, None)
        tx.set_fact(_SINCE_FACT, None)
        return
    tx.set_fact(KILL_FACT, state.level.value)
    tx.set_fact(_SINCE_FACT, json.dumps(_record(state)))


def _record(state: KillState) -> dict[str, object]:
    under = None if state.under is None else _record(state.under)
    return {"level": state.level, "at": state.since or 0, "by": state.by, "source": state.source, "under": under}


def _worse(known: KillLevel | None, told: KillLevel) -> KillLevel:
    return told if known is None or _SEVERITY[told] > _SEVERITY[known] else known


def _differs(told: FileWord, state: KillState) -> bool:
    """Say whether the file's word has to be taken over: one that is not understood never lowers a level, silence lets go
    only of what the file itself has pressed, and what cannot be read changes nothing.
    """
    match told:
        case Unreadable():
            return False
        case None:
            return state.level is not None and state.source is KillSource.FILE
        case Pressed(level=level, doubt=doubt):
            if level is state.level:
                return False
            return doubt is None or _SEVERITY[level] > _SEVERITY[state.level]

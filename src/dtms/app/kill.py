"""The kill switch: three levels, a fact of the ledger and a file beside it, so that no restart and no failure forgets it.

The file is written first and taken over into the ledger as soon as that can be written: it also works for a person with
nothing but a shell, and the gateway asks it before each send. `flatten` closes every managed trade step by step; each step
follows from what the ledger shows and has a key of its own, so whoever dies in between, the next pass goes on, and the API
and the gateway may both be at it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dtms.app import journal
from dtms.app.book import KILL_FACT
from dtms.app.walk import each_intent
from dtms.core import plans
from dtms.domain.action import Action, Close, Resource
from dtms.domain.intent import UNFINISHED, Intent, IntentState, Planner
from dtms.domain.receipt import RETRYABLE
from dtms.domain.trade import Owner, Trade
from dtms.domain.units import SECOND, Millis
from dtms.domain.verdict import KillLevel
from dtms.errors import SettingsError, StaleWriteError
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger, LedgerRead, LedgerWrite
from dtms.ports.notifier import AlertKind, Notifier

RULE: Final = "command.flatten"
_SINCE_FACT: Final = "kill_switch_since"
_FIRST_WAIT: Final = 1 * SECOND
_LONGEST_WAIT: Final = 60 * SECOND
_ALARM_AFTER: Final = 3
_SEVERITY: Final = {None: 0, KillLevel.PAUSE: 1, KillLevel.PROTECT_ONLY: 2, KillLevel.FLATTEN: 3}
_LONGEST_FILE: Final = 256
_EXPIRY_S: Final = 60.0
"""Of no effect: closing is not based on a price, so its intents do not grow old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillState:
    """The level, None where the switch is not pressed; who pressed it and when, None where that is not known."""

    level: KillLevel | None = None
    since: Millis | None = None
    by: str = ""


@dataclass(slots=True, kw_only=True)
class KillSwitch:
    """The switch of one account. `sentinel` is the file; without one the ledger alone holds the level."""

    ledger: Ledger
    clock: Clock
    notifier: Notifier
    sentinel: Path | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def state(self) -> KillState:
        """Return the switch as the ledger has it."""
        with self.ledger.read() as tx:
            return _state(tx)

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
            SettingsError: The file cannot be written; the ledger was not touched.
        """
        with self._lock:
            if self.sentinel is not None:
                _write(self.sentinel, level, actor)
            with self.ledger.write() as tx:
                state = self._engage(tx, level, actor)
                also(tx, state)
            return state

    def release(
        self, actor: str, also: Callable[[LedgerWrite, KillState], None] = lambda _tx, _state: None
    ) -> KillState:
        """Let go of the switch; closings that were written already are carried out.

        Raises:
            SettingsError: The file cannot be removed; the switch stays pressed.
            LedgerError: The ledger cannot be written; the switch stays pressed.
        """
        with self._lock:
            if self.sentinel is not None:
                _remove(self.sentinel)
            with self.ledger.write() as tx:
                before = _state(tx)
                if before.level is not None:
                    tx.set_fact(KILL_FACT, None)
                    tx.set_fact(_SINCE_FACT, None)
                    self._audit(tx, actor, "kill_switch_released", before.level)
                state = KillState()
                also(tx, state)
            return state

    def level(self, known: KillLevel | None) -> KillLevel | None:
        """Return the level that holds now: the worse of `known`, which the ledger told, and what the file says."""
        told = None if self.sentinel is None else _read(self.sentinel)
        return known if told is None else max(known, told.level, key=_SEVERITY.__getitem__)

    def enforce(self) -> int:
        """Take over what the file says; at `flatten` write the next closing step of each trade. Return how many.

        Safe to run at any time, as often as wanted, and by two processes at once. What the file says is read again inside
        the transaction that takes it over: who lets go of the switch removes the file before the ledger's fact, so a file
        that is still there then was not let go of.

        Raises:
            LedgerError: The caller tries again.
        """
        with self._lock:
            state = self.state()
            if self.sentinel is not None and _differs(_read(self.sentinel), state.level):
                with self.ledger.write() as tx:
                    told = _read(self.sentinel)
                    if told is not None and _differs(told, _state(tx).level):
                        state = self._engage(tx, told.level, told.by or "sentinel")
                    else:
                        state = _state(tx)
        if state.level is not KillLevel.FLATTEN:
            return 0
        with self.ledger.read() as tx:
            trades = [trade for trade in tx.open_trades() if trade.owner is not Owner.NONE]
        return sum(self._flatten(trade, state) for trade in trades)

    def _engage(self, tx: LedgerWrite, level: KillLevel, actor: str) -> KillState:
        before = _state(tx)
        if before.level is level:
            return before
        now = self.clock.market_now()
        state = KillState(level=level, since=now, by=actor)
        tx.set_fact(KILL_FACT, level.value)
        tx.set_fact(_SINCE_FACT, json.dumps({"at": now, "by": actor}))
        self._audit(tx, actor, "kill_switch_pressed", level)
        return state

    def _audit(self, tx: LedgerWrite, actor: str, what: str, level: KillLevel) -> None:
        body = json.dumps({"level": level})
        tx.add_audit(at=self.clock.market_now(), actor=actor, what=what, trade_id=None, body=body)

    def _flatten(self, trade: Trade, state: KillState) -> bool:
        """Write the next closing step of a trade where none is on its way and the last refusal is long enough ago."""
        now = self.clock.market_now()
        since = Millis(0) if state.since is None else state.since
        decision_id = f"flatten@{since}v{trade.version}"
        try:
            with self.ledger.write() as tx:
                fresh = tx.trade_by_id(trade.trade_id)
                if fresh is None or fresh.seq != trade.seq or _busy(tx.unfinished(trade.trade_id)):
                    return False
                tried = [intent for intent in each_intent(tx, trade.trade_id) if intent.decision_id == decision_id]
                last = tried[-1] if tried else None
                if last is not None and now < _retry_at(last, len(tried)):
                    return False
                action = _next_step(trade, tried)
                if action is None:
                    return False
                intent = journal.new_intent(
                    trade,
                    action,
                    decision_id=decision_id,
                    owner=Planner.COMMAND,
                    rule=RULE,
                    now=now,
                    priced_expiry_s=_EXPIRY_S,
                    attempt=len(tried) + 1,
                )
                added = tx.add_intent(intent)
        except StaleWriteError:
            return False
        if len(tried) >= _ALARM_AFTER:
            detail = f"closing it was refused {len(tried)} times: {tried[-1].reason}; it is tried again"
            self.notifier.alert(AlertKind.PARKED, str(trade.ticket), detail)
        return added


def _state(tx: LedgerRead) -> KillState:
    level = tx.fact(KILL_FACT)
    if level is None:
        return KillState()
    told = tx.fact(_SINCE_FACT)
    if told is None:
        return KillState(level=KillLevel(level))
    record = json.loads(told)
    return KillState(level=KillLevel(level), since=Millis(record["at"]), by=str(record["by"]))


def _busy(unfinished: tuple[Intent, ...]) -> bool:
    """Say whether a closing step, or a change of volume that will be decided soon, is on its way.

    An unknown outcome is not waited for: a full close may pass it.
    """
    return any(
        intent.rule == RULE or (intent.resource is Resource.VOLUME and intent.state is not IntentState.UNKNOWN)
        for intent in unfinished
        if intent.state in UNFINISHED
    )


def _retry_at(last: Intent, tries: int) -> Millis:
    """Return when a step that came to nothing may be tried again: the market may be closed for days."""
    ended = last.created_at if last.settled_at is None else last.settled_at
    return Millis(ended + min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(tries - 1, 10)))


def _next_step(trade: Trade, tried: list[Intent]) -> Action | None:
    """Return the closing plan's next action for the trade as it stands, None where nothing is left to close.

    The position alone tells how far the plan has come. Where closing against the hedge was refused for good, the main leg
    goes first and the hedge after it.
    """
    if trade.volume <= 0:
        return next((Close(ticket=leg.ticket) for leg in trade.legs), None)
    step = plans.closing(trade).steps[0]
    if step.fallback and any(_refused_for_good(intent, step.action) for intent in tried):
        return step.fallback[0].action
    return step.action


def _refused_for_good(intent: Intent, action: Action) -> bool:
    rejection = None if intent.receipt is None else intent.receipt.rejection
    return intent.action == action and rejection is not None and rejection not in RETRYABLE


def _write(path: Path, level: KillLevel, actor: str) -> None:
    fresh = path.with_name(f"{path.name}.new")
    by = "".join(character for character in actor if character.isprintable())[:100]
    try:
        with fresh.open("w", encoding="utf-8") as file:
            file.write(f"{level}\n{by}\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        msg = f"kill switch file {path} cannot be written: {error.strerror}; make its folder writable"
        raise SettingsError(msg) from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        msg = f"kill switch file {path} cannot be removed: {error.strerror}; remove it by hand"
        raise SettingsError(msg) from error


@dataclass(frozen=True, slots=True)
class _Told:
    """What the file says: its first word, and on its second line who wrote it where that was a program.

    `sure` is False where the file cannot be read or its word is none of ours.
    """

    level: KillLevel
    by: str = ""
    sure: bool = True


def _read(path: Path) -> _Told | None:
    """Return what the file says, None where there is none.

    A file that cannot be read and a word that is not known let nothing through but what reduces risk: somebody has pressed.
    """
    try:
        with path.open("rb") as file:
            lines = file.read(_LONGEST_FILE).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return None
    except OSError:
        return _Told(KillLevel.PROTECT_ONLY, "sentinel (the file cannot be read)", sure=False)
    word = lines[0].strip().lower() if lines else ""
    if word not in list(KillLevel):
        return _Told(KillLevel.PROTECT_ONLY, f"sentinel (the file says {word[:20]!r})", sure=False)
    return _Told(KillLevel(word), lines[1].strip() if len(lines) > 1 else "")


def _differs(told: _Told | None, level: KillLevel | None) -> bool:
    """Say whether the file's word has to be taken over; an unsure one never lowers a level."""
    if told is None or told.level is level:
        return False
    return told.sure or _SEVERITY[told.level] > _SEVERITY[level]

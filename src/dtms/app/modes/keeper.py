"""The mode's keeper in one process: takes causes in, writes them down, tells when the mode changes, and says what it forbids.

A process acts on the worse of what it remembers and what the ledger holds: where the ledger cannot be written the cause
counts here at once, and for the others as soon as it can.
"""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Final

from dtms.app.journal.mode_facts import (
    HALT_FACT,
    TOLD_FACT,
    Modes,
    Role,
    causes_fact,
    encode,
    read_causes,
    read_modes,
)
from dtms.app.modes import flatten
from dtms.app.views.trade_cache import LedgerView, TradeCache
from dtms.core.modes import TABLE, Standing, counts, mode_of, standing, worst
from dtms.domain.action import RiskDirection, risk_of
from dtms.domain.intent import Intent, IntentState
from dtms.domain.modes import ActiveCause, Cause, Mode
from dtms.domain.receipt import Rejection
from dtms.domain.records import EventKind
from dtms.domain.trade import Hold
from dtms.domain.units import Millis
from dtms.errors import InvariantError, LedgerError
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger, LedgerRead, LedgerWrite
from dtms.ports.notifier import AlertKind, Notifier

_QUARANTINE: Final = (Hold.QUARANTINED, Hold.INVARIANT)
_RESUME: Final = "see `dtms mode`, then resume with: dtms mode resume --reason TEXT"


class ModeKeeper:
    """Keeps the causes of one process.

    `set` and `clear` touch memory alone and may be called anywhere, inside a transaction too; `review` reads and writes.
    Causes of this role that the ledger has from before a restart count as ended at the start: what still holds is told
    again, the rest stands until a full reconcile was clean.

    Args:
        role: Whose causes.
        ledger: Where they are written.
        clock: For since and ended, on the market's clock.
        notifier: Told when the mode changes.
    """

    def __init__(self, role: Role, ledger: Ledger, clock: Clock, notifier: Notifier) -> None:
        self._role = role
        self._ledger = ledger
        self._clock = clock
        self._notifier = notifier
        self._lock = threading.RLock()
        self._mine: dict[Cause, ActiveCause] = {}
        self._written: str | None = None
        self._loaded = False
        self._alarmed: set[Cause] = set()
        self._ended: list[ActiveCause] = []

    def set(self, cause: Cause, detail: str) -> None:
        """Tell that a cause holds; the detail of its beginning is kept until it ends."""
        with self._lock:
            present = self._mine.get(cause)
            if present is None or present.ended is not None:
                self.restate(cause, detail)

    def restate(self, cause: Cause, detail: str) -> None:
        """Tell that a cause holds, and with another detail call for it anew: a second symbol has gone dark, for example.

        The detail must not hold a number that grows, or every pass calls somebody.
        """
        with self._lock:
            present = self._mine.get(cause)
            if present is not None and present.ended is None and present.detail == detail:
                return
            since = self._clock.market_now() if present is None else present.since
            self._mine[cause] = ActiveCause(cause=cause, since=since, detail=detail, role=self._role)
            self._alarmed.discard(cause)

    def clear(self, cause: Cause) -> None:
        """Tell that a cause does not hold, or not any more; it stands until a full reconcile, where the table says so."""
        with self._lock:
            present = self._mine.get(cause)
            if present is None or present.ended is not None:
                return
            if TABLE[cause].reconciles:
                self._mine[cause] = replace(present, ended=self._clock.market_now())
            else:
                del self._mine[cause]

    def active(self) -> frozenset[Cause]:
        """Return this process's causes that hold now."""
        with self._lock:
            return frozenset(cause for cause, told in self._mine.items() if told.ended is None)

    def told(self) -> tuple[ActiveCause, ...]:
        """Return this process's causes that hold now, also where the ledger could not be told of them."""
        with self._lock:
            return tuple(told for told in self._mine.values() if told.ended is None)

    def standing(self, page: LedgerView) -> Standing:
        """Return what people are shown: what the ledger says, with what this process remembers in place of its own there."""
        with self._lock:
            mine = tuple(self._mine.values())
            if not mine:
                return Standing(mode=page.mode, causes=page.causes)
            others = (told for told in page.causes if told.role != self._role or told.cause not in self._mine)
            return standing((*others, *mine), page.modes.halt, page.modes.clean_at)

    def tell(self, book: TradeCache) -> Mode:
        """Review where a pass has failed: write and tell what can be, call somebody by memory alone where nothing can."""
        try:
            return self.review(book.page())
        except (LedgerError, InvariantError):  # whatever the ledger has come to, a person hears of it
            with self._lock:
                self._alarm_unwritten()
                return mode_of(told.cause for told in self.told())

    def remembers(self, cause: Cause) -> bool:
        """Say whether a cause holds, or has ended and stands until a full reconcile: also one from before a restart."""
        with self._lock:
            self._load()
            return cause in self._mine

    def mode(self, page: LedgerView) -> Mode:
        """Return what this process may do: the worse of what the ledger says and what it remembers."""
        if not self._mine:
            return page.mode
        with self._lock:
            clean_at = page.modes.clean_at
            return worst((page.mode, mode_of(c.cause for c in self._mine.values() if counts(c, clean_at))))

    def review(self, page: LedgerView) -> Mode:
        """Write what has changed, tell a change of the mode once, and return what this process may do.

        Cheap where nothing has changed. A ledger that cannot be written is tried again by the next review.
        """
        with self._lock:
            self._load()
            self._let_go(page.modes.clean_at)
            if self._loaded and (page.mode is not page.modes.told or self._text() != self._written):
                self._write()
            return self.mode(page)

    def forbids(self, tx: LedgerRead, intent: Intent) -> tuple[Rejection, str] | None:
        """Say why the mode does not let an intent be sent; asked in the claiming transaction, None where it may go.

        Reads the ledger's causes afresh, so that a mode entered between the plan and the claim counts. The kill switch's
        own closings go in every mode.

        Raises:
            LedgerUnavailableError: The mode cannot be told; nothing may be sent.
        """
        found = read_modes(tx)
        with self._lock:
            mode = worst((found.mode, mode_of(c.cause for c in self._mine.values() if counts(c, found.clean_at))))
        return forbidden(mode, intent)

    def _load(self) -> None:
        """Take over what this role told before the restart; tried again where the ledger cannot be read now."""
        if self._loaded:
            return
        try:
            with self._ledger.read() as tx:
                before = read_causes(tx, self._role)
        except LedgerError:
            return
        self._loaded = True
        self._written = encode(before) if before else ""
        now = self._clock.market_now()
        for told in before:
            known = self._mine.get(told.cause)
            self._alarmed.add(told.cause)
            if known is None:
                self._mine[told.cause] = replace(told, ended=now if told.ended is None else told.ended)
            else:
                self._mine[told.cause] = replace(known, since=told.since)

    def _let_go(self, clean_at: Millis | None) -> None:
        for told in [told for told in self._mine.values() if not counts(told, clean_at)]:
            del self._mine[told.cause]
            if told.cause in self._alarmed:
                self._alarmed.discard(told.cause)
                self._ended.append(told)

    def _text(self) -> str:
        shared = [told for told in self._mine.values() if not TABLE[told.cause].local]
        return encode(shared) if shared else ""

    def _write(self) -> None:
        text = self._text()
        try:
            with self._ledger.write() as tx:
                if text != self._written:
                    tx.set_fact(causes_fact(self._role), text or None)
                found = self._latched(tx)
                if found.mode is not found.told:
                    _tell(tx, found, self._clock.market_now())
        except LedgerError:
            self._alarm_unwritten()
            return
        self._written = text
        if found.mode is not found.told:
            self._notifier.alert(*_alert(found))
            self._alarmed.update(told.cause for told in self._mine.values())
        if found.mode is Mode.NORMAL:
            self._ended.clear()  # whoever told of NORMAL has said that every cause has ended
        self._call_by_name()

    def _call_by_name(self) -> None:
        """Tell what began or ended while the mode stayed a lesser one."""
        for told in self.told():
            row = TABLE[told.cause]
            if row.called and told.cause not in self._alarmed:
                self._alarmed.add(told.cause)
                self._notifier.alert(*_by_name(told))
        for told in self._ended:
            if TABLE[told.cause].called:
                detail = f"it has ended, and what stands beside it is shown by `dtms mode`; it was: {told.detail}"
                self._notifier.alert(AlertKind.MODE, f"{told.cause} ended", detail)
        self._ended.clear()

    def _latched(self, tx: LedgerWrite) -> Modes:
        """Return what the ledger says now; where a cause of this process asks for it, the halt is latched first."""
        found = read_modes(tx)
        if found.halt is None:
            worst_mine = next((c for c in self._mine.values() if TABLE[c.cause].by_hand and c.ended is None), None)
            if worst_mine is not None:
                tx.set_fact(HALT_FACT, encode((worst_mine,)))
                return read_modes(tx)
        return found

    def _alarm_unwritten(self) -> None:
        """Call somebody although nothing can be written: once a cause."""
        for told in self.told():
            row = TABLE[told.cause]
            if told.cause not in self._alarmed and (row.called or row.mode is not Mode.DEGRADED):
                self._alarmed.add(told.cause)
                self._notifier.alert(*_by_name(told))


def forbidden(mode: Mode, intent: Intent) -> tuple[Rejection, str] | None:
    """Say why a mode does not let an intent be sent, None where it may go."""
    if stays_planned(mode, intent):
        return Rejection.MODE, f"the system is in HALT: nothing is sent automatically; {_RESUME}"
    if mode in (Mode.PROTECT_ONLY, Mode.HALT) and risk_of(intent.action) is RiskDirection.INCREASE:
        return Rejection.MODE, f"the system is in {mode}: only what does not add risk is sent; see `dtms mode`"
    return None


def stays_planned(mode: Mode, intent: Intent) -> bool:
    """Say whether a mode leaves a planned intent where it is: in HALT all but what the kill switch closes."""
    return mode is Mode.HALT and intent.rule != flatten.RULE


def watch_journal(keeper: ModeKeeper, page: LedgerView) -> None:
    """Tell the causes that the journal itself shows: outcomes in doubt, and trades that are held in quarantine."""
    unknown = next((intent for intent in page.unfinished if intent.state is IntentState.UNKNOWN), None)
    if unknown is None:
        keeper.clear(Cause.UNKNOWN_OUTCOME)
    else:
        keeper.set(Cause.UNKNOWN_OUTCOME, f"{unknown.kind} of trade {unknown.trade_id}: {unknown.reason}")
    held_trade = next((trade for trade in page.trades if trade.hold in _QUARANTINE), None)
    if held_trade is None:
        keeper.clear(Cause.QUARANTINED)
    else:
        keeper.set(Cause.QUARANTINED, f"ticket {held_trade.ticket} is observed only: {held_trade.hold}")


def _tell(tx: LedgerWrite, found: Modes, now: Millis) -> None:
    """Write the change for the event stream, the dashboard and the audit."""
    causes = [
        {"cause": c.cause, "since": c.since, "detail": c.detail, "ended": c.ended, "role": c.role} for c in found.causes
    ]
    body = json.dumps({"mode": found.mode, "was": found.told, "causes": causes})
    tx.set_fact(TOLD_FACT, found.mode)
    tx.add_event(EventKind.MODE, None, now, body)
    tx.add_audit(at=now, actor="dtms", what="mode", trade_id=None, body=body)


def _alert(found: Modes) -> tuple[AlertKind, str, str]:
    if not found.causes:
        return AlertKind.MODE, found.mode, f"left {found.told}: every cause has ended"
    words = "; ".join(f"{c.cause}: {c.detail}.{_over(c)} {TABLE[c.cause].remedy}" for c in found.causes)
    ending = f" {_RESUME[0].upper()}{_RESUME[1:]}" if found.halt is not None else ""
    return _kind(found.mode), found.mode, f"was {found.told}; {words}{ending}"


def _by_name(told: ActiveCause) -> tuple[AlertKind, str, str]:
    row = TABLE[told.cause]
    return _kind(row.mode), f"{row.mode} {told.cause}", f"{told.detail}. {row.remedy}"


def _over(told: ActiveCause) -> str:
    return "" if told.ended is None else " It has ended and waits for a clean full reconcile."


def _kind(mode: Mode) -> AlertKind:
    return AlertKind.HALT if mode is Mode.HALT else AlertKind.MODE

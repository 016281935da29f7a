"""Laws of what the ledger says, checked whenever somebody has written: I8, I10, I18, and who may plan."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import bindparam, select

from dtms.adapters.sql.schema import INTENTS, TRANSITIONS
from dtms.app.views.trade_cache import KILL_FACT
from dtms.domain.intent import Intent, Planner
from dtms.domain.trade import Trade, TradeState
from dtms.domain.transitions import ROWS, TABLE, PlanKind
from dtms.domain.units import SECOND, Millis
from dtms.domain.verdict import KillLevel
from dtms_lab.drill.record import Record

_STALE_MS: Final = 65 * SECOND
"""The longest that a quote may be believed, and the length of a step in which its reader was interrupted."""
_REQUIRED: Final = (PlanKind.PARTIAL, PlanKind.HEDGE, PlanKind.CLOSE)
_DONE: Final = ("APPLIED", "PARTIAL")

_SHOWN: Final = ("id", "trade_id", "row", "source", "target", "version", "decision_id", "fallbacks", "plan")
_NEW_TRANSITIONS: Final = (
    select(*(TRANSITIONS.c[name] for name in _SHOWN))
    .where(TRANSITIONS.c.id > bindparam("after"))
    .order_by(TRANSITIONS.c.id)
)
_STATES_OF: Final = select(INTENTS.c.state).where(
    INTENTS.c.trade_id == bindparam("trade_id"), INTENTS.c.decision_id == bindparam("decision_id")
)


@dataclass(slots=True)
class LedgerLaws:
    """Judges what was written."""

    record: Record
    rows: Counter[str] = field(default_factory=Counter)
    _last: int = 0
    _states: dict[str, tuple[TradeState, int]] = field(default_factory=dict)
    _versions: dict[str, tuple[int, tuple[object, ...]]] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    _paused: bool = False
    _priced: list[tuple[Intent, str, Millis, Millis]] = field(default_factory=list)
    """What was planned on a price in the turn that is under way: by whom, when, and of when its newest price was before."""

    def written(self) -> None:
        """Check what was written since the last time."""
        for trade in self.record.open:
            self._versioned(trade)
        with self.record.disk().ledger.read() as tx:
            before, self._paused = self._paused, tx.fact(KILL_FACT) == KillLevel.PAUSE.value
        for intent in self.record.unfinished:
            if intent.intent_id not in self._known:
                self._known.add(intent.intent_id)
                self._planned(intent)
                if intent.owner is Planner.EXITS and before and self._paused:
                    detail = f"{intent.rule} of {intent.trade_id} was planned while the kill switch says pause"
                    self.record.report("I18 no exits at pause", detail)
        for row in self.record.disk().rows(_NEW_TRANSITIONS, after=self._last):
            self._transition(*row)

    def _transition(
        self,
        number: int,
        trade_id: str,
        name: str,
        source: str,
        target: str,
        version: int,
        decision_id: str,
        fallbacks: str,
        plan: str,
    ) -> None:
        """I10: declared rows only, each from where the last one led, CLOSED absorbs, versions grow."""
        self._last = number
        self.rows[name] += 1
        row = ROWS.get(name)
        pair = (TradeState(source), TradeState(target))
        if pair not in TABLE or row is None or (row.source, row.target) != pair:
            detail = f"trade {trade_id}: row {name} from {source} to {target} is not declared"
            self.record.report("I10 transitions", detail)
            return
        before, last = self._states.get(trade_id, (TradeState.HEALTHY, 0))
        if before is not pair[0]:
            detail = f"trade {trade_id}: {name} leaves {source}, the trade was {before}"
            self.record.report("I10 transitions", detail)
        if version <= last:
            self.record.report("I10 transitions", f"trade {trade_id}: version {version} after {last}")
        self._states[trade_id] = (pair[1], version)
        if row.plan in _REQUIRED and plan and fallbacks == "[]":
            self._done_before_said(trade_id, name, decision_id)

    def _done_before_said(self, trade_id: str, name: str, decision_id: str) -> None:
        """I10: a state is shown once its required action is done, or its fallback is named."""
        found = self.record.disk().rows(_STATES_OF, trade_id=trade_id, decision_id=decision_id)
        states = [str(row[0]) for row in found]
        if not any(state in _DONE for state in states):
            detail = f"trade {trade_id}: {name} was committed while its action is {', '.join(states) or 'not planned'}"
            self.record.report("I10 done before said", detail)

    def _versioned(self, trade: Trade) -> None:
        public = (trade.state, trade.pending_to, trade.ticket, trade.volume, trade.stop, trade.target, trade.legs)
        before = self._versions.get(trade.trade_id)
        if before is not None:
            version, shown = before
            if trade.version < version or (trade.version == version and public != shown):
                detail = f"trade {trade.trade_id} changed and its version went {version} to {trade.version}"
                self.record.report("I10 version", detail)
        self._versions[trade.trade_id] = (trade.version, public)

    def _planned(self, intent: Intent) -> None:
        """I6: the exits leave a defended trade alone. I8: what is decided on a price is decided on a fresh one."""
        trade = self.record.trades.get(intent.trade_id)
        if trade is None:
            return
        if intent.owner is Planner.EXITS and trade.defensive and trade.version == intent.precondition.version:
            detail = f"{intent.rule} of {intent.trade_id} was planned while it was {trade.state} to {trade.pending_to}"
            self.record.report("I6 defence first", detail)
        who = "api" if intent.owner is Planner.EXITS else "server"
        quote, accepted = self.record.sim.state.quotes.get(trade.symbol), self.record.accepted.get((who, trade.symbol))
        first = intent.step == 0 and intent.attempt == 1
        if quote is None or not first or not intent.precondition.price_based:
            return
        if accepted is None or accepted[0] != quote.at:
            return  # the newest one was taken in while it was decided: an old one that was missed counts from then on
        self._priced.append((intent, who, self.record.clock(), accepted[1]))

    def turned(self, who: str) -> None:
        """I8: judge what a process planned on a price in the turn that has just ended.

        What it has taken in by then it had when it decided: a turn begins with the quotes. Ages are by the world's clock:
        processes' own may be wrong after a reboot.
        """
        mine = [(intent, planned, at) for intent, planner, planned, at in self._priced if planner == who]
        self._priced = [each for each in self._priced if each[1] != who]
        for intent, planned, at in mine:
            trade = self.record.trades.get(intent.trade_id)
            now = None if trade is None else self.record.accepted.get((who, trade.symbol))
            age = planned - (at if now is None else now[1])
            if age > _STALE_MS:
                detail = f"{intent.rule} of {intent.trade_id} was decided on a price {age} ms old"
                self.record.report("I8 bad input", detail)

"""Laws about time: what may last only so long while the system can act (I5, I7, deadlines), and how often (I12).

`able` time counts alone: what nobody could have done is no fault of the product.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, TypeVar

from dtms.app.journal.tags import stem_of
from dtms.app.market.closures import read_closures, spans_by_symbol
from dtms.app.views.trade_cache import KILL_FACT
from dtms.domain.calendar import MarketHours
from dtms.domain.intent import IntentState
from dtms.domain.policy.machine import MachinePolicy
from dtms.domain.trade import Hold, Owner, Trade, TradeState
from dtms.domain.units import MINUTE, SECOND, Millis
from dtms.ports.notifier import AlertKind
from dtms_lab.drill.record import Record

Key = TypeVar("Key")

ORPHAN_MS: Final = 10 * SECOND
"""A hedge may outlive its main leg so long (reliability.md section 1, rule 9)."""
NAKED_MS: Final = 2 * SECOND
"""A managed position may be without a stop so long; then it is alarmed."""
_SLACK_MS: Final = 6 * SECOND
"""For a pass that fell out: a step of the drill is up to two seconds, and a process may miss a few."""
_A_STEP_MS: Final = 2 * SECOND
"""Of a longer step no more counts: each process has one turn in it, however long another one kept the clock."""
_OVERDUE_MS: Final = 2 * MINUTE
_TRIES_A_MINUTE: Final = 15
"""Of one step: a child that must be closed is tried every five seconds."""
_SENDS_A_MINUTE: Final = 40
_QUEUE: Final = 24
_FEW_TRADES: Final = 3
"""Up to so many trades the two limits hold as they are; they grow with what there was to do: a flatten ends many at once."""


@dataclass(slots=True)
class TimeLaws:
    """Judges how long things last."""

    record: Record
    machine: MachinePolicy
    _orphans: dict[int, int] = field(default_factory=dict)
    _naked: dict[int, int] = field(default_factory=dict)
    _overdue: dict[str, int] = field(default_factory=dict)
    _lived: dict[str, Millis] = field(default_factory=dict)
    """When each trade was last open, of those that were within the last minute."""

    @property
    def pressing(self) -> bool:
        """Say whether something lasts that must not last."""
        return bool(self._orphans or self._naked)

    def passed(self, able_ms: int) -> None:
        """Check after a step in which the system could act for so long."""
        for trade in self.record.open:
            self._protection(trade, able_ms)
            self._deadline(trade, able_ms)
        self._orphaned(able_ms)
        self._limits(self.record.clock())

    def _protection(self, trade: Trade, able_ms: int) -> None:
        """I5: a stop at the broker, no wider than the journal's; what others have turned round is theirs to protect."""
        record = self.record
        position = record.position(trade.identifier)
        if position is None or position.side is not trade.side or trade.owner is Owner.NONE:
            self._naked.pop(trade.identifier, None)
            return
        if position.stop is None:
            since = self._lasts(self._naked, trade.identifier, min(able_ms, _A_STEP_MS))
            silent = trade.hold is Hold.NONE and not record.alerted(trade, AlertKind.UNPROTECTED)
            if since > NAKED_MS + _SLACK_MS and silent:
                detail = f"position {trade.identifier} has had no stop for {since} ms and no alarm"
                record.report("I5 protection", detail, str(trade.identifier))
            return
        self._naked.pop(trade.identifier, None)
        tick = record.tick(trade.symbol)
        wider = trade.stop is not None and trade.side * (position.stop - trade.stop) < -0.5 * tick
        under_way = any(intent.position == trade.identifier for intent in record.unfinished)
        if wider and trade.identifier not in record.by_others and not under_way:
            detail = f"position {trade.identifier} has stop {position.stop}, the journal says {trade.stop}"
            record.report("I5 protection", detail, str(trade.identifier))

    def _deadline(self, trade: Trade, able_ms: int) -> None:
        """A state with a deadline is left once that has passed; scores and quotes are not needed for it."""
        minutes = {
            TradeState.WARNING_L2: self.machine.l2_minutes,
            TradeState.HEDGED: self.machine.hedged_minutes,
            TradeState.RECOVERING: self.machine.recovering_minutes,
        }.get(trade.state)
        waits = trade.pending is not None or trade.hold is not Hold.NONE or self._paused()
        if minutes is None or waits:
            self._overdue.pop(trade.trade_id, None)
            return
        hours = self._hours(trade.symbol)
        now = self.record.clock()
        due = hours.put_off(hours.after_open(trade.state_since, round(minutes * MINUTE)), trade.state_since, now)
        if hours.shut_at(now) or now < due:
            self._overdue.pop(trade.trade_id, None)
            return
        if self._lasts(self._overdue, trade.trade_id, able_ms) > _OVERDUE_MS:
            detail = f"trade {trade.trade_id} is still {trade.state} after more than {minutes:g} minutes"
            self.record.report("I10 deadline", detail, trade.trade_id)

    def _hours(self, symbol: str) -> MarketHours:
        """Return a symbol's hours, less what the gateway has learnt of closures: no deadline runs on in those."""
        with self.record.disk().ledger.read() as tx:
            shut = spans_by_symbol(read_closures(tx)).get(symbol, ())
        return MarketHours(self.record.sim.state.specs[symbol].asset, shut)

    def _paused(self) -> bool:
        with self.record.disk().ledger.read() as tx:
            return tx.fact(KILL_FACT) is not None

    def _lasts(self, since: dict[Key, int], key: Key, able_ms: int) -> int:
        before = since.get(key)
        since[key] = 0 if before is None else before + able_ms
        return since[key]

    def _orphaned(self, able_ms: int) -> None:
        """I7: no hedge outlives its main leg for long."""
        record = self.record
        present = {position.identifier for position in record.sim.state.positions.values()}
        orphans: set[int] = set()
        for trade_id, hedges in record.hedges.items():
            trade = record.trades.get(trade_id)
            if trade is None or trade.identifier in present:
                continue
            for hedge in hedges & present:
                orphans.add(hedge)
                since = self._lasts(self._orphans, hedge, min(able_ms, _A_STEP_MS))
                if since > ORPHAN_MS + _SLACK_MS and not self._excused(trade, hedge):
                    detail = f"hedge {hedge} outlived position {trade.identifier} by {since} ms"
                    record.report("I7 orphaned hedge", detail, str(hedge))
        self._orphans = {hedge: since for hedge, since in self._orphans.items() if hedge in orphans}

    def _excused(self, trade: Trade, hedge: int) -> bool:
        """Say whether the operator was called: the trade is held, its hedge unknown or quarantined, a step parked."""
        if trade.hold is not Hold.NONE or trade.owner is Owner.NONE:
            return True
        unsure = any(i.position == hedge and i.state is IntentState.UNKNOWN for i in self.record.unfinished)
        told = self.record.alerted(trade, AlertKind.QUARANTINED, AlertKind.PARKED)
        return unsure or told or self.record.told_orphan(hedge)

    def _limits(self, now: Millis) -> None:
        """I12: no order leaves twice, no tight loops, no queue that grows."""
        log = self.record.log
        for tag, count in log.counts.items():
            if count > 1:
                self.record.report("I12 sent once", f"tag {tag} was sent {count} times", tag)
        sent = Counter(stem_of(tag) for tag, at in log.at.items() if at > now - MINUTE)
        self._lived.update(dict.fromkeys((trade.trade_id for trade in self.record.open), now))
        self._lived = {trade_id: at for trade_id, at in self._lived.items() if at > now - MINUTE}
        few = max(1.0, len(self._lived) / _FEW_TRADES)
        if sent.total() > _SENDS_A_MINUTE * few:
            self.record.report("I12 limits", f"{sent.total()} orders were sent within a minute", "minute")
        for name, count in sent.items():
            if count > _TRIES_A_MINUTE:
                self.record.report("I12 limits", f"step {name} was tried {count} times within a minute", name)
        if len(self.record.unfinished) > _QUEUE * few:
            self.record.report("I12 limits", f"{len(self.record.unfinished)} intents are waiting", "queue")

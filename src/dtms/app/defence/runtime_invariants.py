"""The laws that stay on in production: cheap checks of what changed, and one trade held where one is broken.

A pass looks closely only at a trade whose facts differ from the last pass's; the others cost one comparison. A broken law
raises `InvariantError`: the caller holds that trade and calls its owner, and goes on with the others. That one step is
done at most once is judged where the history is read (`app.reconcile.history`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from dtms.app.evidence.proof import LOTS_NOISE
from dtms.app.journal.scan import OPENINGS, each_intent
from dtms.domain.action import SetStop
from dtms.domain.instrument import Instrument
from dtms.domain.intent import Intent, IntentState
from dtms.domain.position import DealEntry, Position, PositionsRead
from dtms.domain.trade import Hold, Owner, Trade
from dtms.domain.units import SECOND, Millis, Price, TradeId
from dtms.errors import BrokerError, InvariantError
from dtms.ports.broker import BrokerReads
from dtms.ports.ledger import Ledger, LedgerRead

PAIR_MOST: Final = 10 * SECOND
"""A hedge may be larger than what is left of its parent for so long: a hand took volume off, and the hedge follows."""

_Key = tuple[object, ...]


@dataclass(slots=True)
class _Seen:
    """One trade as the last pass found it sound."""

    key: _Key
    version: int
    stop: Price | None
    uneven_since: Millis | None = None


@dataclass(slots=True, kw_only=True)
class RuntimeInvariants:
    """Checks each pass; what it remembers of a trade is lost in a restart and gathered anew."""

    ledger: Ledger
    reads: BrokerReads
    _seen: dict[TradeId, _Seen] = field(default_factory=dict)
    _looked: dict[TradeId, _Key] = field(default_factory=dict)

    def before(self, trade: Trade, read: PositionsRead, unfinished: tuple[Intent, ...], instrument: Instrument) -> None:
        """Check that what has changed at the broker was not changed by an order that the ledger holds for undone.

        Raises:
            InvariantError: It was; a person must look at the trade.
        """
        position = read.find(trade.identifier)
        if position is None or unfinished or trade.hold is not Hold.NONE:
            return
        grew = position.volume - trade.volume > LOTS_NOISE
        same = instrument.same_price(position.stop, trade.stop)
        if same and not grew:
            return
        key = (position.volume, position.stop, trade.version)
        if self._looked.get(trade.trade_id) == key:
            return
        with self.ledger.read() as tx:
            intents = tuple(each_intent(tx, trade.trade_id))
        self._looked[trade.trade_id] = key
        if grew:
            self._grown(trade, position, intents, instrument)
        if not same:
            _late(trade, position, intents, instrument)

    def after(self, trade: Trade, read: PositionsRead, now: Millis, instrument: Instrument) -> None:
        """Check the trade as the ledger has it now.

        Raises:
            InvariantError: A law is broken; a person must look at the trade.
        """
        position = read.find(trade.identifier)
        if position is None or trade.hold is not Hold.NONE or trade.owner is Owner.NONE:
            self._seen.pop(trade.trade_id, None)
            return
        uneven = trade.hedge is not None and trade.hedge.volume - trade.volume > LOTS_NOISE
        key = (trade.version, trade.stop, trade.volume, position.stop, uneven)
        last = self._seen.get(trade.trade_id)
        if last is not None and last.key == key and not uneven:
            return
        since = (now if last is None or last.uneven_since is None else last.uneven_since) if uneven else None
        if last is None or last.key != key:
            self._seen[trade.trade_id] = _Seen(key, trade.version, trade.stop, since)
            self._versions(trade, last)
            self._stops(trade, position, last, instrument)
        lots = instrument.shown_lots
        if since is not None and now - since >= PAIR_MOST and trade.hedge is not None:
            self._seen[trade.trade_id] = replace(self._seen[trade.trade_id], uneven_since=now)
            raise _broken(
                trade, f"its hedge of {lots(trade.hedge.volume)} is larger than the {lots(trade.volume)} that are left"
            )

    def _grown(self, trade: Trade, position: Position, intents: tuple[Intent, ...], instrument: Instrument) -> None:
        opening = {i.tag for i in intents if isinstance(i.action, OPENINGS)}
        others = {intent.tag for intent in intents} - opening
        try:
            deals = self.reads.deals(trade.identifier)
        except BrokerError:
            self._looked.pop(trade.trade_id)  # asked again on the next pass
            return
        ours = next((deal for deal in deals if deal.entry is DealEntry.IN and deal.comment in others), None)
        if ours is not None:
            lots = instrument.shown_lots
            grew = f"{lots(trade.volume)} has become {lots(position.volume)}"
            raise _broken(trade, f"our order {ours.comment} made it larger: {grew}")

    def _versions(self, trade: Trade, last: _Seen | None) -> None:
        if last is not None and trade.version < last.version:
            raise _broken(trade, f"its version fell from {last.version} to {trade.version}")

    def _stops(self, trade: Trade, position: Position, last: _Seen | None, instrument: Instrument) -> None:
        """Check that the stop has its record, and that nothing but a hand or a flagged widening has loosened it."""
        with self.ledger.read() as tx:
            present = tx.trade_by_id(trade.trade_id)
            if present is None or present.seq != trade.seq or tx.unfinished(trade.trade_id):
                self._seen.pop(trade.trade_id)  # looked at when nothing is on its way
                return
            records = [record for record in tx.stops(trade.trade_id) if record.position == trade.identifier]
            loosened = last is not None and _loosened(trade, last.stop, instrument)
            excused = not loosened or any(
                record.rule in ("by_hand", "confirmed") or _widens(tx, record.intent_id)
                for record in records
                if instrument.same_price(record.new, trade.stop)
            )
        level = instrument.shown_level
        if not any(instrument.same_price(record.new, position.stop) for record in records):
            raise _broken(trade, f"its stop {level(position.stop)} at the broker has no record")
        if not excused:
            was = None if last is None else last.stop
            raise _broken(trade, f"its stop was loosened from {level(was)} to {level(trade.stop)} without a grant")


def _late(trade: Trade, position: Position, intents: tuple[Intent, ...], instrument: Instrument) -> None:
    """Raise where a looser stop is exactly what an order asked for that is held for not applied."""
    if position.stop is None or trade.stop is None or not instrument.is_tighter(trade.side, trade.stop, position.stop):
        return
    for intent in intents:
        action = intent.action
        late = intent.state is IntentState.NOT_APPLIED and intent.position == trade.identifier
        if late and isinstance(action, SetStop) and instrument.same_price(action.stop, position.stop):
            stop = instrument.shown(position.stop)
            raise _broken(trade, f"order {intent.intent_id}, held for not applied, has set its stop to {stop}")


def _loosened(trade: Trade, before: Price | None, instrument: Instrument) -> bool:
    if before is None or instrument.same_price(before, trade.stop):
        return False
    return trade.stop is None or instrument.is_tighter(trade.side, before, trade.stop)


def _widens(tx: LedgerRead, intent_id: str | None) -> bool:
    intent = None if intent_id is None else tx.intent(intent_id)
    return intent is not None and isinstance(intent.action, SetStop) and intent.action.widens


def _broken(trade: Trade, what: str) -> InvariantError:
    return InvariantError(
        f"ticket {trade.ticket}: {what}; compare it with the broker, then: dtms confirm {trade.ticket}"
    )

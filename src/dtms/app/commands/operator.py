"""What only a person may decide: that a held trade is right as it is, that a position is not ours, what an order has done.

Nothing is sent from here. The broker's facts are taken as they are read now; every decision is audited.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Final

from dtms.app.commands.registration import RefusalKind, RegistrationRefusedError
from dtms.app.journal import journal
from dtms.app.journal.scan import OPENINGS
from dtms.app.market.market_data import MarketData
from dtms.app.positions.legs import with_leg_facts
from dtms.app.positions.naked import with_naked
from dtms.app.positions.recognise import another
from dtms.app.positions.seen_stop import stop_seen
from dtms.app.reconcile.outcome import last_outcome
from dtms.app.reconcile.position_origin import LET_GO_FACT, Orphan, let_go
from dtms.core import settle
from dtms.core.settle import SettleContext
from dtms.domain.action import OpenTrade
from dtms.domain.intent import Intent, IntentState
from dtms.domain.position import Deal, DealEntry, Position, PositionsRead
from dtms.domain.receipt import Outcome, Receipt
from dtms.domain.rules import StopOrigin
from dtms.domain.trade import Hold, Trade
from dtms.domain.units import DAY, Lots, Millis, Price, Ticket
from dtms.ports.broker import BrokerReads
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger

_MOST_LET_GO: Final = 1_000


@dataclass(slots=True, kw_only=True)
class Person:
    """Writes a person's decisions about one account."""

    ledger: Ledger
    reads: BrokerReads
    clock: Clock
    desk: MarketData

    def confirm(self, ticket: Ticket, *, actor: str) -> Trade:
        """Lift the hold of a trade, with what the broker shows of it now; a trade that is not held is left as it is.

        A plan under way was made for other facts: a closing is planned anew, any other is dropped and decided again.
        The broker's entry is taken where somebody has added volume; R, the first risk, stays. A child for whose absence it was
        held, and which is not in this read either, is taken for gone.

        Raises:
            RegistrationRefusedError: Unknown trade; not open at the broker in this read; another side or symbol there; an
                order is on its way.
            BrokerUnavailableError: The broker could not be asked; nothing was written.
        """
        read = self.reads.positions()
        now = self.clock.market_now()
        with self.ledger.write() as tx:
            trade = tx.trade(ticket)
            if trade is None or not trade.is_open:
                raise RegistrationRefusedError(RefusalKind.TRADE_UNKNOWN, f"ticket {ticket} is not managed")
            if trade.hold is Hold.NONE:
                return trade
            position = read.find(trade.identifier)
            if position is None:
                detail = (
                    f"ticket {ticket} is not open at the broker in this read; release it where it is closed for good"
                )
                raise RegistrationRefusedError(RefusalKind.NOT_OPEN, detail, "ticket")
            _check_same(trade, position, read)
            if any(intent.state is not IntentState.PLANNED for intent in tx.unfinished(trade.trade_id)):
                detail = f"an order of ticket {ticket} is on its way; ask again when it is decided"
                raise RegistrationRefusedError(RefusalKind.ON_ITS_WAY, detail)
            journal.cancel_plan(tx, trade, now)
            right = settle.replanned(_as_seen(trade, position, read, now), now)
            saved = tx.save_trade(replace(right, version=trade.version + 1))
            tx.add_stop(stop_seen(trade, position, now, rule=StopOrigin.CONFIRMED))
            journal.tell_state(tx, saved, now, row="confirmed")
            body = {"ticket": saved.ticket, "hold": trade.hold, "volume": saved.volume, "stop": saved.stop}
            tx.add_audit(at=now, actor=actor, what="confirmed", trade_id=saved.trade_id, body=json.dumps(body))
        return saved

    def let_go(self, ticket: Ticket, *, actor: str) -> Orphan:
        """Say that a position in our name, which the ledger does not know, is not ours: it is foreign from now on.

        Raises:
            RegistrationRefusedError: No such position is waiting for a decision.
        """
        with self.ledger.write() as tx:
            outcome = last_outcome(tx)
            orphans = () if outcome is None else outcome.orphans
            orphan = next((each for each in orphans if each.ticket == ticket), None)
            if orphan is None:
                raise RegistrationRefusedError(RefusalKind.TRADE_UNKNOWN, f"ticket {ticket} is not managed")
            known = [*sorted(let_go(tx) - {orphan.identifier}), orphan.identifier]
            tx.set_fact(LET_GO_FACT, json.dumps(known[-_MOST_LET_GO:]))
            body = json.dumps({"ticket": ticket, "identifier": orphan.identifier, "why": orphan.why})
            tx.add_audit(at=self.clock.market_now(), actor=actor, what="let_go", trade_id=None, body=body)
        return orphan

    def settle(self, intent_id: str, *, applied: bool, ticket: Ticket | None, actor: str) -> Intent:
        """Say what a quarantined order has done at the broker.

        Args:
            intent_id: The order.
            applied: Whether the broker has carried it out.
            ticket: Of an opening whose comment was lost: the position that it has opened, where it is open still.
            actor: Who says so, for the audit.

        Raises:
            RegistrationRefusedError: There is no such quarantined order, or the broker shows something else.
            BrokerUnavailableError: The broker could not be asked; nothing was written.
        """
        with self.ledger.read() as tx:
            intent = tx.intent(intent_id)
            trade = None if intent is None else tx.trade_by_id(intent.trade_id)
        if intent is None:
            raise RegistrationRefusedError(RefusalKind.INTENT_UNKNOWN, f"there is no order {intent_id}")
        if intent.state is not IntentState.QUARANTINED:
            detail = f"order {intent_id} is {intent.state}; only a quarantined one waits for a person"
            raise RegistrationRefusedError(RefusalKind.NOT_QUARANTINED, detail)
        opened = self._opened(intent, ticket) if isinstance(intent.action, OPENINGS) else None
        if opened is not None and not applied:
            detail = f"position {opened.position} carries the mark of order {intent_id}: it was applied"
            raise RegistrationRefusedError(RefusalKind.OTHERWISE, detail, "applied")
        if applied and opened is None and intent.position is None:
            detail = f"the broker shows no position of order {intent_id}; name it by its ticket"
            raise RegistrationRefusedError(RefusalKind.OTHERWISE, detail, "ticket")
        scene = self._scene(intent, trade)
        with self.ledger.write() as tx:
            return journal.settle_by_hand(tx, intent, applied=applied, receipt=opened, scene=scene, actor=actor)

    def _scene(self, intent: Intent, trade: Trade | None) -> SettleContext:
        symbol = intent.action.symbol if isinstance(intent.action, OpenTrade) else "" if trade is None else trade.symbol
        now = self.clock.market_now()
        desk = self.desk.symbol(symbol, now)
        return SettleContext(now=now, instrument=desk.instrument, hours=desk.hours, policy=desk.policy)

    def _opened(self, intent: Intent, ticket: Ticket | None) -> Receipt | None:
        """Return what an opening has opened, by its mark or by the ticket that the person names; None where nothing shows."""
        read = self.reads.positions()
        if ticket is not None:
            named = next((p for p in read.positions if p.ticket == ticket), None)
            side = getattr(intent.action, "side", None)
            if named is None or named.side is not side:
                detail = f"ticket {ticket} is not open at the broker, or is not what order {intent.intent_id} asked for"
                raise RegistrationRefusedError(RefusalKind.OTHERWISE, detail, "ticket")
            return _receipt(named.ticket, named.identifier, named.volume, named.entry)
        found = next((p for p in read.positions if p.comment == intent.tag), None)
        if found is not None:
            return _receipt(found.ticket, found.identifier, found.volume, found.entry)
        since = Millis(intent.created_at - DAY)
        deals = self.reads.deals_between(since, Millis(self.clock.market_now() + DAY))
        return _by_deals([d for d in deals if d.comment == intent.tag and d.entry is DealEntry.IN])


def _receipt(ticket: int, identifier: int, volume: float, price: float) -> Receipt:
    return Receipt(outcome=Outcome.APPLIED, code=0, ticket=ticket, position=identifier, filled=volume, price=price)


def _by_deals(deals: list[Deal]) -> Receipt | None:
    filled = sum(deal.volume for deal in deals)
    if filled <= 0:
        return None
    price = sum(deal.volume * deal.price for deal in deals) / filled
    return _receipt(deals[0].position, deals[0].position, filled, price)


def _check_same(trade: Trade, position: Position, read: PositionsRead) -> None:
    """Refuse to take another position for the trade, or for one of its children."""
    legs = [(leg, read.find(leg.identifier)) for leg in trade.legs]
    pairs = [(None, position), *((leg, shown) for leg, shown in legs if shown is not None)]
    wrong = next((shown for leg, shown in pairs if another(trade, leg, shown)), None)
    if wrong is not None:
        detail = (
            f"the broker shows a {wrong.side.name} of {wrong.symbol} as position {wrong.identifier}: that is not the trade "
            f"any more; release it: dtms release {trade.ticket}"
        )
        raise RegistrationRefusedError(RefusalKind.CONFLICT, detail, "ticket")


def _as_seen(trade: Trade, position: Position, read: PositionsRead, now: Millis) -> Trade:
    averaged = trade.hold in (Hold.ENTRY, Hold.VOLUME_ADDED)
    lost = {each.identifier for each in trade.missing} if trade.hold is Hold.QUARANTINED else set[int]()
    legs = tuple(leg for leg in trade.legs if leg.identifier not in lost or read.find(leg.identifier) is not None)
    shown = replace(
        with_leg_facts(replace(trade, legs=legs), read),
        entry=position.entry if averaged else trade.entry,
        shown_entry=None if averaged else trade.shown_entry,
        ticket=position.ticket,
        volume=Lots(position.volume),
        stop=None if position.stop is None else Price(position.stop),
        target=None if position.target is None else Price(position.target),
        hold=Hold.NONE,
    )
    return with_naked(shown, position, now)

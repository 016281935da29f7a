"""Taking a position under management, and letting it go."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dtms.app.commands.registration import RefusalKind, Registered, Registration, RegistrationRefusedError
from dtms.app.commands.registration_checks import first_target, not_worked_on, same_facts, still_settable, stops
from dtms.app.journal import journal
from dtms.app.market.market_data import MarketData, SymbolMarket
from dtms.app.positions.recognise import another
from dtms.app.positions.seen_stop import stop_seen
from dtms.domain.action import CloseHedge, SetStop
from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.position import DealEntry, Position
from dtms.domain.rules import CommandRule, StopOrigin
from dtms.domain.trade import Owner, Trade, TradeState
from dtms.domain.units import Lots, Millis, Price, Ticket, TradeId
from dtms.errors import MarketDataError, NotEnoughBarsError, StaleDataError, StaleWriteError
from dtms.ports.broker import BrokerReads
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger, LedgerWrite


@dataclass(slots=True, kw_only=True)
class Registry:
    """Registers and releases trades of one account."""

    ledger: Ledger
    reads: BrokerReads
    clock: Clock
    desk: MarketData
    advisory: bool

    def register(self, wanted: Registration) -> Registered:
        """Take a position under management.

        A position without a stop gets an intent for it in the same transaction; the trade is protected once that is
        applied (`protected`). The stop that is at the broker is kept where it is tighter than the given one.

        Raises:
            RegistrationRefusedError: It cannot be; nothing was written.
            BrokerUnavailableError: The broker could not be asked; nothing was written.
        """
        account = self.reads.account()
        with self.ledger.read() as tx:
            before_read = tx.unfinished()
        position = self._position(wanted)
        known = self._known(wanted, position)
        now = self.clock.market_now()
        if known is not None:
            if position.stop is None and known.trade.stop is None:
                still_settable(wanted, known.trade, position, self._desk(wanted.symbol, now))
            return known
        not_worked_on(position, before_read, hedging=account.hedging)
        desk = self._desk(wanted.symbol, now)
        initial, stop = stops(wanted, position, desk)
        trade = self._trade(wanted, position, initial, desk, now)
        if not account.hedging:
            self._check_netting(trade)
        target = first_target(wanted, position, desk)
        opened = self.reads.deals(position.identifier)  # before the transaction: nobody waits for the broker in it
        try:
            with self.ledger.write() as tx:
                # Of both looks: an order that ended after the position was read, and one that began meanwhile.
                not_worked_on(position, tx.unfinished(), hedging=account.hedging)
                before = tx.trade(position.ticket)
                if before is not None:
                    # Managed and released before: whoever remembers that version must not take this one for older.
                    trade = replace(trade, version=before.version + 1)
                tx.add_trade(trade)
                tx.add_deals(opened)
                tx.add_stop(replace(stop_seen(trade, position, now, rule=StopOrigin.ADOPTED), old=None))
                there = position.stop is not None and desk.instrument.same_price(position.stop, stop)
                if not there or not desk.instrument.same_price(position.target, target):
                    tx.add_intent(_first_stop(trade, stop, target, now, desk))
                journal.tell_state(tx, trade, now, row="registered")
        except StaleWriteError:
            known = self._known(wanted, position)
            if known is None:
                raise
            return known
        return Registered(trade=trade, already=False)

    def protected(self, ticket: Ticket) -> bool:
        """Say whether a registered trade's stop has been read back from the broker."""
        with self.ledger.read() as tx:
            trade = tx.trade(ticket)
        if trade is None:
            return False
        position = self.reads.positions().find(trade.identifier)
        return position is not None and position.stop is not None

    def release(self, ticket: Ticket, *, force: bool = False) -> bool:
        """Stop managing a trade; the stop at the broker stays. False where an open hedge must be closed first.

        With `force` and an open hedge, its closing is written and the caller asks again once it is done.

        Raises:
            RegistrationRefusedError: Unknown trade, or a hedge is open and `force` was not given.
        """
        now = self.clock.market_now()
        with self.ledger.write() as tx:
            trade = tx.trade(ticket)
            if trade is None or not trade.is_open:
                raise RegistrationRefusedError(RefusalKind.TRADE_UNKNOWN, f"ticket {ticket} is not managed")
            hedge = trade.hedge
            if hedge is None:
                _let_go(tx, trade, now)
                return True
            if not force:
                raise RegistrationRefusedError(
                    RefusalKind.HEDGE_OPEN, f"ticket {ticket} has an open hedge; close it first or ask with force=true"
                )
            intent = journal.new_intent(
                trade,
                CloseHedge(ticket=trade.ticket, hedge=hedge.ticket),
                decision_id=f"release:{hedge.identifier}",
                owner=Planner.COMMAND,
                rule=CommandRule.RELEASE,
                now=now,
                priced_expiry_s=60,
            )
            tx.add_intent(intent)
        return False

    def _position(self, wanted: Registration) -> Position:
        found = next((p for p in self.reads.positions().positions if p.ticket == wanted.ticket), None)
        if found is None:
            raise RegistrationRefusedError(
                RefusalKind.NOT_OPEN, f"ticket {wanted.ticket} is not open at the broker", "ticket"
            )
        return found

    def _known(self, wanted: Registration, position: Position) -> Registered | None:
        with self.ledger.read() as tx:
            trade = tx.trade(wanted.ticket)
        if trade is None or not trade.is_open:
            return None
        if not same_facts(wanted, trade, position) or another(trade, None, position):
            raise RegistrationRefusedError(
                RefusalKind.CONFLICT, f"ticket {wanted.ticket} is managed already with other facts", "ticket"
            )
        return Registered(trade=trade, already=True)

    def _desk(self, symbol: str, now: Millis) -> SymbolMarket:
        try:
            desk = self.desk.symbol(symbol, now)
            self.desk.quote(symbol, now)
        except (StaleDataError, NotEnoughBarsError) as error:  # not there yet: that passes
            raise RegistrationRefusedError(RefusalKind.NOT_READY, str(error)) from error
        except MarketDataError as error:
            raise RegistrationRefusedError(RefusalKind.INVALID, str(error), "symbol") from error
        return desk

    def _trade(
        self, wanted: Registration, position: Position, initial: Price, desk: SymbolMarket, now: Millis
    ) -> Trade:
        return Trade(
            trade_id=self._free_id(position),
            ticket=position.ticket,
            identifier=position.identifier,
            symbol=position.symbol,
            side=position.side,
            entry=position.entry,
            initial_volume=Lots(position.volume),
            initial_stop=initial,
            r=abs(position.entry - initial),
            volume=Lots(position.volume),
            stop=None if position.stop is None else Price(position.stop),
            target=None if position.target is None else Price(position.target),
            state=TradeState.HEALTHY,
            state_since=now,
            version=1,
            owner=Owner.NONE if self.advisory else Owner.SHARED,
            registered_at=now,
            profile=wanted.profile,
            bars_in_state=desk.policy.machine.dwell_bars,
            naked_since=now if position.stop is None else None,
            calibrated=desk.policy.regime.base(desk.instrument.canonical) is not None,
            commission_per_lot=self._commission(position, desk),
        )

    def _free_id(self, position: Position) -> TradeId:
        """Return the key of a new trade: the identifier, numbered where the position was managed and released before."""
        with self.ledger.read() as tx:
            first = TradeId(str(position.identifier))
            ids = (first, *(TradeId(f"{first}.{number}") for number in range(2, 1_000)))
            return next(trade_id for trade_id in ids if tx.trade_by_id(trade_id) is None)

    def _commission(self, position: Position, desk: SymbolMarket) -> float:
        """Return what opening and closing one lot cost: twice the opening's commission, as the broker charged it."""
        opened = [deal for deal in self.reads.deals(position.identifier) if deal.entry is DealEntry.IN]
        lots = sum(deal.volume for deal in opened)
        if lots <= 0:
            return desk.policy.operation.account_commission_per_lot
        charged = -2.0 * sum(deal.commission for deal in opened) / lots
        return charged if charged > 0 else desk.policy.operation.account_commission_per_lot

    def _check_netting(self, trade: Trade) -> None:
        with self.ledger.read() as tx:
            taken = next((other for other in tx.open_trades() if other.symbol == trade.symbol), None)
        if taken is not None:
            raise RegistrationRefusedError(
                RefusalKind.SYMBOL_TAKEN,
                f"{trade.symbol} has a managed trade already ({taken.ticket}): the account nets",
            )


def _first_stop(trade: Trade, stop: Price, target: Price | None, now: Millis, desk: SymbolMarket) -> Intent:
    action = SetStop(ticket=trade.ticket, stop=stop, target=target)
    return journal.new_intent(
        trade,
        action,
        decision_id="register",
        owner=Planner.COMMAND,
        rule=CommandRule.FIRST_STOP,
        now=now,
        priced_expiry_s=desk.policy.operation.priced_expiry_s,
    )


def _let_go(tx: LedgerWrite, trade: Trade, now: Millis) -> None:
    """Write that a trade without a hedge is managed no more; what was planned for it is not sent."""
    waiting = tx.unfinished(trade.trade_id)
    if any(intent.state is not IntentState.PLANNED for intent in waiting):
        raise RegistrationRefusedError(
            RefusalKind.ON_ITS_WAY,
            f"an order of ticket {trade.ticket} is on its way; ask again when it is decided",
        )
    for intent in waiting:
        journal.cancel(tx, intent, trade, now, reason="released")
    tx.delete_exit_book(trade.ticket)
    released = tx.save_trade(_released(trade, now))
    journal.tell_state(tx, released, now, row="released")


def _released(trade: Trade, now: Millis) -> Trade:
    return replace(
        trade,
        state=TradeState.CLOSED,
        pending=None,
        owner=Owner.NONE,
        closed_at=now,
        close_reason="released",
        version=trade.version + 1,
    )

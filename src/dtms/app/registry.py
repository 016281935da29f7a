"""Taking a position under management, and letting it go."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from dtms.app import journal
from dtms.app.market_desk import MarketDesk, SymbolDesk
from dtms.domain.action import CloseHedge, SetStop
from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.position import DealEntry, Position
from dtms.domain.records import StopRecord
from dtms.domain.trade import Owner, Trade, TradeState
from dtms.domain.units import Lots, Millis, Price, Side, Ticket, TradeId
from dtms.errors import DtmsError, MarketDataError, StaleWriteError
from dtms.ports.broker import BrokerReads
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger

_PRICE_TOLERANCE_TICKS = 1.5
"""How far the caller's entry may lie from the broker's own: a rounding apart, never another trade."""


class RefusalKind(StrEnum):
    """Why a registration is refused; each is one answer of the API."""

    NOT_OPEN = "position_not_open"
    CONFLICT = "conflict"
    SYMBOL_TAKEN = "symbol_taken"
    RISK_UNKNOWN = "risk_unknown"
    WRONG_SIDE = "stop_on_wrong_side"
    INVALID = "invalid"
    NOT_READY = "not_ready"
    UNKNOWN_PROFILE = "profile_unknown"
    HEDGE_OPEN = "hedge_open"
    ON_ITS_WAY = "intent_on_its_way"
    TRADE_UNKNOWN = "trade_unknown"
    INTENT_UNKNOWN = "intent_unknown"
    NOT_QUARANTINED = "not_quarantined"
    OTHERWISE = "broker_shows_otherwise"


class RegistrationRefusedError(DtmsError):
    """A registration or release that cannot be; `field` names what to change."""

    def __init__(self, kind: RefusalKind, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.kind = kind
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a caller says about a position; the broker is asked for everything that it can tell."""

    ticket: Ticket
    symbol: str
    side: Side
    entry: float
    volume: float
    stop: float | None
    initial_stop: float | None = None
    target: float | None = None
    profile: str = "intraday"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The trade, and whether it had been there before."""

    trade: Trade
    already: bool


@dataclass(slots=True, kw_only=True)
class Registry:
    """Registers and releases trades of one account."""

    ledger: Ledger
    reads: BrokerReads
    clock: Clock
    desk: MarketDesk
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
        position = self._position(wanted)
        known = self._known(wanted, position)
        if known is not None:
            return known
        now = self.clock.market_now()
        desk = self._desk(wanted.symbol, now)
        initial, stop = self._stops(wanted, position, desk)
        trade = self._trade(wanted, position, initial, desk, now)
        if not account.hedging:
            self._check_netting(trade)
        target = self._first_target(wanted, position, desk)
        opened = self.reads.deals(position.identifier)  # before the transaction: nobody waits for the broker in it
        try:
            with self.ledger.write() as tx:
                before = tx.trade(position.ticket)
                if before is not None:
                    # Managed and released before: whoever remembers that version must not take this one for older.
                    trade = replace(trade, version=before.version + 1)
                tx.add_trade(trade)
                tx.add_deals(opened)
                tx.add_stop(_adopted(trade, position, now))
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
                waiting = tx.unfinished(trade.trade_id)
                if any(intent.state is not IntentState.PLANNED for intent in waiting):
                    raise RegistrationRefusedError(
                        RefusalKind.ON_ITS_WAY,
                        f"an order of ticket {ticket} is on its way; ask again when it is decided",
                    )
                for intent in waiting:
                    if intent.state is IntentState.PLANNED:
                        gone = replace(intent, state=IntentState.CANCELLED, reason="released", settled_at=now)
                        tx.save_intent(gone, expected=IntentState.PLANNED)
                tx.delete_exit_book(trade.ticket)
                released = tx.save_trade(_released(trade, now))
                journal.tell_state(tx, released, now, row="released")
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
                rule="command.release",
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
        same = (
            trade.symbol == wanted.symbol
            and trade.side is wanted.side
            and _close(trade.entry, wanted.entry)
            and (wanted.initial_stop is None or _close(trade.initial_stop, wanted.initial_stop))
            and trade.identifier == position.identifier
        )
        if not same:
            raise RegistrationRefusedError(
                RefusalKind.CONFLICT, f"ticket {wanted.ticket} is managed already with other facts", "ticket"
            )
        return Registered(trade=trade, already=True)

    def _desk(self, symbol: str, now: Millis) -> SymbolDesk:
        try:
            desk = self.desk.symbol(symbol, now)
            self.desk.quote(symbol, now)
        except MarketDataError as error:
            raise RegistrationRefusedError(RefusalKind.INVALID, str(error), "symbol") from error
        return desk

    def _stops(self, wanted: Registration, position: Position, desk: SymbolDesk) -> tuple[Price, Price]:
        """Return the initial stop, which fixes R, and the stop that the position shall have at the broker."""
        instrument, side = desk.instrument, wanted.side
        self._check_facts(wanted, position, desk)
        given = wanted.stop if wanted.stop is not None else position.stop
        if given is None:
            raise RegistrationRefusedError(
                RefusalKind.INVALID, "a stop_loss is required: the position has none", "stop_loss"
            )
        stop = instrument.stop(side, given)
        if position.stop is not None and instrument.is_tighter(side, position.stop, stop):
            stop = Price(position.stop)
        quote = desk.feed.last
        if quote is None:
            raise RegistrationRefusedError(RefusalKind.NOT_READY, f"there is no quote of {wanted.symbol} yet")
        there = position.stop is not None and instrument.same_price(stop, position.stop)
        distance = side * (quote.executable(side) - stop)
        if distance < max(instrument.stops_level, instrument.tick_size) and not (there and distance > 0):
            raise RegistrationRefusedError(
                RefusalKind.WRONG_SIDE,
                f"stop_loss {stop} must lie on the losing side of {quote.executable(side)} by {instrument.stops_level:g}",
                "stop_loss",
            )
        initial = self._initial_stop(wanted, position, stop, desk)
        self._check_r(abs(position.entry - initial), desk, quote.spread)
        return initial, stop

    def _check_facts(self, wanted: Registration, position: Position, desk: SymbolDesk) -> None:
        instrument = desk.instrument
        if (position.symbol, position.side) != (wanted.symbol, wanted.side):
            detail = f"ticket {wanted.ticket} is a {position.side.name} of {position.symbol} at the broker"
            raise RegistrationRefusedError(RefusalKind.CONFLICT, detail, "direction")
        if abs(position.entry - wanted.entry) > _PRICE_TOLERANCE_TICKS * instrument.tick_size:
            detail = f"ticket {wanted.ticket} was opened at {position.entry}, not at {wanted.entry}"
            raise RegistrationRefusedError(RefusalKind.CONFLICT, detail, "entry")
        if not instrument.same_lots(position.volume, wanted.volume):
            detail = f"ticket {wanted.ticket} has {position.volume} lots, not {wanted.volume}"
            raise RegistrationRefusedError(RefusalKind.CONFLICT, detail, "volume")
        for field, value in (("stop_loss", wanted.stop), ("initial_stop", wanted.initial_stop)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise RegistrationRefusedError(RefusalKind.INVALID, f"{field} must be a positive price", field)
        if wanted.profile not in desk.policy.exits.names:
            names = ", ".join(desk.policy.exits.names)
            raise RegistrationRefusedError(
                RefusalKind.UNKNOWN_PROFILE, f"there is no such profile; known: {names}", "profile"
            )

    def _initial_stop(self, wanted: Registration, position: Position, stop: Price, desk: SymbolDesk) -> Price:
        given = wanted.initial_stop
        initial = stop if given is None else desk.instrument.nearest(given)
        if wanted.side * (position.entry - initial) <= 0:
            raise RegistrationRefusedError(
                RefusalKind.RISK_UNKNOWN,
                f"initial_stop {initial} is not on the losing side of the entry {position.entry}; give the first stop",
                "initial_stop",
            )
        return initial

    def _check_r(self, r: float, desk: SymbolDesk, spread: float) -> None:
        atr = desk.atr
        least = max(2 * spread, 0.25 * atr if atr is not None else 0.0)
        if r < least:
            raise RegistrationRefusedError(
                RefusalKind.RISK_UNKNOWN,
                f"R is {r:g}, less than max(2 x spread, 0.25 ATR(M15)) = {least:g}; the stop is too near",
                "initial_stop",
            )

    def _trade(self, wanted: Registration, position: Position, initial: Price, desk: SymbolDesk, now: Millis) -> Trade:
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
            calibrated=desk.view is None or desk.view.buy.regime.calibrated,
            commission_per_lot=self._commission(position, desk),
        )

    def _first_target(self, wanted: Registration, position: Position, desk: SymbolDesk) -> Price | None:
        """Return the target that the position shall have: what is at the broker stays, a missing one is put there."""
        if position.target is not None:
            return Price(position.target)
        return None if wanted.target is None else desk.instrument.nearest(wanted.target)

    def _free_id(self, position: Position) -> TradeId:
        """Return the key of a new trade: the identifier, numbered where the position was managed and released before."""
        with self.ledger.read() as tx:
            first = TradeId(str(position.identifier))
            ids = (first, *(TradeId(f"{first}.{number}") for number in range(2, 1_000)))
            return next(trade_id for trade_id in ids if tx.trade_by_id(trade_id) is None)

    def _commission(self, position: Position, desk: SymbolDesk) -> float:
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


def _first_stop(trade: Trade, stop: Price, target: Price | None, now: Millis, desk: SymbolDesk) -> Intent:
    action = SetStop(ticket=trade.ticket, stop=stop, target=target)
    return journal.new_intent(
        trade,
        action,
        decision_id="register",
        owner=Planner.COMMAND,
        rule="register.stop",
        now=now,
        priced_expiry_s=desk.policy.operation.priced_expiry_s,
    )


def _adopted(trade: Trade, position: Position, now: Millis) -> StopRecord:
    return StopRecord(
        trade_id=trade.trade_id,
        position=trade.identifier,
        at=now,
        old=None,
        new=position.stop,
        rule="adopted",
        intent_id=None,
        answer="",
    )


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


def _close(a: float, b: float) -> bool:
    """Say whether two prices given by a caller mean the same: equal to nine digits."""
    return math.isclose(a, b, rel_tol=1e-9)

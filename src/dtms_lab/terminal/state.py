"""The trade server's truth and the few ways to change it; every change is recorded and told to the listeners."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from dtms.domain.market import Quote
from dtms.domain.units import SECOND, Millis, Side
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.catalogue import SymbolSpec
from dtms_lab.terminal.closures import Closure, closed_by
from dtms_lab.terminal.money import Money
from dtms_lab.terminal.recorder import AppliedKind, Recorder
from dtms_lab.terminal.records import SIDE_OF_TYPE, AccountSpec, SimDeal, SimOrder, SimPosition, market_type
from dtms_lab.terminal.server_time import ServerOffset
from dtms_lab.terminal.symbol_book import SymbolBook

_FIRST_ORDER = 50_000_001
_FIRST_DEAL = 40_000_001
"""Orders and deals are numbered apart, so that one taken for the other is found at once."""

VOLUME_DIGITS = 8


class Figures(NamedTuple):
    """The account's money; `margin_level` in percent, 0.0 while no margin is used, as the protocol has it."""

    balance: float
    profit: float
    equity: float
    margin: float
    margin_free: float
    margin_level: float


class ServerState:
    """Positions, orders, deals, quotes and money of one account."""

    def __init__(
        self,
        *,
        account: AccountSpec,
        specs: Mapping[str, SymbolSpec],
        usd_rates: Mapping[str, float],
        now: Callable[[], Millis],
        recorder: Recorder,
        market_open: Callable[[str, Millis], bool],
        offset: ServerOffset,
    ) -> None:
        self.account = account
        self.specs = dict(specs)
        self.now = now
        self.recorder = recorder
        self.recorded = 0
        self.market_open = market_open
        self.closures: tuple[Closure, ...] = ()
        self.offset = offset
        self.trade_allowed = True
        self.expert_allowed = True
        self.balance = 0.0
        self.positions: dict[int, SimPosition] = {}
        self.orders: dict[int, SimOrder] = {}
        self.deals: list[SimDeal] = []
        self.past_orders: list[SimOrder] = []
        self.gone: set[int] = set()
        self.quotes: dict[str, Quote] = {}
        self.books: dict[str, SymbolBook] = {name: SymbolBook() for name in self.specs}
        self.money = Money(account, self.specs, self.quotes, usd_rates)
        self.listeners: list[Callable[[Millis], None]] = []
        self._next_order = _FIRST_ORDER
        self._next_deal = _FIRST_DEAL
        self._margin: float | None = None

    def in_session(self, symbol: str, at: Millis) -> bool:
        """Say whether a symbol is traded at an instant: in its hours, and not closed for a holiday or early."""
        return self.market_open(symbol, at) and closed_by(self.closures, symbol, at) is None

    def server_ms(self, at: Millis) -> int:
        """Return an instant on the broker's clock, as an epoch in ms."""
        return at + self.offset(at)

    def server_seconds(self, at: Millis) -> int:
        """Return an instant on the broker's clock, as an epoch in whole seconds."""
        return (at + self.offset(at)) // SECOND

    @property
    def numbers(self) -> tuple[int, int]:
        """Return the tickets of the next order and of the next deal."""
        return self._next_order, self._next_deal

    @numbers.setter
    def numbers(self, following: tuple[int, int]) -> None:
        self._next_order, self._next_deal = following

    def next_order(self) -> int:
        """Return a fresh order ticket."""
        self._next_order += 1
        return self._next_order - 1

    def put(self, position: SimPosition) -> None:
        """Add or replace a position."""
        self.positions[position.ticket] = position
        self.books[position.symbol].put(position)
        self._margin = None

    def drop(self, position: SimPosition) -> None:
        """Remove a position that is closed or has another ticket now."""
        del self.positions[position.ticket]
        self.books[position.symbol].drop(position.ticket)
        self.gone.add(position.ticket)
        self._margin = None

    def put_order(self, order: SimOrder) -> None:
        """Add or replace an active order."""
        self.orders[order.ticket] = order
        self.books[order.symbol].orders[order.ticket] = order

    def retire_order(self, order: SimOrder) -> None:
        """Move an order, in its last state, to the history."""
        if self.orders.pop(order.ticket, None) is not None:
            del self.books[order.symbol].orders[order.ticket]
        self.past_orders.append(order)

    def add_deal(
        self,
        *,
        order: int,
        position_id: int,
        spec: SymbolSpec,
        side: Side,
        entry: int,
        reason: int,
        volume: float,
        price: float,
        profit: float,
        swap: float,
        magic: int,
        comment: str,
        at: Millis,
    ) -> SimDeal:
        """Book a deal with its commission; the balance moves by its net."""
        deal = SimDeal(
            place=len(self.deals),
            ticket=self._next_deal,
            order=order,
            position_id=position_id,
            symbol=spec.name,
            type=market_type(side),
            entry=entry,
            reason=reason,
            volume=volume,
            price=price,
            profit=profit,
            commission=self.money.commission(spec, volume, price),
            swap=swap,
            fee=0.0,
            magic=magic,
            comment=comment,
            at=at,
        )
        self._book(deal)
        return deal

    def set_leverage(self, leverage: int) -> None:
        """Ask for another margin from now on, of what is open too; the stop-out looks with the next quote."""
        self.account = replace(self.account, leverage=leverage)
        self.money.account = self.account
        self._margin = None

    def deposit(self, amount: float, at: Millis) -> None:
        """Book money that comes in, or with a negative amount goes out; no position is behind it."""
        deal = SimDeal(
            place=len(self.deals),
            ticket=self._next_deal,
            order=0,
            position_id=0,
            symbol="",
            type=Mt5.DEAL_TYPE_BALANCE,
            entry=Mt5.DEAL_ENTRY_IN,
            reason=Mt5.DEAL_REASON_CLIENT,
            volume=0.0,
            price=0.0,
            profit=self.money.round(amount),
            commission=0.0,
            swap=0.0,
            fee=0.0,
            magic=0,
            comment="Deposit" if amount >= 0 else "Withdrawal",
            at=at,
        )
        self._book(deal)
        self.changed(at)

    def _book(self, deal: SimDeal) -> None:
        self._next_deal += 1
        self.deals.append(deal)
        self.balance = self.money.round(self.balance + deal.net)

    def changed(self, at: Millis) -> None:
        """Tell the listeners that positions, orders or deals changed."""
        for listener in self.listeners:
            listener(at)

    def current_profit(self, position: SimPosition) -> float:
        """Return the floating profit of a position, rounded; 0.0 before the first quote."""
        quote = self.quotes.get(position.symbol)
        if quote is None:
            return 0.0
        spec = self.specs[position.symbol]
        closed = quote.executable(position.side)
        return self.money.profit(spec, position.side, position.volume, opened=position.price_open, closed=closed)

    def figures(self, positions: Mapping[int, SimPosition] | None = None, balance: float | None = None) -> Figures:
        """Return the account's money; a lagging view passes the positions and the balance that it sees."""
        seen = self.positions if positions is None else positions
        money = self.money
        own = self.balance if balance is None else balance
        profit = money.round(sum(self.current_profit(p) for p in seen.values()))
        equity = money.round(own + profit + sum(p.swap for p in seen.values()))
        margin = self.margin()
        level = round(100.0 * equity / margin, 2) if margin > 0 else 0.0
        return Figures(own, profit, equity, margin, money.round(equity - margin), level)

    def floating(self) -> float:
        """Return the floating profit and swap of all positions from the books' sums: fast, and unrounded."""
        total = 0.0
        for name, book in self.books.items():
            if book.positions:
                quote = self.quotes.get(name)
                if quote is not None:
                    total += book.price_move(quote) * self.money.value_per_unit(self.specs[name], quote.bid) + book.swap
        return total

    def margin(self) -> float:
        """Return the margin in use: one-sided lots in full, lots held both ways once, at the hedged contract size."""
        if self._margin is None:
            self._margin = self.money.round(sum(self._margin_of(name, 0.0, 0.0, 0.0) for name in self.books))
        return self._margin

    def margin_with(self, symbol: str, side: Side, volume: float, price: float) -> float:
        """Return the margin in use after opening `volume` more on one side."""
        buy, sell = (volume, 0.0) if side is Side.BUY else (0.0, volume)
        before = self._margin_of(symbol, 0.0, 0.0, price)
        held = 0.0 if self.account.hedging else self.books[symbol].lots(side.opposite)
        if held > 0:
            reversed_lots = max(0.0, volume - held)
            kept = before * max(0.0, held - volume) / held
            turned = self.money.margin_per_lot(self.specs[symbol], price) * reversed_lots
            return self.money.round(self.margin() - before + kept + turned)
        return self.money.round(self.margin() - before + self._margin_of(symbol, buy, sell, price))

    def _margin_of(self, symbol: str, more_long: float, more_short: float, price: float) -> float:
        book = self.books[symbol]
        longs, shorts = book.lots(Side.BUY) + more_long, book.lots(Side.SELL) + more_short
        if longs + shorts <= 0:
            return 0.0
        spec = self.specs[symbol]
        cost = book.cost(Side.BUY) + book.cost(Side.SELL) + (more_long + more_short) * price
        per_lot = self.money.margin_per_lot(spec, cost / (longs + shorts))
        covered = min(longs, shorts)
        return per_lot * (abs(longs - shorts) + covered * spec.margin_hedged / spec.contract_size)

    def note_order(self, kind: AppliedKind, *, at: Millis, before: SimOrder | None, after: SimOrder | None) -> None:
        """Record an operation on a pending order."""
        known = after if after is not None else before
        if known is None:
            return
        quote = self.quotes.get(known.symbol)
        self.recorded += 1
        self.recorder.record(
            at=at,
            kind=kind,
            symbol=known.symbol,
            identifier=known.position_id,
            ticket=known.ticket,
            side=int(SIDE_OF_TYPE[known.type]),
            tag=known.comment,
            magic=known.magic,
            reason=known.reason,
            order=known.ticket,
            deal=0,
            stop_before=None if before is None else before.stop,
            stop_after=None if after is None else after.stop,
            target_before=None if before is None else before.target,
            target_after=None if after is None else after.target,
            volume_before=0.0 if before is None else before.remaining,
            volume_after=0.0 if after is None else after.remaining,
            volume=known.volume,
            price=known.price,
            bid=0.0 if quote is None else quote.bid,
            ask=0.0 if quote is None else quote.ask,
        )

    def note(
        self,
        kind: AppliedKind,
        *,
        at: Millis,
        before: SimPosition | None,
        after: SimPosition | None,
        tag: str = "",
        magic: int = 0,
        reason: int = 0,
        order: int = 0,
        deal: int = 0,
        volume: float = 0.0,
        price: float | None = None,
    ) -> None:
        """Record an operation on a position, and the position's new state where stop, target or volume changed."""
        known = after if after is not None else before
        if known is None:
            return
        quote = self.quotes.get(known.symbol)
        for entry in (kind, AppliedKind.POSITION):
            self.recorded += 1
            self.recorder.record(
                at=at,
                kind=entry,
                symbol=known.symbol,
                identifier=known.identifier,
                ticket=known.ticket,
                side=int(known.side),
                tag=tag,
                magic=magic,
                reason=reason,
                order=order,
                deal=deal,
                stop_before=None if before is None else before.stop,
                stop_after=None if after is None else after.stop,
                target_before=None if before is None else before.target,
                target_after=None if after is None else after.target,
                volume_before=0.0 if before is None else before.volume,
                volume_after=0.0 if after is None else after.volume,
                volume=volume,
                price=price,
                bid=0.0 if quote is None else quote.bid,
                ask=0.0 if quote is None else quote.ask,
            )
            if kind is AppliedKind.SWAP:
                return

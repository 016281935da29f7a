"""The account beside the managed one: the same entries at the same quotes, left to their stop and target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dtms.adapters.clocks import VirtualClock
from dtms.adapters.terminal.constants import Mt5
from dtms.adapters.terminal.oracle import OracleLog
from dtms.adapters.terminal.records import AccountSpec
from dtms.adapters.terminal.server import SimServer
from dtms.adapters.terminal.surface import TerminalSurface
from dtms.adapters.terminal.terminal import SimTerminal
from dtms.domain.market import Quote
from dtms.domain.units import Millis, Side
from dtms.errors import InvariantError
from dtms.sim.entries import Order
from dtms.sim.simulate import ENTRY_MAGIC, Entry


@dataclass(frozen=True, slots=True)
class _Due:
    entry: Entry
    order: Order


class Shadow:
    """Unmanaged twins; fed with the quotes of the managed account, as late as one likes."""

    def __init__(self, symbol: str, start: Millis, balance: float) -> None:
        self._symbol = symbol
        self._clock = VirtualClock(start)
        self._server = SimServer(now=self._clock.market_now, account=AccountSpec(balance=balance), recorder=OracleLog())
        self.terminal = SimTerminal(self._server)
        self.terminal.initialize()
        self._due: list[_Due] = []

    def enter(self, entry: Entry, order: Order) -> None:
        """Open the twin of an entry at the quote at which that one was opened."""
        self._due.append(_Due(entry, order))

    def feed(self, quotes: Iterable[Quote]) -> None:
        """Take the next quotes in, oldest first."""
        for quote in quotes:
            self._open_before(quote.at)
            self._clock.now = quote.at
            self._server.on_quote(quote)

    def finish(self) -> None:
        """Open what was entered at the last quote."""
        self._open_before(None)

    def _open_before(self, at: Millis | None) -> None:
        ripe = [due for due in self._due if at is None or due.entry.opened_at < at]
        for due in ripe:
            self._due.remove(due)
            self._clock.now = max(self._clock.now, due.entry.opened_at)
            twin = open_at(self.terminal, self._symbol, due.order)
            if twin is None:
                msg = f"the unmanaged twin of {due.entry.ticket} was refused at the quote that opened the managed one"
                raise InvariantError(msg)
            due.entry.twin = twin


def open_at(terminal: TerminalSurface, symbol: str, order: Order) -> int | None:
    """Open a position at a terminal as another program does: its own number, a comment of its own; None where refused."""
    result = terminal.order_send(
        {
            "action": Mt5.TRADE_ACTION_DEAL,
            "symbol": symbol,
            "type": Mt5.ORDER_TYPE_BUY if order.side is Side.BUY else Mt5.ORDER_TYPE_SELL,
            "volume": float(order.volume),
            "sl": float(order.stop),
            "tp": float(order.target),
            "type_filling": Mt5.ORDER_FILLING_IOC,
            "magic": ENTRY_MAGIC,
            "comment": "entries",
        }
    )
    return None if result is None or result.retcode != Mt5.TRADE_RETCODE_DONE else int(result.order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """What some positions came to at one broker: net, floating included; its costs; whether any is still open."""

    net: float
    costs: float
    is_open: bool


def money_of(terminal: TerminalSurface, positions: Iterable[int]) -> Money:
    """Return what positions, named by their identifiers, came to."""
    wanted = tuple(positions)
    deals = [deal for position in wanted for deal in terminal.history_deals_get(position=position) or ()]
    left = [position for position in terminal.positions_get() or () if position.identifier in wanted]
    charged = sum(deal.commission + deal.swap + deal.fee for deal in deals) + sum(p.swap for p in left)
    gross = sum(deal.profit for deal in deals) + sum(p.profit for p in left)
    return Money(net=gross + charged, costs=-charged, is_open=bool(left))

"""One trade of the other program, as it is opened at a terminal and as it comes out in money."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dtms.app.market.market_data import SymbolMarket
from dtms.core.market_state import MarketState
from dtms.domain.market import Bar
from dtms.domain.score import MarketView
from dtms.domain.units import Millis, Side
from dtms_lab.mt5_constants import Mt5
from dtms_lab.simulate.entries import Order
from dtms_lab.terminal.surface import TerminalSurface

WARM_UP_BARS = 1_500
"""M1 bars of history that the entries are shown: a moving average of 300 M5 bars."""
ENTRY_MAGIC = 7
"""The other program's own number: its positions are not ours until they are registered."""


@dataclass(slots=True)
class Entry:
    """One trade of the other program, with its twin that nobody manages."""

    ticket: int
    identifier: int
    twin: int
    side: Side
    volume: float
    risk_money: float
    spread_money: float
    opened_at: Millis
    registered: bool
    refused: str = ""


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


def views_of(history: Sequence[Bar], desk: SymbolMarket, now: Millis) -> tuple[MarketView, ...]:
    """Return what every closed M5 bar of a history said, oldest first."""
    instrument, policy = desk.instrument, desk.policy
    state = MarketState(
        instrument.symbol, instrument.asset, policy.score, policy.regime, canonical=instrument.canonical
    )
    for bar in history:
        state.on_m1(bar)
    return state.advance(now)

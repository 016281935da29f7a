"""What the simulated server keeps: account, request, position, order, deal. UTC, `None` for "no stop"; no vendor's zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dtms.domain.units import Millis, Side
from dtms_lab.mt5_constants import Mt5


class Request(NamedTuple):
    """A trade request after the package's own parsing, in the order of `TradeRequest`; a missing key is 0 or ""."""

    action: int = 0
    magic: int = 0
    order: int = 0
    symbol: str = ""
    volume: float = 0.0
    price: float = 0.0
    stoplimit: float = 0.0
    sl: float = 0.0
    tp: float = 0.0
    deviation: int = 0
    type: int = 0
    type_filling: int = 0
    type_time: int = 0
    expiration: int = 0
    comment: str = ""
    position: int = 0
    position_by: int = 0

    @property
    def stop(self) -> float | None:
        """The stop asked for; the protocol's 0.0 means none."""
        return None if self.sl == 0.0 else self.sl

    @property
    def target(self) -> float | None:
        """The target asked for; the protocol's 0.0 means none."""
        return None if self.tp == 0.0 else self.tp


class Outcome(NamedTuple):
    """The server's answer to a request."""

    retcode: int
    deal: int = 0
    order: int = 0
    volume: float = 0.0
    price: float = 0.0
    bid: float = 0.0
    ask: float = 0.0

    @property
    def applied(self) -> bool:
        """Whether the server's state changed."""
        return self.retcode in (
            Mt5.TRADE_RETCODE_DONE,
            Mt5.TRADE_RETCODE_DONE_PARTIAL,
            Mt5.TRADE_RETCODE_PLACED,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSpec:
    """The account as opened; `stop_out` and `margin_call` are margin levels in percent. A limit of 0 is "no limit"."""

    login: int = 10000042
    password: str | None = None
    name: str = "Simulated Trader"
    server: str = "DTMS-Simulated"
    company: str = "DTMS Simulated Markets"
    currency: str = "USD"
    currency_digits: int = 2
    balance: float = 10_000.0
    leverage: int = 100
    trade_mode: int = Mt5.ACCOUNT_TRADE_MODE_DEMO
    margin_mode: int = Mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING
    fifo_close: bool = False
    hedge_prohibited: bool = False
    limit_orders: int = 200
    limit_positions: int = 0
    margin_call: float = 100.0
    stop_out: float = 50.0

    @property
    def hedging(self) -> bool:
        """Whether positions are kept by ticket rather than one a symbol."""
        return self.margin_mode == Mt5.ACCOUNT_MARGIN_MODE_RETAIL_HEDGING


@dataclass(frozen=True, slots=True, kw_only=True)
class SimPosition:
    """One open position; `swap` is accrued and still outside the balance."""

    ticket: int
    identifier: int
    symbol: str
    side: Side
    volume: float
    price_open: float
    stop: float | None
    target: float | None
    magic: int
    comment: str
    reason: int
    opened_at: Millis
    updated_at: Millis
    swap: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SimOrder:
    """An order, active or past; `expiration` is in server seconds, 0 for none."""

    ticket: int
    symbol: str
    type: int
    state: int
    volume: float
    remaining: float
    price: float
    stop: float | None
    target: float | None
    magic: int
    comment: str
    reason: int
    type_time: int
    type_filling: int
    expiration: int
    setup_at: Millis
    done_at: Millis | None
    position_id: int = 0
    position_by_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SimDeal:
    """One deal; money in account currency, costs negative. `place` is its index in the server's list."""

    place: int
    ticket: int
    order: int
    position_id: int
    symbol: str
    type: int
    entry: int
    reason: int
    volume: float
    price: float
    profit: float
    commission: float
    swap: float
    fee: float
    magic: int
    comment: str
    at: Millis

    @property
    def net(self) -> float:
        """What the deal did to the balance."""
        return self.profit + self.commission + self.swap + self.fee


SIDE_OF_TYPE: dict[int, Side] = {
    Mt5.ORDER_TYPE_BUY: Side.BUY,
    Mt5.ORDER_TYPE_SELL: Side.SELL,
    Mt5.ORDER_TYPE_BUY_LIMIT: Side.BUY,
    Mt5.ORDER_TYPE_SELL_LIMIT: Side.SELL,
    Mt5.ORDER_TYPE_BUY_STOP: Side.BUY,
    Mt5.ORDER_TYPE_SELL_STOP: Side.SELL,
}
"""The side of what an order of this type opens."""


def market_type(side: Side) -> int:
    """Return the type of a market order, of a position or of a deal on this side."""
    return Mt5.ORDER_TYPE_BUY if side is Side.BUY else Mt5.ORDER_TYPE_SELL

"""The part of the MetaTrader 5 package that this adapter calls, as Protocols of our own.

The package has no types and installs on Windows alone, so it is never imported here: whoever builds the adapter hands in
the module, or anything with its surface. A field that is not named here is read nowhere.

Source:
    Struct fields and functions of the MetaTrader5 wheel 5.0.6231.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Request = dict[str, int | float | str]
"""What `order_send` takes: floats for prices and volumes, ints for the rest; it refuses the other kind."""


class TerminalInfo(Protocol):
    """The terminal on this machine."""

    name: str
    connected: bool
    trade_allowed: bool
    tradeapi_disabled: bool


class AccountInfo(Protocol):
    """The account that the terminal is logged in to."""

    login: int
    server: str
    trade_mode: int
    margin_mode: int
    fifo_close: bool
    trade_allowed: bool
    trade_expert: bool
    currency: str
    currency_digits: int
    balance: float
    equity: float
    margin: float
    margin_free: float
    margin_level: float


class SymbolInfo(Protocol):
    """One symbol's specification, and its last prices."""

    name: str
    path: str
    select: bool
    digits: int
    point: float
    trade_tick_size: float
    trade_tick_value: float
    trade_tick_value_loss: float
    trade_contract_size: float
    trade_calc_mode: int
    trade_mode: int
    trade_exemode: int
    filling_mode: int
    trade_stops_level: int
    trade_freeze_level: int
    volume_min: float
    volume_max: float
    volume_step: float
    volume_limit: float
    currency_base: str
    currency_profit: str


class Tick(Protocol):
    """The last tick of a symbol; times are the trade server's clock dressed as an epoch."""

    bid: float
    ask: float
    time_msc: int
    volume_real: float


class TradePosition(Protocol):
    """One open position; `sl` and `tp` are 0.0 where there is none."""

    ticket: int
    identifier: int
    symbol: str
    type: int
    volume: float
    price_open: float
    sl: float
    tp: float
    price_current: float
    profit: float
    swap: float
    magic: int
    comment: str
    time_msc: int


class TradeDeal(Protocol):
    """One entry of the account's history."""

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
    time_msc: int


class TradeOrder(Protocol):
    """One active order."""

    ticket: int
    symbol: str
    type: int
    position_id: int
    comment: str


class TradeRequest(Protocol):
    """The request as the terminal understood it, repeated in its answer."""

    action: int
    magic: int
    symbol: str
    volume: float
    sl: float
    tp: float
    type: int
    position: int
    position_by: int
    comment: str


class OrderSendResult(Protocol):
    """The answer to an order."""

    retcode: int
    deal: int
    order: int
    volume: float
    price: float
    comment: str
    request: TradeRequest


class Mt5Module(Protocol):
    """The package, or an object with its surface. None, or False, is a failure that `last_error` explains."""

    @property
    def initialize(self) -> Callable[..., bool]:
        """Attach to the terminal; without arguments to the one that runs."""
        ...

    @property
    def positions_get(self) -> Callable[..., tuple[TradePosition, ...] | None]:
        """Open positions: all, or those of `symbol=` or `ticket=`."""
        ...

    @property
    def orders_get(self) -> Callable[..., tuple[TradeOrder, ...] | None]:
        """Active orders: all, or those of `symbol=` or `ticket=`."""
        ...

    @property
    def history_deals_get(self) -> Callable[..., tuple[TradeDeal, ...] | None]:
        """Deals between two server times, or those of `position=`, or those of the order `ticket=`."""
        ...

    @property
    def copy_rates_from_pos(self) -> Callable[[str, int, int, int], Any]:
        """Bars as a structured array, oldest first; position 0 is the bar that is still forming."""
        ...

    @property
    def order_send(self) -> Callable[[Request], OrderSendResult | None]:
        """Send one request; always positionally, keywords would be taken for the request itself."""
        ...

    def shutdown(self) -> object:
        """Detach from the terminal."""
        ...

    def last_error(self) -> tuple[int, str]:
        """Return what the last call of this module met; to be read straight after it."""
        ...

    def terminal_info(self) -> TerminalInfo | None:
        """Return the terminal's state."""
        ...

    def account_info(self) -> AccountInfo | None:
        """Return the account."""
        ...

    @property
    def symbols_get(self) -> Callable[[], tuple[SymbolInfo, ...] | None]:
        """Return every symbol that the broker has; `select` is true for those in Market Watch."""
        ...

    @property
    def symbol_info(self) -> Callable[[str], SymbolInfo | None]:
        """Return a symbol's specification."""
        ...

    @property
    def symbol_info_tick(self) -> Callable[[str], Tick | None]:
        """Return a symbol's last tick."""
        ...

    @property
    def symbol_select(self) -> Callable[[str, bool], bool]:
        """Put a symbol into Market Watch, where alone it has ticks, or take it out."""
        ...

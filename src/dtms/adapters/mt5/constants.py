"""The vendor's numbers that this adapter uses; nothing computes here.

They are pinned rather than read from the module: a number that means another thing one day must fail a test, not an order.

Source:
    Constants of the MetaTrader5 wheel 5.0.6231. The masks `SYMBOL_FILLING_*` and the calculation mode are not in the
    wheel: they are from the MQL5 reference, "Symbol Properties".
"""

from __future__ import annotations

from typing import Final

from dtms.domain.market import Timeframe
from dtms.domain.position import AccountKind, DealEntry, DealReason
from dtms.domain.units import Side

SIMULATED_TERMINAL: Final = "DTMS Simulated Terminal"
"""What the simulated terminal calls itself; no vendor's or broker's terminal has this name."""

TRADE_ACTION_DEAL: Final = 1
TRADE_ACTION_SLTP: Final = 6
TRADE_ACTION_CLOSE_BY: Final = 10

ORDER_TYPE: Final = {Side.BUY: 0, Side.SELL: 1}
ORDER_TYPE_CLOSE_BY: Final = 8
AT_THE_MARKET: Final = frozenset({*ORDER_TYPE.values(), ORDER_TYPE_CLOSE_BY})
"""Types of orders that wait for no price: while one is active it may fill at any moment."""
SIDE_OF_TYPE: Final = {0: Side.BUY, 1: Side.SELL}
"""Of positions and of deals; a deal of another type moves money without trading (deposit, correction)."""

ORDER_FILLING_FOK: Final = 0
ORDER_FILLING_IOC: Final = 1
ORDER_FILLING_RETURN: Final = 2
ORDER_FILLINGS: Final = (ORDER_FILLING_FOK, ORDER_FILLING_IOC)
SYMBOL_FILLING_FOK: Final = 1
SYMBOL_FILLING_IOC: Final = 2
"""Bits of `symbol_info.filling_mode`, not the numbers of `type_filling`: mixing them up is the classic 10030."""

ORDER_TIME_GTC: Final = 0
ORDER_TIME_DAY: Final = 1
ORDER_TIME_SPECIFIED: Final = 2
LIFETIMES: Final = (ORDER_TIME_GTC, ORDER_TIME_DAY, ORDER_TIME_SPECIFIED)
"""Of orders at the market no lifetime matters, but a symbol may know only some of them."""

EXECUTION_REQUEST: Final = 0
EXECUTION_INSTANT: Final = 1
EXECUTION_MARKET: Final = 2
EXECUTION_EXCHANGE: Final = 3
PRICED_EXECUTIONS: Final = frozenset({EXECUTION_REQUEST, EXECUTION_INSTANT})
"""Where an order names its price and deviation; elsewhere both are ignored."""

SYMBOL_TRADE_MODE_FULL: Final = 4
SYMBOL_CALC_MODE_CFDINDEX: Final = 3
CALC_MODES_FOREX: Final = frozenset({0, 5})  # with and without leverage
CALC_MODES_SHARES: Final = frozenset({32, 38})  # exchange stocks, the second those of Moscow
ACCOUNT_MARGIN_MODE_RETAIL_HEDGING: Final = 2

ACCOUNT_KIND: Final = {0: AccountKind.DEMO, 1: AccountKind.CONTEST, 2: AccountKind.REAL}
DEAL_ENTRY: Final = {0: DealEntry.IN, 1: DealEntry.OUT, 2: DealEntry.INOUT, 3: DealEntry.OUT_BY}
DEAL_REASON: Final = {
    0: DealReason.MANUAL,  # client
    1: DealReason.MANUAL,  # mobile
    2: DealReason.MANUAL,  # web
    3: DealReason.PROGRAM,  # expert
    4: DealReason.STOP,
    5: DealReason.TARGET,
    6: DealReason.STOP_OUT,
}
"""Who or what made a deal; rollover, variation margin, split and whatever comes later are `OTHER`."""

TIMEFRAME: Final = {
    Timeframe.M1: 1,
    Timeframe.M5: 5,
    Timeframe.M15: 15,
    Timeframe.H1: 0x4001,
    Timeframe.H4: 0x4004,
    Timeframe.D1: 0x4018,
}

COMMENT_MAX: Final = 29

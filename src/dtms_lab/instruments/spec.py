"""One instrument as a server knows it."""

from __future__ import annotations

from dataclasses import dataclass

from dtms.domain.instrument import AssetClass
from dtms_lab.mt5_constants import (
    FILLING_MASK_FOK,
    FILLING_MASK_IOC,
    ORDER_MODE_CLOSE_BY,
    ORDER_MODE_LIMIT,
    ORDER_MODE_MARKET,
    ORDER_MODE_STOP,
    ORDER_MODE_STOP_LOSS,
    ORDER_MODE_TAKE_PROFIT,
    Mt5,
)

_ORDER_MODE = (
    ORDER_MODE_MARKET
    | ORDER_MODE_LIMIT
    | ORDER_MODE_STOP
    | ORDER_MODE_STOP_LOSS
    | ORDER_MODE_TAKE_PROFIT
    | ORDER_MODE_CLOSE_BY
)
"""All but stop-limit orders, which this server does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolSpec:
    """One instrument as the simulated server knows it.

    `tick_size` and `spread_typical` are in price units; `stops_level` and `freeze_level` in points. Commission is per side:
    `commission_per_lot` in account currency, `commission_per_million` in account currency per million of notional.
    `swap_long` and `swap_short` are in account currency per lot and night. `volume_limit` 0 is "no limit".
    `margin_hedged` is the contract size charged once for a lot that is held both ways. `swap_every_day` charges each
    night once; otherwise nights from Monday to Friday are charged and Wednesday counts three.
    """

    name: str
    description: str
    path: str
    asset: AssetClass
    digits: int
    tick_size: float
    contract_size: float
    volume_min: float
    volume_max: float
    volume_step: float
    spread_typical: float
    currency_base: str
    currency_profit: str
    currency_margin: str
    calc_mode: int = Mt5.SYMBOL_CALC_MODE_CFDLEVERAGE
    stops_level: int = 0
    freeze_level: int = 0
    volume_limit: float = 0.0
    commission_per_lot: float = 0.0
    commission_per_million: float = 0.0
    swap_long: float = 0.0
    swap_short: float = 0.0
    swap_every_day: bool = False
    margin_hedged: float = 0.0
    trade_mode: int = Mt5.SYMBOL_TRADE_MODE_FULL
    execution: int = Mt5.SYMBOL_TRADE_EXECUTION_MARKET
    filling_mask: int = FILLING_MASK_FOK | FILLING_MASK_IOC
    order_mode: int = _ORDER_MODE

    @property
    def point(self) -> float:
        """The smallest price unit."""
        return float(f"1e-{self.digits}")

    @property
    def stops_distance(self) -> float:
        """The stops level in price units."""
        return self.stops_level * self.point

    @property
    def freeze_distance(self) -> float:
        """The freeze level in price units."""
        return self.freeze_level * self.point

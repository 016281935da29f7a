"""The instruments that the simulated broker offers, and the static rates for currencies that it does not quote.

"Typical retail" marks what common retail brokers publish for a standard account; it is no single broker's sheet. Costs and
swaps are in US dollars, as the default account is. A test or a drill makes another instrument with `dataclasses.replace`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dtms.adapters.terminal.constants import (
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
from dtms.domain.instrument import AssetClass
from dtms.domain.policy.typical import SPREAD_TYPICAL

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


def _fx(name: str, description: str, *, digits: int, stops_level: int, swaps: tuple[float, float]) -> SymbolSpec:
    """A currency pair: contract of 100,000 (market convention), 0.01 to 100 lots, 3.50 a lot and side (typical retail)."""
    return SymbolSpec(
        name=name,
        description=description,
        path=f"Forex\\{name}",
        asset=AssetClass.FX,
        digits=digits,
        tick_size=float(f"1e-{digits}"),
        contract_size=100_000.0,
        volume_min=0.01,
        volume_max=100.0,
        volume_step=0.01,
        spread_typical=SPREAD_TYPICAL[name],
        currency_base=name[:3],
        currency_profit=name[3:],
        currency_margin=name[:3],
        calc_mode=Mt5.SYMBOL_CALC_MODE_FOREX,
        stops_level=stops_level,
        commission_per_lot=3.5,
        swap_long=swaps[0],
        swap_short=swaps[1],
        margin_hedged=50_000.0,
    )


def _coin(name: str, description: str, base: str, quote: str, swaps: tuple[float, float]) -> SymbolSpec:
    """A coin: one coin a lot, two digits, no commission, financed every night (typical retail)."""
    return SymbolSpec(
        name=name,
        description=description,
        path=f"Crypto\\{name}",
        asset=AssetClass.CRYPTO,
        digits=2,
        tick_size=0.01,
        contract_size=1.0,
        volume_min=0.01,
        volume_max=50.0,
        volume_step=0.01,
        spread_typical=SPREAD_TYPICAL[name],
        currency_base=base,
        currency_profit=quote,
        currency_margin=quote,
        stops_level=0,
        swap_long=swaps[0],
        swap_short=swaps[1],
        swap_every_day=True,
        margin_hedged=0.5,
    )


_SPECS = (
    SymbolSpec(
        name="XAUUSD",
        description="Gold vs US Dollar",
        path="Metals\\XAUUSD",
        asset=AssetClass.METAL,
        digits=2,
        tick_size=0.01,
        contract_size=100.0,  # 100 troy ounces: the market's standard lot
        volume_min=0.01,
        volume_max=50.0,
        volume_step=0.01,
        spread_typical=SPREAD_TYPICAL["XAUUSD"],
        currency_base="XAU",
        currency_profit="USD",
        currency_margin="XAU",
        stops_level=20,  # typical retail, 0 to 50 points
        commission_per_lot=3.5,  # typical retail raw account, a side
        swap_long=-38.0,  # typical retail at a policy rate of some 4 to 5 %
        swap_short=16.0,
        margin_hedged=50.0,
    ),
    # Stops levels and swaps of the pairs: typical retail; swaps follow the rate difference of the two currencies.
    _fx("EURUSD", "Euro vs US Dollar", digits=5, stops_level=10, swaps=(-7.0, 2.5)),
    _fx("GBPUSD", "Great Britain Pound vs US Dollar", digits=5, stops_level=10, swaps=(-4.0, -2.0)),
    _fx("USDJPY", "US Dollar vs Japanese Yen", digits=3, stops_level=10, swaps=(9.0, -19.0)),
    _fx("EURJPY", "Euro vs Japanese Yen", digits=3, stops_level=10, swaps=(6.0, -15.0)),
    _fx("GBPJPY", "Great Britain Pound vs Japanese Yen", digits=3, stops_level=10, swaps=(12.0, -26.0)),
    _coin("BTCUSD", "Bitcoin vs US Dollar", "BTC", "USD", (-40.0, 0.0)),
    _coin("BTCUSDT", "Bitcoin vs Tether", "BTC", "USDT", (-30.0, 0.0)),
    _coin("ETHUSD", "Ethereum vs US Dollar", "ETH", "USD", (-2.5, 0.0)),
    SymbolSpec(
        name="US30",
        description="Wall Street 30 index",
        path="Indices\\US30",
        asset=AssetClass.INDEX,
        digits=1,
        tick_size=0.1,
        contract_size=1.0,  # one dollar a point and lot: typical retail
        volume_min=0.1,
        volume_max=100.0,
        volume_step=0.1,
        spread_typical=SPREAD_TYPICAL["US30"],
        currency_base="USD",
        currency_profit="USD",
        currency_margin="USD",
        stops_level=10,
        swap_long=-6.5,  # typical retail
        swap_short=1.0,
        margin_hedged=0.5,
    ),
)

CATALOGUE: dict[str, SymbolSpec] = {spec.name: spec for spec in _SPECS}
"""The instruments by name."""

USD_RATES: dict[str, float] = {
    "USD": 1.0,
    "USDT": 1.0,
    "USDC": 1.0,
    "EUR": 1.10,
    "GBP": 1.28,
    "JPY": 0.0068,
    "CHF": 1.13,
    "AUD": 0.66,
    "CAD": 0.73,
    "NZD": 0.60,
    "XAU": 2400.0,
    "XAG": 28.0,
    "BTC": 65_000.0,
    "ETH": 3_400.0,
}
"""US dollars for one unit, the order of magnitude of the mid 2020s: used only where the server quotes no such pair."""

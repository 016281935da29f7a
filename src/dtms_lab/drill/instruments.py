"""What a drill trades: instruments as brokers really have them, and the ways in which they execute.

The grids, currencies and minimum lots differ on purpose: a tick that is not the point, a step of a thousandth, a profit
currency that is not the account's, a decorated name. Prices and ranges are orders of magnitude, of no day in particular.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Final

from dtms.domain.instrument import AssetClass
from dtms.domain.symbols import canonical
from dtms_lab.mt5_constants import FILLING_MASK_FOK, FILLING_MASK_IOC, Mt5
from dtms_lab.terminal.catalogue import CATALOGUE, SymbolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One instrument of a drill: `price` is where it begins, `atr` its ATR(M15), price units; `lots` a usual trade."""

    spec: SymbolSpec
    price: float
    atr: float
    lots: float

    @property
    def name(self) -> str:
        """The broker's name of it."""
        return self.spec.name

    @property
    def canonical(self) -> str:
        """The name by which its policy is found."""
        return canonical(self.spec.name)


_in_dollars: Final = partial(
    SymbolSpec,
    currency_base="USD",
    currency_profit="USD",
    currency_margin="USD",
    digits=2,
    volume_min=1.0,
    volume_step=1.0,
)
"""What is quoted, paid and margined in dollars, to the cent, and traded by the piece."""

_INDEX: Final = _in_dollars(
    name="US500",
    description="A future on 500 shares: a quarter of a point a tick, the CME's grid",
    path="Indices\\US500",
    asset=AssetClass.INDEX,
    tick_size=0.25,
    contract_size=50.0,
    volume_max=100.0,
    spread_typical=0.25,
    stops_level=0,
    commission_per_lot=2.0,
)
_SHARE: Final = _in_dollars(
    name="#SHARE",
    description="A share: whole pieces, no leverage of its own, cents",
    path="Stocks\\#SHARE",
    asset=AssetClass.OTHER,
    tick_size=0.01,
    contract_size=1.0,
    volume_max=10_000.0,
    spread_typical=0.04,
    stops_level=5,
    commission_per_lot=0.02,
)
_SMALL_COIN: Final = replace(
    CATALOGUE["ETHUSD"], name="ETHUSD", volume_min=0.001, volume_step=0.001, volume_max=500.0, stops_level=20
)

LISTINGS: Final[Mapping[str, Listing]] = {
    listing.name: listing
    for listing in (
        Listing(spec=CATALOGUE["XAUUSD"], price=2_000.0, atr=4.0, lots=1.0),
        Listing(spec=CATALOGUE["EURUSD"], price=1.1, atr=0.0012, lots=2.0),
        Listing(spec=CATALOGUE["BTCUSD"], price=60_000.0, atr=300.0, lots=2.0),
        Listing(spec=CATALOGUE["USDJPY"], price=147.0, atr=0.15, lots=2.0),
        Listing(spec=CATALOGUE["GBPJPY"], price=188.0, atr=0.25, lots=2.0),
        Listing(spec=replace(CATALOGUE["EURJPY"], name="EURJPY.r"), price=162.0, atr=0.18, lots=1.5),
        Listing(spec=_SMALL_COIN, price=3_400.0, atr=25.0, lots=1.234),
        Listing(spec=CATALOGUE["US30"], price=39_000.0, atr=60.0, lots=2.0),
        Listing(spec=_INDEX, price=5_200.0, atr=8.0, lots=6.0),
        Listing(spec=_SHARE, price=180.0, atr=0.8, lots=100.0),
    )
}
"""The ten instruments by the broker's name."""

CURRENCIES: Final[Mapping[str, tuple[float, int]]] = {"USD": (1.0, 2), "EUR": (0.9, 2), "JPY": (150.0, 0)}
"""Account currencies: how much of it is a dollar's worth, and its digits."""


def dealt(listing: Listing, stream: Random) -> Listing:
    """Return a listing with one of the ways in which brokers execute: at the market, all or nothing, or at a named price."""
    way = stream.choice(("market",) * 5 + ("whole", "instant", "exchange"))
    spec = listing.spec
    if way == "whole":
        spec = replace(spec, filling_mask=FILLING_MASK_FOK)
    elif way == "instant":
        spec = replace(
            spec, execution=Mt5.SYMBOL_TRADE_EXECUTION_INSTANT, filling_mask=FILLING_MASK_FOK | FILLING_MASK_IOC
        )
    elif way == "exchange":
        spec = replace(spec, execution=Mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE, filling_mask=0)
    return replace(listing, spec=spec)

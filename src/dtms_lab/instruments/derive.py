"""A sensible specification for a symbol that nobody described: by its class, and where that decides it, by its price.

It stands for no broker's sheet. Whoever uses one says so: results in money depend on contract size, costs and steps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from dtms.domain.instrument import AssetClass
from dtms.domain.symbols import asset_class
from dtms_lab.instruments.spec import SymbolSpec
from dtms_lab.mt5_constants import Mt5

CLASSES: Final[Mapping[str, AssetClass]] = {
    "fx": AssetClass.FX,
    "metal": AssetClass.METAL,
    "index": AssetClass.INDEX,
    "energy": AssetClass.INDEX,  # the same hours: a daily break, closed at the weekend
    "crypto": AssetClass.CRYPTO,
    "share": AssetClass.OTHER,
}
"""The words for a class in a file, and what they mean for hours."""

_FOLDERS: Final = {
    "fx": "Forex",
    "metal": "Metals",
    "index": "Indices",
    "energy": "Energies",
    "crypto": "Crypto",
    "share": "Shares",
}
_INDEX = re.compile(
    r"(US(30|100|500|2000)|SPX\d*|NAS\d*|NDX\d*|USTEC|DJI?\d*|WS30|GER\d+|DE(30|40)|DAX\d*|UK100|FTSE\d*|JPN?225|JPX\w*|"
    r"NIKKEI\w*|FRA40|CAC\d*|EU(50|STX50)|STOXX\d*|EUSTX\d*|AUS200|HK(50|33)|HSI|ESP?35|IT(A)?40|SWI20|CHN?50|CN50|DXY|"
    r"USDX|VIX)$"
)
"""Names that common brokers give to the large share indices."""

_ENERGY = re.compile(r"(US|UK)?(OIL|WTI|BRENT)(SPOT)?$|X(TI|BR|NG)USD$|NATGAS$|NGAS$")
_CURRENCY_OF_INDEX: Final = {
    "GER": "EUR", "DE": "EUR", "DAX": "EUR", "FRA": "EUR", "CAC": "EUR", "EU": "EUR", "STOXX": "EUR", "ESP": "EUR",
    "ES": "EUR", "IT": "EUR", "UK": "GBP", "FTSE": "GBP", "JP": "JPY", "NIKKEI": "JPY", "AUS": "AUD", "HK": "HKD",
    "HSI": "HKD", "SWI": "CHF",
}  # fmt: skip

_LARGE_QUOTES: Final = frozenset({"JPY", "HUF", "THB"})
"""Currencies whose pairs have three digits, not five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRules:
    """What all instruments of one class have until a file says otherwise. `margin_hedged` is half a contract."""

    digits: Callable[[str, float], int]
    contract_size: Callable[[str], float]
    spread: Callable[[str, float], float]
    """In price units, for a symbol at a price."""
    step: Callable[[float], float]
    """Smallest volume and step, in lots, at a price."""
    volume_max: float
    calc_mode: int
    commission_per_lot: float = 0.0
    stops_level: int = 0


def _coin_digits(_symbol: str, price: float) -> int:
    """Some 1e-5 of the price is a coin's usual tick."""
    return max(2, min(8, 5 - math.floor(math.log10(price))))


def _fx_digits(symbol: str, _price: float) -> int:
    return 3 if symbol[3:6] in _LARGE_QUOTES else 5


RULES: Final[Mapping[str, ClassRules]] = {
    "fx": ClassRules(
        digits=_fx_digits,
        contract_size=lambda _symbol: 100_000.0,
        spread=lambda symbol, price: max(15 * 10.0 ** -_fx_digits(symbol, price), 0.00015 * price),
        step=lambda _price: 0.01,
        volume_max=100.0,
        calc_mode=Mt5.SYMBOL_CALC_MODE_FOREX,
        commission_per_lot=3.5,
        stops_level=10,
    ),
    "metal": ClassRules(
        digits=lambda symbol, _price: 3 if symbol.startswith("XAG") else 2,
        contract_size=lambda symbol: 5_000.0 if symbol.startswith("XAG") else 100.0,
        spread=lambda symbol, price: (0.0010 if symbol.startswith("XAG") else 0.00015) * price,
        step=lambda _price: 0.01,
        volume_max=50.0,
        calc_mode=Mt5.SYMBOL_CALC_MODE_CFDLEVERAGE,
        commission_per_lot=3.5,
        stops_level=20,
    ),
    "index": ClassRules(
        digits=lambda _symbol, price: 3 if price < 100.0 else 1,  # noqa: PLR2004 - an index of two digits before the point
        contract_size=lambda _symbol: 1.0,
        spread=lambda _symbol, price: 0.0001 * price,
        step=lambda _price: 0.1,
        volume_max=100.0,
        calc_mode=Mt5.SYMBOL_CALC_MODE_CFDLEVERAGE,
        stops_level=10,
    ),
    "energy": ClassRules(
        digits=lambda _symbol, _price: 3,
        contract_size=lambda _symbol: 100.0,
        spread=lambda _symbol, price: 0.0005 * price,
        step=lambda _price: 0.1,
        volume_max=100.0,
        calc_mode=Mt5.SYMBOL_CALC_MODE_CFDLEVERAGE,
        stops_level=10,
    ),
    "crypto": ClassRules(
        digits=_coin_digits,
        contract_size=lambda _symbol: 1.0,
        spread=lambda _symbol, price: 0.0003 * price,
        step=lambda price: 0.01 if price >= 1.0 else 1.0,
        volume_max=1_000_000.0,
        calc_mode=Mt5.SYMBOL_CALC_MODE_CFDLEVERAGE,
    ),
    "share": ClassRules(
        digits=lambda _symbol, _price: 2,
        contract_size=lambda _symbol: 1.0,
        spread=lambda _symbol, price: max(0.02, 0.0002 * price),
        step=lambda _price: 1.0,
        volume_max=10_000.0,
        calc_mode=Mt5.SYMBOL_CALC_MODE_CFDLEVERAGE,
    ),
}


def class_of(symbol: str) -> str:
    """Return the word for a symbol's class; what is no pair, metal, coin, index or energy is taken for a share."""
    asset = asset_class(symbol)
    if asset is not AssetClass.OTHER:
        return asset.value
    if _ENERGY.match(symbol):
        return "energy"
    return "index" if _INDEX.match(symbol) else "share"


def currencies_of(symbol: str, kind: str) -> tuple[str, str]:
    """Return base and profit currency; of what is no pair both are the one that it is quoted in."""
    if kind in ("fx", "metal"):
        return symbol[:3], symbol[3:6]
    if kind == "crypto":
        quote = next((each for each in ("USDT", "USDC") if symbol.endswith(each)), symbol[-3:])
        return symbol.removesuffix(quote), quote
    if kind == "index":
        quote = next((money for name, money in _CURRENCY_OF_INDEX.items() if symbol.startswith(name)), "USD")
        return quote, quote
    return "USD", "USD"


def derived(symbol: str, price: float, kind: str | None = None) -> SymbolSpec:
    """Return the specification of a symbol (our spelling) that stands at about `price`; `kind` is its class where known."""
    kind = class_of(symbol) if kind is None else kind
    rules = RULES[kind]
    base, quote = currencies_of(symbol, kind)
    digits = rules.digits(symbol, price)
    tick = float(f"1e-{digits}")
    step, contract = rules.step(price), rules.contract_size(symbol)
    return SymbolSpec(
        name=symbol,
        description=f"{symbol} ({kind}, derived)",
        path=path_of(symbol, kind),
        asset=CLASSES[kind],
        digits=digits,
        tick_size=tick,
        contract_size=contract,
        volume_min=step,
        volume_max=rules.volume_max,
        volume_step=step,
        spread_typical=max(tick, round(rules.spread(symbol, price), digits)),
        currency_base=base,
        currency_profit=quote,
        currency_margin=base if kind in ("fx", "metal") else quote,
        calc_mode=rules.calc_mode,
        stops_level=rules.stops_level,
        commission_per_lot=rules.commission_per_lot,
        swap_every_day=kind == "crypto",
        margin_hedged=contract / 2,
    )


def path_of(symbol: str, kind: str) -> str:
    """Return where a terminal's tree keeps a symbol."""
    return f"{_FOLDERS[kind]}\\{symbol}"


def said(spec: SymbolSpec) -> str:
    """Return the sentence that says what was derived."""
    kind = spec.description.partition("(")[2].partition(",")[0]
    return (
        f"{spec.name}: no specification of it is known; derived by its class ({kind}): tick {spec.tick_size:g}, contract "
        f"{spec.contract_size:g} in {spec.currency_profit}, from {spec.volume_min:g} lots, usual spread "
        f"{spec.spread_typical:g}, commission {spec.commission_per_lot:g} a lot and side, no swap; give your broker's with "
        "--instrument FILE.toml (dtms instruments export writes one)"
    )

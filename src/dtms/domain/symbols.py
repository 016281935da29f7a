"""One spelling for each symbol: brokers decorate them (EURUSDc, EURUSD.r, BTC/USDT:USDT), we do not."""

from __future__ import annotations

import re

from dtms.domain.instrument import AssetClass

ALIASES: dict[str, str] = {
    "GOLD": "XAUUSD",
    "SILVER": "XAGUSD",
    "XBTUSD": "BTCUSD",
    "XBTUSDT": "BTCUSDT",
}
"""Names that are another symbol's; extended by the policy's `aliases`."""

_CURRENCIES = frozenset(
    [
        "AUD",
        "CAD",
        "CHF",
        "CNH",
        "CZK",
        "DKK",
        "EUR",
        "GBP",
        "HKD",
        "HUF",
        "JPY",
        "MXN",
        "NOK",
        "NZD",
        "PLN",
        "SEK",
        "SGD",
        "THB",
        "TRY",
        "USD",
        "ZAR",
    ]  # ISO 4217
)
_METALS = frozenset(("XAU", "XAG", "XPT", "XPD"))
_COINS = frozenset(
    ["ADA", "AVAX", "BCH", "BNB", "BTC", "DOGE", "DOT", "ETH", "LINK", "LTC", "SOL", "TRX", "XRP", "XBT"]
)
_STABLES = ("USDT", "USDC")


def _pairs(bases: frozenset[str], quotes: tuple[str, ...]) -> str:
    return f"({'|'.join(sorted(bases, key=len, reverse=True))})({'|'.join(quotes)})"


_FIAT = tuple(sorted(_CURRENCIES))
_PAIR = re.compile(f"^(?:{_pairs(_COINS, (*_STABLES, *_FIAT))}|{_pairs(_CURRENCIES | _METALS, _FIAT)})")
_DECORATION = re.compile(r"(?<=[A-Z0-9])[a-z]+$")
"""A lower-case tail behind capitals (EURUSDc, USDJPYm) is a broker's account class, never part of the name."""


def canonical(symbol: str, aliases: dict[str, str] | None = None) -> str:
    """Return our spelling of a broker's symbol.

    The settlement part of a unified name goes (`BTC/USDT:USDT` is `BTCUSDT`), then separators and case, then any suffix
    behind a known pair; an unknown name is kept without its separators' suffix.
    """
    table = ALIASES if aliases is None else {**ALIASES, **aliases}
    if symbol in table:
        return table[symbol]
    bare = symbol.split(":", 1)[0].replace("/", "").replace("_", "")
    name = _DECORATION.sub("", re.split(r"[.#\-+]", bare, maxsplit=1)[0] or bare).upper()
    pair = _PAIR.match(name)
    found = pair.group(0) if pair else name
    return table.get(found, found)


def asset_class(canonical_symbol: str) -> AssetClass:
    """Return the class of a canonical symbol; a name that is no known pair is `OTHER`."""
    pair = _PAIR.match(canonical_symbol)
    if pair is None:
        return AssetClass.OTHER
    base = pair.group(1) or pair.group(3)
    if base in _COINS:
        return AssetClass.CRYPTO
    return AssetClass.METAL if base in _METALS else AssetClass.FX

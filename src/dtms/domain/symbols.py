"""One spelling for each symbol: brokers decorate them at both ends (m.EURUSD, XAUUSD.£, BTC/USDT:USDT), we do not.

A pair is recognised where its two currencies stand together with nothing but a decoration around them. What is not
recognised keeps its name: it is never cut to a letter, to a venue, or to another instrument that begins alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from dtms.domain.instrument import AssetClass

ALIASES: dict[str, str] = {
    "GOLD": "XAUUSD",
    "SILVER": "XAGUSD",
    "PLATINUM": "XPTUSD",
    "PALLADIUM": "XPDUSD",
    "XBTUSD": "BTCUSD",
    "XBTUSDT": "BTCUSDT",
}
"""Names that are another symbol's; extended by the policy's `aliases`."""


def _words(text: str) -> list[str]:
    return text.split()


_CURRENCIES: Final = frozenset(
    _words(
        "AED AUD BGN BRL CAD CHF CLP CNH CNY COP CZK DKK EUR GBP HKD HUF IDR ILS INR JPY KRW KZT MXN MYR NOK NZD PHP PLN RON"
        " RUB SAR SEK SGD THB TRY TWD UAH USD ZAR"
    )  # ISO 4217, and CNH
)
_METALS: Final = frozenset(("XAU", "XAG", "XPT", "XPD"))
_COINS: Final = frozenset(_words("ADA AVAX BCH BNB BTC DOGE DOT ETH LINK LTC SOL TRX XRP XBT"))
_STABLES: Final = ("USDT", "USDC")
_METAL_WORDS: Final = {"GOLD": "XAU", "SILVER": "XAG", "PLATINUM": "XPT", "PALLADIUM": "XPD"}

_CLASSES: Final = frozenset(
    _words(
        "c cash cent cfd classic e ecn i k m micro mini p pro prime r raw s sb spot stp std standard t v vip x z zero"
    )
)
"""What an account's class is called behind or in front of a name, with or without a separator."""

_OUTSIDE: Final = re.compile(r"(?i)(?:^|[^a-z])(?:otc|weekend|wknd)(?:[^a-z]|$)")
"""Prices that a broker makes himself while the market is closed: another instrument, with other hours."""

_METAL_VENUES: Final = frozenset(
    _words("CAPITALCOM EIGHTCAP FOREXCOM FX FX_IDC FXOPEN ICMARKETS IG OANDA PEPPERSTONE SAXO TVC")
)
"""Where GOLD is the metal; at an exchange it is a share."""


def _any_of(words: frozenset[str] | tuple[str, ...]) -> str:
    return "|".join(sorted(words, key=lambda word: (-len(word), word)))


_BETWEEN: Final = r"[/_\-. ]?"
_FIAT: Final = _any_of(_CURRENCIES)
_STABLE: Final = _any_of(_STABLES)
_PAIRS: Final = tuple(
    re.compile(f"(?i)(?P<base>{bases}){_BETWEEN}(?P<quote>{quotes})", re.ASCII)
    for bases, quotes in (
        (_any_of(_COINS | set(_STABLES)), _STABLE),
        (_any_of(_COINS | set(_STABLES)), f"{_FIAT}|{_any_of(_COINS)}"),
        (_any_of(_CURRENCIES | _METALS), "USDT"),  # EURUSDC is a cent account's EURUSD, EURUSDT is traded as such
        (_any_of(_CURRENCIES | _METALS), _FIAT),
        (_any_of(frozenset(_METAL_WORDS)), _FIAT),
    )
)
_KRAKEN: Final = re.compile(r"[XZ](?P<base>[A-Z]{3})Z(?P<quote>[A-Z]{3})")
"""Kraken writes a class letter before each half: XXBTZUSD, ZEURZUSD."""

_EDGE: Final = re.compile(r"[#.!_+\-\s]+")
_LOWER_TAIL: Final = re.compile(r"(?<=[A-Z0-9])(?P<tail>[a-z]+)$", re.ASCII)
_CAMEL_TAIL: Final = re.compile(r"(?<=[A-Za-z0-9])(?P<tail>[A-Z][a-z]+)$", re.ASCII)
_DIGIT_TAIL: Final = re.compile(r"(?<=[0-9])(?P<tail>[A-Za-z]+)$", re.ASCII)
_SEPARATED_TAIL: Final = re.compile(r"(?<=\w)[.#_+\-\s](?P<tail>[A-Za-z]+)$", re.ASCII)
_TAILS: Final = (_SEPARATED_TAIL, _LOWER_TAIL, _CAMEL_TAIL, _DIGIT_TAIL)
_SEPARATED_HEAD: Final = re.compile(r"^(?P<head>[A-Za-z]+)[.#_+\-\s](?=\w)", re.ASCII)
_UPPER_HEADS: Final = re.compile(r"(?:FX|CFD|SPOT|FOREX|MINI|MICRO|PRO|ECN|RAW|STD)", re.ASCII)
_LEAST: Final = 2
"""Letters and digits that are left of a name after a decoration was taken off, at least."""


def canonical(symbol: str, aliases: Mapping[str, str] | None = None) -> str:
    """Return our spelling of a broker's symbol.

    A known pair is found behind any prefix and before any suffix. An unknown name is kept, in capitals, without the marks
    of an account's class (`US30.cash`, `.US30Cash` and `US30c` are `US30`); the share `GOLD.NYSE` stays what it is.

    Args:
        symbol: The broker's spelling, any text.
        aliases: The policy's own names beside `ALIASES`; each beats everything else.
    """
    own = {} if aliases is None else aliases
    bare = _bare(symbol)
    for name in (symbol, bare):
        if name in own:
            return own[name]
    if is_outside(symbol):
        return symbol.upper()
    pair = _pair_in(symbol)
    found = pair if pair is not None else _metal(symbol, bare)
    return own.get(found, ALIASES.get(found, found))


def asset_class(canonical_symbol: str) -> AssetClass:
    """Return the class of a canonical symbol; a name that is no known pair is `OTHER`."""
    halves = halves_of(canonical_symbol)
    if halves is None:
        return AssetClass.OTHER
    if _COINS.intersection(halves) or any(half in _STABLES for half in halves):
        return AssetClass.CRYPTO
    return AssetClass.METAL if halves[0] in _METALS else AssetClass.FX


def halves_of(canonical_symbol: str) -> tuple[str, str] | None:
    """Return what is bought and what it is paid in, of a canonical pair; None for any other name."""
    for pattern in _PAIRS:
        found = pattern.fullmatch(canonical_symbol)
        if found is not None and found["base"] != found["quote"] and found["base"] + found["quote"] == canonical_symbol:
            return found["base"], found["quote"]
    return None


def is_outside(symbol: str) -> bool:
    """Say whether a name says that the broker makes its prices himself, outside of the market's hours."""
    return _OUTSIDE.search(symbol) is not None


def forex_pair(base: str, quote: str) -> str | None:
    """Return the pair of two currencies or a metal and a currency, None where one of them is no such."""
    known = base in _CURRENCIES | _METALS and quote in _CURRENCIES and base != quote
    return f"{base}{quote}" if known else None


def _pair_in(symbol: str) -> str | None:
    """Return the pair that a name holds between decorations."""
    kraken = _KRAKEN.fullmatch(symbol)
    plain = symbol if kraken is None else kraken["base"] + kraken["quote"]
    for found in _candidates(plain):
        base, quote = found["base"].upper(), found["quote"].upper()
        base = _METAL_WORDS.get(base, base)
        head, tail = plain[: found.start()], plain[found.end() :]
        if base != quote and _one_case(found) and _may_precede(head, found[0], base) and _may_follow(tail, found[0]):
            return f"{'BTC' if base == 'XBT' else base}{quote}"
    return None


def _candidates(symbol: str) -> Iterator[re.Match[str]]:
    """Yield every place where two currencies stand together, the first first, of one place the likeliest first."""

    def likelihood(found: re.Match[str]) -> tuple[bool, int]:
        tail = symbol[found.end() :]
        return tail != "" and tail.casefold() not in _CLASSES, -found.end()  # BTCUSDCASH is BTCUSD, BTCUSDC is not

    for start in range(len(symbol)):
        matches = (pattern.match(symbol, start) for pattern in _PAIRS)
        yield from sorted((each for each in matches if each is not None), key=likelihood)


def _one_case(found: re.Match[str]) -> bool:
    """Say whether a pair is written in one way: the last letter of EURUSDc is an account's class, not USDC's."""
    halves = found["base"], found["quote"]
    ways = (str.isupper, str.islower, str.istitle)
    return any(all(way(half) for half in halves) for way in ways)


def _may_precede(head: str, pair: str, base: str) -> bool:
    """Say whether what stands before a pair is a decoration: `m.`, `FX:`, `#`, `frx`; not the S of SXAUUSD."""
    if not head or not head[-1].isalnum():
        return True
    if base in _COINS and head in {"m", "u", "k"}:
        return False  # a thousandth, a millionth or a thousand coins: another price
    if head.isalpha() and head.islower() and pair[0].isupper():
        return True
    return base not in _COINS and _UPPER_HEADS.fullmatch(head) is not None


def _may_follow(tail: str, pair: str) -> bool:
    """Say whether what stands behind a pair is a decoration; a third currency or another word is none."""
    if not tail or not tail[0].isalnum():
        return True
    word = re.match(r"[A-Za-z0-9]*", tail, re.ASCII)
    letters = "" if word is None else word.group()
    if letters.upper() in _CURRENCIES or letters.upper() in _COINS or letters.upper() in _STABLES:
        return False
    if not pair.isalpha() and f"USD{letters.upper()}" in _STABLES:
        return False  # EUR/USDC
    return pair.isupper() or tail.casefold() in _CLASSES or len(letters) == 1


def _metal(symbol: str, bare: str) -> str:
    """Return the metal that a word names, else the bare name."""
    venue, colon, rest = symbol.partition(":")
    if colon and venue.upper() in _METAL_VENUES and _bare(rest) in _METAL_WORDS:
        return _bare(rest)
    if bare in _METAL_WORDS and symbol.startswith("#"):
        return symbol.upper()  # brokers put # before shares, and Gold is one
    return bare


def _bare(symbol: str) -> str:
    """Return a name in capitals without the marks of an account's class at its ends, again and again until none is left."""
    name = symbol
    while (shorter := _stripped(name)) != name:
        name = shorter
    return name.upper()


def _stripped(name: str) -> str:
    """Return a name without one decoration."""
    for pattern in _TAILS:
        found = pattern.search(name)
        if found is not None and found["tail"].lower() in _CLASSES:
            return _kept(name[: found.start()], name)
    head = _SEPARATED_HEAD.match(name)
    if head is not None and head["head"].lower() in _CLASSES:
        return _kept(name[head.end() :], name)
    return _kept(_EDGE.sub("", name, count=1) if _EDGE.match(name) else re.sub(r"[#.!_+\-\s]+$", "", name), name)


def _kept(shorter: str, name: str) -> str:
    """Return the shorter name where enough is left of it."""
    return shorter if sum(letter.isalnum() for letter in shorter) >= _LEAST else name

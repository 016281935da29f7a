"""What a column's name means: tables of the words that exporters use. A stranger's format is added as a word in a row."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from dtms.domain.instrument import AssetClass
from dtms.domain.symbols import asset_class, canonical
from dtms_lab.tapes._options import OHLC

_WORDS: Final[dict[str, str]] = {
    "time": "time timestamp datetime dt ts epoch unix unixtime 'unix time' 'unix timestamp' 'time stamp' 'date time' 'open time' "
    "opentime 'open timestamp' 'start time' 'bar time' 'candle time' 'begins at' begin start 'time start' 'time epoch' 'period start' "
    "'ts event' 'ts event ns' 'event time' 'local time' 'gmt time' 'server time' 'time server' 'quote time' 'rate datetime' "
    "'rate date time' ratedatetime 'tick time' zeit hora heure ora czas fecha 'fecha hora' 'datum zeit' 'time period start' "
    "snapshottime 'snapshot time' mts 'kline open time' 'window start' uhrzeit",
    "date": "date day datum data 'trade date' 'trading day' dtyyyymmdd yyyymmdd 'bar date' 'date ymd' 'date mdy' 'date dmy'",
    "ms_of_day": "'ms of day'",
    "msc": "'time msc' 'timestamp ms' 'time ms' 'time milliseconds'",
    "close_time": "'close time' closetime 'close timestamp' 'end time' 'time end' 'time close' 'time period end' 'period end' 'ts init' "
    "'kline close time'",
    "open": "open o opening first 'open price' otwarcie ouverture eroffnung eroeffnung erster apertura abertura aper offnung",
    "high": "high h max maximum hi highest 'high price' najwyzszy haut hoch tageshoch maximo massimo maxima",
    "low": "low l min minimum lo lowest 'low price' najnizszy bas tief tagestief minimo minima",
    "close": "close c closing 'close price' zamkniecie cloture fermeture fermer schluss schlusskurs cierre chiusura fechamento",
    "price": "price last 'last price' 'trade price' p kurs dernier ultimo zuletzt",
    "bid": "bid b geld 'bid price' bidprice 'best bid' 'best bid price' 'rate bid' ratebid 'bid px' 'bid rate' 'bid 1' 'bid close price' 'bid px 00'",
    "ask": "ask a offer brief 'ask price' askprice 'best ask' 'best ask price' 'best offer' 'rate ask' rateask 'ask px' 'ask rate' "
    "'ask 1' 'offer price' 'ask px 00'",
    "volume": "volume 'volume base' volumefrom 'base volume' 'total volume' volumen wolumen 'trade volume' 'volume traded'",
    "tick_volume": "'tick volume' tickvol 'tick vol' tickqty 'tick qty' ticks 'tick count'",
    "vol": "vol v qty quantity amount size",
    "buy_volume": "'buy volume' 'taker buy volume' 'taker buy base asset volume' 'taker buy base volume' 'taker buy base'",
    "sell_volume": "'sell volume' 'taker sell volume'",
    "real_volume": "'real volume' 'volume real'",
    "spread": "spread 'spread points' 'avg spread' 'average spread'",
    "symbol": "symbol ticker pair instrument 'currency pair' currencypair product asset ric 'instrument id' epic tic "
    "'symbol name' 'format ticker'",
    "flags": "flags flag",
}
"""Names by what they mean, in small letters without accents; quotes keep words together."""

_ZONES: Final[dict[str, str]] = {
    "utc": "UTC",
    "gmt": "UTC",
    "z": "UTC",
    "est": "EST",
    "et": "America/New_York",
    "edt": "America/New_York",
    "new york": "America/New_York",
    "eet": "EET",
    "cet": "CET",
    "msk": "Europe/Moscow",
}
"""Zone labels that headers have, and the clock that they stand for."""

_NOISE: Final = frozenset({"price", "prices", "rate", "candle", "bar", "value", "level", "px", "in", "of", "at"})
"""Words beside the one that counts."""

_SIDES: Final = {"bid": "bid", "ask": "ask", "offer": "ask", "mid": "mid", "geld": "bid", "brief": "ask"}
_TOGETHER: Final = re.compile(r"(bid|ask|mid)(open|high|low|close)|(open|high|low|close)(bid|ask|mid)")
TIMES: Final = ("time", "date", "msc", "close_time")
"""The meanings of columns that hold a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a column is: its kind, the clock that its name says, and the symbol that its name says; an empty kind: unknown."""

    kind: str = ""
    zone: str | None = None
    symbol: str | None = None


def _table() -> dict[str, str]:
    found = {}
    for kind, words in _WORDS.items():
        for quoted, plain in re.findall(r"'([^']+)'|(\S+)", words):
            found[quoted or plain] = kind
    return found


_KINDS: Final = _table()


def meaning_of(names: Sequence[str]) -> Meaning:
    """Return what a column means: by the name nearest to its rows that means something; symbols count from every name."""
    meanings = [_of_name(name) for name in names if name]
    known = next((each for each in meanings if each.kind), Meaning())
    symbol = known.symbol or next((each.symbol for each in meanings if each.symbol), None)
    return Meaning(kind=known.kind, zone=known.zone, symbol=symbol)


@lru_cache(maxsize=512)
def _of_name(name: str) -> Meaning:
    words = _plain(name)
    kind = _kind(words)
    if kind:
        return Meaning(kind=kind, zone=_ZONES.get(" ".join(words[:1])) if kind == "time" else None)
    zone, words = _without_zone(words)
    if zone is not None and (not words or _kind(words) in TIMES):
        return Meaning(kind=_kind(words) or "time", zone=zone)
    symbol, words = _without_symbol(words)
    return Meaning(kind=_kind(words), symbol=symbol)


def _plain(name: str) -> tuple[str, ...]:
    """Return a name's words: small, without accents, signs or leading numbers; openTime is two words."""
    bare = unicodedata.normalize("NFKD", name).replace("ß", "ss").replace("ł", "l")
    bare = "".join(each for each in bare if not unicodedata.combining(each))
    bare = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", bare).lower()
    words = re.sub(r"[^a-z0-9]+", " ", bare).split()
    while len(words) > 1 and words[0].isdigit():
        words = words[1:]
    return tuple(words)


def _kind(words: Sequence[str]) -> str:
    if not words:
        return ""
    direct = _KINDS.get(" ".join(words))
    if direct is not None:
        return direct
    together = _TOGETHER.fullmatch("".join(words))
    if together is not None:
        side = together.group(1) or together.group(4)
        return f"{side}_{together.group(2) or together.group(3)}"
    kept = [word for word in words if word not in _NOISE]
    if len(kept) == 2:  # noqa: PLR2004 - a side and a price
        sides = [_SIDES[word] for word in kept if word in _SIDES]
        prices = [_KINDS[word] for word in kept if _KINDS.get(word) in OHLC]
        if len(sides) == 1 and len(prices) == 1:
            return f"{sides[0]}_{prices[0]}"
    if 0 < len(kept) < len(words):
        return _KINDS.get(" ".join(kept), "")
    return ""


def _without_zone(words: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    for label, zone in _ZONES.items():
        parts = label.split()
        for i in range(len(words) - len(parts) + 1):
            if list(words[i : i + len(parts)]) == parts:
                return zone, (*words[:i], *words[i + len(parts) :])
    return None, tuple(words)


def _without_symbol(words: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """Take a pair that stands in a name out of it: `EUR/USD(Open, Ask)`, `EURUSD_bid`, `EURUSD=X`, `Volume BTC`."""
    for i, word in enumerate(words):
        rest = tuple(each for each in (*words[:i], *words[i + 1 :]) if each != "x")
        if _is_pair(word):
            return canonical(word.upper()), rest
        if i + 1 < len(words) and _is_pair(word + words[i + 1]):
            joined = canonical((word + words[i + 1]).upper())
            return joined, (*words[:i], *words[i + 2 :])
    # A currency beside a volume says what it counts, not whose it is.
    kept = tuple(word for word in words if not (_is_pair(f"{word}usd") or _is_pair(f"eur{word}")))
    return None, kept if _kind(kept) in ("volume", "vol") else tuple(words)


def _is_pair(word: str) -> bool:
    return len(word) > 5 and asset_class(canonical(word.upper())) is not AssetClass.OTHER  # noqa: PLR2004 - two codes


def known(kinds: Collection[str], side: str = "") -> bool:
    """Say whether all four prices of a side are among kinds."""
    return all(f"{side}{name}" in kinds for name in OHLC)

"""What a tape's name says: its symbol, and which side of the quote it holds."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from dtms.domain.instrument import AssetClass
from dtms.domain.symbols import asset_class, canonical
from dtms_lab.instruments import class_of
from dtms_lab.tapes._defects import defect

_WORDS = re.compile(r"[^A-Za-z0-9]+")
_SIDE = re.compile(r"(?i)(?<![a-z0-9])(bid|ask)(?![a-z0-9])")
_OTHER_SIDE = {"bid": "ask", "ask": "bid", "BID": "ASK", "ASK": "BID", "Bid": "Ask", "Ask": "Bid"}

_PLAUSIBLE = {
    "EURUSD": (0.5, 2.5, 0.0001),
    "GBPUSD": (0.7, 3.0, 0.0001),
    "USDJPY": (60.0, 400.0, 0.01),
    "EURJPY": (70.0, 500.0, 0.01),
    "GBPJPY": (80.0, 600.0, 0.01),
}
"""Prices that a pair has had since 1990, with room (EURUSD 0.82-1.60, USDJPY 75-162, GBPJPY 116-252), and its pip."""


def symbols_in(name: str) -> tuple[str, ...]:
    """Return the known pairs, indices and energies that a file name holds; neighbours such as XAU-USD count where no word does."""
    words = [word for word in _WORDS.split(name) if word]
    together = [f"{a}{b}" for a, b in pairwise(words)]
    return _known(words) or _known(together)


def _known(words: list[str]) -> tuple[str, ...]:
    names = (canonical(word) for word in words)
    return tuple(dict.fromkeys(name for name in names if class_of(name) != "share"))


def spelled(name: str) -> str:
    """Return our spelling of a name that may have its exchange in front (`FX:EURUSD`, `C:EUR-USD`)."""
    exchange, mark, rest = name.rpartition(":")
    bare = rest if mark and exchange.isalnum() else name
    joined = canonical(bare.replace("-", ""))
    return canonical(bare) if asset_class(joined) is AssetClass.OTHER else joined


def symbol_of(
    path: Path, given: str | None, said: tuple[str, ...], *, beside: tuple[str, ...] = ()
) -> tuple[str, str | None]:
    """Return the tape's symbol in our spelling, with a note where it was inferred.

    `said` is what the file itself says; where it says nothing, the file's name counts, then the names
    `beside` it: of its member in a zip, of its folders.

    Raises:
        SettingsError: The given symbol contradicts the tape, or none is given and the tape does not name one.
    """
    source = "the tape says" if said else "the file name says"
    found = tuple(dict.fromkeys(spelled(name) for name in said)) or symbols_in(path.name)
    found = found or next((names for names in map(symbols_in, beside) if names), ())
    if given is not None:
        wanted = canonical(given)
        if found and wanted not in found:
            why = f"{source} {' and '.join(found)}, not {given}"
            raise defect(path, None, why, f"give the tape of {wanted}, or --symbol {found[0]}")
        return wanted, None
    if len(found) == 1:
        return found[0], None if said else f"symbol {found[0]} is taken from the file name"
    why = f"{source} {' and '.join(found)}" if found else "neither tape nor file name says a known symbol"
    raise defect(path, None, why, "name it with --symbol")


def sides_of(path: Path) -> tuple[Path, Path | None]:
    """Return the bid file of a pair and its ask sibling; a tape whose name has no side is its own bid file, alone.

    Raises:
        SettingsError: This is the ask side and there is no bid file beside it.
    """
    side = _SIDE.search(path.name)
    if side is None:
        return path, None
    word = side.group(1)
    other = _OTHER_SIDE.get(word)
    sibling = None if other is None else path.with_name(_SIDE.sub(other, path.name, count=1))
    exists = sibling is not None and sibling.is_file()
    if word.lower() == "ask":
        if not exists or sibling is None:
            raise defect(
                path, None, "this is the ask side and its bid file is not beside it", "give both files, or the bid file"
            )
        return sibling, path
    return path, sibling if exists else None


def scale_of(path: Path, symbol: str, prices: list[float]) -> tuple[float, str | None]:
    """Return what to divide the prices by, with a note where that is not 1: some exporters write pips or points.

    Raises:
        SettingsError: The prices are none of this symbol, in no unit.
    """
    if symbol not in _PLAUSIBLE:
        return 1.0, None
    low, high, pip = _PLAUSIBLE[symbol]
    sane = sorted(price for price in prices if 0 < price < float("inf"))
    if not sane:
        return 1.0, None
    middle = sane[len(sane) // 2]
    for divisor, unit in ((1.0, "price"), (round(1 / pip), "pips"), (round(10 / pip), "points"), (1e9, "billionths")):
        if low <= middle / divisor <= high:
            note = f"prices are in {unit} ({middle:g}) and were divided by {divisor:g}"
            return divisor, None if divisor == 1 else note
    why = f"{middle:g} is no price of {symbol}, which lies between {low:g} and {high:g}"
    raise defect(path, None, why, "give the tape of this symbol, or name the right one with --symbol")

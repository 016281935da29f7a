"""The ask side of a tape of bars: in the same rows, in a sibling file, or from MetaTrader's spread column."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from dtms.domain.market import Bar
from dtms.domain.units import Millis
from dtms.errors import InvalidDataError
from dtms_lab.instruments import SymbolSpec
from dtms_lab.tapes._defects import defect
from dtms_lab.tapes._model import crossed
from dtms_lab.tapes._remarks import Remarks
from dtms_lab.tapes._rows import Prices, Rows
from dtms_lab.tapes._spread_unit import spread_unit
from dtms_lab.tapes._zones import wall_clock

_NOISE = 0.0005
"""Share of the price up to which two separately recorded sides may cross: 0.0002 is the worst in the recorded pairs."""

_TOO_MANY = 0.10
"""Share of crossed minutes beyond which two files are not the two sides of one market; 0.075 is the worst recorded."""

_REMEDY = "cut the row, or export the tape again"

Sibling = tuple[Path, Rows, list[Millis]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """By what a spread is judged: the instrument, and what a person says of its unit."""

    spec: SymbolSpec
    spread_unit: str | None
    remarks: Remarks


def asks_of(
    path: Path, rows: Rows, bars: tuple[Bar, ...], sibling: Sibling | None, judge: Judge
) -> tuple[Bar, ...] | None:
    """Return an ask bar for each bid bar, None where the tape knows nothing of asks; remarks say where they are from.

    Raises:
        SettingsError: An ask is no price, or lies below its bid.
    """
    if rows.asks:
        return _of_rows(path, rows, bars)
    if sibling is not None:
        return _of_sibling(sibling, bars, judge.remarks)
    if rows.spreads:
        return _of_spreads(path, rows, bars, judge)
    return None


def _ask_bar(path: Path, line: int, start: Millis, prices: Prices) -> Bar:
    opened, high, low, close = prices
    try:
        return Bar(start=start, open=opened, high=high, low=low, close=close)
    except InvalidDataError as error:
        raise defect(path, line, f"ask: {str(error).partition(': ')[2]}", _REMEDY) from error


def _of_rows(path: Path, rows: Rows, bars: tuple[Bar, ...]) -> tuple[Bar, ...]:
    asks = []
    for line, bid, prices in zip(rows.lines, bars, rows.asks, strict=True):
        ask = _ask_bar(path, line, bid.start, prices)
        if crossed(bid, ask):
            raise defect(path, line, _crossed_sentence(bid, ask), _REMEDY)
        asks.append(ask)
    return tuple(asks)


def _of_sibling(sibling: Sibling, bars: tuple[Bar, ...], remarks: Remarks) -> tuple[Bar, ...]:
    path, rows, starts = sibling
    found = {
        start: (line, _ask_bar(path, line, start, prices))
        for line, start, prices in zip(rows.lines, starts, rows.asks or rows.bids, strict=True)
    }
    asks: dict[Millis, Bar] = {}
    bad = 0
    for bid in bars:
        if bid.start not in found:
            continue
        line, ask = found[bid.start]
        if not crossed(bid, ask):
            asks[bid.start] = ask
            continue
        bad += 1
        depth = max(bid.open - ask.open, bid.high - ask.high, bid.low - ask.low, bid.close - ask.close)
        if depth > _NOISE * bid.close:
            raise defect(path, line, _crossed_sentence(bid, ask), "cut the row in both files, or export them again")
    if not asks or bad > _TOO_MANY * len(bars):
        why = f"{bad} of its bars lie below the bid file's and {len(asks)} fit: it is not the ask side of the same tape"
        raise defect(path, None, why, "put the right ask file beside the bid file, or move it away")
    spread = median(asks[bid.start].close - bid.close for bid in bars if bid.start in asks)
    remarks.note(f"asks are from the sibling {path.name}")
    missing = len(bars) - len(asks) - bad
    if missing + bad:
        made = f"the bid plus the median difference {spread:.6g}"
        remarks.note(f"{missing} minutes without ask bar and {bad} with an ask below the bid have {made} instead")
    if unused := len(found) - len(bars) + missing:
        remarks.note(f"{unused} ask bars without bid bar are not used")
    return tuple(asks.get(bid.start) or _above(bid, spread) for bid in bars)


def _of_spreads(path: Path, rows: Rows, bars: tuple[Bar, ...], judge: Judge) -> tuple[Bar, ...] | None:
    for line, spread in zip(rows.lines, rows.spreads, strict=True):
        if not 0 <= spread < float("inf"):
            raise defect(path, line, f"spread {spread!r} is not finite and >= 0", _REMEDY)
    known = [spread for spread in rows.spreads if spread > 0]
    if not known:
        judge.remarks.note("the spread column is 0 in every row")
        return None
    usual = median(known)
    unit = spread_unit(known, judge.spec, rows.digits, judge.spread_unit, judge.remarks)
    if zeros := len(rows.spreads) - len(known):
        judge.remarks.note(f"{zeros} rows with a spread of 0 have the median of the others, {usual:g}")
    spreads = [spread if spread > 0 else usual for spread in rows.spreads]
    return tuple(_above(bid, spread * unit.value) for bid, spread in zip(bars, spreads, strict=True))


def _above(bid: Bar, spread: float) -> Bar:
    """Return the bid bar lifted by a spread, rounded to hide the binary noise of the sum."""
    opened, high, low, close = (round(price + spread, 10) for price in (bid.open, bid.high, bid.low, bid.close))
    return Bar(start=bid.start, open=opened, high=high, low=low, close=close)


def _crossed_sentence(bid: Bar, ask: Bar) -> str:
    pairs = ((bid.open, ask.open), (bid.high, ask.high), (bid.low, ask.low), (bid.close, ask.close))
    name, (b, a) = next((n, p) for n, p in zip(("open", "high", "low", "close"), pairs, strict=True) if p[1] < p[0])
    return f"crossed quotes at {wall_clock(bid.start)} UTC: {name} ask {a} is below bid {b}"

"""A table's rows as columns of numbers, before zone, scale or meaning are given to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeVar

from dtms.domain.instrument import AssetClass
from dtms.domain.symbols import asset_class, canonical
from dtms_lab.tapes._clock import Times, joined, read_times, without_zone
from dtms_lab.tapes._dates import day_first
from dtms_lab.tapes._defects import defect
from dtms_lab.tapes._layout import Layout
from dtms_lab.tapes._naming import spelled, symbols_in
from dtms_lab.tapes._numbers import decimal_mark, number
from dtms_lab.tapes._numbers import volume as volume_of
from dtms_lab.tapes._options import TapeOptions
from dtms_lab.tapes._remarks import Remarks
from dtms_lab.tapes._sides import carried
from dtms_lab.tapes._table import Table

_AGAIN: Final = "cut the row, or export the tape again"
_BLANK: Final = frozenset({"", "nan", "NaN", "null", "None", "N/A", "-"})

_T = TypeVar("_T")
Prices = tuple[float, ...]
Row = Sequence[str]


@dataclass(slots=True, kw_only=True)
class Rows:
    """Columns of equal length; one whose format has none stays empty.

    `times` are UTC milliseconds where `aware`, else wall-clock milliseconds. A volume of None is a blank cell. `others` are
    the further time columns by name, as far as they could be read. `digits` are the decimals that prices are written with.
    """

    lines: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    aware: bool = False
    epoch: bool = False
    zone: str | None = None
    bids: list[Prices] = field(default_factory=list)
    asks: list[Prices] = field(default_factory=list)
    volumes: list[float | None] = field(default_factory=list)
    buys: list[float | None] = field(default_factory=list)
    sells: list[float | None] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    others: dict[str, Times] = field(default_factory=dict)
    digits: int = 0
    symbols: tuple[str, ...] = ()


def read_rows(path: Path, table: Table, layout: Layout, options: TapeOptions, remarks: Remarks) -> Rows:
    """Return the rows of a table, oldest first.

    Raises:
        SettingsError: A row is too short, a cell is no time or number, or the rows are of several symbols; it names the line.
    """
    records = _full_rows(path, table, layout)
    records, symbols = _of_symbol(path, records, layout, options, remarks)
    records = _with_prices(records, layout, remarks)
    if not records:
        raise defect(path, None, "no row has prices", "export the tape again")
    lines = [line for line, _ in records]
    rows = [row for _, row in records]
    weekends = _open_at_weekends(path, options, symbols)
    times = _times(path, lines, rows, layout, remarks, weekends=weekends)
    if _newest_first(times.values):
        remarks.note("the rows are newest first and were turned round")
        lines, rows = lines[::-1], rows[::-1]
        times = replace(times, values=times.values[::-1])
    found = _columns(path, lines, rows, layout, remarks, table.separator)
    found.times, found.aware, found.epoch, found.zone = times.values, times.aware, times.epoch, times.zone
    found.symbols = symbols
    _more_times(path, rows, layout, found, weekends=weekends)
    return carried(path, found, remarks) if _may_lack_a_side(rows, layout) else found


def _may_lack_a_side(rows: list[Row], layout: Layout) -> bool:
    """Say whether a row may tell one side of a quote only: a MetaTrader's always may, others where a cell is blank."""
    if not layout.ticks:
        return False
    sides = (*layout.bid, *(layout.ask or ()))
    return layout.form.server_clock or any(not row[i] for row in rows for i in sides)


def _full_rows(path: Path, table: Table, layout: Layout) -> list[tuple[int, Row]]:
    width = layout.width
    for line, row in zip(table.lines, table.rows, strict=True):
        if len(row) < width:
            why = f"{len(row)} columns where {width} are needed: the line is cut off or of another kind"
            raise defect(path, line, why, _AGAIN)
    return list(zip(table.lines, table.rows, strict=True))


def _of_symbol(
    path: Path, records: list[tuple[int, Row]], layout: Layout, options: TapeOptions, remarks: Remarks
) -> tuple[list[tuple[int, Row]], tuple[str, ...]]:
    """Return the rows of the wanted symbol, where the rows name theirs, with the names that the tape then has."""
    if layout.symbol is None:
        return records, ()
    place = layout.symbol
    counts = Counter(row[place] for _, row in records)
    ours = {name: spelled(name) for name in counts}
    if len(counts) == 1:
        return records, tuple(ours.values())
    if options.symbol in counts or len(set(ours.values())) < len(counts):
        ours = {name: name for name in counts}  # EURUSD and EURUSD.r in one file are two streams
    found = tuple(dict.fromkeys(ours.values()))
    wanted = options.symbol if options.symbol in found or options.symbol is None else canonical(options.symbol)
    if wanted not in found:
        said = ", ".join(f"{name} ({count} rows)" for name, count in counts.most_common(8))
        wrong = "" if wanted is None else f", none of {options.symbol}"
        why = f"it holds {len(found)} symbols: {said}{wrong}"
        raise defect(path, None, why, f"name one of them with --symbol, {counts.most_common(1)[0][0]} for example")
    kept = [(line, row) for line, row in records if ours[row[place]] == wanted]
    others = ", ".join(f"{count} of {name}" for name, count in counts.most_common() if ours[name] != wanted)
    remarks.doubt(
        "several_symbols",
        f"the file holds {len(found)} symbols: the {len(kept)} rows of {wanted} were read, {len(records) - len(kept)} others "
        f"({others}) left out",
    )
    return kept, (spelled(wanted),)


def _with_prices(records: list[tuple[int, Row]], layout: Layout, remarks: Remarks) -> list[tuple[int, Row]]:
    """Leave rows out that have no price at all: a minute without one, or a deal in a file of quotes."""
    prices = (*layout.bid, *(layout.ask or ()))
    first = prices[0]
    if not any(row[first] in _BLANK for _, row in records):
        return records
    kept = [(line, row) for line, row in records if any(row[i] not in _BLANK for i in prices)]
    if len(kept) < len(records):
        remarks.note(f"{len(records) - len(kept)} rows without any price were left out")
    return kept


def _open_at_weekends(path: Path, options: TapeOptions, symbols: tuple[str, ...]) -> bool:
    names = symbols or symbols_in(path.name)
    name = canonical(options.symbol) if options.symbol is not None else next(iter(names), "")
    return asset_class(name) is AssetClass.CRYPTO


def _times(path: Path, lines: list[int], rows: list[Row], layout: Layout, remarks: Remarks, *, weekends: bool) -> Times:
    cells = [row[layout.time] for row in rows]
    first = day_first(path, lines, cells, remarks, usual=layout.form.day_first, weekends=weekends)
    if layout.time_of_day is not None:
        cells = joined(cells, [row[layout.time_of_day] for row in rows], in_ms=layout.in_ms)
    cells, zone = without_zone(cells)
    return replace(read_times(path, lines, cells, day_first=first), zone=zone)


def _newest_first(times: Sequence[int]) -> bool:
    down = sum(b < a for a, b in pairwise(times))
    up = sum(b > a for a, b in pairwise(times))
    return down > 0 and up * 50 <= down and times[-1] < times[0]


def _columns(path: Path, lines: list[int], rows: list[Row], layout: Layout, remarks: Remarks, separator: str) -> Rows:
    prices = [[row[i] for row in rows] for i in (*layout.bid, *(layout.ask or ()))]
    mark = decimal_mark((cell for column in prices for cell in column), separator, remarks)
    gaps = _may_lack_a_side(rows, layout)
    zeros = gaps and layout.form.server_clock

    def numbers(place: int) -> list[float]:
        quick = None if gaps or mark != "." else _plain_numbers([row[place] for row in rows])
        if quick is not None:
            return quick
        return _read(path, lines, rows, place, layout, lambda cell: _price(cell, mark, gaps=gaps, zeros=zeros))

    def volumes(place: int | None) -> list[float | None]:
        if place is None:
            return []
        return _read(path, lines, rows, place, layout, lambda cell: volume_of(cell, mark))

    width = len(layout.bid)
    whole, buys, sells = volumes(layout.volume), volumes(layout.buys), volumes(layout.sells)
    if buys and not sells and whole:
        sells = [_rest(volume, bought) for volume, bought in zip(whole, buys, strict=True)]
    columns = [numbers(place) for place in (*layout.bid, *(layout.ask or ()))]
    return Rows(
        lines=lines,
        bids=list(zip(*columns[:width], strict=True)),
        asks=list(zip(*columns[width:], strict=True)),
        volumes=whole,
        buys=buys,
        sells=sells,
        spreads=[] if layout.spread is None else numbers(layout.spread),
        digits=max(len(cell.partition(mark)[2]) for cell in prices[width - 1]),
    )


def _plain_numbers(cells: list[str]) -> list[float] | None:
    """Return a column of plain numbers, which nearly every one is, at once; None where any cell is another thing."""
    if "_" in "".join(cells):
        return None
    try:
        return list(map(float, cells))
    except ValueError:
        return None


def _rest(volume: float | None, bought: float | None) -> float | None:
    """Return what was sold of a volume, rounded to hide the binary noise of the difference."""
    return None if volume is None or bought is None else max(0.0, round(volume - bought, 10))


def _price(cell: str, mark: str, *, gaps: bool, zeros: bool) -> float:
    """Return a price; where one side of a quote may be missing, a blank or (`zeros`) a zero is not a number."""
    if gaps and not cell:
        return float("nan")
    found = number(cell, mark)
    return float("nan") if zeros and not abs(found) > 0 else found


def _read(
    path: Path, lines: list[int], rows: list[Row], place: int, layout: Layout, cell_of: Callable[[str], _T]
) -> list[_T]:
    found: list[_T] = []
    for line, row in zip(lines, rows, strict=True):
        try:
            found.append(cell_of(row[place]))
        except ValueError:
            cell = row[place].strip()
            what = f"{layout.name(place)} is {cell!r}, no number" if cell else f"{layout.name(place)} is empty"
            raise defect(path, line, what, _AGAIN) from None
    return found


def _more_times(path: Path, rows: list[Row], layout: Layout, found: Rows, *, weekends: bool) -> None:
    """Read the other columns that tell a time, as far as they are ones; they are compared, not used."""
    from dtms.errors import SettingsError

    places = {place: layout.name(place) for place in layout.others}
    if layout.close_time is not None and layout.close_time != layout.time:
        places[layout.close_time] = ""
    for place, name in places.items():
        if any(place >= len(row) for row in rows):
            continue
        cells = [row[place] for row in rows]
        try:
            first = day_first(path, found.lines, cells, Remarks(), usual=layout.form.day_first, weekends=weekends)
            times = read_times(path, found.lines, cells, day_first=first)
        except SettingsError:
            continue
        if name:
            found.others[name] = times
        else:
            found.ends = times.values

"""What a tape's rows say, column by column, before zone, scale or meaning are given to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from dtms.adapters.files._defects import defect
from dtms.adapters.files._layout import Clock, Layout
from dtms.adapters.files._zones import naive_millis
from dtms.domain.units import DAY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_NANOS = 1_000_000
_AGAIN = "cut the row, or export the tape again"

Prices = tuple[float, ...]
Cells = Sequence[str]


@dataclass(slots=True, kw_only=True)
class Rows:
    """Columns of equal length; one whose format has none stays empty.

    `times` are UTC milliseconds where `aware`, else wall-clock milliseconds. A volume of None is a blank cell of our own
    format. `spreads` are in points of `digits` decimals.
    """

    lines: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    aware: bool = False
    bids: list[Prices] = field(default_factory=list)
    asks: list[Prices] = field(default_factory=list)
    volumes: list[float | None] = field(default_factory=list)
    buys: list[float | None] = field(default_factory=list)
    sells: list[float | None] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)
    digits: int = 0
    symbols: set[str] = field(default_factory=set)


def read_rows(path: Path, lines: list[str], layout: Layout) -> Rows:
    """Return the rows of a text tape.

    Raises:
        SettingsError: A row is too short, or a cell is no time or number; it names the line.
    """
    rows = Rows()
    time_of = _time_reader(layout)
    separator, width = layout.separator, layout.width
    number = layout.first_row
    aware: bool | None = None
    try:
        for number, line in enumerate(lines[layout.first_row :], layout.first_row + 1):
            if not line or line.isspace():
                continue
            cells = line.split(separator)
            if len(cells) < width:
                why = f"{len(cells)} columns where {width} are needed: the line is cut off or of another kind"
                raise defect(path, number, why, _AGAIN)
            at, zoned = time_of(cells)
            if aware is None:
                aware = zoned
            elif zoned is not aware:
                raise defect(path, number, "some rows name their offset from UTC and some do not", _AGAIN)
            rows.lines.append(number)
            rows.times.append(at)
            _append(rows, cells, layout)
    except ValueError:
        _explain(path, number, lines[number - 1].split(separator), layout, time_of)
    rows.aware = bool(aware)
    if layout.spread is not None:
        rows.digits = _digits(lines[layout.first_row :], separator, layout.bid)
    return rows


def _append(rows: Rows, cells: Cells, layout: Layout) -> None:
    rows.bids.append(tuple([float(cells[i]) for i in layout.bid]))
    if layout.ask is not None:
        rows.asks.append(tuple([float(cells[i]) for i in layout.ask]))
    if layout.volume is not None:
        rows.volumes.append(_volume(cells[layout.volume]))
    if layout.buys is not None:
        rows.buys.append(_volume(cells[layout.buys]))
    if layout.sells is not None:
        rows.sells.append(_volume(cells[layout.sells]))
    if layout.spread is not None:
        rows.spreads.append(float(cells[layout.spread]))
    if layout.symbol is not None:
        rows.symbols.add(cells[layout.symbol].strip())


def _volume(cell: str) -> float | None:
    return None if not cell or cell.isspace() else float(cell)


def _digits(lines: list[str], separator: str, price: tuple[int, ...]) -> int:
    """The decimals that prices are written with, which are the terminal's digits."""
    return max(len(line.split(separator)[price[-1]].partition(".")[2]) for line in lines if line.strip())


def _time_reader(layout: Layout) -> Callable[[Cells], tuple[int, bool]]:
    """Return a function from a row to its time and whether that is UTC already; it raises ValueError for no time."""
    time = layout.time
    match layout.clock:
        case Clock.TEXT:
            return lambda cells: _of_text(cells[time])
        case Clock.DATE_AND_TIME:
            clock = layout.time_of_day or 0
            return lambda cells: _of_text(f"{cells[time]} {cells[clock]}")
        case Clock.DATE_AND_MS:
            of_day = layout.time_of_day or 0
            midnights: dict[str, int] = {}

            def lean(cells: Cells) -> tuple[int, bool]:
                date = cells[time]
                midnight = midnights.get(date)
                if midnight is None:
                    midnight = midnights[date] = _of_text(date)[0]
                millis = float(cells[of_day])
                if not 0 <= millis < DAY:
                    raise ValueError(cells[of_day])
                return midnight + int(millis), False

            return lean
        case Clock.HISTDATA_MS:
            return lambda cells: _of_text(f"{cells[time][:15]}.{cells[time][15:]}")
        case Clock.NANOSECONDS:
            # Nanoseconds that went through a float are off by hundreds: the nearest millisecond is the recorded one.
            return lambda cells: ((int(cells[time]) + _NANOS // 2) // _NANOS, True)


def _of_text(text: str) -> tuple[int, bool]:
    text = text.strip(' "\r')
    if text[4:5] == ".":
        text = text.replace(".", "-", 2)
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        return naive_millis(when), False
    return (when - _EPOCH) // _MILLISECOND, True


def _explain(path: Path, line: int, cells: Cells, layout: Layout, time_of: Callable[[Cells], object]) -> NoReturn:
    """Raise the sentence for a row that could not be read: which cell it was."""
    try:
        time_of(cells)
    except (ValueError, OverflowError):
        said = " ".join(cells[i].strip() for i in (layout.time, layout.time_of_day) if i is not None)
        raise defect(path, line, f"{said!r} is no time", _AGAIN) from None
    names = dict(zip(layout.bid, ("open", "high", "low", "close") if len(layout.bid) > 1 else ("bid",), strict=True))
    for i, cell in enumerate(cells):
        try:
            if i in _numeric(layout):
                _volume(cell) if i in (layout.volume, layout.buys, layout.sells) else float(cell)
        except ValueError:
            raise defect(
                path, line, f"{names.get(i, f'column {i + 1}')} is {cell.strip()!r}, no number", _AGAIN
            ) from None
    raise defect(path, line, "the row cannot be read", _AGAIN)


def _numeric(layout: Layout) -> tuple[int | None, ...]:
    return (*layout.bid, *(layout.ask or ()), layout.volume, layout.buys, layout.sells, layout.spread)


def rows_of_columns(path: Path, columns: dict[str, list[object]], layout: Layout) -> Rows:
    """Return the rows of a Parquet tape; its rows count as lines from 1.

    Raises:
        SettingsError: A cell is empty, or no time or number.
    """
    names = list(columns)
    rows = Rows(aware=True)
    for line, record in enumerate(zip(*columns.values(), strict=True), 1):
        missing = [names[i] for i in (layout.time, *layout.bid, *(layout.ask or ())) if record[i] is None]
        if missing:
            raise defect(path, line, f"{missing[0]} is empty", _AGAIN)
        when = record[layout.time]
        if isinstance(when, datetime):
            aware = when.tzinfo is not None
            at = (when - _EPOCH) // _MILLISECOND if aware else naive_millis(when)
        elif isinstance(when, int) and layout.clock is Clock.NANOSECONDS:
            aware, at = True, (when + _NANOS // 2) // _NANOS
        else:
            raise defect(path, line, f"{names[layout.time]} is {when!r}, no time", _AGAIN)
        rows.aware = aware
        rows.lines.append(line)
        rows.times.append(at)
        try:
            _append(rows, [str(cell) if cell is not None else "" for cell in record], layout)
        except ValueError:
            raise defect(path, line, "a price or volume is no number", _AGAIN) from None
    return rows

"""Where a row keeps what: by its header, by what a person says, or by the shape of rows without a header."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import Final

from dtms.domain.symbols import canonical
from dtms_lab.tapes._defects import defect
from dtms_lab.tapes._formats import Format, format_of
from dtms_lab.tapes._meanings import TIMES, Meaning, known, meaning_of
from dtms_lab.tapes._options import OHLC, TapeOptions
from dtms_lab.tapes._remarks import Remarks
from dtms_lab.tapes._shapes import shape_of
from dtms_lab.tapes._table import Table

REMEDY: Final = (
    "give bars with a header of time, open, high, low, close or quotes with time, bid, ask; or say which column is which, by "
    "its name or number: --columns time=1,open=2,high=3,low=4,close=5 (also date=, bid=, ask=, volume=, spread=, symbol=)"
)
_VOLUMES: Final = ("volume", "tick_volume", "vol", "real_volume")
"""The first of these that a tape of bars has is its volume."""

_INSTRUMENT_ID: Final = "instrument_id"
_CLOCK: Final = re.compile(r"\d{1,2}:\d\d|\d{1,6}$|\d{9}$")
_DATE: Final = re.compile(
    r"(\d{8}|\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{2,4}|[\w ,-]*[A-Za-z]{3}[\w ,-]*)$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The places of a row's cells; None says that the format does not have it.

    `time_of_day` stands beside a `time` that is a date only, in milliseconds where `in_ms`. `others` are further columns that
    tell the same time. `zone` is the clock that the header or the format names. `mid` says that the prices are of the middle. `symbols` are those
    that the header names.
    """

    time: int
    bid: tuple[int, ...]
    ask: tuple[int, ...] | None = None
    time_of_day: int | None = None
    in_ms: bool = False
    close_time: int | None = None
    others: tuple[int, ...] = ()
    volume: int | None = None
    buys: int | None = None
    sells: int | None = None
    spread: int | None = None
    symbol: int | None = None
    zone: str | None = None
    mid: bool = False
    form: Format
    names: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()

    @property
    def ticks(self) -> bool:
        """Say whether a row is a quote, not a bar."""
        return len(self.bid) == 1

    @property
    def width(self) -> int:
        """The columns that a row must have for the layout to be read from it."""
        optional = (self.time_of_day, self.volume, self.buys, self.sells, self.spread, self.symbol)
        return 1 + max(self.time, *self.bid, *(self.ask or ()), *(i for i in optional if i is not None))

    def name(self, place: int) -> str:
        """What a sentence calls a column."""
        if len(self.bid) > 1 and place in self.bid:
            return OHLC[self.bid.index(place)]
        if place in self.bid:
            return "bid"
        said = self.names[place] if place < len(self.names) else ""
        return said or f"column {place + 1}"


def layout_of(path: Path, table: Table, options: TapeOptions, remarks: Remarks) -> Layout:
    """Return the layout of a table.

    Raises:
        SettingsError: Neither header, shape nor what was said tells it; the sentence shows the file's first lines.
    """
    meanings = [meaning_of(names) for names in table.header]
    if options.columns:
        meanings = _told(path, table, options.columns)
    elif not meanings:
        kinds = shape_of(path, table, remarks)
        if kinds is None:
            raise unknown(path, 1, "no header, and rows of no known shape", table)
        meanings = [Meaning(kind=kind) for kind in kinds]
    meanings = _of_symbol(path, table, _without_numbers(table, meanings), options, remarks)
    places = _places(path, table, meanings)
    form = format_of(path, table)
    bid, ask, mid = _prices(path, table, places)
    times = _times(path, table, meanings, form)
    volume = next((places[kind] for kind in _VOLUMES if kind in places), None)
    if len(bid) == 1 and form.server_clock:
        volume = None  # a deal's volume, of another row than the quote
    layout = Layout(
        time=times[0],
        time_of_day=times[1],
        in_ms="ms_of_day" in places,
        close_time=places.get("close_time"),
        bid=bid,
        ask=ask,
        mid=mid,
        volume=volume,
        buys=places.get("buy_volume"),
        sells=places.get("sell_volume"),
        spread=places.get("spread"),
        symbol=places.get("symbol"),
        zone=meanings[times[0]].zone or form.zone,
        form=form,
        names=table.names,
        symbols=tuple(dict.fromkeys(each.symbol for each in meanings if each.symbol)),
    )
    used = {layout.time, layout.time_of_day}
    others = tuple(i for i, each in enumerate(meanings) if each.kind in ("time", "date", "msc") and i not in used)
    return replace(layout, others=tuple(i for i in others if table.names and table.names[i]))


def unknown(path: Path, line: int | None, why: str, table: Table) -> Exception:
    """Return the refusal of a table that cannot be understood, with its first lines and the way to say it."""
    return defect(path, line, why, f"{REMEDY}; the file begins {table.begin}")


def _told(path: Path, table: Table, columns: Mapping[str, str]) -> list[Meaning]:
    names = [name.casefold() for name in table.names]
    found = [Meaning()] * max(table.width, len(names))
    for kind, column in columns.items():
        wanted = column.casefold()
        if wanted in names:
            place = names.index(wanted)
        elif column.isdigit() and 0 < int(column) <= len(found):
            place = int(column) - 1
        else:
            why = f"--columns {kind}={column}: no such column among {_said(table.names) if table.names else f'1 to {len(found)}'}"
            raise unknown(path, table.header_line, why, table)
        found[place] = replace(meaning_of(table.header[place]) if table.header else Meaning(), kind=kind)
    return found


def _without_numbers(table: Table, meanings: list[Meaning]) -> list[Meaning]:
    """Leave an instrument's number, which Databento writes beside or in place of its symbol: it names nobody's tape."""
    first = table.rows[0] if table.rows else ()
    return [
        Meaning()
        if each.kind == "symbol" and i < len(first) and first[i].isdigit() and _INSTRUMENT_ID in table.header[i]
        else each
        for i, each in enumerate(meanings)
    ]


def _of_symbol(
    path: Path, table: Table, meanings: list[Meaning], options: TapeOptions, remarks: Remarks
) -> list[Meaning]:
    """Leave the columns of other symbols, where a header has those of several side by side."""
    symbols = list(dict.fromkeys(each.symbol for each in meanings if each.symbol and each.kind))
    if len(symbols) < 2:  # noqa: PLR2004 - several
        return meanings
    wanted = None if options.symbol is None else canonical(options.symbol)
    if wanted not in symbols:
        why = f"its columns are of {' and '.join(symbols)}"
        raise defect(path, table.header_line, why, f"name one of them with --symbol, {symbols[0]} for example")
    remarks.note(f"the columns of {', '.join(each for each in symbols if each != wanted)} were left out")
    return [each if each.symbol in (None, wanted) else Meaning() for each in meanings]


def _places(path: Path, table: Table, meanings: Sequence[Meaning]) -> dict[str, int]:
    """Return the first column of each kind; of prices there must be one."""
    places: dict[str, int] = {}
    for i, meaning in enumerate(meanings):
        kind = meaning.kind
        if not kind:
            continue
        if kind in places and (kind in OHLC or kind in ("bid", "ask") or kind.partition("_")[2] in OHLC):
            why = f"columns {places[kind] + 1} and {i + 1} both mean {kind}"
            raise unknown(path, table.header_line, why, table)
        places.setdefault(kind, i)
    if "price" in places and "close" not in places and {"open", "high", "low"} <= places.keys():
        places["close"] = places.pop("price")
    return places


def _times(path: Path, table: Table, meanings: Sequence[Meaning], form: Format) -> tuple[int, int | None]:
    """Return the column that tells the time, with the one of the time of day where the first is only a date."""
    found = [i for i, each in enumerate(meanings) if each.kind in TIMES or each.kind == "ms_of_day"]
    if not found:
        found = [i for i, names in enumerate(table.header) if i == 0 and not any(names)]
        if found:
            return found[0], None
        raise unknown(path, table.header_line, f"no time column among {_said(table.names)}", table)
    sample = {i: next((row[i] for row in table.rows[:20] if i < len(row) and row[i]), "") for i in found}
    dates = [i for i in found if _DATE.match(sample[i]) and meanings[i].kind in ("date", "time")]
    clocks = [
        i for i in found if meanings[i].kind == "ms_of_day" or (meanings[i].kind == "time" and _CLOCK.match(sample[i]))
    ]
    pair = next(((date, clock) for date in dates for clock in clocks if date != clock and clock not in dates[:1]), None)
    full = [i for i in found if meanings[i].kind != "close_time" and i not in (pair or ())]
    if pair is not None:
        full = [i for i in full if i not in dates and i not in clocks]
    full.sort(
        key=lambda i: (
            meanings[i].kind != "msc",
            not _says_utc(sample[i]) and not form.server_clock,
            meanings[i].zone is None,
        )
    )
    if pair is not None and not (full and _says_utc(sample[full[0]])):
        return pair
    if full:
        return full[0], None
    return found[0], None


def _says_utc(cell: str) -> bool:
    """Say whether a cell is an epoch or names its offset."""
    return bool(re.match(r"\d{9,}(\.\d+)?$", cell) or re.search(r"\d(Z|[+-]\d\d:?\d\d)$", cell))


def _prices(
    path: Path, table: Table, places: Mapping[str, int]
) -> tuple[tuple[int, ...], tuple[int, ...] | None, bool]:
    for side in ("bid_", "", "mid_"):
        if known(places.keys(), side):
            ask = tuple(places[f"ask_{name}"] for name in OHLC) if known(places.keys(), "ask_") else None
            return tuple(places[f"{side}{name}"] for name in OHLC), ask if side != "mid_" else None, side == "mid_"
    if "bid" in places and "ask" in places:
        return (places["bid"],), (places["ask"],), False
    if known(places.keys(), "ask_"):
        raise defect(path, table.header_line, "these are ask prices alone", "give the bid prices, or both")
    if "price" in places:
        why = "these are trades, with one price and no bid and ask"
        raise defect(path, table.header_line, why, "give the quotes of the same time, or bars")
    raise unknown(path, table.header_line, f"no known header: {_said(table.names)}", table)


def _said(names: Sequence[str]) -> str:
    return shorten(", ".join(name or "''" for name in names), width=120, placeholder=" ...")

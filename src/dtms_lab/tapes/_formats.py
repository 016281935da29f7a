"""What is known of an exporter beyond its columns: the clock it stamps with, which end of a bar, day or month first.

A format is recognised by the columns that only it has, by its file's name, or by the shape of its rows. To add one, add a row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dtms_lab.tapes._table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One exporter. `names` are headers (small letters) that it has, `header` a pattern in one of them, `file` one in its
    file's name, `cell` one in its first row's first cell.

    `zone` is its clock where that is fixed; `server_clock` says that it stamps with a MetaTrader server's clock, as epochs
    too. `day_first` is its order of day and month. `stamps_end` says that a bar bears the time at which it ends.
    """

    name: str
    names: frozenset[str] = frozenset()
    header: str | None = None
    file: str | None = None
    cell: str | None = None
    headless: bool | None = None
    zone: str | None = None
    server_clock: bool = False
    day_first: bool | None = None
    stamps_end: bool = False


def _names(*names: str) -> frozenset[str]:
    return frozenset(names)


OWN: Final = Format(name="our own")
"""What we write ourselves."""

FORMATS: Final = (
    Format(name="MetaTrader's API", names=_names("tick_volume", "spread", "real_volume"), server_clock=True),
    Format(name="MetaTrader's API (ticks)", names=_names("bid", "ask", "time_msc", "flags"), server_clock=True),
    Format(name="MetaTrader's API (ticks)", names=_names("bid", "ask", "flags"), server_clock=True),
    Format(
        name="MetaTrader (Darwinex's recorder)",
        names=_names("time_milliseconds", "bid", "ask", "spread"),
        server_clock=True,
    ),
    Format(name="MetaTrader", names=_names("tick_volume"), server_clock=True),
    Format(name="MetaTrader 5", names=_names("<date>", "<time>", "<tickvol>"), server_clock=True),
    Format(name="MetaTrader 5 (ticks)", names=_names("<date>", "<time>", "<bid>", "<ask>"), server_clock=True),
    Format(name="MetaTrader 4", headless=True, cell=r"\d{4}\.\d\d\.\d\d", server_clock=True),
    Format(name="MetaTrader", file=r"(?<![a-z])(mt[45]|metatrader)(?![a-z0-9])", server_clock=True),
    Format(name="NinjaTrader", headless=True, file=r"\.(last|bid|ask)\.txt|ninja", zone="UTC", stamps_end=True),
    Format(name="HistData", headless=True, cell=r"\d{8} \d{6}(\d{3})?$", zone="EST"),
    Format(name="Dukascopy", names=_names("gmt time"), day_first=True, zone="UTC"),
    Format(name="Dukascopy", names=_names("local time"), day_first=True),
    Format(name="Lean", names=_names("ms_of_day"), zone="UTC"),
    Format(name="Trading Station", header=r"\((open|high|low|close), (bid|ask)\)", day_first=False),
    Format(name="TradeStation", names=_names("date", "time", "up", "down"), day_first=False, stamps_end=True),
    Format(name="FirstRate Data", file=r"firstrate|_1min_(adj|unadj)", zone="America/New_York"),
    Format(name="Nautilus", names=_names("ts_event", "ts_init"), zone="UTC"),
    Format(name="BitMEX", cell=r"\d{4}-\d\d-\d\dD\d\d:", zone="UTC"),
    Format(name="TrueFX", headless=True, cell=r"[A-Z]{3}/[A-Z]{3}$", zone="UTC"),
)
"""In the order in which they are tried."""

NO_FORMAT: Final = Format(name="")


def format_of(path: Path, table: Table) -> Format:
    """Return what is known of a table's exporter; nothing where it is none of the known ones."""
    if table.own:
        return OWN
    headers = {name.lower() for column in table.header for name in column}
    first = table.rows[0][0] if table.rows[0] else ""
    for form in FORMATS:
        if form.headless is not None and form.headless is bool(table.header):
            continue
        if form.names and not form.names <= headers:
            continue
        if form.header is not None and not any(re.search(form.header, name) for name in headers):
            continue
        if form.file is not None and not re.search(form.file, path.name, re.IGNORECASE):
            continue
        if form.cell is not None and not re.match(form.cell, first):
            continue
        return form
    return NO_FORMAT

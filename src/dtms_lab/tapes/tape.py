"""Market tapes: one symbol's recorded or generated bars or quotes, read from and written to files.

A tape is what `simulate`, replay and the simulated terminal feed on. Reading is strict: what is not a tape, or is one with
a fault, is refused with file, line, reason and remedy. What had to be inferred or repaired is said in the tape's notes; what
may mean another thing is in its doubts.

The way through: `_source` (what is in the file), `_table` (cells), `_layout` with `_meanings`, `_shapes` and `_formats` (what
each column is), `_rows` with `_numbers`, `_clock`, `_dates` and `_sides` (numbers and times), `_instants` with `_zones` (UTC),
`_asks` with `_spread_unit` (the other side), `_reader` (all of it in order). A new format is a row in a table of `_meanings`,
`_shapes` or `_formats`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dtms_lab.instruments import InstrumentBook, open_book
from dtms_lab.tapes._model import Doubt, Tape, bars_from_quotes, require_frame, require_m1
from dtms_lab.tapes._options import COLUMN_KINDS, SPREAD_UNITS, TapeOptions, parse_columns
from dtms_lab.tapes._own import write
from dtms_lab.tapes._reader import read

__all__ = [
    "COLUMN_KINDS",
    "SPREAD_UNITS",
    "Doubt",
    "Tape",
    "bars_from_quotes",
    "parse_columns",
    "read_tape",
    "require_frame",
    "require_m1",
    "write_tape",
]


def read_tape(
    path: Path,
    *,
    symbol: str | None = None,
    tz: str | None = None,
    columns: Mapping[str, str] | None = None,
    spread_unit: str | None = None,
    instruments: InstrumentBook | None = None,
) -> Tape:
    """Return the tape in a file: text with columns (plain, gzip, bzip2, xz or zip), Parquet or Feather.

    Args:
        path: The file; the bid file of a pair finds its ask sibling, the ask file its bid sibling.
        symbol: The symbol; None takes it from the tape or its name. Of a file of several it takes this one's rows.
        tz: The clock of rows that name none: UTC, server, EST or an IANA name; None infers it, and the remarks say so.
        columns: Which column is what, by name or number from 1 (`parse_columns`); None goes by header or shape.
        spread_unit: The unit of a spread column, points or price; None judges by what the spread would cost.
        instruments: Digits and usual spread of the symbols; the shipped ones by default.

    Raises:
        SettingsError: It is no tape, or one with a fault; the message names file, line, reason and remedy.
    """
    options = TapeOptions(
        symbol=symbol,
        tz=tz,
        columns={} if columns is None else columns,
        spread_unit=spread_unit,
        instruments=open_book() if instruments is None else instruments,
    )
    return read(path, options)


def write_tape(tape: Tape, path: Path) -> None:
    """Write a tape in our own format, which `read_tape` reads back identically; gzip where the name ends in .gz.

    Raises:
        SettingsError: The tape could not be read back: its rows are of several timeframes or not on the timeframe's grid.
    """
    write(tape, path)

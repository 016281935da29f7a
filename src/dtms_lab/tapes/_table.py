"""From text to a table of cells: separator, quotes, lines before the header, the header, and what stands below the rows."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dtms_lab.tapes._defects import defect
from dtms_lab.tapes._remarks import Remarks
from dtms_lab.tapes._source import Content

OWN_MARK: Final = "#dtms-tape"
"""The first line of our own format begins so."""

_SEPARATORS: Final = ("\t", ";", "|", ",")
_LOOK: Final = 60
"""Lines in which a header and the first row must be."""

_NUMBER: Final = re.compile(r"[$€£]?[+-]?(?:\d[\d.,' ]*|\.\d+)(?:[eE][+-]?\d+)?%?$")
_BEGIN: Final = 80
_SHOWN: Final = 3
_WIDE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A tape's cells as text. `header` has one tuple of names a column, the nearest to the rows first; empty without header.

    `lines` are the rows' places in the file, counted from 1. `begin` shows its first lines.
    """

    header: tuple[tuple[str, ...], ...]
    header_line: int | None
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]
    begin: str
    separator: str = ","
    own: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Each column's own name: the first one that it has, reading upwards from the rows."""
        return tuple(next((name for name in column if name), "") for column in self.header)

    @property
    def width(self) -> int:
        """How many columns there are."""
        return max(len(self.header), len(self.rows[0]) if self.rows else 0)

    def column(self, place: int) -> list[str]:
        """Return one column's cells; every row must have it."""
        return [row[place] for row in self.rows]


def table_of(path: Path, content: Content, remarks: Remarks) -> Table:
    """Return the table in a file.

    Raises:
        SettingsError: The table cannot be read, or has no row.
    """
    if content.parquet is not None or content.feather is not None:
        return _of_polars(path, content)
    if content.text.lstrip().startswith("[["):
        return _of_json(path, content.text)
    _refuse_no_table(path, content.text)
    own = content.text.startswith(OWN_MARK)
    lines = content.text.splitlines()
    first = 0
    while first < len(lines) and (_skipped(lines[first]) or (own and lines[first].startswith("#"))):
        first += 1
    if first == len(lines):
        raise defect(path, len(lines), "the tape ends before its header", "write or copy it again")
    separator = _separator(lines[first : first + _LOOK])
    numbered = _cells(lines[first:], separator, first + 1)
    if not numbered:
        raise defect(path, None, "the file has separators and no cells", "export or download it again")
    begin = " / ".join(repr(line[:_WIDE]) for line in lines[first : first + _SHOWN])
    head = next((i for i, (_, cells) in enumerate(numbered[:_LOOK]) if is_data(cells)), None)
    if head is None:
        head = next((i + 1 for i, (_, cells) in enumerate(numbered) if len(cells) > 1), 1)
    block = [cells for _, cells in numbered[:head] if len(cells) > 1 or head == 1]
    if block and _counted(block[-1]):
        block = []  # the header of a nameless table is none
    rows = numbered[head:]
    while len(rows) > 1 and not is_data(rows[-1][1]) and not rows[-1][1][0][:1].isdigit():
        remarks.note(f"line {rows[-1][0]}, below the rows, is not one of them and was left out")
        rows.pop()
    if not rows:
        raise defect(path, numbered[max(head - 1, 0)][0], "a header and no rows", "export the tape again, with rows")
    return Table(
        header=_header(block),
        header_line=numbered[head - 1][0] if block else None,
        rows=[cells for _, cells in rows],
        lines=[line for line, _ in rows],
        begin=begin,
        separator=separator,
        own=own,
    )


_NO_TABLE: Final = (
    (re.compile(r"<(!doctype|html|\?xml)", re.IGNORECASE), "is a web page or XML, no tape", "download the data itself"),
    (
        re.compile(r"version https://git-lfs"),
        "is a pointer of Git LFS, not the data",
        "fetch the data with git lfs pull",
    ),
    (
        re.compile(r"\{"),
        "is a JSON object, no list of rows",
        "give CSV, or a JSON list of [time, open, high, low, close] rows",
    ),
)
"""What is saved in place of a tape now and then, by how it begins: its name and the way out."""


def _refuse_no_table(path: Path, text: str) -> None:
    begin = text.lstrip()[:_BEGIN]
    for pattern, why, remedy in _NO_TABLE:
        if pattern.match(begin):
            raise defect(path, None, f"{why}; it begins {' '.join(begin.split())!r}", remedy)


def is_data(cells: Sequence[str]) -> bool:
    """Say whether cells are a row of numbers, not of names; a row of 0, 1, 2 ... is the header of a nameless table."""
    numbers = [cell for cell in cells if cell and _NUMBER.match(cell)]
    if len(numbers) < 2:  # noqa: PLR2004 - the least that a quote has
        return False
    return not _counted(cells)


def _counted(cells: Sequence[str]) -> bool:
    full = [cell for cell in cells if cell]
    return full == [str(i) for i in range(len(full))]


def _skipped(line: str) -> bool:
    bare = line.strip()
    remark = bare.startswith("#") and not bare.startswith(OWN_MARK) and max(map(bare.count, _SEPARATORS)) < 2  # noqa: PLR2004
    return not bare or bare.lower().startswith("sep=") or remark


def _separator(lines: Sequence[str]) -> str:
    """Return the first separator that most lines have; a blank where the columns are set apart by nothing else."""
    full = [line for line in lines if line.strip()]
    for separator in _SEPARATORS:
        if 2 * sum(line.count(separator) > 1 for line in full) > len(full):
            return separator
    for separator in _SEPARATORS:
        if any(separator in line for line in full):
            return separator
    return " "


def _cells(lines: Sequence[str], separator: str, first: int) -> list[tuple[int, list[str]]]:
    if separator == " ":
        return [(i, line.split()) for i, line in enumerate(lines, first) if line.strip()]
    if any('"' in line for line in lines):
        reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=separator, skipinitialspace=True)
        quoted = [(first + reader.line_num - 1, [cell.strip() for cell in cells]) for cells in reader]
        # A cell over several lines is a quote that nobody closed: then quotes mean nothing in this file.
        if not any("\n" in cell for _, cells in quoted for cell in cells):
            return [(i, cells) for i, cells in quoted if any(cells)]
    found = [(i, [cell.strip(' "\r') for cell in line.split(separator)]) for i, line in enumerate(lines, first)]
    return [(i, cells) for i, cells in found if any(cells)]


def _header(block: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    width = max((len(cells) for cells in block), default=0)
    return tuple(
        tuple(cells[i].strip(' "#') if i < len(cells) else "" for cells in reversed(block)) for i in range(width)
    )


def _of_json(path: Path, text: str) -> Table:
    """Return the table of a JSON list of rows, as exchanges and freqtrade write them; its rows count as lines from 1."""
    try:
        rows = [[str(cell) for cell in row] for row in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise defect(path, None, f"is no JSON list of rows ({error})", "copy or download the file again") from error
    begin = " / ".join(repr(",".join(row)[:_WIDE]) for row in rows[:_SHOWN])
    return Table(header=(), header_line=None, rows=rows, lines=range(1, len(rows) + 1), begin=begin)


def _of_polars(path: Path, content: Content) -> Table:
    # Polars takes long to import, and most tapes are text.
    import polars as pl

    kind = "Parquet" if content.parquet is not None else "Feather"
    try:
        if content.parquet is not None:
            frame = pl.read_parquet(content.parquet)
        else:
            frame = pl.read_ipc(io.BytesIO(content.feather or b""))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise defect(path, None, f"is no {kind} ({error})", "copy or download the file again") from error
    fixed = {"ts_event", "ts_init"} <= set(frame.columns)
    columns = [[_as_text(cell) for cell in column] for column in _columns(frame, fixed=fixed)]
    rows = list(zip(*columns, strict=True))
    if not rows:
        raise defect(path, None, "a header and no rows", "export the tape again, with rows")
    begin = " / ".join(repr(",".join(row)[:_WIDE]) for row in rows[:_SHOWN])
    return Table(
        header=tuple((name,) for name in frame.columns),
        header_line=None,
        rows=rows,
        lines=range(1, len(rows) + 1),
        begin=begin,
    )


def _columns(frame: Any, *, fixed: bool) -> list[list[Any]]:
    return [_unfixed(name, list(frame[name]), fixed=fixed) for name in frame.columns]


_FIXED_PLACES: Final = {8: 9, 16: 16}
"""Decimal places of Nautilus's fixed-point numbers, by their bytes."""


def _unfixed(name: str, cells: list[Any], *, fixed: bool) -> list[Any]:
    """Return a Nautilus column's fixed-point numbers as numbers: bytes, or whole numbers of 1e-9."""
    if cells and isinstance(cells[0], bytes) and len(cells[0]) in _FIXED_PLACES:
        places = _FIXED_PLACES[len(cells[0])]
        return [round(int.from_bytes(cell, "little", signed=True) / 10**places, 9) for cell in cells]
    if fixed and not name.startswith("ts_") and cells and isinstance(cells[0], int):
        return [round(cell / 1e9, 9) for cell in cells]
    return cells


def _as_text(cell: Any) -> str:
    if cell is None:
        return ""
    isoformat = getattr(cell, "isoformat", None)
    return isoformat() if isoformat is not None else str(cell)

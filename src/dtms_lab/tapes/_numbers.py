"""Cells as numbers: decimal comma or point, thousands, currency signs; judged over the whole column, not cell by cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from dtms_lab.tapes._remarks import Remarks

_SCALES: Final = {"k": 1e3, "m": 1e6, "b": 1e9}
_NO_VOLUME: Final = frozenset({"", "-", "nan", "null", "none", "n/a", "na", "-1", "-1.0"})
_JUNK: Final = str.maketrans("", "", "$€£ '\u00a0\u202f")
_GROUPED: Final = re.compile(r"\d{1,3}(,\d{3})+$")


def decimal_mark(cells: Iterable[str], separator: str, remarks: Remarks) -> str:
    """Return the decimal mark of price cells: a comma or a point; where only groups of three leave it open, that is said.

    A file whose columns are separated by commas quotes `1,085` for its thousands; others write it for its decimals.
    """
    with_comma = [cell for cell in cells if "," in cell]
    if not with_comma:
        return "."
    for cell in with_comma:
        comma, point = cell.rfind(","), cell.rfind(".")
        if point > comma:
            return "."
        if point >= 0 or (cell.count(",") == 1 and not _GROUPED.search(cell.lstrip("+-$€£ "))):
            return ","
        if cell.count(",") > 1:
            return "."
    mark = "." if separator == "," else ","
    remarks.doubt(
        "decimal_comma",
        f"prices such as {with_comma[0]!r} may have a decimal comma or thousands; read with a decimal "
        f"{'comma' if mark == ',' else 'point'}; export them with a decimal point",
    )
    return mark


def number(cell: str, mark: str = ".") -> float:
    """Return a cell's number.

    Raises:
        ValueError: It is none.
    """
    try:
        if mark == "." and "_" not in cell:
            return float(cell)
    except ValueError:
        pass
    bare = cell.translate(_JUNK)
    bare = bare.replace(".", "").replace(",", ".") if mark == "," else bare.replace(",", "")
    if "_" in bare:
        raise ValueError(cell)
    return float(bare)


def volume(cell: str, mark: str = ".") -> float | None:
    """Return a volume, None where the cell is blank or says that there is none; `1.2M` is 1,200,000.

    Raises:
        ValueError: It is no number.
    """
    bare = cell.strip().lower()
    if bare in _NO_VOLUME:
        return None
    scale = _SCALES.get(bare[-1], 1.0)
    return scale * number(bare[:-1] if bare[-1] in _SCALES else bare, mark)


def sample_numbers(rows: Sequence[Sequence[str]], place: int) -> list[list[float]]:
    """Return the columns from a place on that are numbers in every row, up to the first that is not."""
    columns: list[list[float]] = []
    for cells in list(zip(*rows, strict=True))[place:]:
        mark = "," if any("," in cell and "." not in cell for cell in cells) else "."
        try:
            columns.append([number(cell, mark) for cell in cells])
        except ValueError:
            break
    return columns

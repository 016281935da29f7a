"""Day or month first: judged over the whole file, for one date such as 03/05/2025 does not tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Final

from dtms_lab.tapes._clock import YEAR_LAST, full_year
from dtms_lab.tapes._defects import defect
from dtms_lab.tapes._remarks import Remarks

_MONTHS: Final = 12
_SATURDAY: Final = 5
_CLEAR: Final = 3.0
"""By which factor the days of one reading must lie closer together than those of the other to be believed."""

_Triple = tuple[int, int, int]


def day_first(
    path: Path,
    lines: Sequence[int],
    cells: Sequence[str],
    remarks: Remarks,
    *,
    usual: bool | None,
    weekends: bool,
) -> bool:
    """Say whether dates such as 03/05/2025 have the day first; True where the dates are of another kind.

    Args:
        path: The file.
        lines: The rows' lines.
        cells: The cells that tell the time.
        remarks: Told where the file leaves it open.
        usual: What the format always has; None where it is not known.
        weekends: Whether the market is open on Saturdays.

    Raises:
        SettingsError: Both orders are impossible somewhere.
    """
    found = YEAR_LAST.match(cells[0])
    if found is None:
        return True
    mark = found.group(2)
    days = _days(cells)
    large_first = next((i for i, (a, _, _) in days.items() if a > _MONTHS), None)
    large_second = next((i for i, (_, b, _) in days.items() if b > _MONTHS), None)
    if large_first is not None and large_second is not None:
        why = f"{cells[large_second]!r} has the month first and line {lines[large_first]} has the day first"
        raise defect(path, lines[large_second], why, "export the tape again with one order, best 2025-03-05")
    if large_first is not None or large_second is not None:
        return large_first is not None
    if usual is not None:
        return usual
    judged = _judged(list(days.values()), weekends=weekends)
    if judged is not None:
        remarks.note(f"dates are read {_order(first=judged)}: only so the days lie close together on working days")
        return judged
    assumed = mark != "/"
    remarks.doubt(
        "day_or_month",
        f"dates such as {found.group().strip()} do not tell day from month anywhere in the file; read {_order(first=assumed)}, "
        f"as is usual with {mark!r}; export them as 2025-03-05 where that is wrong",
    )
    return assumed


def _order(*, first: bool) -> str:
    return "day first" if first else "month first"


def _days(cells: Iterable[str]) -> dict[int, _Triple]:
    """Return the different dates in their order, by the row in which each comes first."""
    seen: set[_Triple] = set()
    found: dict[int, _Triple] = {}
    for i, cell in enumerate(cells):
        match = YEAR_LAST.match(cell)
        if match is None:
            continue
        triple = (int(match.group(1)), int(match.group(3)), int(match.group(4)))
        if triple not in seen and 0 not in triple[:2]:
            seen.add(triple)
            found[i] = triple
    return found


def _judged(days: Sequence[_Triple], *, weekends: bool) -> bool | None:
    """Return the reading under which days lie close together, or alone spares the weekend; None where neither tells."""
    as_day = [_date(year, b, a) for a, b, year in days]
    as_month = [_date(year, a, b) for a, b, year in days]
    if as_day == as_month:
        return True
    if not weekends:
        closed_day, closed_month = (sum(each.weekday() == _SATURDAY for each in dates) for dates in (as_day, as_month))
        if (closed_day == 0) is not (closed_month == 0):
            return closed_day == 0
    wide_day, wide_month = _walk(as_day), _walk(as_month)
    if wide_day == wide_month:
        return None
    if wide_day * _CLEAR <= wide_month:
        return True
    return False if wide_month * _CLEAR <= wide_day else None


def _date(year: int, month: int, day: int) -> date:
    return date(full_year(year), month, day)


def _walk(dates: Sequence[date]) -> int:
    return sum(abs((after - before).days) for before, after in pairwise(dates))

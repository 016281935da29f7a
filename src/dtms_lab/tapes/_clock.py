"""From cells to times: epochs of any unit, dates and clocks of any common writing; the order of day and month is judged apart.

A time is milliseconds: of UTC where the cell is an epoch or names its offset, else of the wall clock.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from dtms.domain.units import DAY, HOUR, MINUTE, SECOND
from dtms_lab.tapes._defects import defect
from dtms_lab.tapes._zones import naive_millis

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_OTHERWISE: Final = (
    "write times as 2025-03-05 09:00:00 or as an epoch, or name the column that has them with --columns time=..."
)
_AGAIN: Final = "cut the row, or export the tape again"
_UNITS: Final = ((10, 1_000.0), (13, 1.0), (16, 1e-3), (19, 1e-6))
"""Digits of an epoch before the point up to which it is in seconds, ms, us and ns: the unit is unmistakable from 1973 on."""

_FIRST_FULL: Final = 100
_PIVOT: Final = 70
_LEAST_DIGITS: Final = 9
_NUMBER: Final = re.compile(
    r"(\d{9,10}|(?!(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))\d{12}|\d{13}|\d{15,16}|\d{18,19})(\.\d+)?$|\d(\.\d+)?[eE]\+?\d+$"
)
_MONTHS: Final = {
    name: i
    for i, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)
}
_OFFSETS: Final = {
    "Z": 0, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "PST": -8, "PDT": -7,
    "CET": 1, "CEST": 2, "BST": 1, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9,
}  # fmt: skip
"""Hours ahead of UTC of the zone names that exporters write behind a time."""

_DATE: Final = re.compile(
    r"(?:[A-Za-z]{3,9}\.?,? )?(?:"
    r"(?P<y>\d{4})(?P<s>[-./])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})"
    r"|(?P<cy>(?:19|20)\d\d)(?P<cm>\d\d)(?P<cd>\d\d)(?=$|[^\d]|\d{4,9}$)"
    r"|(?P<a>\d{1,2})(?P<t>[-./])(?P<b>\d{1,2})(?P=t)(?P<ly>\d{4}|\d\d)(?!\d)"
    r"|(?P<nd>\d{1,2})[ -](?P<nm>[A-Za-z]{3,9})\.?[ ,-]+(?P<ny>\d{4}|\d\d)(?!\d)"
    r"|(?P<un>[A-Za-z]{3,9})\.? (?P<ud>\d{1,2}),? (?P<uy>\d{4}))"
)
_ZONE_BEHIND: Final = re.compile(r" [A-Z][A-Za-z]+/[A-Za-z_]+$")
_TIME: Final = re.compile(
    r"[TD ,;_]*(?:(?P<h>\d{1,2}):(?P<m>\d\d)(?::(?P<s>\d\d)(?:[.,:](?P<f>\d+))?)?"
    r"|(?P<ch>\d\d)(?P<cm>\d\d)(?P<cs>\d\d)?[ .]?(?P<cf>\d{3,9})?)?"
    r" ?(?:(?P<half>[AaPp])\.?[Mm]\.?)? ?(?P<zone>[A-Z]{1,4})? ?(?P<off>[+-]\d\d:?(?:\d\d)?)?$"
)
_SERIAL: Final = re.compile(r"[2-8]\d{4}(\.\d+)?$")
"""Days since 30 December 1899, as spreadsheets count: 20000 is in 1954, 89999 in 2146."""

_SERIAL_EPOCH: Final = 25_569
YEAR_LAST: Final = re.compile(r"(?:[A-Za-z]{3,9}\.?,? )?(\d{1,2})([-./])(\d{1,2})\2(\d{4}|\d\d)(?!\d)")
"""A date whose first two numbers are day and month in an order that the cell alone does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The times of a column; `aware` says that they are UTC, `epoch` that they were written as numbers, `zone` is named
    behind each.
    """

    values: list[int]
    aware: bool
    epoch: bool
    zone: str | None = None


def without_zone(cells: Sequence[str]) -> tuple[list[str], str | None]:
    """Return times without the zone that stands behind each (`... US/Eastern`), and that zone; None where none does."""
    found = _ZONE_BEHIND.search(cells[0])
    if found is None or not all(cell.endswith(found.group()) for cell in cells):
        return list(cells), None
    return [cell.removesuffix(found.group()) for cell in cells], found.group().strip()


def joined(dates: Sequence[str], clocks: Sequence[str], *, in_ms: bool) -> list[str]:
    """Return dates with their times of the day; a clock whose leading zeros were lost (`90000`) gets them back."""
    if in_ms:
        return [f"{date} {_of_ms(clock)}" for date, clock in zip(dates, clocks, strict=True)]
    longest = max(map(len, clocks), default=0)
    if longest < 7 and all(clock.isdigit() for clock in clocks):  # noqa: PLR2004 - HHMMSS at most
        width = 6 if longest > 4 else 4  # noqa: PLR2004 - HHMM
        clocks = [clock.zfill(width) for clock in clocks]
    return [f"{date} {clock}" for date, clock in zip(dates, clocks, strict=True)]


def _of_ms(clock: str) -> str:
    try:
        millis = int(float(clock))
    except (ValueError, OverflowError):
        return clock
    if not 0 <= float(clock) < DAY:
        return clock
    hours, rest = divmod(millis, HOUR)
    return f"{hours:02}:{rest // MINUTE:02}:{rest % MINUTE // SECOND:02}.{rest % SECOND:03}"


def read_times(path: Path, lines: Sequence[int], cells: Sequence[str], *, day_first: bool) -> Times:
    """Return the times of a column.

    Raises:
        SettingsError: A cell is no time, or some name their offset and some do not.
    """
    if all(_SERIAL.match(cell) for cell in cells):
        return Times(values=[_of_serial(cell) for cell in cells], aware=False, epoch=False)
    values: list[int] = []
    numeric = bool(_NUMBER.match(cells[0]))
    aware: bool | None = None
    midnights: dict[str, int] = {}
    for line, cell in zip(lines, cells, strict=True):
        try:
            at, zoned = (_of_number(cell), True) if numeric else _of_text(cell, midnights, day_first=day_first)
        except (ValueError, OverflowError):
            raise defect(path, line, f"{cell!r} is no time", _AGAIN if values else _OTHERWISE) from None
        if aware is None:
            aware = zoned
        elif aware is not zoned:
            raise defect(path, line, "some rows name their offset from UTC and some do not", _AGAIN)
        values.append(at)
    return Times(values=values, aware=bool(aware), epoch=numeric)


def _of_number(cell: str) -> int:
    """Return the nearest millisecond of an epoch: nanoseconds that went through a float are off by hundreds."""
    whole, _, fraction = cell.partition(".")
    if "e" in cell.lower():
        whole, fraction = str(int(float(cell))), ""
    if len(whole) < _LEAST_DIGITS or not whole.isdigit():
        raise ValueError(cell)
    unit = next((unit for digits, unit in _UNITS if len(whole) <= digits), None)
    if unit is None:
        raise ValueError(cell)
    if unit < 1.0:
        step = round(1 / unit)
        return (int(whole) + step // 2) // step
    return round(float(f"{whole}.{fraction or 0}") * unit) if fraction else int(whole) * round(unit)


def _of_serial(cell: str) -> int:
    """Return the second that a spreadsheet's day and share of a day stand for."""
    return round((float(cell) - _SERIAL_EPOCH) * DAY / SECOND) * SECOND


def _of_text(cell: str, midnights: dict[str, int], *, day_first: bool) -> tuple[int, bool]:
    date = _DATE.match(cell)
    if date is None:
        raise ValueError(cell)
    midnight = midnights.get(date.group())
    if midnight is None:
        midnight = midnights[date.group()] = naive_millis(_day_of(date, day_first=day_first))
    time = _TIME.match(cell, date.end())
    if time is None:
        raise ValueError(cell)
    hours, minutes, seconds, fraction = (time["h"], time["m"], time["s"], time["f"])
    if hours is None:
        hours, minutes, seconds, fraction = (time["ch"], time["cm"], time["cs"], time["cf"])
    clock = _clock_of(hours, minutes, seconds, fraction, time["half"])
    offset = _offset_of(time["zone"], time["off"])
    return (midnight + clock, False) if offset is None else (midnight + clock - offset, True)


def _day_of(date: re.Match[str], *, day_first: bool) -> datetime:
    year, month, day = date["y"] or date["cy"], date["m"] or date["cm"], date["d"] or date["cd"]
    if date["a"] is not None:
        year = date["ly"]
        day, month = (date["a"], date["b"]) if day_first else (date["b"], date["a"])
    name = date["nm"] or date["un"]
    if name is not None:
        year, day = date["ny"] or date["uy"], date["nd"] or date["ud"]
        month = str(_MONTHS.get(name[:3].lower(), 0))
    return datetime(full_year(int(year)), int(month), int(day))  # noqa: DTZ001 - wall-clock arithmetic, no instant


def full_year(year: int) -> int:
    """Return a year with its century: of two digits, 70 to 99 are of the last one."""
    if year >= _FIRST_FULL:
        return year
    return year + (1_900 if year >= _PIVOT else 2_000)


def _clock_of(
    hours: str | None, minutes: str | None, seconds: str | None, fraction: str | None, half: str | None
) -> int:
    hour, minute, second = int(hours or 0), int(minutes or 0), int(seconds or 0)
    if half is not None:
        if not 1 <= hour <= 12:  # noqa: PLR2004 - a clock of twelve hours
            raise ValueError(hours)
        hour = hour % 12 + (12 if half in "Pp" else 0)
    if hour > 23 or minute > 59 or second > 59:  # noqa: PLR2004 - a clock's own limits
        raise ValueError(hours)
    millis = 0 if fraction is None else round(int(fraction[:9].ljust(9, "0")) / 1e6)
    return hour * HOUR + minute * MINUTE + second * SECOND + millis


def _offset_of(zone: str | None, offset: str | None) -> int | None:
    """Return how far ahead of UTC a time says it is, None where it says nothing."""
    if offset is not None:
        digits = offset[1:].replace(":", "").ljust(4, "0")
        sign = -1 if offset[0] == "-" else 1
        return sign * (int(digits[:2]) * HOUR + int(digits[2:]) * MINUTE)
    if zone is None:
        return None
    if zone not in _OFFSETS:
        raise ValueError(zone)
    return _OFFSETS[zone] * HOUR

"""Daily closes of the VIX from a CSV file with the columns DATE and CLOSE, as Cboe publishes them.

Dates are `2023-12-29` or `12/29/2023`. A close is known from the end of its UTC day on: Chicago closes before that in
winter and summer. A file that has changed is read again, so that whatever downloads it needs no restart.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from dtms.domain.units import DAY, MINUTE, Millis, from_utc
from dtms.errors import SettingsError
from dtms.ports.vix import VixClose

_DAY, _CLOSE = "DATE", "CLOSE"
_LOOK_EVERY: Final = MINUTE
_US_DATE: Final = "%m/%d/%Y"


class VixFile:
    """The closes of a file, read again when it has changed.

    Args:
        path: The file.

    Raises:
        SettingsError: The file cannot be read, lacks a column, or a row tells no date or no positive close; names file and
            line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed_ns = path.stat().st_mtime_ns if path.exists() else 0
        self._closes = _read(path)
        self._looked_at: Millis | None = None

    def last(self, at: Millis) -> VixClose | None:
        """Return the newest close that was known at an instant, None where none was.

        A file that has become unreadable leaves what was read before, which grows old and counts as unknown in the end.
        """
        if self._looked_at is None or abs(at - self._looked_at) >= _LOOK_EVERY:
            self._looked_at = at
            self._look_again()
        place = bisect_right(self._closes, at, key=lambda close: close.known_at)
        return self._closes[place - 1] if place else None

    def _look_again(self) -> None:
        try:
            changed_ns = self._path.stat().st_mtime_ns
            if changed_ns != self._changed_ns:
                self._closes = _read(self._path)
                self._changed_ns = changed_ns
        except (OSError, SettingsError):
            return  # half written, perhaps: the next look reads it


def _read(path: Path) -> list[VixClose]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            names = {(name or "").strip().upper(): name for name in rows.fieldnames or ()}
            for needed in (_DAY, _CLOSE):
                if needed not in names:
                    raise SettingsError(f"VIX file {path} has no column {needed}; it needs {_DAY} and {_CLOSE}")
            closes = [_close(path, rows.line_num, row, names) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"VIX file {path} cannot be read: {error}; name another") from error
    return sorted(closes, key=lambda close: close.known_at)


def _close(path: Path, line: int, row: Mapping[str, str], names: Mapping[str, str]) -> VixClose:
    try:
        value = float(row[names[_CLOSE]])
        day = _day(row[names[_DAY]].strip())
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"VIX file {path}, line {line}: {error}; a row is a date and a close") from error
    if not math.isfinite(value) or value <= 0:
        raise SettingsError(f"VIX file {path}, line {line}: close {value:g} is no VIX; it is above 0")
    midnight = from_utc(datetime(day.year, day.month, day.day, tzinfo=UTC))
    return VixClose(value=value, known_at=Millis(midnight + DAY))


def _day(text: str) -> date:
    if "/" in text:
        return datetime.strptime(text, _US_DATE).replace(tzinfo=UTC).date()
    return date.fromisoformat(text)

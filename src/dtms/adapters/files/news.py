"""The economic calendar from a CSV file with the columns DateTime, Currency, Impact and Event.

Times need their offset (UTC where it says +00:00). Only high-impact rows count; `All` as currency is every currency's.
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from dtms.domain.units import DAY, Millis, from_utc
from dtms.errors import InvalidDataError, SettingsError

_ALL = "All"
_COLUMNS = ("DateTime", "Currency", "Impact", "Event")
_HIGH = "high"


class CsvCalendar:
    """High-impact events, by currency; known from the first to the last day of the file."""

    def __init__(self, events: Iterable[tuple[Millis, str, str]]) -> None:
        by_currency: dict[str, list[tuple[Millis, str]]] = defaultdict(list)
        for at, currency, name in events:
            by_currency[currency].append((at, name))
        self._events = {currency: sorted(found) for currency, found in by_currency.items()}
        instants = [at for found in self._events.values() for at, _ in found]
        self._first = min(instants, default=None)
        self._last = max(instants, default=None)

    def known(self, at: Millis) -> bool:
        """Say whether the file covers an instant: from the day of its first event to the day after its last."""
        return self._first is not None and self._last is not None and self._first - DAY <= at <= self._last + DAY

    def window(self, currencies: tuple[str, ...], at: Millis, before_ms: int, after_ms: int) -> str:
        """Return the event whose window holds `at`: from `before_ms` before it to `after_ms` after it."""
        for currency in (*currencies, _ALL):
            found = self._events.get(currency, [])
            place = bisect_left(found, (Millis(at - after_ms), ""))
            if place < len(found) and found[place][0] - before_ms <= at:
                return f"{currency} {found[place][1]}"
        return ""


def read_calendar(path: Path) -> CsvCalendar:
    """Return the calendar in a file.

    Raises:
        SettingsError: The file cannot be read, lacks a column, or a row's time has no offset; names file and line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise SettingsError(f"news file {path} has no column {missing[0]}; it needs {', '.join(_COLUMNS)}")
            return CsvCalendar(
                [_event(path, rows.line_num, row) for row in rows if row["Impact"].lower().startswith(_HIGH)]
            )
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"news file {path} cannot be read: {error}; name another") from error


def _event(path: Path, line: int, row: dict[str, str]) -> tuple[Millis, str, str]:
    try:
        return from_utc(datetime.fromisoformat(row["DateTime"])), row["Currency"], row["Event"]
    except (ValueError, InvalidDataError) as error:
        raise SettingsError(f"news file {path}, line {line}: {error}; write the time with its offset") from error

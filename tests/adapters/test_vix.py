"""Closes of the VIX from a file: when each is known, that a new file is read, and that a wrong one is named."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dtms.adapters.files.vix import VixFile
from dtms.domain.units import DAY, HOUR, MINUTE, Millis, from_utc
from dtms.errors import SettingsError
from dtms.ports.vix import VixClose

FRIDAY = from_utc(datetime(2023, 12, 29, tzinfo=UTC))
KNOWN = Millis(FRIDAY + DAY)


def written(folder: Path, text: str) -> Path:
    path = folder / "vix.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("day", ["2023-12-29", "12/29/2023"])
def test_a_close_is_known_once_its_utc_day_is_over(tmp_path: Path, day: str) -> None:
    file = VixFile(written(tmp_path, f"DATE,OPEN,HIGH,LOW,CLOSE\n{day},12.55,13.19,12.36,12.45\n"))
    assert file.last(Millis(KNOWN - 1)) is None
    assert file.last(KNOWN) == VixClose(value=12.45, known_at=KNOWN)
    assert file.last(Millis(KNOWN + 3 * DAY)) == VixClose(value=12.45, known_at=KNOWN)


def test_rows_in_any_order_and_columns_in_any_case_are_read(tmp_path: Path) -> None:
    file = VixFile(written(tmp_path, "Close,Date\n12.45,2023-12-29\n30.5,2023-12-28\n"))
    assert [close and close.value for close in (file.last(FRIDAY), file.last(KNOWN))] == [30.5, 12.45]


def test_a_file_that_has_changed_is_read_again_within_a_minute(tmp_path: Path) -> None:
    path = written(tmp_path, "DATE,CLOSE\n2023-12-28,12.47\n")
    file = VixFile(path)
    before = file.last(KNOWN)
    path.write_text("DATE,CLOSE\n2023-12-29,31\n", encoding="utf-8")
    os.utime(path, ns=(0, 1))
    after = file.last(Millis(KNOWN + MINUTE))
    assert [close and close.value for close in (before, after)] == [12.47, 31.0]


@pytest.mark.parametrize("broken", ["DATE,CLOSE\n2023-", "", None])
def test_a_file_that_becomes_unreadable_leaves_what_was_known(tmp_path: Path, broken: str | None) -> None:
    path = written(tmp_path, "DATE,CLOSE\n2023-12-29,31\n")
    file = VixFile(path)
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken, encoding="utf-8")
        os.utime(path, ns=(0, 1))
    known = file.last(Millis(KNOWN + HOUR))
    assert known is not None
    assert known.value == 31.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("DAY,CLOSE\n2023-12-29,31\n", "has no column DATE"),
        ("DATE,OPEN\n2023-12-29,31\n", "has no column CLOSE"),
        ("DATE,CLOSE\n2023-12-29,31\n29.12.2023,31\n", "line 3"),
        ("DATE,CLOSE\n2023-12-29,\n", "line 2"),
        ("DATE,CLOSE\n2023-12-29\n", "line 2"),
        ("DATE,CLOSE\n2023-12-29,nan\n", "close nan is no VIX"),
        ("DATE,CLOSE\n2023-12-29,0\n", "close 0 is no VIX"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        VixFile(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.csv cannot be read"):
        VixFile(tmp_path / "nothing.csv")


def test_the_recorded_history_ends_with_its_last_close(shared_data: Path) -> None:
    file = VixFile(shared_data / "vix" / "vix_daily_1990_2023.csv")
    assert file.last(KNOWN) == VixClose(value=12.45, known_at=KNOWN)

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dtms.adapters.files.news import CsvCalendar, read_calendar
from dtms.domain.units import DAY, MINUTE, Millis, from_utc
from dtms.errors import SettingsError

PAYROLLS = from_utc(datetime(2025, 5, 2, 12, 30, tzinfo=UTC))
BEFORE, AFTER = 30 * MINUTE, 15 * MINUTE


@pytest.mark.parametrize(
    ("offset_ms", "inside"),
    [(-BEFORE - 1, False), (-BEFORE, True), (0, True), (AFTER, True), (AFTER + 1, False)],
)
def test_the_window_reaches_from_30_min_before_to_15_min_after(offset_ms: int, inside: bool) -> None:
    calendar = CsvCalendar([(PAYROLLS, "USD", "Payrolls")])
    found = calendar.window(("XAU", "USD"), Millis(PAYROLLS + offset_ms), BEFORE, AFTER)
    assert found == ("USD Payrolls" if inside else "")


def test_an_event_of_another_currency_does_not_count_and_one_of_all_does() -> None:
    calendar = CsvCalendar([(PAYROLLS, "EUR", "Rates"), (PAYROLLS, "All", "Summit")])
    assert calendar.window(("USD", "JPY"), PAYROLLS, BEFORE, AFTER) == "All Summit"


def test_a_calendar_knows_only_the_days_that_it_covers() -> None:
    calendar = CsvCalendar([(PAYROLLS, "USD", "Payrolls")])
    assert calendar.known(PAYROLLS)
    assert not calendar.known(Millis(PAYROLLS + 2 * DAY))
    assert not CsvCalendar([]).known(PAYROLLS)


def test_the_recorded_calendar_has_the_payrolls_at_half_past_twelve(shared_data: Path) -> None:
    calendar = read_calendar(shared_data / "calendar" / "forexfactory_high_impact_20200101_20250630.csv")
    assert calendar.window(("USD",), PAYROLLS, 0, 0) != ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("DateTime,Currency,Event\n", "has no column Impact"),
        ("DateTime,Currency,Impact,Event\n2025-05-02T12:30:00,USD,High,X\n", "line 2"),
        ("DateTime,Currency,Impact,Event\nsoon,USD,High,X\n", "line 2"),
    ],
)
def test_a_file_that_is_no_calendar_is_refused_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "news.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=sentence):
        read_calendar(file)

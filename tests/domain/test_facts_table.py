"""The table of the broker's facts: total over what a position shows, and printed as it is."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from dtms.domain.facts import FACTS, Fact, render_page
from dtms.domain.position import Position

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "facts.md"


def test_every_field_of_a_position_and_every_fact_has_its_meaning() -> None:
    shown = {row.field for row in FACTS.values() if row.field}
    assert shown == {field.name for field in dataclasses.fields(Position)}
    assert set(FACTS) == set(Fact)


def test_the_page_of_the_facts_is_what_the_table_says_now() -> None:
    if os.environ.get("DTMS_WRITE_DOCS") == "1":
        _PAGE.write_text(render_page(), encoding="utf-8")
    assert _PAGE.read_text(encoding="utf-8") == render_page()

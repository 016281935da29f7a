"""The page that shows the state machine says what the code does."""

from __future__ import annotations

import os
from pathlib import Path

from dtms.core.machine_doc import render_table
from dtms.domain.transitions import ROWS

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "state-machine.md"


def test_the_page_of_the_state_machine_is_what_the_table_says_now() -> None:
    if os.environ.get("DTMS_WRITE_DOCS") == "1":
        _PAGE.parent.mkdir(exist_ok=True)
        _PAGE.write_text(render_table(), encoding="utf-8")
    assert _PAGE.read_text(encoding="utf-8") == render_table()


def test_every_row_is_one_line_of_the_page_with_its_states_and_words() -> None:
    lines = render_table().splitlines()
    for row in ROWS.values():
        line = next(line for line in lines if line.startswith(f"| `{row.name}` |"))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[2:] == [row.source, row.target, row.when, row.actions]


def test_no_cell_breaks_the_table() -> None:
    for row in ROWS.values():
        assert "|" not in row.when + row.actions
        assert "\n" not in row.when + row.actions

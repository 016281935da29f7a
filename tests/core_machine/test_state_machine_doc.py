"""The page that shows the state machine says what the code does."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dtms.core.machine_doc import render_table
from dtms.domain.policy import DefencePolicy, MachinePolicy, Policy
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
        assert cells[2:] == [row.source, row.target, row.when_by(Policy()), row.actions_by(Policy())]


def test_no_cell_breaks_the_table() -> None:
    for row in ROWS.values():
        assert "|" not in row.when + row.actions
        assert "\n" not in row.when + row.actions


def test_no_row_has_a_number_of_its_own() -> None:
    fixed = {"hedged_before_close_recovering": ["0"]}  # whether it lost or gained: not a threshold that anybody sets
    for row in ROWS.values():
        bare = re.sub(r"\{[^}]*\}", "", row.when + row.actions)
        assert re.findall(r"(?<!\w)\d+", bare) == fixed.get(row.name, [])


def test_words_have_the_numbers_of_the_policy_in_force() -> None:
    machine = MachinePolicy(l1_score=-3.5, running_bars=3, hedged_minutes=45.0)
    own = Policy(machine=machine, defence=DefencePolicy(partial_share=0.25))
    assert ROWS["healthy_to_l1"].when_by(own) == "score <= -3.5"
    assert ROWS["healthy_to_l2"].when_by(own).startswith("score <= -6 on 3 consecutive bars")
    assert ROWS["hedged_timeout"].when_by(own) == "after 45 min"
    assert ROWS["l1_to_l2"].actions_by(own).startswith("close 25% (required)")

"""The table of causes and modes, and the page that shows it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.core.modes import DOES, TABLE, counts, mode_of, render_page, shown_mode, standing, worst
from dtms.domain.modes import ActiveCause, Cause, Mode
from dtms.domain.units import Millis
from dtms.domain.verdict import KillLevel

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "modes.md"
_MODES = list(Mode)
_TOLD = st.builds(
    ActiveCause,
    cause=st.sampled_from(Cause),
    since=st.integers(0, 50).map(Millis),
    detail=st.just("seen"),
    ended=st.none() | st.integers(50, 100).map(Millis),
    role=st.sampled_from(("gateway", "server")),
)
_CLEAN = st.none() | st.integers(0, 150).map(Millis)


def told(cause: Cause, *, ended: int | None = None) -> ActiveCause:
    return ActiveCause(cause=cause, since=Millis(1), detail="seen", ended=None if ended is None else Millis(ended))


def test_every_cause_has_its_row_and_every_mode_its_words() -> None:
    assert list(TABLE) == [row.cause for row in TABLE.values()]
    assert set(TABLE) == set(Cause)
    assert list(DOES) == _MODES


def test_the_modes_ascend_by_what_they_take_away() -> None:
    assert worst(()) is Mode.NORMAL
    assert worst((Mode.PROTECT_ONLY, Mode.HALT, Mode.DEGRADED)) is Mode.HALT
    assert worst((Mode.DEGRADED, Mode.PROTECT_ONLY, Mode.NORMAL)) is Mode.PROTECT_ONLY


@given(st.sets(st.sampled_from(Cause)), st.sampled_from(Cause))
def test_one_more_cause_never_leaves_more_to_do(causes: set[Cause], more: Cause) -> None:
    assert _MODES.index(mode_of({*causes, more})) == max(_MODES.index(mode_of(causes)), _MODES.index(TABLE[more].mode))


@pytest.mark.parametrize("cause", Cause)
def test_an_ended_cause_counts_until_a_clean_full_reconcile_that_is_not_older(cause: Cause) -> None:
    waits = TABLE[cause].reconciles
    ended = told(cause, ended=100)
    assert counts(told(cause), Millis(1_000))
    assert counts(ended, None) is waits
    assert counts(ended, Millis(99)) is waits
    assert counts(ended, Millis(100)) is False


@given(st.lists(_TOLD, max_size=6), _CLEAN)
def test_the_mode_is_that_of_the_first_cause_shown(causes: list[ActiveCause], clean_at: Millis | None) -> None:
    found = standing(causes, None, clean_at)
    ranks = [_MODES.index(TABLE[cause.cause].mode) for cause in found.causes]
    assert ranks == sorted(ranks, reverse=True)
    assert found.mode is (_MODES[ranks[0]] if ranks else Mode.NORMAL)


@given(st.lists(_TOLD, max_size=6), _CLEAN)
def test_a_latched_halt_outlives_every_other_cause(causes: list[ActiveCause], clean_at: Millis | None) -> None:
    halt = told(Cause.OPERATOR)
    found = standing(causes, halt, clean_at)
    assert found.mode is Mode.HALT
    assert Cause.OPERATOR in [cause.cause for cause in found.causes]


@pytest.mark.parametrize(
    ("mode", "level", "shown"),
    [
        (Mode.NORMAL, None, Mode.NORMAL),
        (Mode.DEGRADED, None, Mode.DEGRADED),
        (Mode.NORMAL, KillLevel.PAUSE, Mode.HALT),
        (Mode.DEGRADED, KillLevel.PROTECT_ONLY, Mode.PROTECT_ONLY),
        (Mode.NORMAL, KillLevel.FLATTEN, Mode.PROTECT_ONLY),
        (Mode.HALT, KillLevel.FLATTEN, Mode.HALT),
    ],
)
def test_people_are_shown_the_worse_of_causes_and_kill_switch(mode: Mode, level: KillLevel | None, shown: Mode) -> None:
    assert shown_mode(mode, level) is shown


def test_whatever_is_left_by_hand_halts_and_what_halts_otherwise_is_one_process_alone() -> None:
    assert {row.cause for row in TABLE.values() if row.by_hand} == {
        Cause.ACCOUNT_CHANGED,
        Cause.LEDGER_DAMAGED,
        Cause.OPERATOR,
    }
    assert all(row.by_hand or row.local for row in TABLE.values() if row.mode is Mode.HALT)


def test_the_page_of_the_modes_is_what_the_table_says_now() -> None:
    if os.environ.get("DTMS_WRITE_DOCS") == "1":
        _PAGE.write_text(render_page(), encoding="utf-8")
    assert _PAGE.read_text(encoding="utf-8") == render_page()


def test_every_cause_is_one_line_of_the_page_with_its_mode_words_and_remedy() -> None:
    lines = render_page().splitlines()
    for row in TABLE.values():
        line = next(line for line in lines if line.startswith(f"| `{row.cause}` |"))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[1:4] + cells[5:] == [f"`{row.mode}`", row.entered, row.left, row.remedy]

"""The two tables of codes: complete, and never optimistic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.adapters.mt5.retcodes import RETCODES, SEND_ERRORS, Reaction, retcode_of, send_error_of
from dtms.domain.receipt import RETRYABLE, Rejection

# The codes of the reference, "Retcodes: meaning and the only safe reaction", by its classes.
APPLIED = {10009}
PARTIAL = {10010}
GOAL_MET = {10025, 10036}
REPLAN = {10004, 10006, 10015, 10016, 10018, 10020, 10021, 10024, 10029}
UNKNOWN = {10008, 10011, 10012, 10023, 10028, 10031, 10039}
PERMANENT = {10007, 10013, 10014, 10017, 10019, 10022, 10026, 10027, 10030}
PERMANENT |= {10032, 10033, 10034, 10035, 10038, *range(10040, 10047)}


def by_reaction(reaction: Reaction) -> set[int]:
    return {code for code, row in RETCODES.items() if row.reaction is reaction}


@pytest.mark.parametrize(
    ("reaction", "codes"),
    [
        (Reaction.APPLIED, APPLIED),
        (Reaction.PARTIAL, PARTIAL),
        (Reaction.GOAL_MET, GOAL_MET),
        (Reaction.REPLAN, REPLAN),
        (Reaction.UNKNOWN, UNKNOWN),
        (Reaction.PERMANENT, PERMANENT),
    ],
)
def test_every_retcode_of_the_reference_has_its_reaction(reaction: Reaction, codes: set[int]) -> None:
    assert by_reaction(reaction) == codes


def test_the_table_has_every_code_between_requote_and_hedge_prohibited_but_the_two_that_do_not_exist() -> None:
    assert sorted(RETCODES) == sorted({10004, *range(10006, 10047)} - {10037})


@given(st.integers(min_value=-(2**31), max_value=2**32).filter(lambda code: code not in RETCODES))
def test_a_retcode_that_nobody_mapped_is_unknown(code: int) -> None:
    assert retcode_of(code).reaction is Reaction.UNKNOWN


@given(st.integers(min_value=-20_000, max_value=20_000).filter(lambda code: code not in SEND_ERRORS))
def test_an_error_that_nobody_mapped_may_have_left(code: int) -> None:
    assert send_error_of(code).left


def test_what_may_be_planned_anew_is_retryable_and_what_is_permanent_is_not() -> None:
    replanned = {row.rejection for row in RETCODES.values() if row.reaction is Reaction.REPLAN}
    permanent = {row.rejection for row in RETCODES.values() if row.reaction is Reaction.PERMANENT}

    # A stop inside the stops level waits for the next decision: it is planned anew, but by nobody's retry.
    assert replanned - {Rejection.INVALID_STOPS} <= RETRYABLE
    assert not permanent & RETRYABLE


def test_every_rejection_names_its_reason() -> None:
    refusing = (Reaction.REPLAN, Reaction.PERMANENT)
    assert [code for code, row in RETCODES.items() if row.reaction in refusing and row.rejection is None] == []


def test_only_what_the_terminal_did_not_take_counts_as_not_sent() -> None:
    assert {code for code, row in SEND_ERRORS.items() if not row.left} == {-2, -3, -4, -5, -6, -7, -8, -10004}
    assert {code for code, row in SEND_ERRORS.items() if row.left} == {-1, -10000, -10001, -10002}

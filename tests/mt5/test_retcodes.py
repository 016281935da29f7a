"""The two tables of codes: complete, and never optimistic."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.adapters.mt5.retcodes import RETCODES, SEND_ERRORS, Reaction, retcode_of, send_error_of
from dtms.adapters.mt5.retcodes_doc import render_page
from dtms.app.gateway.breaker import TRADING_OFF
from dtms.domain.receipt import RETRY, RETRYABLE, Rejection, Retry

# The codes of the reference, "Retcodes: meaning and the only safe reaction", by its classes.
APPLIED = {10009}
PARTIAL = {10010}
GOAL_MET = {10025, 10036}
MEND = {10004, 10014, 10015, 10020, 10021, 10022, 10030}
RETRY_CODES = {10006, 10016, 10018, 10024, 10029}
UNKNOWN = {10008, 10011, 10012, 10023, 10028, 10031, 10039}
HALT = {10017, 10026, 10027, 10032}
GIVE_UP = {10007, 10013, 10019, 10033, 10034, 10035, 10038, *range(10040, 10047)}

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "retcodes.md"


def by_reaction(reaction: Reaction) -> set[int]:
    return {code for code, row in RETCODES.items() if row.reaction is reaction}


@pytest.mark.parametrize(
    ("reaction", "codes"),
    [
        (Reaction.APPLIED, APPLIED),
        (Reaction.PARTIAL, PARTIAL),
        (Reaction.GOAL_MET, GOAL_MET),
        (Reaction.MEND, MEND),
        (Reaction.RETRY, RETRY_CODES),
        (Reaction.UNKNOWN, UNKNOWN),
        (Reaction.HALT, HALT),
        (Reaction.GIVE_UP, GIVE_UP),
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


def test_what_is_asked_again_is_told_so_and_what_is_given_up_is_not() -> None:
    again = {row.rejection for row in RETCODES.values() if row.reaction is Reaction.RETRY}
    given_up = {row.rejection for row in RETCODES.values() if row.reaction in (Reaction.GIVE_UP, Reaction.HALT)}

    # A stop inside the stops level waits for the next decision: it is planned anew, but by nobody's retry.
    assert again - {Rejection.INVALID_STOPS} <= RETRYABLE
    assert not given_up & RETRYABLE


def test_every_rejection_says_when_it_is_asked_again() -> None:
    assert set(RETRY) == set(Rejection)


def test_a_code_that_can_be_mended_says_how_and_no_other_does() -> None:
    assert {code for code, row in RETCODES.items() if row.mend is not None} == by_reaction(Reaction.MEND)


def test_what_stops_all_trading_is_what_opens_the_breaker_at_once() -> None:
    assert {row.rejection for row in RETCODES.values() if row.reaction is Reaction.HALT} == TRADING_OFF
    assert {reason for reason, when in RETRY.items() if when is Retry.TRADING_ON} == TRADING_OFF


def test_the_page_of_the_retcodes_is_what_the_tables_say_now() -> None:
    if os.environ.get("DTMS_WRITE_DOCS") == "1":
        _PAGE.write_text(render_page(), encoding="utf-8")
    assert _PAGE.read_text(encoding="utf-8") == render_page()


def test_every_rejection_names_its_reason() -> None:
    refusing = (Reaction.MEND, Reaction.RETRY, Reaction.GIVE_UP, Reaction.HALT)
    assert [code for code, row in RETCODES.items() if row.reaction in refusing and row.rejection is None] == []


def test_only_what_the_terminal_did_not_take_counts_as_not_sent() -> None:
    assert {code for code, row in SEND_ERRORS.items() if not row.left} == {-2, -3, -4, -5, -6, -7, -8, -10004}
    assert {code for code, row in SEND_ERRORS.items() if row.left} == {-1, -10000, -10001, -10002}

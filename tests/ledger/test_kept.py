"""A row that was read before is not decoded again, and nothing else changes by that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.adapters.sql.kept import Kept
from dtms.adapters.sql.rows import READ_TRADE, read_rows
from dtms.errors import LedgerUnavailableError

MOST = 2_000
ROWS = st.lists(st.tuples(st.integers(0, MOST), st.text(max_size=2)), max_size=50)


def counting() -> tuple[list[tuple[object, ...]], Callable[..., tuple[object, ...]]]:
    asked: list[tuple[object, ...]] = []

    def load(*row: object) -> tuple[object, ...]:
        asked.append(row)
        return row

    return asked, load


@given(rows=ROWS)
def test_a_kept_value_is_what_decoding_makes(rows: list[tuple[int, str]]) -> None:
    asked, load = counting()
    kept = Kept(load)

    assert [kept(*row) for row in rows] == rows
    assert len(asked) == len(set(rows))


def test_what_is_read_again_and_again_stays_and_what_is_not_is_forgotten() -> None:
    asked, load = counting()
    kept = Kept(load)

    for other in range(MOST):
        kept(-1)
        kept(other)
    kept(0)

    assert asked.count((-1,)) == 1
    assert asked.count((0,)) == 2


def test_a_reading_of_many_rows_is_kept_whole() -> None:
    asked, load = counting()
    kept = Kept(load)

    for _ in range(3):
        kept.expect(MOST)
        for row in range(MOST):
            kept(row)

    assert len(asked) == MOST


def test_a_row_that_cannot_be_trusted_is_refused_each_time() -> None:
    for _ in range(2):
        with pytest.raises(LedgerUnavailableError, match="cannot be trusted"):
            read_rows(READ_TRADE, [("{}",)])

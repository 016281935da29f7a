"""The table of what was measured: a bug that was not hunted this time keeps its row."""

from __future__ import annotations

from tests.drill.measure_planted import Hunt, table


def test_a_row_that_was_not_measured_anew_stays_as_it_was() -> None:
    old = table(
        [Hunt(bug=name, first=20_000, seeds=3, law="I6 ratchet") for name in ("none_means_flat", "two_hedges")],
        commit="aaa",
    )
    new = table([Hunt(bug="two_hedges", first=20_000, seeds=9, law="")], commit="bbb", before=old)
    rows = {line.split("`")[1]: line for line in new.splitlines() if line.startswith("| `")}
    assert set(rows) == {"none_means_flat", "two_hedges"}
    assert rows["none_means_flat"].endswith("| 3 | 3 | I6 ratchet (1) | aaa |")
    assert rows["two_hedges"].endswith("| not found | none in 9 | none | bbb |")

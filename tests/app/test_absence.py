"""A position is gone after two reads that are two: the same read shown again proves nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.app.rig import Rig

from dtms.app.evidence.absence import Absences
from dtms.domain.units import Millis


@pytest.mark.parametrize(("token", "later_s", "twice"), [(7, 60.0, False), (8, 9.9, False), (8, 10.0, True)])
def test_a_position_is_missed_twice_in_two_reads_a_wait_apart(
    rig: Rig, token: int, later_s: float, twice: bool
) -> None:
    absences = Absences(reads=rig.broker)
    first = replace(rig.broker.positions(), token=7)
    assert not absences.missed_twice(1, first, 10.0)
    later = replace(first, token=token, as_of=Millis(first.as_of + round(later_s * 1_000)))
    assert absences.missed_twice(1, later, 10.0) is twice

"""Which points are struck where: every one in every state of the market, and each death followed by another."""

from __future__ import annotations

from collections import Counter

import pytest

from dtms.errors import SettingsError
from dtms.ports.crash import COMMITS, PLACES, POINTS
from dtms.services.armed import Strike, read_plan
from dtms_lab.restart.plans import PHASES, USUAL, Target, crash_plan, dealt, doubled, everything, place_of, sampled


def test_no_name_stands_twice_in_the_registry() -> None:
    assert [name for name, count in Counter(POINTS).items() if count > 1] == []


def test_the_usual_points_are_all_places_and_both_sides_of_every_common_commit() -> None:
    assert len(USUAL) == len(PLACES) + 2 * sum(len(kinds) for kinds in COMMITS.values())
    assert set(USUAL) <= set(POINTS)


def test_everything_is_each_point_once_in_each_state() -> None:
    targets = everything(USUAL)

    assert len(targets) == len(set(targets)) == len(USUAL) * len(PHASES)


def test_the_deal_loses_and_doubles_no_target_and_gives_a_run_one_a_state() -> None:
    targets = everything(USUAL)

    runs = dealt(targets, seed=7)

    assert Counter(target for run in runs for target in run) == Counter(targets)
    assert all(len({target.phase for target in run}) == len(run) for run in runs)


def test_a_sample_is_of_different_points_and_repeats_by_its_seed() -> None:
    first = sampled(USUAL, 8, seed=3)

    assert len({target.point for target in first}) == 8
    assert sampled(USUAL, 8, seed=3) == first
    assert sampled(USUAL, 8, seed=4) != first


@pytest.mark.parametrize("point", USUAL)
def test_each_plan_reads_back_and_strikes_its_target_and_a_recovery_of_the_same_role(point: str) -> None:
    target = Target(point=point, phase=1)

    strikes = read_plan(crash_plan((target,), turn=0))

    assert [str(strike) for strike in strikes] == crash_plan((target,), turn=0).split(",")
    assert strikes[place_of(target, 0)].name == point
    assert {strike.name.split(".")[0] for strike in strikes} == {point.split(".", maxsplit=1)[0]}
    assert [(strike.at, strike.until) for strike in strikes] == [PHASES[1]] * 2


def test_a_death_and_the_death_of_who_recovers_from_it_count_as_one_double() -> None:
    assert doubled([0, 1, 2, 5]) == 1


@pytest.mark.parametrize(
    "text", ["gateway.nowhere", "gateway.claimed:0", "gateway.claimed@later", "nobody.*", "", "gateway.claimed!go"]
)
def test_a_plan_that_cannot_be_is_refused_and_named(text: str) -> None:
    with pytest.raises(SettingsError, match=r"crash point|DTMS_CRASH_POINT"):
        read_plan(text)


def test_a_strike_counts_only_its_point_within_its_time() -> None:
    strike = read_plan("gateway.*:2@10-20!stop")[0]

    assert strike == Strike(name="gateway.*", nth=2, at=strike.at, until=strike.until, stop=True)
    assert [strike.meets("gateway.sent", at) for at in (9, 10, 19, 20)] == [False, True, True, False]  # type: ignore[arg-type]
    assert strike.meets("server.decided", strike.at) is False

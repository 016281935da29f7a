"""The market's clock over a machine whose wall clock is set, slewed, put to sleep and booted."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtms.adapters.clocks import AnchoredClock, FileAnchor, MemoryAnchor, SystemMachine, VirtualMachine
from dtms.domain.units import DAY, HOUR, MINUTE, SECOND, Millis

T0 = Millis(1_750_161_600_000)
YEAR = 365 * DAY


def machine() -> VirtualMachine:
    made = VirtualMachine(wall=T0)
    made.run(1_000)
    made.wall = T0
    return made


def passing(clock: AnchoredClock, of: VirtualMachine, seconds: float, *, ppm: float = 0.0) -> None:
    """Let time pass with a look each second."""
    for _ in range(round(seconds)):
        of.run(1.0, ppm=ppm)
        clock.refresh()


@pytest.mark.parametrize("by", [HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 3 * MINUTE])
def test_a_wall_clock_that_is_set_moves_nothing(by: int) -> None:
    under = machine()
    clock = AnchoredClock(machine=under)
    passing(clock, under, 10)
    under.set_wall(by)
    assert (clock.market_now(), clock.off_by()) == (T0 + 10_000, by)
    passing(clock, under, 600)
    assert (clock.market_now(), clock.off_by()) == (T0 + 610_000, by)


def test_a_slew_of_500_ppm_is_followed() -> None:
    under = machine()
    clock = AnchoredClock(machine=under)
    for _ in range(3 * 3_600):
        before = clock.market_now()
        under.run(1.0, ppm=500)
        clock.refresh()
        assert 999 <= clock.market_now() - before <= 1_002
    assert abs(clock.off_by()) <= 1


@pytest.mark.parametrize("by", [-1_000, 1_000, -30_000, 120_000])
def test_a_leap_second_or_a_small_correction_is_followed_slowly_and_never_backward(by: int) -> None:
    under = machine()
    clock = AnchoredClock(machine=under)
    under.set_wall(by)
    shown = [clock.market_now()]
    for _ in range(21 * abs(by) // 1_000):
        passing(clock, under, 1)
        shown.append(clock.market_now())
    assert all(900 <= b - a <= 1_100 for a, b in pairwise(shown))
    assert abs(clock.off_by()) <= 1


def test_eight_hours_of_sleep_have_passed() -> None:
    under = machine()
    clock = AnchoredClock(machine=under)
    under.suspend(8 * 3_600)
    assert clock.market_now() == T0 + 8 * HOUR


def test_a_restart_goes_on_with_the_anchor_whatever_the_wall_clock_says() -> None:
    under, store = machine(), MemoryAnchor()
    first = AnchoredClock(store, under)
    passing(first, under, 300)
    under.set_wall(10 * YEAR)
    second = AnchoredClock(store, under)
    assert second.market_now() == first.market_now() == T0 + 300_000


def test_two_processes_of_a_machine_show_the_same_time_though_one_began_after_a_step() -> None:
    under, store = machine(), MemoryAnchor()
    one = AnchoredClock(store, under)
    under.set_wall(-HOUR)
    two = AnchoredClock(store, under)
    passing(one, under, 200)
    assert two.market_now() == one.market_now()


def test_after_a_boot_the_wall_clock_counts() -> None:
    under, store = machine(), MemoryAnchor()
    passing(AnchoredClock(store, under), under, 120)
    under.reboot(45)
    assert AnchoredClock(store, under).market_now() == T0 + 165_000


def test_after_a_boot_with_a_wall_clock_from_the_past_time_does_not_run_backward() -> None:
    under, store = machine(), MemoryAnchor()
    passing(AnchoredClock(store, under), under, 120)
    under.set_wall(-10 * YEAR)
    under.reboot(45)
    assert AnchoredClock(store, under).market_now() >= T0 + MINUTE


def test_a_boot_time_clock_that_begins_anew_under_a_running_process_does_not_turn_time_back() -> None:
    under = machine()
    clock = AnchoredClock(machine=under)
    passing(clock, under, 120)
    before = clock.market_now()
    under.reboot(10)
    assert clock.market_now() >= before
    passing(clock, under, 5)
    assert clock.market_now() >= before + 5_000


def test_the_anchor_survives_in_a_file_and_a_damaged_file_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "anchor.json"
    under = machine()
    first = AnchoredClock(FileAnchor(file), under)
    under.set_wall(HOUR)
    under.run(2)
    assert AnchoredClock(FileAnchor(file), under).market_now() == first.market_now()
    file.write_text('{"boot_id": "x"', encoding="utf-8")
    assert AnchoredClock(FileAnchor(file), under).market_now() == under.wall_now()
    assert AnchoredClock(FileAnchor(file / "no folder"), under).market_now() == under.wall_now()


def test_the_clock_of_this_machine_runs_and_has_a_boot() -> None:
    real = SystemMachine()
    clock = AnchoredClock(machine=real)
    assert abs(clock.off_by()) < 5 * SECOND
    assert real.boot_id() == real.boot_id()
    assert 0 < real.awake_ns() <= real.boot_ns() + SECOND * 1_000_000


JUMPS = st.lists(
    st.tuples(
        st.integers(0, 600),
        st.sampled_from([0, HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 12 * HOUR, -DAY]),
        st.sampled_from([0, 0, 0, 8 * 3_600]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=1_000)
@given(JUMPS, st.booleans())
def test_whatever_the_wall_clock_does_the_market_clock_shows_what_has_passed(
    jumps: list[tuple[int, int, int]], restarts: bool
) -> None:
    under, store = machine(), MemoryAnchor()
    clock = AnchoredClock(store, under)
    passed = 0
    for seconds, by, asleep in jumps:
        under.set_wall(by)
        under.run(seconds)
        under.suspend(asleep)
        passed += (seconds + asleep) * SECOND
        clock.refresh()
        if restarts:
            clock = AnchoredClock(store, under)
        assert clock.market_now() == T0 + passed

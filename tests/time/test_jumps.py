"""Wall clocks that are set, machines that sleep and boot, under the whole defence: nothing fires from the jump itself."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.app.rig import SYMBOL, bar
from tests.time.machine import TimeRig

from dtms.adapters.mt5.server_time import ServerClock, new_york_plus_7
from dtms.app.modes.clock_watch import ClockWatch, Jump
from dtms.domain.modes import Cause
from dtms.domain.units import DAY, HOUR, SECOND, Millis
from dtms.ports.causes import NoCauses
from dtms_lab.terminal.server_time import eet_new_york_dst, fixed_offset

YEAR = 365 * DAY
JUMPS = [HOUR, -HOUR, 10 * YEAR, -10 * YEAR]


def decided_after(rig: TimeRig, jump: int) -> list[object]:
    """Return what is decided in five minutes after the jump, beside what would have been decided without."""
    trade = rig.warned()
    rig.settle()
    rows = len(rig.rows(trade))
    rig.machine.wall_shift += jump
    rig.pass_time(300)
    return list(rig.rows(trade)[rows:])


@pytest.mark.parametrize("jump", JUMPS)
def test_no_deadline_fires_from_a_wall_clock_that_is_set(rig: TimeRig, jump: int) -> None:
    assert decided_after(rig, jump) == []


def test_on_the_wall_clock_the_deadline_would_have_fired() -> None:
    assert decided_after(TimeRig(follows_wall=True), HOUR) != []


@pytest.mark.parametrize("jump", JUMPS)
def test_a_deadline_fires_at_its_true_time_whatever_the_wall_clock_says(rig: TimeRig, jump: int) -> None:
    trade = rig.warned()
    rows = len(rig.rows(trade))
    assert trade.deadline is not None
    left = (trade.deadline - rig.clock.now) / SECOND
    rig.machine.wall_shift += jump
    rig.pass_time(left - 2, step=2)
    assert len(rig.rows(trade)) == rows
    rig.pass_time(4, step=2)
    assert len(rig.rows(trade)) > rows


STEPS = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from([*JUMPS, 0, 0, 700, -30_000, 12 * HOUR])), min_size=1, max_size=8
)


def lived(jumps: list[tuple[int, int]]) -> list[object]:
    """Return what was decided in the life of a trade whose deadline passes, with such jumps on the way."""
    rig = TimeRig()
    trade = rig.warned()
    for minutes, jump in jumps:
        rig.machine.wall_shift += jump
        rig.pass_time(60 * minutes, step=60)
    rig.machine.wall_shift += 3 * HOUR
    rig.pass_time(60 * (45 - sum(minutes for minutes, _ in jumps) % 40), step=60)
    after = rig.trade(trade.ticket)
    assert len(rig.rows(trade)) > 2
    return [rig.rows(trade), after.state, after.stop, after.volume, after.deadline is None]


@settings(max_examples=30, phases=[Phase.generate])
@given(STEPS)
def test_a_trades_life_is_the_same_whatever_the_wall_clock_did_meanwhile(jumps: list[tuple[int, int]]) -> None:
    assert lived(jumps) == lived([(minutes, 0) for minutes, _ in jumps])


def test_a_step_is_told_and_ends_when_the_clocks_agree_again(rig: TimeRig) -> None:
    rig.managed()
    rig.pass_time(3)
    assert rig.causes() == frozenset()
    rig.machine.wall_shift = HOUR
    rig.pass_time(1)
    assert rig.causes() == frozenset({Cause.CLOCK_STEPPED})
    rig.machine.wall_shift = 0
    rig.pass_time(2)
    assert rig.causes() == frozenset()


@pytest.mark.parametrize("step", [-500, 500])
def test_half_a_second_is_no_step(rig: TimeRig, step: int) -> None:
    rig.managed()
    rig.pass_time(2)
    rig.machine.wall_shift += step
    rig.pass_time(1)
    assert rig.server.monitor.watch.steps == 0
    rig.machine.wall_shift += 2 * step
    rig.pass_time(1)
    assert rig.server.monitor.watch.steps == 1


def test_the_pass_of_the_jump_decides_nothing_by_time_and_the_next_one_does(rig: TimeRig) -> None:
    trade = rig.warned()
    rows = len(rig.rows(trade))
    assert trade.deadline is not None
    rig.clock.now = Millis(trade.deadline - 1_000)
    rig.server.monitor.tick()
    decided = len(rig.verdicts)
    rig.wait(2)
    rig.machine.wall_shift = HOUR
    rig.server.monitor.tick()
    assert (len(rig.verdicts), len(rig.rows(trade))) == (decided, rows)
    rig.settle()
    assert len(rig.rows(trade)) > rows


def test_a_pass_that_breaks_off_does_not_end_the_freeze(rig: TimeRig) -> None:
    rig.managed()
    rig.settle()
    rig.machine.wall_shift = HOUR
    rig.reads.down = True
    rig.wait(1)
    rig.server.monitor.tick()
    assert rig.server.monitor.watch.frozen
    rig.reads.down = False
    rig.wait(1)
    rig.server.monitor.tick()
    assert not rig.server.monitor.watch.frozen


def test_after_eight_hours_of_sleep_quotes_are_stale_and_what_happened_is_taken_in_first(rig: TimeRig) -> None:
    trade = rig.warned()
    rig.price(2_000.5)
    rig.settle()
    feed = rig.server.desk.symbol(SYMBOL, rig.clock.now).feed
    assert not feed.is_stale(rig.market_now())
    rig.hand_stop(trade.ticket, 1_997.0)
    rig.suspend(8 * 3_600)
    rows = len(rig.rows(trade))
    rig.server.monitor.tick()
    assert Cause.SUSPENDED not in rig.causes()  # told, and ended by the whole pass that this was
    assert rig.server.monitor.watch.sleeps == 1
    assert feed.is_stale(rig.market_now())
    after = rig.trade(trade.ticket)
    assert (len(rig.rows(trade)), after.stop) == (rows, 1_997.0)
    rig.settle()
    assert len(rig.rows(trade)) > rows  # the deadline has truly passed meanwhile


def test_a_bar_of_before_the_sleep_is_not_decided_in_the_pass_that_finds_it(rig: TimeRig) -> None:
    trade = rig.managed()
    rig.next_bar()
    rig.server.desk.poll_bars(SYMBOL, rig.clock.now)
    rig.server.desk.symbol(SYMBOL, rig.clock.now).view = bar(rig.clock.now, trade.side, -9.0)
    rig.server.monitor.watch.look()
    rig.suspend(60)
    rig.server.monitor.tick()
    assert rig.verdicts == []


def test_a_boot_under_the_rig_turns_nothing_back(rig: TimeRig) -> None:
    trade = rig.warned()
    rows = rig.rows(trade)
    rig.wait(30)
    rig.machine.booted, rig.machine.slept = rig.clock.now - 30_000, 0
    rig.start(epoch=2)
    assert rig.market_now() >= rig.clock.now
    rig.pass_time(60)
    assert rig.rows(trade) == rows


def test_a_boot_time_clock_that_begins_anew_is_a_sleep() -> None:
    rig = TimeRig()
    watch = ClockWatch(rig.parts.clock, NoCauses(), anchor=rig.parts.anchor)
    assert watch.look() is Jump.NONE
    rig.machine.booted = rig.clock.now
    assert (watch.look(), watch.frozen) == (Jump.SLEPT, True)


def test_a_process_that_begins_after_the_step_tells_of_it(rig: TimeRig) -> None:
    rig.managed()
    rig.machine.wall_shift = -HOUR
    rig.start(epoch=2)
    rig.settle()
    assert rig.causes() == frozenset({Cause.CLOCK_STEPPED})


def test_the_brokers_clock_that_changes_its_offset_is_followed_within_a_few_ticks() -> None:
    now = [Millis(1_761_868_800_000)]  # some hours before New York's summer time ends
    clock = ServerClock(lambda: now[0])
    offset, behind = new_york_plus_7(now[0]), []
    for tick in range(40):
        now[0] = Millis(now[0] + 500)
        if tick == 20:
            offset -= HOUR
        clock.observe(SYMBOL, now[0] + offset)
        if clock.known:
            behind.append(now[0] - clock.to_utc(now[0] + offset))
    assert behind[:15] == [0] * 15
    assert set(behind) == {0, HOUR}
    assert behind.count(HOUR) <= 6  # then five of nine agree
    assert behind[-10:] == [0] * 10


def test_quotes_of_a_clock_that_changed_are_dropped_until_the_offset_is_known_again(rig: TimeRig) -> None:
    rig.managed()
    for step in range(9):
        rig.wait(0.5)
        rig.price(2_000.0 + step / 100)
        rig.settle()
    desk = rig.server.desk.symbol(SYMBOL, rig.clock.now)
    accepted, stamped = desk.feed.last, desk.feed.rejected
    for by in (HOUR, -HOUR):
        rig.sim.set_offset(fixed_offset(eet_new_york_dst(rig.clock.now) + by))
        for _ in range(3):
            rig.wait(0.5)
            rig.price(2_000.0 + rig.clock.now % 7 / 100)
            rig.settle()
        assert desk.feed.last == accepted
    assert desk.feed.rejected >= stamped + 6
    rig.sim.set_offset(eet_new_york_dst)
    rig.wait(0.5)
    rig.price(2_000.05)
    rig.settle()
    assert desk.feed.last is not None
    assert desk.feed.last.at == rig.clock.now

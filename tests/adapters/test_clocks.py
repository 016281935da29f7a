from __future__ import annotations

from pathlib import Path

from dtms.adapters.clocks import SystemClock, TapeClock, TapeTime, VirtualClock, write_tape_time
from dtms.domain.units import Millis

START = Millis(1_748_000_000_000)
SECOND_NS = 1_000_000_000


def tape(origin_ns: int | None, speed: float = 60.0) -> TapeTime:
    return TapeTime(start=START, end=Millis(START + 600_000), speed=speed, origin_ns=origin_ns)


def test_a_tape_stands_at_its_start_until_it_is_started() -> None:
    assert tape(None).at(10**18) == START
    assert tape(5 * SECOND_NS).at(4 * SECOND_NS) == START


def test_a_tape_runs_at_its_speed_and_stands_at_its_end() -> None:
    running = tape(5 * SECOND_NS)
    assert running.at(6 * SECOND_NS) == START + 60_000
    assert running.at(5 * SECOND_NS + SECOND_NS // 2) == START + 30_000
    assert running.at(1_000 * SECOND_NS) == START + 600_000


def test_processes_read_the_tapes_time_from_one_file(tmp_path: Path) -> None:
    file = tmp_path / "clock.json"
    write_tape_time(file, tape(None))
    clock = TapeClock(file)
    assert clock.market_now() == START
    write_tape_time(file, tape(0, speed=1e9))
    assert clock.market_now() == START + 600_000


def test_the_boot_clock_never_goes_back() -> None:
    clock = SystemClock()
    readings = [clock.boot_ns() for _ in range(100)]
    assert readings == sorted(readings)


def test_a_virtual_clock_moves_only_when_told() -> None:
    clock = VirtualClock(START)
    assert (clock.market_now(), clock.boot_ns()) == (START, START * 1_000_000)
    clock.sleep(0.5)
    assert clock.wall_now() == START + 500

"""The place of a role as a ledger on a file holds it: who lives keeps it, who is dead leaves it, lock file or not."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.only_posix import os_

from dtms.adapters.processes import Process, process_from, this_process
from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.adapters.sql.leases import machine_time
from dtms.adapters.sql.ledger_place import ROW_TTL_MS
from dtms.domain.units import Millis
from dtms.errors import SettingsError
from dtms.ports.lease import FencedError

ROW = "place/gateway"
REFUSED = r"another gateway works on ledger .* \(process \d+, as the ledger says\); stop it, or give this one a ledger"
Open = Callable[[], SqlLedger]


class Time:
    """This machine's boot-time clock, which a test may put forward, and let stand."""

    def __init__(self) -> None:
        self.ahead_ms = 0
        self.stands_at: int | None = None

    def now(self) -> int:
        return (int(str(machine_time()["lease_now"])) if self.stands_at is None else self.stands_at) + self.ahead_ms

    def __call__(self) -> Mapping[str, object]:
        return {**machine_time(), "lease_now": self.now()}


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def opens(tmp_path: Path, time: Time) -> Iterator[Open]:
    """The same ledger, each time as another process has it."""
    made: list[SqlLedger] = []

    def open_once() -> SqlLedger:
        made.append(open_ledger(tmp_path / "ledger.sqlite3", account="D:1", clock=lambda: Millis(0), lease_time=time))
        return made[-1]

    yield open_once
    for each in made:
        each.close()


def dead() -> Process:
    """A process that has ended, and whose parent has asked."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True)
    living = replace(this_process(), pid=child.pid)
    child.communicate("\n", timeout=30)
    return living


def elsewhere() -> Process:
    """A process in a container of this machine, of whom nothing can be known from here."""
    return replace(this_process(), space="another")


def unlock(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3.gateway.lock").unlink()


def test_we_live_and_whoever_has_ended_does_not() -> None:
    assert this_process().lives() is True
    assert dead().lives() is False
    assert elsewhere().lives() is None


def test_a_number_that_was_given_again_is_another_process() -> None:
    assert replace(this_process(), started="1").lives() is False


@pytest.mark.skipif(sys.platform == "win32", reason="a zombie")
def test_a_process_that_only_waits_for_its_parent_to_ask_has_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os_.waitid(os_.P_PID, child.pid, os_.WEXITED | os_.WNOWAIT)
    assert replace(this_process(), pid=child.pid).lives() is False
    child.wait(timeout=30)


@pytest.mark.parametrize("text", ["", "host/word", "x,1,2", "1,2", "1,2,3,4", "-1,2,3"])
def test_what_names_no_process_is_none(text: str) -> None:
    assert process_from(text) is None
    assert process_from(str(this_process())) == this_process()


def test_a_removed_lock_file_lets_nobody_in(opens: Open, tmp_path: Path) -> None:
    place = opens().leases.place("gateway", "host-a/1")
    unlock(tmp_path)
    with pytest.raises(SettingsError, match=REFUSED):
        opens().leases.place("gateway", "host-a/1 again")
    place.ensure()
    place.release()
    opens().leases.place("gateway", "host-b/2").release()


def test_a_living_process_keeps_its_place_however_long_it_shows_no_sign(
    opens: Open, tmp_path: Path, time: Time
) -> None:
    place = opens().leases.place("gateway", "host-a/1")
    unlock(tmp_path)
    time.ahead_ms += 100 * ROW_TTL_MS
    with pytest.raises(SettingsError, match=REFUSED):
        opens().leases.place("gateway", "host-b/2")
    place.ensure()
    with pytest.raises(SettingsError, match="another gateway works"):
        opens().leases.place("gateway", "host-b/2")
    place.release()


def test_a_dead_process_leaves_its_row_at_once(opens: Open) -> None:
    ledger = opens()
    assert ledger.leases.take(ROW, f"host-a/1 {dead()}", ttl_ms=3_600_000) is not None
    ledger.leases.place("gateway", "host-a/1").release()
    assert ledger.leases.look(ROW) is None


def test_of_whom_nothing_can_be_known_the_row_is_taken_when_it_has_ended(opens: Open) -> None:
    ledger = opens()
    assert ledger.leases.take(ROW, f"host-a/1 {elsewhere()}", ttl_ms=300) is not None
    ledger.leases.place("gateway", "host-b/2").release()


def test_of_whom_nothing_can_be_known_a_sign_of_life_refuses_the_next(opens: Open) -> None:
    theirs, ours = opens(), opens()
    owner = f"host-a/1 {elsewhere()}"
    taken = theirs.leases.take(ROW, owner, ttl_ms=ROW_TTL_MS)
    assert taken is not None
    ended = threading.Event()

    def live() -> None:
        while not ended.wait(0.05):
            assert theirs.leases.renew(ROW, owner, taken.epoch, ttl_ms=ROW_TTL_MS)

    living = threading.Thread(target=live)
    living.start()
    try:
        with pytest.raises(SettingsError, match=REFUSED):
            ours.leases.place("gateway", "host-b/2")
    finally:
        ended.set()
        living.join()


def test_a_row_that_is_gone_is_written_again(opens: Open) -> None:
    ledger = opens()
    place = ledger.leases.place("gateway", "host-a/1")
    held = ledger.leases.look(ROW)
    assert held is not None
    ledger.leases.give_up(ROW, held.owner, held.epoch)
    place.ensure()
    assert ledger.leases.look(ROW) is not None
    place.release()


def test_signs_of_life_are_written_seldom_and_before_the_row_ends(opens: Open, time: Time) -> None:
    time.stands_at = time.now()
    ledger = opens()
    place = ledger.leases.place("gateway", "host-a/1")
    signs = set()
    for _ in range(60):
        time.ahead_ms += 1_000
        place.ensure()
        held = ledger.leases.look(ROW)
        assert held is not None
        assert held.left_ms > ROW_TTL_MS // 2
        assert held.quiet_ms is not None
        signs.add(time.ahead_ms - held.quiet_ms)
    assert signs == set(range(0, 60_001, 3_000))
    place.release()


def test_whose_row_is_anothers_ends(opens: Open) -> None:
    ledger = opens()
    place = ledger.leases.place("gateway", "host-a/1")
    held = ledger.leases.look(ROW)
    assert held is not None
    ledger.leases.give_up(ROW, held.owner, held.epoch)
    assert ledger.leases.take(ROW, f"host-b/2 {elsewhere()}", ttl_ms=ROW_TTL_MS) is not None
    with pytest.raises(FencedError, match=r"another gateway works on ledger .*; this one ends"):
        place.ensure()
    place.release()
    assert ledger.leases.look(ROW) is not None

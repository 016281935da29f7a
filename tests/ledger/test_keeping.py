"""A service's place on its ledger: one process a role, whatever data folder it works in, and its end when it loses it."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from dtms.adapters.clocks import VirtualClock
from dtms.adapters.notify import MemoryNotifier
from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.domain.units import Millis
from dtms.errors import LedgerUnavailableError, SettingsError
from dtms.ports.lease import FencedError
from dtms.ports.notifier import AlertKind
from dtms.services.leasing import Heartbeat, keep_gateway, keep_place, owner_of
from dtms.settings import Settings, load_settings

ACCOUNT = "Demo:1001"
START = Millis(1_700_000_000_000)


@pytest.fixture
def notifier() -> MemoryNotifier:
    return MemoryNotifier()


def installation(folder: Path, url: str) -> tuple[Settings, SqlLedger]:
    """Settings with a data folder of their own, on a ledger."""
    settings = load_settings(data_dir=folder, ledger_url=url)
    return settings, open_ledger(url, account=ACCOUNT, clock=lambda: START)


@pytest.fixture
def two(shared_url: str, tmp_path: Path) -> Iterator[tuple[tuple[Settings, SqlLedger], tuple[Settings, SqlLedger]]]:
    """Two installations with two data folders on one ledger."""
    both = installation(tmp_path / "one", shared_url), installation(tmp_path / "two", shared_url)
    yield both
    for _, ledger in both:
        ledger.close()


@contextmanager
def signals_noted(number: int) -> Iterator[list[int]]:
    """Note a signal instead of ending."""
    noted: list[int] = []

    def note(got: int, _frame: FrameType | None) -> None:
        noted.append(got)

    before = signal.signal(number, note)
    try:
        yield noted
    finally:
        signal.signal(number, before)


def test_an_installation_has_one_word_over_restarts_and_another_folder_another(tmp_path: Path) -> None:
    one, two = load_settings(data_dir=tmp_path / "one"), load_settings(data_dir=tmp_path / "two")
    assert owner_of(one) == owner_of(one) != owner_of(two)
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o700


def test_a_data_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="make the data folder writable or set DTMS_DATA_DIR to another"):
        owner_of(load_settings(data_dir=tmp_path / "file" / "data"))


@pytest.mark.parametrize("role", ["server", "api"])
def test_the_second_service_of_a_role_on_one_ledger_is_refused(
    two: tuple[tuple[Settings, SqlLedger], tuple[Settings, SqlLedger]], notifier: MemoryNotifier, role: str
) -> None:
    first = keep_place(*two[0], role, notifier)
    with pytest.raises(SettingsError, match=f"another {role} works on ledger"):
        keep_place(*two[1], role, notifier)
    first.end()
    keep_place(*two[1], role, notifier).end()


def test_the_second_gateway_on_one_ledger_is_refused_and_changes_nothing(
    two: tuple[tuple[Settings, SqlLedger], tuple[Settings, SqlLedger]], notifier: MemoryNotifier
) -> None:
    clock = VirtualClock(START)
    first, lease = keep_gateway(*two[0], clock, notifier, settle_s=10.0)
    if lease is not None:
        assert lease.hold()
    with pytest.raises(SettingsError, match=r"another gateway works on ledger .*; stop it, or give this one a ledger"):
        keep_gateway(*two[1], clock, notifier, settle_s=10.0)
    if lease is not None:
        assert (lease.epoch, lease.may_send()) == (1, True)
    first.end()
    second, lease = keep_gateway(*two[1], clock, notifier, settle_s=10.0)
    if lease is not None:
        assert lease.hold()
        assert (lease.epoch, lease.may_send()) == (2, True)
    second.end()


def test_a_lease_that_is_shorter_than_a_send_is_refused(
    postgres_url: str, tmp_path: Path, notifier: MemoryNotifier
) -> None:
    settings, ledger = installation(tmp_path, postgres_url)
    short = settings.model_copy(update={"lease_s": 5.0})
    with pytest.raises(SettingsError, match="a lease of 5 s leaves no time to send"):
        keep_gateway(short, ledger, VirtualClock(START), notifier, settle_s=10.0)
    ledger.close()


def test_a_process_that_lost_its_place_says_so_once_and_ends_as_by_sigterm(notifier: MemoryNotifier) -> None:
    def beat() -> None:
        msg = "another gateway has taken the lease"
        raise FencedError(msg)

    keeper = Heartbeat(beat, lambda: None, role="gateway", notifier=notifier)
    keeper.require_place()
    with signals_noted(signal.SIGTERM) as noted:
        keeper.step()
        keeper.step()
        os.kill(os.getpid(), 0)
    assert noted == [signal.SIGTERM]
    assert [(a.kind, a.subject) for a in notifier.alerts] == [(AlertKind.HALT, "dtms-gateway fenced")]
    assert "another gateway has taken the lease; stops at the broker hold" in notifier.alerts[0].detail
    with pytest.raises(FencedError, match="another gateway has taken the lease"):
        keeper.require_place()


def test_a_ledger_that_cannot_be_asked_ends_nothing(notifier: MemoryNotifier) -> None:
    asked: list[int] = []

    def beat() -> None:
        asked.append(1)
        if len(asked) < 3:
            msg = "away"
            raise LedgerUnavailableError(msg)

    keeper = Heartbeat(beat, beat, role="server", notifier=notifier)
    for _ in range(4):
        keeper.step()
    keeper.end()
    keeper.require_place()
    assert (len(asked), notifier.alerts) == (5, [])

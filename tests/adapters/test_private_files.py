"""The data folder is not trusted: no planted name is followed, nobody but its owner may read or write what is ours."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.only_posix import os_

from dtms.adapters.clocks import FileAnchor, wall_ms
from dtms.adapters.lock_file import LockFile
from dtms.adapters.sql import open_ledger
from dtms.adapters.sql.backup import backup_file
from dtms.adapters.sql.places import FilePlace
from dtms.domain.units import Millis
from dtms.errors import DtmsError, SettingsError
from dtms.ports.lease import FencedError
from dtms.private_files import open_to_append, read_start, write_whole
from dtms.services.host import RoleLock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="rights and links of POSIX")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def opens(path: Path) -> list[Callable[[], object]]:
    """Each way in which a file of the data folder is opened to be written in place."""
    return [lambda: LockFile(path), lambda: open_to_append(path)]


@pytest.mark.parametrize("number", [0, 1])
def test_a_planted_link_is_refused_and_what_it_leads_to_is_as_it_was(tmp_path: Path, number: int) -> None:
    foreign, planted = tmp_path / "foreign", tmp_path / "gateway.lock"
    foreign.write_text("theirs")
    planted.symlink_to(foreign)
    with pytest.raises(OSError, match="symbolic link, which is not followed"):
        opens(planted)[number]()
    assert foreign.read_text() == "theirs"


@pytest.mark.parametrize("number", [0, 1])
def test_a_planted_pipe_is_refused_at_once(tmp_path: Path, number: int) -> None:
    os_.mkfifo(tmp_path / "x")
    with pytest.raises(OSError, match="no regular file"):
        opens(tmp_path / "x")[number]()


def test_what_is_written_whole_replaces_a_link_and_leaves_what_it_leads_to(tmp_path: Path) -> None:
    foreign, planted = tmp_path / "foreign", tmp_path / "clock.json"
    foreign.write_text("theirs")
    planted.symlink_to(foreign)
    write_whole(planted, b"ours")
    assert (foreign.read_text(), planted.is_symlink(), read_start(planted, 9), mode_of(planted)) == (
        "theirs",
        False,
        b"ours",
        0o600,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clock.json", "foreign"]


def test_the_clocks_anchor_is_private(tmp_path: Path) -> None:
    anchor = FileAnchor(tmp_path / "anchor.json")
    from dtms.adapters.clocks import AnchorPoint

    anchor.save(AnchorPoint(boot_id="b", boot_ns=1, utc=Millis(2), seen=Millis(3)))
    assert (anchor.load() is not None, mode_of(tmp_path / "anchor.json")) == (True, 0o600)


@pytest.mark.posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722, 0o702])
def test_a_folder_into_which_others_may_write_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(SettingsError, match=f"mode {mode:04o}, so others can plant files in it; .* chmod 700"):
        RoleLock(folder, "gateway")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755])
def test_a_folder_that_others_may_only_read_holds_files_that_they_may_not(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)
    lock = RoleLock(folder, "gateway")
    ledger = open_ledger(folder / "ledger.sqlite3", account="a:1", clock=wall_ms)
    with ledger.write() as tx:
        tx.set_fact("x", "y")
    backup_file(folder / "ledger.sqlite3", folder / "backup.sqlite3", clock=wall_ms)
    modes = {path.name: mode_of(path) for path in folder.iterdir()}
    ledger.close()
    lock.release()
    assert {"gateway.lock", "ledger.sqlite3", "ledger.sqlite3-wal", "backup.sqlite3"} <= set(modes)
    assert set(modes.values()) == {0o600}, modes


@pytest.mark.posix
def test_a_ledger_that_others_could_read_is_taken_from_them_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    open_ledger(path, account="a:1", clock=wall_ms).close()
    path.chmod(0o644)
    open_ledger(path, account="a:1", clock=wall_ms).close()
    assert mode_of(path) == 0o600


def test_a_removed_lock_file_is_made_again_by_who_holds_the_place(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite3"
    place = FilePlace(file, "gateway")
    (tmp_path / "ledger.sqlite3.gateway.lock").unlink()
    place.ensure()
    with pytest.raises(SettingsError, match="another gateway works on ledger"):
        FilePlace(file, "gateway")
    place.release()


def test_who_lost_the_place_while_its_lock_file_was_away_ends(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite3"
    first = FilePlace(file, "gateway")
    (tmp_path / "ledger.sqlite3.gateway.lock").unlink()
    second = FilePlace(file, "gateway")
    with pytest.raises(FencedError, match="lock file of this one was removed, and it ends"):
        first.ensure()
    second.ensure()
    assert issubclass(FencedError, DtmsError)
    second.release()
    first.release()

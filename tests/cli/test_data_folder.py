"""Where an installation's files are: one place a user, whatever its name, whoever starts from wherever."""

from __future__ import annotations

import os
import shlex
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.adapters.sql import open_ledger
from dtms.adapters.sql.backup import backup_file, restore_file
from dtms.adapters.sql.opening import identity_of
from dtms.cli.run import _say_where
from dtms.domain.units import Millis
from dtms.errors import SettingsError
from dtms.services.host import RoleLock
from dtms.settings import load_settings

if TYPE_CHECKING:
    from tests.cli.conftest import Command

ACCOUNT = "Demo:1"
ODD = [
    "My%20Bot",
    "a%2Fb",
    "bot?1",
    "100% done",
    "a#b",
    "$HOME",
    "it's",
    'say "no"',
    "Ü\u00e9 \u20ac",
    "sqlite:",
    "~",
    ":memory:",
]
FILES = st.sampled_from(ODD) | st.text(
    st.characters(exclude_categories=["C"], exclude_characters="/"), min_size=1, max_size=30
).filter(lambda name: name not in {".", ".."} and len(name.encode()) < 200)


def made(url: str | Path) -> None:
    open_ledger(url, account=ACCOUNT, clock=lambda: Millis(0), epoch="first").close()


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.posix  # Windows refuses many of these names
@given(name=FILES)
def test_a_ledger_lies_in_its_data_folder_whatever_that_is_called(name: str) -> None:
    with TemporaryDirectory() as root:
        settings = load_settings(data_dir=Path(root) / name)
        made(settings.ledger)

        assert [path.name for path in Path(root).iterdir()] == [name]
        assert (Path(root) / name / "ledger.sqlite3").is_file()
        assert identity_of(settings.ledger)[0] == ACCOUNT


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.posix if set(each) & set('?":') else ()) for each in ODD]
)
def test_backup_and_restore_reach_the_same_file(name: str, tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / name)
    made(settings.ledger)
    backup_file(settings.ledger, tmp_path / f"{name}.copy", clock=lambda: Millis(1))
    restored = restore_file(settings.ledger, tmp_path / f"{name}.copy", clock=lambda: Millis(2))

    assert restored.path == tmp_path / name / "ledger.sqlite3"
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name}.copy"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///ledger.sqlite3", "by the folder of the start"),
        ("sqlite:////nowhere/bot?1/ledger.sqlite3", "which ends the path"),
    ],
)
def test_a_url_that_names_another_file_than_its_author_thinks_is_refused(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        made(url)


@pytest.mark.parametrize("name", ODD)
def test_the_line_to_paste_sets_the_whole_path(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _say_where(load_settings(data_dir=tmp_path / name), 1.0)

    line = next(line for line in capsys.readouterr().err.splitlines() if "export " in line)
    pasted = shlex.split(line[line.index("export ") :].removesuffix(")"))
    assert pasted == ["export", f"DTMS_DATA_DIR={tmp_path / name}"]


def test_the_data_folder_does_not_depend_on_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        found.add(load_settings().data_dir)

    (folder,) = found
    assert folder.is_absolute()
    assert not folder.is_relative_to(tmp_path)


def test_an_empty_variable_is_no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = load_settings().data_dir
    monkeypatch.setenv("DTMS_DATA_DIR", "")
    assert load_settings().data_dir == usual


def test_a_path_in_the_settings_file_begins_at_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "dtms.toml").write_text('data_dir = "data"\npolicy_file = "../policy.toml"\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    settings = load_settings(Path("etc/dtms.toml"))

    assert settings.data_dir == tmp_path / "etc" / "data"
    assert settings.policy_file == tmp_path / "etc" / ".." / "policy.toml"


def test_a_former_data_folder_is_named_with_what_to_do(dtms: Command, tmp_path: Path) -> None:
    (tmp_path / ".dtms").mkdir()

    ended = dtms("config", "check", "--json")

    assert (ended.code, ended.answer["ok"]) == (0, True)
    assert f"{tmp_path / '.dtms'} is not used" in ended.err
    assert f"DTMS_DATA_DIR={tmp_path / '.dtms'}" in ended.err


@pytest.mark.parametrize("role", ["gateway", "server", "api"])
def test_a_start_beside_a_former_ledger_is_refused_until_one_is_named(role: str, dtms: Command, tmp_path: Path) -> None:
    made(tmp_path / ".dtms" / "ledger.sqlite3")

    ended = dtms(role)

    assert ended.code == 2
    assert f"to go on with it: export DTMS_DATA_DIR={tmp_path / '.dtms'}" in ended.err


@pytest.mark.parametrize("way", ["file link", "folder link", "dots"])
def test_a_ledger_has_one_place_for_each_role_under_all_its_spellings(way: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "ledger.sqlite3", tmp_path / "two"
    made(one)
    if way == "file link":
        two.mkdir()
        (two / "ledger.sqlite3").symlink_to(one)
    elif way == "folder link":
        two.symlink_to(tmp_path / "one")
    else:
        two.mkdir()
        two = two / ".." / "one"
    first = open_ledger(one, account=ACCOUNT, clock=lambda: Millis(0))
    second = open_ledger(two / "ledger.sqlite3", account=ACCOUNT, clock=lambda: Millis(0))
    with closing(first), closing(second):
        place = first.leases.place("gateway", "a")
        before = snapshot(tmp_path)
        with pytest.raises(SettingsError, match="another gateway works on ledger"):
            second.leases.place("gateway", "b")
        assert snapshot(tmp_path) == before
        place.release()
        second.leases.place("gateway", "b").release()


def test_a_ledger_under_two_names_of_the_disk_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "one.sqlite3")
    os.link(tmp_path / "one.sqlite3", tmp_path / "two.sqlite3")

    for name in ("one", "two"):
        with pytest.raises(SettingsError, match="has 2 names"):
            made(tmp_path / f"{name}.sqlite3")


@pytest.mark.parametrize("role", ["up", "gateway", "api"])
def test_a_start_that_is_refused_changes_nothing_of_what_runs(
    role: str, dtms: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    for name in ("tape.csv", "clock.json", "clock-anchor.json", "token", "kill-switch", "oracle.jsonl"):
        (folder / name).write_text("of the run", encoding="utf-8")
        (folder / name).chmod(0o600)
    monkeypatch.setenv("DTMS_DATA_DIR", str(folder))
    monkeypatch.setenv("DTMS_LEDGER_URL", f"sqlite:///{tmp_path / 'elsewhere.sqlite3'}")
    for number, name in enumerate(("GATEWAY", "SERVER", "API")):
        monkeypatch.setenv(f"DTMS_{name}_PORT", str(28_610 + number))
    running = RoleLock(folder, role)
    before = snapshot(folder)

    ended = dtms("up", "--bars", "20", "--speed", "1000")

    assert ended.code == 2
    assert f"another {role} works on {folder} (process {os.getpid()})" in ended.err
    after = snapshot(folder)
    assert {name: after[name] for name in before} == before
    assert {name for name in after if not name.endswith(".lock")} == {
        name for name in before if not name.endswith(".lock")
    }
    running.release()

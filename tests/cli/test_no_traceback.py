"""No start ends in a traceback: what cannot be used is one sentence with its remedy, and nothing was begun."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.only_posix import resource

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Command

PORTS = {"GATEWAY": 28_730, "SERVER": 28_731, "API": 28_732}


@pytest.fixture(autouse=True)
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what can be wrong in it, and settings that are right."""
    (tmp_path / "file").write_text("no ledger\n" * 100, encoding="utf-8")
    (tmp_path / "folder").mkdir(mode=0o700)
    (tmp_path / "bad.toml").write_text("a = = 1", encoding="utf-8")
    (tmp_path / "latin.toml").write_bytes(b"a = '\xe9'")
    monkeypatch.setenv("DTMS_DATA_DIR", str(tmp_path / "data"))
    for name, port in PORTS.items():
        monkeypatch.setenv(f"DTMS_{name}_PORT", str(port))
    return tmp_path


FAULTS = [
    ("DTMS_DATA_DIR", "{}/file", "is no folder"),
    ("DTMS_DATA_DIR", "{}/file/deeper", "is no folder"),
    pytest.param("DTMS_DATA_DIR", "/proc/dtms", "cannot be written", marks=pytest.mark.posix),
    ("DTMS_DATA_DIR", "{}/" + "x" * 300, "File name too long"),
    ("DTMS_POLICY_FILE", "{}/folder", "cannot be read: Is a directory"),
    ("DTMS_POLICY_FILE", "{}/bad.toml", "is not TOML"),
    ("DTMS_POLICY_FILE", "{}/latin.toml", "is not TOML"),
    ("DTMS_NEWS_FILE", "{}/folder", "cannot be read"),
    ("DTMS_NEWS_FILE", "{}/latin.toml", "cannot be read"),
    ("DTMS_CONFIG", "{}/folder", "does not exist"),
    ("DTMS_CONFIG", "{}/bad.toml", "is not TOML"),
    ("DTMS_CONFIG", "{}/latin.toml", "is not TOML"),
    ("DTMS_LEDGER_URL", "nonsense", "the ledger's URL cannot be read"),
    ("DTMS_LEDGER_URL", "postgresql://u:canary@h:port/db", "the ledger's URL cannot be read"),
    ("DTMS_LEDGER_URL", "sqlite:///ledger.sqlite3", "by the folder of the start"),
    ("DTMS_ALERTS_URL", "nonsense-canary", "no URL that Apprise understands"),
    ("DTMS_CLOCK_FILE", "{}/file", "tells no tape's time"),
]


@pytest.mark.parametrize("role", ["gateway", "server", "api"])
@pytest.mark.parametrize(("name", "value", "sentence"), FAULTS)
def test_a_service_refuses_what_the_check_refuses(
    role: str, name: str, value: str, sentence: str, dtms: Command, scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value.format(scene))
    before = sorted(scene.rglob("*"))

    started, checked = dtms(role), dtms("config", "check")

    assert (started.code, checked.code) == (2, 2)
    assert sentence in started.err
    assert sentence in checked.err
    for said in (started, checked):
        assert "Traceback" not in said.err
        assert "canary" not in said.err + said.out
    assert sorted(scene.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "value", "code", "sentence"),
    [
        ("DTMS_LEDGER_URL", "sqlite:///{}/folder", 2, "is a folder; name the file in it"),
        ("DTMS_LEDGER_URL", "sqlite:///{}/file", 2, "is not a database"),
        ("DTMS_HOST", "192.0.2.1", 2, "is not loopback"),
        ("DTMS_SERVER_PORT", str(PORTS["API"]), 2, "give each its own"),
        ("DTMS_BROKER", "mt5", 2, "set DTMS_ACCOUNT"),
    ],
)
def test_the_check_looks_at_what_only_the_whole_start_needs(
    name: str, value: str, code: int, sentence: str, dtms: Command, scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value.format(scene))

    ended = dtms("config", "check", "--json")

    assert (ended.code, ended.answer["ok"]) == (code, False)
    assert sentence in ended.err
    assert [each["said"] for each in ended.answer["findings"] if not each["ok"]] == [
        line.removeprefix("dtms: ") for line in ended.err.splitlines()
    ]


def test_a_port_that_is_taken_is_told_by_check_and_by_start(dtms: Command) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", PORTS["SERVER"]))
        other.listen()
        checked, started, run = dtms("config", "check"), dtms("server"), dtms("up", "--bars", "3")

    for ended in (checked, started, run):
        assert ended.code == 2
        assert f"port {PORTS['SERVER']} of the server is in use" in ended.err


def _no_room() -> None:
    """Let every write of a file fail as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def run(scene: Path, *arguments: str, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as its own process."""
    return subprocess.run(
        [sys.executable, "-m", "dtms", *arguments],
        capture_output=True,
        text=True,
        cwd=scene,
        env=dict(os.environ),
        preexec_fn=before,
        timeout=240,
        check=False,
    )


COMMANDS = [("up", "--bars", "3"), ("demo",), ("gateway",), ("server",), ("api",), ("config", "check")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_full_disk_is_one_sentence(command: tuple[str, ...], scene: Path) -> None:
    ended = run(scene, *command, before=_no_room)

    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "File too large" in ended.stderr
    assert "make room" in ended.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_file_where_a_folder_is_meant_is_one_sentence(
    command: tuple[str, ...], scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DTMS_DATA_DIR", str(scene / "file"))

    ended = run(scene, *command)

    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert str(scene / "file") in ended.stderr


@pytest.mark.parametrize("tape", ["folder", "latin.toml", "nothing.csv"])
def test_a_tape_that_cannot_be_read_is_one_sentence(tape: str, dtms: Command, scene: Path) -> None:
    ended = dtms("simulate", "--tape", str(scene / tape), "--symbol", "EURUSD")

    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert str(scene / tape) in ended.err

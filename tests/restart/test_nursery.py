"""The nursery's children are real processes of the product: they run its commands, say how they end, and die with it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtms.platforms.processes import KILLED, kill
from dtms_lab.restart.nursery import Death, Nursery


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nursery")


@pytest.fixture(scope="module")
def nursery(folder: Path) -> Iterator[Nursery]:
    with Nursery(folder / "nursery.log") as made:
        yield made


def death_of(nursery: Nursery, pid: int) -> Death:
    end = time.monotonic() + 20.0
    while time.monotonic() < end:
        for death in nursery.deaths():
            if death.pid == pid:
                return death
        time.sleep(0.01)
    pytest.fail(f"process {pid} did not end")


def test_a_child_runs_a_command_and_its_exit_code_is_told(nursery: Nursery, folder: Path) -> None:
    pid = nursery.spawn(("--help",), {}, folder / "help.log")

    assert death_of(nursery, pid) == Death(pid=pid, code=0)
    assert "Protects open trading positions" in (folder / "help.log").read_text()


def test_a_setting_that_cannot_be_is_refused_as_in_any_process(nursery: Nursery, folder: Path) -> None:
    pid = nursery.spawn(("gateway",), {"DTMS_GATEWAY_PORT": "0"}, folder / "refused.log")

    assert death_of(nursery, pid) == Death(pid=pid, code=2)
    assert "setting gateway_port" in (folder / "refused.log").read_text()


def test_a_child_that_is_killed_is_told_of_by_its_signal(nursery: Nursery, folder: Path) -> None:
    pid = _waiting(nursery, folder)
    kill(pid)

    assert death_of(nursery, pid) == Death(pid=pid, code=KILLED)


def test_the_children_die_with_the_nursery(tmp_path: Path) -> None:
    with Nursery(tmp_path / "nursery.log") as brief:
        pid = _waiting(brief, tmp_path)
        os.kill(pid, 0)

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def _waiting(nursery: Nursery, folder: Path) -> int:
    """Start a process that waits: a server whose gateway does not answer."""
    environment = {"DTMS_DATA_DIR": str(folder / "data"), "DTMS_GATEWAY_PORT": "1", "DTMS_SERVER_PORT": "45999"}
    return nursery.spawn(("server",), environment, folder / "server.log")

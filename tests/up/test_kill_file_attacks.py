"""What lies under the kill switch's name in a running installation: a pipe that nobody writes stops no process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.only_posix import os_
from tests.up.conftest import FALL, install, running

from dtms.services.wiring import sentinel_of
from dtms_lab.simulate.up import Up
from dtms_lab.tapes.tape import Tape

PATIENCE_S = 60.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a pipe of the file system")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, weather: Tape) -> Iterator[Up]:
    with running(install(tmp_path_factory.mktemp("k")), weather, start=FALL, bars=5, speed=1.0) as made:
        yield made


def asked(up: Up, path: str) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{up.plan.settings.server_url}{path}", timeout=10).json()
    return found


def causes(up: Up) -> set[str]:
    return {str(cause["cause"]) for cause in asked(up, "/dtms/mode")["causes"]}


def until(true: Callable[[], bool]) -> bool:
    """Give a loaded machine its time."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("plant", [os_.mkfifo, lambda path: Path(path).symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_what_is_no_file_presses_nothing_stops_nobody_and_is_told_until_it_is_gone(
    up: Up, plant: Callable[[Path], object]
) -> None:
    file = sentinel_of(up.plan.settings)
    plant(file)
    try:
        assert until(lambda: "kill_file" in causes(up))
        ready = requests.get(f"{up.plan.settings.gateway_url}/health/ready", timeout=10).json()
        assert ready["dependencies"]["executor"] == "ok"
        assert asked(up, "/dtms/mode")["kill_switch"] is None
    finally:
        file.unlink()
    assert until(lambda: "kill_file" not in causes(up))
    assert asked(up, "/dtms/mode")["kill_switch"] is None

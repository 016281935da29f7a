"""A second process of a role, over a ledger whose lock files somebody removed: the ledger still says who works on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from tests.up.conftest import FALL, free_ports, install, running, wait_until

from dtms.platforms.processes import freeze, kill, thaw
from dtms.services.supervise.process_group import environment_of
from dtms_lab.simulate.up import Up
from dtms_lab.tapes.tape import Tape

ROLES = ("gateway", "server", "api")
GATEWAY = "gateway"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, weather: Tape) -> Iterator[Up]:
    with running(install(tmp_path_factory.mktemp("r")), weather, start=FALL, bars=5, speed=1.0) as made:
        yield made


def without_locks(up: Up, role: str) -> None:
    """Remove every lock file, once the one of the role is there: its holder makes it again within a second."""
    folder = up.plan.settings.data_dir
    place = folder / f"ledger.sqlite3.{role}.lock"
    wait_until(place.exists, "the lock file")
    for path in folder.glob("*.lock"):
        path.unlink()


def start(up: Up, role: str, **changed: object) -> subprocess.CompletedProcess[str]:
    """Start one more process on a port of its own, and return how it ended."""
    settings = up.plan.settings.model_copy(update={f"{role}_port": free_ports(1)[0], **changed})
    return subprocess.run(
        [sys.executable, "-m", "dtms.cli.main", role],
        env={**os.environ, **environment_of(settings)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    freeze(pid)
    try:
        yield
    finally:
        thaw(pid)


def pids(up: Up) -> dict[str, int]:
    return {role: up.processes.supervisor.pid(role) for role in ROLES}


def ready(up: Up) -> bool:
    settings = up.plan.settings
    urls = (settings.gateway_url, settings.server_url, settings.api_url)
    try:
        return all(requests.get(f"{url}/health/ready", timeout=10).status_code == 200 for url in urls)
    except requests.ConnectionError:
        return False


@pytest.mark.parametrize("role", ROLES)
def test_a_second_process_is_refused_by_the_ledger_and_the_first_works_on(up: Up, role: str) -> None:
    before = pids(up)
    without_locks(up, role)

    ended = start(up, role)

    assert ended.returncode == 2, ended.stderr
    said = ended.stderr.splitlines()[-1]
    assert f"another {role} works on ledger" in said
    assert f"process {before[role]}" in said
    assert "stop it, or give this one a ledger of its own" in said
    assert "Traceback" not in ended.stderr
    wait_until(lambda: ready(up), "ready")
    assert pids(up) == before


def test_a_second_installation_over_the_same_ledger_is_refused(up: Up, tmp_path: Path) -> None:
    before = pids(up)
    without_locks(up, GATEWAY)

    ended = start(up, GATEWAY, data_dir=tmp_path / "other", ledger_url=f"sqlite:///{up.plan.settings.ledger}")

    assert (ended.returncode, pids(up)) == (2, before)
    assert f"another gateway works on ledger {up.plan.settings.ledger} (process {before[GATEWAY]}" in ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_stopped_gateway_keeps_its_place_without_its_lock_files(up: Up) -> None:
    before = pids(up)
    with stopped(before[GATEWAY]):
        without_locks(up, GATEWAY)
        ended = start(up, GATEWAY)

    assert ended.returncode == 2
    assert f"process {before[GATEWAY]}, as the ledger says" in ended.stderr
    wait_until(lambda: ready(up), "ready")
    assert pids(up) == before


def test_a_killed_process_leaves_its_row_to_the_next_at_once(up: Up) -> None:
    before = pids(up)
    kill(before[GATEWAY])
    wait_until(lambda: up.processes.supervisor.restarts(GATEWAY) == 1 and ready(up), "a restart")
    assert pids(up)[GATEWAY] != before[GATEWAY]
    assert up.processes.supervisor.given_up() == ()

"""A running installation whose doors are crowded, and one that has no file handle left: neither presses anything."""

from __future__ import annotations

import http.client
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.only_posix import resource
from tests.up.conftest import FALL, install, running, wait_until

from dtms.services.web.serve import LIMITS
from dtms_lab.simulate.up import Up
from dtms_lab.tapes.tape import Tape

if sys.platform != "linux":
    pytest.skip("limits of another process are Linux'", allow_module_level=True)

FILES = 256
IDLE = 300
ROLES = ("gateway", "server", "api")
CHUNKED = (
    b"POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, weather: Tape) -> Iterator[Up]:
    with running(install(tmp_path_factory.mktemp("i")), weather, start=FALL, bars=5, speed=1.0) as made:
        for role in ROLES:
            resource.prlimit(made.processes.supervisor.pid(role), resource.RLIMIT_NOFILE, (FILES, FILES))
        yield made


@contextmanager
def many_files() -> Iterator[None]:
    """Let this test hold all the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * IDLE + 500
    assert hard == resource.RLIM_INFINITY or hard >= wanted, f"this machine allows {hard} files, {wanted} are needed"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def ports(up: Up) -> dict[str, int]:
    settings = up.plan.settings
    return {"gateway": settings.gateway_port, "server": settings.server_port, "api": settings.api_port}


def mode(up: Up) -> dict[str, Any]:
    told: dict[str, Any] = requests.get(f"{up.plan.settings.server_url}/dtms/mode", timeout=20).json()
    return told


def causes(up: Up) -> set[str]:
    return {str(cause["cause"]) for cause in mode(up)["causes"]}


def log_of(up: Up, role: str) -> str:
    return (up.plan.settings.data_dir / "log" / f"{role}.log").read_text(encoding="utf-8")


def memory_kb(up: Up, role: str) -> int:
    status = Path(f"/proc/{up.processes.supervisor.pid(role)}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def test_idle_connections_past_the_limit_of_files_lock_nobody_out_and_press_nothing(up: Up) -> None:
    before = mode(up)
    with many_files(), ExitStack() as open_ones:
        for port in ports(up).values():
            for _ in range(IDLE):
                open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        for port in ports(up).values():
            for _ in range(10):
                assert requests.get(f"http://127.0.0.1:{port}/health/live", timeout=20).status_code == 200
        crowded = mode(up)
        files = open_files(up)
        ready = requests.get(f"{up.plan.settings.gateway_url}/health/ready", timeout=20).json()

    assert (crowded["kill_switch"], crowded["mode"]) == (None, before["mode"])
    assert ready["dependencies"]["executor"] == "ok"
    assert files < FILES - 20
    for role in ROLES:
        assert "connection closed: a newer one needs its place" in log_of(up, role)
    wait_until(lambda: open_files(up) < LIMITS.connections, "the end of the crowd")
    assert causes(up) == {str(cause["cause"]) for cause in before["causes"]}


def open_files(up: Up) -> int:
    """Return how many files the service with the most of them has."""
    return max(len(list(Path(f"/proc/{up.processes.supervisor.pid(role)}/fd").iterdir())) for role in ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_a_running_service_takes_no_endless_head(up: Up, role: str) -> None:
    before = memory_kb(up, role)
    port = ports(up)[role]
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        try:
            while sent < 60_000_000:
                connection.sendall(b"X-A: " + b"v" * 65_536 + b"\r\n")
                sent += 65_536
        except ConnectionError:
            pass
    assert sent < 60_000_000
    assert memory_kb(up, role) - before < 32_000


@pytest.mark.parametrize("role", ROLES)
def test_a_running_service_takes_no_endless_trailer(up: Up, role: str) -> None:
    before = memory_kb(up, role)
    port = ports(up)[role]
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(CHUNKED % (b"/health/live", port) + b"1\r\n{\r\n0\r\n")
        try:
            while sent < 60_000_000:
                connection.sendall(b"X-A: " + b"v" * 65_536 + b"\r\n")
                sent += 65_536
        except ConnectionError:
            pass
    assert sent < 60_000_000
    assert memory_kb(up, role) - before < 32_000


def test_running_services_hang_up_on_half_a_head(up: Up) -> None:
    halves = (b"", b"GET /health/li", b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A")
    with ExitStack() as open_ones:
        waiting = []
        for port, said in product(ports(up).values(), halves):
            waiting.append(open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)))
            waiting[-1].sendall(said)
        assert [each.recv(1) for each in waiting] == [b""] * len(waiting)


@pytest.mark.parametrize("role", ROLES)
def test_a_crowd_with_requests_under_way_is_refused_politely(up: Up, role: str) -> None:
    port = ports(up)[role]
    body = b"POST /dtms/states HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    with ExitStack() as open_ones:
        for _ in range(LIMITS.connections):
            busy = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            busy.sendall(body % port)
        late = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        late.request("GET", "/health/live")
        answer = late.getresponse()
        told = answer.status, answer.read()
        late.close()
    assert told[0] in {200, 503}, told


@pytest.mark.posix  # elsewhere a process has no such limit
def test_a_gateway_without_a_file_handle_presses_nothing_is_told_of_and_works_again(up: Up) -> None:
    supervisor = up.processes.supervisor
    before = supervisor.restarts("gateway")
    seen: list[tuple[str | None, set[str]]] = []

    resource.prlimit(supervisor.pid("gateway"), resource.RLIMIT_NOFILE, (1, FILES))

    def started_again() -> bool:
        told = mode(up)
        seen.append((told["kill_switch"], {str(cause["cause"]) for cause in told["causes"]}))
        return supervisor.restarts("gateway") > before

    wait_until(started_again, "a restart")
    wait_until(lambda: _is_ready(up), "ready")

    assert {level for level, _ in seen} == {None}
    assert "pass_failing" in seen[-1][1]
    assert mode(up)["kill_switch"] is None
    wait_until(lambda: causes(up) == set(), "the end of the causes")


def _is_ready(up: Up) -> bool:
    try:
        return requests.get(f"{up.plan.settings.gateway_url}/health/ready", timeout=20).status_code == 200
    except requests.ConnectionError:
        return False

"""A running installation whose disk takes nothing any more: every process says so, a person is called, and it ends by itself."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from pydantic import SecretStr
from tests.only_posix import resource
from tests.up.conftest import FALL, Installed, install, running, wait_until

from dtms_lab.simulate.up import Up
from dtms_lab.tapes.tape import Tape

if sys.platform != "linux":
    pytest.skip("limits of another process are Linux'", allow_module_level=True)

pytestmark = pytest.mark.long

ROLES = ("gateway", "server", "api")
NOTHING_MORE = 4_096
"""Bytes of a file that may still be written: the ledger's own files are longer."""


@contextmanager
def collected() -> Iterator[tuple[str, list[str]]]:
    """Receive alerts as a person's own program would; the texts grow while it runs."""
    texts: list[str] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"json://127.0.0.1:{server.server_port}", texts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def limit_files(up: Up, most: int) -> None:
    for role in ROLES:
        resource.prlimit(up.processes.supervisor.pid(role), resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def ready_of(up: Up, role: str) -> dict[str, object]:
    settings = up.plan.settings
    url = {"gateway": settings.gateway_url, "server": settings.server_url, "api": settings.api_url}[role]
    told: dict[str, object] = requests.get(f"{url}/health/ready", timeout=20).json()
    return told


def says_it(up: Up, role: str) -> bool:
    return "ledger_down" in str(ready_of(up, role)) or "not writable" in str(ready_of(up, role))


def mode(up: Up) -> tuple[str, list[str]]:
    told = requests.get(f"{up.plan.settings.server_url}/dtms/mode", timeout=20).json()
    return told["mode"], [cause["cause"] for cause in told["causes"]]


def test_a_full_disk_is_said_by_every_process_and_to_a_person_and_ends_by_itself(
    tmp_path_factory: pytest.TempPathFactory, weather: Tape
) -> None:
    with collected() as (target, texts):
        made = install(tmp_path_factory.mktemp("f"))
        installed = Installed(made.settings.model_copy(update={"alerts_url": SecretStr(target)}), made.notifier)
        with running(installed, weather, start=FALL, bars=5, speed=1.0) as up:
            wait_until(lambda: mode(up) == ("NORMAL", []), "a calm start")
            pids = {role: up.processes.supervisor.pid(role) for role in ROLES}

            limit_files(up, NOTHING_MORE)
            for role in ROLES:
                wait_until(partial(says_it, up, role), f"the word of {role}")
            worst, causes = mode(up)
            wait_until(lambda: any("ledger" in text for text in texts), "the call for a person")
            limit_files(up, resource.RLIM_INFINITY)

            assert worst != "NORMAL"
            assert "ledger_down" in causes
            wait_until(lambda: mode(up) == ("NORMAL", []), "the end of it")
            wait_until(lambda: not any(says_it(up, role) for role in ROLES), "the end of it in each process")
            assert {role: up.processes.supervisor.pid(role) for role in ROLES} == pids

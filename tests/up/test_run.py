"""`dtms up` as a command of its own: its answer, and that it leaves nothing behind, however it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from tests.up.conftest import FALL, Installed, free_ports

from dtms.domain.intent import IntentState
from dtms.domain.units import to_iso
from dtms.platforms.processes import kill
from dtms.settings import TERMINAL_FILE, load_policy
from dtms_lab.simulate.demo import DemoEntries, demo_run, with_free_ports
from dtms_lab.simulate.entries import parse_entries
from dtms_lab.simulate.report import report_of
from dtms_lab.simulate.run import findings, make_run
from dtms_lab.simulate.tapes import cut
from dtms_lab.tapes.tape import Tape, write_tape

BARS = 60


def _environment(folder: Path) -> dict[str, str]:
    gateway, server, api = free_ports(3)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DTMS_")}
    given = {"DTMS_GATEWAY_PORT": gateway, "DTMS_SERVER_PORT": server, "DTMS_API_PORT": api}
    return {**kept, **{name: str(port) for name, port in given.items()}, "TMPDIR": str(folder)}


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for temporary files, whose name is short enough for a socket."""
    return tmp_path_factory.mktemp("u")


def test_up_over_a_tape_reports_what_simulate_reports(weather: Tape, scratch: Path) -> None:
    tape = scratch / "XAUUSD.csv"
    write_tape(weather, tape)
    command = (
        *(sys.executable, "-m", "dtms.cli.main", "up", "--tape", str(tape), "--symbol", "XAUUSD"),
        *("--entries", "every:5,3", "--from", to_iso(FALL), "--bars", str(BARS), "--speed", "250", "--json"),
    )

    ended = subprocess.run(command, capture_output=True, text=True, env=_environment(scratch), check=False)

    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])
    assert set(report) == set(_simulated(weather)) | {"restarts", "given_up"}
    assert (report["symbol"], report["bars"]) == ("XAUUSD", BARS)
    assert (report["invariant_violations"], report["naked_ms_max"], report["entries_refused"]) == (0, 0, [])
    assert (report["restarts"], report["given_up"]) == ({"gateway": 0, "server": 0, "api": 0}, [])
    assert report["trades"] >= 6
    assert report["transitions"]["HEALTHY>WARNING_L1"] >= 1
    assert report["actions"]["set_stop"]["applied"] >= 1
    assert sorted(path.name for path in scratch.iterdir()) == ["XAUUSD.csv"]


def _simulated(weather: Tape) -> dict[str, object]:
    piece = cut(weather, start=FALL, bars=BARS)
    run = make_run(piece, policies=load_policy(), signals=parse_entries("every:5,3"), start=FALL)
    run.run()
    return report_of(findings(run))


class _Started:
    """`dtms up` without an end of its own, once it has said that it is ready."""

    def __init__(self, scratch: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dtms.cli.main", "up", "--speed", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(scratch),
        )
        assert self.process.stderr is not None
        self.said = _read_until(self.process.stderr, "data and logs")
        self.folder = next(path for path in scratch.iterdir() if path.name.startswith("dtms-"))
        self._rest = threading.Thread(target=self.process.communicate, daemon=True)

    def pids(self) -> list[int]:
        """The services' processes, as their lock files name them."""
        return [int((self.folder / f"{role}.lock").read_text()) for role in ("gateway", "server", "api")]


def _read_until(stream: IO[str], words: str) -> list[str]:
    lines = []
    for line in stream:
        lines.append(line)
        if words in line:
            break
    return lines


def _wait_for(done: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(600):
        if done():
            return
        waiting.wait(0.05)
    pytest.fail("it did not happen within 30 s")


def _gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_sigterm_ends_every_process_and_removes_the_folder(scratch: Path) -> None:
    started = _Started(scratch)
    pids = started.pids()

    started.process.terminate()
    out, err = started.process.communicate(timeout=60)

    assert started.process.returncode == 0, err
    assert "of the tape" in err
    assert "laws broken" in out
    assert [pid for pid in pids if not _gone(pid)] == []
    assert list(scratch.iterdir()) == []


def test_a_process_that_dies_is_told_on_the_screen(scratch: Path) -> None:
    started = _Started(scratch)
    _gateway, server, _api = started.pids()

    kill(server)
    assert started.process.stderr is not None
    said = _read_until(started.process.stderr, "it died")
    started.process.terminate()
    started.process.communicate(timeout=60)

    assert said[-1].endswith("UTC  server: it died (exit -9) and is started again\n")


def test_a_supervisor_that_is_killed_takes_its_processes_with_it(scratch: Path) -> None:
    started = _Started(scratch)
    pids = started.pids()

    started.process.kill()
    started.process.communicate(timeout=60)

    _wait_for(lambda: all(map(_gone, pids)))
    _wait_for(lambda: not (started.folder / TERMINAL_FILE).exists())


def test_the_demo_takes_other_ports_where_its_own_are_taken(installed: Installed) -> None:
    from dtms.services.host import bind_port

    wanted = installed.settings
    with bind_port("127.0.0.1", wanted.server_port, role="server", variable="X") as other:
        other.listen()
        settings, said = with_free_ports(wanted)

    assert (settings.gateway_port, settings.api_port) == (wanted.gateway_port, wanted.api_port)
    assert settings.server_port != wanted.server_port
    assert said == (f"port {wanted.server_port} of the server is in use; this demo takes {settings.server_port}",)


def test_up_with_a_broker_that_is_not_installed_says_so_and_leaves_no_process(scratch: Path) -> None:
    given = {"DTMS_BROKER": "mt5", "DTMS_ACCOUNT": "5", "DTMS_SERVER_NAME": "S", "DTMS_DATA_DIR": str(scratch)}
    command = (sys.executable, "-m", "dtms.cli.main", "up")
    environment = {**_environment(scratch), **given}

    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    assert ended.returncode == 2
    assert ended.stderr.startswith("dtms: the broker's module 'MetaTrader5' cannot be imported")
    assert len(ended.stderr.splitlines()) == 1


def test_the_demo_shows_everything_that_it_promises() -> None:
    signals = DemoEntries()
    played = demo_run(signals)
    run = make_run(played.tape, policies=load_policy(), signals=signals, start=played.start)
    run.run()

    found = findings(run)

    report = report_of(found)
    assert report["states_visited"] == ["CLOSED", "HEALTHY", "HEDGED", "RECOVERING", "WARNING_L1", "WARNING_L2"]
    applied = {intent.rule for intent in found.intents if intent.state is IntentState.APPLIED}
    assert applied >= {
        "defence.tighten",
        "defence.partial",
        "defence.hedge",
        "defence.unhedge",
        "breakeven",
        "trailing",
    }
    assert report["invariant_violations"] == 0
    assert (played.end - played.start) / 1_000 / played.speed < 70


def test_the_demo_opens_both_sides_with_wide_and_near_stops_in_turn(weather: Tape) -> None:
    piece = cut(weather, start=FALL, bars=BARS)
    run = make_run(piece, policies=load_policy(), signals=DemoEntries(), start=FALL)
    run.run()

    sides = [entry.side for entry in run.entries[:4]]
    assert sides[1:] == [side.opposite for side in sides[:3]]
    stops = [entry.risk_money / entry.volume for entry in run.entries[:4]]
    assert max(stops) > 2 * min(stops)

"""`dtms mode` against a real server on a socket: what it shows, and a person's two orders."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.app.rig import Rig
from tests.cli.conftest import Command

from dtms.app.views.trade_cache import KILL_FACT
from dtms.core.modes import TABLE
from dtms.domain.modes import Cause
from dtms.services.server.live import make_simulated_app, simulated_parts
from dtms.services.server.parts import Site
from dtms.services.web.access import OneToken, load_or_make_token
from dtms.services.web.guard import Gate, loopback_policy
from dtms.services.web.serve import make_server


@pytest.fixture
def rig(dtms: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A system behind a socket, at which the commands of this test ask."""
    assert callable(dtms)
    rig = Rig()
    site = Site(simulated_parts(rig.parts, rig.server, rig.broker, act=rig.settle))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        gate = Gate(loopback_policy(port), OneToken(load_or_make_token(tmp_path / "token")))
        server = make_server(make_simulated_app(site, gate=gate), host="127.0.0.1", port=port)
        monkeypatch.setenv("DTMS_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("DTMS_SERVER_PORT", str(port))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield rig
        finally:
            server.should_exit = True
            thread.join(timeout=10)
            assert not thread.is_alive()


def audited(rig: Rig) -> list[tuple[str, str]]:
    with rig.ledger.read() as tx:
        links = [link for link in tx.audit() if link.what in ("halted", "resumed")]
    return [(link.what, json.loads(link.body)["reason"]) for link in links]


def test_a_normal_system_is_told_in_one_line(rig: Rig, dtms: Command) -> None:
    ended = dtms("mode")
    assert (ended.code, ended.out) == (0, "mode NORMAL\n")
    assert dtms("mode", "--json").answer == {"mode": "NORMAL", "causes": [], "kill_switch": None, "halted": False}


def test_each_cause_is_shown_with_what_was_seen_and_what_to_do(rig: Rig, dtms: Command) -> None:
    rig.executor.modes.set(Cause.TRADING_OFF, "the broker answered 10027")
    rig.executor.tick()
    rig.wait(1)
    rig.executor.modes.set(Cause.SEND_BUDGET, "2000 orders are sent")
    rig.executor.tick()
    rig.executor.modes.clear(Cause.SEND_BUDGET)
    rig.executor.tick()

    lines = dtms("mode").out.splitlines()

    assert lines[0] == "mode PROTECT_ONLY"
    assert lines[1].startswith("trading_off (PROTECT_ONLY, told by the gateway since 2025-06-17T")
    assert lines[2:4] == ["  seen: the broker answered 10027", f"  to do: {TABLE[Cause.TRADING_OFF].remedy}"]
    assert lines[4].startswith("send_budget (DEGRADED, told by the gateway since ")
    assert lines[4].endswith(": waits for a clean full reconcile)")


def test_the_kill_switch_is_shown_beside_the_causes(rig: Rig, dtms: Command) -> None:
    with rig.ledger.write() as tx:
        tx.set_fact(KILL_FACT, "pause")
    assert dtms("mode").out == "mode HALT\nthe kill switch is at pause\n"


def test_halting_and_resuming_by_hand(rig: Rig, dtms: Command) -> None:
    halted = dtms("mode", "halt", "--reason", "looking at it")
    assert halted.code == 0
    assert halted.out.splitlines()[0] == "mode HALT"
    assert halted.out.splitlines()[-1] == "a person must resume: dtms mode resume --reason TEXT"
    resumed = dtms("mode", "resume", "--reason", "seen", "--json")
    assert (resumed.code, resumed.answer["mode"], resumed.answer["halted"]) == (0, "NORMAL", False)
    assert audited(rig) == [("halted", "looking at it"), ("resumed", "seen")]


def test_a_resume_while_the_cause_holds_fails_and_says_which_and_what_to_do(rig: Rig, dtms: Command) -> None:
    rig.executor.modes.set(Cause.ACCOUNT_CHANGED, "logged in to 2")
    rig.executor.tick()
    ended = dtms("mode", "resume", "--reason", "please")
    assert ended.code == 1
    assert "cause account_changed still holds" in ended.err
    assert TABLE[Cause.ACCOUNT_CHANGED].remedy in ended.err
    assert dtms("mode", "--json").answer["halted"] is True
    assert audited(rig) == []


def test_there_is_nothing_to_resume_where_nothing_is_halted(rig: Rig, dtms: Command) -> None:
    ended = dtms("mode", "resume", "--reason", "please")
    assert (ended.code, "(not_halted)" in ended.err) == (1, True)


@pytest.mark.parametrize("reason", ["", "two\nlines", "x" * 301])
def test_a_reason_is_one_line_of_text(rig: Rig, dtms: Command, reason: str) -> None:
    ended = dtms("mode", "halt", "--reason", reason)
    assert ended.code == 1
    assert "reason" in ended.err
    assert audited(rig) == []


def test_a_reason_has_to_be_given(rig: Rig, dtms: Command) -> None:
    assert dtms("mode", "halt").code == 2
    assert audited(rig) == []


def test_without_a_server_the_command_says_so(dtms: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("DTMS_SERVER_PORT", str(port))
    ended = dtms("mode")
    assert ended.code == 3
    assert "start it with: dtms up" in ended.err

"""The terminal in another process: the same answers over a real socket, and what a broken one looks like."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.units import MINUTE, Millis
from dtms.errors import BrokerUnavailableError, SettingsError
from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.desk import MONDAY_NOON
from dtms_lab.terminal.driver import TapeDriver
from dtms_lab.terminal.host import TerminalHost, build_host
from dtms_lab.terminal.link import Reply
from dtms_lab.terminal.oracle import OracleLog, read_oracle
from dtms_lab.terminal.remote import HostControl, RemoteTerminal
from dtms_lab.terminal.scaled_clock import ScaledClock
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.structs import Struct
from dtms_lab.terminal.surface import TerminalSurface
from dtms_lab.terminal.terminal import SimTerminal
from dtms_lab.terminal.traits import RUNNING
from dtms_lab.terminal.wire import reply_frame

_NS = 1_000_000_000
_BORN = 5 * _NS


@dataclass(frozen=True)
class Tape:
    symbol: str
    bars: tuple[Bar, ...]
    asks: tuple[Bar, ...] | None = None
    quotes: tuple[Quote, ...] | None = None
    timeframe: Timeframe = Timeframe.M1


def tape(minutes: int = 30) -> Tape:
    return Tape(
        "EURUSD",
        tuple(
            Bar(start=Millis(MONDAY_NOON + i * MINUTE), open=1.1, high=1.102, low=1.099, close=1.101, volume=4.0)
            for i in range(minutes)
        ),
    )


class Host:
    """A host in a thread, on a machine clock that stands still unless told."""

    def __init__(self, path: Path, *, speed: float = 60.0) -> None:
        self.path = path
        self.boottime = _BORN
        self.oracle = OracleLog()
        self.start = Millis(MONDAY_NOON + 5 * MINUTE)
        self.host: TerminalHost = build_host(
            [tape()],
            path,
            speed=speed,
            start=self.start,
            recorder=self.oracle,
            traits=RUNNING,
            boottime=lambda: self.boottime,
        )
        self.control = HostControl(path)
        self._thread = threading.Thread(target=self.host.run)
        self._thread.start()
        assert self.host.ready.wait(10)

    def stop(self) -> None:
        if self._thread.is_alive():
            self.control.stop()
            self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def remote(host: Host) -> Iterator[RemoteTerminal]:
    made = RemoteTerminal(host.path)
    yield made
    made.shutdown()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path / "t.sock")
    yield made
    made.stop()


def plain(found: Any) -> Any:
    """Make an answer comparable: the type's name, and for arrays their type too."""
    if isinstance(found, np.ndarray):
        return found.dtype.descr, found.tolist()
    if isinstance(found, Struct):
        return type(found).__name__, [plain(value) for value in found]
    return tuple(plain(one) for one in found) if isinstance(found, tuple) else found


def script(mt5: TerminalSurface) -> list[Any]:
    order = {"action": 1, "symbol": "EURUSD", "volume": 0.2, "type": 0, "type_filling": 1, "comment": "tag", "magic": 7}
    answers: list[Any] = []

    def ask(call: Callable[[], Any]) -> Any:
        found = call()
        answers.append((plain(found), mt5.last_error()))
        return found

    ask(lambda: mt5.initialize(login=10000042))
    ask(mt5.version)
    ask(mt5.terminal_info)
    ask(mt5.symbols_total)
    ask(lambda: mt5.symbol_info_tick("EURUSD"))
    ask(lambda: mt5.symbol_select("EURUSD", True))
    ask(lambda: mt5.symbol_info_tick("EURUSD"))
    ask(lambda: mt5.symbol_info("EURUSD"))
    ask(lambda: mt5.symbols_get(group="EUR*"))
    ask(lambda: mt5.copy_rates_from_pos("EURUSD", 1, 0, 4))
    ask(lambda: mt5.copy_rates_range("EURUSD", 5, 0, 2**33))
    ask(lambda: mt5.copy_ticks_from("EURUSD", 0, 9, -1))
    ask(lambda: mt5.order_check(order))
    opened = ask(lambda: mt5.order_send(order))
    assert opened is not None
    assert opened.retcode == 10009
    ask(lambda: mt5.order_send(action=6, position=opened.order, sl=1.09, tp=1.2))
    ask(lambda: mt5.order_send(order | {"type": 1, "position": opened.order, "volume": 0.1}))
    ask(lambda: mt5.order_send(order | {"volume": 1}))
    ask(
        lambda: mt5.order_send(
            {"action": 5, "symbol": "EURUSD", "volume": 0.1, "type": 2, "price": 1.09} | {"type_filling": 2}
        )
    )
    ask(mt5.orders_get)
    ask(mt5.positions_get)
    ask(lambda: mt5.positions_get(ticket=opened.order))
    ask(mt5.account_info)
    ask(lambda: mt5.history_deals_get(0, 2**33))
    ask(lambda: mt5.history_deals_get(position=opened.order))
    ask(lambda: mt5.history_orders_get(ticket=opened.order))
    ask(lambda: mt5.order_calc_profit(0, "EURUSD", 1.0, 1.1, 1.2))
    ask(lambda: mt5.market_book_get("EURUSD"))
    ask(lambda: mt5.symbol_info("NOPE"))
    return answers


def test_the_remote_terminal_answers_like_the_local_one(host: Host, remote: RemoteTerminal) -> None:
    now = [host.start]
    server = SimServer(now=lambda: now[0])
    driver = TapeDriver(server, [tape()], start=host.start)
    now[0] = Millis(host.start + 90_000)
    driver.advance(now[0])
    host.control.start(_BORN)
    host.boottime += 3 * _NS // 2
    local = SimTerminal(server, backend=TerminalBackend(server))
    assert script(remote) == script(local)


def test_the_market_stands_until_it_is_started_and_then_runs_at_its_speed(host: Host, remote: RemoteTerminal) -> None:
    assert remote.initialize()
    remote.symbol_select("EURUSD")
    host.boottime += 100 * _NS
    first = remote.symbol_info_tick("EURUSD")
    assert first is not None
    assert first.time_msc == host.start - 1_000 + 2 * 3_600_000
    assert (host.control.status()["state"], host.control.status()["now"]) == ("waiting", host.start)
    origin = host.boottime
    assert host.control.start(origin) == origin
    assert host.control.start(origin + 5) == origin
    host.boottime += 2 * _NS
    later = remote.symbol_info_tick("EURUSD")
    assert later is not None
    assert later.time_msc == host.start + 2 * MINUTE + 2 * 3_600_000
    status = host.control.status()
    assert (status["state"], status["now"], status["speed"]) == ("running", host.start + 2 * MINUTE, 60.0)
    assert any("typical spread" in line for line in status["assumptions"])


def test_quotes_stop_where_the_tape_ends(host: Host, remote: RemoteTerminal) -> None:
    assert remote.initialize()
    remote.symbol_select("EURUSD")
    host.control.start()
    host.boottime += 3_600 * _NS
    tick = remote.symbol_info_tick("EURUSD")
    assert tick is not None
    assert tick.time_msc == MONDAY_NOON + 30 * MINUTE - 1_000 + 2 * 3_600_000
    assert host.control.status()["state"] == "ended"


def test_stops_trigger_in_the_host_and_reach_its_oracle(host: Host, remote: RemoteTerminal) -> None:
    assert remote.initialize()
    opened = remote.order_send(action=1, symbol="EURUSD", volume=0.1, type=0, type_filling=0, sl=1.0995)
    assert opened is not None
    host.control.start()
    host.boottime += 2 * _NS
    assert remote.positions_get() == ()
    assert [entry.kind.value for entry in host.oracle.entries][::2] == ["open", "stop"]


def test_a_terminal_that_is_gone_is_not_sent_anything(host: Host, remote: RemoteTerminal) -> None:
    assert remote.positions_get() is None
    assert remote.last_error() == (-10004, "No IPC connection")
    assert remote.initialize()
    host.stop()
    assert remote.order_send(action=1, symbol="EURUSD", volume=0.1, type=0) is None
    assert remote.last_error() == (-10004, "No IPC connection")
    assert remote.initialize() is False
    assert remote.last_error() == (-10003, "IPC initialize failed")
    with pytest.raises(BrokerUnavailableError, match="does not answer"):
        host.control.status()


def test_a_client_reconnects_with_initialize(tmp_path: Path) -> None:
    path = tmp_path / "t.sock"
    first = Host(path)
    remote = RemoteTerminal(path)
    assert remote.initialize()
    first.stop()
    assert remote.account_info() is None
    second = Host(path)
    assert remote.account_info() is None
    assert remote.initialize()
    assert remote.account_info() is not None
    remote.shutdown()
    second.stop()


class _Rogue:
    """Takes one connection, reads one call and answers with what it was given, or hangs up."""

    def __init__(self, path: Path, answers: list[bytes]) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()
        self._answers = answers
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        taken, _ = self._socket.accept()
        with taken:
            for answer in self._answers:
                taken.recv(65_536)
                taken.sendall(answer)
            if len(self._answers) == 1:
                taken.recv(65_536)

    def close(self) -> None:
        self._thread.join(10)
        self._socket.close()


_WELCOME = reply_frame(1, Reply(1, "Success", True))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", -10002),
        (_WELCOME[:3], -10002),
        (_WELCOME[:-1], -10002),
        (b"\xff\xff\xff\xff", -10002),
        (b"\x00\x00\x00\x01\xc1", -10002),
        (_WELCOME, -10000),
        (reply_frame(2, Reply(-1, "Terminal: Call failed")), -1),
    ],
)
def test_a_reply_that_is_lost_broken_or_anothers_is_told_apart(tmp_path: Path, answer: bytes, code: int) -> None:
    rogue = _Rogue(tmp_path / "r.sock", [_WELCOME, answer] if answer else [_WELCOME])
    remote = RemoteTerminal(tmp_path / "r.sock")
    assert remote.initialize()
    assert remote.order_send(action=1, symbol="EURUSD", volume=0.1) is None
    assert remote.last_error()[0] == code
    if code != -1:
        assert remote.positions_get() is None
        assert remote.last_error()[0] == -10004
    remote.shutdown()
    rogue.close()


def test_a_client_that_talks_nonsense_loses_only_its_own_connection(host: Host, remote: RemoteTerminal) -> None:
    assert remote.initialize()
    for nonsense in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x02\xc1\xc1", b"\x00\x00"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bad:
            bad.connect(str(host.path))
            bad.sendall(nonsense)
            bad.shutdown(socket.SHUT_WR)
            assert bad.recv(10) == b""
    assert remote.account_info() is not None


def test_the_socket_is_the_owners_alone(host: Host) -> None:
    assert host.path.stat().st_mode & 0o777 == 0o600


def test_a_second_host_does_not_take_the_socket_of_a_living_one(host: Host) -> None:
    second = build_host([tape()], host.path, speed=1.0)
    with pytest.raises(SettingsError, match="another terminal answers at"):
        second.run()
    assert host.control.status()["state"] == "waiting"


def test_a_dead_hosts_socket_is_replaced_and_a_long_name_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    Host(path).stop()
    assert not path.exists()
    with pytest.raises(SettingsError, match="choose a shorter data folder"):
        build_host([tape()], tmp_path / ("n" * 120), speed=1.0).run()


def test_the_scaled_clock_stands_then_runs_and_refuses_no_speed() -> None:
    now = [7 * _NS]
    clock = ScaledClock(MONDAY_NOON, speed=60.0, boottime=lambda: now[0])
    assert (clock.now(), clock.seconds_until(MONDAY_NOON)) == (MONDAY_NOON, float("inf"))
    clock.start()
    now[0] += _NS
    assert clock.now() == MONDAY_NOON + MINUTE
    assert clock.seconds_until(Millis(MONDAY_NOON + 3 * MINUTE)) == 2.0
    assert clock.seconds_until(MONDAY_NOON) == 0.0
    for speed in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SettingsError, match="speed is"):
            ScaledClock(MONDAY_NOON, speed=speed)


_PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_remote import tape
from dtms_lab.terminal.host_process import run_terminal
run_terminal([tape()], Path(sys.argv[2]), speed=1.0, oracle_path=Path(sys.argv[3]))
"""


def test_the_process_writes_the_oracle_file_and_ends_on_sigterm(tmp_path: Path) -> None:
    path, oracle = tmp_path / "t.sock", tmp_path / "oracle.jsonl"
    here = str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", _PROCESS, here, str(path), str(oracle)])
    try:
        remote = RemoteTerminal(path)
        while not remote.initialize():
            assert process.poll() is None
        done = remote.order_send(action=1, symbol="EURUSD", volume=0.1, type=1, type_filling=0, comment="far")
        assert done is not None
        assert done.retcode == 10009
        remote.shutdown()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert [(entry.kind.value, entry.tag) for entry in read_oracle(oracle)][::2] == [("open", "far")]
    assert not path.exists()

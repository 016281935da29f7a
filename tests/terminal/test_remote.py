"""The terminal in another process: the same answers over a real connection, and what a broken one looks like."""

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
from dtms_lab.terminal.address import (
    GREETING,
    LOOPBACK,
    Address,
    connect,
    exactly,
    new_address,
    read_address,
    write_address,
)
from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.desk import MONDAY_NOON
from dtms_lab.terminal.driver import TapeDriver
from dtms_lab.terminal.host import TerminalHost, build_host, elsewhere
from dtms_lab.terminal.link import Reply
from dtms_lab.terminal.oracle import OracleLog, read_oracle
from dtms_lab.terminal.remote import HostControl, RemoteTerminal
from dtms_lab.terminal.scaled_clock import ScaledClock
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.structs import Struct
from dtms_lab.terminal.surface import TerminalSurface
from dtms_lab.terminal.terminal import SimTerminal
from dtms_lab.terminal.traits import RUNNING
from dtms_lab.terminal.wire import STOP, Call, call_frame, reply_frame

_NS = 1_000_000_000
_BORN = 5 * _NS
_PATIENCE_S = 20.0


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
    made = Host(tmp_path / "t.address")
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
    path = tmp_path / "t.address"
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
    """Takes one connection, proves who it is, reads one call and answers with what it was given, or hangs up."""

    def __init__(self, path: Path, answers: list[bytes]) -> None:
        self._socket = socket.create_server((LOOPBACK, 0))
        self._address = new_address(self._socket.getsockname()[1])
        write_address(path, self._address)
        self._answers = answers
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        taken, _ = self._socket.accept()
        with taken:
            taken.sendall(self._address.welcome(exactly(taken, GREETING)))
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
    rogue = _Rogue(tmp_path / "r.address", [_WELCOME, answer] if answer else [_WELCOME])
    remote = RemoteTerminal(tmp_path / "r.address")
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
        with connect(host.path, _PATIENCE_S) as bad:
            bad.sendall(nonsense)
            bad.shutdown(socket.SHUT_WR)
            assert bad.recv(10) == b""
    assert remote.account_info() is not None


def test_the_address_is_told_to_the_owner_alone_and_is_another_secret_each_start(tmp_path: Path) -> None:
    path = tmp_path / "t.address"
    secrets = set()
    for _start in range(2):
        host = Host(path)
        secrets.add(read_address(path).secret)
        assert path.stat().st_mode & 0o777 == 0o600
        host.stop()
    assert len(secrets) == 2
    assert not path.exists()


@pytest.mark.skipif(sys.platform == "darwin", reason="there only one address of 127.0.0.0/8 is the machine's")
def test_the_hosts_ports_are_of_this_machine_alone(host: Host) -> None:
    for path in (host.path, elsewhere(host.path)):
        port = read_address(path).port
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", port), _PATIENCE_S):
            pass


@pytest.mark.parametrize(
    "said",
    [
        lambda _real: call_frame(Call(1, STOP, ())),
        lambda real: new_address(real.port).greeting() + call_frame(Call(1, STOP, ())),
        lambda _real: b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
)
def test_who_does_not_know_the_secret_is_cut_off_without_an_answer(
    host: Host, said: Callable[[Address], bytes]
) -> None:
    real = read_address(host.path)
    with socket.create_connection((LOOPBACK, real.port), _PATIENCE_S) as stranger:
        stranger.sendall(said(real))
        stranger.shutdown(socket.SHUT_WR)
        assert heard(stranger) == b""
    assert host.control.status()["state"] == "waiting"


def heard(connection: socket.socket) -> bytes:
    """Return what the other side said before it hung up, with or without having read all that it was sent."""
    try:
        return connection.recv(10)
    except ConnectionResetError:
        return b""


def test_the_secret_is_never_sent_and_a_greeting_proves_nothing_about_the_other_side() -> None:
    address = new_address(1)
    first, second = address.greeting(), address.greeting()

    assert first != second
    assert address.secret not in first
    assert address.admits(first)
    assert address.is_welcome(first, address.welcome(first))
    assert not address.is_welcome(first, address.welcome(second))
    assert not address.is_welcome(first, first[:32])  # a connection that met itself, as a loopback one can
    assert not address.is_welcome(first, first[32:])


def test_a_stranger_on_the_port_of_a_dead_host_is_not_taken_for_it(tmp_path: Path) -> None:
    path = tmp_path / "t.address"
    with socket.create_server((LOOPBACK, 0)) as strange:
        write_address(path, new_address(strange.getsockname()[1]))

        def answer() -> None:
            taken, _ = strange.accept()
            with taken:
                taken.sendall(exactly(taken, GREETING))

        thread = threading.Thread(target=answer)
        thread.start()
        remote = RemoteTerminal(path, timeout=_PATIENCE_S)

        assert remote.initialize() is False
        assert remote.last_error() == (-10003, "IPC initialize failed")
        thread.join(_PATIENCE_S)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"port": 0, "secret": ""}', '{"port": 80, "secret": "ab"}', "\0"])
def test_a_file_that_holds_no_address_is_no_terminal_and_no_hindrance(tmp_path: Path, content: str) -> None:
    path = tmp_path / "t.address"
    path.write_text(content, encoding="utf-8")

    assert RemoteTerminal(path).initialize() is False
    Host(path).stop()


def test_a_link_under_the_addresss_name_is_neither_followed_nor_written_through(tmp_path: Path) -> None:
    path, foreign = tmp_path / "t.address", tmp_path / "foreign"
    write_address(foreign, new_address(1))
    before = foreign.read_bytes()
    path.symlink_to(foreign)

    assert RemoteTerminal(path).initialize() is False
    host = Host(path)
    assert not path.is_symlink()
    host.stop()
    assert foreign.read_bytes() == before


def test_an_address_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "t.address"
    path.mkdir()

    with pytest.raises(SettingsError, match=r"cannot be written .*see what lies there"):
        build_host([tape()], path, speed=1.0).run()


def test_a_second_host_does_not_take_the_place_of_a_living_one(host: Host) -> None:
    second = build_host([tape()], host.path, speed=1.0)
    with pytest.raises(SettingsError, match="another terminal answers at"):
        second.run()
    assert host.control.status()["state"] == "waiting"


def test_a_dead_hosts_address_is_replaced_however_long_its_name(tmp_path: Path) -> None:
    folder = tmp_path / ("n" * 120)
    folder.mkdir()
    path = folder / "t.address"
    with socket.create_server((LOOPBACK, 0)) as dead:
        write_address(path, new_address(dead.getsockname()[1]))
    Host(path).stop()
    assert not path.exists()


def test_a_port_whose_owner_does_not_say_who_it_is_may_be_a_terminals_that_hangs(tmp_path: Path) -> None:
    path = tmp_path / "t.address"
    with socket.create_server((LOOPBACK, 0)) as silent:
        write_address(path, new_address(silent.getsockname()[1]))
        with pytest.raises(SettingsError, match="does not say who it is"):
            build_host([tape()], path, speed=1.0).run()


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
    path, oracle = tmp_path / "t.address", tmp_path / "oracle.jsonl"
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

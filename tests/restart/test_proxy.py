"""Each fault of the bad link, as the two ends of a connection see it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from random import Random

import pytest

from dtms_lab.restart.proxy import CALM, ChaosProxy, Fault, Weather

REPLY = b"answer " * 40


class Service:
    """Answers each piece it gets with the same reply, and remembers what it got."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _peer = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while piece := connection.recv(4_096):
                    self.got.append(piece)
                    connection.sendall(REPLY)
            except OSError:
                return

    def close(self) -> None:
        """Stop answering."""
        self._listening.close()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


def only(fault: Fault, **times: float) -> Weather:
    return Weather(shares=((fault, 1.0),), **times)


def ask(port: int, question: bytes = b"question", *, patience_s: float = 5.0) -> bytes:
    """Ask once and read the whole reply."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as connection:
        connection.sendall(question)
        got = b""
        while len(got) < len(REPLY):
            piece = connection.recv(4_096)
            if not piece:
                return got
            got += piece
        return got


def until_seen(service: Service, count: int) -> list[bytes]:
    """Wait until the service has got so many pieces."""
    end = time.monotonic() + 5.0
    while len(service.got) < count and time.monotonic() < end:
        threading.Event().wait(0.01)
    return service.got


def test_in_calm_weather_every_byte_passes_both_ways(service: Service) -> None:
    with ChaosProxy(service.port, seed=1) as proxy:
        assert ask(proxy.port) == REPLY

    assert service.got == [b"question"]
    assert proxy.struck == {Fault.NONE: 1}


def test_the_service_hears_its_own_name(service: Service) -> None:
    with ChaosProxy(service.port, seed=1) as proxy:
        ask(proxy.port, f"Host: 127.0.0.1:{proxy.port}\r\n".encode())

    assert service.got == [f"Host: 127.0.0.1:{service.port}\r\n".encode()]


def test_a_reset_before_the_request_lets_nothing_arrive(service: Service) -> None:
    with ChaosProxy(service.port, seed=1, weather=only(Fault.RESET_BEFORE)) as proxy:
        with pytest.raises(ConnectionResetError):
            ask(proxy.port)
        proxy.weather = CALM
        ask(proxy.port, b"later")

    assert service.got == [b"later"]


def test_a_reset_after_the_request_loses_only_the_reply(service: Service) -> None:
    with (
        ChaosProxy(service.port, seed=1, weather=only(Fault.RESET_AFTER)) as proxy,
        pytest.raises(ConnectionResetError),
    ):
        ask(proxy.port)

    assert service.got == [b"question"]


def test_a_half_open_connection_takes_the_request_and_says_nothing_for_ever(service: Service) -> None:
    with ChaosProxy(service.port, seed=1, weather=only(Fault.HALF_OPEN)) as proxy:
        with pytest.raises(TimeoutError):
            ask(proxy.port, patience_s=0.3)

        assert until_seen(service, 1) == [b"question"]


def test_a_slow_drip_comes_whole(service: Service) -> None:
    with ChaosProxy(service.port, seed=1, weather=only(Fault.DRIP, drip_s=0.0001)) as proxy:
        assert ask(proxy.port) == REPLY


def test_nothing_passes_a_partition_and_everything_afterwards(service: Service) -> None:
    with ChaosProxy(service.port, seed=1) as proxy:
        proxy.cut(0.5)
        with pytest.raises(TimeoutError):
            ask(proxy.port, b"into the gap", patience_s=0.1)
        assert service.got == []
        assert ask(proxy.port, b"later") == REPLY


def test_a_service_that_is_dead_is_a_reset_and_back_again_when_it_lives(service: Service) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = int(gone.getsockname()[1])
    with ChaosProxy(port, seed=1) as proxy, pytest.raises(ConnectionResetError):
        ask(proxy.port)


def test_a_seed_draws_the_same_faults_and_every_kind_of_them() -> None:
    weather = Weather()

    draws = [[weather.draw(dice) for _ in range(2_000)] for dice in (Random(5), Random(5), Random(6))]

    assert draws[0] == draws[1] != draws[2]
    assert set(draws[0]) == set(Fault)

"""One terminal: one question at a time, and nobody waits for ever."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dtms.adapters.gateway_client import GatewayClient
from dtms.domain.market import Timeframe
from dtms.errors import BrokerUnavailableError
from dtms.services.gateway import make_gateway_app
from dtms.services.gateway.desk import SerializedReads
from dtms.services.web.access import OneToken
from dtms.services.web.guard import Gate, loopback_policy
from dtms.services.web.health import ReadyReport
from dtms.services.web.serve import make_server


class OneAtATime:
    """Reads that notice when two questions overlap."""

    def __init__(self, reads: Any) -> None:
        self._reads = reads
        self._busy = threading.Lock()
        self.overlaps = 0
        self.asked = 0

    def bars(self, symbol: str, timeframe: Timeframe, count: int) -> Any:
        if not self._busy.acquire(blocking=False):
            self.overlaps += 1
            return ()
        try:
            self.asked += 1
            return self._reads.bars(symbol, timeframe, count)
        finally:
            self._busy.release()


def test_many_clients_over_a_socket_meet_the_broker_one_by_one(reads: Any, gateway: Any) -> None:
    broker: Any = OneAtATime(reads)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        world: Any = object()
        app = make_gateway_app(
            broker,
            ready=lambda: ReadyReport(ready=True, dependencies={}),
            ledger=world,
            clock=_Still(),
            gate=Gate(loopback_policy(port), OneToken("t" * 43)),
        )
        server = make_server(app, host="127.0.0.1", port=port)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        client = GatewayClient(f"http://127.0.0.1:{port}", timeout_s=10)
        try:
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: client.bars("EURUSDc", Timeframe.M5, 5), range(80)))
        finally:
            client.close()
            server.should_exit = True
            thread.join(timeout=10)

    assert answers == [reads.bars("EURUSDc", Timeframe.M5, 5)] * 80
    assert (broker.asked, broker.overlaps) == (80, 0)


class _Still:
    def market_now(self) -> Any:
        return 0

    wall_now = boot_ns = market_now


def test_a_connection_that_stays_busy_is_unavailable(reads: Any) -> None:
    lock = threading.Lock()
    desk = SerializedReads(reads, _Still(), lock, patience_s=0.01)

    with lock, pytest.raises(BrokerUnavailableError, match=r"busy for 0\.01 s; is its terminal hanging"):
        desk.take(lambda broker: broker.account())
    assert desk.take(lambda broker: broker.account()).value == reads.account_now


def test_a_read_that_fails_frees_the_connection(reads: Any) -> None:
    desk = SerializedReads(reads, _Still(), patience_s=0.01)
    reads.down = True
    with pytest.raises(BrokerUnavailableError):
        desk.take(lambda broker: broker.account())
    reads.down = False

    assert desk.take(lambda broker: broker.account()).token == 2

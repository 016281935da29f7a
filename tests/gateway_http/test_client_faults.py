"""Whatever comes instead of an answer is "could not be told", never an empty or a wrong one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import msgspec
import pytest
import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from dtms.adapters.gateway_client import GatewayClient
from dtms.domain.market import Timeframe
from dtms.domain.units import Millis
from dtms.errors import BrokerUnavailableError, InvalidDataError, NotEnoughBarsError, NotPricedError, StaleDataError

EMPTY = {"as_of": "2024-01-01T00:00:00.000+00:00", "token": 1}


class Canned(BaseAdapter):
    """Answers everything alike, or fails alike."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        super().__init__()
        self._status = status
        self._body = body
        self._headers = {} if headers is None else headers
        self.asked: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        self.asked.append(request)
        response = requests.Response()
        response.status_code = self._status
        response.headers = CaseInsensitiveDict(self._headers)
        response.raw = BytesIO(self._body)
        response.url = str(request.url)
        return response

    def close(self) -> None:
        pass


def client(adapter: BaseAdapter, **options: Any) -> GatewayClient:
    session = requests.Session()
    session.mount("http://", adapter)
    return GatewayClient("http://127.0.0.1:8002", session=session, **options)


EVERY: list[Callable[[GatewayClient], object]] = [
    lambda asked: asked.account(),
    lambda asked: asked.positions(),
    lambda asked: asked.instrument("EURUSD"),
    lambda asked: asked.quote("EURUSD"),
    lambda asked: asked.quotes(["EURUSD"]),
    lambda asked: asked.bars("EURUSD", Timeframe.M5, 3),
    lambda asked: asked.deals(1),
    lambda asked: asked.deals_between(Millis(0), Millis(1)),
]


@pytest.mark.parametrize("ask", EVERY)
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"null"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b"{"),
        (200, b"\xff"),
        (200, b"[" * 100_000),
        (200, b"<html>it works</html>"),
        (200, msgspec.json.encode(EMPTY)),
        (200, msgspec.json.encode({**EMPTY, "positions": None, "deals": None, "bars": None, "quotes": None})),
        (200, msgspec.json.encode({**EMPTY, "positions": [{}], "deals": [{}], "bars": [{}], "quotes": [{}]})),
        (200, msgspec.json.encode({**EMPTY, "token": "1", "positions": [], "deals": [], "bars": [], "quotes": []})),
        (200, msgspec.json.encode({**EMPTY, "positions": [], "deals": [], "bars": [], "quotes": [], "more": 1})),
        (204, b""),
        (301, b""),
        (401, b'{"code":"token_missing"}'),
        (404, b'{"code":"not_found"}'),
        (404, b"<html>nginx</html>"),
        (421, b'{"code":"host_not_ours"}'),
        (422, b'{"code":"invalid_request"}'),
        (429, b""),
        (500, b'{"code":"internal"}'),
        (503, b'{"code":"broker_unavailable"}'),
        (503, b'{"code":17}'),
        (504, b""),
    ],
)
def test_what_is_not_an_answer_as_agreed_could_not_be_told(
    ask: Callable[[GatewayClient], object], status: int, body: bytes
) -> None:
    with pytest.raises(BrokerUnavailableError, match="gateway /"):
        ask(client(Canned(status, body)))


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("symbol_unknown", 404, InvalidDataError),
        ("data_invalid", 502, InvalidDataError),
        ("data_stale", 503, StaleDataError),
        ("price_missing", 503, NotPricedError),
        ("bars_missing", 503, NotEnoughBarsError),
    ],
)
def test_a_word_about_a_symbol_is_believed_only_where_a_symbol_was_asked_for(
    code: str, status: int, error: type[Exception]
) -> None:
    answer = Canned(status, msgspec.json.encode({"code": code}))

    with pytest.raises(error):
        client(answer).bars("EURUSD", Timeframe.M5, 3)
    with pytest.raises(error):
        client(answer).instrument("EURUSD")
    with pytest.raises(BrokerUnavailableError):
        client(answer).positions()


@pytest.mark.parametrize("as_of", ["2024-01-01T00:00:00.000", "yesterday-at-the-latest", "2024-13-01T00:00:00+00:00"])
def test_an_instant_that_is_none_is_no_answer(as_of: str) -> None:
    body = msgspec.json.encode({"as_of": as_of, "token": 1, "positions": []})

    with pytest.raises(BrokerUnavailableError, match="not as agreed"):
        client(Canned(200, body)).positions()


def test_a_quote_that_cannot_be_true_is_no_answer() -> None:
    crossed = {"symbol": "E", "at": EMPTY["as_of"], "bid": 2.0, "ask": 1.0}
    crossed |= dict.fromkeys(("volume", "buy_volume", "sell_volume"))
    body = msgspec.json.encode({**EMPTY, "quotes": [{"asked": "E", "quote": crossed, "code": None}]})

    with pytest.raises(BrokerUnavailableError, match="bid <= ask"):
        client(Canned(200, body)).quote("E")


def test_an_answer_about_another_symbol_or_timeframe_is_no_answer() -> None:
    bars = msgspec.json.encode({**EMPTY, "symbol": "OTHER", "timeframe": "M5", "bars": []})
    quotes = msgspec.json.encode({**EMPTY, "quotes": [{"asked": "OTHER", "quote": None, "code": "data_stale"}]})

    with pytest.raises(BrokerUnavailableError, match="answered for others"):
        client(Canned(200, bars)).bars("EURUSD", Timeframe.M5, 3)
    with pytest.raises(BrokerUnavailableError, match="answered for others"):
        client(Canned(200, quotes)).quote("EURUSD")


def test_a_quote_with_neither_value_nor_reason_is_no_answer() -> None:
    body = msgspec.json.encode({**EMPTY, "quotes": [{"asked": "E", "quote": None, "code": None}]})

    with pytest.raises(BrokerUnavailableError, match="neither a quote nor a reason"):
        client(Canned(200, body)).quote("E")


def test_an_answer_shorter_than_declared_is_no_answer() -> None:
    body = msgspec.json.encode({**EMPTY, "positions": []})

    with pytest.raises(BrokerUnavailableError, match="bytes of 9999"):
        client(Canned(200, body, {"Content-Length": "9999"})).positions()


def test_a_slow_drip_is_cut_off_on_the_clients_clock() -> None:
    ticks = iter([0.0, 1.0, 2.5])

    class Drip(BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            return super().read1(1)

    class Dripping(Canned):
        def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
            response = super().send(request)
            response.raw = Drip(b'{"as_of"')
            return response

    with pytest.raises(BrokerUnavailableError, match=r"not complete after 2\.0 s"):
        client(Dripping(200, b""), now_s=lambda: next(ticks)).positions()


@pytest.mark.parametrize("count", [0, -1, 50_001])
def test_a_count_that_nobody_can_mean_is_refused_without_asking(count: int) -> None:
    canned = Canned(200, b"")

    with pytest.raises(InvalidDataError, match=f"{count} bars cannot be asked for"):
        client(canned).bars("EURUSD", Timeframe.M5, count)
    assert canned.asked == []


def test_the_environments_proxies_are_ignored_and_the_token_is_shown() -> None:
    canned = Canned(503, b"")
    asked = client(canned, token="secret-token")  # noqa: S106 - none

    with pytest.raises(BrokerUnavailableError) as caught:
        asked.account()

    assert asked._session.trust_env is False
    assert canned.asked[0].headers["Authorization"] == "Bearer secret-token"
    assert "secret" not in str(caught.value)


def test_another_service_at_the_address_is_refused_by_name() -> None:
    with pytest.raises(BrokerUnavailableError, match="is the service 'dtms-server', not 'dtms-gateway'"):
        client(Canned(200, b'{"service":"dtms-server","live":true}')).check_service()


@contextmanager
def answering(data: bytes) -> Iterator[int]:
    """A socket that sends these bytes to the first client and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(timeout=10)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://evil.com/\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_broken_answer_on_a_real_socket_could_not_be_told(data: bytes) -> None:
    with answering(data) as port, pytest.raises(BrokerUnavailableError):
        GatewayClient(f"http://127.0.0.1:{port}").positions()


def test_a_closed_port_could_not_be_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(BrokerUnavailableError, match="is it running"):
        GatewayClient(f"http://127.0.0.1:{port}").positions()


def test_a_gateway_that_hangs_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(BrokerUnavailableError, match="ReadTimeout"):
        GatewayClient(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.05).positions()

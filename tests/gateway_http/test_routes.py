"""The gateway's answers, as another program sees them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import msgspec
import pytest

from dtms.errors import InvalidDataError, OutcomeUnknownError
from dtms.services.web.in_process import Answer, call

BASE = "http://127.0.0.1:8002"


def ask(gateway: Any, path: str, method: str = "GET", **headers: str) -> Answer:
    return call(gateway.app, method, f"{BASE}{path}", headers)


def told(gateway: Any, path: str) -> Any:
    status, headers, body = ask(gateway, path)
    assert (status, dict(headers)["content-type"]) == (200, "application/json")
    return msgspec.json.decode(body)


def test_positions_are_words_numbers_and_utc_times_with_the_reads_own_token(gateway: Any) -> None:
    assert told(gateway, "/positions") == {
        "as_of": "2023-11-14T22:13:19.995+00:00",
        "token": 41,
        "positions": [
            {
                "ticket": 11,
                "identifier": 10,
                "symbol": "EURUSDc",
                "side": "SELL",
                "volume": 0.3,
                "entry": 1.1,
                "stop": None,
                "target": 1.05,
                "current": 1.0999,
                "profit": -3.0,
                "swap": -0.1,
                "magic": 77,
                "comment": "by hand",
                "opened_at": "2023-11-14T22:13:20.000+00:00",
            }
        ],
    }


def test_every_other_read_has_its_instant_and_a_growing_token(gateway: Any) -> None:
    paths = ["/account", "/quotes?symbols=EURUSDc", "/bars/EURUSDc", "/instruments/EURUSDc", "/symbols"]

    answers = [told(gateway, path) for path in paths]

    assert [answer["token"] for answer in answers] == [1, 2, 3, 4, 5]
    assert {answer["as_of"] for answer in answers} == {"2023-11-14T22:13:20.000+00:00"}


def test_the_symbols_are_those_of_market_watch(gateway: Any) -> None:
    assert told(gateway, "/symbols")["symbols"] == ["EURUSDc", "SILENT"]


def test_bars_are_five_minutes_unless_asked_otherwise(gateway: Any) -> None:
    answer = told(gateway, "/bars/EURUSDc?count=2")

    assert (answer["symbol"], answer["timeframe"]) == ("EURUSDc", "M5")
    assert [bar["start"] for bar in answer["bars"]] == [
        "1970-01-01T00:20:00.000+00:00",
        "1970-01-01T00:25:00.000+00:00",
    ]
    assert told(gateway, "/bars/EURUSDc?timeframe=H1")["bars"] == []


def test_deals_come_by_position_or_by_span(gateway: Any) -> None:
    assert [deal["at"][-10:-6] for deal in told(gateway, "/deals?position=10")["deals"]] == [".100", ".300"]
    span = "/deals?from=1970-01-01T00:00:00.100Z&to=1970-01-01T00:00:00.200%2B00:00"
    assert [deal["position"] for deal in told(gateway, span)["deals"]] == [10, 12]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/instruments/NONE", 404, "symbol_unknown"),
        ("/bars/NONE", 404, "symbol_unknown"),
        ("/bars/", 422, "invalid_request"),
        ("/bars/EURUSDc?count=0", 422, "invalid_request"),
        ("/bars/EURUSDc?count=50001", 422, "invalid_request"),
        ("/bars/EURUSDc?count=1_0", 422, "invalid_request"),
        ("/bars/EURUSDc?count=%EF%BC%91", 422, "invalid_request"),
        ("/bars/EURUSDc?count=", 422, "invalid_request"),
        ("/bars/EURUSDc?count=1&count=2", 422, "invalid_request"),
        ("/bars/EURUSDc?canary=1", 422, "invalid_request"),
        ("/bars/EURUSDc?timeframe=M2", 422, "invalid_request"),
        ("/bars/%00", 422, "invalid_request"),
        ("/bars/%ff", 422, "invalid_request"),
        ("/quotes", 422, "invalid_request"),
        ("/quotes?symbols=", 422, "invalid_request"),
        ("/quotes?symbols=A,,B", 422, "invalid_request"),
        ("/quotes?symbols=" + ",".join(["A"] * 101), 422, "invalid_request"),
        ("/quotes?symbols=%ff", 422, "invalid_request"),
        ("/deals", 422, "invalid_request"),
        ("/deals?position=0", 422, "invalid_request"),
        ("/deals?position=1&from=2024-01-01T00:00:00Z", 422, "invalid_request"),
        ("/deals?from=2024-01-01T00:00:00Z", 422, "invalid_request"),
        ("/deals?from=canary&to=2024-01-01T00:00:00Z", 422, "invalid_request"),
        ("/deals?from=2024-01-01T00:00:00&to=2024-01-01T00:00:00Z", 422, "invalid_request"),
        ("/deals?from=2024-01-02T00:00:00Z&to=2024-01-01T00:00:00Z", 422, "invalid_request"),
        ("/account?x=1", 422, "invalid_request"),
        ("/orders", 404, "not_found"),
        ("/", 404, "not_found"),
    ],
)
def test_a_wrong_question_is_a_problem_that_repeats_nothing(gateway: Any, path: str, status: int, code: str) -> None:
    found, headers, body = ask(gateway, path)

    assert (found, msgspec.json.decode(body)["code"]) == (status, code)
    assert dict(headers)["content-type"] == "application/problem+json"
    assert b"canary" not in body
    assert b"NONE" not in body


@pytest.mark.parametrize(
    "path", ["/account", "/positions", "/quotes?symbols=EURUSDc", "/bars/EURUSDc", "/deals?position=1"]
)
def test_a_broker_that_cannot_be_reached_is_503_and_never_an_empty_list(gateway: Any, path: str) -> None:
    gateway.reads.down = True

    status, headers, body = ask(gateway, path)

    assert (status, msgspec.json.decode(body)["code"]) == (503, "broker_unavailable")
    assert dict(headers)["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/orders", "/positions", "/positions/11", "/deals", "/account"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_sent_over_http(gateway: Any, path: str, method: str) -> None:
    assert ask(gateway, path, method, Authorization="Bearer " + "t" * 43)[0] in {404, 405}


def test_a_profit_that_is_no_number_is_not_told_as_none(gateway: Any) -> None:
    read = gateway.reads.positions_now
    broken = dataclasses.replace(read.positions[0], stop=math.nan)
    gateway.reads.positions_now = dataclasses.replace(read, positions=(broken,))

    status, _, body = ask(gateway, "/positions")

    assert (status, msgspec.json.decode(body)["code"]) == (502, "data_invalid")


def test_a_known_symbol_whose_bars_cannot_be_true_is_not_called_unknown(gateway: Any, make_app: Any) -> None:
    class Torn:
        def instrument(self, symbol: str) -> object:
            return gateway.reads.instrument(symbol)

        def bars(self, *_: object) -> object:
            raise InvalidDataError("high below low")

        quote = bars

    app = make_app(Torn())

    bars = call(app, "GET", f"{BASE}/bars/EURUSDc")
    quotes = call(app, "GET", f"{BASE}/quotes?symbols=EURUSDc,NONE")

    assert (bars[0], msgspec.json.decode(bars[2])["code"]) == (502, "data_invalid")
    assert [entry["code"] for entry in msgspec.json.decode(quotes[2])["quotes"]] == ["data_invalid", "symbol_unknown"]


def test_a_broker_that_fails_in_another_way_is_no_answer_either(make_app: Any, make_client: Any) -> None:
    from dtms.errors import BrokerUnavailableError

    class Odd:
        def __init__(self, error: Exception) -> None:
            self._error = error

        def account(self) -> object:
            raise self._error

    for error in (OutcomeUnknownError("x"), InvalidDataError("x"), ZeroDivisionError("x")):
        with pytest.raises(BrokerUnavailableError, match="gateway /account: status 50"):
            make_client(make_app(Odd(error))).account()


def test_the_gateway_names_itself_and_tells_its_readiness(gateway: Any) -> None:
    assert told(gateway, "/health/live") == {"service": "dtms-gateway", "live": True}
    ready = told(gateway, "/health/ready")
    assert (ready["ready"], ready["dependencies"]["broker"], ready["causes"]) == (True, "ok", [])
    assert gateway.client.check_service() is None


@pytest.mark.parametrize("host", ["evil.com", "127.0.0.1:8001"])
def test_the_guard_stands_before_the_gateway(gateway: Any, host: str) -> None:
    assert ask(gateway, "/positions", Host=host)[0] == 421


def test_a_wrong_last_event_id_is_a_problem(gateway: Any) -> None:
    assert ask(gateway, "/events", **{"Last-Event-ID": "x"})[0] == 400
    assert ask(gateway, "/events", **{"Last-Event-ID": "9"})[0] == 409


def test_the_document_describes_every_read(gateway: Any) -> None:
    document = told(gateway, "/openapi.json")

    assert set(document["paths"]) == {
        "/account",
        "/bars/{symbol}",
        "/deals",
        "/events",
        "/health/live",
        "/health/ready",
        "/instruments/{symbol}",
        "/metrics",
        "/positions",
        "/quotes",
        "/symbols",
    }
    assert all(set(item) == {"get"} for item in document["paths"].values())
    account = document["components"]["schemas"]["AccountWire"]
    assert account["additionalProperties"] is False
    assert {"login", "margin_level"} <= set(account["required"])

"""A person who gets no answer asks again, with the same key and the same body, until there is one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dtms.domain.units import Millis
from dtms_lab.restart.person import Order, Person, orders_over

NOW = Millis(1_000)
ORDER = Order(at=NOW, direction="SELL", stop=10.0, target=20.0)


class Api:
    """Gives prepared answers one after the other, the last one for ever; 0 hangs up."""

    def __init__(self, *answers: tuple[int, dict[str, Any]]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, self.headers["Idempotency-Key"], body))
                status, told = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                if status == 0:
                    self.connection.close()
                    return
                said = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def apis() -> Iterator[list[Api]]:
    made: list[Api] = []
    yield made
    for api in made:
        api.server.shutdown()
        api.server.server_close()


def person_at(api: Api, *, flatten_at: Millis | None = None) -> Person:
    bids = iter((2_000.0, 2_100.0, 2_200.0))
    return Person(
        (ORDER,),
        api_url=api.url,
        token="token",  # noqa: S106 - of a fake
        symbol="XAUUSD",
        now=lambda: NOW,
        bid=lambda: next(bids),
        flatten_at=flatten_at,
    )


def test_an_order_is_asked_for_with_one_key_and_one_body_until_it_is_answered(apis: list[Api]) -> None:
    apis.append(
        Api((0, {}), (503, {"code": "gateway"}), (409, {"code": "idempotency_in_flight"}), (201, {"ticket": 7}))
    )
    person = person_at(apis[0])

    person.start()
    person.finish(within_s=20.0)

    wish = person.wishes[0]
    assert (wish.status, wish.ticket, wish.tickets) == (201, 7, {7})
    assert {(path, key) for path, key, _body in apis[0].asked} == {("/api/trades", "drill-0")}
    bodies = [body for _path, _key, body in apis[0].asked]
    assert bodies == [bodies[0]] * len(bodies)
    assert (bodies[0]["stop_loss"], bodies[0]["take_profit"]) == (2_010.0, 1_980.0)
    assert len(bodies) == wish.asked == 5, "the answered one is asked for once more at the end"


def test_another_ticket_for_the_same_key_is_remembered(apis: list[Api]) -> None:
    apis.append(Api((201, {"ticket": 7}), (201, {"ticket": 8})))
    person = person_at(apis[0])

    person.start()
    person.finish(within_s=20.0)

    assert person.wishes[0].tickets == {7, 8}


def test_a_refusal_is_final(apis: list[Api]) -> None:
    apis.append(Api((422, {"code": "wrong_side", "detail": "The stop is on the wrong side."})))
    person = person_at(apis[0])

    person.start()
    person.finish(within_s=20.0)

    assert (person.wishes[0].status, person.wishes[0].ticket) == (422, None)


def test_the_kill_switch_is_pressed_until_it_is_acknowledged(apis: list[Api]) -> None:
    apis.append(Api((201, {"ticket": 7}), (503, {}), (200, {})))
    person = person_at(apis[0], flatten_at=NOW)

    person.start()
    end = time.monotonic() + 20.0
    while not person.flattened and time.monotonic() < end:
        threading.Event().wait(0.01)
    person.stop()

    assert [path for path, _key, _body in apis[0].asked] == ["/api/trades", "/api/kill-switch", "/api/kill-switch"]


def test_the_drills_orders_are_of_both_sides_and_both_kinds() -> None:
    orders = orders_over(NOW, 16)

    assert {(order.direction, order.stop) for order in orders} == {
        ("SELL", 24.0),
        ("BUY", 24.0),
        ("SELL", 9.0),
        ("BUY", 9.0),
    }

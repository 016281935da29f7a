"""POST /dtms/trade/enable: what is taken, what is refused, and that the stop is at the broker before the answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtms.adapters.mt5 import Mt5Sender
from dtms.domain.intent import IntentState
from dtms.domain.trade import TradeState
from dtms.domain.units import Side
from dtms.services.web.health import ReadyReport
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.records import AccountSpec

ENABLE = "/dtms/trade/enable"
FIELDS = {
    *("ticket", "symbol", "direction", "state", "pending_to", "defensive", "version", "epoch", "owner", "entry"),
    *("volume", "initial_volume", "stop_loss", "take_profit", "current_price", "profit", "realised", "total_r"),
    *("r_multiple", "score", "state_since", "deadlines", "legs", "pending_intents", "last_actions"),
    *("protection_active", "naked_ms", "as_of"),
}


def test_a_new_registration_is_201_with_the_whole_trade(world: Any) -> None:
    ticket = world.opened(stop=1.0901)

    told = world.ask("POST", ENABLE, world.order(ticket))

    assert told.status == 201
    assert set(told.json) >= FIELDS
    chosen = {name: told.json[name] for name in ("ticket", "symbol", "direction", "state", "version", "epoch", "owner")}
    assert chosen == {
        "ticket": ticket,
        "symbol": "EURUSD",
        "direction": "BUY",
        "state": "HEALTHY",
        "version": 1,
        "epoch": "first",
        "owner": "shared",
    }
    assert (told.json["entry"], told.json["stop_loss"], told.json["volume"]) == (1.0951, 1.0901, 0.1)
    assert (told.json["already_registered"], told.json["protection_active"]) == (False, True)


@pytest.mark.parametrize(
    ("symbol", "uncalibrated"),
    [
        ("EURUSD.£", False),
        ("m.EURUSD", False),
        ("Евро/Доллар, спот", False),  # a pair by the broker's own currencies
        ("#EURUSD 100%", False),
        ("[red]ACME<b>'\"", False),
        ("EURUSD-OTC", True),
        ("EURUSDT", True),
    ],
)
def test_any_name_of_a_broker_is_registered_and_says_whether_it_is_calibrated(
    make_world: Any, symbol: str, uncalibrated: bool
) -> None:
    world = make_world(symbol=symbol)
    ticket = world.opened(stop=1.0901)

    told = world.ask("POST", ENABLE, world.order(ticket))
    explained = world.ask("GET", f"/dtms/trade/{ticket}/explain").json

    assert told.status == 201, told.body
    assert (told.status, told.json["symbol"], told.json["uncalibrated"]) == (201, symbol, uncalibrated)
    assert (explained["uncalibrated"], "uncalibrated" in explained["sentence"]) == (uncalibrated, uncalibrated)
    assert world.trade(ticket).symbol == symbol


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_the_same_registration_again_is_200_and_writes_nothing(world: Any, side: Side) -> None:
    ticket = world.opened(side)
    first = world.ask("POST", ENABLE, world.order(ticket, side))
    before = world.written()

    again = world.ask("POST", ENABLE, world.order(ticket, side))

    assert (first.status, again.status) == (201, 200)
    assert again.json["already_registered"] is True
    assert {**again.json, "already_registered": False} == first.json
    assert world.written() == before


def test_a_position_without_a_stop_has_it_at_the_broker_before_the_answer(world: Any) -> None:
    ticket = world.opened()

    told = world.ask("POST", ENABLE, world.order(ticket))

    position = world.broker.positions().find(ticket)
    assert told.status == 201
    assert position.stop == 1.0901
    assert told.json["stop_loss"] == 1.0901
    assert [(action["rule"], action["state"]) for action in told.json["last_actions"]] == [("register.stop", "APPLIED")]


def test_without_a_gateway_the_registration_stands_but_is_not_called_protected(world: Any) -> None:
    ticket = world.opened()
    world.gateway_works = False

    pending = world.ask("POST", ENABLE, world.order(ticket))
    still = world.ask("POST", ENABLE, world.order(ticket))
    world.gateway_works = True
    done = world.ask("POST", ENABLE, world.order(ticket))

    assert (pending.status, pending.code, pending.headers["retry-after"]) == (503, "protection_pending", "1")
    assert (still.status, still.code) == (503, "protection_pending")
    assert (pending.json["epoch"], pending.json["version"]) == ("first", 1)
    assert world.trade(ticket).state is TradeState.HEALTHY
    assert (done.status, done.json["already_registered"], done.json["stop_loss"]) == (200, True, 1.0901)


def test_a_first_stop_that_was_refused_is_planned_anew_by_the_same_request(world: Any) -> None:
    ticket = world.opened()
    world.executor.writes = None
    refused = world.ask("POST", ENABLE, world.order(ticket))
    world.executor.writes = Mt5Sender(world.broker)

    done = world.ask("POST", ENABLE, world.order(ticket))

    trade = world.trade(ticket)
    with world.ledger.read() as tx:
        intents = tx.intents(trade_id=trade.trade_id)
    assert (refused.status, done.status) == (503, 200)
    assert {intent.attempt: intent.state for intent in intents} == {1: IntentState.REJECTED, 2: IntentState.APPLIED}
    assert world.broker.positions().find(ticket).stop == 1.0901


def test_a_first_stop_that_the_price_has_passed_is_refused_with_what_to_do(world: Any) -> None:
    ticket = world.opened()
    world.gateway_works = False
    pending = world.ask("POST", ENABLE, world.order(ticket))
    world.gateway_works = True
    for _ in range(3):  # one look alone would be a spike
        world.later(1, 1.0890)
        world.server.monitor.tick()

    passed = world.ask("POST", ENABLE, world.order(ticket))

    assert (pending.status, passed.status, passed.code) == (503, 422, "stop_on_wrong_side")
    assert [field["field"] for field in passed.json["fields"]] == ["stop_loss"]
    assert world.broker.positions().find(ticket).stop is None


def test_a_tighter_stop_at_the_broker_is_kept(world: Any) -> None:
    ticket = world.opened(stop=1.0930)

    told = world.ask("POST", ENABLE, world.order(ticket, stop_loss=1.0901, initial_stop=1.0901))

    assert (told.status, told.json["stop_loss"], told.json["initial_stop"]) == (201, 1.0930, 1.0901)
    assert world.broker.positions().find(ticket).stop == 1.0930


def test_an_advisory_account_registers_without_sending_anything(make_world: Any) -> None:
    world = make_world(advisory=True)
    ticket = world.opened()

    told = world.ask("POST", ENABLE, world.order(ticket))

    assert (told.status, told.json["owner"], told.json["protection_active"]) == (201, "none", False)
    assert world.executor.sent == 0


def test_a_ticket_that_is_not_open_is_404(world: Any) -> None:
    before = world.written()

    told = world.ask("POST", ENABLE, world.order(4711))

    assert (told.status, told.code, told.fields) == (404, "position_not_open", ["ticket"])
    assert b"4711" not in told.body
    assert world.written() == before


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"entry": 1.0960}, "entry"),
        ({"volume": 0.2}, "volume"),
        ({"direction": "SELL", "stop_loss": 1.1001}, "direction"),
    ],
)
def test_facts_that_are_not_the_brokers_are_409(world: Any, changes: dict[str, object], field: str) -> None:
    ticket = world.opened(stop=1.0901)
    before = world.written()

    told = world.ask("POST", ENABLE, world.order(ticket, **changes))

    assert (told.status, told.code, told.fields) == (409, "conflict", [field])
    assert world.written() == before


def test_the_same_ticket_with_another_first_stop_is_409(world: Any) -> None:
    ticket = world.managed()

    told = world.ask("POST", ENABLE, world.order(ticket, initial_stop=1.08))

    assert (told.status, told.code, told.fields) == (409, "conflict", ["ticket"])


def test_a_second_trade_on_a_symbol_of_a_netting_account_is_409(make_world: Any) -> None:
    world = make_world(account=AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING))
    ticket = world.managed()
    other = replace(world.trade(ticket), trade_id="other", ticket=99, identifier=99)
    world.put(ticket, state=TradeState.CLOSED, closed_at=world.clock.now, close_reason="released")
    with world.ledger.write() as tx:
        tx.add_trade(other)

    told = world.ask("POST", ENABLE, world.order(ticket))

    assert (told.status, told.code) == (409, "symbol_taken")


def test_our_own_hedge_is_never_registered_as_a_trade(world: Any) -> None:
    parent = world.trade(world.hedged())
    before = world.written()

    told = world.ask("POST", ENABLE, world.order(parent.hedge.ticket, Side.SELL, stop_loss=1.098))

    assert (told.status, told.code, told.fields) == (409, "child_position", ["ticket"])
    assert world.written() == before


@pytest.mark.parametrize(
    ("changes", "status", "code", "fields"),
    [
        ({"stop_loss": 1.0960}, 422, "stop_on_wrong_side", ["stop_loss"]),
        ({"stop_loss": 1.09495}, 422, "stop_on_wrong_side", ["stop_loss"]),
        ({"stop_loss": 1.09485, "initial_stop": 1.09502}, 422, "risk_unknown", ["initial_stop"]),
        ({"initial_stop": 1.2}, 422, "risk_unknown", ["initial_stop"]),
        ({"profile": "no-such"}, 422, "profile_unknown", ["profile"]),
        ({"take_profit": 1.0801}, 422, "invalid_request", ["take_profit"]),
        ({"symbol": "NOSUCH"}, 422, "invalid_request", ["symbol"]),
    ],
)
def test_what_cannot_be_managed_is_422_with_its_field(
    world: Any, changes: dict[str, object], status: int, code: str, fields: list[str]
) -> None:
    ticket = world.opened()
    before = world.written()

    told = world.ask("POST", ENABLE, world.order(ticket, **changes))

    assert (told.status, told.code, told.fields) == (status, code, fields)
    assert world.written() == before


def _raw(**changes: bytes) -> bytes:
    """A body written by hand: each value as it stands."""
    body = {
        "ticket": b"50000001",
        "symbol": b'"EURUSD"',
        "direction": b'"BUY"',
        "entry": b"1.0951",
        "volume": b"0.1",
        "stop_loss": b"1.0901",
    }
    return b"{" + b",".join(b'"%s":%s' % (key.encode(), value) for key, value in {**body, **changes}.items()) + b"}"


BAD = [
    (_raw(entry=b"NaN"), "entry"),
    (_raw(entry=b"Infinity"), "entry"),
    (_raw(entry=b"1e400"), "entry"),
    (_raw(entry=b"-1.1"), "entry"),
    (_raw(entry=b"0"), "entry"),
    (_raw(entry=b'"1.0951"'), "entry"),
    (_raw(entry=b"true"), "entry"),
    (_raw(entry=b"null"), "entry"),
    (_raw(volume=b"0"), "volume"),
    (_raw(volume=b"-0.1"), "volume"),
    (_raw(volume=b"1e12"), "volume"),
    (_raw(volume=b"0.1")[:-1] + b',"volume":0.2}', "volume"),
    (_raw(stop_loss=b"-1"), "stop_loss"),
    (_raw(initial_stop=b"-1"), "initial_stop"),
    (_raw(take_profit=b'"none"'), "take_profit"),
    (_raw(ticket=b"9223372036854775808"), "ticket"),
    (_raw(ticket=b"123456789012345678901234567890"), "ticket"),
    (_raw(ticket=b"0"), "ticket"),
    (_raw(ticket=b"-5"), "ticket"),
    (_raw(ticket=b"1.5"), "ticket"),
    (_raw(ticket=b'"50000001"'), "ticket"),
    (_raw(ticket=b"true"), "ticket"),
    (_raw(symbol=b'"\\ud800"'), "symbol"),
    (_raw(symbol=b'"EUR\\u0000USD"'), "symbol"),
    (_raw(symbol=b'""'), "symbol"),
    (_raw(symbol=b"5"), "symbol"),
    (_raw(direction=b'"buy"'), "direction"),
    (_raw(direction=b"1"), "direction"),
    (_raw(profile=b'"../etc"'), "profile"),
    (_raw(risk=b"1"), "unknown"),
    (b'{"ticket":50000001}', "symbol"),
    (b"[]", "body"),
]


@pytest.mark.parametrize(("body", "field"), BAD, ids=lambda value: str(value)[:60])
def test_a_bad_body_is_422_with_the_field_and_nothing_is_written(world: Any, body: bytes, field: str) -> None:
    world.opened(stop=1.0901)
    before = world.written()

    told = world.ask("POST", ENABLE, body)

    assert (told.status, told.headers["content-type"]) == (422, "application/problem+json")
    assert field in told.fields
    assert world.written() == before


def test_a_missing_stop_is_named(world: Any) -> None:
    order = world.order(world.opened(stop=1.0901))
    del order["stop_loss"]

    told = world.ask("POST", ENABLE, order)

    assert (told.status, told.fields) == (422, ["stop_loss"])


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b'{"ticket":', {}, 400, "body_not_json"),
        (b"\xff\xfe", {}, 400, "body_not_json"),
        (b"[" * 100, {}, 422, "body_too_complex"),
        (b'{"ticket":1}', {"Content-Type": "text/plain"}, 415, "not_json"),
        (b" " * 70_000, {}, 413, "body_too_large"),
    ],
)
def test_what_is_no_body_at_all_is_4xx(
    world: Any, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    before = world.written()

    told = world.ask("POST", ENABLE, body, headers=headers)

    assert (told.status, told.code) == (status, code)
    assert world.written() == before


def test_a_registration_needs_the_token(world: Any) -> None:
    ticket = world.opened(stop=1.0901)
    before = world.written()

    without = world.ask("POST", ENABLE, world.order(ticket), token=None)
    wrong = world.ask("POST", ENABLE, world.order(ticket), token="x" * 43)

    assert (without.status, without.code, wrong.status, wrong.code) == (401, "token_missing", 401, "token_invalid")
    assert world.written() == before


def test_a_service_that_is_not_ready_takes_no_trade(world: Any) -> None:
    ticket = world.opened(stop=1.0901)
    before = world.written()
    world.swap(ready=lambda: ReadyReport(ready=False, dependencies={"broker": "unreachable"}))

    told = world.ask("POST", ENABLE, world.order(ticket))

    assert (told.status, told.code, told.json["dependencies"]) == (503, "not_ready", {"broker": "unreachable"})
    assert world.written() == before


def test_the_answer_says_what_the_trade_says_afterwards(world: Any) -> None:
    ticket = world.opened()
    told = world.ask("POST", ENABLE, world.order(ticket)).json
    del told["already_registered"]

    assert msgspec.json.decode(world.ask("GET", f"/dtms/trade/{ticket}").body) == told


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["BUY", "EURUSD", 1.0951]),
)
_BODIES = st.fixed_dictionaries(
    {},
    optional={
        name: st.one_of(_SCALARS, st.lists(_SCALARS, max_size=2))
        for name in ("ticket", "symbol", "direction", "entry", "volume", "stop_loss", "initial_stop", "profile", "x")
    },
)


@settings(max_examples=150)
@given(body=_BODIES)
def test_no_body_whatever_makes_a_500_or_writes(world: Any, body: dict[str, object]) -> None:
    before = world.written()

    told = world.ask("POST", ENABLE, json.dumps(body).encode())

    assert told.status in {400, 404, 422}
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(told.json)
    assert world.written() == before

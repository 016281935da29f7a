"""Bodies: what is not exactly a request of ours is a 4xx with the field, and never comes back to the sender."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from dtms.services.web import body as body_module
from dtms.services.web.fields import Body, PriceField, TicketField
from dtms.services.web.problem import Problem

GOOD = b'{"ticket":1,"symbol":"EURUSD","direction":"BUY","entry":1.1,"volume":0.1}'


def changed(field: str, literal: str) -> bytes:
    """The good body with one field's literal replaced, or the field added."""
    members = {name: json.dumps(value) for name, value in json.loads(GOOD).items()} | {field: literal}
    return ("{" + ",".join(f'"{name}":{text}' for name, text in members.items()) + "}").encode()


BAD_FIELDS = [
    ("entry", "NaN", "not_finite"),
    ("entry", "Infinity", "not_finite"),
    ("entry", "-Infinity", "not_finite"),
    ("entry", "1e400", "not_finite"),
    ("entry", "-1e999", "not_finite"),
    ("entry", "0", "greater_than"),
    ("entry", "0.0", "greater_than"),
    ("entry", "-1.1", "greater_than"),
    ("entry", "1e300", "less_than_equal"),
    ("entry", '"1.1"', "float_type"),
    ("entry", "true", "float_type"),
    ("entry", "null", "float_type"),
    ("entry", "[1.1]", "float_type"),
    ("entry", "{}", "float_type"),
    ("entry", '"١٢"', "float_type"),
    ("volume", "-0.1", "greater_than"),
    ("volume", "1e9", "less_than_equal"),
    ("ticket", "0", "greater_than"),
    ("ticket", "-5", "greater_than"),
    ("ticket", "1.0", "int_type"),
    ("ticket", '"1"', "int_type"),
    ("ticket", "false", "int_type"),
    ("ticket", "9223372036854775808", "less_than_equal"),
    ("ticket", "9" * 5000, "too_many_digits"),
    ("direction", '"buy"', "literal_error"),
    ("direction", "1", "literal_error"),
    ("direction", '"HOLD"', "literal_error"),
    ("symbol", '""', "string_pattern_mismatch"),
    ("symbol", '"EUR\\u0000USD"', "not_text"),
    ("symbol", '"\\ud800"', "not_text"),
    ("symbol", '"\\udc00\\ud800"', "not_text"),
    ("symbol", '"EUR\\u202eUSD"', "string_pattern_mismatch"),
    ("symbol", '"EURUSD\\u200b"', "string_pattern_mismatch"),
    ("symbol", '"EURUSD\\n"', "string_pattern_mismatch"),
    ("symbol", '"   "', "string_pattern_mismatch"),
    ("symbol", json.dumps("A" * 65), "string_too_long"),
    ("symbol", "17", "string_type"),
    ("profile", '"../../etc"', "string_pattern_mismatch"),
]


@pytest.mark.parametrize(("field", "literal", "code"), BAD_FIELDS)
def test_a_bad_value_is_a_422_that_names_its_field(site: Any, field: str, literal: str, code: str) -> None:
    status, headers, answer = site.ask("POST", "/orders", body=changed(field, literal))

    members = msgspec.json.decode(answer)
    assert status == 422
    assert dict(headers)["content-type"] == "application/problem+json"
    assert [(fault["field"], fault["code"]) for fault in members["fields"]] == [(field, code)]
    assert site.orders == []


@pytest.mark.parametrize(
    ("raw", "field", "code"),
    [
        (b'{"ticket":2,' + GOOD[1:], "ticket", "duplicate_key"),
        (changed("rules", '{"partial":0.1,"partial":0.2}'), "rules.partial", "duplicate_key"),
        (changed("canary", "1"), "unknown", "extra_forbidden"),
        (changed("rules", '{"canary":1}'), "rules.unknown", "extra_forbidden"),
        (changed("rules", '{"partial":2}'), "rules.partial", "less_than_equal"),
        (changed("\\ud800", "1"), "unknown", "not_text"),
        (b"[]", "body", "model_type"),
        (b"null", "body", "model_type"),
        (b'"canary"', "body", "model_type"),
        (b"17", "body", "model_type"),
        (b"NaN", "body", "not_finite"),
    ],
)
def test_a_bad_shape_is_a_422_that_names_the_place(site: Any, raw: bytes, field: str, code: str) -> None:
    status, _, answer = site.ask("POST", "/orders", body=raw)

    assert status == 422
    assert [(fault["field"], fault["code"]) for fault in msgspec.json.decode(answer)["fields"]] == [(field, code)]
    assert b"canary" not in answer


def test_a_missing_field_and_a_wrong_one_are_told_together(site: Any) -> None:
    _, _, answer = site.ask("POST", "/orders", body=b'{"ticket":1,"symbol":"EURUSD","direction":"UP","volume":0.1}')

    faults = {fault["field"]: fault["code"] for fault in msgspec.json.decode(answer)["fields"]}
    assert faults == {"direction": "literal_error", "entry": "missing"}


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"\xef\xbb\xbf" + GOOD, 400, "body_not_json"),
        (GOOD.decode().encode("utf-16"), 400, "body_not_json"),
        (GOOD.decode().encode("utf-16-le"), 400, "body_not_json"),
        (b"\x00" + GOOD, 400, "body_not_json"),
        (GOOD + b"\x00", 400, "body_not_json"),
        (b'{"symbol":"\xff"}', 400, "body_not_json"),
        (b'{"symbol":"\xed\xa0\x80"}', 400, "body_not_json"),
        (b"{'ticket':1}", 400, "body_not_json"),
        (b'{"ticket":1,}', 400, "body_not_json"),
        (b'{"ticket":01}', 400, "body_not_json"),
        (b'{"ticket":+1}', 400, "body_not_json"),
        (b'{"ticket":0x1}', 400, "body_not_json"),
        (b'{"ticket":\xd9\xa1}', 400, "body_not_json"),
        (b'{"symbol":"a\nb"}', 400, "body_not_json"),
        (GOOD + GOOD, 400, "body_not_json"),
        (b"{", 400, "body_not_json"),
        (b'{"symbol":"', 400, "body_not_json"),
        (b'{"symbol":"\\', 400, "body_not_json"),
        (b"[" * 17 + b"]" * 17, 422, "body_too_complex"),
        (b"[" * 60_000, 422, "body_too_complex"),
        (b'{"a":' * 12_000, 422, "body_too_complex"),
        (b"[" + b'"",' * 20_001 + b"1]", 422, "body_too_complex"),
        (b'"' + b'\\"' * 32_000, 400, "body_not_json"),
        (b" " * (64 * 1024) + GOOD, 413, "body_too_large"),
    ],
)
def test_what_is_no_strict_json_is_a_4xx(site: Any, raw: bytes, status: int, code: str) -> None:
    found, headers, answer = site.ask("POST", "/orders", body=raw)

    assert (found, msgspec.json.decode(answer)["code"]) == (status, code)
    assert dict(headers)["content-type"] == "application/problem+json"
    assert site.orders == []


def test_an_empty_body_is_not_json(site: Any) -> None:
    answer = site.ask("POST", "/orders", {"Content-Type": "application/json"})

    assert (answer[0], msgspec.json.decode(answer[2])["code"]) == (400, "body_not_json")


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "text/json",
    ],
)
def test_another_content_type_is_unsupported(site: Any, kind: str) -> None:
    answer = site.ask("POST", "/orders", {"Content-Type": kind}, GOOD)

    assert (answer[0], msgspec.json.decode(answer[2])["code"]) == (415, "not_json")
    assert site.orders == []


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_json_in_utf8_is_taken(site: Any, kind: str) -> None:
    assert site.ask("POST", "/orders", {"Content-Type": kind}, GOOD)[0] == 201


def test_a_compressed_body_is_unsupported(site: Any) -> None:
    assert site.ask("POST", "/orders", {"Content-Encoding": "gzip"}, GOOD)[0] == 415


def test_a_declared_length_over_the_limit_is_refused_before_anything_is_read(site: Any) -> None:
    answer = site.ask("POST", "/orders", {"Content-Length": str(1 << 40)}, GOOD)

    assert (answer[0], dict(answer[1])["connection"]) == (413, "close")


def test_ten_thousand_tickets_are_one_query_and_one_more_is_too_many(site: Any) -> None:
    first = 9_000_000_000_000_000_000
    tickets = list(range(first, first + 10_000))

    assert msgspec.json.decode(site.ask("POST", "/dtms/states", body=json.dumps({"tickets": tickets}).encode())[2]) == {
        "count": 10_000
    }
    status, _, answer = site.ask("POST", "/dtms/states", body=json.dumps({"tickets": [*tickets, 1]}).encode())
    assert (status, msgspec.json.decode(answer)["fields"][0]["field"]) == (422, "tickets")


def test_a_bad_ticket_among_many_is_named_by_its_place(site: Any) -> None:
    answer = site.ask("POST", "/dtms/states", body=b'{"tickets":[1,2,"canary",4]}')[2]

    assert msgspec.json.decode(answer)["fields"][0]["field"] == "tickets.2"
    assert b"canary" not in answer


def test_a_real_emoji_escape_is_text(site: Any) -> None:
    status, _, answer = site.ask("POST", "/orders", body=changed("symbol", '"\\ud83d\\ude00"'))

    assert (status, msgspec.json.decode(answer)["fields"][0]["code"]) == (422, "string_pattern_mismatch")


class Small(Body):
    ticket: TicketField
    price: PriceField


def outcome(raw: bytes) -> Small | Problem:
    try:
        return body_module.decode(raw, Small)
    except Problem as problem:
        return problem


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_4xx(raw: bytes) -> None:
    found = outcome(raw)

    assert isinstance(found, Small) or 400 <= found.status < 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("price"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["ticket", "price", "x"]), JSON, max_size=3))
def test_any_json_is_accepted_exactly_when_the_model_says_so(members: dict[str, Any]) -> None:
    ticket, price = members.get("ticket"), members.get("price")
    good = (
        set(members) == {"ticket", "price"}
        and type(ticket) is int
        and 0 < ticket < 2**63
        and isinstance(price, int | float)
        and not isinstance(price, bool)
        and 0 < price <= 1e9
    )

    found = outcome(json.dumps(members).encode())

    if good:
        assert isinstance(found, Small)
        assert (found.ticket, found.price) == (ticket, price)
    else:
        assert isinstance(found, Problem)
        assert found.status == 422


@given(st.floats(min_value=5e-324, max_value=1e9))
def test_a_price_arrives_bit_for_bit(price: float) -> None:
    raw = json.dumps({"ticket": 1, "price": price}).encode()

    assert body_module.decode(raw, Small).price == price


def test_a_body_that_never_ends_is_cut_off() -> None:
    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}

    with pytest.raises(Problem) as caught:
        asyncio.run(body_module.read_body(Request(scope, receive), limit=100, timeout_s=0.01))
    assert (caught.value.status, caught.value.code) == (408, "body_too_slow")
    assert caught.value.headers == {"Connection": "close"}


def test_a_chunked_body_is_counted_as_it_comes() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 60, "more_body": True}

    scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}

    with pytest.raises(Problem) as caught:
        asyncio.run(body_module.read_body(Request(scope, receive), limit=100, timeout_s=5))
    assert (caught.value.status, caught.value.code) == (413, "body_too_large")

"""What the ledger writes as JSON reads back as the same value, or is refused."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import types
import typing
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtms.adapters.sql import rows
from dtms.adapters.sql.codec import Codec
from dtms.domain.action import Action, SetStop
from dtms.domain.exits import ExitState
from dtms.domain.intent import Intent
from dtms.domain.policy.exits import PROFILES
from dtms.domain.position import Deal
from dtms.domain.records import AuditEntry, OutboxItem, Reply, StopRecord, TransitionRecord
from dtms.domain.trade import PlanStep, Trade
from dtms.domain.units import Price, Ticket, TradeId
from dtms.errors import InvalidDataError, LedgerUnavailableError

FINITE = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(min_value=1e-9, max_value=1e12)
INT64 = st.integers(-(2**63), 2**63 - 1)
SPECIAL = {
    ("Trade", "r"): POSITIVE,
    ("Trade", "initial_volume"): POSITIVE,
    ("Trade", "volume"): POSITIVE,
    ("Trade", "version"): st.integers(1, 2**40),
}


def values(hint: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Any value of a type hint that the ledger keeps."""
    while isinstance(hint, typing.NewType):
        hint = hint.__supertype__
    simple = {bool: st.booleans(), int: INT64, float: FINITE, str: st.text(max_size=8), types.NoneType: st.none()}
    if hint in simple:
        return simple[hint]
    args = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return st.one_of([values(arg, depth) for arg in args])
    if typing.get_origin(hint) is tuple:
        # A plan's step holds further steps: two levels are as good as ten.
        deep = args[0] is PlanStep and depth > 1
        return st.just(()) if deep else st.lists(values(args[0], depth + 1), max_size=2).map(tuple)
    if issubclass(hint, enum.Enum):
        return st.sampled_from(hint)
    hints = typing.get_type_hints(hint)
    fields = {
        f.name: SPECIAL.get((hint.__name__, f.name), values(hints[f.name], depth)) for f in dataclasses.fields(hint)
    }
    return st.builds(hint, **fields)


@given(trade=values(Trade))
@settings(max_examples=60)
def test_a_trade_reads_back_as_itself_and_is_always_the_same_text(trade: Trade) -> None:
    text = rows.TRADE.dump(trade)
    assert rows.TRADE.load(text) == trade
    assert rows.TRADE.dump(rows.TRADE.load(text)) == text


@given(intent=values(Intent))
@settings(max_examples=60)
def test_an_intent_reads_back_as_itself(intent: Intent) -> None:
    row = rows.INTENT.dump(intent)
    assert rows.INTENT.load(*(row[column] for column in rows.INTENT.columns)) == intent


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        (rows.TRANSITION, TransitionRecord),
        (rows.STOP, StopRecord),
        (rows.DEAL, Deal),
        (rows.ITEM, OutboxItem),
        (rows.REPLY, Reply),
        (rows.AUDIT, AuditEntry),
    ],
)
def test_every_record_reads_back_as_itself(row: rows.Row[Any], hint: type[Any]) -> None:
    @given(record=values(hint))
    @settings(max_examples=25)
    def reads_back(record: Any) -> None:
        written = row.dump(record)
        assert row.load(*(written[column] for column in row.columns)) == record

    reads_back()


@pytest.mark.parametrize("name", PROFILES)
def test_exit_rules_read_back_as_themselves(name: str) -> None:
    book = ExitState(
        trade_id=TradeId("1"), ticket=Ticket(1), profile_name=name, profile=PROFILES[name], best=1.5, seq=3
    )
    assert rows.BOOK.load(rows.BOOK.dump(book)) == book


def test_json_is_canonical(make_trade: Callable[..., Trade]) -> None:
    text = rows.TRADE.dump(make_trade(1, entry=1))
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert '"entry":1.0' in text


def test_an_action_is_tagged_by_its_class() -> None:
    codec: Codec[Action] = Codec(Action, "action")
    text = codec.dump(SetStop(ticket=Ticket(1), stop=Price(1.5), target=None))
    assert text == '{"stop":1.5,"target":null,"ticket":1,"type":"SetStop","widens":false}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1.0", True])
def test_a_price_that_is_no_finite_number_is_refused_when_written(
    make_trade: Callable[..., Trade], value: object
) -> None:
    with pytest.raises(InvalidDataError, match="trade cannot be written: in Trade"):
        rows.TRADE.dump(make_trade(1, entry=value))
    with pytest.raises(InvalidDataError, match="trade cannot be written: in Trade"):
        rows.TRADE.dump(make_trade(1, stop=value))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"r": -1.0}, "R is -1.0"),
        ({"entry": None}, "Trade.entry: None is not a finite number"),
        ({"ticket": 1.0}, "Trade.ticket: 1.0 is not of type int"),
        ({"ticket": True}, "Trade.ticket: True is not of type int"),
        ({"state": "SLEEPING"}, "Trade.state: 'SLEEPING' is no TradeState"),
        ({"legs": [{"kind": "hedge"}]}, "Trade.legs: .*missing"),
        ({"legs": 5}, "Trade.legs"),
        ({"surprise": 1}, "Trade.surprise: unknown field"),
        ({"marks": []}, "Trade.marks"),
    ],
)
def test_a_body_that_cannot_be_true_is_refused_when_read(
    make_trade: Callable[..., Trade], change: dict[str, object], reason: str
) -> None:
    body = {**json.loads(rows.TRADE.dump(make_trade(1))), **change}
    with pytest.raises(InvalidDataError, match=reason):
        rows.TRADE.load(json.dumps(body))


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '"x"', '{"type":"Explode"}', '{"type":["SetStop"]}'])
def test_what_is_no_action_is_refused(text: str) -> None:
    codec: Codec[Action] = Codec(Action, "action")
    with pytest.raises(InvalidDataError, match="action cannot be read back"):
        codec.load(text)


def test_a_row_that_cannot_be_trusted_makes_the_ledger_unavailable() -> None:
    with pytest.raises(LedgerUnavailableError, match="restore it from a backup"):
        rows.read_rows(rows.TRADE.load, [("{}",)])


def test_a_type_without_a_plain_form_is_refused_when_the_codec_is_built() -> None:
    for hint in (set[int], int | str, object):
        with pytest.raises(TypeError, match=r"no codec for|only dataclasses are tagged"):
            Codec(hint, "thing")

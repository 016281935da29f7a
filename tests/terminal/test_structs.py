"""The package's structs and constants: fields, shape, and what they refuse."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal import structs
from dtms_lab.terminal.desk import SimDesk
from dtms_lab.terminal.structs import FIELDS, Struct, Tick


def test_fields_are_those_of_the_wheel_in_their_order(shared_data: Path) -> None:
    wheel = json.loads((shared_data.parent / "reference" / "mt5_structs.json").read_text())
    assert {name: list(fields) for name, fields in FIELDS.items()} == wheel


def test_every_struct_of_the_table_is_made() -> None:
    assert {name for name in FIELDS if issubclass(getattr(structs, name), Struct)} == set(FIELDS)


def test_a_struct_is_a_tuple_with_attributes_and_a_dictionary() -> None:
    tick = Tick((1, 1.1, 1.2, 0.0, 0, 1000, 6, 0.0))
    assert tuple(tick) == (1, 1.1, 1.2, 0.0, 0, 1000, 6, 0.0)
    assert (tick.bid, tick.time_msc) == (1.1, 1000)
    assert tick._asdict() == {
        "time": 1,
        "bid": 1.1,
        "ask": 1.2,
        "last": 0.0,
        "volume": 0,
        "time_msc": 1000,
        "flags": 6,
        "volume_real": 0.0,
    }
    assert repr(tick).startswith("Tick(time=1, bid=1.1, ask=1.2,")


def test_a_struct_has_neither_fields_nor_replace() -> None:
    tick: Any = Tick((1, 1.1, 1.2, 0.0, 0, 1000, 6, 0.0))
    assert not hasattr(tick, "_fields")
    assert not hasattr(tick, "_replace")
    with pytest.raises(AttributeError):
        tick.bid = 2.0


def test_a_struct_cannot_be_pickled() -> None:
    with pytest.raises(pickle.PicklingError, match="Tick on builtins failed"):
        pickle.dumps(Tick((1, 1.1, 1.2, 0.0, 0, 1000, 6, 0.0)))


def test_a_struct_refuses_another_number_of_values() -> None:
    with pytest.raises(TypeError, match="takes a 8-sequence"):
        Tick((1, 1.1))


def test_the_result_carries_the_request_as_a_struct() -> None:
    desk = SimDesk()
    desk.quote("EURUSD", 1.1)
    result = desk.buy("EURUSD", 0.1, comment="tag", magic=7)
    assert type(result).__name__ == "OrderSendResult"
    assert type(result.request).__name__ == "TradeRequest"
    assert result._asdict()["request"]._asdict()["comment"] == "tag"


def test_constants_are_attributes_of_the_terminal() -> None:
    terminal = SimDesk().terminal
    assert (terminal.TRADE_ACTION_SLTP, terminal.TRADE_RETCODE_DONE) == (6, 10009)
    assert (terminal.TIMEFRAME_H1, terminal.TIMEFRAME_D1) == (16385, 16408)
    assert (Mt5.RES_E_INTERNAL_FAIL_RECEIVE, Mt5.RES_E_INTERNAL_FAIL_CONNECT) == (-10002, -10004)
    assert not hasattr(terminal, "SYMBOL_FILLING_FOK")
    assert not hasattr(terminal, "TRADE_RETCODE_HEDGE_PROHIBITED")

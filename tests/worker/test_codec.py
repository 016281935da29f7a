"""What crosses the border to the child arrives equal, and an error arrives as itself."""

from __future__ import annotations

import os
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms import errors
from dtms.adapters.worker import faulty, methods
from dtms.adapters.worker.faults import KINDS, error_from_wire, error_to_wire
from dtms.adapters.worker.frames import MAX_FRAME, ErrorWire, FrameError, encode, read_frame, write_frame
from dtms.domain.action import Action, ActionKind, SetStop, kind_of
from dtms.domain.position import Deal, Position, PositionsRead
from dtms.domain.receipt import Receipt
from dtms.domain.units import Price, Ticket
from dtms.errors import BrokerRejectedError, BrokerUnavailableError, DtmsError, PositionGoneError

FINITE = st.floats(allow_nan=False)
st.register_type_strategy(float, FINITE)
st.register_type_strategy(int, st.integers(-(2**63), 2**64 - 1))


@given(st.one_of([st.from_type(kind) for kind in get_args(Action)]), st.none() | st.from_type(Position), st.text())
def test_every_order_arrives_as_it_was_sent(action: Any, position: Position | None, tag: str) -> None:
    raw = msgspec.Raw(methods.order_to_wire(action, position, tag))
    arrived = methods.order_from_wire(raw)
    assert arrived == (action, position, tag)
    assert type(arrived[0]) is type(action)


@given(st.from_type(Receipt), st.from_type(PositionsRead), st.lists(st.from_type(Deal)).map(tuple))
def test_answers_arrive_as_they_were_given(receipt: Receipt, read: PositionsRead, deals: tuple[Deal, ...]) -> None:
    assert methods.receipt_of(msgspec.Raw(encode(receipt))) == receipt
    assert methods.POSITIONS.result_of(msgspec.Raw(encode(read))) == read
    assert methods.DEALS.result_of(msgspec.Raw(encode(deals))) == deals


def test_every_action_has_its_word_in_the_table() -> None:
    assert set(methods.ACTIONS) == set(ActionKind)
    assert set(methods.ACTIONS.values()) == set(get_args(Action))
    stop = SetStop(ticket=Ticket(1), stop=Price(1.1), target=None)
    assert methods.ACTIONS[kind_of(stop)] is SetStop


def test_numpys_numbers_arrive_as_pythons() -> None:
    assert msgspec.msgpack.decode(encode((np.float64(1.1), np.int64(7), np.uint64(2**64 - 1)))) == [1.1, 7, 2**64 - 1]
    with pytest.raises(NotImplementedError, match="ndarray has no place in an answer of a broker"):
        encode(np.zeros(3))


@pytest.mark.parametrize("kind", list(KINDS.values()), ids=list(KINDS))
def test_each_of_our_errors_comes_back_as_itself(kind: type[DtmsError]) -> None:
    rejected = issubclass(kind, BrokerRejectedError)
    fields: dict[str, Any] = {"rejection": "frozen", "code": 10029} if rejected else {}
    error = kind("why", **fields)
    back = error_from_wire(msgspec.msgpack.decode(encode(error_to_wire(error)), type=ErrorWire))
    assert type(back) is kind
    assert (str(back), vars(back)) == ("why", vars(error))


def test_the_table_of_errors_is_the_whole_tree() -> None:
    tree = {DtmsError}
    while more := {sub for kind in tree for sub in kind.__subclasses__() if sub.__module__ == errors.__name__} - tree:
        tree |= more
    assert set(KINDS.values()) == tree


def test_an_adapters_own_error_comes_back_as_the_nearest_of_ours_and_a_foreign_one_as_none() -> None:
    class GoneForeverError(PositionGoneError):
        def __init__(self) -> None:
            super().__init__("gone", rejection="position_gone", code=10036)
            self.detail = object()

    back = error_from_wire(error_to_wire(GoneForeverError()))
    assert isinstance(back, PositionGoneError)
    assert (type(back), back.rejection, back.code) == (PositionGoneError, "position_gone", 10036)
    assert error_from_wire(error_to_wire(KeyError("x"))) is None
    assert error_to_wire(KeyError("x")) == ErrorWire("", "KeyError: 'x'", {})
    assert len(error_to_wire(BrokerUnavailableError("x" * 10_000)).message) == 2_000


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        ((MAX_FRAME + 1).to_bytes(4, "big"), "at most 67108864 are allowed"),
        (b"\x00\x00", "the stream ended after 2 of 4 bytes"),
        (b"\x00\x00\x00\x02", "the stream ended before the 2 bytes"),
        (b"\x00\x00\x00\x02x", "the stream ended after 1 of 2 bytes"),
    ],
)
def test_a_broken_stream_is_no_frame(stream: bytes, why: str) -> None:
    source, sink = os.pipe()
    os.write(sink, stream)
    os.close(sink)
    with pytest.raises(FrameError, match=why):
        read_frame(source)
    os.close(source)


def test_a_frame_is_read_as_it_was_written_and_the_end_between_two_is_the_end() -> None:
    source, sink = os.pipe()
    write_frame(sink, b"\x00\x00\x00\x02ab\x00\x00\x00\x00")
    os.close(sink)
    assert [read_frame(source) for _ in range(3)] == [b"ab", b"", None]
    os.close(source)


def test_the_faulty_brokers_facts_can_be_true() -> None:
    assert faulty.deal(501).position == faulty.position().identifier

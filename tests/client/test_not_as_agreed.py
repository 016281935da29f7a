"""Answers that are not as agreed are no answers: refused, tried once more, and then the last known state serves."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.client import DtmsClient, Source
from dtms.client.fake import FakeDtms, FakeTrade, ManualClock, body_fault, status_fault
from dtms.client.wire import NoAnswerError, Reply, read_states, read_trade
from dtms.domain.trade import TradeState

HEDGED = FakeTrade(state=TradeState.HEDGED, version=7)

BAD_BODIES = {
    "empty": b"",
    "html": b"<html></html>",
    "cut short": b'{"ticket":1,"state":"HEALT',
    "two answers": b'{"ticket":1,"state":"HEALTHY"}{}',
    "byte order mark": b'\xef\xbb\xbf{"ticket":1,"state":"HEALTHY"}',
    "utf-16": '{"ticket":1,"state":"HEALTHY"}'.encode("utf-16"),
    "a list": b"[]",
    "null": b"null",
    "no state": b'{"ticket":1}',
    "state null": b'{"ticket":1,"state":null}',
    "unknown state": b'{"ticket":1,"state":"ASLEEP"}',
    "state in small letters": b'{"ticket":1,"state":"hedged"}',
    "nested state": b'{"ticket":1,"trade":{"state":"HEDGED"}}',
    "no ticket": b'{"state":"HEALTHY"}',
    "another trade": b'{"ticket":2,"state":"HEALTHY"}',
    "ticket as text": b'{"ticket":"1","state":"HEALTHY"}',
    "ticket as float": b'{"ticket":1.0,"state":"HEALTHY"}',
    "ticket as boolean": b'{"ticket":true,"state":"HEALTHY"}',
    "defensive as text": b'{"ticket":1,"state":"HEALTHY","defensive":"no"}',
    "defensive as number": b'{"ticket":1,"state":"HEALTHY","defensive":0}',
    "defensive null": b'{"ticket":1,"state":"HEALTHY","defensive":null}',
    "unknown pending": b'{"ticket":1,"state":"HEALTHY","pending_to":"X"}',
    "version NaN": b'{"ticket":1,"state":"HEALTHY","version":NaN}',
    "version negative": b'{"ticket":1,"state":"HEALTHY","version":-1}',
    "version infinite": b'{"ticket":1,"state":"HEALTHY","version":1e400}',
    "version as text": b'{"ticket":1,"state":"HEALTHY","version":"8"}',
    "a price NaN": b'{"ticket":1,"state":"HEALTHY","profit":NaN}',
    "a price infinite": b'{"ticket":1,"state":"HEALTHY","profit":Infinity}',
    "deep nesting": b'{"ticket":1,"state":"HEALTHY","x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_bad_answer_counts_as_unreachable_and_is_tried_twice(
    client: DtmsClient, server: FakeDtms, clock: ManualClock, body: bytes
) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    clock.advance_ms(10_000)
    server.received.clear()
    server.fault = body_fault(body)
    answer = client.state(1)
    assert (answer.source, answer.defensive, answer.version) == (Source.LAST_KNOWN, True, 7)
    assert len(server.received) == 2


def test_fields_that_the_contract_does_not_name_do_no_harm(client: DtmsClient, server: FakeDtms) -> None:
    server.fault = body_fault(
        b'{"ticket":1,"state":"HEDGED","defensive":true,"version":1,"epoch":"e","score":{"total":-7}}'
    )
    assert (client.state(1).source, client.is_defensive(1)) == (Source.LIVE, True)


def test_the_field_defensive_decides_where_it_is_given(client: DtmsClient, server: FakeDtms) -> None:
    server.fault = body_fault(b'{"ticket":1,"state":"WARNING_L1","pending_to":"WARNING_L2","defensive":true}')
    assert client.is_defensive(1) is True


def test_a_lower_version_of_the_same_epoch_is_refused(client: DtmsClient, server: FakeDtms, clock: ManualClock) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    clock.advance_ms(10_000)
    server.trades[1] = FakeTrade(state=TradeState.HEALTHY, version=6)
    answer = client.state(1)
    assert (answer.source, answer.version, answer.defensive) == (Source.LAST_KNOWN, 7, True)
    assert (len(server.received), client.stats.refused_versions) == (3, 2)
    assert client.states([1])[1].source is Source.LAST_KNOWN


def test_a_lower_version_of_a_new_epoch_is_believed(client: DtmsClient, server: FakeDtms, clock: ManualClock) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    clock.advance_ms(10_000)
    server.epoch = "epoch-2"
    server.trades[1] = FakeTrade(state=TradeState.HEALTHY, version=1)
    answer = client.state(1)
    assert (answer.source, answer.version, answer.epoch) == (Source.LIVE, 1, "epoch-2")


def test_a_version_is_remembered_longer_than_the_state(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    clock.advance_ms(3_600_000)
    server.trades[1] = FakeTrade(state=TradeState.HEALTHY, version=6)
    assert client.state(1).source is Source.DEFAULT


def test_the_same_version_again_is_believed(client: DtmsClient, server: FakeDtms, clock: ManualClock) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    clock.advance_ms(10_000)
    assert client.state(1).source is Source.LIVE


@given(
    answers=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 5), st.sampled_from(list(TradeState))),
        min_size=1,
        max_size=12,
    )
)
def test_no_answer_within_an_epoch_is_ever_older_than_one_given_before(
    answers: list[tuple[str, int, TradeState]],
) -> None:
    clock = ManualClock()
    server = FakeDtms(clock)
    client = DtmsClient(now_ns=clock.now_ns, sleep=clock.sleep, transport=server, on_warning=lambda _text: None)
    highest: dict[str, int] = {}
    for epoch, version, state in answers:
        server.epoch, server.trades[1] = epoch, FakeTrade(state=state, version=version)
        answer = client.state(1)
        assert (answer.source is Source.LIVE) is (version >= highest.get(epoch, 0))
        if answer.source is Source.LIVE:
            highest[epoch] = version
            assert (answer.state, answer.version, answer.epoch) == (state, version, epoch)
        clock.advance_ms(31_000)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(list(TradeState)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["ticket", "state", "pending_to", "defensive", "version", "epoch", "states", "unknown", "1"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@given(content=JSON, status=st.integers(100, 599))
def test_whatever_the_server_sends_is_an_answer_for_this_trade_or_none(content: object, status: int) -> None:
    reply = Reply(status=status, body=msgspec.json.encode(content))
    for read in (lambda: read_trade(reply, 1, 0), lambda: read_states(reply, [1], 0)):
        try:
            read()
        except NoAnswerError:
            continue


@given(body=st.binary(max_size=64), status=st.sampled_from([200, 404, 500]))
def test_any_bytes_at_all_give_an_answer_and_no_exception(body: bytes, status: int) -> None:
    clock = ManualClock()
    server = FakeDtms(clock)
    server.trades[1] = FakeTrade(state=TradeState.HEDGED)
    client = DtmsClient(now_ns=clock.now_ns, sleep=clock.sleep, transport=server, on_warning=lambda _text: None)
    assert client.is_defensive(1) is True, "the same client believes a good answer"
    clock.advance_ms(31_000)
    server.fault = status_fault(status, body)
    assert client.is_defensive(1) is False
    assert client.states([2])[2].defensive is False

"""Many trades: one request a cycle while the server answers, one failed question a cycle while it does not."""

from __future__ import annotations

import msgspec
import pytest

from dtms.client import DtmsClient, Source
from dtms.client.fake import FakeDtms, FakeTrade, ManualClock, body_fault, json_reply, refuse, status_fault
from dtms.client.wire import Reply, Request
from dtms.domain.trade import TradeState

HEDGED = FakeTrade(state=TradeState.HEDGED, version=7)
HEALTHY = FakeTrade(state=TradeState.HEALTHY, version=3)


def test_all_tickets_of_a_cycle_are_asked_in_one_request(client: DtmsClient, server: FakeDtms) -> None:
    server.trades |= {1: HEDGED, 2: HEALTHY}
    answers = client.states([1, 2, 3, 2])
    assert {t: (a.defensive, a.state, a.source) for t, a in answers.items()} == {
        1: (True, "HEDGED", Source.LIVE),
        2: (False, "HEALTHY", Source.LIVE),
        3: (False, None, Source.LIVE),
    }
    assert [(r.method, r.path) for r in server.received] == [("POST", "/dtms/states")]
    assert msgspec.json.decode(server.received[0].body or b"") == {"tickets": [1, 2, 3]}


def test_only_what_is_not_fresh_is_asked(client: DtmsClient, server: FakeDtms, clock: ManualClock) -> None:
    server.trades |= {1: HEDGED, 2: HEALTHY}
    client.state(1)
    assert {t: a.source for t, a in client.states([1, 2]).items()} == {1: Source.CACHE, 2: Source.LIVE}
    assert msgspec.json.decode(server.received[-1].body or b"") == {"tickets": [2]}
    client.states([1, 2])
    assert client.is_defensive(1) is True
    assert len(server.received) == 2


def test_nothing_to_ask_asks_nothing(client: DtmsClient, server: FakeDtms) -> None:
    assert client.states([]) == {}
    assert server.received == []


def test_more_tickets_than_a_request_takes_are_asked_in_several(client: DtmsClient, server: FakeDtms) -> None:
    server.trades[25_000] = HEDGED
    answers = client.states(range(1, 25_001))
    assert [t for t, a in answers.items() if a.defensive] == [25_000]
    assert {a.source for a in answers.values()} == {Source.LIVE}
    sizes = [len(msgspec.json.decode(r.body or b"")["tickets"]) for r in server.received]
    assert sizes == [10_000, 10_000, 5_000]


@pytest.mark.parametrize("trades", [1, 1_000, 30_000])
def test_an_outage_costs_a_cycle_one_probe_however_many_trades_there_are(
    client: DtmsClient, server: FakeDtms, trades: int
) -> None:
    server.fault = server.hang
    start = server.clock.now_ns()
    client.begin_cycle()
    answers = client.states(range(1, trades + 1))
    for ticket in range(1, trades + 1):
        assert client.is_defensive(ticket) is False
    assert {a.source for a in answers.values()} == {Source.DEFAULT}
    assert (len(server.received), client.stats.probes) == (2, 1)
    assert server.clock.now_ns() - start == 4_500_000_000


def test_tickets_asked_one_by_one_cost_an_outage_one_probe_a_cycle_too(client: DtmsClient, server: FakeDtms) -> None:
    server.fault = refuse
    for cycle in (1, 2, 3):
        client.begin_cycle()
        for ticket in range(1, 1_001):
            client.is_defensive(ticket)
        assert client.stats.probes == cycle
    assert client.stats.withheld == 3 * 999


def test_a_new_cycle_asks_again_and_a_good_answer_opens_the_way_for_all(client: DtmsClient, server: FakeDtms) -> None:
    server.trades |= {1: HEDGED, 2: HEDGED}
    server.fault = refuse
    client.begin_cycle()
    client.is_defensive(1)
    server.fault = None
    assert client.is_defensive(2) is False
    client.begin_cycle()
    assert (client.is_defensive(1), client.is_defensive(2)) == (True, True)


def test_without_cycles_a_failure_keeps_other_trades_from_asking_for_one_second(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    server.fault = refuse
    for ticket in range(1, 1_001):
        client.is_defensive(ticket)
    assert client.stats.probes == 1
    server.fault = None
    server.trades[2] = HEDGED
    clock.advance_ms(999)
    assert client.is_defensive(2) is False
    clock.advance_ms(1)
    assert client.is_defensive(2) is True


def test_without_cycles_the_same_question_again_is_taken_for_the_next_cycle(
    client: DtmsClient, server: FakeDtms
) -> None:
    server.trades[1] = HEDGED
    server.fault = refuse
    client.is_defensive(1)
    server.fault = None
    assert client.is_defensive(1) is True


def test_a_cycle_that_died_does_not_silence_the_others_for_ever(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    client.begin_cycle()
    server.fault = refuse
    client.is_defensive(1)
    server.fault = None
    server.trades[1] = HEDGED
    clock.advance_ms(9_999)
    assert client.is_defensive(1) is False
    clock.advance_ms(1)
    assert client.is_defensive(1) is True


def test_each_trade_falls_back_on_its_own_last_known_state(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    server.trades |= {1: HEDGED, 2: HEALTHY}
    client.states([1])
    clock.advance_ms(12_000)
    client.states([2])
    clock.advance_ms(15_000)
    server.fault = refuse
    assert {t: (a.source, a.age_ms) for t, a in client.states([1, 2, 3]).items()} == {
        1: (Source.LAST_KNOWN, 27_500),
        2: (Source.LAST_KNOWN, 15_500),
        3: (Source.DEFAULT, None),
    }


def batch_without(server: FakeDtms, ticket: int, entry: object) -> object:
    def fault(request: Request) -> Reply:
        content = msgspec.json.decode(server.answer(request).body)
        content["states"].pop(str(ticket), None)
        if entry is not None:
            content["states"][str(ticket)] = entry
        return json_reply(content)

    return fault


@pytest.mark.parametrize("entry", [None, {"state": "ASLEEP"}, {"state": "HEDGED", "version": -1}, {}, 3])
def test_one_bad_entry_costs_no_other_trade_its_answer_and_only_it_is_asked_again(
    client: DtmsClient, server: FakeDtms, clock: ManualClock, entry: object
) -> None:
    server.trades |= {1: HEDGED, 2: HEDGED}
    client.states([1, 2])
    clock.advance_ms(10_000)
    server.fault = batch_without(server, 1, entry)  # type: ignore[assignment]
    answers = client.states([1, 2])
    assert {t: a.source for t, a in answers.items()} == {1: Source.LAST_KNOWN, 2: Source.LIVE}
    asked = [msgspec.json.decode(r.body or b"")["tickets"] for r in server.received]
    assert asked == [[1, 2], [1, 2], [1]]


def test_an_answer_that_contradicts_itself_about_a_trade_is_not_believed(client: DtmsClient, server: FakeDtms) -> None:
    server.fault = body_fault(b'{"epoch":"e","states":{"1":{"state":"HEALTHY","version":1}},"unknown":[1]}')
    assert client.states([1])[1].source is Source.DEFAULT


def test_a_foreign_404_on_the_batch_route_says_nothing_about_any_trade(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    clock.advance_ms(10_000)
    server.fault = status_fault(404)
    assert client.states([1])[1].source is Source.LAST_KNOWN
    assert len(server.received) == 2


def test_a_trade_whose_own_answer_is_bad_does_not_stop_the_others(client: DtmsClient, server: FakeDtms) -> None:
    server.trades |= {2: HEDGED, 3: HEDGED}
    client.begin_cycle()
    server.faults.extend([body_fault(b'{"ticket":9,"state":"HEALTHY"}')] * 2)
    assert [client.state(t).source for t in (1, 2, 3)] == [Source.DEFAULT, Source.LIVE, Source.LIVE]


@pytest.mark.parametrize(("status", "probes"), [(401, 1), (403, 1), (429, 1), (503, 1), (400, 2), (422, 2)])
def test_a_refusal_of_the_service_stops_the_cycle_one_of_a_single_trade_does_not(
    client: DtmsClient, server: FakeDtms, status: int, probes: int
) -> None:
    server.trades[2] = HEDGED
    server.faults.extend([status_fault(status)] * (2 if status == 503 else 1))
    client.begin_cycle()
    client.state(1)
    assert client.is_defensive(2) is (probes == 2)
    assert client.stats.probes == probes


def test_two_trades_with_bad_answers_of_their_own_are_an_outage(client: DtmsClient, server: FakeDtms) -> None:
    server.fault = body_fault(b'{"ticket":5000,"state":"HEALTHY"}')
    client.begin_cycle()
    for ticket in range(1, 1_001):
        client.is_defensive(ticket)
    assert client.stats.probes == 2


def test_one_lasting_bad_trade_among_good_ones_is_one_warning_not_one_a_cycle(
    client: DtmsClient, server: FakeDtms, clock: ManualClock, warned: list[str]
) -> None:
    server.trades |= {1: HEDGED, 2: HEDGED}
    server.fault = batch_without(server, 1, {"state": "ASLEEP"})  # type: ignore[assignment]
    for _ in range(5):
        client.begin_cycle()
        client.states([1, 2])
        clock.advance_ms(10_000)
    assert len(warned) == 1
    assert (client.stats.default, client.outage) == (5, None)

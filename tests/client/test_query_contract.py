"""The contract table, line by line, on virtual time; every test runs on the blocking and on the asynchronous client."""

from __future__ import annotations

import msgspec
import pytest

from dtms.client import DtmsClient, Source
from dtms.client.contract import SECOND_NS
from dtms.client.fake import FakeDtms, FakeTrade, Fault, ManualClock, body_fault, refuse, status_fault
from dtms.domain.trade import TradeState

HEDGED = FakeTrade(state=TradeState.HEDGED, version=7)
HEALTHY = FakeTrade(state=TradeState.HEALTHY, version=3)


def is_down(server: FakeDtms, fault: Fault = refuse) -> None:
    server.fault = fault


def test_one_trade_is_asked_for_at_the_address_of_the_contract(client: DtmsClient, server: FakeDtms) -> None:
    server.trades[42] = HEDGED
    assert client.is_defensive(42) is True
    assert [(r.method, r.path, r.body) for r in server.received] == [("GET", "/dtms/trade/42", None)]


@pytest.mark.parametrize("state", list(TradeState))
def test_only_hedged_and_warning_l2_are_defensive(client: DtmsClient, server: FakeDtms, state: TradeState) -> None:
    server.trades[1] = FakeTrade(state=state)
    assert client.is_defensive(1) is (state in {TradeState.HEDGED, TradeState.WARNING_L2})


@pytest.mark.parametrize(
    ("state", "pending_to", "expected"),
    [
        (TradeState.WARNING_L1, TradeState.WARNING_L2, True),
        (TradeState.HEDGED, TradeState.RECOVERING, True),
        (TradeState.HEALTHY, TradeState.WARNING_L1, False),
    ],
)
def test_a_transition_under_way_counts_on_both_sides(
    client: DtmsClient, server: FakeDtms, state: TradeState, pending_to: TradeState, expected: bool
) -> None:
    server.trades[1] = FakeTrade(state=state, pending_to=pending_to)
    assert client.is_defensive(1) is expected


@pytest.mark.parametrize(("state", "expected"), [("HEDGED", True), ("WARNING_L2", True), ("WARNING_L1", False)])
def test_without_the_field_the_state_alone_decides(
    client: DtmsClient, server: FakeDtms, state: str, expected: bool
) -> None:
    server.fault = body_fault(msgspec.json.encode({"ticket": 1, "state": state, "pending_to": "HEDGED"}))
    assert client.is_defensive(1) is expected


@pytest.mark.parametrize(
    ("age_ms", "source"),
    [(0, Source.CACHE), (9_999, Source.CACHE), (10_000, Source.LIVE), (10_001, Source.LIVE)],
)
def test_an_answer_is_fresh_under_ten_seconds(
    client: DtmsClient, server: FakeDtms, clock: ManualClock, age_ms: int, source: Source
) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    server.received.clear()
    clock.advance_ms(age_ms)
    assert (client.state(1).source, len(server.received)) == (source, int(source is Source.LIVE))


@pytest.mark.parametrize(
    ("age_ms", "source"),
    [
        (0, Source.CACHE),
        (9_999, Source.CACHE),
        (10_000, Source.LAST_KNOWN),
        (29_999, Source.LAST_KNOWN),
        (30_000, Source.LAST_KNOWN),
        (30_001, Source.DEFAULT),
    ],
)
def test_the_last_known_state_serves_until_thirty_seconds_and_no_longer(
    client: DtmsClient, server: FakeDtms, clock: ManualClock, age_ms: int, source: Source
) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    is_down(server, status_fault(503))
    # The failing question takes the wait of half a second, where it is asked at all.
    clock.advance_ms(age_ms if age_ms <= 10_000 else age_ms - 500)
    answer = client.state(1)
    assert (answer.source, answer.defensive) == (source, source is not Source.DEFAULT)
    if age_ms > 10_000 and source is Source.LAST_KNOWN:
        assert answer.age_ms == age_ms


def test_the_thirtieth_second_is_exact_to_the_nanosecond(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    is_down(server, status_fault(401))
    clock.sleep(30)
    assert client.state(1).source is Source.LAST_KNOWN
    clock.sleep(1e-9)
    assert client.state(1).source is Source.DEFAULT


def test_ages_run_from_the_sending_not_from_the_receipt(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    server.trades[1] = HEDGED
    server.latency_s = 1.5
    assert client.state(1).age_ms == 1_500
    clock.advance_ms(8_499)
    assert client.state(1).source is Source.CACHE
    clock.advance_ms(1)
    assert client.state(1).source is Source.LIVE


def test_the_age_of_a_last_known_state_counts_the_time_that_the_failing_question_took(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    is_down(server, server.hang)
    clock.advance_ms(28_000)
    assert client.state(1).source is Source.DEFAULT


@pytest.mark.parametrize("status", [500, 502, 503, 504, 204, 301, 304])
def test_a_server_error_or_an_answer_not_as_agreed_is_tried_exactly_twice_half_a_second_apart(
    client: DtmsClient, server: FakeDtms, status: int
) -> None:
    is_down(server, status_fault(status))
    assert client.is_defensive(1) is False
    first, second = (r.at_ns for r in server.received)
    assert second - first == SECOND_NS // 2


@pytest.mark.parametrize("status", [400, 401, 403, 405, 422, 429])
def test_other_client_errors_are_not_tried_again(client: DtmsClient, server: FakeDtms, status: int) -> None:
    is_down(server, status_fault(status))
    assert client.is_defensive(1) is False
    assert len(server.received) == 1


def test_the_second_attempt_starts_half_a_second_after_the_first_ended(client: DtmsClient, server: FakeDtms) -> None:
    is_down(server, server.hang)
    start = server.clock.now_ns()
    client.is_defensive(1)
    assert [r.at_ns - start for r in server.received] == [0, 2_500_000_000]
    assert server.clock.now_ns() - start == 4_500_000_000


def test_a_good_second_attempt_is_a_live_answer(client: DtmsClient, server: FakeDtms, warned: list[str]) -> None:
    server.trades[1] = HEDGED
    server.faults.append(refuse)
    assert client.state(1).source is Source.LIVE
    assert warned == []


@pytest.mark.parametrize("status", [401, 429, 500, 502, 503, 504])
def test_the_last_known_state_serves_while_the_server_refuses(
    client: DtmsClient, server: FakeDtms, clock: ManualClock, status: int
) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    clock.advance_ms(12_000)
    is_down(server, status_fault(status))
    assert (client.state(1).source, client.is_defensive(1)) == (Source.LAST_KNOWN, True)


def test_not_in_dtms_is_not_defensive_and_is_cached_for_ten_seconds(
    client: DtmsClient, server: FakeDtms, clock: ManualClock, warned: list[str]
) -> None:
    answer = client.state(5)
    assert (answer.state, answer.defensive, answer.source) == (None, False, Source.LIVE)
    clock.advance_ms(9_999)
    assert client.state(5).source is Source.CACHE
    clock.advance_ms(1)
    assert client.state(5).source is Source.LIVE
    assert (len(server.received), warned) == (2, [])


def test_not_in_dtms_clears_the_last_known_state(client: DtmsClient, server: FakeDtms, clock: ManualClock) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    clock.advance_ms(10_000)
    del server.trades[1]
    client.state(1)
    clock.advance_ms(10_000)
    is_down(server)
    assert (client.state(1).source, client.is_defensive(1)) == (Source.DEFAULT, False)


def test_a_404_without_our_code_means_the_same_and_warns(
    client: DtmsClient, server: FakeDtms, clock: ManualClock, warned: list[str]
) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    clock.advance_ms(10_000)
    is_down(server, status_fault(404, b"<html>nginx</html>"))
    assert (client.state(1).source, client.is_defensive(1), len(server.received)) == (Source.LIVE, False, 2)
    assert len(warned) == 1
    assert "404" in warned[0]
    clock.advance_ms(10_000)
    is_down(server)
    assert client.state(1).source is Source.DEFAULT
    assert client.stats.foreign_404 == 1


def test_a_trade_that_comes_back_after_a_404_may_start_at_a_lower_version(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    clock.advance_ms(10_000)
    del server.trades[1]
    client.state(1)
    clock.advance_ms(10_000)
    server.trades[1] = FakeTrade(state=TradeState.WARNING_L2, version=1)
    assert (client.state(1).source, client.is_defensive(1)) == (Source.LIVE, True)


def test_nothing_known_is_not_defensive_with_one_warning_an_outage_and_every_default_counted(
    client: DtmsClient, server: FakeDtms, warned: list[str], clock: ManualClock
) -> None:
    server.trades[1] = HEALTHY
    is_down(server)
    for _ in range(5):
        assert client.is_defensive(1) is False
        clock.advance_ms(5_000)
    assert (len(warned), client.stats.default) == (1, 5)
    assert "not defensive" in warned[0]
    server.fault = None
    client.is_defensive(1)
    clock.advance_ms(40_000)
    is_down(server)
    client.is_defensive(1)
    assert (len(warned), client.stats.default) == (2, 6)


def test_an_outage_that_the_last_known_state_bridges_needs_no_warning(
    client: DtmsClient, server: FakeDtms, clock: ManualClock, warned: list[str]
) -> None:
    server.trades[1] = HEDGED
    client.state(1)
    clock.advance_ms(15_000)
    is_down(server)
    client.state(1)
    assert (warned, client.stats.last_known) == ([], 1)
    assert client.outage is not None
    server.fault = None
    client.state(1)
    assert client.outage is None


@pytest.mark.parametrize("ticket", [0, -1, 2**63, "7", None, True, 1.0])
def test_what_is_no_ticket_is_never_asked_about_and_never_an_exception(
    client: DtmsClient, server: FakeDtms, ticket: object
) -> None:
    assert client.is_defensive(ticket) is False  # type: ignore[arg-type]
    assert [a.source for a in client.states([ticket]).values()] == [Source.DEFAULT]  # type: ignore[list-item]
    assert (server.received, client.stats.bad_tickets) == ([], 2)


def test_a_transport_that_breaks_its_promise_is_never_an_exception(client: DtmsClient, server: FakeDtms) -> None:
    def explode(_request: object) -> object:
        raise KeyError("bug")

    server.fault = explode  # type: ignore[assignment]
    assert client.state(1).source is Source.DEFAULT
    assert "KeyError" in str(client.outage)


def test_the_crash_of_a_simulation_passes_through(client: DtmsClient, server: FakeDtms) -> None:
    class SimCrash(BaseException):
        pass

    def crash(_request: object) -> object:
        raise SimCrash

    server.fault = crash  # type: ignore[assignment]
    with pytest.raises(SimCrash):
        client.is_defensive(1)


def test_an_answer_that_the_machine_slept_through_is_a_timeout(client: DtmsClient, server: FakeDtms) -> None:
    server.trades[1] = HEDGED
    server.latency_s = 8 * 3_600
    assert client.state(1).source is Source.DEFAULT
    assert len(server.received) == 2

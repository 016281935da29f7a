"""The pushed feed keeps the answers warm, the caches may be given, and a foreign service is not believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.client import (
    DtmsClient,
    Identity,
    Known,
    Source,
    StateCache,
    StateEvent,
    new_last_known_cache,
    new_state_cache,
    read_event,
)
from dtms.client.contract import SECOND_NS
from dtms.client.fake import FakeDtms, FakeTrade, ManualClock, refuse, status_fault
from dtms.domain.trade import TradeState
from dtms.errors import InvalidDataError, SettingsError

HEALTHY = FakeTrade(state=TradeState.HEALTHY, version=3)


def pushed(clock: ManualClock, state: TradeState, version: int, *, ticket: int = 1, age_ms: int = 0) -> StateEvent:
    return StateEvent(
        ticket=ticket,
        state=state,
        pending_to=None,
        defensive=state in {TradeState.HEDGED, TradeState.WARNING_L2},
        version=version,
        epoch="epoch-1",
        sent_ns=clock.now_ns() - age_ms * 1_000_000,
    )


def test_a_pushed_state_is_believed_without_asking(client: DtmsClient, server: FakeDtms, clock: ManualClock) -> None:
    assert client.apply_event(pushed(clock, TradeState.HEDGED, 4)) is True
    assert (client.state(1).source, client.is_defensive(1), server.received) == (Source.CACHE, True, [])


def test_a_pushed_state_replaces_the_cached_one_at_once(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    server.trades[1] = HEALTHY
    assert client.is_defensive(1) is False
    client.apply_event(pushed(clock, TradeState.HEDGED, 4))
    assert client.is_defensive(1) is True


def test_in_the_steady_state_a_cycle_asks_nothing(client: DtmsClient, server: FakeDtms, clock: ManualClock) -> None:
    server.trades |= {1: HEALTHY, 2: HEALTHY}
    client.heartbeat("epoch-1", clock.now_ns())
    client.states([1, 2])
    for _ in range(60):
        clock.advance_ms(5_000)
        client.heartbeat("epoch-1", clock.now_ns() - 1_000_000)
        client.begin_cycle()
        assert {a.source for a in client.states([1, 2]).values()} == {Source.CACHE}
    assert len(server.received) == 1


def test_a_heartbeat_says_nothing_about_what_was_learned_before_the_feed_was_up(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    server.trades[1] = HEALTHY
    client.state(1)
    clock.advance_ms(9_000)
    client.heartbeat("epoch-1", clock.now_ns())
    clock.advance_ms(1_000)
    assert client.state(1).source is Source.LIVE


def test_a_heartbeat_of_another_epoch_refreshes_nothing(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    client.apply_event(pushed(clock, TradeState.HEDGED, 4))
    clock.advance_ms(9_000)
    client.heartbeat("epoch-2", clock.now_ns())
    clock.advance_ms(1_000)
    server.fault = status_fault(429)
    answer = client.state(1)
    assert (answer.source, answer.age_ms) == (Source.LAST_KNOWN, 10_000)


def test_a_heartbeat_does_not_refresh_what_another_epoch_said_meanwhile(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    client.heartbeat("epoch-1", clock.now_ns())
    server.epoch = "epoch-2"
    server.trades[1] = HEALTHY
    client.state(1)
    clock.advance_ms(9_000)
    client.heartbeat("epoch-1", clock.now_ns())
    clock.advance_ms(1_000)
    assert client.state(1).source is Source.LIVE


def test_an_answer_that_was_asked_for_earlier_does_not_age_a_pushed_state_of_the_same_version(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    server.trades[1] = FakeTrade(state=TradeState.HEDGED, version=4)

    def slow_answer(request: object) -> object:
        clock.advance_ms(1_500)
        client.apply_event(pushed(clock, TradeState.HEDGED, 4))
        return server.answer(request)  # type: ignore[arg-type]

    server.faults.append(slow_answer)  # type: ignore[arg-type]
    client.state(1)
    clock.advance_ms(9_999)
    assert (client.state(1).source, client.state(1).age_ms) == (Source.CACHE, 9_999)


def test_a_lost_feed_lets_everything_age_again(client: DtmsClient, server: FakeDtms, clock: ManualClock) -> None:
    client.apply_event(pushed(clock, TradeState.HEDGED, 4))
    client.feed_lost()
    clock.advance_ms(9_000)
    client.heartbeat("epoch-1", clock.now_ns())
    clock.advance_ms(1_000)
    server.trades[1] = FakeTrade(state=TradeState.HEALTHY, version=5)
    assert (client.state(1).source, client.is_defensive(1)) == (Source.LIVE, False)


def test_a_heartbeat_that_waited_in_a_buffer_does_not_make_an_old_state_young(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    client.apply_event(pushed(clock, TradeState.HEDGED, 4))
    sent = clock.now_ns() + 2 * SECOND_NS
    clock.advance_ms(40_000)
    client.heartbeat("epoch-1", sent)
    server.fault = refuse
    assert client.state(1).source is Source.DEFAULT


def test_the_last_heartbeat_sets_the_age_of_the_last_known_state(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    client.apply_event(pushed(clock, TradeState.HEDGED, 4))
    clock.advance_ms(25_000)
    client.heartbeat("epoch-1", clock.now_ns())
    clock.advance_ms(29_500)
    server.fault = refuse
    answer = client.state(1)
    assert (answer.source, answer.age_ms) == (Source.LAST_KNOWN, 30_000)


def test_an_event_of_a_lower_version_is_refused(client: DtmsClient, server: FakeDtms, clock: ManualClock) -> None:
    server.trades[1] = HEALTHY
    client.state(1)
    assert client.apply_event(pushed(clock, TradeState.HEDGED, 2)) is False
    assert (client.is_defensive(1), client.stats.refused_events) == (False, 1)


def test_an_instant_ahead_of_our_clock_is_refused(client: DtmsClient, clock: ManualClock, server: FakeDtms) -> None:
    assert client.apply_event(pushed(clock, TradeState.HEDGED, 2, age_ms=-1)) is False
    assert client.heartbeat("epoch-1", clock.now_ns() + 1) is False
    server.fault = refuse
    assert client.state(1).source is Source.DEFAULT


def test_an_event_from_before_a_404_does_not_bring_the_trade_back(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    client.state(1)
    assert client.apply_event(pushed(clock, TradeState.HEDGED, 9, age_ms=1)) is False
    assert client.is_defensive(1) is False


def test_a_registration_pushed_while_the_404_was_on_its_way_stands(
    client: DtmsClient, server: FakeDtms, clock: ManualClock
) -> None:
    def late_404(request: object) -> object:
        clock.advance_ms(100)
        client.apply_event(pushed(clock, TradeState.WARNING_L2, 1))
        return status_fault(404, b'{"code":"trade_unknown"}')(request)  # type: ignore[arg-type]

    server.faults.append(late_404)  # type: ignore[arg-type]
    assert client.is_defensive(1) is True


def test_events_are_read_strictly() -> None:
    event = read_event(b'{"ticket":1,"state":"WARNING_L1","pending_to":"HEDGED","version":4,"epoch":"e"}', sent_ns=5)
    assert event == StateEvent(
        ticket=1,
        state=TradeState.WARNING_L1,
        pending_to=TradeState.HEDGED,
        defensive=False,
        version=4,
        epoch="e",
        sent_ns=5,
    )
    with pytest.raises(InvalidDataError, match="resume the feed"):
        read_event(b'{"ticket":1,"state":"HEDGED","epoch":"e"}', sent_ns=5)


def test_the_caches_that_are_given_are_the_ones_it_works_on(server: FakeDtms, clock: ManualClock) -> None:
    state_cache: StateCache = new_state_cache(clock.now_ns)
    last_known: StateCache = new_last_known_cache(clock.now_ns)
    client = DtmsClient(
        now_ns=clock.now_ns, sleep=clock.sleep, transport=server, state_cache=state_cache, last_known_cache=last_known
    )
    server.trades[7] = FakeTrade(state=TradeState.HEDGED, version=2)
    client.state(7)
    expected = Known(
        ticket=7,
        state=TradeState.HEDGED,
        pending_to=None,
        defensive=True,
        version=2,
        epoch="epoch-1",
        sent_ns=clock.now_ns(),
    )
    assert (dict(state_cache), dict(last_known)) == ({"dtms_state_7": expected}, {"dtms_state_7": expected})
    clock.advance_ms(10_000)
    assert ("dtms_state_7" in state_cache, "dtms_state_7" in last_known) == (False, True)
    clock.advance_ms(20_000)
    assert "dtms_state_7" in last_known
    clock.sleep(1e-9)
    assert "dtms_state_7" not in last_known


def test_a_cache_cleared_by_its_owner_is_asked_anew(server: FakeDtms, clock: ManualClock) -> None:
    cache: dict[str, Known] = {}
    client = DtmsClient(now_ns=clock.now_ns, sleep=clock.sleep, transport=server, state_cache=cache)
    server.trades[7] = HEALTHY
    client.state(7)
    cache.clear()
    assert client.state(7).source is Source.LIVE


def test_rubbish_in_a_cache_is_no_knowledge(server: FakeDtms, clock: ManualClock) -> None:
    rubbish: dict[str, object] = {"dtms_state_7": "HEDGED"}
    server.fault = refuse
    client = DtmsClient(
        now_ns=clock.now_ns,
        sleep=clock.sleep,
        transport=server,
        state_cache=rubbish,  # type: ignore[arg-type]
        last_known_cache=dict(rubbish),  # type: ignore[arg-type]
        on_warning=lambda _text: None,
    )
    assert client.state(7).source is Source.DEFAULT


def test_plain_dictionaries_and_the_own_caches_give_the_same_answers(server: FakeDtms, clock: ManualClock) -> None:
    given_ones = DtmsClient(
        now_ns=clock.now_ns, sleep=lambda _s: None, transport=server, state_cache={}, last_known_cache={}
    )
    own = DtmsClient(now_ns=clock.now_ns, sleep=lambda _s: None, transport=server)
    server.trades[1] = FakeTrade(state=TradeState.HEDGED)
    for client in (given_ones, own):
        client.state(1)
    server.fault = refuse
    for step_ms in (9_999, 1, 19_999, 1, 1):
        clock.advance_ms(step_ms)
        assert given_ones.state(1) == own.state(1)


@given(
    steps=st.lists(st.tuples(st.sampled_from(["ask", "beat", "push", "lose", "down", "up"]), st.integers(0, 12_000)))
)
def test_no_answer_is_ever_older_than_its_source_allows(steps: list[tuple[str, int]]) -> None:
    clock = ManualClock()
    server = FakeDtms(clock)
    server.trades[1] = FakeTrade(state=TradeState.HEDGED)
    client = DtmsClient(now_ns=clock.now_ns, sleep=clock.sleep, transport=server, on_warning=lambda _text: None)
    limits = {Source.LIVE: 2_000, Source.CACHE: 9_999, Source.LAST_KNOWN: 30_000}
    for action, wait_ms in steps:
        match action:
            case "beat":
                client.heartbeat("epoch-1", clock.now_ns())
            case "push":
                client.apply_event(pushed(clock, TradeState.HEDGED, 1))
            case "lose":
                client.feed_lost()
            case "down":
                server.fault = refuse
            case "up":
                server.fault = None
            case _:
                answer = client.state(1)
                assert answer.defensive is (answer.source is not Source.DEFAULT)
                if answer.age_ms is not None:
                    assert 0 <= answer.age_ms <= limits[answer.source]
        clock.advance_ms(wait_ms)


def test_our_service_is_known_by_its_name(client: DtmsClient, server: FakeDtms) -> None:
    assert client.check_service().identity is Identity.OURS
    assert [r.path for r in server.received] == ["/health/live"]


def test_a_foreign_service_is_not_believed_until_it_is_ours(
    client: DtmsClient, server: FakeDtms, clock: ManualClock, warned: list[str]
) -> None:
    server.name = "another-service"
    server.trades[1] = FakeTrade(state=TradeState.HEDGED)
    found = client.check_service()
    assert (found.identity, found.name) == (Identity.FOREIGN, "another-service")
    assert client.state(1).source is Source.DEFAULT
    assert "another-service" in warned[0]
    server.name = "dtms-server"
    assert client.state(1).source is Source.LIVE


def test_a_service_that_was_foreign_still_costs_a_cycle_no_more_than_four_and_a_half_seconds(
    client: DtmsClient, server: FakeDtms
) -> None:
    server.name = "another-service"
    client.check_service()
    server.name = "dtms-server"
    server.faults.extend([server.answer, server.hang, server.hang])
    start = server.clock.now_ns()
    client.state(1)
    assert server.clock.now_ns() - start == 2_000_000_000


@pytest.mark.parametrize("status", [404, 500])
def test_a_service_that_cannot_be_asked_its_name_is_unknown_not_foreign(
    client: DtmsClient, server: FakeDtms, status: int
) -> None:
    server.faults.append(status_fault(status))
    assert client.check_service().identity is Identity.UNKNOWN
    assert client.state(1).source is Source.LIVE


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8001", "ftp://host", "http://", "http://host:99999", "http://host/?a=1", "http://me:secret@host"],
)
def test_a_base_url_that_cannot_work_is_refused_at_the_start_without_showing_a_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        DtmsClient(url)
    assert "secret" not in str(caught.value)


def test_the_token_is_sent_as_bearer_token_and_a_trailing_slash_does_no_harm(clock: ManualClock) -> None:
    seen: list[tuple[str, str | None]] = []
    server = FakeDtms(clock)

    def look(request: object) -> object:
        seen.append((request.url, request.headers.get("Authorization")))  # type: ignore[attr-defined]
        return server.answer(request)  # type: ignore[arg-type]

    server.fault = look  # type: ignore[assignment]
    DtmsClient("http://host:1/", now_ns=clock.now_ns, transport=server, token="t0ken").state(3)  # noqa: S106
    assert seen == [("http://host:1/dtms/trade/3", "Bearer t0ken")]


def test_a_warning_callback_that_raises_costs_no_answer(server: FakeDtms, clock: ManualClock) -> None:
    def broken(text: str) -> None:
        raise RuntimeError(text)

    server.fault = refuse
    client = DtmsClient(now_ns=clock.now_ns, sleep=clock.sleep, transport=server, on_warning=broken)
    assert client.is_defensive(1) is False
    assert (client.stats.warnings, client.stats.lost_warnings) == (1, 1)

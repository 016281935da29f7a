"""Values that cannot be wrong: what a constructor refuses, it names; an intent's key and tag are derived."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtms.domain.action import Close, SetStop
from dtms.domain.intent import (
    INTENT_TRANSITIONS,
    UNFINISHED,
    Intent,
    IntentState,
    Planner,
    Precondition,
    intent_id,
    tag_of,
)
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.rules import CommandRule, DefenceRule, ExitRule, FactRule, StopOrigin
from dtms.domain.score import StructureEvent, StructureEventKind
from dtms.domain.trade import Leg, LegKind, Owner, Pending, Trade, TradeState
from dtms.domain.units import Lots, Millis, Price, Side, Ticket, TradeId, to_iso
from dtms.errors import InvalidDataError

T0 = Millis(1_750_161_600_000)
NAN, INF = float("nan"), float("inf")
BAD = [NAN, INF, -INF]


def quote(**changes: Any) -> Quote:
    values: dict[str, Any] = {"symbol": "EURUSD", "at": T0, "bid": 1.1, "ask": 1.1002, **changes}
    return Quote(**values)


def bar(**changes: Any) -> Bar:
    values: dict[str, Any] = {"start": T0, "open": 2.0, "high": 4.0, "low": 1.0, "close": 3.0, **changes}
    return Bar(**values)


def trade(**changes: Any) -> Trade:
    values: dict[str, Any] = {
        "trade_id": TradeId("7"),
        "ticket": Ticket(7),
        "identifier": 7,
        "symbol": "EURUSD",
        "side": Side.BUY,
        "entry": 1.1,
        "initial_volume": Lots(1.0),
        "initial_stop": Price(1.09),
        "r": 0.01,
        "volume": Lots(1.0),
        "stop": Price(1.09),
        "target": None,
        "state": TradeState.HEALTHY,
        "state_since": T0,
        "version": 1,
        "owner": Owner.SHARED,
        "registered_at": T0,
        **changes,
    }
    return Trade(**values)


# ----- quotes and bars


@pytest.mark.parametrize(
    "changes", [{"bid": bad} for bad in [*BAD, 0.0, -1.0]] + [{"ask": bad} for bad in BAD], ids=str
)
def test_a_quote_that_cannot_be_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InvalidDataError, match="quote of EURUSD"):
        quote(**changes)


def test_a_crossed_quote_is_refused_and_a_locked_one_is_not() -> None:
    with pytest.raises(InvalidDataError, match="bid <= ask"):
        quote(bid=1.1, ask=1.0999999)
    assert quote(bid=1.1, ask=1.1).spread == 0.0


def test_a_position_is_valued_where_it_closes_and_opens_on_the_other_side() -> None:
    seen = quote(bid=1.1, ask=1.1002)
    assert (seen.executable(Side.BUY), seen.executable(Side.SELL)) == (1.1, 1.1002)
    assert (seen.opening(Side.BUY), seen.opening(Side.SELL)) == (1.1002, 1.1)


@pytest.mark.parametrize("field", ["open", "high", "low", "close"])
@pytest.mark.parametrize("bad", [*BAD, 0.0, -1.0])
def test_a_bar_with_a_price_that_cannot_be_is_refused(field: str, bad: float) -> None:
    with pytest.raises(InvalidDataError, match=f"bar at {T0}"):
        bar(**_one(field, bad))


@pytest.mark.parametrize("changes", [{"low": 2.5}, {"high": 2.5}, {"low": 5.0, "high": 0.5}], ids=str)
def test_a_bar_encloses_its_open_and_close(changes: dict[str, float]) -> None:
    with pytest.raises(InvalidDataError, match="do not enclose"):
        bar(**changes)


@pytest.mark.parametrize("field", ["volume", "buy_volume", "sell_volume"])
@pytest.mark.parametrize("bad", [*BAD, -1.0])
def test_a_bars_volumes_are_at_least_nothing(field: str, bad: float) -> None:
    with pytest.raises(InvalidDataError, match="volume"):
        bar(**_one(field, bad))
    assert getattr(bar(**_one(field, 0.0)), field) == 0.0


@given(instant=st.integers(0, 10**14), frame=st.sampled_from(Timeframe))
def test_a_bar_starts_at_a_multiple_of_its_timeframe_and_holds_its_instant(instant: int, frame: Timeframe) -> None:
    start = frame.start_of(Millis(instant))
    assert start % frame.value == 0
    assert start <= instant < start + frame.value


# ----- trades


@pytest.mark.parametrize("bad", [*BAD, 0.0, -0.01])
def test_a_trade_without_risk_is_refused(bad: float) -> None:
    with pytest.raises(InvalidDataError, match="trade 7: R is"):
        trade(r=bad)


@pytest.mark.parametrize("bad", [*BAD, 0.0, -1.0])
def test_a_trade_without_a_first_volume_is_refused(bad: float) -> None:
    with pytest.raises(InvalidDataError, match="trade 7: first volume"):
        trade(initial_volume=bad)


@pytest.mark.parametrize("bad", [NAN, -0.01])
def test_a_trade_with_less_than_no_volume_is_refused(bad: float) -> None:
    with pytest.raises(InvalidDataError, match="trade 7: volume"):
        trade(volume=bad)


def test_a_version_starts_at_one() -> None:
    with pytest.raises(InvalidDataError, match="trade 7: version 0"):
        trade(version=0)


def test_a_trade_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        trade().volume = Lots(2.0)  # type: ignore[misc]


@pytest.mark.parametrize("side", Side)
def test_r_multiples_count_in_the_trades_favour(side: Side) -> None:
    seen = trade(side=side, entry=100.0, r=2.0)
    assert (seen.favourable(100.0 + side * 3.0), seen.r_multiple(100.0 + side * 3.0)) == (3.0, 1.5)
    assert seen.r_multiple(100.0 - side * 2.0) == -1.0


def _pending(to: TradeState) -> Pending:
    return Pending(to=to, row="x", decision_id="d", decided_at=T0, steps=())


@pytest.mark.parametrize("state", TradeState)
@pytest.mark.parametrize("to", [None, *TradeState])
def test_a_trade_is_defensive_where_its_state_or_its_pending_one_is(state: TradeState, to: TradeState | None) -> None:
    defended = {TradeState.WARNING_L2, TradeState.HEDGED}
    seen = trade(state=state, pending=None if to is None else _pending(to))
    expected = state is not TradeState.CLOSED and (state in defended or to in defended)
    assert (seen.defensive, seen.pending_to) == (expected, to)


def test_the_hedge_is_the_leg_that_hedges() -> None:
    leg = Leg(
        kind=LegKind.RE_ADD,
        ticket=Ticket(8),
        identifier=8,
        side=Side.BUY,
        volume=Lots(0.1),
        entry=1.1,
        stop=None,
        target=None,
        opened_at=T0,
    )
    hedge = replace(leg, kind=LegKind.HEDGE, ticket=Ticket(9))
    assert trade(legs=(leg,)).hedge is None
    assert trade(legs=(leg, hedge)).hedge == hedge


@pytest.mark.parametrize("side", Side)
def test_a_structure_event_is_with_or_against_a_side(side: Side) -> None:
    up, down = StructureEventKind.BREAK_UP, StructureEventKind.BREAK_DOWN
    turned = (StructureEventKind.CHARACTER_DOWN, StructureEventKind.CHARACTER_UP)
    along, against = (up, turned[0]) if side is Side.BUY else (down, turned[1])
    events = [StructureEvent(kind=kind, at=T0) for kind in StructureEventKind]
    assert [event.kind for event in events if event.breaks_with(side)] == [along]
    assert [event.kind for event in events if event.changes_against(side)] == [against]


# ----- intents

words = st.text("abcdefghij@v0123456789:", min_size=1, max_size=30)
ids = st.builds(lambda trade_id, decision: (TradeId(trade_id), decision), words, words)
steps = st.integers(0, 9)
attempts = st.integers(1, 99)
CROCKFORD = set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


@given(key=ids, step=steps, attempt=attempts, at=st.integers(0, 2**47))
def test_an_intents_key_is_a_ulid_of_its_time_and_its_decision(
    key: tuple[TradeId, str], step: int, attempt: int, at: int
) -> None:
    made = intent_id(*key, step, attempt, Millis(at))
    assert (len(made), set(made) <= CROCKFORD) == (26, True)
    assert made == intent_id(*key, step, attempt, Millis(at))
    assert made[10:] == intent_id(*key, step, attempt, Millis(0))[10:]
    assert made < intent_id(*key, step, attempt, Millis(at + 1))


@given(key=ids, step=steps, attempt=attempts)
def test_a_tag_fits_into_the_brokers_comment_and_is_lower_case_base_32(
    key: tuple[TradeId, str], step: int, attempt: int
) -> None:
    tag = tag_of(*key, step, attempt)
    assert 20 <= len(tag) <= 26
    assert set(tag) <= set("abcdefghijklmnopqrstuvwxyz234567" + "0123456789")
    assert tag == tag_of(*key, step, attempt)


@given(key=ids, step=steps, attempt=st.integers(2, 99))
def test_a_later_attempt_keeps_the_first_ones_tag_and_is_another(
    key: tuple[TradeId, str], step: int, attempt: int
) -> None:
    assert tag_of(*key, step, attempt) == f"{tag_of(*key, step, 1)}z{attempt}"


@given(first=st.tuples(ids, steps), second=st.tuples(ids, steps))
def test_two_steps_have_two_tags_and_two_keys(
    first: tuple[tuple[TradeId, str], int], second: tuple[tuple[TradeId, str], int]
) -> None:
    same = first == second
    assert (tag_of(*first[0], first[1], 1) == tag_of(*second[0], second[1], 1)) is same
    assert (intent_id(*first[0], first[1], 1, T0) == intent_id(*second[0], second[1], 1, T0)) is same


def test_a_tag_does_not_confuse_what_stands_left_and_right_of_a_border() -> None:
    assert tag_of(TradeId("1"), "2", 3, 1) != tag_of(TradeId("12"), "", 3, 1)
    assert intent_id(TradeId("1"), "23", 4, 1, T0) != intent_id(TradeId("1"), "2", 34, 1, T0)


def make_intent(state: IntentState) -> Intent:
    return Intent(
        intent_id="i",
        trade_id=TradeId("7"),
        position=7,
        decision_id="d",
        step=0,
        attempt=1,
        action=SetStop(ticket=Ticket(7), stop=Price(1.09), target=None),
        precondition=Precondition(),
        owner=Planner.DTMS,
        rule=DefenceRule.TIGHTEN,
        state=state,
        tag="t",
        created_at=T0,
        expires_at=None,
    )


@pytest.mark.parametrize("state", IntentState)
def test_an_intent_is_unfinished_exactly_where_a_way_leads_on_that_no_operator_must_choose(state: IntentState) -> None:
    leads_on = bool(INTENT_TRANSITIONS[state]) and state is not IntentState.QUARANTINED
    assert make_intent(state).unfinished is leads_on
    assert (state in UNFINISHED) is leads_on


def test_no_way_leads_back_to_planned_or_from_sending_to_cancelled() -> None:
    for targets in INTENT_TRANSITIONS.values():
        assert IntentState.PLANNED not in targets
    assert IntentState.CANCELLED not in INTENT_TRANSITIONS[IntentState.SENDING]
    assert [s for s, targets in INTENT_TRANSITIONS.items() if IntentState.CANCELLED in targets] == [IntentState.PLANNED]


def test_an_intent_names_its_kind_and_resource_by_its_action() -> None:
    seen = make_intent(IntentState.PLANNED)
    assert (seen.kind.value, seen.resource.value) == ("set_stop", "stop")
    closing = replace(seen, action=Close(ticket=Ticket(7)))
    assert (closing.kind.value, closing.resource.value) == ("close", "volume")


def test_an_instant_is_written_with_its_zone_to_the_millisecond() -> None:
    assert to_iso(Millis(T0 + 5)) == "2025-06-17T12:00:00.005+00:00"


def _one(field: str, value: float) -> dict[str, float]:
    return {field: value}


def test_no_two_reasons_have_one_name() -> None:
    names = [member.value for each in (DefenceRule, ExitRule, CommandRule, FactRule, StopOrigin) for member in each]
    assert len(names) == len(set(names))

"""Every row of the transition table is reached, and is not taken one step before its boundary.

A row without a construction here fails: whoever adds one says when it holds and when it only just does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.core_machine.bench import (
    BAR,
    FRIDAY_CLOSE,
    HOURS,
    POLICY,
    T0,
    make_hedged,
    make_trade,
    on_bar,
    ran,
    row_of,
    snapshot,
)

from dtms.core import machine
from dtms.domain.policy.machine import MachinePolicy
from dtms.domain.score import StructureEventKind
from dtms.domain.trade import Hold, Pending, ScorePoint, Trade, TradeState
from dtms.domain.transitions import ROWS, Cause, check, rows_from
from dtms.domain.units import HOUR, MINUTE, SECOND, Millis, Side
from dtms.domain.verdict import Snapshot
from dtms.errors import IllegalTransitionError, SettingsError

Seen = tuple[Trade, Snapshot]
_S = TradeState
_E = StructureEventKind
_EPS = 1e-9
_LATE = Millis(FRIDAY_CLOSE - 30 * MINUTE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """When a row holds, and what is decided instead one step away from it."""

    holds: tuple[Seen, ...]
    near: tuple[tuple[Seen, str | None], ...]


def trade_in(state: TradeState, side: Side, **changes: Any) -> Trade:
    return make_hedged(side, **changes) if state is _S.HEDGED else make_trade(state, side, **changes)


def _against(side: Side) -> StructureEventKind:
    return _E.CHARACTER_DOWN if side is Side.BUY else _E.CHARACTER_UP


def _break(side: Side, *, along: bool) -> StructureEventKind:
    up = (side is Side.BUY) is along
    return _E.BREAK_UP if up else _E.BREAK_DOWN


def _gone(state: TradeState, side: Side) -> Case:
    trade = trade_in(state, side)
    return Case(holds=((trade, snapshot(side, gone=True)),), near=(((trade, snapshot(side)), None),))


def _character(state: TradeState, side: Side) -> Case:
    trade = trade_in(state, side, recent=())
    quiet = -3.0 if state is not _S.HEDGED else -1.5
    fits = on_bar(trade, quiet, events=(_against(side),))
    return Case(
        holds=(fits, on_bar(trade, None, events=(_against(side),))),
        near=(
            (on_bar(trade, quiet, events=(_against(side.opposite),)), None),
            (on_bar(trade, quiet, events=(_break(side, along=False),)), None),
            ((fits[0], replace(fits[1], view=None)), None),
        ),
    )


def _deadline(state: TradeState, side: Side) -> Case:
    trade = trade_in(state, side, deadline=Millis(T0))
    return Case(
        holds=((trade, snapshot(side, now=T0)), (trade, snapshot(side, now=T0 + HOUR, quote=None, quote_stale=True))),
        near=(((trade, snapshot(side, now=T0 - 1)), None),),
    )


def _l1_timeout(side: Side) -> Case:
    trade = trade_in(_S.WARNING_L1, side, deadline=Millis(T0))
    return Case(
        holds=((trade, snapshot(side, now=T0, score=-2.0 + _EPS)),),
        near=(
            ((trade, snapshot(side, now=T0, score=-2.0)), None),
            ((trade, snapshot(side, now=T0, score=None)), None),
            ((trade, snapshot(side, now=T0 - 1, score=-1.0)), None),
        ),
    )


def _before_close(side: Side) -> Case:
    trade = trade_in(_S.HEDGED, side, deadline=Millis(FRIDAY_CLOSE))
    return Case(
        holds=(
            (trade, snapshot(side, now=_LATE, score=-_EPS)),
            (trade, snapshot(side, now=_LATE, score=None)),
        ),
        near=(
            ((trade, snapshot(side, now=_LATE - 1, score=-_EPS)), None),
            # The daily break lasts an hour: that is no long close.
            ((trade, snapshot(side, now=T0 + 8 * HOUR + 45 * MINUTE, score=-_EPS)), None),
        ),
    )


def _before_close_recovering(side: Side) -> Case:
    trade = trade_in(_S.HEDGED, side, deadline=Millis(FRIDAY_CLOSE))
    return Case(
        holds=((trade, snapshot(side, now=_LATE, score=0.0)),),
        near=(
            ((trade, snapshot(side, now=_LATE, score=-_EPS)), "hedged_before_close"),
            ((trade, snapshot(side, now=_LATE - 1, score=0.0)), None),
        ),
    )


def _hedge_gone(side: Side) -> Case:
    trade = trade_in(_S.HEDGED, side)
    return Case(
        holds=((trade, snapshot(side, hedge_gone=True)),),
        near=(
            ((trade, snapshot(side)), None),
            ((replace(trade, legs=()), snapshot(side, hedge_gone=True)), None),
        ),
    )


def _healthy_to_l2(side: Side) -> Case:
    trade = trade_in(_S.HEALTHY, side, recent=ran(-6.0))
    gap = ScorePoint(at=Millis(T0 - 2 * BAR), total=-6.0)
    return Case(
        holds=(on_bar(trade, -6.0), on_bar(replace(trade, recent=(gap,)), -6.0)),
        near=(
            (on_bar(trade, -6.0 + _EPS), "healthy_to_l1"),
            (on_bar(replace(trade, recent=ran(-6.0 + _EPS)), -6.0), "healthy_to_l1"),
            (on_bar(replace(trade, recent=()), -6.0), "healthy_to_l1"),
            (on_bar(replace(trade, recent=(replace(gap, at=Millis(gap.at - 1)),)), -6.0), "healthy_to_l1"),
            (on_bar(trade, None), None),
        ),
    )


def _at_most(state: TradeState, side: Side, threshold: float) -> Case:
    trade = trade_in(state, side)
    return Case(
        holds=(on_bar(trade, threshold), on_bar(trade, threshold - _EPS)),
        near=(
            (on_bar(trade, threshold + _EPS), None),
            (on_bar(trade, None), None),
            ((trade, snapshot(side, score=threshold)), None),
        ),
    )


def _l1_to_healthy(side: Side) -> Case:
    trade = trade_in(_S.WARNING_L1, side)
    return Case(
        holds=(on_bar(trade, 0.0), on_bar(trade, 8.0)),
        near=((on_bar(trade, -_EPS), None), (on_bar(trade, None), None)),
    )


def _l2_to_l1(side: Side) -> Case:
    trade = trade_in(_S.WARNING_L2, side)
    above = -4.0 + _EPS
    five = replace(trade, recent=ran(*[above] * 5))
    broken = replace(trade, recent=(*ran(*[above] * 2, until=T0 - 3 * BAR), *ran(*[above] * 3)))
    return Case(
        holds=(on_bar(trade, -2.0), on_bar(five, above)),
        near=(
            (on_bar(trade, -2.0 - _EPS), None),
            (on_bar(five, -4.0), None),
            (on_bar(replace(trade, recent=ran(-4.0, *[above] * 4)), above), None),
            (on_bar(replace(trade, recent=ran(*[above] * 4)), above), None),
            (on_bar(replace(broken, recent=broken.recent[:2] + broken.recent[3:]), above), None),
        ),
    )


def _l2_to_hedged(side: Side) -> Case:
    trade = trade_in(_S.WARNING_L2, side)
    flip = {"flip_against": True, "opposite_share_high": True}
    return Case(
        holds=(on_bar(trade, -6.0), on_bar(trade, -4.0, score=flip)),
        near=(
            (on_bar(trade, -6.0 + _EPS), None),
            (on_bar(trade, -4.0 + _EPS, score=flip), None),
            (on_bar(trade, -5.0, score={**flip, "flip_against": False}), None),
            (on_bar(trade, -5.0, score={**flip, "opposite_share_high": False}), None),
            (on_bar(trade, -5.0, score={**flip, "opposite_share_high": None}), None),
        ),
    )


def _hedged_to_recovering(side: Side) -> Case:
    trade = trade_in(_S.HEDGED, side, recent=ran(-1.0))
    filled_now = replace(trade, marks=replace(trade.marks, hedge_filled_at=Millis(T0)))
    filled_before = replace(trade, marks=replace(trade.marks, hedge_filled_at=Millis(T0 - 1)))
    along = (_break(side, along=True),)
    just_entered = replace(filled_before, bars_in_state=0, bars_since_registration=0, recent=())
    return Case(
        holds=(
            on_bar(trade, -1.0),
            on_bar(filled_before, -5.0, events=along),
            on_bar(filled_before, None, events=along),
            on_bar(just_entered, -5.0, events=along),
        ),
        near=(
            (on_bar(trade, -1.0 - _EPS), None),
            (on_bar(replace(trade, recent=ran(-1.0 - _EPS)), -1.0), None),
            (on_bar(replace(trade, recent=()), -1.0), None),
            (on_bar(filled_now, -5.0, events=along), None),
            (on_bar(filled_before, -5.0, events=(_break(side, along=False),)), None),
        ),
    )


def _recovering_to_healthy(side: Side) -> Case:
    trade = trade_in(_S.RECOVERING, side, recent=ran(1.0))
    return Case(
        holds=(on_bar(trade, 1.0),),
        near=(
            (on_bar(trade, 1.0 - _EPS), None),
            (on_bar(replace(trade, recent=ran(1.0 - _EPS)), 1.0), None),
            (on_bar(replace(trade, recent=()), 1.0), None),
        ),
    )


def case_of(name: str, side: Side) -> Case:
    row = ROWS[name]
    if row.cause is Cause.GONE:
        return _gone(row.source, side)
    if row.cause is Cause.CHARACTER:
        return _character(row.source, side)
    made = {
        "l1_timeout": lambda: _l1_timeout(side),
        "l2_timeout": lambda: _deadline(_S.WARNING_L2, side),
        "hedged_timeout": lambda: _deadline(_S.HEDGED, side),
        "recovering_timeout": lambda: _deadline(_S.RECOVERING, side),
        "hedged_before_close": lambda: _before_close(side),
        "hedged_before_close_recovering": lambda: _before_close_recovering(side),
        "hedge_gone": lambda: _hedge_gone(side),
        "healthy_to_l2": lambda: _healthy_to_l2(side),
        "healthy_to_l1": lambda: _at_most(_S.HEALTHY, side, -2.0),
        "l1_to_l2": lambda: _at_most(_S.WARNING_L1, side, -4.0),
        "l2_to_hedged": lambda: _l2_to_hedged(side),
        "recovering_to_l2": lambda: _at_most(_S.RECOVERING, side, -4.0),
        "l1_to_healthy": lambda: _l1_to_healthy(side),
        "l2_to_l1": lambda: _l2_to_l1(side),
        "hedged_to_recovering": lambda: _hedged_to_recovering(side),
        "recovering_to_healthy": lambda: _recovering_to_healthy(side),
    }
    return made[name]()


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("name", ROWS)
def test_each_row_is_taken_where_it_holds(name: str, side: Side) -> None:
    for trade, snap in case_of(name, side).holds:
        assert row_of(trade, snap) == name


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("name", ROWS)
def test_each_row_is_left_out_one_step_before_its_boundary(name: str, side: Side) -> None:
    for (trade, snap), instead in case_of(name, side).near:
        assert row_of(trade, snap) == instead


@pytest.mark.parametrize("name", ROWS)
def test_a_pair_of_states_is_legal_exactly_where_the_table_has_a_row(name: str) -> None:
    check(ROWS[name].source, ROWS[name].target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (source, target)
        for source in TradeState
        for target in TradeState
        if not any((row.source, row.target) == (source, target) for row in ROWS.values())
    ],
)
def test_every_other_pair_of_states_raises_and_says_so(source: TradeState, target: TradeState) -> None:
    with pytest.raises(IllegalTransitionError, match=f"no transition leads from {source} to {target}"):
        check(source, target)


def test_nothing_leads_out_of_closed() -> None:
    assert rows_from(TradeState.CLOSED) == ()


# ----- order


@pytest.mark.parametrize("state", [_S.HEALTHY, _S.WARNING_L1, _S.WARNING_L2, _S.HEDGED, _S.RECOVERING])
def test_rows_are_asked_in_the_order_of_their_causes(state: TradeState) -> None:
    causes = [row.cause for row in rows_from(state)]
    assert causes == sorted(causes)


def _everything(side: Side = Side.BUY, **changes: Any) -> Seen:
    """A HEDGED trade on a bar on which every cause out of HEDGED holds."""
    trade = trade_in(_S.HEDGED, side, deadline=Millis(_LATE), recent=ran(0.0, until=_LATE))
    events = (_against(side), _break(side, along=True))
    return on_bar(trade, 0.0, at=_LATE, events=events, gone=True, hedge_gone=True, **changes)


def test_of_all_causes_at_once_the_first_in_order_is_taken_and_the_rest_follow() -> None:
    trade, snap = _everything()
    names = [row.name for row in machine.candidates(trade, snap, POLICY.machine)]
    assert names == [
        "gone_hedged",
        "character_hedged",
        "hedged_timeout",
        "hedged_before_close_recovering",
        "hedged_before_close",
        "hedge_gone",
        "hedged_to_recovering",
    ]


def test_the_worse_target_of_two_escalations_comes_first() -> None:
    trade, snap = on_bar(trade_in(_S.HEALTHY, Side.BUY, recent=ran(-6.5)), -6.5)
    names = [row.name for row in machine.candidates(trade, snap, POLICY.machine)]
    assert names == ["healthy_to_l2", "healthy_to_l1"]


def test_recovering_falls_back_before_it_may_time_out_only_where_the_deadline_has_not_come() -> None:
    trade = trade_in(_S.RECOVERING, Side.BUY, deadline=Millis(T0))
    assert row_of(*on_bar(trade, -4.0)) == "recovering_timeout"
    assert row_of(*on_bar(replace(trade, deadline=Millis(T0 + HOUR)), -4.0)) == "recovering_to_l2"


# ----- grace


@pytest.mark.parametrize("side", Side)
def test_no_score_moves_a_trade_in_its_first_two_bars(side: Side) -> None:
    fresh = trade_in(
        _S.HEALTHY, side, registered_at=Millis(T0 - 2 * BAR + 1), bars_since_registration=1, bars_in_state=5
    )
    assert row_of(*on_bar(fresh, -2.5)) is None
    assert row_of(*on_bar(replace(fresh, bars_since_registration=2), -2.5)) == "healthy_to_l1"


@pytest.mark.parametrize("side", Side)
def test_grace_ends_after_900_seconds_of_open_time(side: Side) -> None:
    fresh = trade_in(_S.HEALTHY, side, bars_since_registration=0, bars_in_state=5)
    now = T0 + 2 * SECOND
    ends = replace(fresh, registered_at=Millis(now - 900 * SECOND))
    assert row_of(*on_bar(ends, -2.5)) == "healthy_to_l1"
    assert row_of(*on_bar(replace(ends, registered_at=Millis(ends.registered_at + 1)), -2.5)) is None


def test_a_weekend_does_not_use_up_the_grace() -> None:
    monday = Millis(FRIDAY_CLOSE + 49 * HOUR + 5 * MINUTE)  # gold opens on Sunday 18:00 New York
    fresh = trade_in(
        _S.HEALTHY,
        Side.BUY,
        registered_at=Millis(FRIDAY_CLOSE - 4 * MINUTE),
        bars_since_registration=0,
        bars_in_state=5,
    )
    assert HOURS.open_between(fresh.registered_at, monday) == 9 * MINUTE
    assert row_of(*on_bar(fresh, -2.5, at=monday)) is None


@pytest.mark.parametrize("side", Side)
def test_half_an_r_lost_ends_the_grace(side: Side) -> None:
    fresh = trade_in(_S.HEALTHY, side, registered_at=Millis(T0 - 1), bars_since_registration=0, bars_in_state=5)
    lost = 2_000.0 - side * 5.0
    assert row_of(*on_bar(fresh, -2.5, price=lost)) == "healthy_to_l1"
    assert row_of(*on_bar(fresh, -2.5, price=lost + side * 0.01)) is None
    assert row_of(*on_bar(fresh, -2.5, price=lost, quote=None)) is None


def test_grace_holds_back_neither_character_nor_deadline_nor_end() -> None:
    fresh = trade_in(
        _S.WARNING_L2, Side.BUY, registered_at=Millis(T0 - 1), bars_since_registration=0, deadline=Millis(T0)
    )
    assert row_of(fresh, snapshot(gone=True)) == "gone_warning_l2"
    assert row_of(fresh, snapshot(now=T0)) == "l2_timeout"
    assert row_of(*on_bar(fresh, None, events=(_against(Side.BUY),))) == "character_warning_l2"


# ----- the wait after a change


@pytest.mark.parametrize(
    ("state", "score", "row"),
    [
        (_S.HEALTHY, -2.0, "healthy_to_l1"),
        (_S.WARNING_L1, -4.0, "l1_to_l2"),
        (_S.WARNING_L2, -6.0, "l2_to_hedged"),
        (_S.WARNING_L2, -2.0, "l2_to_l1"),
        (_S.HEDGED, -1.0, "hedged_to_recovering"),
        (_S.RECOVERING, -4.0, "recovering_to_l2"),
        (_S.RECOVERING, 1.0, "recovering_to_healthy"),
    ],
)
def test_a_score_moves_a_state_on_the_second_bar_after_it_was_entered(
    state: TradeState, score: float, row: str
) -> None:
    entered = trade_in(state, Side.BUY, bars_in_state=0, recent=ran(score))
    assert row_of(*on_bar(entered, score)) is None
    assert row_of(*on_bar(replace(entered, bars_in_state=1), score)) == row


def test_a_fall_that_fell_into_the_wait_goes_straight_to_the_second_warning() -> None:
    entered = trade_in(_S.HEALTHY, Side.BUY, bars_in_state=0, recent=())
    first, snap = on_bar(entered, -7.0)
    assert row_of(first, snap) is None
    assert row_of(*on_bar(first, -7.0, at=T0 + BAR)) == "healthy_to_l2"


# ----- bars running


def test_bars_run_over_a_weekend_because_only_open_time_counts() -> None:
    before = Millis(FRIDAY_CLOSE)
    after = Millis(FRIDAY_CLOSE + 49 * HOUR + BAR)
    trade = trade_in(_S.RECOVERING, Side.BUY, recent=(ScorePoint(at=before, total=1.0),))
    assert row_of(*on_bar(trade, 1.0, at=after)) == "recovering_to_healthy"
    late = Millis(after + BAR)
    assert row_of(*on_bar(trade, 1.0, at=late)) == "recovering_to_healthy"
    assert row_of(*on_bar(trade, 1.0, at=late + BAR)) is None


def test_one_bar_without_a_score_between_two_does_not_break_the_run_but_two_do() -> None:
    trade = trade_in(_S.RECOVERING, Side.BUY, recent=ran(1.0))
    silent, _ = on_bar(trade, None)
    assert row_of(*on_bar(silent, 1.0, at=T0 + BAR)) == "recovering_to_healthy"
    twice, _ = on_bar(silent, None, at=T0 + BAR)
    assert row_of(*on_bar(twice, 1.0, at=T0 + 2 * BAR)) is None


def test_a_bar_without_a_score_never_completes_a_run() -> None:
    trade = trade_in(_S.RECOVERING, Side.BUY, recent=ran(1.0, 1.0))
    assert row_of(*on_bar(trade, None)) is None


# ----- deadlines


@pytest.mark.parametrize(
    ("state", "minutes"),
    [(_S.WARNING_L1, 150), (_S.WARNING_L2, 120), (_S.HEDGED, 75), (_S.RECOVERING, 30)],
)
def test_a_deadline_runs_in_open_time_alone(state: TradeState, minutes: int) -> None:
    entered = Millis(FRIDAY_CLOSE - 10 * MINUTE)
    deadline = machine.deadline_of(state, entered, HOURS, MachinePolicy())
    reopened = FRIDAY_CLOSE + 49 * HOUR
    assert deadline == reopened + (minutes - 10) * MINUTE


@pytest.mark.parametrize("state", [_S.HEALTHY, _S.CLOSED])
def test_healthy_and_closed_have_no_deadline(state: TradeState) -> None:
    assert machine.deadline_of(state, T0, HOURS, MachinePolicy()) is None


def test_a_deadline_needs_neither_a_score_nor_a_quote_but_the_first_warnings_needs_a_score() -> None:
    blind = snapshot(now=T0, quote=None, quote_stale=True, indicators=None)
    for state, row in ((_S.WARNING_L2, "l2_timeout"), (_S.HEDGED, "hedged_timeout")):
        assert row_of(trade_in(state, Side.BUY, deadline=Millis(T0)), blind) == row
    assert row_of(trade_in(_S.WARNING_L1, Side.BUY, deadline=Millis(T0)), blind) is None


# ----- what holds everything back


@pytest.mark.parametrize("to", [_S.WARNING_L2, _S.HEDGED])
def test_while_a_transition_is_under_way_only_a_way_to_closed_overtakes_it(to: TradeState) -> None:
    pending = Pending(to=to, row="l2_to_hedged", decision_id="d", decided_at=T0, steps=())
    trade = trade_in(_S.WARNING_L2, Side.BUY, pending=pending, deadline=Millis(T0))
    assert row_of(*on_bar(trade, -7.0)) is None
    assert row_of(*on_bar(trade, 5.0)) is None
    assert row_of(*on_bar(trade, 5.0, events=(_against(Side.BUY),))) == "character_warning_l2"
    assert row_of(trade, snapshot(gone=True)) == "gone_warning_l2"


def test_a_way_to_closed_is_overtaken_by_the_proved_end_alone_and_that_by_nothing() -> None:
    pending = Pending(to=_S.CLOSED, row="character_hedged", decision_id="d", decided_at=T0, steps=())
    trade = trade_in(_S.HEDGED, Side.BUY, pending=pending, deadline=Millis(T0))
    assert row_of(*on_bar(trade, 0.0, events=(_against(Side.BUY),))) is None
    assert row_of(trade, snapshot(gone=True)) == "gone_hedged"
    ended = replace(trade, pending=replace(pending, row="gone_hedged"))
    assert row_of(ended, snapshot(gone=True)) is None


@pytest.mark.parametrize("hold", [hold for hold in Hold if hold is not Hold.NONE])
def test_a_trade_that_is_only_observed_moves_by_its_end_alone(hold: Hold) -> None:
    trade, snap = _everything()
    held = replace(trade, hold=hold)
    assert row_of(held, replace(snap, gone=False)) is None
    assert row_of(held, snap) == "gone_hedged"


def test_a_structure_event_acts_on_its_own_bar_and_is_spent_after_it() -> None:
    trade = trade_in(_S.WARNING_L2, Side.BUY)
    seen, snap = on_bar(trade, -3.0, events=(_against(Side.BUY),))
    assert row_of(seen, snap) == "character_warning_l2"
    assert row_of(*on_bar(seen, -3.0, at=T0 + BAR)) is None
    assert row_of(seen, snapshot(score=-3.0)) is None


@pytest.mark.parametrize("state", [_S.HEALTHY, _S.WARNING_L1])
def test_a_change_of_character_does_not_close_a_trade_that_is_not_defended(state: TradeState) -> None:
    assert row_of(*on_bar(trade_in(state, Side.BUY), -1.0, events=(_against(Side.BUY),))) is None


# ----- observing


def test_a_bar_is_counted_once_and_none_from_before_the_registration() -> None:
    trade = trade_in(_S.HEALTHY, Side.BUY, bars_in_state=0, bars_since_registration=0)
    once, snap = on_bar(trade, 1.5)
    assert (once.last_bar, once.bars_in_state, once.bars_since_registration) == (T0, 1, 1)
    assert once.recent == (ScorePoint(at=T0, total=1.5),)
    assert snap.view is not None
    assert machine.observe(once, snap.view) == once
    assert on_bar(once, 3.0, at=T0 - BAR)[0] == once
    early = trade_in(_S.HEALTHY, Side.BUY, registered_at=Millis(T0))
    assert on_bar(early, 1.5)[0] == early


def test_the_memory_of_scores_is_as_long_as_the_longest_run_and_keeps_no_bar_without_one() -> None:
    trade = trade_in(_S.HEALTHY, Side.BUY)
    for place in range(10):
        trade, _ = on_bar(trade, None if place % 3 == 0 else float(place), at=T0 + place * BAR)
    assert [point.total for point in trade.recent] == [1.0, 2.0, 4.0, 5.0, 7.0, 8.0]


@pytest.mark.parametrize("field", ["running_bars", "l2_release_bars"])
def test_no_rule_may_ask_for_more_bars_than_are_remembered(field: str) -> None:
    changes: dict[str, Any] = {field: 7}
    with pytest.raises(SettingsError, match=f"machine.{field} is 7"):
        MachinePolicy(**changes)

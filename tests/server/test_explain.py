"""Why a trade is in its state: what is explained is what is decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dtms.core import machine
from dtms.core.decide import decide
from dtms.domain.modes import Mode
from dtms.domain.records import TransitionRecord
from dtms.domain.score import MarketView
from dtms.domain.trade import Pending, TradeState
from dtms.domain.transitions import ROWS
from dtms.domain.units import MINUTE, Millis, Side
from dtms.domain.verdict import RailFacts, Snapshot

NOTHING_KNOWN = RailFacts(
    day_loss=None,
    hour_loss=None,
    losing_streak=None,
    news="",
    news_known=False,
    spread=None,
    spread_median=None,
    margin_level=None,
    quote_stale=None,
)


def _explained(world: Any, ticket: int) -> dict[str, Any]:
    told = world.ask("GET", f"/dtms/trade/{ticket}/explain")
    assert told.status == 200
    answer: dict[str, Any] = told.json
    return answer


def _triggers(told: dict[str, Any]) -> dict[str, list[tuple[str, float, int]]]:
    return {
        way["row"]: [(t["reach"], t["score"], t["bars"]) for t in way["triggers"]]
        for way in told["ways"]
        if way["triggers"]
    }


STATES = [
    ("HEALTHY", {"healthy_to_l1": [("at_most", -2.0, 1)], "healthy_to_l2": [("at_most", -6.0, 2)]}),
    (
        "WARNING_L1",
        {
            "l1_timeout": [("above", -2.0, 0)],
            "l1_to_l2": [("at_most", -4.0, 1)],
            "l1_to_healthy": [("at_least", 0.0, 1)],
        },
    ),
    (
        "WARNING_L2",
        {"l2_to_hedged": [("at_most", -6.0, 1)], "l2_to_l1": [("at_least", -2.0, 1), ("above", -4.0, 6)]},
    ),
    ("RECOVERING", {"recovering_to_l2": [("at_most", -4.0, 1)], "recovering_to_healthy": [("at_least", 1.0, 2)]}),
]


def _in_state(world: Any, ticket: int, state: str) -> None:
    """Put a trade into a state, its waits over."""
    world.put(
        ticket,
        state=TradeState(state),
        bars_in_state=10,
        bars_since_registration=10,
        deadline=Millis(world.clock.now + 40 * MINUTE),
    )


@pytest.mark.parametrize(("state", "expected"), STATES)
def test_every_threshold_out_of_a_state_is_explained(
    world: Any, state: str, expected: dict[str, list[tuple[str, float, int]]]
) -> None:
    ticket = world.managed()
    _in_state(world, ticket, state)

    told = _explained(world, ticket)

    assert _triggers(told) == expected
    assert {way["row"] for way in told["ways"]} == {row.name for row in ROWS.values() if row.source == state}
    assert [way["blocked_by"] for way in told["ways"]] == [[] for _ in told["ways"]]


def test_the_distance_is_what_the_score_still_has_to_move(world: Any) -> None:
    ticket = world.managed()
    _in_state(world, ticket, "WARNING_L1")

    told = _explained(world, ticket)

    total = told["score"]["total"]
    ways = {way["row"]: way for way in told["ways"]}
    assert ways["l1_to_l2"]["triggers"][0]["distance"] == pytest.approx(total + 4.0)
    assert ways["l1_to_healthy"]["triggers"][0]["distance"] == pytest.approx(0.0 - total)


@pytest.mark.parametrize("state", [state for state, _ in STATES])
def test_what_is_explained_is_what_is_decided(world: Any, state: str) -> None:
    """Each threshold is fed to the real decision: on it the row is taken or not as said, and just beyond the other way."""
    ticket = world.managed()
    _in_state(world, ticket, state)
    told = _explained(world, ticket)

    for way in told["ways"]:
        for trigger in way["triggers"]:
            if trigger["bars"] == 0:
                continue
            falls = trigger["reach"] in {"at_most", "below"}
            on = trigger["reach"] in {"at_most", "at_least"}
            step = -1e-6 if falls else 1e-6
            rows = {
                nudge: _rows(world, ticket, trigger["score"] + nudge * step, trigger["bars"]) for nudge in (-1, 0, 1)
            }
            assert way["row"] not in rows[-1]
            assert (way["row"] in rows[0]) is on
            assert way["row"] in rows[1]


def _rows(world: Any, ticket: int, total: float, bars: int) -> set[str]:
    """Let so many bars of a score be decided; return the rows that the last one takes, one after the other forbidden."""
    desk = world.server.desk.symbol("EURUSD", world.clock.now)
    trade = world.trade(ticket)
    start = world.clock.now - world.clock.now % (5 * MINUTE)
    snap = None
    for number in range(1, bars + 1):
        view = _view(desk.view, Millis(start + number * 5 * MINUTE), total)
        trade = machine.observe(trade, view)
        snap = _snapshot(world, desk, view)
    assert snap is not None
    taken = decide(snap, trade, desk.policy).row
    holding = {row.name for row in machine.candidates(trade, snap, desk.policy.machine)}
    assert taken is None or taken in holding
    return holding


def _view(model: MarketView, at: Millis, total: float) -> MarketView:
    return replace(
        model,
        at=at,
        buy=replace(model.buy, at=at, total=total),
        sell=replace(model.sell, at=at, total=total),
        events=(),
    )


def _snapshot(world: Any, desk: Any, view: MarketView) -> Snapshot:
    return Snapshot(
        now=view.at,
        instrument=desk.instrument,
        account=world.broker.account(),
        hours=desk.hours,
        quote=desk.feed.last,
        quote_stale=False,
        view=view,
        score=view.buy.total,
        indicators=view.indicators,
        gone=False,
        hedge_gone=False,
        rails=NOTHING_KNOWN,
        kill=None,
        mode=Mode.NORMAL,
        commission_per_lot=0.0,
        swap_per_lot=0.0,
        oldest_on_symbol=True,
    )


def test_what_holds_a_row_back_is_named(world: Any) -> None:
    ticket = world.managed()
    fresh = _explained(world, ticket)
    world.put(ticket, state=TradeState.WARNING_L1, bars_in_state=0, bars_since_registration=10)
    changed = _explained(world, ticket)
    pending = Pending(to=TradeState.WARNING_L2, row="l1_to_l2", decision_id="d", decided_at=world.clock.now, steps=())
    world.put(ticket, bars_in_state=10, pending=pending)
    under_way = _explained(world, ticket)

    def blocked(told: dict[str, Any]) -> dict[str, list[str]]:
        return {way["row"]: way["blocked_by"] for way in told["ways"] if way["blocked_by"]}

    assert blocked(fresh) == {"healthy_to_l1": ["grace"], "healthy_to_l2": ["grace"]}
    assert blocked(changed) == {"l1_to_l2": ["dwell"], "l1_to_healthy": ["dwell"]}
    assert blocked(under_way) == {row: ["pending"] for row in ("l1_timeout", "l1_to_l2", "l1_to_healthy")}
    assert under_way["pending_to"] == "WARNING_L2"


def test_the_events_that_lead_out_are_named_for_the_trades_own_side(world: Any) -> None:
    buy, sell = world.hedged(), world.managed(Side.SELL)
    _in_state(world, sell, "WARNING_L2")

    def events(ticket: int) -> dict[str, list[str]]:
        return {way["row"]: way["events"] for way in _explained(world, ticket)["ways"] if way["events"]}

    assert events(buy) == {"character_hedged": ["character_down"], "hedged_to_recovering": ["break_up"]}
    assert events(sell) == {"character_warning_l2": ["character_up"]}


def test_a_state_is_explained_by_the_transition_that_led_to_it(world: Any) -> None:
    ticket = world.managed()
    first = _explained(world, ticket)
    trade = world.trade(ticket)
    _in_state(world, ticket, "WARNING_L1")
    with world.ledger.write() as tx:
        tx.add_transition(
            TransitionRecord(
                trade_id=trade.trade_id,
                ticket=trade.ticket,
                row="healthy_to_l1",
                source=TradeState.HEALTHY,
                target=TradeState.WARNING_L1,
                decision_id="d",
                decided_at=world.clock.now,
                committed_at=world.clock.now,
                version=2,
                score=-2.25,
                fallbacks=("small_lot",),
                plan="defence.tighten",
            )
        )

    told = _explained(world, ticket)

    assert first["because"] is None
    assert (told["because"]["row"], told["because"]["score"], told["because"]["when"]) == (
        "healthy_to_l1",
        -2.25,
        "score <= -2",
    )
    assert told["sentence"].startswith(
        f"EURUSD BUY {ticket} is WARNING_L1 since 2024-01-10T12:00:00.000+00:00 because score <= -2 (score -2.25 then)"
        ", with small_lot instead of the plan; the score is "
    )
    assert "a score at or below -4 (" in told["sentence"]
    assert "at 2024-01-10T12:40:00.000+00:00 with a score above -2 it goes to HEALTHY" in told["sentence"]
    assert (told["sentence"].count("\n"), told["sentence"][-1]) == (0, ".")


def test_a_closed_trade_is_explained_without_ways_out(world: Any) -> None:
    ticket = world.managed()
    world.put(ticket, state=TradeState.CLOSED, closed_at=world.clock.now, close_reason="gone_healthy")

    assert _explained(world, ticket)["ways"] == []


def test_the_policys_own_thresholds_are_the_ones_explained(make_world: Any) -> None:
    world = make_world()
    ticket = world.managed()
    desk = world.server.desk.symbol("EURUSD", world.clock.now)
    numbers = replace(desk.policy.machine, l1_score=-2.5, running_bars=3)
    desk.policy = replace(desk.policy, machine=numbers)

    told = _explained(world, ticket)

    assert _triggers(told) == {
        "healthy_to_l1": [("at_most", -2.5, 1)],
        "healthy_to_l2": [("at_most", -6.0, 3)],
    }

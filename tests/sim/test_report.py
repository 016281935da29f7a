"""The report's keys are a contract; its figures are worked out by hand from a few trades."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.core_machine.bench import T0, make_trade, make_view

from dtms.domain.action import Action, Close, OpenHedge, SetStop
from dtms.domain.intent import Intent, IntentState, Planner, Precondition
from dtms.domain.records import TransitionRecord
from dtms.domain.rules import DefenceRule
from dtms.domain.score import Layer, LayerReading, MarketView
from dtms.domain.trade import Trade, TradeState
from dtms.domain.transitions import ROWS
from dtms.domain.units import MINUTE, Lots, Millis, Price, Side, Ticket, TradeId
from dtms.domain.verdict import Refusal, Verdict
from dtms_lab.laws.invariants import Violation
from dtms_lab.simulate.report import Findings, TradeResult, report_of, verdict_hash

KEYS = [
    "symbol",
    "bars",
    "trades",
    "closed",
    "entries_refused",
    "transitions",
    "rows",
    "rows_trades",
    "actions",
    "refusals",
    "rails",
    "deferrals",
    "fallbacks",
    "planned_fallbacks",
    "naked_ms_max",
    "invariant_violations",
    "violations",
    "failed_passes",
    "net_profit",
    "unmanaged_net_profit",
    "expectancy_r",
    "cost_r",
    "managed_minus_unmanaged_r",
    "stopped_within_30min_of_l1",
    "layers",
    "branches",
    "states_visited",
    "score",
    "assumptions",
    "doubts",
    "verdict_hash",
]
EMPTY = Findings(
    symbol="XAUUSD",
    bars=0,
    results=(),
    trades=(),
    transitions=(),
    intents=(),
    refusals=(),
    rails={},
    deferrals=0,
    fallbacks=0,
    naked_ms={},
    violations=(),
    verdicts=(),
    views=(),
    assumptions=(),
)


def report(**found: Any) -> dict[str, Any]:
    return dict(report_of(replace(EMPTY, **found)))


def result(managed: float, unmanaged: float, **changes: Any) -> TradeResult:
    made = TradeResult(ticket=1, risk_money=100.0, managed=managed, unmanaged=unmanaged, costs=2.0, closed=True)
    return replace(made, **changes)


def transition(row: str, trade: str = "101", at: int = T0, fallbacks: tuple[str, ...] = ()) -> TransitionRecord:
    return TransitionRecord(
        trade_id=TradeId(trade),
        ticket=Ticket(101),
        row=row,
        source=ROWS[row].source,
        target=ROWS[row].target,
        decision_id="d",
        decided_at=Millis(at),
        committed_at=Millis(at),
        version=2,
        score=-2.0,
        fallbacks=fallbacks,
        plan="",
    )


def verdict(**changes: Any) -> Verdict:
    made = Verdict(
        trade_id=TradeId("101"),
        ticket=Ticket(101),
        at=T0,
        bar=None,
        version=1,
        state=TradeState.HEALTHY,
        score=-1.5,
    )
    return replace(made, **changes)


def test_the_report_has_these_keys_in_this_order() -> None:
    assert list(report()) == KEYS


def test_the_report_is_plain_json_without_numbers_that_are_none() -> None:
    told = report(
        results=(result(1.0, 2.0),),
        transitions=(transition("healthy_to_l1"),),
        violations=(Violation(law="protected", at=T0, position=1, detail="x"),),
        rails={("rail_news", True): 2},
    )
    again = json.loads(json.dumps(told, allow_nan=False))
    assert again == json.loads(json.dumps(again))
    assert again["transitions"] == {"HEALTHY>WARNING_L1": 1}


def test_a_run_without_trades_has_no_expectancy_rather_than_nothing() -> None:
    told = report()
    assert (told["expectancy_r"], told["cost_r"], told["stopped_within_30min_of_l1"]) == (None, None, None)
    assert told["managed_minus_unmanaged_r"] == {"mean": None, "low": None, "high": None}
    assert told["score"] == {"le_-2": None, "le_-4": None, "le_-6": None}
    assert (told["net_profit"], told["trades"], told["naked_ms_max"]) == (0, 0, 0)


def test_money_is_added_up_and_r_averaged() -> None:
    told = report(results=(result(50.0, -100.0), result(-100.0, -100.0, closed=False), result(20.0, 200.0)))
    assert (told["trades"], told["closed"]) == (3, 2)
    assert (told["net_profit"], told["unmanaged_net_profit"]) == (-30.0, 0.0)
    assert told["expectancy_r"] == -0.1
    assert told["cost_r"] == 0.02
    assert told["managed_minus_unmanaged_r"]["mean"] == -0.1


def test_the_interval_holds_the_mean_and_narrows_to_it_where_all_trades_agree() -> None:
    same = report(results=(result(50.0, 0.0),) * 5)["managed_minus_unmanaged_r"]
    assert same == {"mean": 0.5, "low": 0.5, "high": 0.5}
    mixed = report(results=tuple(result(10.0 * place, 0.0) for place in range(-5, 6)))["managed_minus_unmanaged_r"]
    assert mixed["low"] < mixed["mean"] == 0.0 < mixed["high"]


def test_transitions_rows_states_and_fallbacks_are_counted() -> None:
    told = report(
        transitions=(
            transition("healthy_to_l1"),
            transition("l1_to_l2", fallbacks=("small_lot",)),
            transition("healthy_to_l1", trade="102"),
        )
    )
    assert told["rows"] == {"healthy_to_l1": 2, "l1_to_l2": 1}
    assert told["rows_trades"] == {"healthy_to_l1": ["101", "102"], "l1_to_l2": ["101"]}
    assert told["planned_fallbacks"] == {"small_lot": 1}
    assert told["states_visited"] == ["HEALTHY", "WARNING_L1", "WARNING_L2"]


def test_at_most_five_trades_are_named_for_a_row() -> None:
    many = tuple(transition("healthy_to_l1", trade=str(number)) for number in range(9))
    assert report(transitions=many)["rows_trades"] == {"healthy_to_l1": ["0", "1", "2", "3", "4"]}


def test_actions_are_counted_by_how_they_ended() -> None:
    stop = SetStop(ticket=Ticket(1), stop=Price(1.0), target=None)
    hedge = OpenHedge(ticket=Ticket(1), side=Side.SELL, volume=Lots(0.1), stop=Price(1.0), target=None)
    ends: list[tuple[Action, IntentState]] = [
        (stop, IntentState.APPLIED),
        (stop, IntentState.APPLIED),
        (stop, IntentState.REJECTED),
        (Close(ticket=Ticket(1)), IntentState.PARTIAL),
        (Close(ticket=Ticket(1)), IntentState.UNKNOWN),
    ]
    intents = tuple(
        Intent(
            intent_id=str(place),
            trade_id=TradeId("101"),
            position=101,
            decision_id="d",
            step=0,
            attempt=1,
            action=action,
            precondition=Precondition(),
            owner=Planner.DTMS,
            rule=DefenceRule.TIGHTEN,
            state=state,
            tag="t",
            created_at=T0,
            expires_at=None,
        )
        for place, (action, state) in enumerate(ends)
    )
    refusals = (Refusal(rule="rail_news", reason="x", action=hedge),)
    told = report(intents=intents, refusals=refusals)
    assert told["actions"] == {
        "close": {"applied": 0, "partial": 1, "rejected": 0, "refused": 0},
        "hedge": {"applied": 0, "partial": 0, "rejected": 0, "refused": 1},
        "set_stop": {"applied": 2, "partial": 0, "rejected": 1, "refused": 0},
    }
    assert told["refusals"] == {"rail_news": 1}


def test_rails_are_told_by_how_often_they_let_pass_and_denied() -> None:
    told = report(rails={("rail_news", True): 3, ("rail_news", False): 1, ("rail_margin", True): 4})
    assert told["rails"] == {"rail_margin": {"let": 4, "denied": 0}, "rail_news": {"let": 3, "denied": 1}}


def _warned(trade: str, minutes: float, reason: str = "gone_warning_l1") -> tuple[Trade, TransitionRecord]:
    closed = make_trade(
        TradeState.CLOSED,
        trade_id=TradeId(trade),
        closed_at=Millis(T0 + round(minutes * MINUTE)),
        close_reason=reason,
    )
    return closed, transition("healthy_to_l1", trade=trade)


def test_trades_stopped_within_half_an_hour_of_their_first_warning_are_a_share_of_the_warned() -> None:
    pairs = [
        _warned("1", 30.0),
        _warned("2", 30.001),
        _warned("3", 5.0, reason="hedged_timeout"),
        _warned("4", 1.0),
    ]
    told = report(trades=tuple(t for t, _ in pairs), transitions=tuple(r for _, r in pairs))
    assert told["stopped_within_30min_of_l1"] == 0.5


def reading(layer: Layer, raw: float | None, *branches: str) -> LayerReading:
    return LayerReading(layer=layer, raw=raw, weight=1.0, adaptive=1.0, branches=branches)


def seen(buy: float | None, sell: float | None, *layers: LayerReading) -> MarketView:
    view = make_view(Side.BUY, buy)
    return replace(view, buy=replace(view.buy, layers=layers), sell=replace(view.sell, total=sell, layers=()))


def test_layers_branches_and_score_bands_are_shares_of_what_was_scored() -> None:
    views = (
        seen(-2.0, 2.0, reading(Layer.VWAP, -0.5, "flip_against"), reading(Layer.DELTA, None)),
        seen(-6.0, 6.0, reading(Layer.VWAP, 0.0)),
        seen(-4.0, None, reading(Layer.VWAP, 0.25, "flip_against", "share_low")),
        seen(None, None),
    )
    told = report(views=views)
    assert told["score"] == {"le_-2": 3 / 5, "le_-4": 2 / 5, "le_-6": 1 / 5}
    assert told["layers"]["vwap"] == {"available": 1.0, "non_zero": pytest.approx(2 / 3)}
    assert told["layers"]["delta"] == {"available": 0.0, "non_zero": 0.0}
    assert set(told["layers"]) == {layer.value for layer in Layer}
    assert told["branches"] == {"vwap.flip_against": 2, "vwap.share_low": 1}


def test_violations_are_counted_all_and_told_the_first_twenty() -> None:
    many = tuple(Violation(law="protected", at=Millis(T0 + n), position=n, detail="x") for n in range(25))
    told = report(violations=many, naked_ms={1: 0, 2: 700})
    assert (told["invariant_violations"], len(told["violations"]), told["naked_ms_max"]) == (25, 20, 700)
    assert told["violations"][0] == {"law": "protected", "at": T0, "position": 0, "detail": "x"}


# ----- the hash


def test_the_hash_is_of_every_field_of_every_verdict_in_order() -> None:
    one, two = verdict(), verdict(at=Millis(T0 + 1))
    assert verdict_hash([one, two]) == verdict_hash([one, two])
    assert verdict_hash([one, two]) != verdict_hash([two, one])
    assert len(verdict_hash([])) == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"score": -1.5000000001},
        {"score": None},
        {"row": "healthy_to_l1"},
        {"flags": ("news_unknown",)},
        {"rails": (("rail_news", True),)},
        {"policy_hash": "x"},
        {"version": 2},
        {"fallbacks": ("small_lot",)},
    ],
    ids=str,
)
def test_the_smallest_difference_in_a_verdict_is_another_hash(changes: dict[str, Any]) -> None:
    assert verdict_hash([verdict(**changes)]) != verdict_hash([verdict()])

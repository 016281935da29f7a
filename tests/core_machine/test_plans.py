"""What each row does at the broker, with every number worked out by hand.

Gold at 2,000.00, spread 0.20, R 10.00, ATR(M15) 4.00, one lot, stop 10.00 away.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.core_machine.bench import (
    ACCOUNT,
    CALM,
    FRIDAY_CLOSE,
    GOLD,
    HEDGE_TICKET,
    INDICATORS,
    NETTING,
    POLICY,
    T0,
    TICKET,
    actions,
    make_hedge,
    make_hedged,
    make_quote,
    make_trade,
    snapshot,
)

from dtms.core import plans
from dtms.core.plans import Plan
from dtms.domain.action import Close, CloseHedge, OpenHedge, ReAdd, Reduce, SetStop
from dtms.domain.modes import Mode
from dtms.domain.policy import DefencePolicy, Policy, RailsPolicy
from dtms.domain.trade import LegKind, OnceFlags, PlanStep, Trade, TradeState
from dtms.domain.transitions import ROWS
from dtms.domain.units import MINUTE, Lots, Millis, Price, Side, Ticket
from dtms.domain.verdict import RailFacts, Snapshot

_S = TradeState
SIDES = pytest.mark.parametrize("side", Side)


def defending(**changes: Any) -> Policy:
    return replace(POLICY, defence=DefencePolicy(**changes))


def plan(row: str, trade: Trade, snap: Snapshot | None = None, policy: Policy = POLICY) -> Plan:
    return plans.make(ROWS[row], trade, snap or snapshot(trade.side), policy)


def tighten(trade: Trade, snap: Snapshot | None = None, policy: Policy = POLICY) -> list[Any]:
    return actions(plan("healthy_to_l1", trade, snap, policy).steps)


def stop_at(price: float, target: float | None = None) -> SetStop:
    return SetStop(ticket=TICKET, stop=Price(price), target=None if target is None else Price(target))


def indicators(atr: float | None) -> dict[str, Any]:
    return {"indicators": replace(INDICATORS, atr_m15=atr)}


# ----- tighten


@SIDES
def test_the_stop_is_tightened_to_one_atr_from_the_price(side: Side) -> None:
    assert tighten(make_trade(side=side)) == [stop_at(2_000.0 - side * 4.0)]


@SIDES
def test_the_stop_is_tightened_to_no_less_than_three_tenths_of_r(side: Side) -> None:
    trade = make_trade(side=side)
    assert tighten(trade, snapshot(side, **indicators(2.0))) == [stop_at(2_000.0 - side * 3.0)]


@SIDES
def test_the_tightened_stop_keeps_the_brokers_levels_and_two_spreads_away(side: Side) -> None:
    trade = make_trade(side=side)
    leveled = replace(GOLD, stops_level=3.0, freeze_level=2.0)
    assert tighten(trade, snapshot(side, instrument=leveled)) == [stop_at(2_000.0 - side * 5.4)]


@SIDES
def test_a_tightened_stop_is_rounded_away_from_danger(side: Side) -> None:
    trade = make_trade(side=side)
    assert tighten(trade, snapshot(side, **indicators(4.003))) == [stop_at(2_000.0 - side * 4.0)]


def test_a_tightening_names_the_present_target_so_that_it_is_kept() -> None:
    assert tighten(make_trade(target=Price(2_030.0))) == [stop_at(1_996.0, 2_030.0)]


@SIDES
def test_a_tightening_that_gains_less_than_two_hundredths_of_r_is_left_out(side: Side) -> None:
    gains = make_trade(side=side, stop=Price(2_000.0 - side * 4.2))
    too_little = make_trade(side=side, stop=Price(2_000.0 - side * 4.19))
    assert tighten(gains) == [stop_at(2_000.0 - side * 4.0)]
    assert tighten(too_little) == []


def test_a_tightening_that_gains_less_than_a_tick_is_left_out_however_small_r_is() -> None:
    small = make_trade(r=0.1, stop=Price(1_995.99))
    assert tighten(small) == [stop_at(1_996.0)]
    assert tighten(replace(small, stop=Price(1_996.0))) == []


@SIDES
def test_a_second_tightening_needs_half_an_r_more(side: Side) -> None:
    trade = make_trade(side=side, marks=OnceFlags(tightened_at_r=0.0), stop=Price(2_000.0 - side * 4.0))
    assert tighten(trade, snapshot(side, 2_000.0 + side * 5.0)) == [stop_at(2_000.0 + side * 1.0)]
    assert tighten(trade, snapshot(side, 2_000.0 + side * 4.99)) == []


def test_a_position_without_a_stop_gets_one_by_tightening() -> None:
    assert tighten(make_trade(stop=None)) == [stop_at(1_996.0)]


@pytest.mark.parametrize(
    "blind", [{"quote": None}, {"quote_stale": True}, {"indicators": None}, indicators(None)], ids=str
)
def test_nothing_is_tightened_without_a_fresh_price_and_an_atr(blind: dict[str, Any]) -> None:
    assert tighten(make_trade(), snapshot(**blind)) == []


def test_the_warning_commits_with_its_refusal_where_the_arbiter_denies_the_stop() -> None:
    near = replace(GOLD, stops_level=5.0)
    tight = Policy(defence=DefencePolicy(tighten_spreads=0.0))
    made = plan("healthy_to_l1", make_trade(), snapshot(instrument=replace(near, freeze_level=0.0)), tight)
    assert actions(made.steps) == [stop_at(1_995.0)]
    held = plan("healthy_to_l1", make_trade(), snapshot(mode=Mode.HALT), tight)
    assert (held.steps, [refusal.rule for refusal in held.refusals]) == ((), ["mode"])


# ----- the partial and breakeven


@SIDES
@pytest.mark.parametrize("row", ["l1_to_l2", "healthy_to_l2"])
def test_the_second_warning_halves_the_trade_first_and_keeps_the_stop_where_the_price_is_not_beyond_breakeven(
    row: str, side: Side
) -> None:
    made = plan(row, make_trade(_S.WARNING_L1, side))
    assert actions(made.steps) == [Reduce(ticket=TICKET, remaining=Lots(0.5))]
    assert (made.steps[0].required, made.steps[0].taken, made.steps[0].price_based) == (True, 0.5, False)
    assert actions(made.steps[0].fallback) == [stop_at(2_000.0 - side * 4.0)]
    assert made.steps[0].fallback_name == "partial_refused"


@SIDES
def test_breakeven_covers_commission_swap_and_half_a_spread_and_needs_a_tick_more(side: Side) -> None:
    # 7.00 a lot over 100.00 a unit is 0.07; 5.00 a lot of swap debited 0.05; half of the spread 0.10.
    costs: dict[str, Any] = {"commission_per_lot": 7.0, "swap_per_lot": -5.0}
    trade = make_trade(_S.WARNING_L1, side)
    level = 2_000.0 + side * 0.22
    allowed = plan("l1_to_l2", trade, snapshot(side, 2_000.0 + side * 0.23, **costs))
    assert actions(allowed.steps) == [Reduce(ticket=TICKET, remaining=Lots(0.5)), stop_at(level)]
    assert (allowed.steps[1].required, allowed.steps[1].price_based) == (False, True)
    denied = plan("l1_to_l2", trade, snapshot(side, 2_000.0 + side * 0.22, **costs))
    assert actions(denied.steps) == [Reduce(ticket=TICKET, remaining=Lots(0.5))]


def test_a_swap_credit_makes_breakeven_no_cheaper() -> None:
    credit = snapshot(price=2_001.0, commission_per_lot=7.0, swap_per_lot=+500.0)
    made = plan("l1_to_l2", make_trade(_S.WARNING_L1), credit)
    assert actions(made.steps)[1:] == [stop_at(2_000.17)]


def test_breakeven_keeps_the_brokers_levels_away_too() -> None:
    leveled = replace(GOLD, stops_level=0.3, freeze_level=0.2)
    trade = make_trade(_S.WARNING_L1)
    assert actions(plan("l1_to_l2", trade, snapshot(price=2_000.61, instrument=leveled)).steps)[1:] == [
        stop_at(2_000.1)
    ]
    assert actions(plan("l1_to_l2", trade, snapshot(price=2_000.60, instrument=leveled)).steps)[1:] == []


def test_a_stop_that_is_tighter_than_breakeven_is_kept() -> None:
    trade = make_trade(_S.WARNING_L1, stop=Price(2_003.0))
    assert actions(plan("l1_to_l2", trade, snapshot(price=2_010.0)).steps) == [
        Reduce(ticket=TICKET, remaining=Lots(0.5))
    ]


@pytest.mark.parametrize(
    ("volume", "remaining"), [(1.0, 0.5), (0.03, 0.02), (0.02, 0.01), (0.05, 0.03), (0.99, 0.50), (0.1, 0.05)]
)
def test_the_part_that_is_closed_is_rounded_down_to_the_step(volume: float, remaining: float) -> None:
    made = plan("l1_to_l2", make_trade(_S.WARNING_L1, volume=Lots(volume)))
    assert actions(made.steps) == [Reduce(ticket=TICKET, remaining=Lots(remaining))]


def test_a_lot_too_small_to_halve_is_tightened_instead_under_its_name() -> None:
    made = plan("l1_to_l2", make_trade(_S.WARNING_L1, volume=Lots(0.01)))
    assert (actions(made.steps), made.fallbacks) == ([stop_at(1_996.0)], ("small_lot",))


def test_a_lot_too_small_to_halve_is_closed_where_the_policy_says_so() -> None:
    made = plan("l1_to_l2", make_trade(_S.WARNING_L1, volume=Lots(0.01)), policy=defending(small_lot="close_all"))
    assert (actions(made.steps), made.fallbacks) == ([Close(ticket=TICKET)], ("small_lot_close_all",))


def test_a_rest_below_the_minimum_counts_as_too_small() -> None:
    coarse = replace(GOLD, volume_min=0.3, volume_step=0.1)
    trade = make_trade(_S.WARNING_L1, volume=Lots(0.5))
    made = plan("l1_to_l2", trade, snapshot(instrument=coarse))
    assert made.fallbacks == ("small_lot",)


def test_the_defensive_partial_is_taken_once_and_the_stop_tightened_the_next_time() -> None:
    trade = make_trade(_S.WARNING_L1, volume=Lots(0.5), marks=OnceFlags(defensive_partial_done=True))
    made = plan("l1_to_l2", trade)
    assert (actions(made.steps), made.fallbacks) == ([stop_at(1_996.0)], ("partial_done",))


def test_on_a_fifo_account_a_younger_position_gets_a_stop_change_and_says_so() -> None:
    snap = snapshot(account=replace(ACCOUNT, fifo=True), oldest_on_symbol=False)
    made = plan("l1_to_l2", make_trade(_S.WARNING_L1), snap)
    assert (actions(made.steps), made.fallbacks) == ([stop_at(1_996.0)], ("partial_refused:fifo",))
    assert [refusal.rule for refusal in made.refusals] == ["fifo"]


def test_on_a_fifo_account_the_oldest_position_is_reduced() -> None:
    snap = snapshot(account=replace(ACCOUNT, fifo=True), oldest_on_symbol=True)
    assert actions(plan("l1_to_l2", make_trade(_S.WARNING_L1), snap).steps) == [
        Reduce(ticket=TICKET, remaining=Lots(0.5))
    ]


@pytest.mark.parametrize("share", [0.05, 0.33, 0.95])
def test_the_share_of_the_partial_is_the_policys(share: float) -> None:
    made = plan("l1_to_l2", make_trade(_S.WARNING_L1), policy=defending(partial_share=share))
    assert actions(made.steps) == [Reduce(ticket=TICKET, remaining=Lots(round(1.0 - share, 2)))]


# ----- the hedge


@SIDES
def test_a_hedge_covers_half_of_what_is_left_with_its_own_stop_and_the_parents_stop_as_target(side: Side) -> None:
    made = plan("l2_to_hedged", make_trade(_S.WARNING_L2, side, volume=Lots(0.5)))
    step = made.steps[0]
    assert step.action == OpenHedge(
        ticket=TICKET,
        side=side.opposite,
        volume=Lots(0.25),
        stop=Price(2_000.0 + side * 6.2),  # 1.5 ATR and the spread beyond where it opens
        target=Price(2_000.0 - side * 10.0),
    )
    assert (step.required, step.price_based) == (True, True)
    assert step.own_stop_distance == pytest.approx(6.2)
    assert [rail for rail, _ in made.rails] == [
        "rail_day_loss",
        "rail_hour_loss",
        "rail_losing_streak",
        "rail_news",
        "rail_spread",
        "rail_margin",
        "rail_stale_quote",
    ]


def test_a_hedge_that_is_refused_later_reduces_by_the_same_volume_and_then_tightens() -> None:
    step = plan("l2_to_hedged", make_trade(_S.WARNING_L2)).steps[0]
    assert (step.fallback_name, actions(step.fallback)) == (
        "hedge_refused",
        [Reduce(ticket=TICKET, remaining=Lots(0.5))],
    )
    assert step.fallback[0].rule == "defence.hedge_reduction"
    assert actions(step.fallback[0].fallback) == [stop_at(1_996.0)]


_DENIED: dict[str, dict[str, Any]] = {
    "rail_day_loss": {"day_loss": 0.02},
    "rail_hour_loss": {"hour_loss": 0.01},
    "rail_losing_streak": {"losing_streak": 3},
    "rail_news": {"news": "NFP"},
    "rail_spread": {"spread": 0.41},
    "rail_margin": {"margin_level": 199.9},
    "rail_stale_quote": {"quote_stale": True},
}


def facts(changes: dict[str, Any]) -> RailFacts:
    return replace(CALM, **changes)


@pytest.mark.parametrize("rail", _DENIED)
def test_a_hedge_that_a_rail_denies_reduces_instead_under_the_rails_name(rail: str) -> None:
    made = plan("l2_to_hedged", make_trade(_S.WARNING_L2), snapshot(rails=facts(_DENIED[rail])))
    assert (actions(made.steps), made.fallbacks) == (
        [Reduce(ticket=TICKET, remaining=Lots(0.5))],
        (f"hedge_refused:{rail}",),
    )
    assert (rail, False) in made.rails
    assert [refusal.rule for refusal in made.refusals] == [rail]


@pytest.mark.parametrize(
    ("trade", "snap", "policy", "fallbacks", "rule"),
    [
        (make_trade(_S.WARNING_L2), {}, defending(defence="reduce"), ("policy_reduce",), "defence.hedge_reduction"),
        (make_trade(_S.WARNING_L2), {"account": NETTING}, POLICY, ("netting",), "defence.hedge_equivalent"),
        (
            make_trade(_S.WARNING_L2),
            {"instrument": replace(GOLD, hedge_allowed=False)},
            POLICY,
            ("netting",),
            "defence.hedge_equivalent",
        ),
        (
            make_trade(_S.WARNING_L2, marks=OnceFlags(hedge_used=True)),
            {},
            POLICY,
            ("hedge_used",),
            "defence.hedge_reduction",
        ),
        (
            make_trade(_S.WARNING_L2),
            {"now": FRIDAY_CLOSE - 120 * MINUTE},
            POLICY,
            ("close_is_near",),
            "defence.hedge_reduction",
        ),
        (make_trade(_S.WARNING_L2), {"indicators": None}, POLICY, ("no_price",), "defence.hedge_reduction"),
        (make_trade(_S.WARNING_L2), {"quote": None}, POLICY, ("no_price",), "defence.hedge_reduction"),
        (make_trade(_S.WARNING_L2, stop=None), {}, POLICY, ("no_price",), "defence.hedge_reduction"),
        (
            make_trade(_S.WARNING_L2),
            {"instrument": replace(GOLD, opening_allowed=False)},
            POLICY,
            ("hedge_refused:trade_mode",),
            "defence.hedge_reduction",
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else "",
)
def test_where_a_hedge_cannot_be_the_same_volume_is_closed_and_the_reason_is_named(
    trade: Trade, snap: dict[str, Any], policy: Policy, fallbacks: tuple[str, ...], rule: str
) -> None:
    made = plan("l2_to_hedged", trade, snapshot(**snap), policy)
    assert (actions(made.steps), made.fallbacks) == ([Reduce(ticket=TICKET, remaining=Lots(0.5))], fallbacks)
    assert made.steps[0].rule == rule


def test_a_minute_before_the_last_two_hours_a_hedge_is_still_opened() -> None:
    now = FRIDAY_CLOSE - 121 * MINUTE
    made = plan("l2_to_hedged", make_trade(_S.WARNING_L2), snapshot(now=now))
    assert isinstance(made.steps[0].action, OpenHedge)


def test_a_hedge_below_the_minimum_lot_is_no_hedge_and_the_stop_is_tightened() -> None:
    made = plan("l2_to_hedged", make_trade(_S.WARNING_L2, volume=Lots(0.01)))
    assert (actions(made.steps), made.fallbacks) == ([stop_at(1_996.0)], ("hedge_below_minimum",))


def test_the_reduction_in_place_of_a_hedge_is_done_once_and_then_only_the_stop_is_tightened() -> None:
    marks = OnceFlags(hedge_used=True, hedge_reduction_done=True)
    made = plan("l2_to_hedged", make_trade(_S.WARNING_L2, marks=marks))
    assert (actions(made.steps), made.fallbacks) == ([stop_at(1_996.0)], ("hedge_used", "reduction_done"))


def test_a_reduction_that_would_leave_less_than_the_minimum_only_tightens() -> None:
    trade = make_trade(_S.WARNING_L2, volume=Lots(0.01), marks=OnceFlags(hedge_used=True))
    made = plan("l2_to_hedged", trade)
    assert (actions(made.steps), made.fallbacks) == ([stop_at(1_996.0)], ("hedge_used", "small_lot"))


# ----- unhedge, restore, re-add


@SIDES
def test_the_way_out_of_a_hedge_closes_it_and_asks_the_rails(side: Side) -> None:
    made = plan("hedged_to_recovering", make_hedged(side))
    assert actions(made.steps) == [CloseHedge(ticket=TICKET, hedge=HEDGE_TICKET)]
    assert made.steps[0].required
    assert len(made.rails) == 7


@pytest.mark.parametrize("rail", _DENIED)
def test_an_unhedge_that_a_rail_denies_cannot_happen_now(rail: str) -> None:
    made = plan("hedged_to_recovering", make_hedged(), snapshot(rails=facts(_DENIED[rail])))
    assert (made.impossible, made.steps) == (True, ())
    assert [refusal.rule for refusal in made.refusals] == [rail]


def test_on_netting_the_volume_that_was_taken_off_is_restored_as_an_increase() -> None:
    trade = make_trade(_S.HEDGED, volume=Lots(0.5), marks=OnceFlags(hedge_equivalent=0.25), target=Price(2_030.0))
    made = plan("hedged_to_recovering", trade, snapshot(account=NETTING))
    restore = ReAdd(ticket=TICKET, side=Side.BUY, volume=Lots(0.25), stop=Price(1_990.0), target=Price(2_030.0))
    assert (actions(made.steps), made.steps[0].required, made.impossible) == ([restore], False, False)


def test_a_restoring_that_a_rail_denies_leaves_the_trade_reduced_and_recovering() -> None:
    trade = make_trade(_S.HEDGED, marks=OnceFlags(hedge_equivalent=0.25))
    made = plan("hedged_to_recovering", trade, snapshot(account=NETTING, rails=facts({"day_loss": 0.5})))
    assert (made.steps, made.impossible, [r.rule for r in made.refusals]) == ((), False, ["rail_day_loss"])


def test_a_reduction_on_a_hedging_account_is_not_restored() -> None:
    trade = make_trade(_S.HEDGED, marks=OnceFlags(hedge_used=True, hedge_reduction_done=True))
    made = plan("hedged_to_recovering", trade)
    assert (made.steps, made.impossible) == ((), False)


def recovering(**changes: Any) -> Trade:
    marks = OnceFlags(defensive_partial_done=True, defensive_partial_volume=0.5)
    given: dict[str, Any] = {"volume": Lots(0.5), "stop": Price(1_996.0), "marks": marks, **changes}
    return make_trade(_S.RECOVERING, **given)


RE_ADD = defending(re_add="on")


def test_nothing_is_bought_back_unless_the_policy_says_so() -> None:
    assert plan("recovering_to_healthy", recovering()).steps == ()


def test_the_defensive_partial_is_bought_back_with_the_parents_stop_and_target() -> None:
    made = plan("recovering_to_healthy", recovering(target=Price(2_030.0)), policy=RE_ADD)
    assert actions(made.steps) == [
        ReAdd(ticket=TICKET, side=Side.BUY, volume=Lots(0.5), stop=Price(1_996.0), target=Price(2_030.0))
    ]
    assert not made.steps[0].required


def test_never_more_is_bought_back_than_the_defence_had_taken() -> None:
    marks = OnceFlags(defensive_partial_done=True, defensive_partial_volume=0.2)
    made = plan("recovering_to_healthy", recovering(volume=Lots(0.3), marks=marks), policy=RE_ADD)
    assert [step.action.volume for step in made.steps if isinstance(step.action, ReAdd)] == [Lots(0.2)]


def test_never_more_is_held_than_at_first() -> None:
    made = plan("recovering_to_healthy", recovering(volume=Lots(0.9)), policy=RE_ADD)
    assert [step.action.volume for step in made.steps if isinstance(step.action, ReAdd)] == [Lots(0.1)]


def test_never_more_is_risked_than_at_first() -> None:
    # 10.00 x 1 lot at first; 10.00 x 0.9 is at risk now; one lot bought at 2,000.20 risks 10.20.
    made = plan("recovering_to_healthy", recovering(volume=Lots(0.9), stop=Price(1_990.0)), policy=RE_ADD)
    assert [step.action.volume for step in made.steps if isinstance(step.action, ReAdd)] == [Lots(0.09)]


@pytest.mark.parametrize(
    ("trade", "snap"),
    [
        (recovering(marks=OnceFlags(defensive_partial_volume=0.5, readd_done=True)), {}),
        (recovering(marks=OnceFlags()), {}),
        (recovering(stop=None), {}),
        (recovering(volume=Lots(1.0)), {}),
        (recovering(), {"quote": None}),
        (recovering(), {"now": FRIDAY_CLOSE - 120 * MINUTE}),
    ],
    ids=["done", "nothing taken", "no stop", "whole already", "no price", "close is near"],
)
def test_nothing_is_bought_back(trade: Trade, snap: dict[str, Any]) -> None:
    assert plan("recovering_to_healthy", trade, snapshot(**snap), RE_ADD).steps == ()


def test_a_buying_back_that_a_rail_denies_is_recorded_and_left_out() -> None:
    made = plan("recovering_to_healthy", recovering(), snapshot(rails=facts({"losing_streak": 3})), RE_ADD)
    assert (made.steps, [r.rule for r in made.refusals], made.impossible) == ((), ["rail_losing_streak"], False)


# ----- closing


def closing(trade: Trade) -> tuple[PlanStep, ...]:
    return plan("character_hedged", trade, snapshot(trade.side, quote=None, quote_stale=True)).steps


APART = [Close(ticket=TICKET), Close(ticket=HEDGE_TICKET)]


def test_a_trade_without_a_hedge_is_closed_in_one_step() -> None:
    steps = plan("recovering_timeout", make_trade(_S.RECOVERING), snapshot(quote=None)).steps
    assert (actions(steps), steps[0].required) == ([Close(ticket=TICKET)], True)


@SIDES
@pytest.mark.parametrize(
    ("main", "hedge", "first"),
    [
        (1.0, 0.5, [Reduce(ticket=TICKET, remaining=Lots(0.5))]),
        (0.5, 0.5, []),
        (0.3, 0.5, [Reduce(ticket=HEDGE_TICKET, remaining=Lots(0.3))]),
    ],
    ids=["main larger", "equal", "main smaller"],
)
def test_a_hedged_trade_is_evened_out_and_then_closed_against_its_hedge(
    side: Side, main: float, hedge: float, first: list[Reduce]
) -> None:
    trade = make_hedged(side, volume=Lots(main), legs=(make_hedge(side, volume=Lots(hedge)),))
    steps = closing(trade)
    assert actions(steps) == [*first, Close(ticket=TICKET, by=HEDGE_TICKET)]
    assert (actions(steps[-1].fallback), steps[-1].fallback_name) == (APART, "closed_apart")
    assert all(step.required for step in (*steps, *steps[-1].fallback))


@pytest.mark.parametrize(("main", "hedge"), [(1.0, 0.5), (0.5, 0.5), (0.3, 0.5), (0.01, 0.01)])
def test_the_net_exposure_only_falls_along_the_closing_plan(main: float, hedge: float) -> None:
    trade = make_hedged(volume=Lots(main), legs=(make_hedge(volume=Lots(hedge)),))
    steps = closing(trade)
    for path in (steps, (*steps[:-1], *steps[-1].fallback)):
        left = {int(TICKET): main, int(HEDGE_TICKET): hedge}
        nets = [abs(main - hedge)]
        for step in path:
            match step.action:
                case Reduce(ticket=ticket, remaining=remaining):
                    left[ticket] = remaining
                case Close(ticket=ticket, by=None):
                    left[ticket] = 0.0
                case Close(ticket=ticket, by=int() as by):
                    left[ticket] = left[by] = 0.0
                case _:
                    pytest.fail(f"{step.action} has no place in a closing plan")
            nets.append(abs(left[TICKET] - left[HEDGE_TICKET]))
        assert sum(left.values()) == 0
        # Apart, the hedge stands alone for one step; before and after it nothing grows.
        apart = path is not steps
        assert nets == sorted(nets, reverse=True) or apart


def test_a_bought_back_part_is_closed_before_the_main_leg() -> None:
    part = make_hedge(kind=LegKind.RE_ADD, ticket=Ticket(103), identifier=103, side=Side.BUY)
    steps = plan("recovering_timeout", make_trade(_S.RECOVERING, legs=(part,))).steps
    assert actions(steps) == [Close(ticket=Ticket(103)), Close(ticket=TICKET)]


def test_where_the_main_leg_is_gone_every_child_is_closed() -> None:
    part = make_hedge(kind=LegKind.RE_ADD, ticket=Ticket(103), identifier=103, side=Side.BUY)
    steps = plan("gone_hedged", make_hedged(legs=(make_hedge(), part))).steps
    assert actions(steps) == [Close(ticket=HEDGE_TICKET), Close(ticket=Ticket(103))]


@pytest.mark.parametrize("row", [name for name, row in ROWS.items() if row.plan.value == "none"])
def test_a_row_without_a_plan_asks_nothing_of_the_broker(row: str) -> None:
    assert plan(row, make_trade(ROWS[row].source)) == Plan()


def test_closing_asks_no_rail_and_needs_no_price() -> None:
    bad = snapshot(quote=None, quote_stale=True, indicators=None, rails=facts({"day_loss": None, "margin_level": None}))
    made = plan("hedged_timeout", make_hedged(), bad)
    assert (made.rails, made.refusals) == ((), ())
    assert actions(made.steps)[-1] == Close(ticket=TICKET, by=HEDGE_TICKET)


def test_without_rails_a_hedge_is_opened_whatever_is_unknown() -> None:
    unknown = facts({"day_loss": None, "spread_median": None})
    off = replace(POLICY, rails=RailsPolicy(enabled=False))
    made = plan("l2_to_hedged", make_trade(_S.WARNING_L2), snapshot(rails=unknown), off)
    assert (isinstance(made.steps[0].action, OpenHedge), made.rails) == (True, ())


def test_a_hedge_without_a_calendar_is_opened_and_flagged() -> None:
    made = plan("l2_to_hedged", make_trade(_S.WARNING_L2), snapshot(rails=facts({"news_known": False})))
    assert (isinstance(made.steps[0].action, OpenHedge), made.flags) == (True, ("news_unknown",))


def test_the_step_remembers_at_which_r_it_was_decided() -> None:
    trade = make_trade()
    made = plan("healthy_to_l1", trade, snapshot(price=1_997.5))
    assert made.steps[0].at_r == pytest.approx(-0.25)
    blind = plan("hedged_timeout", make_hedged(), snapshot(quote=None))
    assert blind.steps[-1].at_r is None


def test_a_wide_spread_pushes_the_tightened_stop_away() -> None:
    wide = snapshot(quote=make_quote(2_000.0, spread=3.0, at=T0))
    assert tighten(make_trade(), wide) == [stop_at(1_994.0)]


def test_the_time_of_a_plan_is_the_snapshots_alone() -> None:
    made = [plan("l2_to_hedged", make_trade(_S.WARNING_L2), snapshot(now=Millis(T0 + shift))) for shift in (0, 1, 999)]
    assert made[0] == made[1] == made[2]

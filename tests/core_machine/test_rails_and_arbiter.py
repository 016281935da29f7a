"""The rails' limits on both sides, what each unknown means, and what the arbiter lets through whoever proposes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core_machine.bench import (
    ACCOUNT,
    CALM,
    GOLD,
    HEDGE_TICKET,
    NETTING,
    POLICY,
    TICKET,
    make_trade,
    snapshot,
)

from dtms.core import rails
from dtms.core.arbiter import Ruling, review, review_opening
from dtms.domain.action import (
    Action,
    Close,
    CloseHedge,
    OpenHedge,
    OpenTrade,
    ReAdd,
    Reduce,
    Resource,
    RiskDirection,
    SetStop,
    kind_of,
    resource_of,
    risk_of,
)
from dtms.domain.modes import Mode
from dtms.domain.policy import RailsPolicy
from dtms.domain.rules import DefenceRule
from dtms.domain.trade import Hold, Trade
from dtms.domain.units import Lots, Price, Side
from dtms.domain.verdict import Approved, KillLevel, RailFacts, Refusal, Snapshot

NAN = float("nan")
LIMITS = RailsPolicy()

# rail, the last value that passes, the first that does not
_EDGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("rail_day_loss", {"day_loss": 0.02 - 1e-9}, {"day_loss": 0.02}),
    ("rail_hour_loss", {"hour_loss": 0.01 - 1e-9}, {"hour_loss": 0.01}),
    ("rail_losing_streak", {"losing_streak": 2}, {"losing_streak": 3}),
    ("rail_news", {"news": ""}, {"news": "Non-Farm Payrolls"}),
    ("rail_spread", {"spread": 0.4}, {"spread": 0.4 + 1e-9}),
    ("rail_margin", {"margin_level": 200.0}, {"margin_level": 200.0 - 1e-9}),
    ("rail_stale_quote", {"quote_stale": False}, {"quote_stale": True}),
]


def denied(facts: RailFacts) -> list[str]:
    return [answer.rail for answer in rails.ask(facts, LIMITS) if not answer.allowed]


@pytest.mark.parametrize(("rail", "passes", "fails"), _EDGES, ids=[edge[0] for edge in _EDGES])
def test_each_rail_denies_from_its_limit_on_and_no_sooner(
    rail: str, passes: dict[str, Any], fails: dict[str, Any]
) -> None:
    assert denied(replace(CALM, **passes)) == []
    assert denied(replace(CALM, **fails)) == [rail]


_UNKNOWN: list[tuple[str, dict[str, Any]]] = [
    ("rail_day_loss", {"day_loss": None}),
    ("rail_hour_loss", {"hour_loss": None}),
    ("rail_losing_streak", {"losing_streak": None}),
    ("rail_spread", {"spread": None}),
    ("rail_spread", {"spread_median": None}),
    ("rail_margin", {"margin_level": None}),
    ("rail_stale_quote", {"quote_stale": None}),
]


@pytest.mark.parametrize(("rail", "unknown"), _UNKNOWN, ids=[str(each[1]) for each in _UNKNOWN])
def test_what_a_rail_does_not_know_denies_and_says_that_it_is_unknown(rail: str, unknown: dict[str, Any]) -> None:
    answers = rails.ask(replace(CALM, **unknown), LIMITS)
    assert [answer.rail for answer in answers if not answer.allowed] == [rail]
    assert "unknown" in next(answer.reason for answer in answers if answer.rail == rail)


def test_unknown_news_let_pass_and_flag_it() -> None:
    answers = rails.ask(replace(CALM, news_known=False, news=""), LIMITS)
    assert [(answer.rail, answer.flag) for answer in answers if answer.flag] == [("rail_news", "news_unknown")]
    assert all(answer.allowed for answer in answers)


@pytest.mark.parametrize("field", ["day_loss", "hour_loss", "spread", "spread_median", "margin_level"])
def test_a_number_that_is_none_denies_like_an_unknown(field: str) -> None:
    facts: dict[str, Any] = {field: NAN}
    assert len(denied(replace(CALM, **facts))) == 1


def test_a_gain_is_no_loss() -> None:
    assert denied(replace(CALM, day_loss=-0.5, hour_loss=-0.5)) == []


def test_all_rails_are_asked_in_one_order_whatever_the_first_says() -> None:
    worst = replace(CALM, day_loss=1.0, hour_loss=1.0, losing_streak=9, news="NFP", spread=9.0, margin_level=0.0)
    assert denied(replace(worst, quote_stale=True)) == [edge[0] for edge in _EDGES]


def test_rails_that_are_off_ask_nothing() -> None:
    assert rails.ask(replace(CALM, day_loss=None), RailsPolicy(enabled=False)) == ()


# ----- the arbiter

TIGHTER = SetStop(ticket=TICKET, stop=Price(1_995.0), target=None)
HEDGE = OpenHedge(ticket=TICKET, side=Side.SELL, volume=Lots(0.5), stop=Price(2_006.2), target=Price(1_990.0))
RE_ADD = ReAdd(ticket=TICKET, side=Side.BUY, volume=Lots(0.1), stop=Price(1_990.0), target=None)
WIDER = SetStop(ticket=TICKET, stop=Price(1_985.0), target=None, widens=True)
OPEN = OpenTrade(symbol="XAUUSD", side=Side.BUY, volume=Lots(0.1), stop=Price(1_990.0), target=None)
UNHEDGE = CloseHedge(ticket=TICKET, hedge=HEDGE_TICKET)
REDUCING: list[Action] = [
    TIGHTER,
    Reduce(ticket=TICKET, remaining=Lots(0.5)),
    Close(ticket=TICKET),
    Close(ticket=TICKET, by=HEDGE_TICKET),
]
INCREASING: list[Action] = [HEDGE, UNHEDGE, RE_ADD, WIDER]
by_name = pytest.mark.parametrize


def ruled(action: Action, trade: Trade | None = None, **seen: Any) -> Ruling:
    return review(action, trade or make_trade(), snapshot(**seen), POLICY, rule=DefenceRule.TIGHTEN)


def refusal(ruling: Ruling) -> str:
    assert isinstance(ruling.answer, Refusal)
    return ruling.answer.rule


BAD_DAY = replace(CALM, day_loss=None, hour_loss=None, losing_streak=None, spread=None, margin_level=None)


@by_name("action", REDUCING, ids=repr)
def test_no_rail_is_asked_for_what_reduces_risk(action: Action) -> None:
    ruling = ruled(action, rails=BAD_DAY)
    assert ruling == Ruling(answer=Approved(action=action, rule=DefenceRule.TIGHTEN, risk=RiskDirection.REDUCE))


@by_name("action", INCREASING, ids=repr)
def test_what_adds_risk_needs_every_rail(action: Action) -> None:
    allowed = ruled(action)
    assert allowed.answer == Approved(action=action, rule=DefenceRule.TIGHTEN, risk=RiskDirection.INCREASE)
    assert len(allowed.rails) == len(_EDGES)
    assert refusal(ruled(action, rails=BAD_DAY)) == "rail_day_loss"


@by_name("action", INCREASING, ids=repr)
@by_name("seen", [{"mode": Mode.PROTECT_ONLY}, {"kill": KillLevel.PROTECT_ONLY}, {"kill": KillLevel.FLATTEN}], ids=str)
def test_protect_only_lets_through_what_reduces_risk_alone(action: Action, seen: dict[str, Any]) -> None:
    assert refusal(ruled(action, **seen)) == "mode"
    assert ruled(TIGHTER, **seen).approved


@by_name("action", [*REDUCING, *INCREASING], ids=repr)
def test_halt_lets_nothing_through(action: Action) -> None:
    assert refusal(ruled(action, mode=Mode.HALT)) == "mode"


@by_name("action", [*REDUCING, *INCREASING], ids=repr)
@by_name("hold", [hold for hold in Hold if hold is not Hold.NONE])
def test_nothing_is_planned_for_a_trade_that_is_only_observed(action: Action, hold: Hold) -> None:
    assert refusal(ruled(action, make_trade(hold=hold))) == "hold"


@pytest.mark.parametrize("side", Side)
def test_a_stop_may_stay_or_tighten_but_not_loosen(side: Side) -> None:
    trade = make_trade(side=side)
    present = 2_000.0 - side * 10.0
    for stop, approved in ((present, True), (present + side * 0.01, True), (present - side * 0.01, False)):
        action = SetStop(ticket=TICKET, stop=Price(stop), target=None)
        ruling = review(action, trade, snapshot(side), POLICY, rule=DefenceRule.TIGHTEN)
        assert ruling.approved is approved
        if not approved:
            assert refusal(ruling) == "monotone_stop"


@pytest.mark.parametrize("side", Side)
def test_a_stop_keeps_the_brokers_distance(side: Side) -> None:
    leveled = replace(GOLD, stops_level=2.0)
    near = SetStop(ticket=TICKET, stop=Price(2_000.0 - side * 1.99), target=None)
    exact = SetStop(ticket=TICKET, stop=Price(2_000.0 - side * 2.0), target=None)
    snap = snapshot(side, instrument=leveled)
    assert review(exact, make_trade(side=side), snap, POLICY, rule=DefenceRule.TIGHTEN).approved
    assert refusal(review(near, make_trade(side=side), snap, POLICY, rule=DefenceRule.TIGHTEN)) == "stops_level"


@pytest.mark.parametrize("stop", [2_000.0, 2_000.01, 2_010.0])
def test_a_stop_at_or_beyond_the_price_is_no_stop(stop: float) -> None:
    assert refusal(ruled(SetStop(ticket=TICKET, stop=Price(stop), target=None))) == "stops_level"


def test_a_tick_on_the_losing_side_is_enough_where_the_broker_asks_for_nothing() -> None:
    assert ruled(SetStop(ticket=TICKET, stop=Price(1_999.99), target=None)).approved


def test_without_a_price_no_stop_is_moved_but_a_position_is_closed() -> None:
    assert refusal(ruled(TIGHTER, quote=None)) == "no_quote"
    assert ruled(Close(ticket=TICKET), quote=None, quote_stale=True).approved


def test_a_childs_stop_is_the_gateways_to_check() -> None:
    assert ruled(SetStop(ticket=HEDGE_TICKET, stop=Price(2_050.0), target=Price(1_990.0)), quote=None).approved


@pytest.mark.parametrize("action", [Reduce(ticket=TICKET, remaining=Lots(0.5)), Close(ticket=TICKET)], ids=repr)
def test_on_a_fifo_account_only_the_oldest_is_closed(action: Action) -> None:
    fifo = replace(ACCOUNT, fifo=True)
    assert refusal(ruled(action, account=fifo, oldest_on_symbol=False)) == "fifo"
    assert ruled(action, account=fifo, oldest_on_symbol=True).approved
    assert ruled(TIGHTER, account=fifo, oldest_on_symbol=False).approved


@pytest.mark.parametrize("seen", [{"account": NETTING}, {"instrument": replace(GOLD, hedge_allowed=False)}], ids=str)
def test_no_hedge_where_account_or_symbol_has_none(seen: dict[str, Any]) -> None:
    assert refusal(ruled(HEDGE, **seen)) == "hedge_impossible"


@pytest.mark.parametrize("action", INCREASING, ids=repr)
def test_nothing_is_opened_where_the_broker_only_closes(action: Action) -> None:
    assert refusal(ruled(action, instrument=replace(GOLD, opening_allowed=False))) == "trade_mode"


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        ({"kill": KillLevel.PAUSE}, "kill_switch"),
        ({"kill": KillLevel.PROTECT_ONLY}, "kill_switch"),
        ({"kill": KillLevel.FLATTEN}, "kill_switch"),
        ({"mode": Mode.PROTECT_ONLY}, "mode"),
        ({"mode": Mode.HALT}, "mode"),
        ({"account": replace(ACCOUNT, trade_allowed=False)}, "trade_disabled"),
        ({"instrument": replace(GOLD, opening_allowed=False)}, "trade_mode"),
        ({"quote": None}, "no_quote"),
        ({"rails": BAD_DAY}, "rail_day_loss"),
        ({"instrument": replace(GOLD, stops_level=10.01)}, "stops_level"),
    ],
    ids=str,
)
def test_a_new_position_is_not_opened(seen: dict[str, Any], rule: str) -> None:
    assert review_opening(OPEN, snapshot(), POLICY, rule=DefenceRule.TIGHTEN).approved
    assert refusal(review_opening(OPEN, snapshot(**seen), POLICY, rule=DefenceRule.TIGHTEN)) == rule


def test_each_action_has_its_kind_resource_and_direction_of_risk() -> None:
    told = {
        kind_of(action).value: (resource_of(action), risk_of(action))
        for action in (TIGHTER, REDUCING[1], REDUCING[2], HEDGE, UNHEDGE, RE_ADD, OPEN)
    }
    down, up = RiskDirection.REDUCE, RiskDirection.INCREASE
    assert told == {
        "set_stop": (Resource.STOP, down),
        "reduce": (Resource.VOLUME, down),
        "close": (Resource.VOLUME, down),
        "hedge": (Resource.HEDGE, up),
        "unhedge": (Resource.HEDGE, up),
        "re_add": (Resource.VOLUME, up),
        "open": (Resource.VOLUME, up),
    }
    assert risk_of(WIDER) is up


_loss = st.one_of(st.none(), st.floats(-1, 1))
_facts = st.builds(
    RailFacts,
    day_loss=_loss,
    hour_loss=_loss,
    losing_streak=st.one_of(st.none(), st.integers(0, 5)),
    news=st.sampled_from(("", "CPI")),
    news_known=st.booleans(),
    spread=st.one_of(st.none(), st.floats(0, 2)),
    spread_median=st.one_of(st.none(), st.floats(0.01, 2)),
    margin_level=st.one_of(st.none(), st.floats(0, 10_000)),
    quote_stale=st.one_of(st.none(), st.booleans()),
)


@given(facts=_facts, action=st.sampled_from([*REDUCING, *INCREASING]))
def test_an_increase_passes_exactly_where_every_rail_lets_it_and_a_reduction_always(
    facts: RailFacts, action: Action
) -> None:
    snap: Snapshot = snapshot(rails=facts)
    ruling = review(action, make_trade(), snap, POLICY, rule=DefenceRule.TIGHTEN)
    if risk_of(action) is RiskDirection.INCREASE:
        assert ruling.approved is (denied(facts) == [])
    else:
        assert ruling.approved

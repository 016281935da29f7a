"""Orders that the broker fills bit by bit, and levels that it keeps otherwise than asked: nothing is done twice, all is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.app.rig import Rig

from dtms.domain.action import OpenHedge, Reduce, SetStop
from dtms.domain.intent import IntentState
from dtms.domain.trade import Trade, TradeState
from dtms.domain.units import Lots, Price
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.dealer import AS_ASKED, Fill
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.records import Request


def ours(fill: Fill, *, closes: bool) -> Callable[[Request], Fill]:
    """Deal so with the orders of the system that close, or with those that open."""
    return lambda request: fill if request.magic == 77 and bool(request.position) is closes else AS_ASKED


def bit_by_bit(*, at_once: bool = False, comment: str | None = None) -> Fill:
    first = 0 if at_once else 2_000
    return Fill(parts=((first, 0.4), (first + 2_000, 0.4), (first + 4_000, 0.2)), comment=comment)


def states(rig: Rig, trade: Trade, kind: type) -> list[IntentState]:
    return [intent.state for intent in rig.intents(trade) if isinstance(intent.action, kind)]


@pytest.mark.parametrize("comment", [None, "", "broker's own"])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_reduction_that_is_filled_in_three_deals_is_one_reduction(
    rig: Rig, at_once: bool, comment: str | None
) -> None:
    trade = rig.fall(rig.managed(), -2.0)
    rig.dealer.keeps = ours(bit_by_bit(at_once=at_once, comment=comment), closes=True)
    rig.next_bar()
    rig.decide(trade, -4.0)
    rig.executor.tick()
    rig.pass_time(20)
    after, held = rig.trade(trade.ticket), rig.position(trade.identifier)
    assert held is not None
    assert (held.volume, after.volume, after.state) == (0.5, Lots(0.5), TradeState.WARNING_L2)
    assert states(rig, trade, Reduce) == [IntentState.APPLIED]
    assert len([action for action, _ in rig.writes.sent if isinstance(action, Reduce)]) == 1
    assert rig.applied(AppliedKind.PARTIAL) == 3


@pytest.mark.parametrize("at_once", [False, True])
def test_a_hedge_that_is_filled_in_three_deals_is_one_hedge_of_the_whole_volume(rig: Rig, at_once: bool) -> None:
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    rig.dealer.keeps = ours(bit_by_bit(at_once=at_once), closes=False)
    rig.next_bar()
    rig.decide(trade, -6.0)
    rig.executor.tick()
    rig.pass_time(20)
    after, others = rig.trade(trade.ticket), rig.others(trade)
    assert after.state is TradeState.HEDGED
    assert after.hedge is not None
    assert [(other.identifier, other.volume) for other in others] == [(after.hedge.identifier, after.hedge.volume)]
    assert after.hedge.volume == Lots(0.25)
    assert len([action for action, _ in rig.writes.sent if isinstance(action, OpenHedge)]) == 1


def test_while_the_rest_of_a_part_fill_is_at_work_no_further_order_leaves(rig: Rig) -> None:
    trade = rig.fall(rig.managed(), -2.0)
    rig.dealer.keeps = ours(Fill(parts=((0, 0.4), (30_000, 0.6))), closes=True)
    rig.next_bar()
    rig.decide(trade, -4.0)
    rig.executor.tick()
    sent = len(rig.writes.sent)
    rig.pass_time(25)
    assert len(rig.writes.sent) == sent
    assert rig.trade(trade.ticket).pending_to is TradeState.WARNING_L2
    rig.pass_time(10)
    assert (rig.trade(trade.ticket).volume, rig.trade(trade.ticket).state) == (Lots(0.5), TradeState.WARNING_L2)


@pytest.mark.parametrize("fill", [Fill(stop_ticks=1), Fill(stop_ticks=300)])
def test_a_stop_that_the_broker_clips_is_not_taken_for_set_and_a_person_is_told(rig: Rig, fill: Fill) -> None:
    trade = rig.managed()
    rig.dealer.keeps = lambda request: fill if request.action == Mt5.TRADE_ACTION_SLTP else AS_ASKED
    rig.next_bar()
    rig.decide(trade, -2.0)
    rig.executor.tick()
    assert states(rig, trade, SetStop) == [IntentState.UNKNOWN]
    assert rig.alerts() == ["unknown"]
    rig.dealer.keeps = lambda _request: AS_ASKED
    rig.pass_time(40)
    held = rig.position(trade.identifier)
    assert held is not None
    assert rig.trade(trade.ticket).stop == held.stop


def test_a_target_that_the_broker_drops_is_not_taken_for_kept_and_a_person_is_told(rig: Rig) -> None:
    trade = rig.managed(target=2_030.0)
    rig.dealer.keeps = lambda request: Fill(drops_target=True) if request.action == Mt5.TRADE_ACTION_SLTP else AS_ASKED
    rig.next_bar()
    rig.decide(trade, -2.0)
    rig.executor.tick()
    assert states(rig, trade, SetStop) == [IntentState.UNKNOWN]
    assert rig.trade(trade.ticket).target == Price(2_030.0)
    assert rig.alerts() == ["unknown"]
    rig.pass_time(40)
    assert states(rig, trade, SetStop)[0] is IntentState.NOT_APPLIED


def test_a_target_that_the_broker_drops_with_our_stop_is_put_back(rig: Rig) -> None:
    trade = rig.managed(target=2_030.0)
    rig.dealer.keeps = lambda request: Fill(drops_target=True) if request.action == Mt5.TRADE_ACTION_SLTP else AS_ASKED
    rig.next_bar()
    rig.decide(trade, -2.0)
    rig.executor.tick()
    rig.dealer.keeps = lambda _request: AS_ASKED
    rig.pass_time(60)
    held, after = rig.position(trade.identifier), rig.trade(trade.ticket)
    assert held is not None
    assert (held.target, after.target, after.stop) == (2_030.0, Price(2_030.0), held.stop)
    assert trade.stop is not None
    assert held.stop is not None
    assert held.stop > trade.stop
    assert rig.alerts().count("by_hand") == 1


def test_a_target_that_is_dropped_again_and_again_is_put_back_once(rig: Rig) -> None:
    trade = rig.managed(target=2_030.0)
    rig.dealer.keeps = lambda request: Fill(drops_target=True) if request.action == Mt5.TRADE_ACTION_SLTP else AS_ASKED
    rig.next_bar()
    rig.decide(trade, -2.0)
    rig.pass_time(120)
    rig.next_bar()
    rig.pass_time(120)
    held, after = rig.position(trade.identifier), rig.trade(trade.ticket)
    assert held is not None
    assert (held.target, after.target) == (None, None)
    assert len([i for i in rig.intents(trade) if i.rule == "target.put_back"]) == 1


def test_a_target_that_a_hand_removes_after_our_stop_stays_removed(rig: Rig) -> None:
    trade = rig.managed(target=2_030.0)
    rig.next_bar()
    rig.decide(trade, -2.0)
    rig.executor.tick()
    held = rig.position(trade.identifier)
    assert held is not None
    rig.order(action=Mt5.TRADE_ACTION_SLTP, position=held.ticket, sl=held.stop or 0.0, tp=0.0)
    rig.pass_time(60)
    after = rig.position(trade.identifier)
    assert after is not None
    assert (after.target, rig.trade(trade.ticket).target) == (None, None)

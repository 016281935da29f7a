"""What a person changes at the broker is seen and respected, and nothing is gone without proof."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.app.rig import SYMBOL, Rig
from tests.app.test_gateway import plan

from dtms.app.commands.operator import Person
from dtms.app.commands.registration import RefusalKind, RegistrationRefusedError
from dtms.app.views.explain import explain
from dtms.app.views.trade_cache import KILL_FACT
from dtms.domain.action import CloseHedge, OpenTrade
from dtms.domain.policy import DefencePolicy, OperationPolicy, Policy
from dtms.domain.records import StopRecord
from dtms.domain.trade import Hold, Leg, LegKind, Owner, Trade, TradeState
from dtms.domain.units import Lots, Millis, Price, Side, Ticket
from dtms.domain.verdict import KillLevel
from dtms.ports.notifier import AlertKind
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.records import AccountSpec

_S = TradeState


def policy(by_hand: str) -> Policy:
    return Policy(defence=DefencePolicy(by_hand=by_hand))


def stops(rig: Rig, trade: Trade) -> list[StopRecord]:
    with rig.ledger.read() as tx:
        return list(tx.stops(trade.trade_id))


def told(rig: Rig, trade: Trade) -> list[tuple[str, float | None, float | None]]:
    """The records of the main leg's stops: rule, old and new."""
    return [(r.rule, r.old, r.new) for r in stops(rig, trade) if r.position == trade.identifier]


def stop_of(rig: Rig, trade: Trade) -> float | None:
    seen = rig.position(trade.identifier)
    assert seen is not None
    return seen.stop


# ----- stops


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("by_hand", ["yield", "floor", "reassert", "ask"])
def test_a_tighter_stop_set_by_hand_is_kept_under_every_policy(side: Side, by_hand: str) -> None:
    rig = Rig(policy=policy(by_hand))
    trade = rig.managed(side)
    rig.settle()
    mine = Price(trade.initial_stop + side * 3.0)
    rig.hand_stop(trade.ticket, mine)
    rig.pass_time(5)
    after = rig.trade(trade.ticket)
    assert (after.stop, stop_of(rig, trade), rig.writes.sent) == (mine, mine, [])
    assert after.version == trade.version + 1
    assert told(rig, trade) == [("adopted", None, trade.initial_stop), ("by_hand", trade.initial_stop, mine)]


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("removed", [False, True], ids=["loosened", "removed"])
def test_floor_moves_a_loosened_stop_back_once_and_then_gives_way(side: Side, removed: bool) -> None:
    rig = Rig(policy=policy("floor"))
    trade = rig.managed(side)
    rig.settle()
    ours = trade.initial_stop
    looser = Price(ours - side * 2.0)
    rig.hand_stop(trade.ticket, None if removed else looser)
    rig.pass_time(3)
    assert (stop_of(rig, trade), rig.trade(trade.ticket).stop) == (ours, ours)
    assert rig.trade(trade.ticket).marks.countermoves == 1
    rig.hand_stop(trade.ticket, looser)
    rig.pass_time(400)
    assert (stop_of(rig, trade), rig.trade(trade.ticket).stop) == (looser, looser)
    assert told(rig, trade) == [
        ("adopted", None, ours),
        ("by_hand", ours, None if removed else looser),
        ("by_hand.floor", None if removed else looser, ours),
        ("by_hand", ours, looser),
    ]


@pytest.mark.parametrize("removed", [False, True], ids=["loosened", "removed"])
@pytest.mark.parametrize("by_hand", ["floor", "reassert"])
def test_a_stop_that_is_put_back_is_told_once_with_the_way_to_keep_it(by_hand: str, removed: bool) -> None:
    rig = Rig(policy=policy(by_hand))
    trade = rig.managed()
    rig.settle()
    rig.hand_stop(trade.ticket, None if removed else 1_988.0)
    rig.pass_time(60)
    ((detail),) = [alert.detail for alert in rig.notifier.alerts if alert.kind is AlertKind.BY_HAND]
    assert ("removed" if removed else "loosened to 1988.00") in detail
    assert "put back to 1990.00" in detail
    assert f"by_hand = {by_hand}" in detail
    desk = rig.server.desk.symbol(SYMBOL, rig.clock.now)
    sentence = explain(rig.trade(trade.ticket), desk.policy, desk, None, rig.clock.now, stops(rig, trade)).sentence
    assert f"moved to {'none' if removed else '1988.00'} by hand and put back to 1990.00" in sentence
    assert f"(by_hand.{by_hand})" in sentence


def test_a_move_back_that_is_refused_for_a_while_calls_once() -> None:
    rig = Rig(policy=policy("floor"))
    trade = rig.managed()
    rig.settle()
    rig.dealer.refuses = lambda request: Mt5.TRADE_RETCODE_FROZEN if request.magic == 77 else None
    rig.hand_stop(trade.ticket, 1_988.0)
    rig.pass_time(20)
    rig.dealer.refuses = lambda _request: None
    rig.pass_time(400)
    assert rig.alerts().count("by_hand") == 1


def test_a_move_back_that_is_refused_for_a_while_waits_two_seconds_before_the_next_try() -> None:
    rig = Rig(policy=policy("reassert"))
    trade = rig.managed()
    rig.settle()
    rig.dealer.refuses = lambda request: Mt5.TRADE_RETCODE_FROZEN if request.magic == 77 else None
    rig.hand_stop(trade.ticket, 1_988.0)
    rig.pass_time(2, step=0.5)
    first = len(rig.writes.sent)
    rig.pass_time(3, step=0.5)
    assert (first, len(rig.writes.sent)) == (1, 3)


@pytest.mark.parametrize("side", Side)
def test_a_stop_that_a_coarser_grid_does_not_hold_is_moved_back_to_the_next_tighter_price(side: Side) -> None:
    rig = Rig(policy=policy("floor"))
    stop, grid = (1_990.13, 1_990.25) if side is Side.BUY else (2_010.12, 2_010.0)
    trade = rig.managed(side, stop=stop, target=2_000.0 + side * 30.13)
    rig.settle()
    rig.terminal.backend.respecify(replace(rig.sim.state.specs[SYMBOL], tick_size=0.25))
    rig.next_bar()
    rig.settle()
    assert rig.writes.sent == []
    rig.hand_stop(trade.ticket, 2_000.0 - side * 15.0, 2_000.0 + side * 30.25)
    rig.pass_time(10)
    assert (stop_of(rig, trade), rig.trade(trade.ticket).stop, len(rig.writes.sent)) == (grid, Price(grid), 1)


def test_explain_tells_what_a_hand_has_set_and_that_a_trade_is_held(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.hand_stop(trade.ticket, 1_993.0)
    rig.pass_time(5)
    rig.put(replace(rig.trade(trade.ticket), hold=Hold.ENTRY))
    desk = rig.server.desk.symbol(SYMBOL, rig.clock.now)
    sentence = explain(rig.trade(trade.ticket), desk.policy, desk, None, rig.clock.now, stops(rig, trade)).sentence
    assert "its stop was moved from 1990.00 to 1993.00 by hand" in sentence
    assert "observed only (entry)" in sentence


def test_yield_leaves_a_loosened_stop_where_the_hand_put_it() -> None:
    rig = Rig(policy=policy("yield"))
    trade = rig.managed()
    rig.settle()
    rig.hand_stop(trade.ticket, 1_980.0)
    rig.pass_time(10)
    assert (stop_of(rig, trade), rig.trade(trade.ticket).stop, rig.writes.sent) == (1_980.0, Price(1_980.0), [])


def test_reassert_moves_the_stop_back_again_and_again_once_a_bar() -> None:
    rig = Rig(policy=policy("reassert"))
    trade = rig.managed()
    rig.settle()
    for _ in range(4):
        rig.hand_stop(trade.ticket, 1_985.0)
        rig.pass_time(3)
        assert stop_of(rig, trade) == 1_990.0
        rig.next_bar()
        rig.settle()
    assert rig.trade(trade.ticket).marks.countermoves == 4


def test_a_counter_move_that_the_broker_refuses_is_not_tried_again_on_every_pass() -> None:
    rig = Rig(policy=policy("reassert"))
    trade = rig.managed()
    rig.settle()
    rig.hand_stop(trade.ticket, 1_985.0)
    rig.price(1_988.0)  # beyond our stop: the broker takes it no more
    rig.pass_time(30)
    assert len(rig.writes.sent) <= 1
    rig.next_bar(1_995.0)
    rig.pass_time(5)
    assert stop_of(rig, trade) == 1_990.0
    assert told(rig, trade).count(("by_hand", 1_990.0, 1_985.0)) == 1


@pytest.mark.parametrize("by_hand", ["floor", "reassert"])
def test_a_stop_whose_way_back_is_refused_for_good_is_put_back_within_the_minute(by_hand: str) -> None:
    rig = Rig(policy=policy(by_hand))
    trade = rig.managed()
    rig.settle()
    rig.dealer.refuses = lambda request: Mt5.TRADE_RETCODE_CLOSE_ONLY if request.magic == 77 else None
    rig.hand_stop(trade.ticket, None)
    rig.pass_time(5)
    rig.dealer.refuses = lambda _request: None
    rig.pass_time(40)
    assert stop_of(rig, trade) is None
    rig.pass_time(3)
    assert stop_of(rig, trade) == 1_990.0


def test_a_stop_whose_way_back_stays_refused_is_asked_for_twice_a_bar() -> None:
    rig = Rig(policy=policy("reassert"))
    trade = rig.managed()
    rig.settle()
    rig.dealer.refuses = lambda request: Mt5.TRADE_RETCODE_CLOSE_ONLY if request.magic == 77 else None
    rig.hand_stop(trade.ticket, None)
    rig.pass_time(599)
    assert len(rig.writes.sent) == 4


def test_a_stop_seen_on_many_passes_is_recorded_once(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.hand_stop(trade.ticket, 1_993.0)
    rig.pass_time(60)
    assert told(rig, trade) == [("adopted", None, 1_990.0), ("by_hand", 1_990.0, 1_993.0)]


def test_an_advisory_trade_is_shown_as_it_is_and_never_moved_back(rig: Rig) -> None:
    rig.start(advisory=True)
    position = rig.open()
    trade = rig.register(position)
    assert trade.owner is Owner.NONE
    rig.settle()
    rig.hand_stop(trade.ticket, 1_985.0)
    rig.pass_time(10)
    assert (rig.trade(trade.ticket).stop, rig.intents(trade)) == (Price(1_985.0), ())


def test_a_position_without_a_stop_raises_the_alarm_after_two_seconds_and_its_time_is_measured() -> None:
    rig = Rig(policy=policy("yield"))
    trade = rig.managed()
    rig.settle()
    rig.hand_stop(trade.ticket, None)
    rig.pass_time(1)
    assert rig.alerts() == []
    rig.pass_time(3)
    assert set(rig.alerts()) == {"unprotected"}
    rig.hand_stop(trade.ticket, 1_991.0)
    rig.pass_time(2)
    after = rig.trade(trade.ticket)
    assert (after.naked_since, after.stop) == (None, Price(1_991.0))
    assert 3_000 <= after.naked_ms <= 5_000


def test_the_alarm_of_a_missing_stop_does_not_wait_for_an_order_in_doubt(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.put(replace(rig.trade(trade.ticket), naked_since=rig.clock.now))
    rig.writes.fate = lambda _action: "lost_on_the_way"
    rig.next_bar()
    rig.decide(trade, -2.0)
    rig.executor.tick()
    rig.hand_stop(trade.ticket, None)
    rig.wait(3)
    rig.server.monitor.tick()
    assert "unprotected" in rig.alerts()


# ----- volumes and targets


def test_volume_taken_off_by_hand_is_taken_as_it_is(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.hand_close(trade.ticket, 0.4)
    rig.pass_time(3)
    after = rig.trade(trade.ticket)
    assert (after.volume, after.hold, after.state, after.initial_volume) == (Lots(0.6), Hold.NONE, _S.HEALTHY, 1.0)
    rig.fall(after, -2.0, -4.0)
    assert rig.trade(trade.ticket).volume == Lots(0.3)


def test_volume_added_makes_a_trade_observed_only() -> None:
    rig = Rig(account=AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING))
    trade = rig.managed()
    rig.settle()
    rig.order(action=Mt5.TRADE_ACTION_DEAL, type=Mt5.ORDER_TYPE_BUY, volume=0.5, sl=1_990.0)
    rig.pass_time(3)
    after = rig.trade(trade.ticket)
    assert (after.volume, after.hold) == (Lots(1.5), Hold.VOLUME_ADDED)
    assert rig.alerts() == ["quarantined"]
    sent = len(rig.writes.sent)
    rig.fall(after, -2.0, -4.0)
    assert (rig.rows(trade), len(rig.writes.sent)) == ([], sent)
    rig.hand_close(trade.ticket)
    rig.pass_time(15)
    assert rig.trade(trade.ticket).state is _S.CLOSED


def test_a_target_changed_by_hand_is_kept_through_our_own_stop_changes(rig: Rig) -> None:
    trade = rig.managed(target=2_030.0)
    rig.settle()
    rig.hand_stop(trade.ticket, 1_990.0, 2_050.0)
    rig.pass_time(3)
    rig.fall(rig.trade(trade.ticket), -2.0)
    seen = rig.position(trade.identifier)
    assert seen is not None
    assert (seen.stop, seen.target, rig.trade(trade.ticket).target) == (1_996.0, 2_050.0, Price(2_050.0))


def test_a_target_removed_by_hand_stays_removed(rig: Rig) -> None:
    trade = rig.managed(target=2_030.0)
    rig.settle()
    rig.hand_stop(trade.ticket, 1_990.0, None)
    rig.pass_time(3)
    rig.fall(rig.trade(trade.ticket), -2.0)
    seen = rig.position(trade.identifier)
    assert seen is not None
    assert (seen.stop, seen.target) == (1_996.0, None)


def test_an_opposite_position_opened_by_hand_is_foreign(rig: Rig) -> None:
    trade = rig.managed()
    foreign = rig.open(Side.SELL, volume=0.5, stop=2_010.0)
    rig.fall(trade, -2.0, -4.0, -6.0)
    rig.next_bar()
    rig.turned(trade)
    rig.pass_time(15)
    seen = rig.position(foreign.identifier)
    assert seen is not None
    assert (seen.volume, seen.stop, seen.target) == (0.5, 2_010.0, None)
    assert rig.trade(trade.ticket).state is _S.CLOSED


# ----- ends


@pytest.mark.parametrize("state", [_S.HEALTHY, _S.WARNING_L1, _S.WARNING_L2])
def test_a_position_that_was_closed_is_gone_after_two_clean_reads_a_settle_time_apart(
    rig: Rig, state: TradeState
) -> None:
    trade = rig.managed()
    rig.settle()
    rig.put(replace(rig.trade(trade.ticket), state=state))
    rig.hand_close(trade.ticket)
    rig.pass_time(10)
    assert rig.trade(trade.ticket).state is state
    rig.pass_time(1)
    after = rig.trade(trade.ticket)
    assert (after.state, after.close_reason) == (_S.CLOSED, f"gone_{state.lower()}")
    with rig.ledger.read() as tx:
        assert [deal.volume for deal in tx.deals(trade.identifier)] == [1.0, 1.0]


def test_an_empty_read_is_not_flat_however_long_it_lasts_without_deals(rig: Rig) -> None:
    trade = rig.fall(rig.managed(), -2.0, -4.0)  # a part of it was closed: there are deals, and they do not sum up
    rig.reads.flat = True
    rig.pass_time(59)
    assert (rig.trade(trade.ticket).state, rig.trade(trade.ticket).hold) == (_S.WARNING_L2, Hold.NONE)
    rig.pass_time(5)
    assert (rig.trade(trade.ticket).state, rig.trade(trade.ticket).hold) == (_S.WARNING_L2, Hold.QUARANTINED)
    assert rig.alerts() == ["quarantined"]
    rig.reads.flat = False
    rig.pass_time(5)
    assert rig.trade(trade.ticket).state is _S.WARNING_L2
    assert rig.position(trade.identifier) is not None


def test_a_quarantined_trade_whose_deals_appear_at_last_is_closed(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.reads.no_deals = True
    rig.hand_close(trade.ticket)
    rig.pass_time(75)
    assert rig.trade(trade.ticket).hold is Hold.QUARANTINED
    rig.reads.no_deals = False
    rig.pass_time(3)
    assert rig.trade(trade.ticket).state is _S.CLOSED


def test_a_short_blink_of_the_list_begins_the_proof_anew(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    for _ in range(5):
        rig.reads.hidden = {trade.identifier}
        rig.pass_time(8)
        rig.reads.hidden = set()
        rig.pass_time(1)
    assert rig.trade(trade.ticket).state is _S.HEALTHY


def test_while_the_broker_is_down_nothing_ends(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.reads.down = True
    rig.pass_time(120)
    assert (rig.trade(trade.ticket).state, rig.trade(trade.ticket).hold) == (_S.HEALTHY, Hold.NONE)


@pytest.mark.parametrize("side", Side)
def test_a_stopped_parent_takes_its_hedge_along_within_ten_seconds(rig: Rig, side: Side) -> None:
    trade = rig.hedged(side)
    assert trade.hedge is not None
    rig.hand_close(trade.ticket)
    rig.pass_time(9)
    assert rig.broker.positions().positions == ()
    rig.pass_time(5)
    after = rig.trade(trade.ticket)
    assert (after.state, after.legs, after.close_reason) == (_S.CLOSED, (), "gone_hedged")


def test_parent_and_hedge_that_end_together_leave_nothing_to_do(rig: Rig) -> None:
    trade = rig.hedged()
    assert trade.hedge is not None
    sent = len(rig.writes.sent)
    rig.hand_close(trade.ticket)
    rig.hand_close(trade.hedge.ticket)
    rig.pass_time(15)
    assert (rig.trade(trade.ticket).state, len(rig.writes.sent)) == (_S.CLOSED, sent)
    with rig.ledger.read() as tx:
        assert tx.unfinished() == ()


@pytest.mark.parametrize("side", Side)
def test_the_brokers_own_orders_end_parent_and_hedge_at_the_parents_stop(rig: Rig, side: Side) -> None:
    trade = rig.hedged(side)
    assert trade.stop is not None
    rig.wait(1)
    beyond = trade.stop - side * 1.0
    rig.price(beyond if side is Side.BUY else beyond - 0.2)
    assert rig.broker.positions().positions == ()
    rig.pass_time(20)
    after = rig.trade(trade.ticket)
    assert after.close_reason == "gone_hedged"
    with rig.ledger.read() as tx:
        ends = [tx.deals(position)[-1].reason.value for position in (after.identifier, *after.children)]
    assert ends == ["stop", "target"]


def test_a_hedge_closed_by_hand_is_a_fall_back_to_the_second_warning_and_no_second_hedge(rig: Rig) -> None:
    trade = rig.hedged()
    assert trade.hedge is not None
    rig.hand_close(trade.hedge.ticket)
    rig.pass_time(4)
    after = rig.trade(trade.ticket)
    assert (after.state, after.legs, after.last_row) == (_S.WARNING_L2, (), "hedge_gone")
    opened = rig.applied(AppliedKind.OPEN)
    rig.fall(after, -6.0)
    assert rig.applied(AppliedKind.OPEN) == opened
    assert rig.trade(trade.ticket).volume == Lots(0.25)


def test_while_an_order_on_a_hedge_is_in_doubt_its_absence_says_nothing(rig: Rig) -> None:
    trade = rig.hedged()
    assert trade.hedge is not None
    rig.writes.fate = lambda _action: "answer_lost"
    plan(rig, trade, CloseHedge(ticket=trade.ticket, hedge=trade.hedge.ticket))
    rig.executor.tick()
    for _ in range(6):
        rig.wait(1)
        rig.server.monitor.tick()
    after = rig.trade(trade.ticket)
    assert (after.state, len(after.legs), after.pending) == (_S.HEDGED, 1, None)
    rig.pass_time(15)
    assert rig.trade(trade.ticket).legs == ()


def test_the_deals_of_a_child_that_a_hand_has_closed_are_the_trades(rig: Rig) -> None:
    trade = rig.managed()
    added = rig.open(volume=0.3)
    leg = Leg(
        kind=LegKind.RE_ADD,
        ticket=added.ticket,
        identifier=added.identifier,
        side=added.side,
        volume=Lots(added.volume),
        entry=added.entry,
        stop=trade.stop,
        target=None,
        opened_at=rig.clock.now,
    )
    rig.put(replace(trade, legs=(leg,), children=(leg.identifier,)))
    rig.pass_time(2)
    rig.price(2_005.0)
    rig.hand_close(added.ticket)
    rig.pass_time(15)
    assert rig.trade(trade.ticket).legs == ()
    with rig.ledger.read() as tx:
        assert [deal.entry.value for deal in tx.deals(added.identifier)] == ["in", "out"]


def test_a_hedge_that_only_blinks_is_not_gone(rig: Rig) -> None:
    trade = rig.hedged()
    assert trade.hedge is not None
    rig.reads.hidden = {trade.hedge.identifier}
    rig.pass_time(30)
    rig.reads.hidden = set()
    rig.pass_time(3)
    assert (rig.trade(trade.ticket).state, len(rig.trade(trade.ticket).legs)) == (_S.HEDGED, 1)


def test_restarts_do_not_put_off_the_call_for_a_position_that_nothing_explains(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.reads.hidden = {trade.identifier}
    for epoch in (2, 3):
        rig.pass_time(24)
        rig.start(epoch=epoch)
    rig.pass_time(11)
    assert (rig.trade(trade.ticket).hold, rig.alerts()) == (Hold.NONE, [])
    rig.pass_time(2)
    assert (rig.trade(trade.ticket).hold, rig.alerts()) == (Hold.QUARANTINED, ["quarantined"])


def test_a_new_process_looks_twice_before_it_calls_for_a_position_that_the_last_one_missed(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.reads.hidden = {trade.identifier}
    rig.pass_time(50)
    rig.start(epoch=2)
    rig.wait(3_600)
    rig.pass_time(10)
    assert rig.trade(trade.ticket).hold is Hold.NONE
    rig.pass_time(2)
    assert rig.trade(trade.ticket).hold is Hold.QUARANTINED


def test_a_position_that_was_seen_again_is_waited_for_anew_after_a_restart(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.reads.hidden = {trade.identifier}
    rig.pass_time(40)
    rig.reads.hidden = set()
    rig.pass_time(1)
    rig.start(epoch=2)
    rig.reads.hidden = {trade.identifier}
    rig.pass_time(40)
    after = rig.trade(trade.ticket)
    assert (after.hold, after.missing_since(trade.identifier)) == (Hold.NONE, rig.clock.now - 39_000)


@pytest.mark.parametrize("gone", [False, True])
def test_a_child_that_nothing_explains_holds_its_trade_and_a_person_says_what_became_of_it(
    rig: Rig, gone: bool
) -> None:
    trade = rig.hedged()
    assert trade.hedge is not None
    rig.reads.hidden = {trade.hedge.identifier}
    rig.pass_time(40)
    rig.start(epoch=2)
    rig.pass_time(30)
    held = rig.trade(trade.ticket)
    assert (held.hold, held.legs, rig.alerts()) == (Hold.QUARANTINED, trade.legs, ["quarantined"])
    assert str(trade.hedge.identifier) in rig.notifier.alerts[-1].detail
    rig.reads.hidden = rig.reads.hidden if gone else set()
    confirmed = person(rig).confirm(trade.ticket, actor="a person")
    assert (confirmed.hold, confirmed.legs) == (Hold.NONE, () if gone else trade.legs)
    rig.pass_time(90)
    assert rig.trade(trade.ticket).hold is Hold.NONE


# ----- children follow


@pytest.mark.parametrize("side", Side)
def test_a_hedges_target_follows_its_parents_stop(rig: Rig, side: Side) -> None:
    trade = rig.hedged(side)
    assert trade.hedge is not None
    assert trade.stop is not None
    tighter = Price(trade.stop + side * 1.0)
    rig.hand_stop(trade.ticket, tighter)
    rig.pass_time(5)
    seen = rig.position(trade.hedge.identifier)
    assert seen is not None
    assert (seen.target, seen.stop) == (tighter, trade.hedge.stop)
    after = rig.trade(trade.ticket).hedge
    assert after is not None
    assert after.target == tighter


@pytest.mark.parametrize(("refused_s", "tries", "again_s"), [(30, 1, 20), (200, 2, 105)])
def test_a_target_that_could_not_follow_is_asked_again_within_the_minute_then_on_the_next_bar(
    rig: Rig, refused_s: float, tries: int, again_s: float
) -> None:
    trade = rig.hedged()
    assert trade.hedge is not None
    rig.dealer.refuses = lambda request: (
        Mt5.TRADE_RETCODE_FROZEN if request.action == Mt5.TRADE_ACTION_SLTP and request.magic == 77 else None
    )
    rig.hand_stop(trade.ticket, 1_997.0)
    rig.pass_time(refused_s)
    tried = [intent for intent in rig.intents(trade) if intent.rule == "child.follows"]
    assert len(tried) == tries
    rig.dealer.refuses = lambda _request: None
    rig.pass_time(again_s)
    seen = rig.position(trade.hedge.identifier)
    assert seen is not None
    assert seen.target == 1_997.0


def test_a_hedge_has_its_own_stop_and_the_parents_stop_as_target_from_the_first_moment(rig: Rig) -> None:
    trade = rig.hedged()
    first = next(e for e in rig.oracle.entries if e.kind is AppliedKind.OPEN and e.identifier == trade.children[0])
    assert (first.stop_after, first.target_after, first.volume_after) == (2_006.2, 1_996.0, 0.25)


# ----- deadlines and switches, by the monitor


def test_a_deadline_closes_a_hedged_trade_without_a_score_or_a_bar(rig: Rig) -> None:
    trade = rig.hedged()
    assert trade.deadline is not None
    rig.clock.now = Millis(trade.deadline - 1)
    rig.settle()
    assert rig.trade(trade.ticket).state is _S.HEDGED
    rig.clock.now = trade.deadline
    rig.price(2_000.0)
    rig.settle()
    assert (rig.trade(trade.ticket).state, rig.broker.positions().positions) == (_S.CLOSED, ())
    assert rig.rows(trade)[-1] == "hedged_timeout"


def test_a_deadline_reduces_risk_without_a_fresh_quote(rig: Rig) -> None:
    trade = rig.hedged()
    assert trade.deadline is not None
    rig.clock.now = Millis(trade.deadline + 600_000)  # no quote has come for more than an hour
    rig.settle()
    assert rig.trade(trade.ticket).state is _S.CLOSED


def test_while_planning_is_paused_nothing_is_decided_but_an_end_is_seen(rig: Rig) -> None:
    trade = rig.hedged()
    assert trade.deadline is not None
    with rig.ledger.write() as tx:
        tx.set_fact(KILL_FACT, KillLevel.PAUSE)
    rig.clock.now = Millis(trade.deadline + 60_000)
    rig.price(2_000.0)
    rig.pass_time(5)
    assert rig.trade(trade.ticket).state is _S.HEDGED
    rig.hand_close(trade.ticket)
    rig.pass_time(20)
    assert rig.trade(trade.ticket).state is _S.CLOSED


def test_before_the_weekend_a_hedge_that_may_not_be_lifted_is_closed_with_its_trade(rig: Rig) -> None:
    trade = rig.hedged()
    assert trade.hedge is not None
    friday = Millis(1_750_453_200_000 - 30 * 60_000)
    rig.clock.now = Millis(friday - 1)
    rig.put(replace(rig.trade(trade.ticket), deadline=Millis(friday + 3_600_000)))
    rig.price(2_000.0)
    rig.settle()
    assert rig.trade(trade.ticket).state is _S.HEDGED
    rig.clock.now = friday
    rig.price(2_000.0)
    rig.settle()
    assert (rig.trade(trade.ticket).state, rig.broker.positions().positions) == (_S.CLOSED, ())
    assert rig.rows(trade)[-1] == "hedged_before_close"


def test_one_trade_on_which_a_law_broke_does_not_stop_the_others(rig: Rig) -> None:
    first, second = rig.managed(), rig.managed()
    rig.settle()
    real = rig.server.monitor.facts.ends

    def broken(trade: Trade, *rest: Any) -> Any:
        if trade.ticket == first.ticket:
            from dtms.errors import InvariantError

            msg = "a law was broken"
            raise InvariantError(msg)
        return real(trade, *rest)

    keeper: Any = rig.server.monitor.facts
    rig.server.monitor.facts = _Keeper(keeper, broken)  # type: ignore[assignment]
    rig.hand_close(second.ticket)
    rig.pass_time(12)
    assert rig.trade(first.ticket).hold is Hold.INVARIANT
    assert rig.trade(second.ticket).state is _S.CLOSED
    assert rig.alerts() == ["quarantined"]


class _Keeper:
    """The fact keeper with another way of asking for ends."""

    def __init__(self, keeper: Any, ends: Any) -> None:
        self._keeper = keeper
        self.ends = ends

    def __getattr__(self, name: str) -> Any:
        return getattr(self._keeper, name)


def test_the_times_of_proof_are_the_policys() -> None:
    quick = Policy(operation=OperationPolicy(settle_s=2.0, quarantine_s=5.0))
    rig = Rig(policy=quick)
    trade = rig.managed()
    rig.settle()
    rig.hand_close(trade.ticket)
    rig.pass_time(4)
    assert rig.trade(trade.ticket).state is _S.CLOSED
    assert rig.broker.instrument(SYMBOL).symbol == trade.symbol


# ----- ask, pairs, plans and their tickets, protection


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("removed", [False, True], ids=["loosened", "removed"])
def test_ask_keeps_a_loosened_stop_as_it_is_and_observes_only_until_confirmed(side: Side, removed: bool) -> None:
    rig = Rig(policy=policy("ask"))
    trade = rig.managed(side)
    rig.settle()
    looser = None if removed else Price(trade.initial_stop - side * 2.0)
    rig.hand_stop(trade.ticket, looser)
    rig.pass_time(1)
    after = rig.trade(trade.ticket)
    assert (after.hold, after.stop, stop_of(rig, trade)) == (Hold.BY_HAND, looser, looser)
    ((detail),) = [alert.detail for alert in rig.notifier.alerts if alert.kind is AlertKind.QUARANTINED]
    shown = "none" if looser is None else f"{looser:.2f}"
    assert f"the stop was moved from {trade.initial_stop:.2f} to {shown} by hand" in detail
    assert f"observed only until: dtms confirm {trade.ticket}" in detail
    rig.fall(after, -2.0, -4.0)
    assert (rig.rows(trade), rig.writes.sent) == ([], [])
    if removed:
        rig.hand_stop(trade.ticket, trade.initial_stop)
    confirmed = person(rig).confirm(trade.ticket, actor="me")
    assert (confirmed.hold, confirmed.stop) == (Hold.NONE, stop_of(rig, trade))
    rig.fall(rig.trade(trade.ticket), -2.0)
    assert rig.rows(trade) == ["healthy_to_l1"]


def test_ask_says_nothing_of_a_tighter_stop() -> None:
    rig = Rig(policy=policy("ask"))
    trade = rig.managed()
    rig.settle()
    rig.hand_stop(trade.ticket, 1_994.0)
    rig.pass_time(5)
    assert (rig.trade(trade.ticket).hold, rig.trade(trade.ticket).stop, rig.alerts()) == (Hold.NONE, Price(1_994.0), [])


def test_confirming_added_volume_takes_it_as_it_is_and_defends_it() -> None:
    rig = Rig(account=AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING))
    trade = rig.managed()
    rig.settle()
    rig.order(action=Mt5.TRADE_ACTION_DEAL, type=Mt5.ORDER_TYPE_BUY, volume=0.5, sl=1_990.0)
    rig.pass_time(3)
    after = person(rig).confirm(trade.ticket, actor="me")
    assert (after.hold, after.volume, after.version > trade.version) == (Hold.NONE, Lots(1.5), True)
    rig.pass_time(3)
    rig.fall(rig.trade(trade.ticket), -2.0, -4.0)
    assert rig.trade(trade.ticket).volume == Lots(0.75)
    with rig.ledger.read() as tx:
        assert ("me", "confirmed") in [(entry.actor, entry.what) for entry in tx.audit()]


def test_confirming_what_is_not_held_changes_nothing(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    before = rig.trade(trade.ticket)
    assert person(rig).confirm(trade.ticket, actor="me") == before
    with pytest.raises(RegistrationRefusedError) as refused:
        person(rig).confirm(Ticket(4_711), actor="me")
    assert refused.value.kind is RefusalKind.TRADE_UNKNOWN


def test_a_trade_that_is_not_at_the_broker_cannot_be_confirmed(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.put(replace(rig.trade(trade.ticket), hold=Hold.QUARANTINED))
    rig.reads.flat = True
    with pytest.raises(RegistrationRefusedError) as refused:
        person(rig).confirm(trade.ticket, actor="me")
    assert (refused.value.kind, rig.trade(trade.ticket).hold) == (RefusalKind.NOT_OPEN, Hold.QUARANTINED)


@pytest.mark.parametrize("side", Side)
def test_a_hedge_that_is_larger_than_what_a_hand_has_left_is_brought_down_to_it(rig: Rig, side: Side) -> None:
    trade = rig.hedged(side)
    assert trade.hedge is not None
    rig.hand_close(trade.ticket, 0.4)  # 0.1 of 0.5 is left, under a hedge of 0.25
    rig.pass_time(3)
    after = rig.trade(trade.ticket)
    hedge = rig.position(trade.hedge.identifier)
    assert hedge is not None
    assert after.hedge is not None
    assert (after.volume, after.hedge.volume, hedge.volume) == (Lots(0.1), Lots(0.1), 0.1)
    assert (after.state, after.hold, hedge.target) == (_S.HEDGED, Hold.NONE, after.stop)


def test_a_ticket_that_changes_under_a_parked_closing_plan_is_closed_under_its_new_one(rig: Rig) -> None:
    trade = rig.hedged()
    assert trade.hedge is not None
    assert trade.deadline is not None
    rig.dealer.refuses = lambda request: Mt5.TRADE_RETCODE_MARKET_CLOSED if request.magic == 77 else None
    rig.clock.now = trade.deadline
    rig.price(2_000.0)
    rig.settle()
    parked = rig.trade(trade.ticket).pending
    assert parked is not None
    parent, hedge = rig.sim.reopen(trade.ticket), rig.sim.reopen(trade.hedge.ticket)
    rig.pass_time(2)
    moved = rig.trade(parent).pending
    assert moved is not None
    assert {step.action.ticket for step in moved.steps if not isinstance(step.action, OpenTrade)} <= {parent, hedge}
    rig.dealer.refuses = lambda _request: None
    assert moved.retry_at is not None
    rig.clock.now = Millis(moved.retry_at + 1_000)
    rig.price(2_000.0)
    rig.settle()
    rig.pass_time(20)
    assert (rig.broker.positions().positions, rig.trade(parent).state) == ((), _S.CLOSED)


def test_a_priced_step_that_grew_too_old_is_decided_anew_at_the_price_of_then(rig: Rig) -> None:
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    rig.next_bar()
    rig.decide(rig.trade(trade.ticket), -6.0)  # the hedge is planned, and no gateway is there to send it
    rig.wait(61)
    rig.carry_out()
    after = rig.trade(trade.ticket)
    assert (after.state, after.pending, after.legs) == (_S.WARNING_L2, None, ())
    assert [i.state.value for i in rig.intents(trade) if i.rule == "defence.hedge"] == ["CANCELLED"]
    rig.next_bar(1_998.0)
    rig.decide(after, -6.0)
    rig.carry_out()
    hedge = rig.trade(trade.ticket).hedge
    assert hedge is not None
    assert (hedge.entry, hedge.stop) == (1_998.0, Price(2_004.2))


def test_the_time_without_a_stop_goes_on_from_its_begin_across_a_restart_and_an_order_on_its_way() -> None:
    rig = Rig(policy=policy("yield"))
    trade = rig.managed()
    rig.settle()
    rig.writes.fate = lambda _action: "lost_on_the_way"
    rig.next_bar()
    rig.decide(trade, -2.0)
    rig.executor.tick()
    rig.hand_stop(trade.ticket, None)
    rig.wait(1)
    rig.server.monitor.tick()
    since = rig.trade(trade.ticket).naked_since
    assert since == rig.clock.now
    rig.start(epoch=2)
    rig.wait(3)
    rig.server.monitor.tick()
    assert (rig.trade(trade.ticket).naked_since, "unprotected" in rig.alerts()) == (since, True)
    rig.hand_stop(trade.ticket, 1_991.0)
    rig.pass_time(30)
    after = rig.trade(trade.ticket)
    assert (after.naked_since, after.naked_ms) == (None, 4_000)


def test_a_missing_stop_is_alarmed_in_the_same_pass_that_finds_the_broker_gone() -> None:
    rig = Rig(policy=policy("yield"))
    trade = rig.managed()
    rig.settle()
    rig.hand_stop(trade.ticket, None)
    rig.pass_time(1)
    assert rig.alerts() == []
    rig.reads.down = True
    rig.wait(2)
    rig.server.monitor.tick()
    assert rig.alerts() == ["unprotected"]


def person(rig: Rig) -> Person:
    reads: Any = rig.reads
    return Person(ledger=rig.ledger, reads=reads, clock=rig.clock, desk=rig.server.desk)

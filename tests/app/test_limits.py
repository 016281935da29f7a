"""The gateway's limits: rates with a share for what protects, sizes, and patience with a broker that asks for it."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.app.rig import SYMBOL, Rig
from tests.app.test_gateway import end_of, ended, hedge, plan

from dtms.app.commands.opening_checks import OpeningRefusedError, Order, checked
from dtms.app.gateway.limits import Backoff, SendingLimits
from dtms.app.gateway.urgency import Urgency, urgency_of
from dtms.app.journal import journal
from dtms.app.modes.flatten import RULE
from dtms.domain.action import Action, Close, Reduce, SetStop
from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.modes import Cause
from dtms.domain.policy import OperationPolicy, Policy
from dtms.domain.receipt import Rejection
from dtms.domain.rules import DefenceRule, ExitRule, Rule
from dtms.domain.trade import Trade
from dtms.domain.units import DAY, SECOND, Lots, Millis, Price, Side
from dtms.domain.verdict import KillLevel
from dtms_lab.mt5_constants import Mt5

NS = 1_000_000_000
NOT_SENT = (IntentState.PLANNED, None)
DONE = (IntentState.APPLIED, None)


def limited(**numbers: Any) -> Rig:
    return Rig(policy=Policy(operation=OperationPolicy(**numbers)))


def step(rig: Rig, trade: Trade, n: int, owner: Planner = Planner.DTMS) -> Intent:
    """Write a stop change, each a cent tighter than the one before."""
    present = rig.trade(trade.ticket)
    action = SetStop(ticket=trade.ticket, stop=Price(round(1_991.0 + n / 100, 2)), target=None)
    intent = journal.new_intent(
        present,
        action,
        decision_id=f"s{n}",
        owner=owner,
        rule=DefenceRule.TIGHTEN,
        now=rig.clock.now,
        priced_expiry_s=60.0,
    )
    with rig.ledger.write() as tx:
        assert tx.add_intent(intent)
    return intent


def spend(rig: Rig, trade: Trade, first: int, last: int, owner: Planner = Planner.DTMS) -> None:
    """Send the stop changes `first` to `last` - 1, one after the other: each was decided on what the one before had done."""
    for n in range(first, last):
        intent = step(rig, trade, n, owner)
        rig.carry_out()
        assert end_of(rig, intent) == DONE


def alerts(rig: Rig, subject: str) -> list[str]:
    return [alert.detail for alert in rig.notifier.alerts if alert.subject == subject]


# ----- what matters how much


def test_what_protects_is_told_from_what_can_wait() -> None:
    rig = Rig()
    trade = rig.managed()
    stop = SetStop(ticket=trade.ticket, stop=Price(1_991.0), target=None)

    def urgency(action: Action, owner: Planner, rule: Rule = ExitRule.PARTIAL, of: Trade = trade) -> Urgency:
        intent = journal.new_intent(
            of, action, decision_id="d", owner=owner, rule=rule, now=rig.clock.now, priced_expiry_s=60.0
        )
        return urgency_of(intent)

    assert urgency(stop, Planner.EXITS) is Urgency.ORDINARY
    assert urgency(stop, Planner.EXITS, of=replace(trade, stop=None)) is Urgency.PROTECTIVE
    assert urgency(stop, Planner.DTMS) is Urgency.PROTECTIVE
    assert urgency(replace(stop, widens=True), Planner.DTMS) is Urgency.ORDINARY
    assert urgency(hedge(trade), Planner.DTMS) is Urgency.ORDINARY
    assert urgency(Reduce(ticket=trade.ticket, remaining=Lots(0.5)), Planner.EXITS) is Urgency.ORDINARY
    assert urgency(Close(ticket=trade.ticket), Planner.EXITS) is Urgency.ORDINARY
    assert urgency(Close(ticket=trade.ticket), Planner.DTMS) is Urgency.PROTECTIVE
    assert urgency(Close(ticket=trade.ticket), Planner.COMMAND, RULE) is Urgency.FLATTEN


# ----- a second


def test_in_one_instant_no_more_than_a_seconds_orders_leave_and_the_rest_follows() -> None:
    rig = limited(sends_per_second=4)
    for trade in [rig.managed(volume=0.1) for _ in range(10)]:
        step(rig, trade, 0)
    rig.carry_out()
    assert len(rig.writes.sent) == 4
    rig.wait(1)
    rig.carry_out()
    assert len(rig.writes.sent) == 8
    rig.wait(0.5)
    rig.carry_out()
    assert len(rig.writes.sent) == 10


def test_a_share_of_the_second_is_kept_for_what_protects() -> None:
    rig = limited(sends_per_second=4, protective_share=0.5)
    trades = [rig.managed() for _ in range(4)]
    trails = [step(rig, trade, 0, Planner.EXITS) for trade in trades]
    rig.carry_out()
    assert sorted(end_of(rig, intent)[0] for intent in trails) == ["APPLIED", "APPLIED", "PLANNED", "PLANNED"]
    trade = trades[0]
    closing = plan(rig, trade, Close(ticket=trade.ticket))
    rig.carry_out()
    assert end_of(rig, closing) == DONE


def test_what_waits_and_came_from_a_price_dies_by_its_own_rule() -> None:
    rig = limited(sends_per_second=1, protective_share=0.9)
    trade = rig.managed()
    rig.executor.gate.limits.backoff.refused(
        rig.clock.boot_ns(), OperationPolicy(backoff_first_s=60, backoff_most_s=3_600)
    )
    rig.executor.gate.limits.backoff._ordinary_ns = rig.clock.boot_ns() + 300 * NS
    waits = plan(rig, trade, hedge(trade), price_based=True)
    rig.carry_out()
    rig.wait(59.999)
    rig.carry_out()
    assert end_of(rig, waits) == NOT_SENT
    rig.wait(0.001)
    rig.carry_out()
    assert end_of(rig, waits) == (IntentState.CANCELLED, None)


# ----- a day


def test_when_the_ordinary_budget_of_a_day_is_spent_only_what_protects_is_sent_and_then_nothing() -> None:
    rig = limited(sends_per_day=12, protective_share=0.5)
    trade, other = rig.managed(), rig.managed()
    spend(rig, trade, 0, 6)
    trail, adds = step(rig, trade, 6, Planner.EXITS), plan(rig, trade, hedge(trade))
    protects = step(rig, other, 0)
    rig.carry_out()
    assert [end_of(rig, intent) for intent in (trail, adds, protects)] == [NOT_SENT, NOT_SENT, DONE]
    spend(rig, other, 1, 6)
    closing = plan(rig, other, Close(ticket=other.ticket), decision="close")
    rig.carry_out()
    assert end_of(rig, closing) == NOT_SENT
    told = alerts(rig, "send budget")
    assert [words.split(":")[0] for words in told] == [
        "only what protects is sent",
        "the day's 12 orders are sent",
    ]
    assert Cause.SEND_BUDGET in rig.executor.modes.active()


def test_at_midnight_the_budget_is_new() -> None:
    rig = limited(sends_per_day=10)
    trade = rig.managed()
    spend(rig, trade, 0, 10)
    closing = plan(rig, trade, Close(ticket=trade.ticket))
    rig.carry_out()
    rig.clock.now = Millis((rig.clock.now // DAY + 1) * DAY - 1)
    rig.executor.tick()
    assert end_of(rig, closing) == NOT_SENT
    rig.clock.now = Millis(rig.clock.now + 1)
    rig.price(2_000.0)
    rig.carry_out()
    assert end_of(rig, closing) == DONE
    assert Cause.SEND_BUDGET not in rig.executor.modes.active()


def test_a_restart_does_not_give_a_new_budget() -> None:
    rig = limited(sends_per_day=10)
    trade = rig.managed()
    spend(rig, trade, 0, 10)
    rig.start(epoch=2)
    assert rig.executor.gate.limits.today == 10
    closing = plan(rig, trade, Close(ticket=trade.ticket))
    rig.carry_out()
    assert end_of(rig, closing) == NOT_SENT


def test_only_what_left_is_counted_again_after_a_restart() -> None:
    rig = limited()
    trade = rig.managed()
    with rig.ledger.write() as tx:
        tx.set_fact("kill_switch", "protect_only")
    plan(rig, trade, hedge(trade))  # refused by ourselves
    rig.carry_out()
    rig.dealer.refuses = lambda _request: Mt5.TRADE_RETCODE_REJECT
    step(rig, trade, 0)  # refused by the broker
    rig.carry_out()
    rig.dealer.refuses = lambda _request: None
    rig.writes.fate = lambda _action: "lost_on_the_way"
    step(rig, trade, 1)
    rig.carry_out()
    before = rig.executor.gate.limits.today
    rig.start(epoch=2)
    assert (before, rig.executor.gate.limits.today) == (2, 2)


def test_each_try_of_an_order_is_counted_again_after_a_restart() -> None:
    rig = limited()
    trade = rig.managed()
    rig.dealer.refuses = lambda _request: Mt5.TRADE_RETCODE_REQUOTE
    plan(rig, trade, Close(ticket=trade.ticket))
    rig.carry_out()
    before = rig.executor.gate.limits.today
    rig.start(epoch=2)
    assert before > 1
    assert rig.executor.gate.limits.today == before


def test_the_kill_switch_closes_with_every_budget_spent() -> None:
    rig = limited(sends_per_day=10)
    trade = rig.managed()
    spend(rig, trade, 0, 10)
    rig.executor.gate.kill.press(KillLevel.FLATTEN, "me")
    rig.carry_out()
    assert rig.broker.positions().positions == ()
    assert rig.executor.gate.limits.today == 10


# ----- a trade's hour


def test_a_trade_that_is_changed_too_often_waits_and_the_others_do_not() -> None:
    rig = limited(sends_per_trade_hour=8, protective_share=0.5, sends_per_second=100)
    busy, calm = rig.managed(), rig.managed()
    spend(rig, busy, 0, 4, Planner.EXITS)
    trail, other = step(rig, busy, 20, Planner.EXITS), step(rig, calm, 0, Planner.EXITS)
    rig.carry_out()
    assert (end_of(rig, trail), end_of(rig, other)) == (NOT_SENT, DONE)
    spend(rig, busy, 5, 9)
    protects = step(rig, busy, 9)
    rig.carry_out()
    assert end_of(rig, protects) == NOT_SENT
    assert len(alerts(rig, busy.trade_id)) == 1
    closing = plan(rig, busy, Close(ticket=busy.ticket))
    rig.carry_out()
    assert end_of(rig, closing) == DONE


def test_an_hour_later_there_is_room_again() -> None:
    rig = limited(sends_per_trade_hour=4, sends_per_second=100)
    trade = rig.managed()
    spend(rig, trade, 0, 4)
    waits = step(rig, trade, 4)
    rig.wait(3_599)
    rig.carry_out()
    assert end_of(rig, waits) == NOT_SENT
    rig.wait(1)
    rig.carry_out()
    assert end_of(rig, waits) == DONE


# ----- sizes


def test_what_adds_risk_is_refused_above_its_size_and_what_reduces_it_never_is() -> None:
    rig = limited(max_lots_per_action=0.2)
    trade = rig.managed(volume=1.0)
    adds = plan(rig, trade, hedge(trade))
    rig.carry_out()
    assert end_of(rig, adds) == (IntentState.REJECTED, Rejection.LIMIT_REACHED)
    assert ended(rig, adds).reason == "0.25 lots are more than the 0.2 of one action"
    takes = plan(rig, trade, Reduce(ticket=trade.ticket, remaining=Lots(0.1)), decision="b")
    rig.carry_out()
    assert end_of(rig, takes) == DONE


def test_what_adds_risk_is_refused_where_the_account_would_hold_too_much() -> None:
    rig = limited(max_lots_account=2.2)
    trade = rig.managed(volume=1.0)
    rig.open(volume=1.0)
    adds = plan(rig, trade, hedge(trade))
    rig.carry_out()
    assert end_of(rig, adds) == (IntentState.REJECTED, Rejection.LIMIT_REACHED)
    assert rig.others(trade) != ()


# ----- what waits


def test_what_is_open_on_a_symbol_counts_towards_its_limit() -> None:
    rig = Rig()
    instrument = replace(rig.broker.instrument(SYMBOL), volume_limit=2.0)
    order = Order(symbol=SYMBOL, side=Side.BUY, volume=1.0, risk_money=None, stop=1_990.0, target=None, profile=None)
    quote = rig.broker.quote(SYMBOL)
    assert checked(order, instrument, quote, 4.0, 1.0).volume == 1.0
    with pytest.raises(OpeningRefusedError) as refused:
        checked(order, instrument, quote, 4.0, 1.5)
    assert refused.value.code == "volume_limit"


def test_too_many_actions_that_wait_are_told_once_and_again_when_it_happens_again() -> None:
    rig = limited(max_planned=3)
    rig.executor.gate.kill.press(KillLevel.PAUSE, "me")
    trades = [rig.managed(volume=0.1) for _ in range(4)]
    for trade in trades[:3]:
        plan(rig, trade, hedge(trade))
    rig.carry_out()
    assert alerts(rig, "journal") == []
    plan(rig, trades[3], hedge(trades[3]))
    rig.carry_out()
    rig.carry_out()
    words = "4 actions wait to be sent, the oldest for 0 s; see `dtms mode` for why"
    assert alerts(rig, "journal") == [words]
    rig.executor.gate.kill.release("me")
    rig.carry_out()
    rig.executor.gate.kill.press(KillLevel.PAUSE, "me")
    for trade in [rig.managed(volume=0.1) for _ in range(4)]:
        plan(rig, trade, hedge(trade))
    rig.carry_out()
    assert alerts(rig, "journal") == [words, words]


def test_an_action_that_waits_too_long_is_told() -> None:
    rig = limited(max_lag_s=60)
    rig.executor.gate.kill.press(KillLevel.PAUSE, "me")
    trade = rig.managed()
    plan(rig, trade, hedge(trade))
    rig.wait(60)
    rig.executor.tick()
    assert alerts(rig, "journal") == []
    rig.wait(1)
    rig.executor.tick()
    assert alerts(rig, "journal") == ["1 actions wait to be sent, the oldest for 61 s; see `dtms mode` for why"]


# ----- "too many requests"


def test_after_too_many_requests_what_can_wait_waits_longer_and_longer_and_what_protects_does_not() -> None:
    rig = limited(backoff_first_s=1.0, backoff_most_s=60.0)
    trade, other = rig.managed(), rig.managed()
    rig.dealer.refuses = lambda _request: Mt5.TRADE_RETCODE_TOO_MANY_REQUESTS
    for n in range(8):
        step(rig, trade, n)
        rig.carry_out()
        rig.wait(1)
    rig.dealer.refuses = lambda _request: None
    rig.executor.gate.limits.backoff._ordinary_ns = rig.clock.boot_ns() + 30 * NS
    trail, protects = step(rig, trade, 8, Planner.EXITS), step(rig, other, 0)
    rig.carry_out()
    assert end_of(rig, trail) == NOT_SENT
    assert end_of(rig, protects) == DONE
    rig.wait(31)
    rig.carry_out()
    assert end_of(rig, trail) == DONE
    assert len(alerts(rig, "send budget")) >= 1


@given(seed=st.integers(0, 2**32), times=st.integers(1, 40))
def test_a_wait_is_never_longer_than_its_bound_and_the_protective_one_never_than_the_first(
    seed: int, times: int
) -> None:
    policy = OperationPolicy(backoff_first_s=0.5, backoff_most_s=20.0)
    backoff = Backoff(Random(seed))
    for _ in range(times):
        backoff.refused(0, policy)
    bound = min(20.0, 0.5 * 2.0 ** (times - 1))
    assert not backoff.waits(Urgency.ORDINARY, round(bound * NS))
    assert not backoff.waits(Urgency.PROTECTIVE, round(0.5 * NS))
    backoff.answered()
    backoff.refused(100 * NS, policy)
    assert not backoff.waits(Urgency.ORDINARY, round(100.5 * NS))


def test_the_same_seed_waits_the_same() -> None:
    def waits(seed: int) -> list[float]:
        backoff, policy, found = Backoff(Random(seed)), OperationPolicy(), []
        for _ in range(10):
            backoff.refused(0, policy)
            found.append(backoff._ordinary_ns / NS)
        return found

    assert waits(7) == waits(7)
    assert waits(7) != waits(8)
    assert len(set(waits(7))) == 10


# ----- the law


@given(data=st.data())
def test_no_second_and_no_day_ever_sees_more_than_its_budget(data: st.DataObject) -> None:
    """Any mix of urgencies at any times: a window of a second holds a bucket and a second's refill at most, a day its sum."""
    policy = OperationPolicy(sends_per_second=5, sends_per_day=40, protective_share=0.25, sends_per_trade_hour=10_000)
    rig = _EMPTY
    limits = SendingLimits(ledger=rig.ledger, causes=rig.executor.modes, notifier=rig.notifier, random=Random(1))
    now, sent = 0, list[tuple[int, Urgency]]()
    for gap in data.draw(st.lists(st.integers(0, 700), min_size=30, max_size=120)):
        now += gap
        intent = data.draw(st.sampled_from(_KINDS))
        if not limits.waits(intent, Millis(now), now * 1_000_000, policy):
            limits.took(intent, Millis(now), now * 1_000_000, policy)
            sent.append((now, urgency_of(intent)))
    for at, _ in sent:
        window = [urgency for when, urgency in sent if at <= when < at + SECOND]
        assert len(window) <= 10
    counted = [urgency for _, urgency in sent if urgency is not Urgency.FLATTEN]
    assert len(counted) <= 40
    for position, urgency in enumerate(counted):
        assert urgency is not Urgency.ORDINARY or position < 30


def _kinds() -> tuple[Intent, ...]:
    trade = _EMPTY.managed()
    now = _EMPTY.clock.now

    def made(action: Action, owner: Planner, rule: Rule) -> Intent:
        return journal.new_intent(trade, action, decision_id="d", owner=owner, rule=rule, now=now, priced_expiry_s=60.0)

    stop = SetStop(ticket=trade.ticket, stop=Price(1_991.0), target=None)
    return (
        made(stop, Planner.EXITS, ExitRule.TRAILING),
        made(stop, Planner.DTMS, DefenceRule.TIGHTEN),
        made(hedge(trade), Planner.DTMS, DefenceRule.HEDGE),
        made(Close(ticket=trade.ticket), Planner.COMMAND, RULE),
    )


_EMPTY = Rig()
_KINDS = _kinds()


def test_a_quiet_hour_saves_up_no_more_than_a_second() -> None:
    policy = OperationPolicy(sends_per_second=5)
    limits = SendingLimits(
        ledger=_EMPTY.ledger, causes=_EMPTY.executor.modes, notifier=_EMPTY.notifier, random=Random(1)
    )
    protects = _KINDS[1]
    limits.took(protects, Millis(0), 0, policy)
    later = 3_600_000
    for _ in range(5):
        assert limits.waits(protects, Millis(later), later * 1_000_000, policy) == ""
        limits.took(protects, Millis(later), later * 1_000_000, policy)
    assert (
        limits.waits(protects, Millis(later), later * 1_000_000, policy)
        == "the account sends at most 5 orders a second"
    )


def test_a_clock_that_is_set_back_a_day_gives_no_new_budget() -> None:
    policy = OperationPolicy(sends_per_day=10)
    limits = SendingLimits(
        ledger=_EMPTY.ledger, causes=_EMPTY.executor.modes, notifier=_EMPTY.notifier, random=Random(1)
    )
    for _ in range(10):
        limits.took(_KINDS[1], Millis(5 * DAY), 0, policy)
    assert limits.spent(Urgency.PROTECTIVE, Millis(5 * DAY - 1), policy)
    assert not limits.spent(Urgency.PROTECTIVE, Millis(6 * DAY), policy)


def test_a_storm_of_requotes_ends_after_a_bounded_number_of_tries() -> None:
    """Scenario 23: a hundred answers 10004, one after the other."""
    rig = Rig()
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    rig.dealer.refuses = lambda _request: Mt5.TRADE_RETCODE_REQUOTE
    rig.next_bar()
    rig.turned(trade)
    first = len(rig.writes.sent)
    rig.pass_time(290)
    assert len(rig.writes.sent) - first == 3
    assert rig.alerts() == ["parked"]
    rig.dealer.refuses = lambda _request: None
    rig.pass_time(30)
    assert rig.broker.positions().positions == ()


@pytest.mark.parametrize("at", [0, 1])
def test_what_was_sent_on_another_day_does_not_count(at: int) -> None:
    rig = limited(sends_per_day=10)
    trade = rig.managed()
    spend(rig, trade, 0, 5)
    rig.clock.now = Millis((rig.clock.now // DAY + 1 + at) * DAY)
    rig.start(epoch=2)
    assert rig.executor.gate.limits.today == 0

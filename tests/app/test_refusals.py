"""What the broker refuses again and again: counted by trade and purpose, spaced, and told once, then once a day."""

from __future__ import annotations

import pytest
from tests.app.rig import Rig
from tests.app.test_gateway import end_of, plan
from tests.app.test_limits import DONE, NOT_SENT, alerts, limited, step

from dtms.app.journal import journal
from dtms.domain.action import Close, Reduce
from dtms.domain.intent import Intent, Planner
from dtms.domain.policy import OperationPolicy, Policy
from dtms.domain.rules import DefenceRule
from dtms.domain.trade import Trade
from dtms.domain.units import DAY, HOUR, MINUTE, SECOND, Lots, Millis
from dtms_lab.mt5_constants import Mt5

FIFO = Mt5.TRADE_RETCODE_FIFO_CLOSE


def refuse(rig: Rig, code: int) -> None:
    rig.dealer.refuses = lambda _request: code


def close(rig: Rig, trade: Trade, n: int, owner: Planner = Planner.EXITS) -> Intent:
    """Write a close as a new decision."""
    intent = journal.new_intent(
        rig.trade(trade.ticket),
        Close(ticket=trade.ticket),
        decision_id=f"c{n}",
        owner=owner,
        rule=DefenceRule.TIGHTEN,
        now=rig.clock.now,
        priced_expiry_s=60.0,
    )
    with rig.ledger.write() as tx:
        assert tx.add_intent(intent)
    return intent


def storm(rig: Rig, trade: Trade, count: int, *, first: int = 0, owner: Planner = Planner.EXITS) -> list[Intent]:
    """Write so many closes, each a decision of its own, a second apart."""
    made = []
    for n in range(first, first + count):
        made.append(close(rig, trade, n, owner))
        rig.carry_out()
        rig.wait(1)
    return made


@pytest.mark.parametrize(("owner", "room"), [(Planner.EXITS, 3), (Planner.DTMS, 4), (Planner.COMMAND, 10)])
def test_what_is_refused_has_one_budget_an_hour_however_often_it_is_decided_anew(owner: Planner, room: int) -> None:
    """Ordinary purposes leave the protective share free; what a person asks for is not held back."""
    rig = limited(refusals_per_hour=4)
    trade, calm = rig.managed(), rig.managed()
    refuse(rig, FIFO)
    storm(rig, trade, 10, owner=owner)
    assert len(rig.writes.sent) == room
    rig.dealer.refuses = lambda _request: None
    other = step(rig, trade, 0)
    elsewhere = close(rig, calm, 50, owner)
    rig.carry_out()
    assert (end_of(rig, other), end_of(rig, elsewhere)) == (DONE, DONE)


def test_the_refused_hour_is_over_after_an_hour_and_a_restart_does_not_end_it() -> None:
    rig = limited(refusals_per_hour=2)
    trade = rig.managed()
    refuse(rig, FIFO)
    storm(rig, trade, 2, owner=Planner.DTMS)
    rig.dealer.refuses = lambda _request: None
    rig.start(epoch=2)
    waits = close(rig, trade, 9, Planner.DTMS)
    rig.carry_out()
    assert end_of(rig, waits) == NOT_SENT
    rig.wait(3_600)
    rig.carry_out()
    assert end_of(rig, waits) == DONE


def test_what_was_carried_out_makes_room_again() -> None:
    rig = limited(refusals_per_hour=2)
    trade = rig.managed()
    refuse(rig, FIFO)
    step(rig, trade, 0)
    rig.carry_out()
    rig.dealer.refuses = lambda _request: None
    step(rig, trade, 1)
    rig.carry_out()
    refuse(rig, FIFO)
    step(rig, trade, 2)
    rig.carry_out()
    rig.dealer.refuses = lambda _request: None
    last = step(rig, trade, 3)
    rig.carry_out()
    assert end_of(rig, last) == DONE


def test_a_long_refusal_calls_once_and_then_once_a_day() -> None:
    rig = limited()
    trade = rig.managed()
    refuse(rig, FIFO)
    for n in range(60):
        close(rig, trade, n)
        rig.carry_out()
        rig.wait(HOUR / SECOND)
    told = alerts(rig, trade.trade_id)
    assert len(told) == 3
    assert told[0].startswith("close cannot be done now: FIFO_CLOSE")
    assert "refused 3 times running" in told[0]


def test_a_restart_does_not_call_again() -> None:
    rig = limited()
    trade = rig.managed()
    refuse(rig, FIFO)
    storm(rig, trade, 4)
    rig.start(epoch=2)
    storm(rig, trade, 4, first=10)
    assert len(alerts(rig, trade.trade_id)) == 1


def test_two_refusals_and_then_a_success_call_nobody() -> None:
    rig = limited()
    trade = rig.managed()
    for n in range(0, 12, 3):
        refuse(rig, FIFO)
        step(rig, trade, n)
        rig.carry_out()
        step(rig, trade, n + 1)
        rig.carry_out()
        rig.dealer.refuses = lambda _request: None
        step(rig, trade, n + 2)
        rig.carry_out()
    assert alerts(rig, trade.trade_id) == []


def test_no_exit_however_often_refused_spends_what_protection_needs() -> None:
    """Ten trades whose exits are refused on every decision of a day leave the defence its orders."""
    rig = Rig(
        policy=Policy(operation=OperationPolicy(sends_per_day=40, protective_share=0.25, refusals_per_hour=1_000))
    )
    trades = [rig.managed(volume=0.1) for _ in range(10)]
    refuse(rig, FIFO)
    for n in range(20):
        for trade in trades:
            close(rig, trade, n)
            rig.carry_out()
        rig.wait(30)
    assert rig.executor.gate.limits.today == 30
    rig.dealer.refuses = lambda _request: None
    saves = plan(rig, trades[0], Reduce(ticket=trades[0].ticket, remaining=Lots(0.05)))
    rig.carry_out()
    assert end_of(rig, saves) == DONE


def test_a_plan_that_is_refused_for_a_day_is_tried_every_half_hour_at_most() -> None:
    rig = Rig()
    trade = rig.managed()
    rig.turned(rig.fall(trade, -2.0, -4.0))
    refuse(rig, Mt5.TRADE_RETCODE_REJECT)
    before = len(rig.writes.sent)
    start = rig.clock.now
    times: list[Millis] = []
    while rig.clock.now < start + DAY // 4:
        rig.price(2_000.0)
        rig.settle()
        times += [rig.clock.now] * (len(rig.writes.sent) - before - len(times))
        rig.wait(30)
    assert rig.trade(trade.ticket).pending is not None
    assert 10 <= len(times) <= 3 + 2 + 4 + 12
    assert times[-1] - times[-2] >= 30 * MINUTE
    assert rig.alerts().count("parked") == 1


def test_a_refusal_days_after_two_others_begins_a_new_count() -> None:
    rig = limited()
    trade = rig.managed()
    refuse(rig, FIFO)
    storm(rig, trade, 2)
    rig.wait(2 * DAY / SECOND)
    storm(rig, trade, 2, first=10)
    assert alerts(rig, trade.trade_id) == []
    storm(rig, trade, 1, first=20)
    assert len(alerts(rig, trade.trade_id)) == 1

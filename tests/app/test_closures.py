"""Markets that the broker shows as closed on a day that the calendar has as open: nothing storms, nothing runs out of time."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from tests.app.rig import SYMBOL, Rig
from tests.app.test_gateway import end_of, plan
from tests.app.test_limits import DONE, NOT_SENT

from dtms.app.market.closures import FACT, Closures
from dtms.domain.action import Close
from dtms.domain.closure import Closure
from dtms.domain.intent import IntentState
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.trade import TradeState
from dtms.domain.units import HOUR, MINUTE, SECOND, Millis
from dtms.domain.verdict import KillLevel
from dtms.errors import LedgerUnavailableError
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.closures import Closure as Holiday


def holiday(rig: Rig, minutes: float, *, quoted: bool = False) -> None:
    end = Millis(round(rig.clock.now + minutes * MINUTE))
    rig.sim.close(Holiday(start=rig.clock.now, end=end, quoted=quoted))


def live(rig: Rig, minutes: float, *, every: float = 5.0) -> list[Millis]:
    """Let time pass with quotes as far as the broker has any; return when orders were sent."""
    end = rig.clock.now + minutes * MINUTE
    at: list[Millis] = []
    while rig.clock.now < end:
        rig.price(2_000.0)
        before = len(rig.writes.sent)
        rig.settle()
        at += [rig.clock.now] * (len(rig.writes.sent) - before)
        rig.wait(every)
    return at


def closures(rig: Rig) -> list[str]:
    return [alert.detail for alert in rig.notifier.alerts if alert.subject == SYMBOL]


def test_on_a_day_without_quotes_an_order_is_tried_once_an_hour() -> None:
    rig = Rig()
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    holiday(rig, 8 * 60)
    rig.turned(trade)
    sent = live(rig, 7 * 60, every=30)
    assert 6 <= len(sent) <= 9
    assert min(later - earlier for earlier, later in pairwise(sent[1:])) >= 59 * MINUTE


def test_where_quotes_go_on_tries_are_spaced_up_to_a_quarter_of_an_hour() -> None:
    rig = Rig()
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    holiday(rig, 8 * 60, quoted=True)
    rig.turned(trade)
    sent = live(rig, 180)
    waits = [later - earlier for earlier, later in pairwise(sent)]
    assert len(sent) <= 20
    assert max(waits) >= 15 * MINUTE


def test_one_refused_order_holds_back_every_order_of_its_symbol() -> None:
    rig = Rig()
    trades = [rig.managed(volume=0.1) for _ in range(5)]
    holiday(rig, 60)
    waiting = [plan(rig, trade, Close(ticket=trade.ticket)) for trade in trades]
    before = len(rig.writes.sent)
    rig.carry_out()
    assert len(rig.writes.sent) - before == 1
    assert sum(end_of(rig, intent) == NOT_SENT for intent in waiting) == 4


def test_at_the_reopening_closes_wait_for_the_spread_and_then_go() -> None:
    rig = Rig()
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    holiday(rig, 60)
    rig.turned(trade)
    live(rig, 59)
    assert rig.position(trade.identifier) is not None
    reopened = rig.clock.now + MINUTE
    sent = live(rig, 10)
    assert rig.position(trade.identifier) is None
    assert reopened + 2 * MINUTE <= sent[0] <= reopened + 3 * MINUTE
    assert rig.trade(trade.ticket).state is TradeState.CLOSED


def test_a_single_odd_answer_costs_ten_seconds() -> None:
    rig = Rig()
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    odd = [Mt5.TRADE_RETCODE_MARKET_CLOSED]
    rig.dealer.refuses = lambda _request: odd.pop() if odd else None
    rig.turned(trade)
    start = rig.clock.now
    sent = live(rig, 2, every=1)
    assert rig.position(trade.identifier) is None
    assert sent[-1] - start <= 15 * SECOND
    assert closures(rig) == []


def test_a_restart_does_not_forget_that_the_market_is_closed() -> None:
    rig = Rig()
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    holiday(rig, 600)
    rig.turned(trade)
    live(rig, 5)
    before = len(rig.writes.sent)
    for epoch in range(2, 8):
        rig.start(epoch=epoch)
        live(rig, 1)
    assert len(rig.writes.sent) == before


def test_a_long_closure_calls_once_and_then_once_a_day() -> None:
    rig = Rig()
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    holiday(rig, 30 * 60)
    rig.turned(trade)
    live(rig, 5)
    assert len(closures(rig)) == 1
    live(rig, 20 * 60, every=60)
    assert len(closures(rig)) == 1
    live(rig, 5 * 60, every=60)
    assert len(closures(rig)) == 2
    assert [alert for alert in rig.alerts() if alert == "parked"] == ["parked", "parked"]


def test_no_deadline_passes_while_the_broker_shows_the_market_as_closed() -> None:
    """75 minutes of HEDGED, three hours of holiday in them: the deadline is three hours later."""
    rig = Rig()
    trade = rig.hedged()
    assert trade.deadline is not None
    left = trade.deadline - rig.clock.now
    holiday(rig, 180)
    odd = plan(rig, trade, Close(ticket=trade.ticket))  # what tells that the market is closed
    live(rig, 179)
    assert rig.trade(trade.ticket).state is TradeState.HEDGED
    assert end_of(rig, odd)[0] is IntentState.REJECTED
    live(rig, 1 + (left - 2 * MINUTE) / MINUTE)
    assert rig.trade(trade.ticket).pending is None
    live(rig, 20)
    assert rig.trade(trade.ticket).state is TradeState.CLOSED


def test_the_kill_switch_closes_at_the_reopening_and_does_not_storm_before() -> None:
    rig = Rig()
    trades = [rig.managed(volume=0.1) for _ in range(4)]
    holiday(rig, 120)
    rig.executor.gate.kill.press(KillLevel.FLATTEN, "me")
    before = len(rig.writes.sent)
    live(rig, 119, every=10)
    assert len(rig.writes.sent) - before <= 8
    live(rig, 10)
    assert [rig.position(trade.identifier) for trade in trades] == [None] * 4


def test_another_symbols_orders_do_not_wait() -> None:
    rig = Rig()
    trade = rig.managed()
    with rig.ledger.write() as tx:
        unknown = dict.fromkeys(("tick_at", "moved_at", "ended_at", "told_at"))
        tx.set_fact(
            FACT, json.dumps([{"symbol": "EURUSD", "since": 1, "refused_at": rig.clock.now, "times": 1, **unknown}])
        )
    rig.start(epoch=2)
    goes = plan(rig, trade, Close(ticket=trade.ticket))
    rig.carry_out()
    assert end_of(rig, goes) == DONE


def test_a_fact_that_cannot_be_read_stops_sending() -> None:
    rig = Rig()
    with rig.ledger.write() as tx:
        tx.set_fact(FACT, '[{"symbol":"XAUUSD"}]')
    with pytest.raises(LedgerUnavailableError, match="closures"):
        rig.start(epoch=2)


def test_a_refusal_long_after_a_market_seemed_open_is_another_closure() -> None:
    first = Closure(
        symbol="X", since=Millis(0), refused_at=Millis(0), times=1, tick_at=Millis(0), moved_at=Millis(MINUTE)
    )
    assert first.is_one_with(Millis(MINUTE + HOUR - 1))
    assert not first.is_one_with(Millis(MINUTE + HOUR))
    assert first.span == (0, MINUTE)


def test_an_order_that_the_broker_takes_ends_the_closure_at_that_instant() -> None:
    rig = Rig()
    known = Closures(ledger=rig.ledger, reads=rig.broker, notifier=rig.notifier)
    begun = rig.clock.now
    refused = Receipt(outcome=Outcome.REJECTED, code=Mt5.TRADE_RETCODE_MARKET_CLOSED, rejection=Rejection.MARKET_CLOSED)
    known.answered(SYMBOL, refused, begun, waits=True)
    taken = Millis(begun + 3 * MINUTE)
    known.answered(SYMBOL, Receipt(outcome=Outcome.APPLIED, code=Mt5.TRADE_RETCODE_DONE), taken, waits=True)
    later = Millis(taken + MINUTE)
    known.answered(SYMBOL, Receipt(outcome=Outcome.APPLIED, code=Mt5.TRADE_RETCODE_DONE), later, waits=True)
    assert known.spans(SYMBOL) == ((begun, taken),)

"""What changes around a call: the terminal's view and switches, the broker's clock, tickets, instruments, the market."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.terminal_faults.rig import (
    ASK,
    BID,
    NETTING,
    STOP,
    SYMBOL,
    Bench,
    close,
    each,
    halve,
    hedge,
    once,
    tighten,
)

from dtms.domain.action import Reduce, SetStop
from dtms.domain.market import Timeframe
from dtms.domain.position import DealReason
from dtms.domain.receipt import Outcome, Rejection
from dtms.domain.units import HOUR, MINUTE, Lots, Price, Side
from dtms.errors import BrokerUnavailableError, OutcomeUnknownError
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.fault_kinds import (
    ClockShift,
    Empty,
    HistoryLag,
    Moved,
    Reopened,
    Respecified,
    StaleView,
    StopOut,
    Switch,
    Switched,
)
from dtms_lab.terminal.fault_plan import FaultPlan, Scripted
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.records import AccountSpec


def test_a_stale_view_shows_the_past_until_it_ends() -> None:
    bench = Bench()
    held = bench.open()
    bench.wait(1)
    bench.become(once(StaleView(lag_ms=5_000, for_ms=60_000)))

    receipt = bench.send(halve(held), held)
    volumes = []
    for _ in range(3):
        volumes.append(bench.broker.positions().positions[0].volume)
        bench.wait(2.5)
    assert (receipt.outcome, volumes) == (Outcome.APPLIED, [1.0, 1.0, 0.5])
    bench.close_by_hand(bench.seen(held.identifier), 0.1)
    assert bench.broker.positions().positions[0].volume == 0.5
    bench.wait(60)
    assert bench.broker.positions().positions[0].volume == 0.4


def test_a_late_history_has_positions_in_time_and_deals_and_orders_late() -> None:
    bench = Bench()
    held = bench.open()
    bench.wait(10)
    bench.become(once(HistoryLag(lag_ms=5_000, for_ms=60_000)))
    bench.send(close(held), held)

    assert bench.broker.positions().positions == ()
    assert [deal.volume for deal in bench.broker.deals(held.identifier)] == [1.0]
    assert len(bench.terminal.history_orders_get(position=held.identifier) or ()) == 1
    bench.wait(5)
    assert [deal.volume for deal in bench.broker.deals(held.identifier)] == [1.0, 1.0]
    assert len(bench.terminal.history_orders_get(position=held.identifier) or ()) == 2


def test_one_empty_list_is_one_list_and_the_next_is_whole() -> None:
    bench = Bench()
    held = bench.open()
    bench.become(once(Empty(), op="positions_get", nth=2))

    shown = [[p.identifier for p in bench.broker.positions().positions] for _ in range(3)]
    assert shown == [[held.identifier], [], [held.identifier]]


def learnt() -> Bench:
    """A bench whose adapter has seen the server's clock often enough that one odd tick changes nothing."""
    bench = Bench()
    for minute in range(12):
        bench.wait(60)
        bench.price(BID + minute / 10)
        bench.broker.quote(SYMBOL)
    return bench


@pytest.mark.parametrize("shift", [HOUR, -HOUR])
def test_a_clock_that_is_put_moves_every_later_time_and_no_earlier_one(shift: int) -> None:
    bench = learnt()
    held = bench.open()
    bench.wait(60)
    bench.price(BID + 1)
    before = bench.broker.positions().positions[0].opened_at
    bench.become(once(ClockShift(shift_ms=shift), op="terminal_info"))
    bench.broker.account()
    bench.wait(60)
    bench.price(BID + 2)

    assert bench.broker.quote(SYMBOL).at == bench.clock.now + shift
    assert bench.broker.positions().positions[0].opened_at == before
    bench.link.heal()
    assert bench.broker.quote(SYMBOL).at == bench.clock.now + shift
    assert bench.broker.positions().positions[0].identifier == held.identifier


def test_an_offset_that_was_only_recalled_gives_way_to_a_clock_that_was_put_ahead() -> None:
    bench = Bench()
    bench.open()
    bench.wait(60)
    bench.price(BID + 1)
    bench.become(once(ClockShift(shift_ms=HOUR), op="terminal_info"))
    bench.broker.account()
    bench.wait(60)
    bench.price(BID + 2)

    assert bench.broker.quote(SYMBOL).at == bench.clock.now


def test_a_clock_that_jumps_comes_back() -> None:
    bench = Bench()
    bench.become(once(ClockShift(shift_ms=5_000, for_ms=10_000), op="terminal_info"))
    bench.broker.account()
    times = []
    for _ in range(3):
        bench.wait(5)
        bench.price(BID)
        times.append(bench.broker.quote(SYMBOL).at - bench.clock.now)

    assert times == [5_000, 0, 0]


@pytest.mark.parametrize("shift", [5_000, -5_000, HOUR])
def test_bars_begin_on_whole_minutes_of_a_clock_that_jumped(shift: int) -> None:
    bench = Bench()
    bench.become(once(ClockShift(shift_ms=shift, for_ms=90_000), op="terminal_info"))
    bench.broker.account()
    for _ in range(6):
        bench.wait(60)
        bench.price(BID)

    assert [bar.start % MINUTE for bar in bench.broker.bars(SYMBOL, Timeframe.M1, 5)] == [0] * 5


def test_a_position_that_is_reopened_has_another_ticket_and_the_same_identifier_and_levels() -> None:
    bench = Bench(account=NETTING)
    held = bench.open()
    bench.become(once(Reopened(), op="positions_get"))
    (shown,) = bench.broker.positions().positions

    assert shown.ticket != held.ticket
    assert replace(shown, ticket=held.ticket, profit=0.0) == held
    assert [e.kind for e in bench.oracle.entries][-2:] == [AppliedKind.REOPEN, AppliedKind.POSITION]
    assert bench.send(halve(held), shown).outcome is Outcome.APPLIED
    assert bench.send(SetStop(ticket=shown.ticket, stop=Price(1_995.0), target=None), shown).outcome is Outcome.APPLIED
    (after,) = bench.broker.positions().positions
    assert (after.identifier, after.volume, after.stop) == (held.identifier, 0.5, 1_995.0)


@pytest.mark.parametrize("account", [None, NETTING])
def test_a_ticket_that_changes_just_before_the_order_is_answered_as_closed(account: AccountSpec | None) -> None:
    bench = Bench(account=account)
    held = bench.open()
    bench.become(each(Reopened(), times=2))

    assert bench.send(halve(held), held).rejection is Rejection.POSITION_GONE
    said = bench.send(close(held), held)
    assert (said.outcome, said.goal_met) == (Outcome.APPLIED, True)
    assert bench.held(held.identifier) is not None


SWITCHES = [
    (Switch.BUTTON, 10027, Rejection.AUTO_TRADING_OFF),
    (Switch.API, -8, Rejection.AUTO_TRADING_OFF),
    (Switch.PROGRAMS, 10026, Rejection.AUTO_TRADING_OFF),
    (Switch.ACCOUNT, 10017, Rejection.TRADE_DISABLED),
]


@pytest.mark.parametrize(("switch", "code", "rejection"), SWITCHES)
def test_trading_that_is_switched_off_is_refused_by_its_own_code_until_it_is_on_again(
    switch: Switch, code: int, rejection: Rejection
) -> None:
    bench = Bench()
    held = bench.open()
    bench.become(once(Switched(switch=switch, for_ms=10_000)))

    receipt = bench.send(halve(held), held)
    assert (receipt.outcome, receipt.code, receipt.rejection) == (Outcome.REJECTED, code, rejection)
    assert bench.broker.account().trade_allowed is False
    bench.wait(9.9)
    assert bench.send(halve(held), held).outcome is Outcome.REJECTED
    bench.wait(0.1)
    assert bench.broker.account().trade_allowed is True
    assert bench.send(halve(held), held).outcome is Outcome.APPLIED


def test_a_terminal_that_loses_its_server_is_unknown_for_the_order_and_unavailable_for_every_read() -> None:
    bench = Bench()
    held = bench.open()
    bench.become(once(Switched(switch=Switch.CONNECTION)))

    with pytest.raises(OutcomeUnknownError, match="10031"):
        bench.send(halve(held), held)
    for _ in range(2):
        with pytest.raises(BrokerUnavailableError, match="no connection to its trade server"):
            bench.broker.positions()
    assert bench.applied() == 0
    bench.link.heal()
    assert len(bench.broker.positions().positions) == 1


def test_a_broker_that_changes_an_instrument_refuses_by_the_new_terms_and_the_read_shows_them() -> None:
    bench = Bench()
    held = bench.open()
    bench.become(once(Respecified(stops_level=700, volume_step=0.3, volume_min=0.3, for_ms=10_000)))

    assert bench.send(tighten(held), held).rejection is Rejection.INVALID_STOPS
    changed = bench.broker.instrument(SYMBOL)
    assert (changed.stops_level, changed.volume_step, changed.volume_min) == (7.0, 0.3, 0.3)
    assert bench.send(halve(held), held).rejection is Rejection.INVALID_VOLUME
    bench.wait(10)
    back = bench.broker.instrument(SYMBOL)
    assert (back.stops_level, back.volume_step, back.volume_min) == (0.2, 0.01, 0.01)
    assert bench.send(tighten(held), held).outcome is Outcome.APPLIED


def test_two_changes_of_an_instrument_end_where_they_began() -> None:
    bench = Bench()
    bench.open()
    before = bench.server.state.specs[SYMBOL]
    two = (Respecified(stops_level=70, for_ms=5_000), Respecified(stops_level=90, tick_size=0.05, for_ms=20_000))
    bench.become(FaultPlan(scripted=tuple(Scripted(fault=f, op="terminal_info", nth=n + 1) for n, f in enumerate(two))))
    bench.broker.account()
    bench.broker.account()
    changed = bench.server.state.specs[SYMBOL]
    bench.wait(30)

    assert (changed.stops_level, changed.tick_size) == (90, 0.05)
    assert bench.server.state.specs[SYMBOL] == before


def test_a_symbol_that_may_only_be_closed_refuses_a_hedge_and_lets_a_close_through() -> None:
    bench = Bench()
    held = bench.open()
    bench.become(once(Respecified(trade_mode=Mt5.SYMBOL_TRADE_MODE_CLOSEONLY)))

    assert bench.send(hedge(held), held).rejection is Rejection.HEDGE_PROHIBITED
    assert bench.broker.instrument(SYMBOL).opening_allowed is False
    assert bench.send(close(held), held).outcome is Outcome.APPLIED


def test_a_market_that_moves_before_the_server_looks_makes_a_stop_invalid() -> None:
    bench = Bench()
    held = bench.open()
    bench.become(once(Moved(points=510)))
    receipt = bench.send(tighten(held), held)

    assert (receipt.outcome, receipt.rejection) == (Outcome.REJECTED, Rejection.INVALID_STOPS)
    assert bench.seen(held.identifier).stop == STOP


@pytest.mark.parametrize("side", list(Side))
def test_a_market_that_moves_against_the_position_fills_at_the_new_price(side: Side) -> None:
    bench = Bench()
    held = bench.open(side)
    bench.become(once(Moved(points=100)))
    receipt = bench.send(close(held), held)

    assert receipt.price == round((BID if side is Side.BUY else ASK) - side * 1.0, 2)


def test_a_market_that_moves_against_an_opening_makes_it_dearer() -> None:
    bench = Bench()
    held = bench.open()
    bench.become(once(Moved(points=100)))
    receipt = bench.send(hedge(held), held)

    assert receipt.price == BID - 1.0


def test_a_stop_that_is_hit_just_before_the_order_closes_the_position_for_its_own_reason() -> None:
    bench = Bench()
    held = bench.open()
    bench.become(once(Moved(points=1_100)))

    assert bench.send(halve(held), held).rejection is Rejection.POSITION_GONE
    assert [deal.reason for deal in bench.broker.deals(held.identifier)] == [DealReason.MANUAL, DealReason.STOP]


def test_a_stop_out_closes_positions_and_says_why() -> None:
    bench = Bench()
    first, second = bench.open(), bench.open()
    bench.become(once(StopOut(), op="positions_get"))
    left = bench.broker.positions().positions

    assert len(left) < 2
    gone = next(p for p in (first, second) if p.identifier not in {q.identifier for q in left})
    assert bench.broker.deals(gone.identifier)[-1].reason is DealReason.STOP_OUT
    assert len(bench.oracle.of(AppliedKind.STOP_OUT)) == 2 - len(left)


def test_a_reduction_of_what_a_new_step_does_not_hold_is_refused_without_a_loop() -> None:
    bench = Bench()
    held = bench.open()
    bench.become(once(Respecified(volume_step=0.4, volume_min=0.4)))

    receipt = bench.send(Reduce(ticket=held.ticket, remaining=Lots(0.5)), held)
    again = bench.send(Reduce(ticket=held.ticket, remaining=Lots(0.5)), held)
    assert [r.rejection for r in (receipt, again)] == [Rejection.INVALID_VOLUME] * 2
    assert bench.applied() == 0

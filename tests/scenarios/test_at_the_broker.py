"""What the broker does to us (reliability.md 11.2, scenarios 18 to 42): late orders, levels, weekends, new terms, splits.

The real gateway, monitor, ledger and adapter on the simulated terminal; what counts is what the broker has applied.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.app.rig import SYMBOL, Rig
from tests.terminal_faults.rig import (
    CLOSE,
    HEDGE,
    PARTIAL,
    TIGHTEN,
    Case,
    House,
    close,
    halve,
    hedge,
    once,
    step,
    tighten,
)

from dtms.domain.action import Action
from dtms.domain.intent import IntentState
from dtms.domain.policy import DefencePolicy, Policy
from dtms.domain.trade import Hold, Trade, TradeState
from dtms.domain.units import Lots, Millis, from_utc
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.catalogue import SymbolSpec
from dtms_lab.terminal.fault_kinds import Late
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.records import AccountSpec

FRIDAY_EVENING = from_utc(datetime(2025, 6, 20, 20, 55, tzinfo=UTC))
"""Five minutes before gold closes for the weekend."""
SUNDAY_EVENING = from_utc(datetime(2025, 6, 22, 22, 1, tzinfo=UTC))
"""A minute after it has opened again."""
MADE = {TIGHTEN: tighten, PARTIAL: halve, HEDGE: hedge, CLOSE: close}
cases = pytest.mark.parametrize("case", MADE, ids=[case.row for case in MADE])


def late(case: Case, fault: Late) -> tuple[House, Trade]:
    """Decide; the one order of it is applied late and without an answer. Two minutes later all is told."""
    house = House()
    fresh = house.managed(state=case.state)
    action: Action = MADE[case](fresh)  # type: ignore[operator]  # each takes a trade
    trade = house.decide(case, step(action), trade=fresh)
    house.become(once(fault))
    house.run(120, step=0.5)
    return house, trade


@cases
@pytest.mark.parametrize("delay_ms", [5_001, 7_000, 9_000])
def test_an_order_that_comes_after_half_the_settle_time_and_after_a_read_that_did_not_show_it_is_one(
    case: Case, delay_ms: int
) -> None:
    house, trade = late(case, Late(delay_ms=delay_ms, after_reads=1))
    assert house.ends(trade) == [IntentState.APPLIED]
    assert len({entry.order for entry in house.operations(house.stem(trade))}) == 1
    assert house.trade(trade).state is case.to


def sends(rig: Rig) -> int:
    return len(rig.writes.sent)


@pytest.mark.parametrize("code", [Mt5.TRADE_RETCODE_INVALID_STOPS, Mt5.TRADE_RETCODE_FROZEN])
def test_a_stop_that_the_broker_will_not_have_is_tried_a_few_times_and_the_warning_stands(rig: Rig, code: int) -> None:
    """10016 because the price moved inside the stops level, 10029 because the position is frozen: no tight loop."""
    trade = rig.managed()
    rig.dealer.refuses = lambda request: code if request.action == Mt5.TRADE_ACTION_SLTP else None
    rig.next_bar()
    rig.decide(trade, -2.0)
    rig.settle()
    rig.pass_time(600, step=2.0)
    after = rig.trade(trade.ticket)
    assert (after.state, after.stop, rig.applied(AppliedKind.SLTP)) == (TradeState.WARNING_L1, 1_990.0, 0)
    assert sends(rig) <= 3


def test_a_part_that_may_not_be_closed_in_a_frozen_market_is_tried_a_few_times_and_told(rig: Rig) -> None:
    trade = rig.fall(rig.managed(), -2.0)
    before = sends(rig)
    rig.dealer.refuses = lambda request: Mt5.TRADE_RETCODE_FROZEN if request.action == Mt5.TRADE_ACTION_DEAL else None
    rig.next_bar()
    rig.decide(trade, -4.0)
    rig.settle()
    rig.pass_time(240, step=2.0)
    assert rig.applied(AppliedKind.PARTIAL) == 0
    assert sends(rig) - before <= 12, rig.writes.sent[before:]
    rig.dealer.refuses = lambda _request: None
    rig.pass_time(60)
    assert rig.applied(AppliedKind.PARTIAL) <= 1


# ----- over a weekend


def on_friday(rig: Rig, price: float = 2_000.0) -> None:
    rig.clock.now = Millis(FRIDAY_EVENING)
    rig.price(price)


def test_what_was_parked_over_the_weekend_is_never_sent_to_a_position_that_the_gap_has_stopped_out(rig: Rig) -> None:
    on_friday(rig)
    trade = rig.managed()
    rig.decide(trade, -2.0)  # planned; the gateway is dead over the weekend
    rig.clock.now = Millis(SUNDAY_EVENING)
    rig.price(1_980.0)  # ten under the stop
    rig.pass_time(200)
    assert rig.writes.sent == []
    assert rig.position(trade.identifier) is None
    assert rig.trade(trade.ticket).state is TradeState.CLOSED


def test_a_stop_that_was_worked_out_on_friday_is_not_set_on_sunday(rig: Rig) -> None:
    on_friday(rig)
    trade = rig.managed()
    rig.decide(trade, -2.0)
    (planned,) = rig.intents(trade)
    rig.clock.now = Millis(SUNDAY_EVENING)
    rig.price(1_993.0)  # over the old stop, under the one that was planned
    rig.pass_time(30)
    assert rig.intents(trade)[0].state is IntentState.CANCELLED
    held = rig.position(trade.identifier)
    assert held is not None
    assert held.stop != planned.action.stop  # type: ignore[union-attr]
    assert held.stop is not None
    assert 1_990.0 <= held.stop < 1_993.0


def test_a_close_that_waited_for_the_market_goes_at_the_price_of_the_reopening_and_once(rig: Rig) -> None:
    on_friday(rig)
    trade = rig.fall(rig.managed(stop=1_960.0), -2.0, -4.0)
    before = sends(rig)
    rig.next_bar()
    rig.clock.now = Millis(FRIDAY_EVENING + 6 * 60_000)  # closed by now
    rig.dealer.refuses = lambda _request: Mt5.TRADE_RETCODE_MARKET_CLOSED
    rig.turned(trade)
    rig.settle()
    rig.pass_time(120, step=10.0)
    assert rig.applied(AppliedKind.CLOSE) == 0
    assert sends(rig) - before <= 3
    rig.dealer.refuses = lambda _request: None
    rig.clock.now = Millis(SUNDAY_EVENING)
    rig.price(1_990.0)
    rig.pass_time(700, step=5.0)
    assert rig.applied(AppliedKind.CLOSE) == 1
    assert rig.trade(trade.ticket).state is TradeState.CLOSED
    closing = rig.oracle.of(AppliedKind.CLOSE)[0]
    assert closing.price == 1_990.0


# ----- other terms in the middle of a trade


def respecify(rig: Rig, **changes: object) -> SymbolSpec:
    """Let the broker change the instrument."""
    spec: SymbolSpec = replace(rig.sim.state.specs[SYMBOL], **changes)  # type: ignore[arg-type]
    rig.terminal.backend.respecify(spec)
    return spec


def test_a_coarser_tick_in_the_middle_of_a_trade_puts_the_next_stop_on_the_new_grid(rig: Rig) -> None:
    trade = rig.managed()
    respecify(rig, tick_size=0.25)
    rig.start(epoch=2)
    rig.fall(trade, -2.0)
    held = rig.position(trade.identifier)
    assert held is not None
    assert held.stop is not None
    assert held.stop > 1_990.0
    assert held.stop % 0.25 == 0.0
    assert rig.applied(AppliedKind.SLTP) == 1


def test_a_wider_stops_level_in_the_middle_of_a_trade_keeps_the_next_stop_further_away(rig: Rig) -> None:
    trade = rig.managed()
    spec = respecify(rig, stops_level=800)
    rig.start(epoch=2)
    rig.fall(trade, -2.0)
    held = rig.position(trade.identifier)
    assert held is not None
    assert held.stop is not None
    assert held.current - held.stop >= 800 * spec.point
    assert sends(rig) == rig.applied(AppliedKind.SLTP)


def test_a_coarser_volume_step_in_the_middle_of_a_trade_rounds_the_part_down_to_it(rig: Rig) -> None:
    trade = rig.fall(rig.managed(volume=0.5), -2.0)
    respecify(rig, volume_step=0.1, volume_min=0.1)
    rig.start(epoch=2)
    rig.fall(trade, -4.0)
    assert rig.trade(trade.ticket).volume == Lots(0.3)
    assert rig.applied(AppliedKind.PARTIAL) == 1


@pytest.mark.parametrize(
    ("policy", "state", "closes", "name"),
    [
        ("skip", TradeState.WARNING_L2, 0, "small_lot"),
        ("close_all", TradeState.CLOSED, 1, "small_lot_close_all"),
    ],
)
def test_a_lot_that_cannot_be_halved_is_left_or_closed_as_the_policy_says(
    policy: str, state: TradeState, closes: int, name: str
) -> None:
    rig = Rig(policy=Policy(defence=DefencePolicy(small_lot=policy)))
    trade = rig.fall(rig.managed(volume=0.01), -2.0, -4.0)
    rig.pass_time(30)
    assert rig.applied(AppliedKind.PARTIAL) == 0
    assert rig.applied(AppliedKind.CLOSE) == closes
    assert rig.trade(trade.ticket).state is state
    with rig.ledger.read() as tx:
        (reduced,) = [record for record in tx.transitions(trade.trade_id) if record.row == "l1_to_l2"]
    assert reduced.fallbacks == (name,)


# ----- the broker rewrites the position itself


def rewritten(rig: Rig, trade: Trade, factor: float) -> None:
    """Let the broker split a position: `factor` times the lots at the factor-th part of every price."""
    (held,) = rig.sim.state.positions.values()
    rig.sim.state.put(
        replace(
            held,
            volume=round(held.volume * factor, 2),
            price_open=round(held.price_open / factor, 2),
            stop=None if held.stop is None else round(held.stop / factor, 2),
        )
    )
    rig.price(round(2_000.0 / factor, 2))


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_a_position_that_the_broker_splits_is_frozen_and_a_person_called(rig: Rig, factor: float) -> None:
    trade = rig.managed()
    rewritten(rig, trade, factor)
    rig.pass_time(30)
    frozen = rig.trade(trade.ticket)
    assert frozen.hold is not Hold.NONE
    assert "quarantined" in rig.alerts()
    before = sends(rig)
    for score in (-2.0, -4.0, -6.0):
        rig.wait(300)
        rig.price(round(1_999.0 / factor, 2))
        rig.decide(frozen, score)
        rig.settle()
    assert sends(rig) == before
    assert rig.trade(trade.ticket).state is TradeState.HEALTHY


def test_an_account_that_is_netting_is_never_hedged_whatever_the_policy_wants() -> None:
    rig = Rig(account=AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING))
    trade = rig.fall(rig.managed(), -2.0, -4.0, -6.0)
    assert trade.state is TradeState.HEDGED
    assert rig.applied(AppliedKind.OPEN) == 1
    assert rig.others(trade) == ()
    assert (trade.volume, trade.marks.hedge_equivalent) == (Lots(0.25), Lots(0.25))

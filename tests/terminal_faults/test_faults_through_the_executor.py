"""Each fault through the gateway on a ledger: one application a decision at the oracle, or quarantine with an alert."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.terminal_faults.rig import (
    BID,
    CLOSE,
    HEDGE,
    PARTIAL,
    STOP,
    TIGHTEN,
    Case,
    House,
    close,
    each,
    halve,
    hedge,
    once,
    step,
    tighten,
)

from dtms.adapters.mt5.retcodes import RETCODES, Mend
from dtms.app.evidence import proof
from dtms.domain.action import Action, Close, OpenHedge, SetStop
from dtms.domain.intent import IntentState
from dtms.domain.receipt import RETRYABLE, Rejection
from dtms.domain.trade import Trade, TradeState
from dtms.errors import BrokerUnavailableError, MarketDataError
from dtms_lab.terminal.fault_kinds import (
    NOT_SENT,
    OUT_OF_STEP_APPLIED,
    REPLY_LOST,
    REQUEST_LOST,
    SEND_FAILED,
    SEND_FAILED_APPLIED,
    Answer,
    Crossed,
    Doubled,
    Empty,
    Failed,
    Fault,
    Hang,
    HistoryLag,
    Late,
    Moved,
    PartFill,
    Previous,
    Refused,
    Reopened,
    Restamped,
    StaleView,
    StopOut,
    Switch,
    Switched,
)
from dtms_lab.terminal.fault_plan import ANY, FaultPlan, Scripted, Sent
from dtms_lab.terminal.fault_swarm import UNCLEAR, UNKNOWN_ERROR
from dtms_lab.terminal.faults import HangError

APPLIED, PART, REJECTED = IntentState.APPLIED, IntentState.PARTIAL, IntentState.REJECTED
NOT_APPLIED, QUARANTINED = IntentState.NOT_APPLIED, IntentState.QUARANTINED
SETTLE, QUARANTINE = 12, 62
"""Seconds after which the settle time, and the time for a quarantine, are surely over."""
CASES = (TIGHTEN, PARTIAL, HEDGE, CLOSE)
VOLUMES = (PARTIAL, CLOSE)
cases = pytest.mark.parametrize("case", CASES, ids=[case.row for case in CASES])
volumes = pytest.mark.parametrize("case", VOLUMES, ids=[case.row for case in VOLUMES])


def action_of(case: Case, trade: Trade) -> Action:
    made: dict[Case, Action] = {
        TIGHTEN: tighten(trade),
        PARTIAL: halve(trade),
        HEDGE: hedge(trade),
        CLOSE: close(trade),
    }
    return made[case]


def decided(case: Case, plan: FaultPlan, seconds: float = 0) -> tuple[House, Trade]:
    """Decide without a fault; then the plan begins, and the gateway works."""
    house = House()
    fresh = house.managed(state=case.state)
    trade = house.decide(case, step(action_of(case, fresh)), trade=fresh)
    house.become(plan)
    if seconds:
        house.run(seconds, step=0.5)
    return house, trade


def done(house: House, trade: Trade, case: Case) -> bool:
    """Say whether broker and ledger both show exactly what was decided."""
    held, now = house.held(trade.identifier), house.trade(trade)
    if case is CLOSE:
        return held is None and now.state is TradeState.CLOSED
    if held is None:
        return False
    others = [p for p in house.server.state.positions.values() if p.identifier != trade.identifier]
    hedged = case is HEDGE
    return (held.stop, held.volume, [p.volume for p in others], now.state, now.volume, len(now.legs)) == (
        1_995.0 if case is TIGHTEN else STOP,
        0.5 if case is PARTIAL else 1.0,
        [0.5] if hedged else [],
        case.to,
        held.volume,
        int(hedged),
    )


@cases
def test_without_a_fault_each_decision_is_applied_once(case: Case) -> None:
    house, trade = decided(case, FaultPlan(), 1)

    assert (house.ends(trade), len(house.operations(house.stem(trade)))) == ([APPLIED], 1)
    assert done(house, trade, case)


LOST_AFTER: tuple[Fault, ...] = (
    SEND_FAILED_APPLIED,
    REPLY_LOST,
    OUT_OF_STEP_APPLIED,
    Failed(code=-1, applied=True),
    Failed(code=UNKNOWN_ERROR, applied=True),
    Late(delay_ms=5_000),
    Late(after_reads=1),
    Late(delay_ms=3_000, after_reads=2),
    Late(delay_ms=5_000, code=10012),
    Previous(),
    *(Answer(code=code) for code in UNCLEAR),
)


@cases
@pytest.mark.parametrize("fault", LOST_AFTER, ids=[fault.name for fault in LOST_AFTER])
def test_what_was_applied_without_an_answer_is_found_and_never_sent_again(case: Case, fault: Fault) -> None:
    house, trade = decided(case, once(fault), SETTLE)

    assert (house.ends(trade), len(house.operations(house.stem(trade)))) == ([APPLIED], 1)
    assert done(house, trade, case)
    assert house.alerts() == ["unknown"]


LOST_BEFORE: tuple[Fault, ...] = (
    SEND_FAILED,
    REQUEST_LOST,
    Failed(code=-1),
    Failed(code=-10000),
    Failed(code=UNKNOWN_ERROR),
    *(Refused(code=code) for code in UNCLEAR if code != 10008),
    Switched(switch=Switch.CONNECTION, for_ms=3_000),
)


@pytest.mark.parametrize("case", [TIGHTEN, *VOLUMES], ids=lambda case: case.row)
@pytest.mark.parametrize("fault", LOST_BEFORE, ids=[fault.name for fault in LOST_BEFORE])
def test_what_was_lost_on_the_way_is_told_after_the_settle_time_and_tried_once_more(case: Case, fault: Fault) -> None:
    house, trade = decided(case, once(fault), 9)
    assert house.ends(trade) == [IntentState.UNKNOWN]
    house.run(10, step=0.5)

    assert (house.ends(trade), len(house.operations(house.stem(trade)))) == ([NOT_APPLIED, APPLIED], 1)
    assert done(house, trade, case)


@pytest.mark.parametrize("fault", LOST_BEFORE, ids=[fault.name for fault in LOST_BEFORE])
def test_a_hedge_that_is_not_seen_is_quarantined_with_an_alert_and_the_volume_is_reduced_instead(fault: Fault) -> None:
    house, trade = decided(HEDGE, once(fault), QUARANTINE + 3)

    assert house.ends(trade) == [QUARANTINED, APPLIED]
    assert house.alerts() == ["unknown", "quarantined"]
    assert [position.volume for position in house.server.state.positions.values()] == [0.5]
    assert house.trade(trade).state is TradeState.HEDGED


def test_a_hedge_that_comes_late_but_before_the_quarantine_is_counted_once() -> None:
    house, trade = decided(HEDGE, once(Late(delay_ms=40_000)), QUARANTINE)

    assert (house.ends(trade), len(house.operations(house.stem(trade)))) == ([APPLIED], 1)
    assert done(house, trade, HEDGE)


def test_a_hedge_that_comes_after_its_quarantine_is_still_one_and_no_second_one_is_sent() -> None:
    house, trade = decided(HEDGE, once(Late(delay_ms=90_000)), 120)
    sent = [intent for intent in house.intents(trade) if isinstance(intent.action, OpenHedge)]

    assert ([intent.state for intent in sent], len(house.operations(house.stem(trade)))) == ([QUARANTINED], 1)
    assert "quarantined" in house.alerts()


@pytest.mark.parametrize("case", VOLUMES, ids=lambda case: case.row)
def test_an_order_that_the_broker_still_works_on_is_never_not_applied_however_late_it_fills(case: Case) -> None:
    house, trade = decided(case, once(Late(delay_ms=30_000, code=10008)), 25)
    assert house.ends(trade) == [IntentState.UNKNOWN]
    house.run(15, step=0.5)

    assert (house.ends(trade), len(house.operations(house.stem(trade)))) == ([APPLIED], 1)
    assert done(house, trade, case)


@cases
def test_what_provably_never_left_is_tried_again_at_once(case: Case) -> None:
    house, trade = decided(case, once(NOT_SENT), 3)

    assert (house.ends(trade), len(house.operations(house.stem(trade)))) == ([REJECTED, APPLIED], 1)
    assert house.intents(trade)[0].receipt is not None
    assert done(house, trade, case)


# 10018 closes the symbol's market until its quotes move again: tests/app/test_closures.py.
CODES: dict[int, Rejection] = {
    10004: Rejection.PRICE_MOVED,
    10006: Rejection.DEALER,
    10020: Rejection.PRICE_MOVED,
    10021: Rejection.PRICE_MOVED,
    10024: Rejection.TOO_MANY_REQUESTS,
    10029: Rejection.FROZEN,
    10013: Rejection.INVALID_REQUEST,
    10014: Rejection.INVALID_VOLUME,
    10016: Rejection.INVALID_STOPS,
    10017: Rejection.TRADE_DISABLED,
    10019: Rejection.NO_MONEY,
    10027: Rejection.AUTO_TRADING_OFF,
    10033: Rejection.LIMIT_REACHED,
    10038: Rejection.INVALID_VOLUME,
    10045: Rejection.FIFO,
    10046: Rejection.HEDGE_PROHIBITED,
}


@pytest.mark.parametrize("case", [TIGHTEN, *VOLUMES], ids=lambda case: case.row)
@pytest.mark.parametrize("code", CODES)
def test_a_refusal_is_tried_again_where_that_can_help_and_told_where_it_cannot(case: Case, code: int) -> None:
    house, trade = decided(case, once(Refused(code=code)), 3)

    assert house.intents(trade)[0].receipt is not None
    mended = mends(house, trade, code)
    passing = mended or CODES[code] in RETRYABLE
    assert house.ends(trade) == ([APPLIED] if mended else [REJECTED, APPLIED] if passing else [REJECTED])
    assert len(house.operations(house.stem(trade))) == int(passing)
    assert done(house, trade, case) is passing
    assert ("parked" in house.alerts()) is not passing


def mends(house: House, trade: Trade, code: int) -> bool:
    """Say whether the adapter could put the first request of a step another way; these volumes are coarse already."""
    action = house.intents(trade)[0].action
    deal = not isinstance(action, SetStop) and not (isinstance(action, Close) and action.by is not None)
    return deal and RETCODES[code].mend is not None and RETCODES[code].mend is not Mend.VOLUME


@pytest.mark.parametrize("code", CODES)
def test_a_hedge_that_is_refused_for_good_becomes_a_reduction(code: int) -> None:
    house, trade = decided(HEDGE, once(Refused(code=code)), 3)
    if CODES[code] is Rejection.TRADE_DISABLED:
        # A symbol that may not be traded is a closed one: the reduction asks again a while after its quotes move.
        house.price(BID)
        house.run(15)

    mended = mends(house, trade, code)
    assert house.ends(trade) == ([APPLIED] if mended else [REJECTED, APPLIED])
    hedged = mended or CODES[code] in RETRYABLE
    volumes_open = [position.volume for position in house.server.state.positions.values()]
    assert volumes_open == ([1.0, 0.5] if hedged else [0.5])
    assert house.trade(trade).state is TradeState.HEDGED


@cases
def test_a_storm_of_requotes_is_tried_three_times_and_then_told(case: Case) -> None:
    house, trade = decided(case, once(Refused(code=10004, calls=100)), 30)

    assert house.ends(trade)[:3] == [REJECTED] * 3
    sent = sum(0 if intent.receipt is None else intent.receipt.tries for intent in house.intents(trade))
    assert house.injector.counts["storm 10004"] == sent <= 2 * len(house.intents(trade))
    assert "parked" in house.alerts()


@pytest.mark.parametrize("switch", [Switch.BUTTON, Switch.API, Switch.PROGRAMS, Switch.ACCOUNT])
@cases
def test_trading_that_is_switched_off_calls_a_person_within_one_pass_and_sends_no_storm(
    case: Case, switch: Switch
) -> None:
    house, trade = decided(case, once(Switched(switch=switch)))
    house.tick()
    assert "breaker" in house.alerts()
    house.run(30, step=0.5)

    assert house.injector.counts == {f"switched {switch}": 1}
    assert len(house.intents(trade)) <= 2
    assert house.operations(house.stem(trade)) == ()


@volumes
@pytest.mark.parametrize("says", [10010, 10009])
@pytest.mark.parametrize("lost", [False, True])
def test_a_part_fill_is_completed_by_a_new_intent_and_the_sum_is_exact(case: Case, says: int, lost: bool) -> None:
    fill = PartFill(share=0.3, says=says)
    house, trade = decided(case, each(fill, REPLY_LOST) if lost else once(fill), SETTLE)

    wanted = 0.5 if case is PARTIAL else 1.0
    assert house.ends(trade) == [PART, APPLIED]
    assert [entry.volume for entry in house.operations(house.stem(trade))] == [
        pytest.approx(0.3 * wanted),
        pytest.approx(0.7 * wanted),
    ]
    assert done(house, trade, case)


STAMPS: tuple[Fault, ...] = (
    Restamped(comment=""),
    Restamped(comment="by broker"),
    Restamped(magic=0),
    Restamped(comment="", magic=0),
)


@cases
@pytest.mark.parametrize("stamp", STAMPS, ids=[stamp.name for stamp in STAMPS])
def test_a_broker_that_rewrites_comments_hides_nothing_that_it_has_answered(case: Case, stamp: Fault) -> None:
    house, trade = decided(case, once(stamp), SETTLE)

    assert (house.ends(trade), len(house.operations(house.stem(trade)))) == ([APPLIED], 1)
    assert done(house, trade, case)
    assert house.alerts() == []


@volumes
@pytest.mark.parametrize("stamp", STAMPS, ids=[stamp.name for stamp in STAMPS])
def test_a_volume_change_is_found_without_its_comment_and_without_its_answer(case: Case, stamp: Fault) -> None:
    house, trade = decided(case, each(stamp, REPLY_LOST), SETTLE)

    assert (house.ends(trade), len(house.operations(house.stem(trade)))) == ([APPLIED], 1)
    assert done(house, trade, case)


def test_a_hedge_without_its_comment_and_without_its_answer_is_quarantined_and_never_not_applied() -> None:
    house, trade = decided(HEDGE, each(Restamped(comment="", magic=0), REPLY_LOST), QUARANTINE)

    assert house.ends(trade)[0] is QUARANTINED
    assert len(house.operations(house.stem(trade))) == 1
    assert house.alerts() == ["unknown", "quarantined"]


def test_a_part_fill_without_comment_and_without_answer_is_quarantined_and_never_not_applied() -> None:
    house, trade = decided(PARTIAL, each(PartFill(share=0.3), Restamped(comment=""), REPLY_LOST), QUARANTINE)

    assert house.ends(trade) == [QUARANTINED]
    assert len(house.operations(house.stem(trade))) == 1
    assert "quarantined" in house.alerts()


def test_a_reduction_that_was_lost_is_not_mistaken_for_what_a_hand_took_off() -> None:
    house, trade = decided(PARTIAL, once(REQUEST_LOST))
    house.executor.tick()
    house.close_by_hand(house.seen(trade.identifier), 0.2)
    house.run(SETTLE + 6, step=0.5)

    assert house.ends(trade)[0] is NOT_APPLIED
    held = house.held(trade.identifier)
    assert held is not None
    assert held.volume == 0.5
    assert [entry.volume for entry in house.operations(house.stem(trade))] == [pytest.approx(0.3)]


def test_a_reduction_that_was_lost_before_the_stop_was_hit_is_not_applied() -> None:
    house, trade = decided(PARTIAL, once(REQUEST_LOST))
    house.executor.tick()
    house.price(1_985.0)
    house.run(SETTLE + 6, step=0.5)

    assert house.ends(trade) == [NOT_APPLIED]
    assert house.trade(trade).state is TradeState.CLOSED


@cases
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize(
    "fault", [StaleView(lag_ms=5_000, for_ms=100_000), HistoryLag(lag_ms=5_000, for_ms=100_000)], ids=lambda f: f.name
)
def test_a_terminal_that_is_behind_by_less_than_the_settle_time_makes_no_second_application(
    case: Case, fault: Fault, lost: bool
) -> None:
    house, trade = decided(case, each(fault, REPLY_LOST) if lost else once(fault), SETTLE)

    assert (house.ends(trade), len(house.operations(house.stem(trade)))) == ([APPLIED], 1)
    assert done(house, trade, case)


@pytest.mark.parametrize("case", [PARTIAL, HEDGE, CLOSE], ids=lambda case: case.row)
def test_a_fill_that_the_broker_has_told_is_waited_for_however_far_behind_its_view_is(case: Case) -> None:
    house, trade = decided(case, once(StaleView(lag_ms=25_000, for_ms=100_000)), 27)

    assert (house.ends(trade), len(house.operations(house.stem(trade)))) == ([APPLIED], 1)


@volumes
def test_a_close_of_a_ticket_that_has_changed_is_not_taken_for_done(case: Case) -> None:
    house, trade = decided(case, once(Reopened()), SETTLE + 6)

    assert len(house.operations(house.stem(trade))) == 1
    assert house.ends(trade)[-1] is APPLIED
    assert done(house, trade, case)


def test_a_stop_of_a_ticket_that_has_changed_is_set_at_the_new_one() -> None:
    house, trade = decided(TIGHTEN, once(Reopened()), 3)

    assert house.ends(trade) == [REJECTED, APPLIED]
    assert house.intents(trade)[0].reason.startswith("POSITION_CLOSED")
    assert done(house, trade, TIGHTEN)


def test_a_plan_outlives_a_second_change_of_the_ticket() -> None:
    house = House()
    trade = house.managed(state=TradeState.RECOVERING)
    house.server.reopen(trade.ticket)
    house.run(1)
    moved = house.trade(trade)
    assert moved.ticket != trade.ticket
    house.decide(CLOSE, step(close(moved)), trade=moved)
    house.become(once(Refused(code=10006)))
    house.executor.tick()
    house.server.reopen(moved.ticket)
    house.run(5)

    assert house.ends(trade) == [REJECTED, APPLIED]
    assert house.held(trade.identifier) is None


@cases
@pytest.mark.parametrize("nth", range(1, 7))
def test_one_empty_list_of_positions_ends_no_trade_and_repeats_nothing(case: Case, nth: int) -> None:
    house, trade = decided(case, once(Empty(), op="positions_get", nth=nth), SETTLE + 6)

    assert len(house.operations(house.stem(trade))) == 1
    assert house.ends(trade)[-1] is APPLIED
    assert done(house, trade, case)


@pytest.mark.parametrize("nth", range(1, 7))
def test_an_empty_list_after_an_earlier_part_was_closed_is_no_proof_of_the_rest(nth: int) -> None:
    house = House()
    trade = house.managed(state=TradeState.RECOVERING)
    house.close_by_hand(house.seen(trade.identifier), 0.4)
    house.run(1)
    trade = house.trade(trade)
    house.decide(CLOSE, step(close(trade)), trade=trade)
    house.become(
        FaultPlan(
            scripted=(Scripted(fault=REQUEST_LOST), Scripted(fault=Empty(), op="positions_get", nth=nth, times=2))
        )
    )
    house.run(SETTLE + 8, step=0.5)

    assert [entry.volume for entry in house.operations(house.stem(trade))] == [pytest.approx(0.6)]
    assert house.held(trade.identifier) is None


READ_OPS = ("positions_get", "terminal_info", "account_info", "history_deals", "symbol_info")


@pytest.mark.parametrize("code", [-1, -4, -10000, -10004, UNKNOWN_ERROR])
@pytest.mark.parametrize("op", READ_OPS)
@pytest.mark.parametrize("nth", [1, 2, 4])
@volumes
def test_a_read_that_fails_at_any_place_leaves_nothing_on_its_way_and_repeats_nothing(
    case: Case, op: str, code: int, nth: int
) -> None:
    house, trade = decided(case, once(Failed(code=code), op=op, nth=nth, times=3), SETTLE + 6)
    house.run(300, step=5)  # a step that is parked is tried again after five minutes

    assert len(house.operations(house.stem(trade))) == 1
    assert house.ends(trade)[-1] is APPLIED
    assert done(house, trade, case)


@cases
@pytest.mark.parametrize("nth", range(1, 30, 3))
def test_a_link_that_is_down_for_a_while_leaves_no_intent_on_its_way(case: Case, nth: int) -> None:
    house, trade = decided(case, once(NOT_SENT, op=ANY, nth=nth, times=40), SETTLE + 10)
    house.run(QUARANTINE, step=2)

    assert IntentState.SENDING not in house.ends(trade)
    assert house.ends(trade)[-1] is APPLIED
    assert done(house, trade, case)
    assert len(house.operations(house.stem(trade))) == 1


def test_what_a_broken_pass_left_on_its_way_is_settled_by_the_next_ones() -> None:
    house, trade = decided(PARTIAL, FaultPlan())

    class Breaks:
        def reach(self, name: str) -> None:
            if name == "gateway.claimed":
                house.executor.crash = NoBreak()
                msg = "the pass breaks off here"
                raise BrokerUnavailableError(msg)

    class NoBreak:
        def reach(self, name: str) -> None:
            return

    house.executor.crash = Breaks()
    house.run(SETTLE + 3, step=0.5)

    assert (house.failures, house.ends(trade)) == (1, [NOT_APPLIED, APPLIED])
    assert done(house, trade, PARTIAL)


def test_a_symbol_that_the_broker_lost_does_not_hold_up_the_others() -> None:
    house = House()
    trade, fresh = house.managed(state=TradeState.WARNING_L1), house.managed(state=TradeState.WARNING_L1)
    house.decide(PARTIAL, step(halve(trade)), trade=trade)
    other = house.decide(PARTIAL, step(halve(fresh)), trade=fresh)
    with house.ledger.write() as tx:
        kept = tx.trade_by_id(trade.trade_id)
        assert kept is not None
        tx.save_trade(replace(kept, symbol="EURGONE"))

    with pytest.raises(MarketDataError, match="EURGONE"):
        house.executor.tick()
    assert house.ends(trade) == [IntentState.PLANNED]
    assert house.ends(other) == [APPLIED]


@cases
@pytest.mark.parametrize("applied", [False, True])
def test_a_hang_that_is_killed_is_settled_after_the_restart(case: Case, applied: bool) -> None:
    house, trade = decided(case, once(Hang(applied=applied)))
    with pytest.raises(HangError):
        house.run(1)
    assert house.ends(trade) == [IntentState.SENDING]
    house.wait(5)
    house.restart()
    house.run(SETTLE + 3, step=0.5)

    if case is HEDGE and not applied:
        house.run(QUARANTINE, step=0.5)
        assert house.ends(trade) == [QUARANTINED, APPLIED]
        return
    assert house.ends(trade) == ([APPLIED] if applied else [NOT_APPLIED, APPLIED])
    assert (len(house.operations(house.stem(trade))), done(house, trade, case)) == (1, True)


@volumes
def test_after_a_long_outage_absence_is_told_by_two_reads_a_settle_time_apart(case: Case) -> None:
    house, trade = decided(case, once(Switched(switch=Switch.CONNECTION, for_ms=90_000)), 91)
    assert house.ends(trade) == [IntentState.UNKNOWN]
    house.run(8, step=0.5)
    assert house.ends(trade) == [IntentState.UNKNOWN]
    house.run(8, step=0.5)

    assert (house.ends(trade), len(house.operations(house.stem(trade)))) == ([NOT_APPLIED, APPLIED], 1)
    assert "quarantined" not in house.alerts()


@volumes
def test_an_outage_between_two_reads_begins_the_settle_time_anew(case: Case) -> None:
    outage = Switched(switch=Switch.CONNECTION, for_ms=30_000)
    plan = FaultPlan(scripted=(Scripted(fault=REQUEST_LOST), Scripted(fault=outage, op="positions_get", nth=8)))
    house, trade = decided(case, plan, 38)
    assert (house.ends(trade), house.injector.counts["switched connection"]) == ([IntentState.UNKNOWN], 1)
    house.run(6, step=0.5)

    assert (house.ends(trade), len(house.operations(house.stem(trade)))) == ([NOT_APPLIED, APPLIED], 1)


@cases
def test_a_symbol_that_is_not_told_at_the_last_check_is_not_sent_and_tried_again_at_once(case: Case) -> None:
    house, trade = decided(case, once(Failed(code=-4), op="symbol_info", nth=2), 3)

    assert house.ends(trade) == [REJECTED, APPLIED]
    assert "does not know the symbol" in house.intents(trade)[0].reason
    assert done(house, trade, case)


def test_the_deals_of_another_position_prove_nothing() -> None:
    house, trade = decided(CLOSE, FaultPlan())
    other = house.open()
    house.close_by_hand(other)
    nobody = replace(house.broker.positions(), positions=())
    deals = house.broker.deals(other.identifier)

    assert proof.flat(deals)
    found = proof.find(house.intents(trade)[0], nobody, deals, house.broker.instrument(trade.symbol))
    assert found.seen is proof.Seen.UNCLEAR


@cases
def test_a_pipe_that_leads_to_another_account_sends_nothing_there_and_one_order_here(case: Case) -> None:
    house, trade = decided(case, once(Crossed(calls=9), op="positions_get"), 5)

    assert dict(house.link.stranger.server.state.positions) == {}
    assert (house.ends(trade)[-1], len(house.operations(house.stem(trade)))) == (APPLIED, 1)
    assert done(house, trade, case)


def test_a_hedge_that_went_to_another_account_is_not_taken_for_one_of_ours_with_the_same_number() -> None:
    house, trade = decided(HEDGE, once(Crossed(calls=1), sent=Sent.OPEN), 3)
    strange = house.link.stranger.server.state.positions

    assert set(strange) <= set(house.server.state.positions)
    assert house.ends(trade) == [IntentState.UNKNOWN]
    house.run(QUARANTINE, step=0.5)
    assert house.ends(trade)[0] is QUARANTINED
    assert "quarantined" in house.alerts()


@cases
def test_a_doubled_reply_changes_nothing(case: Case) -> None:
    house, trade = decided(case, once(Doubled()), 3)

    assert (house.ends(trade), len(house.operations(house.stem(trade)))) == ([APPLIED], 1)
    assert done(house, trade, case)


def test_a_stop_that_is_hit_on_the_way_ends_the_trade_and_a_close_has_met_its_goal() -> None:
    house, trade = decided(CLOSE, once(Moved(points=1_100)), 2)

    (intent,) = house.intents(trade)
    assert intent.receipt is not None
    assert (intent.state, intent.receipt.goal_met, house.operations(intent.tag)) == (APPLIED, True, ())
    assert house.trade(trade).state is TradeState.CLOSED


@pytest.mark.parametrize("fault", [Moved(points=1_100), StopOut()], ids=lambda fault: fault.name)
@pytest.mark.parametrize("case", [TIGHTEN, PARTIAL], ids=lambda case: case.row)
def test_what_the_broker_closes_on_the_way_is_rejected_and_the_trade_ends_by_proof(case: Case, fault: Fault) -> None:
    house, trade = decided(case, once(fault), SETTLE)

    assert (house.ends(trade), house.operations(house.stem(trade))) == ([REJECTED], ())
    assert house.trade(trade).state is TradeState.CLOSED


def test_a_close_without_an_answer_that_somebody_else_carried_out_has_met_its_goal() -> None:
    house, trade = decided(CLOSE, once(REQUEST_LOST))
    house.executor.tick()
    house.close_by_hand(house.seen(trade.identifier))
    house.run(1)

    (intent,) = house.intents(trade)
    assert intent.receipt is not None
    assert (intent.state, intent.receipt.goal_met, house.operations(intent.tag)) == (APPLIED, True, ())


def test_a_stop_that_was_set_before_the_position_ended_is_applied_by_the_answer_alone() -> None:
    house, trade = decided(TIGHTEN, once(Failed(code=-1), op="positions_get", nth=2, times=50))
    house.executor.tick()
    assert house.ends(trade) == [IntentState.ACKED]
    house.close_by_hand(house.seen(trade.identifier))
    house.become(FaultPlan())
    house.run(2)

    assert (house.ends(trade), len(house.operations(house.stem(trade)))) == ([APPLIED], 1)


def test_a_hedge_that_was_opened_and_stopped_before_anybody_looked_is_found_in_the_history() -> None:
    house, trade = decided(HEDGE, once(REPLY_LOST))
    planned = house.intents(trade)[0]
    house.services.monitor.tick()
    house.become(
        FaultPlan(
            scripted=(Scripted(fault=REPLY_LOST), Scripted(fault=Failed(code=-1), op="positions_get", nth=2, times=3))
        )
    )
    house.executor.tick()
    assert len(house.operations(planned.tag)) == 1
    house.price(2_011.0)
    house.wait(1)
    house.price(2_000.0)
    house.run(5)

    assert house.ends(trade) == [APPLIED]
    found = house.trade(trade)
    assert (found.state, found.legs, len(found.children)) == (TradeState.WARNING_L2, (), 1)

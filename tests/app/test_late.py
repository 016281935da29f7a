"""What happens at the broker between a plan and its order, or between an order and its end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.app.rig import SYMBOL, Rig
from tests.app.test_gateway import plan, tighter

from dtms.domain.action import OpenTrade
from dtms.domain.intent import Intent, IntentState, Planner, Precondition, tag_of
from dtms.domain.receipt import Rejection
from dtms.domain.rules import CommandRule
from dtms.domain.trade import TradeState
from dtms.domain.units import Lots, Price, Side, TradeId
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.records import AccountSpec

_NETTING = AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING)


def opening(rig: Rig, number: int = 1) -> Intent:
    """Write an order to open, as the main API does."""
    trade_id = TradeId(f"open:test{number}")
    intent = Intent(
        intent_id=f"01JXYW5CF82F1S7NR7PSM3V0F{number}",
        trade_id=trade_id,
        position=None,
        decision_id="open",
        step=0,
        attempt=1,
        action=OpenTrade(symbol=SYMBOL, side=Side.SELL, volume=Lots(0.5), stop=Price(2_010.0), target=None),
        precondition=Precondition(),
        owner=Planner.COMMAND,
        rule=CommandRule.OPEN,
        state=IntentState.PLANNED,
        tag=tag_of(trade_id, "open", 0, 1),
        created_at=rig.clock.now,
        expires_at=None,
    )
    with rig.ledger.write() as tx:
        assert tx.add_intent(intent)
    return intent


def ended(rig: Rig, intent: Intent) -> tuple[IntentState, Rejection | None]:
    with rig.ledger.read() as tx:
        found = tx.intent(intent.intent_id)
    assert found is not None
    return found.state, None if found.receipt is None else found.receipt.rejection


def test_an_opening_does_not_join_a_position_of_a_hand_where_the_account_nets() -> None:
    rig = Rig(account=_NETTING)
    intent = opening(rig)
    theirs = rig.open(volume=1.0)
    rig.carry_out()
    assert ended(rig, intent) == (IntentState.REJECTED, Rejection.PRECONDITION)
    present = rig.position(theirs.identifier)
    assert present is not None
    assert present.volume == 1.0


def test_an_opening_beside_a_position_of_a_hand_is_sent_where_the_account_hedges(rig: Rig) -> None:
    intent = opening(rig)
    rig.open(volume=1.0)
    rig.carry_out()
    assert ended(rig, intent) == (IntentState.APPLIED, None)
    assert len(rig.broker.positions().positions) == 2


@pytest.mark.parametrize("hedging", [True, False])
def test_where_the_account_nets_nothing_is_opened_while_the_ledger_still_has_a_trade(rig: Rig, hedging: bool) -> None:
    rig = rig if hedging else Rig(account=_NETTING)
    trade = rig.managed()
    rig.hand_close(trade.ticket)  # the proof has not been read yet
    intent = opening(rig)
    rig.executor.tick()
    sent = (IntentState.APPLIED, None) if hedging else (IntentState.REJECTED, Rejection.PRECONDITION)
    assert ended(rig, intent) == sent


@pytest.mark.parametrize("hedging", [True, False])
def test_where_the_account_nets_an_opening_in_doubt_holds_up_the_next_one(rig: Rig, hedging: bool) -> None:
    rig = rig if hedging else Rig(account=_NETTING)
    first = opening(rig)
    rig.writes.fate = lambda _action: "lost_on_the_way"
    rig.executor.tick()
    rig.writes.fate = lambda _action: "answered"
    second = opening(rig, 2)
    rig.executor.tick()
    assert ended(rig, first)[0] is IntentState.UNKNOWN
    sent = (IntentState.APPLIED, None) if hedging else (IntentState.REJECTED, Rejection.PRECONDITION)
    assert ended(rig, second) == sent


def test_a_stop_that_is_found_after_its_trade_was_closed_is_recorded_too(rig: Rig) -> None:
    trade = rig.managed()
    rig.writes.fate = lambda _action: "answer_lost"
    moved = plan(rig, trade, tighter(trade))
    rig.executor.tick()
    present = rig.trade(trade.ticket)
    rig.put(replace(present, state=TradeState.CLOSED, volume=Lots(0.0), closed_at=rig.clock.now, close_reason="test"))
    rig.carry_out()
    assert ended(rig, moved)[0] is IntentState.APPLIED
    with rig.ledger.read() as tx:
        assert moved.intent_id in [record.intent_id for record in tx.stops(trade.trade_id)]


def test_nothing_is_sent_to_a_position_that_others_have_added_to_at_the_same_price() -> None:
    rig = Rig(account=_NETTING)
    trade = rig.managed()
    stop = plan(rig, trade, tighter(trade))
    done = rig.order(action=Mt5.TRADE_ACTION_DEAL, type=Mt5.ORDER_TYPE_BUY, volume=0.5)
    assert done.retcode == Mt5.TRADE_RETCODE_DONE
    rig.carry_out()
    assert (ended(rig, stop), rig.writes.sent) == ((IntentState.REJECTED, Rejection.PRECONDITION), [])


def test_a_stop_goes_to_a_position_that_a_hand_has_taken_from_since() -> None:
    rig = Rig()
    trade = rig.managed()
    stop = plan(rig, trade, tighter(trade))
    rig.hand_close(trade.ticket, 0.4)
    rig.carry_out()
    assert ended(rig, stop) == (IntentState.APPLIED, None)

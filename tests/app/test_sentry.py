"""Laws that are checked in production: each is broken on purpose, holds one trade loudly, and leaves the others alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.app.rig import Rig

from dtms.app.commands.operator import Person
from dtms.app.journal import journal
from dtms.domain.action import SetStop
from dtms.domain.intent import Intent, IntentState, Planner
from dtms.domain.policy import DefencePolicy, Policy
from dtms.domain.rules import ExitRule
from dtms.domain.trade import Hold, Trade
from dtms.domain.units import Lots, Millis, Price, Ticket
from dtms.errors import InvariantError
from dtms.ports.notifier import AlertKind
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.records import AccountSpec


def broken(rig: Rig) -> list[str]:
    """What people were told of broken laws."""
    return [alert.detail for alert in rig.notifier.alerts if alert.kind is AlertKind.QUARANTINED]


def sound(rig: Rig) -> Trade:
    """A trade whose facts the sentry has seen."""
    trade = rig.managed()
    rig.pass_time(2)
    return rig.trade(trade.ticket)


def held(rig: Rig, trade: Trade, words: str) -> None:
    """Assert that this trade alone is held, with one call that says why and what to do."""
    assert rig.trade(trade.ticket).hold is Hold.INVARIANT
    ((detail),) = broken(rig)
    assert words in detail
    assert f"dtms confirm {trade.ticket}" in detail
    rig.pass_time(30)
    assert len(broken(rig)) == 1


def undone(rig: Rig, trade: Trade, stop: float, state: IntentState = IntentState.NOT_APPLIED) -> Intent:
    """Put an order into the journal that asked for a stop and is held for not applied."""
    planned = journal.new_intent(
        trade,
        SetStop(ticket=trade.ticket, stop=Price(stop), target=None),
        decision_id="earlier",
        owner=Planner.EXITS,
        rule=ExitRule.TRAILING,
        now=rig.clock.now,
        priced_expiry_s=60,
    )
    with rig.ledger.write() as tx:
        tx.add_intent(planned)
        claimed = tx.claim(planned, epoch=1, now=rig.clock.now)
        assert claimed is not None
        unknown = replace(claimed, state=IntentState.UNKNOWN)
        tx.save_intent(unknown, expected=IntentState.SENDING)
        ended = replace(unknown, state=state, settled_at=rig.clock.now)
        tx.save_intent(ended, expected=IntentState.UNKNOWN)
    return ended


def test_a_version_that_falls_is_a_broken_law(rig: Rig) -> None:
    trade = rig.fall(sound(rig), -2.0)
    rig.pass_time(2)
    fallen = replace(rig.trade(trade.ticket), version=1)  # the ledger itself refuses this: it was replaced under us
    instrument = rig.broker.instrument(trade.symbol)
    with pytest.raises(InvariantError, match=f"its version fell from {trade.version} to 1"):
        rig.server.monitor.sentry.after(fallen, rig.broker.positions(), rig.clock.now, instrument)


def test_a_stop_at_the_broker_without_a_record_holds_the_trade(rig: Rig) -> None:
    trade = sound(rig)
    rig.hand_stop(trade.ticket, 1_995.0)
    rig.put(replace(trade, stop=Price(1_995.0), version=trade.version + 1))  # the ledger follows and writes no record
    rig.settle()
    held(rig, trade, "its stop 1995.00 at the broker has no record")


def test_a_stop_that_the_ledger_loosens_without_a_grant_holds_the_trade(rig: Rig) -> None:
    trade = sound(rig)
    rig.hand_stop(trade.ticket, 1_995.0)
    rig.pass_time(2)
    first = rig.trade(trade.ticket)
    rig.hand_stop(trade.ticket, 1_990.0)
    rig.put(replace(first, stop=Price(1_990.0), version=first.version + 1))
    rig.settle()
    held(rig, trade, "its stop was loosened from 1995.00 to 1990.00 without a grant")


def test_an_order_held_for_not_applied_that_sets_its_stop_at_last_holds_the_trade() -> None:
    rig = Rig(policy=Policy(defence=DefencePolicy(by_hand="yield")))
    trade = sound(rig)
    late = undone(rig, trade, 1_980.0)
    rig.hand_stop(trade.ticket, 1_980.0)
    rig.settle()
    held(rig, trade, f"order {late.intent_id}, held for not applied, has set its stop to 1980.00")
    assert rig.trade(trade.ticket).stop == 1_980.0  # shown as it is; a person decides


def test_a_stop_that_a_hand_has_loosened_breaks_no_law() -> None:
    rig = Rig(policy=Policy(defence=DefencePolicy(by_hand="yield")))
    trade = sound(rig)
    rig.hand_stop(trade.ticket, 1_980.0)
    rig.pass_time(5)
    assert (rig.trade(trade.ticket).hold, broken(rig)) == (Hold.NONE, [])


def test_a_position_that_one_of_our_orders_made_larger_holds_the_trade() -> None:
    rig = Rig(account=AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING))
    trade = sound(rig)
    order = undone(rig, trade, 1_991.0)
    rig.order(action=Mt5.TRADE_ACTION_DEAL, type=Mt5.ORDER_TYPE_BUY, volume=0.5, sl=1_990.0, comment=order.tag)
    rig.settle()
    held(rig, trade, f"our order {order.tag} made it larger: 1.00 has become 1.50")


def test_a_position_that_a_hand_made_larger_is_not_our_fault() -> None:
    rig = Rig(account=AccountSpec(margin_mode=Mt5.ACCOUNT_MARGIN_MODE_RETAIL_NETTING))
    trade = sound(rig)
    rig.order(action=Mt5.TRADE_ACTION_DEAL, type=Mt5.ORDER_TYPE_BUY, volume=0.5, sl=1_990.0)
    rig.settle()
    assert rig.trade(trade.ticket).hold is Hold.VOLUME_ADDED


def test_a_hedge_that_stays_larger_than_its_parent_holds_the_trade(rig: Rig) -> None:
    trade = rig.hedged()
    rig.pass_time(2)
    rig.dealer.refuses = lambda request: (
        Mt5.TRADE_RETCODE_MARKET_CLOSED if request.action == Mt5.TRADE_ACTION_DEAL and request.magic == 77 else None
    )
    rig.hand_close(trade.ticket, 0.4)
    rig.pass_time(9)
    assert rig.trade(trade.ticket).hold is Hold.NONE
    rig.pass_time(4)
    held(rig, trade, "its hedge of 0.25 is larger than the 0.10 that are left")


def test_a_clean_life_with_every_state_breaks_no_law(rig: Rig) -> None:
    trade = rig.hedged()
    rig.pass_time(20)
    rig.next_bar()
    rig.decide(rig.trade(trade.ticket), 0.0)
    rig.pass_time(20)
    assert (rig.trade(trade.ticket).hold, broken(rig)) == (Hold.NONE, [])


def test_one_broken_trade_leaves_the_others_defended(rig: Rig) -> None:
    first, second = sound(rig), sound(rig)
    rig.hand_stop(first.ticket, 1_995.0)
    rig.put(replace(first, stop=Price(1_995.0), version=first.version + 1))
    rig.pass_time(2)
    assert rig.trade(first.ticket).hold is Hold.INVARIANT
    sent = len(rig.writes.sent)
    rig.fall(rig.trade(second.ticket), -2.0, -4.0)
    assert len(rig.writes.sent) > sent
    rig.fall(rig.trade(first.ticket), -2.0, -4.0)
    assert rig.rows(first) == []
    rig.hand_close(first.ticket)
    rig.pass_time(12)
    assert not rig.trade(first.ticket).is_open


def test_what_a_person_has_confirmed_is_not_held_again(rig: Rig) -> None:
    trade = sound(rig)
    rig.hand_stop(trade.ticket, 1_995.0)
    rig.put(replace(trade, stop=Price(1_995.0), version=trade.version + 1))
    rig.settle()
    reads: Any = rig.reads
    person = Person(ledger=rig.ledger, reads=reads, clock=rig.clock, desk=rig.server.desk)
    person.confirm(Ticket(trade.ticket), actor="me")
    rig.pass_time(30)
    assert (rig.trade(trade.ticket).hold, len(broken(rig))) == (Hold.NONE, 1)


class Counting:
    """A ledger that counts how often it is read."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.reads = 0

    def read(self) -> Any:
        self.reads += 1
        return self._inner.read()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_a_pass_over_trades_that_have_not_changed_reads_nothing_of_them(rig: Rig) -> None:
    for _ in range(5):
        rig.managed(volume=0.1)
    rig.pass_time(3)
    counting = Counting(rig.ledger)
    rig.server.monitor.sentry.ledger = counting
    rig.pass_time(20)
    assert counting.reads == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda trade: replace(trade, volume=Lots(0.5), version=trade.version + 1),
        lambda trade: replace(trade, naked_since=Millis(1)),
    ],
    ids=["volume", "naked"],
)
def test_a_ledger_that_differs_otherwise_is_put_right_by_the_brokers_facts(
    rig: Rig, change: Callable[[Trade], Trade]
) -> None:
    trade = sound(rig)
    rig.put(change(trade))
    rig.pass_time(2)
    after = rig.trade(trade.ticket)
    assert after.naked_since is None
    assert after.hold in (Hold.NONE, Hold.VOLUME_ADDED)

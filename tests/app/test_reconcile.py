"""Broker against ledger: one whole view or nothing, nothing flat without proof, and no increase before the first clean one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.app.rig import Rig

from dtms import bootstrap
from dtms.app.journal.pnl import realised
from dtms.app.reconcile.outcome import Outcome, last_outcome
from dtms.app.reconcile.reconciler import Reconciler
from dtms.domain.intent import IntentState
from dtms.domain.modes import Cause
from dtms.domain.position import Account
from dtms.domain.trade import Hold, TradeState
from dtms.domain.units import Lots, Millis
from dtms.errors import BrokerUnavailableError
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.recorder import AppliedKind

MAGIC = 77
"""Under which the rig's gateway sends."""


@dataclass(slots=True)
class Told:
    """The causes that were told, as the modes would have them."""

    causes: set[Cause] = field(default_factory=set)
    ever: list[Cause] = field(default_factory=list)

    def set(self, cause: Cause, detail: str) -> None:
        assert detail
        self.causes.add(cause)
        self.ever.append(cause)

    def clear(self, cause: Cause) -> None:
        self.causes.discard(cause)


def reconciler(rig: Rig, causes: Any = None) -> Reconciler:
    reads: Any = rig.reads
    told = Told() if causes is None else causes
    return bootstrap.make_reconciler(rig.parts, reads, account=rig.broker.account().key, magic=MAGIC, causes=told)


def causes_of(found: Reconciler) -> set[Cause]:
    told: Any = found.causes
    return set(told.causes)


def outcome(found: Reconciler) -> Outcome:
    assert found.last is not None
    return found.last


def test_the_first_whole_clean_one_arms_and_stands_in_the_ledger(rig: Rig) -> None:
    rig.managed()
    rig.settle()
    found = reconciler(rig)
    found.start()
    assert (found.armed, causes_of(found)) == (True, set())
    with rig.ledger.read() as tx:
        told = json.loads(tx.fact("reconciled") or "")
        assert last_outcome(tx) == outcome(found)
    assert (told["at"], told["clean"], told["full"], told["orphans"], told["missing"]) == (
        rig.clock.now,
        True,
        True,
        [],
        [],
    )


def test_before_the_first_clean_one_a_hedge_is_not_opened_and_the_volume_is_reduced_instead(rig: Rig) -> None:
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    found = reconciler(rig, rig.executor.modes)
    rig.reads.down = True
    found.start()
    rig.reads.down = False
    assert rig.executor.modes.active() == {Cause.UNRECONCILED}
    opened = rig.applied(AppliedKind.OPEN)
    after = rig.fall(trade, -6.0)
    assert rig.applied(AppliedKind.OPEN) == opened
    assert (after.state, after.volume, after.legs) == (TradeState.HEDGED, Lots(0.25), ())
    rig.wait(2)
    found.step()
    assert rig.executor.modes.active() == frozenset()


def test_a_broker_that_cannot_tell_proves_nothing(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.reads.down = True
    found = reconciler(rig)
    found.start()
    assert (outcome(found).clean, outcome(found).missing, found.armed) == (False, (), False)
    assert causes_of(found) == {Cause.UNRECONCILED}
    assert rig.trade(trade.ticket).state is TradeState.HEALTHY


def test_one_empty_list_is_no_end_and_is_not_clean_and_the_next_read_puts_it_right(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    found = reconciler(rig)
    found.start()
    rig.reads.flat = True
    rig.wait(5)
    found.step()
    assert (outcome(found).clean, outcome(found).missing) == (False, (trade.identifier,))
    assert "no closing deals tell why" in outcome(found).why
    rig.server.monitor.tick()
    rig.reads.flat = False
    rig.wait(5)
    found.step()
    assert (outcome(found).clean, outcome(found).missing) == (True, ())
    assert (rig.trade(trade.ticket).state, rig.trade(trade.ticket).hold) == (TradeState.HEALTHY, Hold.NONE)


def test_a_position_whose_deals_sum_up_is_not_missing(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.hand_close(trade.ticket)
    found = reconciler(rig)
    found.start()
    assert (outcome(found).clean, outcome(found).missing) == (True, ())


def test_the_money_of_a_closed_trade_follows_a_deal_that_the_broker_corrects(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.hand_close(trade.ticket)
    rig.pass_time(20)
    assert rig.trade(trade.ticket).state is TradeState.CLOSED
    found = reconciler(rig)
    found.start()
    with rig.ledger.read() as tx:
        before, links = realised(tx, trade), tx.audit(limit=1_000)
    place = next(number for number, deal in enumerate(rig.sim.state.deals) if deal.position_id == trade.identifier)
    rig.sim.state.deals[place] = replace(rig.sim.state.deals[place], swap=-3.5)
    rig.wait(60)
    found.step()
    rig.wait(60)
    found.step()
    with rig.ledger.read() as tx:
        after, more = realised(tx, trade), tx.audit(limit=1_000)[len(links) :]
    assert after == pytest.approx(before - 3.5)
    assert [link.what for link in more].count("deal_corrected") == 1


def test_a_trade_that_a_person_is_asked_about_does_not_hold_up_the_others(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.reads.flat = True
    rig.put(replace(rig.trade(trade.ticket), hold=Hold.QUARANTINED))
    found = reconciler(rig)
    found.start()
    assert outcome(found).clean


class Crossed:
    """Reads whose account is another one from the n-th question on, for a while."""

    def __init__(self, inner: Any, wrong: range) -> None:
        self._inner = inner
        self._wrong = wrong
        self._asked = 0

    def account(self) -> Account:
        self._asked += 1
        account: Account = self._inner.account()
        return replace(account, login=1) if self._asked in self._wrong else account

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize("wrong", [range(1, 2), range(2, 3), range(1, 3)], ids=["before", "after", "both"])
def test_nothing_is_concluded_from_a_view_of_another_account(rig: Rig, wrong: range) -> None:
    rig.managed()
    rig.settle()
    found = reconciler(rig)
    found.reads = Crossed(rig.reads, wrong)
    rig.reads.flat = True
    found.start()
    assert (outcome(found).clean, outcome(found).missing, causes_of(found)) == (False, (), {Cause.UNRECONCILED})
    assert "log it in there again" in outcome(found).why
    rig.reads.flat = False
    rig.wait(1)
    found.step()
    assert (outcome(found).clean, causes_of(found)) == (True, set())


def test_a_read_that_stands_still_is_not_believed(rig: Rig) -> None:
    found = reconciler(rig)
    found.start()
    rig.reads.stuck = rig.reads.positions()
    rig.wait(5)
    found.step()
    rig.wait(5)
    found.step()
    assert not outcome(found).clean
    rig.reads.stuck = None
    rig.wait(5)
    found.step()
    assert outcome(found).clean


def test_time_that_went_back_refuses_one_view(rig: Rig) -> None:
    found = reconciler(rig)
    found.start()
    rig.reads.stuck = replace(rig.reads.positions(), as_of=Millis(rig.clock.now - 1))
    rig.wait(5)
    found.step()
    assert (outcome(found).clean, "is not believed" in outcome(found).why) == (False, True)


def test_positions_are_compared_each_5_s_and_the_history_each_60_s(rig: Rig) -> None:
    found = reconciler(rig)
    found.start()
    started = outcome(found).confirmed
    ran = []
    for _ in range(125):
        rig.wait(1)
        made = found.step()
        if made is not None:
            ran.append(made)
    whole = [made.confirmed for made in ran if made.full]
    assert (len(ran), len(whole)) == (25, 2)
    assert [made.at for made in ran if made.full] == whole
    # What a fast one finds clean is agreed no further than the last whole one.
    assert {made.confirmed for made in ran} == {started, *whole}


def test_fast_ones_that_find_nothing_new_write_nothing(rig: Rig) -> None:
    found = reconciler(rig)
    found.start()
    before = rig.ledger.revision()
    for _ in range(11):
        rig.wait(5)
        assert found.step() is not None
    assert rig.ledger.revision() == before


def test_an_outcome_that_becomes_unknown_asks_for_a_whole_one_at_once_and_so_does_its_end(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    found = reconciler(rig)
    found.start()
    rig.writes.fate = lambda _action: "lost_on_the_way"
    rig.next_bar()
    rig.decide(trade, -2.0)
    rig.executor.tick()
    found.step(rig.executor.book.page().unfinished)
    rig.wait(2)
    unfinished = rig.executor.book.page().unfinished
    assert [intent.state for intent in unfinished] == [IntentState.UNKNOWN]
    made = found.step(unfinished)
    assert made is None or made.full
    for _ in range(20):
        rig.wait(1)
        rig.executor.tick()
        made = found.step(rig.executor.book.page().unfinished) or made
    assert rig.executor.book.page().unfinished == ()
    assert outcome(found).clean


def test_a_lost_link_asks_for_a_whole_one(rig: Rig) -> None:
    found = reconciler(rig)
    found.start()
    rig.wait(2)
    assert found.step() is None
    found.want()
    made = found.step()
    assert made is not None
    assert made.full


def test_what_a_hand_has_changed_is_counted_and_clean(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.hand_stop(trade.ticket, 1_995.0)
    foreign = rig.open(volume=0.3)
    found = reconciler(rig)
    found.start()
    assert (outcome(found).clean, outcome(found).changed, outcome(found).foreign) == (True, 1, 1)
    assert foreign.magic == 0


def test_a_ticket_that_changes_is_followed_by_the_identifier(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    moved = rig.sim.reopen(trade.ticket)
    found = reconciler(rig)
    found.start()
    assert (outcome(found).clean, outcome(found).orphans, outcome(found).missing) == (True, (), ())
    rig.pass_time(2)
    assert (rig.trade(moved).ticket, rig.trade(moved).identifier) == (moved, trade.identifier)


def test_a_broker_without_history_leaves_the_gateway_unreconciled_and_at_work(rig: Rig) -> None:
    found = reconciler(rig)
    found.reads = NoHistory(rig.reads)
    found.start()
    assert causes_of(found) == {Cause.UNRECONCILED}
    trade = rig.managed()
    rig.fall(trade, -2.0)
    assert rig.trade(trade.ticket).stop == 1_996.0


class NoHistory:
    """Reads that know no deals of the account."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def deals_between(self, _start: Millis, _end: Millis) -> Any:
        msg = "the history does not answer"
        raise BrokerUnavailableError(msg)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_the_gateway_compares_before_it_sends_what_waits(rig: Rig) -> None:
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    rig.next_bar()
    rig.decide(trade, -6.0)  # a hedge is planned, and the gateway starts on a broker that shows what nobody knows
    rig.order(action=Mt5.TRADE_ACTION_DEAL, type=Mt5.ORDER_TYPE_SELL, volume=0.25, sl=2_010.0, magic=MAGIC, comment="")
    opened = rig.applied(AppliedKind.OPEN)
    rig.work(reconciler(rig, rig.executor.modes)).step()
    assert rig.applied(AppliedKind.OPEN) == opened
    assert (rig.trade(trade.ticket).volume, rig.trade(trade.ticket).legs) == (Lots(0.25), ())


def test_what_protects_is_sent_by_a_gateway_that_could_not_compare(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.next_bar()
    rig.decide(trade, -2.0)
    found = reconciler(rig, rig.executor.modes)
    found.reads = NoHistory(rig.reads)
    rig.work(found).step()
    assert Cause.UNRECONCILED in rig.executor.modes.active()
    assert rig.trade(trade.ticket).stop == 1_996.0


def test_a_pass_that_failed_is_followed_by_a_whole_comparison(rig: Rig) -> None:
    rig.managed()
    rig.settle()
    found = reconciler(rig, rig.executor.modes)
    loop = rig.work(found)
    loop.step()
    rig.reads.down = True
    rig.wait(6)
    found.step()
    assert not outcome(found).clean
    rig.reads.down = False
    rig.wait(2)
    loop.step()
    assert (outcome(found).full, outcome(found).clean) == (True, True)

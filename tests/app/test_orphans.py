"""Positions in our name that the ledger does not know: shown, alarmed, never touched, until a person decides."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any

import pytest
from tests.app.rig import Rig
from tests.app.test_reconcile import MAGIC, causes_of, outcome, reconciler

from dtms.adapters.sql import open_ledger
from dtms.app.commands.operator import Person
from dtms.app.commands.registration import RefusalKind, RegistrationRefusedError
from dtms.app.reconcile.reconciler import Reconciler
from dtms.domain.intent import IntentState
from dtms.domain.modes import Cause
from dtms.domain.position import Position
from dtms.domain.trade import Hold, LegKind, TradeState
from dtms.domain.units import Lots, Side
from dtms.ports.notifier import AlertKind
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.recorder import AppliedKind

TAG = "abcdefghijklmnopqrstuvw"
ELSEWHERE = "zyxwvutsrqponmlkjihgfed"


def ours(
    rig: Rig, *, stop: float | None = 1_985.0, tag: str = TAG, magic: int = MAGIC, side: Side = Side.BUY
) -> Position:
    """Open a position in our name behind the ledger's back."""
    kind = Mt5.ORDER_TYPE_BUY if side is Side.BUY else Mt5.ORDER_TYPE_SELL
    done = rig.order(action=Mt5.TRADE_ACTION_DEAL, type=kind, volume=0.2, sl=stop or 0.0, magic=magic, comment=tag)
    return next(p for p in rig.broker.positions().positions if p.ticket == done.order)


def person(rig: Rig) -> Person:
    reads: Any = rig.reads
    return Person(ledger=rig.ledger, reads=reads, clock=rig.clock, desk=rig.server.desk)


def again(rig: Rig, found: Reconciler, seconds: int = 12) -> None:
    """Let time pass with a step of the reconciler each second."""
    for _ in range(seconds):
        rig.wait(1)
        found.step()


def told(rig: Rig, kind: AlertKind) -> list[tuple[str, str]]:
    return [(alert.subject, alert.detail) for alert in rig.notifier.alerts if alert.kind is kind]


def test_an_orphan_is_called_by_name_once_with_what_to_do_and_never_touched(rig: Rig) -> None:
    orphan = ours(rig)
    found = reconciler(rig)
    found.start()
    assert (outcome(found).orphans, causes_of(found)) == ((), {Cause.UNRECONCILED})
    again(rig, found, 90)
    assert [each.ticket for each in outcome(found).orphans] == [orphan.ticket]
    assert causes_of(found) == {Cause.UNRECONCILED, Cause.ORPHANS}
    ((subject, detail),) = told(rig, AlertKind.ORPHAN)
    assert subject == str(orphan.ticket)
    for word in (
        "BUY 0.2 XAUUSD",
        f"ticket {orphan.ticket}",
        "stop 1985",
        f"`dtms adopt {orphan.ticket}`",
        "dtms release",
    ):
        assert word in detail
    assert (rig.writes.sent, rig.position(orphan.identifier)) == ([], orphan)
    with rig.ledger.read() as tx:
        assert [entry.what for entry in tx.audit()] == ["orphan"]


def test_an_orphan_without_a_stop_is_an_alarm_from_the_first_look(rig: Rig) -> None:
    orphan = ours(rig, stop=None)
    reconciler(rig).start()
    ((subject, detail),) = told(rig, AlertKind.UNPROTECTED)
    assert (subject, "put a stop there now" in detail) == (str(orphan.ticket), True)


def test_one_look_at_a_position_that_has_gone_since_calls_nobody(rig: Rig) -> None:
    orphan = ours(rig)
    found = reconciler(rig)
    found.start()
    rig.hand_close(orphan.ticket)
    again(rig, found, 15)
    assert (outcome(found).orphans, causes_of(found), told(rig, AlertKind.ORPHAN)[1:]) == ((), set(), [])


def test_an_empty_read_does_not_end_an_orphan_and_its_deals_do(rig: Rig) -> None:
    orphan = ours(rig)
    found = reconciler(rig)
    found.start()
    again(rig, found, 15)
    rig.reads.flat = True
    again(rig, found, 6)
    assert [each.identifier for each in outcome(found).orphans] == [orphan.identifier]
    rig.reads.flat = False
    rig.hand_close(orphan.ticket)
    again(rig, found, 6)
    assert outcome(found).orphans == ()


def test_a_restart_remembers_an_orphan_and_does_not_call_again(rig: Rig) -> None:
    ours(rig)
    found = reconciler(rig)
    found.start()
    again(rig, found, 15)
    calls = len(told(rig, AlertKind.ORPHAN))
    later = reconciler(rig)
    later.start()
    assert (len(outcome(later).orphans), len(told(rig, AlertKind.ORPHAN))) == (1, calls)


@pytest.mark.parametrize(
    ("magic", "tag"),
    [(0, ""), (0, "by hand"), (99, ""), (99, ELSEWHERE)],
    ids=["hand", "comment", "other", "other dtms"],
)
def test_a_foreign_position_is_nobodys_orphan(rig: Rig, magic: int, tag: str) -> None:
    foreign = ours(rig, magic=magic, tag=tag)
    found = reconciler(rig)
    found.start()
    again(rig, found, 15)
    assert (outcome(found).clean, outcome(found).foreign, outcome(found).orphans) == (True, 1, ())
    assert rig.position(foreign.identifier) == foreign


@pytest.mark.parametrize(
    ("magic", "tag"), [(MAGIC, ""), (MAGIC, "broker's own"), (0, TAG)], ids=["stripped", "new", "magic"]
)
def test_a_position_with_one_of_our_marks_is_ours(rig: Rig, magic: int, tag: str) -> None:
    orphan = ours(rig, magic=magic, tag=tag)
    found = reconciler(rig)
    found.start()
    again(rig, found, 15)
    assert [each.ticket for each in outcome(found).orphans] == [orphan.ticket]


def test_adopting_an_orphan_makes_it_a_trade_and_frees_the_system(rig: Rig) -> None:
    orphan = ours(rig)
    found = reconciler(rig)
    found.start()
    again(rig, found, 15)
    trade = rig.register(orphan)
    again(rig, found, 10)
    assert (outcome(found).clean, outcome(found).orphans, causes_of(found)) == (True, (), set())
    assert rig.trade(trade.ticket).state is TradeState.HEALTHY


def test_letting_an_orphan_go_makes_it_foreign_for_good(rig: Rig) -> None:
    orphan = ours(rig)
    found = reconciler(rig)
    found.start()
    again(rig, found, 15)
    assert person(rig).let_go(orphan.ticket, actor="me").identifier == orphan.identifier
    again(rig, found, 10)
    assert (outcome(found).clean, outcome(found).foreign, causes_of(found)) == (True, 1, set())
    later = reconciler(rig)
    later.start()
    assert outcome(later).clean
    with rig.ledger.read() as tx:
        assert (tx.audit()[-1].actor, tx.audit()[-1].what) == ("me", "let_go")


def test_a_position_that_nobody_asks_about_cannot_be_let_go(rig: Rig) -> None:
    foreign = rig.open()
    with pytest.raises(RegistrationRefusedError) as refused:
        person(rig).let_go(foreign.ticket, actor="me")
    assert refused.value.kind is RefusalKind.TRADE_UNKNOWN


def test_a_released_trade_that_we_had_opened_is_foreign(rig: Rig) -> None:
    trade = rig.register(ours(rig))
    rig.settle()
    assert rig.server.registry.release(trade.ticket)
    found = reconciler(rig)
    found.start()
    assert (outcome(found).clean, outcome(found).foreign) == (True, 1)


def test_an_open_position_of_a_closed_trade_is_an_orphan(rig: Rig) -> None:
    trade = rig.managed()
    rig.settle()
    rig.put(replace(rig.trade(trade.ticket), state=TradeState.CLOSED, close_reason="hedged_timeout"))
    found = reconciler(rig)
    found.start()
    again(rig, found, 15)
    ((orphan),) = outcome(found).orphans
    assert (orphan.ticket, "is CLOSED in the ledger" in orphan.why) == (trade.ticket, True)


def test_an_old_backup_shows_its_lost_hedge_and_no_second_one_is_opened() -> None:
    rig = Rig()
    rig.ledger = open_ledger("sqlite://", account=rig.broker.account().key, clock=rig.clock.market_now, epoch="old")
    rig.start()
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    backup = sqlite3.connect(":memory:")
    live: Any = rig.ledger
    live._backend.connection.backup(backup)
    hedge = rig.fall(trade, -6.0).hedge
    assert hedge is not None
    backup.backup(live._backend.connection)

    rig.start(epoch=2)
    found = reconciler(rig, rig.executor.modes)
    found.start()
    again(rig, found, 15)
    ((orphan),) = outcome(found).orphans
    assert (orphan.identifier, orphan.volume) == (hedge.identifier, hedge.volume)
    opened = rig.applied(AppliedKind.OPEN)
    after = rig.fall(rig.trade(trade.ticket), -6.0)
    assert (rig.applied(AppliedKind.OPEN), after.legs, after.volume) == (opened, (), Lots(0.25))
    assert rig.position(hedge.identifier) is not None
    backup.close()


def test_the_hedge_precondition_takes_an_orphan_on_the_symbol_for_a_hedge_in_every_mode(rig: Rig) -> None:
    orphan = ours(rig, side=Side.SELL, stop=2_015.0)
    found = reconciler(rig)  # its causes are told to nobody
    found.start()
    again(rig, found, 15)
    opened = rig.applied(AppliedKind.OPEN)
    after = rig.fall(rig.managed(), -2.0, -4.0, -6.0)
    assert (after.state, after.legs, after.volume) == (TradeState.HEDGED, (), Lots(0.25))
    assert rig.applied(AppliedKind.OPEN) == opened + 1  # the trade's own
    assert rig.position(orphan.identifier) == orphan


def test_what_was_opened_and_closed_while_the_ledger_slept_is_told_once_and_held_against_nobody(rig: Rig) -> None:
    orphan = ours(rig)
    rig.hand_close(orphan.ticket)
    found = reconciler(rig)
    found.start()
    assert not outcome(found).clean
    ((_, detail),) = told(rig, AlertKind.ORPHAN)
    assert "restored from an older copy" in detail
    again(rig, found, 130)
    assert (outcome(found).clean, len(told(rig, AlertKind.ORPHAN)), causes_of(found)) == (True, 1, set())


def test_one_step_that_opened_two_positions_holds_its_trade_once(rig: Rig) -> None:
    trade = rig.hedged()
    assert trade.hedge is not None
    other = rig.managed()
    rig.settle()
    tag = next(p.comment for p in rig.broker.positions().positions if p.identifier == trade.hedge.identifier)
    late = ours(rig, side=Side.SELL, stop=2_015.0, tag=f"{tag}z2")
    found = reconciler(rig)
    found.start()
    assert (rig.trade(trade.ticket).hold, rig.trade(other.ticket).hold) == (Hold.INVARIANT, Hold.NONE)
    ((subject, detail),) = told(rig, AlertKind.QUARANTINED)
    assert (subject, str(late.identifier) in detail, str(trade.hedge.identifier) in detail) == (
        str(trade.ticket),
        True,
        True,
    )
    person(rig).confirm(trade.ticket, actor="me")
    reconciler(rig).start()
    assert rig.trade(trade.ticket).hold is Hold.NONE


def test_a_hedge_whose_marks_the_broker_stripped_is_asked_about_and_settled_by_its_ticket(rig: Rig) -> None:
    trade = rig.fall(rig.managed(), -2.0, -4.0)
    rig.writes.fate = lambda action: "answer_lost" if type(action).__name__ == "OpenHedge" else "answered"
    rig.next_bar()
    rig.decide(trade, -6.0)
    rig.executor.tick()
    hedge = rig.others(trade)[0]
    stripped = rig.sim.state.positions[hedge.ticket]
    rig.sim.state.positions[hedge.ticket] = replace(stripped, comment="", magic=0)
    rig.reads.hidden = {hedge.identifier}  # its deal, which has the mark, is not shown either
    rig.pass_time(80)
    ((unsure),) = [i for i in rig.intents(trade) if i.state is IntentState.QUARANTINED]
    rig.reads.hidden = set()
    found = reconciler(rig)
    found.start()
    again(rig, found, 15)
    ((orphan),) = outcome(found).orphans
    assert f"dtms settle {unsure.intent_id} --applied" in orphan.why

    settled = person(rig).settle(unsure.intent_id, applied=True, ticket=hedge.ticket, actor="me")
    assert (settled.state, settled.reason) == (IntentState.APPLIED, "settled by me")
    ((leg),) = rig.trade(trade.ticket).legs
    assert (leg.kind, leg.identifier, leg.volume) == (LegKind.HEDGE, hedge.identifier, hedge.volume)
    again(rig, found, 10)
    assert (outcome(found).clean, outcome(found).orphans) == (True, ())


def test_a_moved_orphan_is_the_same_one(rig: Rig) -> None:
    orphan = ours(rig)
    found = reconciler(rig)
    found.start()
    again(rig, found, 15)
    ticket = rig.sim.reopen(orphan.ticket)
    again(rig, found, 6)
    assert [(each.ticket, each.identifier) for each in outcome(found).orphans] == [(ticket, orphan.identifier)]
    assert len(told(rig, AlertKind.ORPHAN)) == 1

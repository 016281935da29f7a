"""The judge finds each promise that is broken on purpose, in the right group: one that finds nothing proves nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.sim.oracle import MAGIC, MAIN, STOP, T0, entry

from dtms.adapters.sql import SqlLedger, open_ledger
from dtms.domain.action import Reduce
from dtms.domain.intent import Intent, IntentState, Planner, Precondition, intent_id, tag_of
from dtms.domain.records import OutboxKind
from dtms.domain.rules import DefenceRule
from dtms.domain.trade import Owner, Trade, TradeState
from dtms.domain.units import MINUTE, Lots, Millis, Price, Side, Ticket, TradeId
from dtms_lab.restart.judge import Finding, judge
from dtms_lab.restart.person import Order, Wish
from dtms_lab.terminal.oracle import OracleEntry
from dtms_lab.terminal.recorder import AppliedKind

UNTIL = Millis(T0 + 10 * MINUTE)
DECISION = "decision"
TAG = tag_of(TradeId("101"), DECISION, 0, 1)

TRADE = Trade(
    trade_id=TradeId("101"),
    ticket=Ticket(MAIN),
    identifier=MAIN,
    symbol="XAUUSD",
    side=Side.BUY,
    entry=2_000.2,
    initial_volume=Lots(1.0),
    initial_stop=Price(STOP),
    r=10.2,
    volume=Lots(1.0),
    stop=Price(STOP),
    target=None,
    state=TradeState.HEALTHY,
    state_since=T0,
    version=1,
    owner=Owner.SHARED,
    registered_at=T0,
)
INTENT = Intent(
    intent_id=intent_id(TradeId("101"), DECISION, 0, 1, Millis(T0 + 1_000)),
    trade_id=TradeId("101"),
    position=MAIN,
    decision_id=DECISION,
    step=0,
    attempt=1,
    action=Reduce(ticket=Ticket(MAIN), remaining=Lots(0.5)),
    precondition=Precondition(volume=Lots(1.0), version=1),
    owner=Planner.DTMS,
    rule=DefenceRule.TIGHTEN,
    state=IntentState.PLANNED,
    tag=TAG,
    created_at=Millis(T0 + 1_000),
    expires_at=None,
)


def state(at_s: int, volume: float = 1.0, stop: float | None = STOP, **changes: Any) -> OracleEntry:
    return entry(AppliedKind.POSITION, at_s, volume_after=volume, stop_after=stop, **changes)


OPENED = (entry(AppliedKind.OPEN, -60, magic=7, volume_before=0.0, volume=1.0), state(-60))


@pytest.fixture
def ledger() -> SqlLedger:
    """A ledger with one open trade."""
    made = open_ledger("sqlite://", account="Demo:1", clock=lambda: UNTIL)
    with made.write() as tx:
        tx.add_trade(TRADE)
    return made


def judged(
    ledger: SqlLedger, *entries: OracleEntry, wishes: tuple[Wish, ...] = (), said: str = ""
) -> tuple[Finding, ...]:
    return judge((*OPENED, *entries), ledger, magic=MAGIC, wishes=wishes, said=said, until=UNTIL, reaction=0)


def laws(found: tuple[Finding, ...]) -> set[tuple[str, str]]:
    return {(finding.group, finding.law) for finding in found}


def go(ledger: SqlLedger, *states: IntentState) -> None:
    """Plan the intent and take it through states."""
    with ledger.write() as tx:
        tx.add_intent(INTENT)
        present: Intent | None = INTENT
        for following in states:
            assert present is not None
            if following is IntentState.SENDING:
                present = tx.claim(present, epoch=1, now=Millis(T0 + 2_000))
            else:
                before, present = present, replace(present, state=following)
                tx.save_intent(present, expected=before.state)


def wish(*tickets: int) -> Wish:
    order = Order(at=T0, direction="BUY", stop=10.0, target=20.0)
    return Wish(key="drill-0", order=order, tickets=set(tickets))


def test_a_story_in_which_all_was_kept_has_no_finding(ledger: SqlLedger) -> None:
    assert judged(ledger, wishes=(wish(MAIN),)) == ()


def test_an_intent_that_came_to_no_end_is_lost(ledger: SqlLedger) -> None:
    go(ledger)

    assert laws(judged(ledger)) == {("lost", "no_end")}


def test_an_intent_that_was_applied_twice_is_doubled(ledger: SqlLedger) -> None:
    go(ledger, IntentState.SENDING, IntentState.UNKNOWN, IntentState.NOT_APPLIED)
    once = entry(AppliedKind.PARTIAL, 3, tag=TAG, order=5, volume_after=0.5, volume=0.5)
    again = replace(once, order=6, at=Millis(T0 + 5_000), volume_before=0.5, volume_after=0.25)

    assert ("doubled", "exactly_once") in laws(judged(ledger, once, again, state(5, 0.25)))


def test_an_effect_that_the_journal_denies_is_found(ledger: SqlLedger) -> None:
    go(ledger, IntentState.SENDING, IntentState.UNKNOWN, IntentState.NOT_APPLIED)
    once = entry(AppliedKind.PARTIAL, 3, tag=TAG, order=5, volume_after=0.5, volume=0.5)

    assert laws(judged(ledger, once, state(3, 0.5))) == {("doubled", "exactly_once"), ("lost", "apart")}


def test_an_end_without_its_effect_is_lost(ledger: SqlLedger) -> None:
    go(ledger, IntentState.SENDING, IntentState.UNKNOWN, IntentState.APPLIED)

    assert laws(judged(ledger)) == {("lost", "exactly_once")}


def test_an_effect_without_any_intent_is_lost(ledger: SqlLedger) -> None:
    stray = entry(AppliedKind.PARTIAL, 3, tag="nobodys", order=5, volume_after=0.5, volume=0.5)

    assert ("lost", "write_ahead") in laws(judged(ledger, stray, state(3, 0.5)))


def test_a_quarantine_of_which_nobody_was_told_is_lost(ledger: SqlLedger) -> None:
    go(ledger, IntentState.SENDING, IntentState.UNKNOWN, IntentState.QUARANTINED)

    assert laws(judged(ledger)) == {("lost", "silent_quarantine")}
    assert judged(ledger, said=f'{{"kind": "quarantined", "subject": "{INTENT.intent_id}"}}') == ()


def test_a_position_without_its_stop_is_unprotected(ledger: SqlLedger) -> None:
    assert ("unprotected", "protected") in laws(judged(ledger, state(10, stop=None), state(20)))


@pytest.mark.parametrize("present", [state(5, 0.5), state(5, stop=1_980.0), state(5, 0.0)])
def test_a_ledger_that_says_something_else_than_the_broker_is_lost(ledger: SqlLedger, present: OracleEntry) -> None:
    assert ("lost", "apart") in laws(judged(ledger, present))


def test_a_position_in_our_name_that_is_no_trades_is_lost(ledger: SqlLedger) -> None:
    stray = state(5, identifier=300, ticket=300)

    assert laws(judged(ledger, stray)) == {("lost", "apart")}


def test_one_key_that_was_told_two_tickets_is_doubled_and_one_that_was_never_opened_is_lost(ledger: SqlLedger) -> None:
    assert laws(judged(ledger, wishes=(wish(MAIN, 300),))) == {("doubled", "one_key"), ("lost", "told")}


def test_a_message_that_nobody_delivered_is_lost(ledger: SqlLedger) -> None:
    with ledger.write() as tx:
        tx.add_outbox(OutboxKind.REGISTER, "unknown-intent", "{}", T0)

    assert laws(judged(ledger)) == {("lost", "outbox")}

"""The contract for the journal of intents, on every kind of ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from dtms.adapters.sql import SqlLedger
from dtms.domain.action import Action, Close, CloseHedge, OpenHedge, OpenTrade, ReAdd, Reduce, SetStop
from dtms.domain.intent import INTENT_TRANSITIONS, Intent, IntentState
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.units import Lots, Millis, Price, Side, Ticket, TradeId
from dtms.errors import IllegalTransitionError, InvariantError, StaleWriteError

MakeIntent = Callable[..., Intent]

TICKET = Ticket(1)
TIGHTEN = SetStop(ticket=TICKET, stop=Price(1.095), target=None)
WIDEN = SetStop(ticket=TICKET, stop=Price(1.08), target=None, widens=True)
REDUCE = Reduce(ticket=TICKET, remaining=Lots(0.2))
CLOSE = Close(ticket=TICKET)
HEDGE = OpenHedge(ticket=TICKET, side=Side.SELL, volume=Lots(0.2), stop=Price(1.2), target=None)
UNHEDGE = CloseHedge(ticket=TICKET, hedge=Ticket(2))
RE_ADD = ReAdd(ticket=TICKET, side=Side.BUY, volume=Lots(0.1), stop=Price(1.09), target=None)
OPEN = OpenTrade(symbol="EURUSD", side=Side.BUY, volume=Lots(0.1), stop=Price(1.09), target=None)

WAYS = {
    IntentState.PLANNED: (),
    IntentState.SENDING: (),
    IntentState.ACKED: (IntentState.ACKED,),
    IntentState.UNKNOWN: (IntentState.UNKNOWN,),
    IntentState.QUARANTINED: (IntentState.UNKNOWN, IntentState.QUARANTINED),
    IntentState.REJECTED: (IntentState.REJECTED,),
    IntentState.APPLIED: (IntentState.ACKED, IntentState.APPLIED),
    IntentState.NOT_APPLIED: (IntentState.UNKNOWN, IntentState.NOT_APPLIED),
}
"""How a claimed intent comes to a state."""


def plan(ledger: SqlLedger, intent: Intent, state: IntentState = IntentState.PLANNED) -> Intent:
    """Add an intent and bring it to a state."""
    with ledger.write() as write:
        assert write.add_intent(intent)
    if state is IntentState.PLANNED:
        return intent
    with ledger.write() as write:
        claimed = write.claim(intent, epoch=1, now=Millis(9))
        assert claimed is not None
        for following in WAYS[state]:
            write.save_intent(replace(claimed, state=following), expected=claimed.state)
            claimed = replace(claimed, state=following)
    return claimed


def claim(ledger: SqlLedger, intent: Intent, epoch: int = 1) -> Intent | None:
    with ledger.write() as write:
        return write.claim(intent, epoch=epoch, now=Millis(9))


@pytest.mark.parametrize(
    "action", [TIGHTEN, REDUCE, CLOSE, HEDGE, UNHEDGE, RE_ADD, OPEN], ids=lambda a: type(a).__name__
)
def test_an_intent_is_read_back_as_it_was_planned(ledger: SqlLedger, make_intent: MakeIntent, action: Action) -> None:
    intent = replace(
        make_intent(1, action, position=None if action is OPEN else 1),
        expires_at=Millis(99),
        score_before=-4.25,
        regime="RANGE",
        reason="why",
    )
    with ledger.write() as write:
        assert write.add_intent(intent) is True
    with ledger.read() as read:
        assert read.intent(intent.intent_id) == intent
        assert read.intent("none") is None


def test_the_same_decision_step_and_attempt_is_planned_once(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    first = make_intent(1)
    again = replace(first, intent_id="another key", tag="another tag", created_at=Millis(5))
    with ledger.write() as write:
        assert write.add_intent(first) is True
        assert write.add_intent(first) is False
        assert write.add_intent(again) is False
        assert write.add_intent(make_intent(1, attempt=2)) is True
    with ledger.read() as read:
        assert [i.attempt for i in read.planned()] == [1, 2]


def test_two_intents_never_carry_one_tag(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    with ledger.write() as write:
        write.add_intent(make_intent(1))
    with pytest.raises(InvariantError, match="belongs to another decision"), ledger.write() as write:
        write.add_intent(replace(make_intent(2), tag=make_intent(1).tag))
    with ledger.read() as read:
        assert read.planned() == (make_intent(1),)


def test_a_new_intent_is_planned_and_nothing_else(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    with pytest.raises(InvariantError, match="SENDING"), ledger.write() as write:
        write.add_intent(replace(make_intent(1), state=IntentState.SENDING))


def test_a_claim_moves_planned_to_sending_once(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    intent = plan(ledger, make_intent(1))
    claimed = claim(ledger, intent, epoch=3)
    assert claimed == replace(intent, state=IntentState.SENDING, epoch=3, sent_at=Millis(9))
    assert claim(ledger, intent, epoch=3) is None
    with ledger.read() as read:
        assert read.intent(intent.intent_id) == claimed
        assert read.planned() == ()


@pytest.mark.parametrize("action", [TIGHTEN, OPEN], ids=["amend", "open"])
def test_only_what_is_planned_is_claimed(ledger: SqlLedger, make_intent: MakeIntent, action: Action) -> None:
    for number, state in enumerate(WAYS, start=1):
        intent = plan(ledger, make_intent(number, action, position=None if action is OPEN else number), state)
        claimed = claim(ledger, intent)
        assert (claimed is not None) == (state is IntentState.PLANNED)
    cancelled = plan(ledger, make_intent(99, action, position=None if action is OPEN else 99))
    with ledger.write() as write:
        write.save_intent(replace(cancelled, state=IntentState.CANCELLED), expected=IntentState.PLANNED)
    assert claim(ledger, cancelled) is None
    with ledger.read() as read:
        assert read.planned() == ()


def test_what_is_claimed_is_what_the_journal_holds(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    intent = plan(ledger, make_intent(1))
    claimed = claim(ledger, replace(intent, action=SetStop(ticket=TICKET, stop=Price(0.5), target=None)))
    assert claimed is not None
    assert claimed.action == TIGHTEN


def test_a_gateway_of_an_older_epoch_claims_nothing_any_more(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    first, second = plan(ledger, make_intent(1, TIGHTEN)), plan(ledger, make_intent(2, REDUCE))
    assert claim(ledger, first, epoch=5) is not None
    with pytest.raises(StaleWriteError, match="epoch 4 is over, epoch 5"):
        claim(ledger, second, epoch=4)
    with ledger.read() as read:
        assert read.planned() == (second,)


BLOCKED = IntentState.SENDING, IntentState.UNKNOWN, IntentState.QUARANTINED
FREE = IntentState.ACKED, IntentState.APPLIED, IntentState.REJECTED, IntentState.NOT_APPLIED


@pytest.mark.parametrize(
    ("holder", "action", "blocking"),
    [
        (TIGHTEN, TIGHTEN, {IntentState.SENDING}),
        (WIDEN, TIGHTEN, {IntentState.SENDING}),
        (TIGHTEN, WIDEN, set(BLOCKED)),
        (REDUCE, CLOSE, {IntentState.SENDING}),
        (REDUCE, REDUCE, {IntentState.SENDING, IntentState.UNKNOWN}),
        (CLOSE, REDUCE, {IntentState.SENDING, IntentState.UNKNOWN}),
        (REDUCE, RE_ADD, set(BLOCKED)),
        (HEDGE, HEDGE, set(BLOCKED)),
        (HEDGE, UNHEDGE, set(BLOCKED)),
        (TIGHTEN, REDUCE, set()),
        (REDUCE, TIGHTEN, set()),
        (TIGHTEN, HEDGE, {IntentState.QUARANTINED}),
        (HEDGE, CLOSE, set()),
    ],
)
def test_a_resource_is_claimed_by_one_and_only_what_reduces_risk_passes_the_unknown(
    ledger: SqlLedger, make_intent: MakeIntent, holder: Action, action: Action, blocking: set[IntentState]
) -> None:
    blocked = set()
    for number, state in enumerate((*BLOCKED, *FREE), start=1):
        position = 100 + number
        plan(ledger, make_intent(2 * number, holder, position=position), state)
        if claim(ledger, plan(ledger, make_intent(2 * number + 1, action, position=position))) is None:
            blocked.add(state)
    assert blocked == blocking


def test_positions_do_not_wait_for_each_other(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    plan(ledger, make_intent(1, REDUCE, position=1), IntentState.SENDING)
    assert claim(ledger, plan(ledger, make_intent(2, REDUCE, position=2))) is not None


def test_openings_have_no_position_to_wait_for(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    plan(ledger, make_intent(1, OPEN, position=None), IntentState.SENDING)
    assert claim(ledger, plan(ledger, make_intent(2, OPEN, position=None))) is not None


def test_several_unknown_outcomes_of_one_stop_may_stand_side_by_side(
    ledger: SqlLedger, make_intent: MakeIntent
) -> None:
    for number in (1, 2, 3):
        plan(ledger, make_intent(number, TIGHTEN), IntentState.UNKNOWN)
    assert claim(ledger, plan(ledger, make_intent(4, WIDEN))) is None
    with ledger.read() as read:
        assert [i.state for i in read.unfinished()] == [IntentState.UNKNOWN] * 3 + [IntentState.PLANNED]


def test_an_answer_is_kept_with_its_intent(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    sending = plan(ledger, make_intent(1), IntentState.SENDING)
    receipt = Receipt(outcome=Outcome.REJECTED, code=10016, rejection=Rejection.INVALID_STOPS, comment="Invalid stops")
    rejected = replace(sending, state=IntentState.REJECTED, receipt=receipt, reason="refused", settled_at=Millis(12))
    with ledger.write() as write:
        write.save_intent(rejected, expected=IntentState.SENDING)
    with ledger.read() as read:
        assert read.intent(sending.intent_id) == rejected


def test_an_intent_that_went_on_is_not_written_again(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    acked = plan(ledger, make_intent(1), IntentState.ACKED)
    with pytest.raises(StaleWriteError, match="is not SENDING any more"), ledger.write() as write:
        write.save_intent(replace(acked, state=IntentState.UNKNOWN), expected=IntentState.SENDING)
    with ledger.read() as read:
        assert read.intent(acked.intent_id) == acked


@pytest.mark.parametrize("expected", IntentState)
@pytest.mark.parametrize("state", IntentState)
def test_no_way_that_the_table_does_not_hold_is_written(
    expected: IntentState, state: IntentState, opened: Callable[[str], SqlLedger], make_intent: MakeIntent
) -> None:
    ledger = opened("sqlite://")
    intent = replace(make_intent(1), state=state)
    if state in INTENT_TRANSITIONS[expected] and state is not IntentState.SENDING:
        with pytest.raises(StaleWriteError), ledger.write() as write:
            write.save_intent(intent, expected=expected)
    else:
        with pytest.raises(IllegalTransitionError, match=f"{expected} to {state}"), ledger.write() as write:
            write.save_intent(intent, expected=expected)


def test_unfinished_are_what_something_must_still_decide(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    for number, state in enumerate(WAYS, start=1):
        plan(ledger, make_intent(number, position=number), state)
    other = replace(make_intent(9), trade_id=TradeId("other"))
    with ledger.write() as write:
        write.add_intent(other)
    with ledger.read() as read:
        of_one = [i.state for i in read.unfinished(TradeId("1"))]
        assert of_one == [IntentState.PLANNED, IntentState.SENDING, IntentState.ACKED, IntentState.UNKNOWN]
        assert [i.state for i in read.unfinished()] == [*of_one, IntentState.PLANNED]
        assert read.unfinished(TradeId("none")) == ()


def test_planned_come_oldest_first_and_no_more_than_asked(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    with ledger.write() as write:
        for number in (3, 1, 2):
            write.add_intent(make_intent(number))
    with ledger.read() as read:
        assert read.planned(limit=2) == (make_intent(1), make_intent(2))


def test_pages_of_intents_filter_and_go_on_behind_an_id(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    mine = [make_intent(number) for number in range(1, 6)]
    other = replace(make_intent(6), trade_id=TradeId("other"))
    with ledger.write() as write:
        for intent in (*mine, other):
            write.add_intent(intent)
    with ledger.read() as read:
        assert read.intents(limit=2) == tuple(mine[:2])
        assert read.intents(after=mine[1].intent_id, limit=2) == tuple(mine[2:4])
        assert read.intents(since=mine[4].created_at) == (mine[4], other)
        assert read.intents(trade_id=TradeId("1"), since=mine[3].created_at) == tuple(mine[3:])
        assert read.intents(trade_id=TradeId("other")) == (other,)

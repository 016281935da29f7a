"""Each law of the checker finds one planted fault, and a lawful story has none: a checker that finds nothing proves nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.sim.oracle import MAGIC, MAIN, T0, at, entry

from dtms.domain.action import Action, Close, OpenHedge, Reduce, SetStop
from dtms.domain.intent import Intent, IntentState, Planner, Precondition
from dtms.domain.receipt import Outcome, Receipt
from dtms.domain.records import StopRecord
from dtms.domain.rules import DefenceRule, StopOrigin
from dtms.domain.trade import Owner, Trade, TradeState
from dtms.domain.units import SECOND, Lots, Millis, Price, Side, Ticket, TradeId
from dtms_lab.laws.invariants import ORPHAN_MS, REGISTRATION_MS, Books, check, naked_ms
from dtms_lab.terminal.oracle import OracleEntry
from dtms_lab.terminal.recorder import AppliedKind

HEDGE, FOREIGN = 102, 900
UNTIL = Millis(T0 + 1_000 * SECOND)
_K = AppliedKind
_S = IntentState


def state(seconds: float, volume: float, stop: float | None, identifier: int = MAIN) -> OracleEntry:
    """The state of a position that is valid from here on."""
    side = 1 if identifier == MAIN else -1
    return entry(
        _K.POSITION, seconds, identifier=identifier, ticket=identifier, side=side, volume_after=volume, stop_after=stop
    )


def intent(tag: str, action: Action, seconds: float, state: IntentState = _S.APPLIED, **changes: Any) -> Intent:
    made = Intent(
        intent_id=f"id-{tag}",
        trade_id=TradeId("101"),
        position=MAIN,
        decision_id=f"decision-{tag}",
        step=0,
        attempt=1,
        action=action,
        precondition=Precondition(),
        owner=Planner.DTMS,
        rule=DefenceRule.TIGHTEN,
        state=state,
        tag=tag,
        created_at=at(seconds),
        expires_at=None,
    )
    return replace(made, **changes)


TRADE = Trade(
    trade_id=TradeId("101"),
    ticket=Ticket(MAIN),
    identifier=MAIN,
    symbol="XAUUSD",
    side=Side.BUY,
    entry=2_000.2,
    initial_volume=Lots(1.0),
    initial_stop=Price(1_990.0),
    r=10.2,
    volume=Lots(0.0),
    stop=Price(1_996.0),
    target=None,
    state=TradeState.CLOSED,
    state_since=at(60),
    version=9,
    owner=Owner.SHARED,
    registered_at=at(1),
    closed_at=at(65),
    children=(HEDGE,),
)
STOP = intent("tagstop", SetStop(ticket=Ticket(MAIN), stop=Price(1_996.0), target=None), 10)
PART = intent("tagpart", Reduce(ticket=Ticket(MAIN), remaining=Lots(0.5)), 20)
HEDGING = intent(
    "taghedge",
    OpenHedge(ticket=Ticket(MAIN), side=Side.SELL, volume=Lots(0.25), stop=Price(2_006.2), target=Price(1_996.0)),
    30,
)
UNHEDGING = intent("tagunhedge", Close(ticket=Ticket(HEDGE)), 50, position=HEDGE)
CLOSING = intent("tagclose", Close(ticket=Ticket(MAIN)), 60)
SET = entry(_K.SLTP, 10, tag="tagstop", stop_after=1_996.0, order=11)
HALVED = entry(_K.PARTIAL, 20, tag="tagpart", volume_after=0.5, volume=0.5, order=12)
HEDGED = entry(
    _K.OPEN,
    30,
    identifier=HEDGE,
    ticket=HEDGE,
    side=-1,
    tag="taghedge",
    order=13,
    volume_before=0.0,
    volume_after=0.25,
    stop_before=None,
    stop_after=2_006.2,
)
UNHEDGED = entry(
    _K.CLOSE,
    50,
    identifier=HEDGE,
    ticket=HEDGE,
    side=-1,
    tag="tagunhedge",
    order=14,
    volume_before=0.25,
    volume_after=0.0,
)
CLOSED = entry(_K.CLOSE, 60, tag="tagclose", volume_before=0.5, volume_after=0.0, order=15)
ENTRIES = [
    entry(_K.OPEN, 0, magic=0, volume_before=0.0, stop_before=None, order=10),
    state(0, 1.0, 1_990.0),
    SET,
    state(10, 1.0, 1_996.0),
    HALVED,
    state(20, 0.5, 1_996.0),
    HEDGED,
    state(30, 0.25, 2_006.2, HEDGE),
    UNHEDGED,
    state(50, 0.0, None, HEDGE),
    CLOSED,
    state(60, 0.0, None),
]
BOOKS = Books(
    trades=(TRADE,),
    intents=(STOP, PART, HEDGING, UNHEDGING, CLOSING),
    stops=(
        StopRecord(
            trade_id=TradeId("101"),
            position=MAIN,
            at=at(10),
            old=1_990.0,
            new=1_996.0,
            rule=DefenceRule.TIGHTEN,
            intent_id="id-tagstop",
            answer="10009",
        ),
    ),
    magic=MAGIC,
)


def laws(entries: list[OracleEntry], books: Books = BOOKS, until: Millis = UNTIL) -> list[str]:
    return [violation.law for violation in check(entries, books, until=until)]


def swapped(old: OracleEntry, *new: OracleEntry) -> list[OracleEntry]:
    place = ENTRIES.index(old)
    return [*ENTRIES[:place], *new, *ENTRIES[place + 1 :]]


def with_intents(*intents: Intent) -> Books:
    """The books with these intents in place of those with the same tags."""
    tags = {each.tag for each in intents}
    return replace(BOOKS, intents=(*(i for i in BOOKS.intents if i.tag not in tags), *intents))


def test_a_lawful_story_breaks_no_law() -> None:
    assert check(ENTRIES, BOOKS, until=UNTIL) == ()
    assert naked_ms(ENTRIES, BOOKS, UNTIL) == {MAIN: 0}


# ----- exactly once


def test_one_tag_applied_twice_is_found() -> None:
    twice = swapped(HALVED, replace(HALVED, volume_after=0.75), replace(HALVED, volume_before=0.75, order=99))
    assert laws(twice) == ["exactly_once"]


def test_two_deals_of_one_order_are_one_operation() -> None:
    assert laws(swapped(HALVED, replace(HALVED, volume_after=0.75), replace(HALVED, volume_before=0.75))) == []


@pytest.mark.parametrize("end", [_S.APPLIED, _S.PARTIAL])
def test_an_intent_that_is_done_in_the_journal_alone_is_found(end: IntentState) -> None:
    ghost = intent("tagghost", Close(ticket=Ticket(MAIN)), 55, end)
    assert laws(ENTRIES, with_intents(ghost)) == ["exactly_once"]


def test_a_goal_that_was_met_already_needs_no_operation() -> None:
    receipt = Receipt(outcome=Outcome.APPLIED, code=0, goal_met=True)
    ghost = intent("tagghost", Close(ticket=Ticket(MAIN)), 55, receipt=receipt)
    assert laws(ENTRIES, with_intents(ghost)) == []


@pytest.mark.parametrize("end", [_S.REJECTED, _S.NOT_APPLIED, _S.CANCELLED])
def test_an_intent_that_was_done_at_the_broker_alone_is_found(end: IntentState) -> None:
    assert laws(ENTRIES, with_intents(replace(PART, state=end))) == ["exactly_once"]


def test_two_attempts_of_one_step_that_were_both_done_are_found() -> None:
    second = replace(PART, tag="tagpartz2", attempt=2, intent_id="id2")
    halved_again = replace(HALVED, at=at(21), tag="tagpartz2", order=98, volume_before=0.5, volume_after=0.5)
    books = replace(BOOKS, intents=(*BOOKS.intents, second))
    assert laws(swapped(HALVED, HALVED, halved_again), books) == ["exactly_once"]


def test_the_rest_of_a_part_fill_is_a_second_attempt_and_lawful() -> None:
    first = replace(PART, state=_S.PARTIAL)
    second = replace(PART, tag="tagpartz2", attempt=2, intent_id="id2")
    parts = (
        replace(HALVED, volume_after=0.8),
        replace(HALVED, at=at(21), tag="tagpartz2", order=98, volume_before=0.8, volume_after=0.5),
    )
    books = replace(BOOKS, intents=(*(i for i in BOOKS.intents if i is not PART), first, second))
    assert laws(swapped(HALVED, *parts), books) == []


# ----- write ahead


def test_an_operation_without_an_intent_is_found() -> None:
    stray = entry(_K.SLTP, 40, tag="tagstray", stop_before=1_996.0, stop_after=1_996.0, order=97)
    assert laws([*ENTRIES[:8], stray, *ENTRIES[8:]]) == ["write_ahead"]


def test_an_intent_that_was_written_after_its_operation_is_found() -> None:
    late = replace(PART, created_at=at(20.001))
    assert laws(ENTRIES, with_intents(late)) == ["write_ahead"]


def test_what_the_broker_triggers_by_itself_needs_no_intent() -> None:
    stopped = entry(_K.STOP, 60, tag="[sl 1996.00]", volume_before=0.5, volume_after=0.0, order=15)
    books = replace(BOOKS, intents=tuple(i for i in BOOKS.intents if i is not CLOSING))
    assert laws(swapped(CLOSED, stopped), books) == []


# ----- protected


def naked(start: float, end: float) -> list[OracleEntry]:
    return swapped(ENTRIES[1], state(0, 1.0, 1_990.0), state(start, 1.0, None), state(end, 1.0, 1_990.0))


def test_a_managed_position_without_a_stop_is_found_and_measured() -> None:
    found = check(naked(4, 6), BOOKS, until=UNTIL)
    assert [(each.law, each.at, each.detail) for each in found] == [
        ("protected", at(4), "no stop at the broker for 2000 ms")
    ]
    assert naked_ms(naked(4, 6), BOOKS, UNTIL) == {MAIN: 2_000}


def test_the_registration_has_its_window_and_not_a_millisecond_more() -> None:
    window = REGISTRATION_MS / SECOND
    assert laws(naked(0.5, 1 + window)) == []
    assert naked_ms(naked(0.5, 1 + window), BOOKS, UNTIL) == {MAIN: REGISTRATION_MS}
    assert laws(naked(0.5, 1 + window + 0.001)) == ["protected"]


def test_what_happens_before_the_registration_and_after_the_end_is_not_ours() -> None:
    assert laws(naked(0.1, 0.9)) == []
    released = replace(TRADE, closed_at=at(5))
    entries = [*ENTRIES[:2], state(6, 1.0, None)]
    books = Books(trades=(released,), intents=(), stops=(), magic=MAGIC)
    assert laws(entries, books) == []


def test_a_stop_that_is_missing_to_the_end_is_measured_to_the_end() -> None:
    still_open = replace(TRADE, state=TradeState.HEALTHY, closed_at=None, volume=Lots(1.0))
    books = Books(trades=(still_open,), intents=(), stops=(), magic=MAGIC)
    entries = [*ENTRIES[:2], state(100, 1.0, None)]
    assert laws(entries, books) == ["protected"]
    assert naked_ms(entries, books, UNTIL) == {MAIN: UNTIL - at(100)}


# ----- monotone stop


@pytest.mark.parametrize("after", [1_989.99, None], ids=["looser", "removed"])
def test_a_stop_of_ours_that_went_to_the_losing_side_is_found(after: float | None) -> None:
    looser = replace(SET, stop_after=after)
    record = replace(BOOKS.stops[0], new=after)
    books = replace(BOOKS, stops=(record,))
    entries = [*swapped(SET, looser)]
    assert laws(entries, books) == ["monotone_stop"]


def test_the_flagged_widening_is_no_fault() -> None:
    widening = replace(STOP, action=SetStop(ticket=Ticket(MAIN), stop=Price(1_985.0), target=None, widens=True))
    books = replace(with_intents(widening), stops=(replace(BOOKS.stops[0], new=1_985.0),))
    assert laws(swapped(SET, replace(SET, stop_after=1_985.0)), books) == []


def test_a_sell_is_judged_the_other_way_round() -> None:
    selling = replace(SET, side=-1, stop_before=2_010.0, stop_after=2_010.01)
    books = replace(BOOKS, stops=(replace(BOOKS.stops[0], new=2_010.01),))
    assert laws(swapped(SET, selling), books) == ["monotone_stop"]


def test_a_hands_own_stop_change_is_not_ours() -> None:
    by_hand = replace(SET, magic=0, tag="", stop_after=1_985.0)
    books = replace(
        BOOKS,
        intents=tuple(i for i in BOOKS.intents if i is not STOP),
        stops=(replace(BOOKS.stops[0], new=1_985.0, rule=StopOrigin.BY_HAND, intent_id=None),),
    )
    assert laws(swapped(SET, by_hand), books) == []


# ----- volumes


def test_closing_more_than_was_opened_is_found() -> None:
    more = replace(CLOSED, volume_before=0.6)
    assert laws(swapped(CLOSED, more)) == ["closed_at_most_opened"]


def test_a_position_that_turned_round_is_found() -> None:
    turned = replace(CLOSED, volume_after=-0.1)
    assert "closed_at_most_opened" in laws(swapped(CLOSED, turned))


# ----- hedges


def test_a_second_hedge_is_found() -> None:
    second = replace(HEDGING, tag="taghedge2", intent_id="id2", decision_id="other", created_at=at(31))
    opened = replace(HEDGED, at=at(31), tag="taghedge2", identifier=103, ticket=103, order=96)
    entries = [
        *ENTRIES[:8],
        opened,
        state(31, 0.2, 2_006.2, 103),
        state(50, 0.0, None, 103),
        *ENTRIES[8:],
    ]
    assert laws(entries, replace(BOOKS, intents=(*BOOKS.intents, second))) == ["one_hedge"]


def test_a_hedge_larger_than_its_main_leg_is_found() -> None:
    larger = swapped(ENTRIES[7], state(30, 0.51, 2_006.2, HEDGE))
    assert laws(larger) == ["hedge_volume"]


def test_a_hedge_as_large_as_its_main_leg_is_lawful() -> None:
    assert laws(swapped(ENTRIES[7], state(30, 0.5, 2_006.2, HEDGE))) == []


def orphan(after: float) -> list[OracleEntry]:
    """The main leg ends at 45 s, the hedge so long after it."""
    ends = 45 + after
    closed = replace(CLOSED, at=at(45))
    unhedged = replace(UNHEDGED, at=at(ends))
    return [*ENTRIES[:8], closed, state(45, 0.0, None), unhedged, state(ends, 0.0, None, HEDGE)]


def test_a_hedge_that_outlives_its_main_leg_for_long_is_found() -> None:
    early = with_intents(replace(CLOSING, created_at=at(44)), replace(UNHEDGING, created_at=at(44)))
    limit = ORPHAN_MS / SECOND
    assert laws(orphan(limit), early) == []
    assert laws(orphan(limit + 0.001), early) == ["orphaned_hedge"]


def test_a_hedge_that_is_never_closed_is_measured_to_the_end() -> None:
    books = with_intents(replace(CLOSING, created_at=at(44)))
    books = replace(books, intents=tuple(i for i in books.intents if i.tag != "tagunhedge"))
    assert laws(orphan(5)[:10], books) == ["orphaned_hedge"]


# ----- records and foreign positions


def test_a_stop_without_its_record_is_found() -> None:
    assert laws(ENTRIES, replace(BOOKS, stops=())) == ["stop_recorded"]


def test_a_stop_recorded_with_another_value_is_found() -> None:
    other = replace(BOOKS, stops=(replace(BOOKS.stops[0], new=1_996.01),))
    assert laws(ENTRIES, other) == ["stop_recorded"]


def test_a_foreign_position_that_we_touched_is_found() -> None:
    touched = entry(_K.SLTP, 40, identifier=FOREIGN, ticket=FOREIGN, tag="tagstop", order=11, stop_after=1_990.0)
    assert laws([*ENTRIES[:8], touched, *ENTRIES[8:]]) == ["foreign_untouched"]


def test_what_others_do_to_their_own_positions_is_nothing_to_us() -> None:
    theirs = entry(_K.SLTP, 40, identifier=FOREIGN, ticket=FOREIGN, magic=5, tag="theirs", stop_after=1.0)
    assert laws([*ENTRIES[:8], theirs, *ENTRIES[8:]]) == []


def test_violations_are_told_in_the_order_of_time_with_their_position() -> None:
    entries = [*naked(4, 6)]
    found = check(entries, replace(BOOKS, stops=()), until=UNTIL)
    assert [each.at for each in found] == sorted(each.at for each in found)
    assert {each.position for each in found} == {MAIN}
    assert all(each.detail for each in found)

from __future__ import annotations

import ast
import itertools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dtms.core.exits as exits_package
from dtms.core.exits import RULES, observe, propose_all, settle
from dtms.core.settle import StepEnd
from dtms.domain.action import Close, Reduce, SetStop
from dtms.domain.policy.exits import ExitPolicy, ExitProfile
from dtms.domain.receipt import Rejection
from dtms.domain.rules import DefenceRule, ExitRule
from dtms.domain.trade import Hold, Leg, LegKind, OnceFlags, Owner, Pending, TradeState
from dtms.domain.units import DAY, HOUR, MINUTE, SECOND, Lots, Millis, Price, Side, Ticket, TradeId
from dtms.errors import InvalidDataError, InvariantError

if TYPE_CHECKING:
    from tests.exits.conftest import Desk

GOLD = {"entry": 3300.0, "r": 10.0}
POLICY = ExitPolicy()
GRANTED = ExitPolicy(grant_widening=True)
LEG = Leg(
    kind=LegKind.HEDGE,
    ticket=Ticket(7),
    identifier=7,
    side=Side.SELL,
    volume=Lots(0.5),
    entry=3300.0,
    stop=None,
    target=None,
    opened_at=Millis(0),
)


def pending(to: TradeState) -> Pending:
    return Pending(to=to, row="row", decision_id="d", decided_at=Millis(0), steps=())


def test_rules_are_strangers_to_each_other() -> None:
    names = {rule.name.value for rule in RULES}
    folder = Path(exits_package.__file__).parent
    for name in names:
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dtms.core.exits")
            for alias in node.names
        }
        modules = {
            (node.module or "").rsplit(".", 1)[-1] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        }
        assert (imported | modules) & names == set()
    assert names == set(ExitRule)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": TradeState.WARNING_L2},
        {"state": TradeState.HEDGED},
        {"state": TradeState.CLOSED},
        {"pending": pending(TradeState.HEDGED)},
        {"pending": pending(TradeState.WARNING_L1)},
        {"hold": Hold.VOLUME_ADDED},
        {"hold": Hold.QUARANTINED},
        {"owner": Owner.DTMS},
        {"owner": Owner.NONE},
        {"legs": (LEG,)},
        {"volume": Lots(0.0)},
    ],
)
def test_nothing_acts_while_somebody_else_has_the_trade(desk: Desk, changes: dict[str, Any]) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    profile = ExitProfile(max_age=True, max_age_hours=1, stall=True, stall_bars=1, stall_r=5)
    market = desk.market(
        instrument, 3325.0, 3325.2, now=desk.t0 + 2 * HOUR, indicators=desk.indicators(4.0), quote_stale=False
    )

    free = propose_all(trade, desk.book(trade, profile), market, POLICY)
    held = propose_all(replace(trade, **changes), desk.book(trade, profile), market, POLICY)

    assert desk.closes(free) == (ExitRule.TIME_EXIT,)
    assert (held.proposals, desk.skips(held), held.book.best) == ((), (None,), 3325.0)


def test_both_programs_may_act_while_dtms_only_warns(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD, state=TradeState.WARNING_L1)
    decision = propose_all(trade, desk.book(trade), desk.market(instrument, 3310.0, 3310.2), POLICY)
    assert desk.stops(decision) == {ExitRule.BREAKEVEN: 3300.1}


def test_breakeven_waits_for_its_trigger_and_is_sent_once(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    book = desk.book(trade, ExitProfile(trail=False, partial=False))
    assert propose_all(trade, book, desk.market(instrument, 3309.99, 3310.19), POLICY).proposals == ()

    decision = propose_all(trade, book, desk.market(instrument, 3310.0, 3310.2), POLICY)
    trade, book = desk.answer(trade, decision.book, decision.proposals[0], now=desk.t0)

    assert (trade.stop, book.breakeven_done, book.tightened) == (3300.1, True, True)
    assert propose_all(trade, book, desk.market(instrument, 3315.0, 3318.0), POLICY).proposals == ()


@pytest.mark.parametrize(("bid", "sent"), [(3302.50, False), (3302.51, True)])
def test_breakeven_is_sent_once_the_price_is_beyond_it_by_levels_and_a_tick(
    desk: Desk, bid: float, *, sent: bool
) -> None:
    # entry + 0.10 of allowance, then 1.50 stops level, 0.90 freeze level and a tick of 0.01: 3302.51
    instrument = desk.instrument("XAUUSD", stops_level=1.5, freeze_level=0.9)
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    book = desk.book(trade, ExitProfile(breakeven_r=0.1))
    decision = propose_all(trade, book, desk.market(instrument, bid, bid + 0.2), POLICY)
    assert desk.stops(decision) == ({ExitRule.BREAKEVEN: 3300.1} if sent else {})
    assert desk.skips(decision) == (() if sent else (ExitRule.BREAKEVEN,))


def test_what_is_left_bears_the_swap(desk: Desk) -> None:
    # 25 debited on 0.5 lots of what was 1.0: 50 a lot = 0.50 in price
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD, volume=0.5, initial_volume=Lots(1.0))
    decision = propose_all(trade, desk.book(trade), desk.market(instrument, 3310.0, 3310.0, swap=-25.0), POLICY)
    assert desk.stops(decision) == {ExitRule.BREAKEVEN: 3300.5}


def test_a_stop_at_breakeven_by_anyone_starts_the_trail(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD, stop=Price(3300.1))
    market = desk.market(instrument, 3309.0, 3309.2, indicators=desk.indicators(2.0))
    decision = propose_all(trade, desk.book(trade), market, POLICY)
    assert (decision.book.breakeven_done, desk.stops(decision)) == (True, {ExitRule.TRAILING: 3306.0})


def test_no_trail_before_breakeven(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    market = desk.market(instrument, 3309.0, 3309.2, indicators=desk.indicators(2.0))
    assert propose_all(trade, desk.book(trade), market, POLICY).proposals == ()


def test_without_breakeven_the_trail_begins_at_its_trigger_and_stays_begun(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    book = desk.book(trade, ExitProfile(breakeven=False, partial=False))
    seen = desk.indicators(2.0)
    before = propose_all(trade, book, desk.market(instrument, 3309.9, 3310.1, indicators=seen), POLICY)
    assert before.proposals == ()
    at = propose_all(trade, before.book, desk.market(instrument, 3310.0, 3310.2, indicators=seen), POLICY)
    after = propose_all(trade, at.book, desk.market(instrument, 3308.0, 3308.2, indicators=seen), POLICY)
    assert (desk.stops(at), desk.stops(after)) == ({ExitRule.TRAILING: 3307.0}, {ExitRule.TRAILING: 3307.0})


def test_the_trail_says_when_it_knows_no_atr(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD, stop=Price(3300.1))
    for seen in (None, desk.indicators(None)):
        decision = propose_all(
            trade, desk.book(trade), desk.market(instrument, 3309.0, 3309.2, indicators=seen), POLICY
        )
        assert (decision.proposals, desk.skips(decision)) == ((), (ExitRule.TRAILING,))


@pytest.mark.parametrize(
    ("best", "atr", "moves"),
    [(3315.0, 4.0, False), (3315.39, 4.0, False), (3315.40, 4.0, True), (3315.0, 0.01, True)],
)
def test_a_step_of_the_trail_is_a_tenth_of_atr_at_least(desk: Desk, best: float, atr: float, *, moves: bool) -> None:
    instrument = desk.instrument("XAUUSD")
    stop = Price(3309.0 if atr > 1 else 3314.97)
    trade = desk.trade(instrument, Side.BUY, **GOLD, stop=stop)
    book = desk.book(trade, ExitProfile(partial=False), breakeven_done=True)
    decision = propose_all(trade, book, desk.market(instrument, best, best, indicators=desk.indicators(atr)), POLICY)
    assert bool(desk.stops(decision)) is moves


def test_the_trail_moves_at_most_every_thirty_seconds(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD, stop=Price(3300.1))
    book = desk.book(trade, ExitProfile(partial=False))
    steps = [
        desk.step(quote=desk.quote(instrument, 3310.0 + n, 3310.2 + n, at=desk.t0 + n * SECOND)) for n in range(70)
    ]
    seen = desk.ride(trade, book, steps, desk.market(instrument, 1.0, 1.0, indicators=desk.indicators(4.0)), POLICY)
    moved = [n for n, (_, _, decision) in enumerate(seen) if desk.stops(decision)]
    assert moved == [0, 30, 60]
    assert seen[-1][0].stop == 3310.0 + 60 - 6.0


def test_a_price_past_the_trail_on_two_accepted_quotes_closes(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD, stop=Price(3300.1))
    book = desk.book(trade, ExitProfile(partial=False), breakeven_done=True, best=3320.0)
    seen = desk.indicators(4.0)
    level = 3314.0
    first = desk.market(instrument, level, level + 0.2, now=desk.t0, indicators=seen)
    second = desk.market(instrument, level - 1, level - 0.8, now=desk.t0 + SECOND, indicators=seen)

    one = propose_all(trade, book, first, POLICY)
    same_quote = propose_all(trade, one.book, replace(first, now=Millis(desk.t0 + 500)), POLICY)
    two = propose_all(trade, same_quote.book, second, POLICY)

    assert (one.proposals, desk.skips(one), one.book.beyond_quotes) == ((), (ExitRule.TRAILING,), 1)
    assert (same_quote.proposals, same_quote.book.beyond_quotes) == ((), 1)
    assert [(each.rule, each.action) for each in two.proposals] == [(ExitRule.TRAILING, Close(ticket=trade.ticket))]
    assert two.proposals[0].price_based is False


def test_quotes_past_the_trail_must_run(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD, stop=Price(3300.1))
    book = desk.book(trade, ExitProfile(partial=False), breakeven_done=True, best=3320.0)
    counts = []
    for n, bid in enumerate((3313.9, 3314.01, 3313.9)):
        market = desk.market(
            instrument, bid, bid, now=desk.t0 + n * SECOND, indicators=desk.indicators(4.0), quote_stale=False
        )
        book = observe(book, trade, market, POLICY)
        counts.append(book.beyond_quotes)
    assert counts == [1, 0, 1]


def test_a_price_past_a_level_that_the_stop_already_holds_is_the_brokers_to_close(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD, stop=Price(3314.0))
    book = desk.book(trade, ExitProfile(partial=False), breakeven_done=True, best=3320.0)
    market = desk.market(instrument, 3313.0, 3313.2, indicators=desk.indicators(4.0))
    assert observe(book, trade, market, POLICY).beyond_quotes == 0


def test_a_refused_stop_is_tried_once_a_bar(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    steps = [
        desk.step(
            quote=desk.quote(instrument, 3310.0, 3310.2, at=desk.t0 + n * 5 * SECOND),
            end=StepEnd.REJECTED,
            rejection=Rejection.PRICE_MOVED,
        )
        for n in range(3 * 60)
    ]
    seen = desk.ride(trade, desk.book(trade), steps, desk.market(instrument, 1.0, 1.0), POLICY)
    tried = [n * 5 for n, (_, _, decision) in enumerate(seen) if desk.stops(decision)]
    assert tried == [0, 300, 600]


@pytest.mark.parametrize(
    ("end", "rejection", "given_up"),
    [
        (StepEnd.REJECTED, Rejection.PRICE_MOVED, True),
        (StepEnd.REJECTED, Rejection.INVALID_STOPS, True),
        (StepEnd.REJECTED, Rejection.FROZEN, True),
        (StepEnd.REJECTED, None, True),
        (StepEnd.REJECTED, Rejection.PRECONDITION, False),
        (StepEnd.REJECTED, Rejection.NOT_SENT, False),
        (StepEnd.CANCELLED, None, False),
        (StepEnd.NOT_APPLIED, None, False),
        (StepEnd.QUARANTINED, None, False),
    ],
)
def test_only_a_refusal_by_the_broker_gives_a_stop_up_at_the_first_time(
    *, desk: Desk, end: StepEnd, rejection: Rejection | None, given_up: bool
) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    decision = propose_all(trade, desk.book(trade), desk.market(instrument, 3310.0, 3310.2), POLICY)
    now = desk.t0 + MINUTE
    _, book = desk.answer(trade, decision.book, decision.proposals[0], now=now, end=end, rejection=rejection)
    again = propose_all(trade, book, desk.market(instrument, 3310.0, 3310.2, now=now), POLICY)
    assert (bool(desk.stops(again)), book.breakeven_done) == (not given_up, False)


def test_the_partial_is_done_once_and_for_ever(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    book = desk.book(trade, ExitProfile(trail=False))
    steps = [
        desk.step(quote=desk.quote(instrument, bid, bid + 0.2, at=desk.t0 + n * MINUTE))
        for n, bid in enumerate([3320.0, 3305.0] * 50)
    ]
    seen = desk.ride(trade, book, steps, desk.market(instrument, 1.0, 1.0), POLICY)
    assert sum(bool(desk.remaining(decision)) for _, _, decision in seen) == 1
    assert (seen[-1][0].volume, seen[-1][1].partial_done) == (0.67, True)


def test_a_partial_whose_answer_was_lost_is_never_taken_twice(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    market = desk.market(instrument, 3320.0, 3320.2)
    first = propose_all(trade, desk.book(trade, ExitProfile(trail=False)), market, POLICY)
    again = propose_all(trade, first.book, market, POLICY)
    reconciled = propose_all(replace(trade, volume=Lots(0.67)), again.book, market, POLICY)
    assert desk.remaining(first) == desk.remaining(again) == {ExitRule.PARTIAL: 0.67}
    assert (desk.remaining(reconciled), reconciled.book.partial_done) == ({}, True)


def test_a_partial_that_was_filled_in_part_asks_for_the_rest_only(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    market = desk.market(instrument, 3320.0, 3320.2)
    decision = propose_all(trade, desk.book(trade, ExitProfile(trail=False, breakeven=False)), market, POLICY)
    _, book = desk.answer(trade, decision.book, decision.proposals[0], now=desk.t0, end=StepEnd.PARTIAL)
    rest = propose_all(replace(trade, volume=Lots(0.80)), book, market, POLICY)
    assert desk.remaining(rest) == {ExitRule.PARTIAL: 0.67}


@pytest.mark.parametrize("end", [StepEnd.QUARANTINED, StepEnd.PARTIAL])
def test_a_partial_that_nobody_can_tell_is_asked_for_again_as_it_was(desk: Desk, end: StepEnd) -> None:
    gold = desk.instrument("XAUUSD")
    trade = desk.trade(gold, Side.BUY, entry=3300.0, r=10.0)
    market = desk.market(gold, 3320.0, 3320.3)
    first = propose_all(trade, desk.book(trade), market, POLICY)
    wanted = desk.remaining(first)
    asked = next(each for each in first.proposals if isinstance(each.action, Reduce))
    _, book = desk.answer(trade, first.book, asked, now=desk.t0, end=end)
    reduced = replace(trade, volume=Lots(0.8))  # it was done in part, or a hand took some off meanwhile
    later = replace(market, now=Millis(desk.t0 + 5 * MINUTE), bar_at=Millis(desk.t0 + 5 * MINUTE))
    again = propose_all(reduced, book, later, POLICY)
    assert desk.remaining(again) == wanted
    done = propose_all(replace(trade, volume=wanted[ExitRule.PARTIAL]), book, later, POLICY)
    assert (desk.remaining(done), done.book.partial_done) == ({}, True)


def test_a_refused_partial_is_worked_out_anew_on_the_next_bar(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    book = desk.book(trade, ExitProfile(trail=False, breakeven=False))
    decision = propose_all(trade, book, desk.market(instrument, 3320.0, 3320.2), POLICY)
    _, book = desk.answer(
        trade,
        decision.book,
        decision.proposals[0],
        now=desk.t0,
        end=StepEnd.REJECTED,
        rejection=Rejection.PRICE_MOVED,
    )
    half = replace(trade, volume=Lots(0.5))
    same_bar = propose_all(half, book, desk.market(instrument, 3320.0, 3320.2, now=desk.t0 + MINUTE), POLICY)
    next_bar = propose_all(half, book, desk.market(instrument, 3320.0, 3320.2, now=desk.t0 + 5 * MINUTE), POLICY)
    assert (desk.remaining(same_bar), desk.skips(same_bar)) == ({}, (ExitRule.PARTIAL,))
    assert desk.remaining(next_bar) == {ExitRule.PARTIAL: 0.34}


def test_a_stop_and_a_partial_may_go_in_one_cycle_and_the_stop_goes_first(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    decision = propose_all(trade, desk.book(trade), desk.market(instrument, 3320.0, 3320.2), POLICY)
    assert [each.action for each in decision.proposals] == [
        SetStop(ticket=trade.ticket, stop=Price(3300.1), target=None),
        Reduce(ticket=trade.ticket, remaining=Lots(0.67)),
    ]


def test_the_tightest_of_two_stops_survives_and_the_other_is_recorded(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.SELL, **GOLD)
    market = desk.market(instrument, 3289.8, 3290.0, vix=30.0, vix_age_ms=0)
    decision = propose_all(trade, desk.book(trade, ExitProfile(widening=True)), market, GRANTED)
    assert (desk.stops(decision), desk.skips(decision)) == ({ExitRule.BREAKEVEN: 3299.9}, (ExitRule.WIDENING,))


def test_a_close_beats_all_else(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    profile = ExitProfile(max_age=True, max_age_hours=1)
    market = desk.market(instrument, 3320.0, 3320.2, now=desk.t0 + HOUR)
    decision = propose_all(trade, desk.book(trade, profile), market, POLICY)
    assert [each.action for each in decision.proposals] == [Close(ticket=trade.ticket)]
    assert desk.skips(decision) == (ExitRule.BREAKEVEN, ExitRule.PARTIAL)
    assert decision.book.partial_remaining is None


def test_a_stale_quote_moves_nothing_that_looks_at_the_price(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    market = desk.market(instrument, 3320.0, 3320.2, now=desk.t0 + HOUR, quote_stale=True)
    quiet = propose_all(trade, desk.book(trade), market, POLICY)
    timed = propose_all(trade, desk.book(trade, ExitProfile(max_age=True, max_age_hours=1)), market, POLICY)
    assert (quiet.proposals, desk.skips(quiet)) == ((), (None,))
    assert desk.closes(timed) == (ExitRule.TIME_EXIT,)


WIDE = ExitProfile(widening=True)


def widened(desk: Desk, policy: ExitPolicy = GRANTED, book: Any = None, **changes: Any) -> tuple[bool, bool]:
    """Return whether a VIX of 30 widened the stop, and whether the rule said why not."""
    instrument = desk.instrument("XAUUSD")
    names = {"vix", "vix_age_ms", "dtms_warns", "indicators"}
    seen = {"vix": 30.0, "vix_age_ms": 0, **{k: v for k, v in changes.items() if k in names}}
    trade = replace(desk.trade(instrument, Side.BUY, **GOLD), **{k: v for k, v in changes.items() if k not in names})
    memory = desk.book(trade, WIDE, **(book or {}))
    decision = propose_all(trade, memory, desk.market(instrument, 3300.0, 3300.2, **seen), policy)
    return bool(desk.stops(decision)), ExitRule.WIDENING in desk.skips(decision)


def test_widening_needs_the_grant_of_the_policy(desk: Desk) -> None:
    assert (widened(desk), widened(desk, POLICY)) == ((True, False), (False, True))


def test_widening_is_denied_while_dtms_warns_or_may_warn(desk: Desk) -> None:
    assert widened(desk, dtms_warns=True) == (False, True)
    assert widened(desk, dtms_warns=None) == (False, True)
    assert widened(desk, state=TradeState.WARNING_L1) == (False, True)
    assert widened(desk, state=TradeState.RECOVERING) == (False, True)


def test_widening_needs_a_vix_of_the_last_four_days(desk: Desk) -> None:
    assert widened(desk, vix_age_ms=4 * DAY) == (True, False)
    assert widened(desk, vix_age_ms=4 * DAY + 1) == (False, True)
    assert widened(desk, vix_age_ms=None) == (False, True)
    assert widened(desk, vix=None) == (False, True)


def test_widening_happens_once(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    steps = [
        desk.step(
            quote=desk.quote(instrument, 3300.0, 3300.2, at=desk.t0 + n * MINUTE),
            changes=(("vix", 19.0 + n), ("vix_age_ms", 0)),
        )
        for n in range(20)
    ]
    seen = desk.ride(trade, desk.book(trade, WIDE), steps, desk.market(instrument, 1.0, 1.0), GRANTED)
    assert [trade.stop for trade, _, _ in seen] == [3289.0] * 20
    assert seen[0][1].widened is True


def test_a_refused_widening_does_not_hold_up_breakeven(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    market = desk.market(instrument, 3300.0, 3300.2, vix=30.0, vix_age_ms=0)
    decision = propose_all(trade, desk.book(trade, WIDE), market, GRANTED)
    _, book = desk.answer(
        trade, decision.book, decision.proposals[0], now=desk.t0, end=StepEnd.REJECTED, rejection=Rejection.FROZEN
    )
    later = desk.market(instrument, 3310.0, 3310.2, now=desk.t0 + SECOND, vix=30.0, vix_age_ms=0)
    decision = propose_all(trade, book, later, GRANTED)
    assert (desk.stops(decision), desk.skips(decision)) == ({ExitRule.BREAKEVEN: 3300.1}, (ExitRule.WIDENING,))


def test_widening_never_comes_after_a_tightening(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    tight = replace(trade, stop=Price(3290.01))
    book = observe(desk.book(trade, WIDE), tight, desk.market(instrument, 3300.0, 3300.2), GRANTED)
    assert book.tightened is True
    # the stop is back where it was, by hand: still never
    market = desk.market(instrument, 3300.0, 3300.2, vix=30.0, vix_age_ms=0)
    assert propose_all(trade, book, market, GRANTED).proposals == ()
    assert widened(desk, marks=OnceFlags(tightened_at_r=0.1)) == (False, True)
    assert widened(desk, book={"breakeven_done": True}) == (False, False)


@pytest.mark.parametrize("at_r", [0.0, -0.4, 1.2])
def test_a_tightening_at_any_r_is_a_tightening(desk: Desk, at_r: float) -> None:
    assert widened(desk, marks=OnceFlags(tightened_at_r=at_r)) == (False, True)


def test_widening_leaves_a_stop_that_somebody_widened(desk: Desk) -> None:
    assert widened(desk, stop=Price(3289.0)) == (False, False)
    assert widened(desk, stop=None) == (False, False)


def test_a_trade_closes_at_its_maximum_age_in_open_time(desk: Desk) -> None:
    instrument = desk.instrument("EURUSD")
    friday = Millis(desk.t0 + 3 * DAY + 8 * HOUR)  # Friday 20:00 UTC; the market closes at 21:00
    trade = desk.trade(instrument, Side.BUY, entry=1.1, r=0.005, registered_at=friday)
    book = desk.book(trade, ExitProfile(max_age=True, max_age_hours=3))
    opened = friday + 2 * DAY + HOUR  # Sunday 21:00 UTC

    def closes(now: int) -> tuple[ExitRule, ...]:
        return desk.closes(propose_all(trade, book, desk.market(instrument, 1.1, 1.1001, now=now), POLICY))

    assert closes(friday + DAY) == ()
    assert closes(opened + 2 * HOUR - 1) == ()
    assert closes(opened + 2 * HOUR) == (ExitRule.TIME_EXIT,)


def test_a_close_waits_while_the_market_is_closed_and_says_so(desk: Desk) -> None:
    instrument = desk.instrument("EURUSD")
    friday = Millis(desk.t0 + 3 * DAY + 8 * HOUR)
    trade = desk.trade(instrument, Side.BUY, entry=1.1, r=0.005, registered_at=friday)
    profile = ExitProfile(max_age=True, max_age_hours=0.5, stall=True, stall_bars=6)
    market = desk.market(instrument, 1.1, 1.1001, now=friday + DAY, quote_stale=True)
    decision = propose_all(trade, desk.book(trade, profile), market, POLICY)
    assert (decision.proposals, desk.skips(decision)) == ((), (None, ExitRule.TIME_EXIT, ExitRule.STALL_EXIT))


@pytest.mark.parametrize(
    ("name", "day_minutes", "closes"),
    [
        ("EURUSD", 20 * 60 + 29, False),
        ("EURUSD", 20 * 60 + 30, True),
        ("XAUUSD", 20 * 60 + 30, True),
        ("BTCUSD", 20 * 60 + 30, False),
        ("XAUUSD", 20 * 60 + 30 - 24 * 60, False),  # Thursday's daily break is no weekend
    ],
)
def test_a_trade_closes_before_the_weekend(*, desk: Desk, name: str, day_minutes: int, closes: bool) -> None:
    instrument = desk.instrument(name)
    trade = desk.trade(instrument, Side.BUY, entry=3300.0, r=10.0)
    now = desk.t0 - 12 * HOUR + 3 * DAY + day_minutes * MINUTE
    decision = propose_all(
        trade, desk.book(trade, ExitProfile(weekend=True)), desk.market(instrument, 3300.0, 3300.2, now=now), POLICY
    )
    assert desk.closes(decision) == ((ExitRule.TIME_EXIT,) if closes else ())


@pytest.mark.parametrize(
    ("bars", "best", "closes"), [(47, 3301.0, False), (48, 3301.99, True), (48, 3302.0, False), (400, 3302.0, False)]
)
def test_a_trade_that_went_nowhere_closes_after_its_bars(*, desk: Desk, bars: int, best: float, closes: bool) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    book = desk.book(trade, ExitProfile(stall=True), best=best)
    market = desk.market(instrument, 3295.0, 3295.2, now=desk.t0 + bars * 5 * MINUTE + MINUTE)
    assert desk.closes(propose_all(trade, book, market, POLICY)) == ((ExitRule.STALL_EXIT,) if closes else ())


def test_an_intent_of_another_trade_or_rule_is_never_settled_here(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    book = desk.book(trade)
    decision = propose_all(trade, book, desk.market(instrument, 3310.0, 3310.2), POLICY)
    intent = desk.intent(trade, decision.proposals[0], now=desk.t0)
    with pytest.raises(InvariantError, match=r"by rule defence\.tighten is not its own"):
        settle(book, replace(intent, rule=DefenceRule.TIGHTEN), StepEnd.APPLIED, trade, desk.t0)
    with pytest.raises(InvariantError, match="an intent of t2 by rule breakeven is not its own"):
        settle(book, replace(intent, trade_id=TradeId("t2")), StepEnd.APPLIED, trade, desk.t0)


@pytest.mark.parametrize(
    "changes",
    [{"commission_per_lot": -7.0}, {"commission_per_lot": float("nan")}, {"swap": float("inf")}, {"vix": 0.0}],
)
def test_a_snapshot_with_impossible_money_is_refused(desk: Desk, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidDataError):
        desk.market(desk.instrument("EURUSD"), 1.1, 1.1001, **changes)


@pytest.mark.parametrize(
    "changes",
    [{"best": 0.0}, {"best": float("nan")}, {"partial_remaining": Lots(0.0)}, {"beyond_quotes": -1}, {"seq": -1}],
)
def test_a_book_that_cannot_be_is_refused(desk: Desk, changes: dict[str, Any]) -> None:
    trade = desk.trade(desk.instrument("EURUSD"), Side.BUY, entry=1.1, r=0.005)
    with pytest.raises(InvalidDataError):
        desk.book(trade, **changes)


@pytest.mark.parametrize(
    ("end", "rejection", "waits"),
    [
        (StepEnd.REJECTED, Rejection.MARKET_CLOSED, [0, 1, 2, 4, 8, 12, 12]),
        (StepEnd.REJECTED, Rejection.FIFO, [0, 1, 2, 4, 8, 12, 12]),
        (StepEnd.REJECTED, None, [0, 1, 2, 4, 8, 12, 12]),
        (StepEnd.REJECTED, Rejection.PRICE_MOVED, [0, 1, 1, 1, 1, 1, 1]),
        (StepEnd.REJECTED, Rejection.NOT_SENT, [0, 0, 1, 1, 1, 1, 1]),
        (StepEnd.NOT_APPLIED, None, [0, 0, 1, 1, 1, 1, 1]),
    ],
)
def test_a_refused_close_is_asked_for_again_after_so_many_bars(
    desk: Desk, end: StepEnd, rejection: Rejection | None, waits: list[int]
) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    stall = ExitProfile(breakeven=False, partial=False, trail=False, stall=True, stall_bars=1, stall_r=5.0)
    steps = [
        desk.step(
            quote=desk.quote(instrument, 3301.0, 3301.2, at=desk.t0 + n * 30 * SECOND), end=end, rejection=rejection
        )
        for n in range(10, 10 + 42 * 10)
    ]
    seen = desk.ride(trade, desk.book(trade, stall), steps, desk.market(instrument, 1.0, 1.0), POLICY)
    bars = [1 + n // 10 for n, (_, _, decision) in enumerate(seen) if desk.closes(decision)]
    assert [later - earlier for earlier, later in itertools.pairwise([1, *bars])][: len(waits)] == waits


def test_an_applied_close_request_and_a_day_without_one_begin_the_count_anew(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    stall = ExitProfile(breakeven=False, partial=False, trail=False, stall=True, stall_bars=1, stall_r=5.0)
    tired = desk.book(trade, stall, close_refusals=5, close_given_up_bar=desk.t0)
    wanted = propose_all(trade, tired, desk.market(instrument, 3301.0, 3301.2, now=desk.t0 + 10 * MINUTE), POLICY)
    _, filled = desk.answer(trade, wanted.book, wanted.proposals[0], now=desk.t0 + 10 * MINUTE, end=StepEnd.PARTIAL)
    later = desk.t0 + 180 * MINUTE
    _, refused = desk.answer(
        trade, wanted.book, wanted.proposals[0], now=later, end=StepEnd.REJECTED, rejection=Rejection.FIFO
    )
    assert (filled.close_refusals, filled.close_given_up_bar) == (0, None)
    assert (refused.close_refusals, refused.close_given_up_bar) == (1, later)


def test_a_refused_close_holds_back_neither_stop_nor_partial(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    profile = ExitProfile(max_age=True, max_age_hours=0.1)
    book = desk.book(trade, profile, close_refusals=1, close_given_up_bar=desk.t0 + 10 * MINUTE)
    decision = propose_all(trade, book, desk.market(instrument, 3320.0, 3320.2, now=desk.t0 + 10 * MINUTE), POLICY)
    assert desk.closes(decision) == ()
    assert (bool(desk.stops(decision)), bool(desk.remaining(decision))) == (True, True)


def test_a_partial_that_nobody_can_tell_is_not_followed_by_a_further_share(desk: Desk) -> None:
    instrument = desk.instrument("XAUUSD")
    trade = desk.trade(instrument, Side.BUY, **GOLD)
    market = desk.market(instrument, 3320.0, 3320.2)
    decision = propose_all(trade, desk.book(trade, ExitProfile(trail=False, breakeven=False)), market, POLICY)
    _, book = desk.answer(trade, decision.book, decision.proposals[0], now=desk.t0, end=StepEnd.QUARANTINED)
    late = replace(trade, volume=Lots(0.67))  # it was filled after all
    assert book.partial_remaining == 0.67
    assert desk.remaining(propose_all(trade, book, market, POLICY)) == {ExitRule.PARTIAL: 0.67}
    assert desk.remaining(propose_all(late, book, market, POLICY)) == {}

"""Each fault through the real adapter: what the answer says of the order, beside what the oracle says was applied."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.terminal_faults.rig import ASK, BID, STOP, SYMBOL, Bench, close, each, halve, hedge, once, tighten

from dtms.adapters.mt5 import retcodes
from dtms.adapters.mt5.retcodes import RETCODES, Mend, Reaction
from dtms.domain.action import Action, Close, CloseHedge, OpenTrade, Reduce, SetStop
from dtms.domain.market import Timeframe
from dtms.domain.position import Position
from dtms.domain.receipt import Outcome, Rejection
from dtms.domain.units import Lots, Price, Side
from dtms.errors import BrokerUnavailableError, InvalidDataError, OutcomeUnknownError, StaleDataError
from dtms_lab.terminal.fault_kinds import (
    NOT_SENT,
    OUT_OF_STEP,
    OUT_OF_STEP_APPLIED,
    REPLY_LOST,
    REQUEST_LOST,
    SEND_FAILED,
    SEND_FAILED_APPLIED,
    Answer,
    Crossed,
    Doubled,
    Failed,
    Fault,
    Hang,
    Late,
    PartFill,
    Previous,
    Refused,
    Restamped,
    Slipped,
)
from dtms_lab.terminal.fault_plan import READS, FaultPlan
from dtms_lab.terminal.fault_swarm import READ_ERRORS, REFUSALS, UNCLEAR, UNKNOWN_ERROR
from dtms_lab.terminal.faults import FaultyLink, HangError

Sendable = tuple[Bench, Action, Position | None]


def set_stop(bench: Bench) -> Sendable:
    held = bench.open()
    return bench, tighten(held), held


def reduce(bench: Bench) -> Sendable:
    held = bench.open()
    return bench, halve(held), held


def close_all(bench: Bench) -> Sendable:
    held = bench.open()
    return bench, close(held), held


def close_by(bench: Bench) -> Sendable:
    held, other = bench.open(), bench.open(Side.SELL)
    return bench, Close(ticket=held.ticket, by=other.ticket), held


def open_hedge(bench: Bench) -> Sendable:
    held = bench.open()
    return bench, hedge(held), held


def unhedge(bench: Bench) -> Sendable:
    held = bench.open()
    return bench, CloseHedge(ticket=held.ticket, hedge=held.ticket), held


def open_trade(bench: Bench) -> Sendable:
    return bench, OpenTrade(symbol=SYMBOL, side=Side.BUY, volume=Lots(0.3), stop=Price(STOP), target=None), None


MAKES = (set_stop, reduce, close_all, close_by, open_hedge, unhedge, open_trade)
Make = Callable[[Bench], Sendable]
actions = pytest.mark.parametrize("make", MAKES, ids=[make.__name__ for make in MAKES])
LEFT = (-1, -10000, -10001, -10002, UNKNOWN_ERROR)
NEVER = {-3: None, -4: None, -5: None, -6: None, -10004: None}
REFUSING = {-2: Rejection.INVALID_REQUEST, -7: Rejection.INVALID_REQUEST, -8: Rejection.AUTO_TRADING_OFF}


def begun(make: Make, plan: FaultPlan) -> Sendable:
    """Set the scene without a fault; the plan begins with the send."""
    made = make(Bench())
    made[0].become(plan)
    return made


@actions
@pytest.mark.parametrize("code", LEFT)
@pytest.mark.parametrize("applied", [False, True])
def test_an_order_without_an_answer_that_may_have_left_is_unknown_applied_or_not(
    make: Make, code: int, applied: bool
) -> None:
    bench, action, held = begun(make, once(Failed(code=code, applied=applied)))

    with pytest.raises(OutcomeUnknownError, match=str(code)):
        bench.send(action, held)
    assert bench.applied() == int(applied)
    assert bench.injector.counts.total() == 1


@actions
@pytest.mark.parametrize("code", NEVER)
def test_an_order_that_provably_never_left_says_so(make: Make, code: int) -> None:
    bench, action, held = begun(make, once(Failed(code=code)))

    with pytest.raises(BrokerUnavailableError, match=str(code)):
        bench.send(action, held)
    assert bench.applied() == 0


@actions
@pytest.mark.parametrize("code", REFUSING)
def test_a_terminal_that_refuses_by_itself_is_a_rejection(make: Make, code: int) -> None:
    bench, action, held = begun(make, once(Failed(code=code)))
    receipt = bench.send(action, held)

    assert (receipt.outcome, receipt.rejection, receipt.code) == (Outcome.REJECTED, REFUSING[code], code)
    assert bench.applied() == 0


@pytest.mark.parametrize(
    ("fault", "code", "applied"),
    [
        (NOT_SENT, -10004, False),
        (SEND_FAILED, -10001, False),
        (SEND_FAILED_APPLIED, -10001, True),
        (REQUEST_LOST, -10002, False),
        (REPLY_LOST, -10002, True),
        (OUT_OF_STEP, -10000, False),
        (OUT_OF_STEP_APPLIED, -10000, True),
    ],
)
def test_the_named_faults_are_what_their_names_say(fault: Fault, code: int, applied: bool) -> None:
    assert fault == Failed(code=code, applied=applied)


@actions
@pytest.mark.parametrize("code", [None, 10008, 10012, 10999])
def test_an_order_that_is_applied_late_is_unknown_now_and_applied_once_when_it_is_due(
    make: Make, code: int | None
) -> None:
    bench, action, held = begun(make, once(Late(delay_ms=5_000, code=code)))

    with pytest.raises(OutcomeUnknownError):
        bench.send(action, held)
    bench.wait(4.9)
    assert (bench.applied(), bench.link.waiting) == (0, 1)
    bench.wait(0.1)
    assert (bench.applied(), bench.link.waiting) == (1, 0)
    bench.wait(60)
    assert bench.applied() == 1


def test_an_order_can_be_late_until_after_the_first_read_that_does_not_show_it() -> None:
    bench, action, held = begun(reduce, once(Late(after_reads=1)))

    with pytest.raises(OutcomeUnknownError):
        bench.send(action, held)
    assert held is not None
    first, second = bench.broker.positions(), bench.broker.positions()
    assert [read.positions[0].volume for read in (first, second)] == [1.0, 0.5]
    assert bench.applied() == 1


def test_a_late_order_meets_the_market_of_the_moment_when_it_comes() -> None:
    bench, action, held = begun(set_stop, once(Late(delay_ms=1_000)))

    with pytest.raises(OutcomeUnknownError):
        bench.send(action, held)
    bench.price(1_994.0)
    bench.wait(1)
    assert held is not None
    assert (bench.applied(), bench.seen(held.identifier).stop) == (0, STOP)


@actions
@pytest.mark.parametrize("applied", [False, True])
def test_a_call_that_hangs_is_caught_by_no_handler_of_the_program(make: Make, applied: bool) -> None:
    bench, action, held = begun(make, once(Hang(applied=applied)))

    with pytest.raises(HangError):
        bench.send(action, held)
    assert bench.applied() == int(applied)


def test_a_hang_can_be_replaced_by_what_a_child_process_does_then_the_reply_is_lost() -> None:
    bench, action, held = begun(reduce, once(Hang(applied=True)))
    hung: list[str] = []
    bench.terminal._link = FaultyLink(bench.backend, bench.injector, on_hang=lambda: hung.append("here"))

    with pytest.raises(OutcomeUnknownError, match="-10002"):
        bench.send(action, held)
    assert (hung, bench.applied()) == (["here"], 1)


@actions
def test_a_doubled_reply_is_believed_once_and_no_call_gets_anothers_answer(make: Make) -> None:
    bench, action, held = begun(make, once(Doubled()))
    receipt = bench.send(action, held)

    assert (receipt.outcome, bench.applied()) == (Outcome.APPLIED, 1)
    for _ in range(3):
        assert _identifiers(bench) in (None, {p.identifier for p in bench.server.state.positions.values()})
    assert _identifiers(bench) is not None


def _identifiers(bench: Bench) -> set[int] | None:
    """What a read shows; None where the link was out of step and said so."""
    try:
        return {position.identifier for position in bench.broker.positions().positions}
    except BrokerUnavailableError:
        return None


@pytest.mark.parametrize("nth", range(1, 9))
def test_a_doubled_reply_to_a_read_never_shows_an_older_read(nth: int) -> None:
    bench = Bench()
    held = bench.open()
    bench.become(once(Doubled(), op=READS, nth=nth))
    shown = []
    for volume in (0.9, 0.8, 0.7, 0.6):
        bench.close_by_hand(bench.seen(held.identifier), 0.1)
        try:
            shown.append((volume, bench.broker.positions().positions[0].volume))
        except BrokerUnavailableError:
            continue

    assert [true for true, _ in shown] == [pytest.approx(read) for _, read in shown]
    assert len(shown) >= 3  # at most one look is lost, and none where the doubled answer was of no position


@actions
@pytest.mark.parametrize("applied", [False, True])
def test_the_result_of_the_order_before_is_not_credited_to_this_one(make: Make, applied: bool) -> None:
    bench = Bench()
    before = bench.open(volume=0.2)
    made, action, held = make(bench)
    made.send(halve(before, 0.1), before, tag="before")
    made.become(once(Previous(applied=applied)))

    with pytest.raises(OutcomeUnknownError, match="another request"):
        made.send(action, held)
    assert (made.applied(), made.applied("before")) == (int(applied), 1)


@actions
@pytest.mark.parametrize("code", REFUSALS)
def test_every_code_of_a_server_that_refuses_has_its_class_and_nothing_is_applied(make: Make, code: int) -> None:
    bench, action, held = begun(make, once(Refused(code=code)))
    known = RETCODES.get(code)

    if known is None or known.reaction is Reaction.UNKNOWN:
        with pytest.raises(OutcomeUnknownError, match=str(code)):
            bench.send(action, held)
    elif known.reaction is Reaction.GOAL_MET and _is_goal(action, code):
        receipt = bench.send(action, held)
        assert (receipt.outcome, receipt.goal_met, receipt.filled) == (Outcome.APPLIED, True, 0.0)
    elif known.rejection is None:
        with pytest.raises(OutcomeUnknownError, match=str(code)):
            bench.send(action, held)
    else:
        receipt = bench.send(action, held)
        mended = _mends(action, known.mend)
        if mended:
            assert (receipt.outcome is Outcome.REJECTED, receipt.tries) == (False, 2)
        else:
            assert (receipt.outcome, receipt.rejection, receipt.code) == (Outcome.REJECTED, known.rejection, code)
        assert (bench.applied(), bench.injector.counts) == (int(mended), {f"refused {code}": 1})
        return
    assert (bench.applied(), bench.injector.counts) == (0, {f"refused {code}": 1})


def _mends(action: Action, mend: Mend | None) -> bool:
    """Say whether the adapter can put a request another way after it was refused once; these volumes are coarse already."""
    deal = not isinstance(action, SetStop) and not (isinstance(action, Close) and action.by is not None)
    return deal and mend is not None and mend is not Mend.VOLUME


def _is_goal(action: Action, code: int) -> bool:
    if code == retcodes.NO_CHANGES:
        return isinstance(action, SetStop)
    return isinstance(action, CloseHedge) or (isinstance(action, Close) and action.by is None)


@actions
@pytest.mark.parametrize("code", UNCLEAR)
def test_an_order_that_was_applied_under_an_unclear_code_is_unknown(make: Make, code: int) -> None:
    bench, action, held = begun(make, once(Answer(code=code)))

    with pytest.raises(OutcomeUnknownError, match=str(code)):
        bench.send(action, held)
    assert bench.applied() == 1


@pytest.mark.parametrize("make", [reduce, close_all, close_by, open_hedge, unhedge, open_trade])
def test_done_without_any_figure_is_not_believed(make: Make) -> None:
    bench, action, held = begun(make, once(Answer(code=10009, applied=False)))

    with pytest.raises(OutcomeUnknownError):
        bench.send(action, held)
    assert bench.applied() == 0


@actions
def test_an_unclear_code_does_not_hide_a_refusal(make: Make) -> None:
    bench, action, held = begun(make, each(Answer(code=10012), Refused(code=10019)))
    receipt = bench.send(action, held)

    assert (receipt.outcome, receipt.rejection) == (Outcome.REJECTED, Rejection.NO_MONEY)
    assert bench.injector.counts == {"refused 10019": 1}


@pytest.mark.parametrize("make", [reduce, close_all])
@pytest.mark.parametrize("says", [10010, 10009])
def test_a_part_fill_is_partial_under_either_code_with_the_volume_that_was_filled(make: Make, says: int) -> None:
    bench, action, held = begun(make, once(PartFill(share=0.3, says=says)))
    receipt = bench.send(action, held)

    wanted = 0.5 if isinstance(action, Reduce) else 1.0
    assert held is not None
    assert (receipt.outcome, receipt.code, receipt.filled) == (Outcome.PARTIAL, says, round(0.3 * wanted, 2))
    assert bench.seen(held.identifier).volume == pytest.approx(1.0 - receipt.filled)


def test_a_hedge_is_filled_whole_or_not_at_all() -> None:
    bench, action, held = begun(open_hedge, once(PartFill(share=0.3)))
    receipt = bench.send(action, held)

    assert (receipt.outcome, receipt.rejection, bench.applied()) == (Outcome.REJECTED, Rejection.DEALER, 0)


@pytest.mark.parametrize(("make", "quoted"), [(close_all, BID), (open_trade, ASK), (open_hedge, BID)])
def test_a_fill_away_from_the_quote_is_in_the_receipt_and_in_the_deal(make: Make, quoted: float) -> None:
    bench, action, held = begun(make, once(Slipped(points=35)))
    receipt = bench.send(action, held)

    worse = round(quoted + (0.35 if quoted == ASK else -0.35), 2)
    assert (receipt.price, bench.server.state.deals[-1].price) == (worse, worse)


@pytest.mark.parametrize(
    ("fault", "comment", "magic"),
    [
        (Restamped(comment=""), "", 77),
        (Restamped(comment="by broker"), "by broker", 77),
        (Restamped(magic=0), "tag", 0),
        (Restamped(comment="", magic=0), "", 0),
    ],
)
@pytest.mark.parametrize("make", [open_hedge, close_all, close_by])
def test_a_rewritten_comment_changes_the_brokers_books_and_not_the_answer_nor_the_oracle(
    make: Make, fault: Fault, comment: str, magic: int
) -> None:
    bench, action, held = begun(make, once(fault))
    receipt = bench.send(action, held)

    assert (receipt.outcome, bench.applied()) == (Outcome.APPLIED, 1)
    deal = bench.server.state.deals[-1]
    assert (deal.comment, deal.magic) == (comment, magic)
    assert {entry.magic for entry in bench.oracle.tagged("tag")} == {77}


READS_OF: dict[str, Callable[[Bench], object]] = {
    "terminal_info": lambda bench: bench.broker.account(),
    "account_info": lambda bench: bench.broker.account(),
    "positions_get": lambda bench: bench.broker.positions(),
    "history_deals": lambda bench: bench.broker.deals(1),
    "symbol_info": lambda bench: bench.broker.instrument(SYMBOL),
    "symbol_info_tick": lambda bench: bench.broker.quote(SYMBOL),
    "copy_rates_from_pos": lambda bench: bench.broker.bars(SYMBOL, Timeframe.M1, 3),
}


@pytest.mark.parametrize("code", READ_ERRORS)
@pytest.mark.parametrize("op", READS_OF)
def test_a_read_without_an_answer_raises_and_the_next_one_is_answered(op: str, code: int) -> None:
    bench = Bench()
    bench.open()
    expected = READS_OF[op](bench)
    bench.become(once(Failed(code=code), op=op))

    error: type[Exception] = BrokerUnavailableError
    if code in (-2, -4) and op == "symbol_info":
        error = InvalidDataError
    if code in (-2, -4) and op == "symbol_info_tick":
        error = StaleDataError
    asked_again = op == "copy_rates_from_pos" and code in (-1, -2, -4)
    if not asked_again:
        with pytest.raises(error):
            READS_OF[op](bench)
    again = READS_OF[op](bench)
    if op != "positions_get":
        assert again == expected
    assert bench.injector.counts == {f"failed {code}": 1}


def test_a_link_that_cannot_be_opened_says_that_nothing_was_sent() -> None:
    bench, action, held = begun(reduce, once(Failed(code=-10003), op="open"))
    bench.broker.link.drop()

    with pytest.raises(BrokerUnavailableError, match="-10003"):
        bench.send(action, held)
    assert bench.send(action, held).outcome is Outcome.APPLIED
    assert bench.applied() == 1


@actions
def test_nothing_is_sent_while_the_pipe_leads_to_another_account(make: Make) -> None:
    bench, action, held = begun(make, once(Crossed(calls=9), op=READS))
    for _ in range(3):
        with pytest.raises(BrokerUnavailableError, match="account 10000043"):
            bench.send(action, held)

    assert (bench.applied(), dict(bench.link.stranger.server.state.positions)) == (0, {})
    bench.link.heal()
    assert (bench.send(action, held).outcome, bench.applied()) == (Outcome.APPLIED, 1)


@pytest.mark.parametrize("make", [set_stop, reduce, close_all, close_by, unhedge])
def test_an_order_on_a_position_that_the_wrong_account_gets_changes_neither_account(make: Make) -> None:
    bench, action, held = begun(make, once(Crossed(calls=1)))
    receipt = bench.send(action, held)

    assert receipt.outcome is Outcome.REJECTED
    assert (bench.applied(), dict(bench.link.stranger.server.state.positions)) == (0, {})


def test_an_opening_that_the_wrong_account_gets_is_not_in_ours() -> None:
    bench, action, held = begun(open_trade, once(Crossed(calls=1)))
    bench.send(action, held)

    assert (bench.applied(), len(bench.link.stranger.server.state.positions)) == (0, 1)

"""Orders through a scripted terminal: what leaves, and what each answer is taken for."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.mt5.conftest import NOW, OFFSET

from dtms.adapters.mt5.retcodes import RETCODES, SEND_ERRORS, Reaction
from dtms.domain.action import Action, Close, OpenHedge, Reduce, SetStop
from dtms.domain.position import Position
from dtms.domain.receipt import Outcome, Receipt, Rejection
from dtms.domain.units import Lots, Millis, Price, Side, Ticket
from dtms.errors import BrokerUnavailableError, InvariantError, OutcomeUnknownError

if TYPE_CHECKING:
    from tests.mt5.conftest import Bench

TAG = "aaaabbbbccccddddeeeeff"
KINDS = ("set_stop", "reduce", "close", "close_by", "hedge", "unhedge", "re_add", "open")


def send(bench: Bench, kind: str, **position: Any) -> Receipt:
    held = bench.hold(**position)
    return bench.sender.send(bench.actions()[kind], position=None if kind == "open" else held, tag=TAG)


def request_of(bench: Bench, kind: str, **position: Any) -> dict[str, Any]:
    send(bench, kind, **position)
    (request,) = bench.terminal.requests
    return request


def test_a_stop_change_names_both_levels_and_the_position(bench: Bench) -> None:
    assert request_of(bench, "set_stop") == {
        "action": 6,
        "symbol": "EURUSD",
        "position": 501,
        "sl": 1.095,
        "tp": 1.12,
        "magic": 77,
        "comment": TAG,
    }


def test_a_partial_close_sends_what_is_over_the_remaining_volume(bench: Bench) -> None:
    assert request_of(bench, "reduce") == {
        "action": 1,
        "symbol": "EURUSD",
        "position": 501,
        "type": 1,
        "volume": 0.2,
        "type_filling": 1,
        "type_time": 0,
        "magic": 77,
        "comment": TAG,
    }


def test_a_close_sends_the_volume_of_the_fresh_read_to_the_other_side(bench: Bench) -> None:
    request = request_of(bench, "close", type=1, volume=0.17)

    assert (request["position"], request["symbol"], request["type"], request["volume"]) == (501, "EURUSD", 0, 0.17)


def test_a_close_by_names_both_positions(bench: Bench) -> None:
    assert request_of(bench, "close_by") == {
        "action": 10,
        "symbol": "EURUSD",
        "position": 501,
        "position_by": 502,
        "magic": 77,
        "comment": TAG,
    }


def test_closing_a_hedge_closes_the_hedge_and_not_its_parent(bench: Bench) -> None:
    request = request_of(bench, "unhedge")

    assert (request["position"], request["volume"], request["type"]) == (501, 0.3, 1)


def test_a_hedge_is_all_or_nothing_with_both_levels_and_no_position(bench: Bench) -> None:
    assert request_of(bench, "hedge") == {
        "action": 1,
        "symbol": "EURUSD",
        "type": 1,
        "volume": 0.15,
        "sl": 1.11,
        "tp": 1.09,
        "type_filling": 0,
        "type_time": 0,
        "magic": 77,
        "comment": TAG,
    }


def test_a_target_of_none_is_sent_as_zero(bench: Bench) -> None:
    request = request_of(bench, "open")

    assert (request["sl"], request["tp"], request["type"], "position" in request) == (1.09, 0.0, 0, False)


@pytest.mark.parametrize("kind", KINDS)
def test_prices_and_volumes_are_floats_and_everything_else_is_int_or_text(bench: Bench, kind: str) -> None:
    request = request_of(bench, kind)

    floats = {"price", "volume", "sl", "tp"} & set(request)
    assert {name: type(request[name]) for name in floats} == dict.fromkeys(floats, float)
    assert {type(request[name]) for name in set(request) - floats} <= {int, str}


@pytest.mark.parametrize(
    ("mask", "execution", "whole", "part"),
    [(3, 2, 0, 1), (1, 2, 0, 0), (2, 2, 1, 1), (0, 2, 0, 0), (0, 3, 2, 2), (0, 1, 2, 2), (7, 2, 0, 1), (4, 3, 2, 2)],
)
def test_the_filling_comes_from_the_symbols_bits(
    bench: Bench, mask: int, execution: int, whole: int, part: int
) -> None:
    bench.terminal.symbols["EURUSD"] |= {"filling_mode": mask, "trade_exemode": execution}
    held = bench.hold()
    for kind in ("hedge", "close"):
        bench.sender.send(bench.actions()[kind], position=held, tag=TAG)

    assert [request["type_filling"] for request in bench.terminal.requests] == [whole, part]


def refusing(bench: Bench, *codes: int) -> None:
    """Let the server answer the next requests with these codes, and fill everything after them."""
    left, done = list(codes), dict(bench.terminal.answer)

    def next_answer() -> None:
        bench.terminal.answer = {"retcode": left.pop(0)} if left else done

    next_answer()
    bench.terminal.on_call["order_send"] = next_answer


def test_a_filling_that_was_refused_is_put_another_way_within_the_same_order_and_remembered(bench: Bench) -> None:
    held = bench.hold()
    refusing(bench, 10030)
    receipt = bench.sender.send(bench.actions()["close"], position=held, tag=TAG)
    bench.sender.send(bench.actions()["close"], position=held, tag=TAG)

    assert (receipt.outcome, receipt.tries) == (Outcome.APPLIED, 2)
    assert [request["type_filling"] for request in bench.terminal.requests] == [1, 0, 0]
    assert {request["comment"] for request in bench.terminal.requests} == {TAG}


def test_a_symbol_that_refuses_every_filling_is_given_up_and_asked_anew_by_the_next_order(bench: Bench) -> None:
    bench.terminal.symbols["EURUSD"] |= {"filling_mode": 2, "trade_exemode": 3}
    held = bench.hold()
    bench.terminal.answer = {"retcode": 10030}
    for _ in range(2):
        receipt = bench.sender.send(bench.actions()["close"], position=held, tag=TAG)
        assert (receipt.rejection, receipt.tries) == (Rejection.INVALID_REQUEST, 3)

    assert [request["type_filling"] for request in bench.terminal.requests] == [1, 2, 0] * 2


@pytest.mark.parametrize("code", [10004, 10015, 10020, 10021])
def test_a_price_that_moved_is_named_anew_within_the_same_order(bench: Bench, code: int) -> None:
    bench.terminal.symbols["EURUSD"]["trade_exemode"] = 1
    held = bench.hold()
    refusing(bench, code)
    answered = bench.terminal.on_call["order_send"]

    def moved() -> None:
        answered()
        bench.terminal.ticks["EURUSD"] |= {"bid": 1.1005}

    bench.terminal.on_call["order_send"] = moved
    receipt = bench.sender.send(bench.actions()["close"], position=held, tag=TAG)

    assert (receipt.outcome, receipt.tries) == (Outcome.APPLIED, 2)
    assert [request["price"] for request in bench.terminal.requests] == [1.101, 1.1005]


def test_a_price_that_has_not_moved_is_not_named_again(bench: Bench) -> None:
    bench.terminal.symbols["EURUSD"]["trade_exemode"] = 1
    held = bench.hold()
    bench.terminal.answer = {"retcode": 10004}
    receipt = bench.sender.send(bench.actions()["close"], position=held, tag=TAG)

    assert (receipt.rejection, receipt.tries, len(bench.terminal.requests)) == (Rejection.PRICE_MOVED, 1, 1)


def test_a_price_that_does_not_hold_twice_is_left_to_the_next_attempt(bench: Bench) -> None:
    held = bench.hold()
    bench.terminal.answer = {"retcode": 10004}
    receipt = bench.sender.send(bench.actions()["close"], position=held, tag=TAG)

    assert (receipt.rejection, receipt.tries, len(bench.terminal.requests)) == (Rejection.PRICE_MOVED, 2, 2)


@pytest.mark.parametrize("kind", ["reduce", "hedge"])
def test_a_volume_step_that_was_not_told_is_found_and_never_passed(bench: Bench, kind: str) -> None:
    held = bench.hold(volume=0.87)
    actions: dict[str, Action] = {
        "reduce": Reduce(ticket=Ticket(501), remaining=Lots(0.43)),
        "hedge": OpenHedge(ticket=Ticket(501), side=Side.SELL, volume=Lots(0.44), stop=Price(1.11), target=Price(1.09)),
    }
    refusing(bench, 10014)
    receipt = bench.sender.send(actions[kind], position=held, tag=TAG)

    assert [request["volume"] for request in bench.terminal.requests] == [0.44, 0.4]
    assert (receipt.outcome, receipt.filled, receipt.tries) == (Outcome.PARTIAL, 0.4, 2)


def test_a_volume_on_the_coarser_step_already_is_cut_to_the_next_one(bench: Bench) -> None:
    held = bench.hold(volume=2.6)
    refusing(bench, 10014)
    bench.sender.send(Reduce(ticket=Ticket(501), remaining=Lots(1.3)), position=held, tag=TAG)

    assert [request["volume"] for request in bench.terminal.requests] == [1.3, 1.0]


@pytest.mark.parametrize("kind", ["close", "open"])
def test_a_full_close_and_an_opening_are_never_made_smaller(bench: Bench, kind: str) -> None:
    bench.terminal.answer |= {"retcode": 10014}
    receipt = send(bench, kind)

    assert (receipt.rejection, len(bench.terminal.requests)) == (Rejection.INVALID_VOLUME, 1)


def test_a_position_larger_than_one_order_may_be_is_closed_in_parts(bench: Bench) -> None:
    held = bench.hold(volume=150.0)
    receipt = bench.sender.send(bench.actions()["close"], position=held, tag=TAG)

    assert (bench.terminal.requests[0]["volume"], receipt.outcome, receipt.filled) == (100.0, Outcome.PARTIAL, 100.0)


def test_a_lifetime_that_the_symbol_does_not_know_is_put_another_way_and_remembered(bench: Bench) -> None:
    held = bench.hold()
    refusing(bench, 10022, 10022)
    receipt = bench.sender.send(bench.actions()["close"], position=held, tag=TAG)
    bench.sender.send(bench.actions()["close"], position=held, tag=TAG)

    requests = bench.terminal.requests
    assert ([request["type_time"] for request in requests], receipt.tries) == ([0, 1, 2, 2], 3)
    assert requests[2]["expiration"] == (NOW + OFFSET) // 1_000 + 86_400


def test_several_faults_of_one_request_are_mended_one_after_the_other(bench: Bench) -> None:
    held = bench.hold()
    refusing(bench, 10030, 10022, 10004)
    receipt = bench.sender.send(bench.actions()["close"], position=held, tag=TAG)

    assert (receipt.outcome, receipt.tries, len(bench.terminal.requests)) == (Outcome.APPLIED, 4, 4)


@pytest.mark.parametrize("code", [code for code in RETCODES if RETCODES[code].reaction is not Reaction.MEND])
def test_what_cannot_be_mended_leaves_once(bench: Bench, code: int) -> None:
    bench.terminal.answer |= {"retcode": code}
    with contextlib.suppress(OutcomeUnknownError):
        send(bench, "close")

    assert len(bench.terminal.requests) == 1


def test_after_an_answer_that_nobody_can_tell_nothing_is_tried_again(bench: Bench) -> None:
    held = bench.hold()
    refusing(bench, 10030, 10012)
    with pytest.raises(OutcomeUnknownError, match="try 2 of this order"):
        bench.sender.send(bench.actions()["close"], position=held, tag=TAG)

    assert len(bench.terminal.requests) == 2


def test_what_was_refused_stays_refused_where_it_cannot_be_put_another_way_now(bench: Bench) -> None:
    held = bench.hold()
    refusing(bench, 10030)
    answered = bench.terminal.on_call["order_send"]

    def lost() -> None:
        answered()
        bench.terminal.silent["symbol_info"] = (-10004, "No IPC connection")

    bench.terminal.on_call["order_send"] = lost
    receipt = bench.sender.send(bench.actions()["close"], position=held, tag=TAG)

    assert (receipt.rejection, receipt.tries) == (Rejection.INVALID_REQUEST, 1)


def test_a_refusal_that_took_long_is_not_tried_again(bench: Bench) -> None:
    held = bench.hold()
    refusing(bench, 10030)
    answered = bench.terminal.on_call["order_send"]

    def slow() -> None:
        answered()
        bench.now = Millis(bench.now + 5_000)

    bench.terminal.on_call["order_send"] = slow
    receipt = bench.sender.send(bench.actions()["close"], position=held, tag=TAG)

    assert (receipt.rejection, len(bench.terminal.requests)) == (Rejection.INVALID_REQUEST, 1)


@pytest.mark.parametrize(("execution", "named"), [(0, True), (1, True), (2, False), (3, False)])
def test_a_price_is_named_only_where_the_execution_knows_one(bench: Bench, execution: int, named: bool) -> None:
    bench.terminal.symbols["EURUSD"]["trade_exemode"] = execution
    held = bench.hold()
    for kind in ("close", "re_add"):
        bench.sender.send(bench.actions()[kind], position=held, tag=TAG)

    prices = [(request.get("price"), request.get("deviation")) for request in bench.terminal.requests]
    assert prices == ([(1.101, 20), (1.1011, 20)] if named else [(None, None)] * 2)


def test_an_order_that_must_name_a_price_waits_for_one(bench: Bench) -> None:
    bench.terminal.symbols["EURUSD"]["trade_exemode"] = 1
    bench.terminal.ticks["EURUSD"] = {"bid": 0.0, "ask": 0.0}

    with pytest.raises(BrokerUnavailableError, match="must name its price"):
        send(bench, "close")
    assert bench.terminal.requests == []


GOAL_MET = {("set_stop", 10025), ("close", 10036), ("unhedge", 10036)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", sorted(RETCODES))
def test_every_retcode_of_every_action_is_what_the_table_says(bench: Bench, kind: str, code: int) -> None:
    bench.terminal.answer |= {"retcode": code, "comment": "as the server says"}
    meaning = RETCODES[code]
    bare = kind == "set_stop"
    unknown = meaning.reaction is Reaction.UNKNOWN or (bare and meaning.reaction is Reaction.PARTIAL)
    if unknown or (
        meaning.rejection is None and meaning.reaction is Reaction.GOAL_MET and (kind, code) not in GOAL_MET
    ):
        with pytest.raises(OutcomeUnknownError, match=f"{TAG} of EURUSD: retcode {code} .*reconcile"):
            send(bench, kind)
        return
    receipt = send(bench, kind)

    assert (receipt.code, receipt.goal_met) == (code, (kind, code) in GOAL_MET)
    if (kind, code) in GOAL_MET or meaning.reaction is Reaction.APPLIED:
        assert (receipt.outcome, receipt.rejection) == (Outcome.APPLIED, None)
    elif meaning.reaction is Reaction.PARTIAL:
        assert (receipt.outcome, receipt.rejection) == (Outcome.PARTIAL, None)
    else:
        assert (receipt.outcome, receipt.rejection) == (Outcome.REJECTED, meaning.rejection)


@pytest.mark.parametrize("code", [0, 1, 10000, 10037, 10047, 99_999])
def test_a_retcode_that_nobody_mapped_is_unknown(bench: Bench, code: int) -> None:
    bench.terminal.answer["retcode"] = code

    with pytest.raises(OutcomeUnknownError, match=f"retcode {code} unmapped"):
        send(bench, "close")


@pytest.mark.parametrize("code", [*sorted(SEND_ERRORS), 1, -77])
def test_no_answer_is_what_last_error_says(bench: Bench, code: int) -> None:
    bench.terminal.silent["order_send"] = (code, "as the terminal says")
    meaning = SEND_ERRORS.get(code)
    if meaning is None or meaning.left:
        with pytest.raises(OutcomeUnknownError, match=rf"last_error {code} \(as the terminal says\).*reconcile"):
            send(bench, "hedge")
    elif meaning.rejection is None:
        with pytest.raises(BrokerUnavailableError, match=rf"last_error {code} \(as the terminal says\).*not sent"):
            send(bench, "hedge")
    else:
        receipt = send(bench, "hedge")
        assert (receipt.outcome, receipt.rejection, receipt.code) == (Outcome.REJECTED, meaning.rejection, code)


@pytest.mark.parametrize("error", [EOFError("gone"), OSError("broken pipe"), TimeoutError("late"), SystemError("c")])
def test_a_bridge_that_raises_while_sending_leaves_it_unknown(bench: Bench, error: Exception) -> None:
    bench.terminal.raising["order_send"] = error

    with pytest.raises(OutcomeUnknownError, match="may have left"):
        send(bench, "hedge")


@pytest.mark.parametrize("code", [-10000, -10001, -10002, -10004])
def test_a_link_that_broke_while_sending_is_opened_anew_before_anything_else(bench: Bench, code: int) -> None:
    bench.terminal.silent["order_send"] = (code, "IPC")
    with pytest.raises((OutcomeUnknownError, BrokerUnavailableError)):
        send(bench, "close")
    bench.terminal.calls.clear()
    bench.broker.positions()

    assert bench.terminal.calls[:2] == ["shutdown", "initialize"]


def test_after_an_exception_or_a_foreign_answer_the_link_is_opened_anew(bench: Bench) -> None:
    opened = []
    for broken in ("exception", "echo"):
        bench.terminal.raising = {"order_send": EOFError("gone")} if broken == "exception" else {}
        bench.terminal.echo = {"comment": "of the order before"} if broken == "echo" else {}
        with pytest.raises(OutcomeUnknownError):
            send(bench, "close")
        bench.terminal.calls.clear()
        bench.broker.positions()
        opened.append(bench.terminal.calls[:2])

    assert opened == [["shutdown", "initialize"]] * 2


@pytest.mark.parametrize(
    "echo",
    [
        {"comment": "of the order before"},
        {"position": 777},
        {"volume": 0.01},
        {"symbol": "XAUUSD"},
        {"action": 6},
        {"magic": 0},
        {"volume": float("nan")},
    ],
)
@pytest.mark.parametrize("code", [10009, 10013, 10036])
def test_an_answer_to_another_request_is_not_credited(bench: Bench, code: int, echo: dict[str, Any]) -> None:
    bench.terminal.answer["retcode"] = code
    bench.terminal.echo = echo

    with pytest.raises(OutcomeUnknownError, match="belongs to another request"):
        send(bench, "close")


def test_a_smaller_volume_than_asked_is_partial_although_the_code_says_done(bench: Bench) -> None:
    bench.terminal.answer["volume"] = 0.05

    receipt = send(bench, "reduce")
    assert (receipt.outcome, receipt.filled, receipt.price) == (Outcome.PARTIAL, 0.05, 1.101)


def test_a_done_without_figures_takes_them_from_the_orders_deals(bench: Bench) -> None:
    bench.terminal.answer |= {"volume": 0.0, "price": 0.0}
    part = {"order": 900, "position_id": 501, "type": 1, "entry": 1, "symbol": "EURUSD"}
    bench.terminal.history = [
        part | {"ticket": 901, "volume": 0.2, "price": 1.1010},
        part | {"ticket": 902, "volume": 0.1, "price": 1.1013},
        part | {"ticket": 903, "volume": 9.0, "price": 2.0, "order": 899},
    ]

    receipt = send(bench, "close")
    assert receipt.outcome is Outcome.APPLIED
    assert receipt.filled == pytest.approx(0.3)
    assert receipt.price == pytest.approx(1.1011)


def test_a_close_by_counts_its_own_deal_and_not_the_opposite_positions(bench: Bench) -> None:
    bench.terminal.answer |= {"volume": 0.0, "price": 0.0}
    half = {"order": 900, "type": 1, "entry": 3, "symbol": "EURUSD", "volume": 0.3, "price": 1.1}
    bench.terminal.history = [half | {"ticket": 901, "position_id": 501}, half | {"ticket": 902, "position_id": 502}]

    receipt = send(bench, "close_by")
    assert (receipt.outcome, receipt.filled) == (Outcome.APPLIED, 0.3)


def test_a_close_by_that_leaves_a_rest_is_partial(bench: Bench) -> None:
    bench.terminal.answer["volume"] = 0.2

    assert send(bench, "close_by").outcome is Outcome.PARTIAL


def test_a_done_without_any_figure_is_unknown(bench: Bench) -> None:
    bench.terminal.answer |= {"volume": 0.0}

    with pytest.raises(OutcomeUnknownError, match="how much cannot be told"):
        send(bench, "close")


def test_a_look_that_fails_after_the_order_never_says_not_sent(bench: Bench) -> None:
    bench.terminal.answer |= {"volume": 0.0}
    bench.terminal.silent["history_deals_get"] = (-10004, "No IPC connection")

    with pytest.raises(OutcomeUnknownError):
        send(bench, "close")


def test_an_opening_carries_ticket_and_identifier_of_its_position(bench: Bench) -> None:
    held = bench.hold()
    bench.terminal.open.append({**bench.terminal.open[0], "ticket": 900, "identifier": 900, "type": 1})
    receipt = bench.sender.send(bench.actions()["hedge"], position=held, tag=TAG)

    assert (receipt.ticket, receipt.position, receipt.order, receipt.deal) == (900, 900, 900, 901)


def test_an_opening_that_the_terminal_does_not_show_yet_is_known_by_its_order(bench: Bench) -> None:
    receipt = send(bench, "hedge")

    assert (receipt.ticket, receipt.position) == (900, 900)


def test_an_opening_without_its_order_is_found_by_its_tag(bench: Bench) -> None:
    held = bench.hold()
    bench.terminal.open.append({**bench.terminal.open[0], "ticket": 950, "identifier": 949, "type": 1, "comment": TAG})
    bench.terminal.answer["order"] = 0
    receipt = bench.sender.send(bench.actions()["hedge"], position=held, tag=TAG)

    assert (receipt.ticket, receipt.position, receipt.order) == (950, 949, None)


def test_an_opening_that_cannot_be_found_is_unknown_rather_than_its_parent(bench: Bench) -> None:
    bench.terminal.answer["order"] = 0

    with pytest.raises(OutcomeUnknownError, match="position cannot be told"):
        send(bench, "hedge")


def test_a_netting_account_keeps_its_one_position_and_its_identifier(bench: Bench) -> None:
    bench.make_netting()
    receipt = send(bench, "re_add", ticket=700)

    assert (receipt.ticket, receipt.position) == (700, 501)


def test_a_hedge_never_leaves_on_a_netting_account(bench: Bench) -> None:
    bench.make_netting()
    receipt = send(bench, "hedge")

    assert (receipt.outcome, receipt.rejection, receipt.code) == (Outcome.REJECTED, Rejection.HEDGE_PROHIBITED, 0)
    assert bench.terminal.requests == []


def test_a_hedge_never_leaves_on_a_fifo_account(bench: Bench) -> None:
    bench.terminal.account["fifo_close"] = True
    receipt = send(bench, "hedge")

    assert (receipt.rejection, bench.terminal.requests) == (Rejection.HEDGE_PROHIBITED, [])


def test_an_opening_on_a_symbol_that_the_broker_does_not_know_does_not_leave(bench: Bench) -> None:
    bench.terminal.symbols.clear()
    receipt = bench.sender.send(bench.actions()["open"], position=None, tag=TAG)

    assert (receipt.rejection, bench.terminal.requests) == (Rejection.INVALID_REQUEST, [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [{"login": 666}, {"server": "Other-Live"}])
def test_nothing_leaves_to_another_account(bench: Bench, kind: str, change: dict[str, Any]) -> None:
    held = bench.hold()
    bench.terminal.account |= change
    position = None if kind == "open" else held
    with pytest.raises(BrokerUnavailableError, match=r"expected is 10000042 on Broker-Live; nothing was sent"):
        bench.sender.send(bench.actions()[kind], position=position, tag=TAG)

    assert bench.terminal.requests == []


def test_nothing_leaves_without_a_connection_to_the_trade_server(bench: Bench) -> None:
    held = bench.hold()
    bench.terminal.terminal["connected"] = False
    with pytest.raises(BrokerUnavailableError, match="no connection"):
        bench.sender.send(bench.actions()["close"], position=held, tag=TAG)

    assert bench.terminal.requests == []


def refused(bench: Bench, action: Action, held: Position) -> Rejection | None:
    receipt = bench.sender.send(action, position=held, tag=TAG)
    assert (receipt.outcome, bench.terminal.requests) == (Outcome.REJECTED, [])
    return receipt.rejection


def test_a_position_of_another_ticket_is_never_touched(bench: Bench) -> None:
    held = bench.hold(ticket=700, identifier=700)

    for kind in ("set_stop", "reduce", "close", "close_by", "hedge", "unhedge", "re_add"):
        assert refused(bench, bench.actions()[kind], held) is Rejection.PRECONDITION


def test_a_ticket_that_changed_is_followed_by_its_identifier(bench: Bench) -> None:
    assert request_of(bench, "close", ticket=700)["position"] == 700


@pytest.mark.parametrize("remaining", [0.105, 0.005, 0.285])
def test_a_part_or_a_rest_off_the_grid_does_not_leave(bench: Bench, remaining: float) -> None:
    action = Reduce(ticket=Ticket(501), remaining=Lots(remaining))

    assert refused(bench, action, bench.hold()) is Rejection.INVALID_VOLUME


@pytest.mark.parametrize("remaining", [0.3, 0.4])
def test_a_volume_that_is_there_already_needs_no_order(bench: Bench, remaining: float) -> None:
    action = Reduce(ticket=Ticket(501), remaining=Lots(remaining))
    receipt = bench.sender.send(action, position=bench.hold(), tag=TAG)

    assert (receipt.outcome, receipt.goal_met, bench.terminal.requests) == (Outcome.APPLIED, True, [])


@pytest.mark.parametrize("kind", ["set_stop", "reduce", "close", "close_by", "hedge", "unhedge", "re_add"])
def test_an_action_on_a_position_needs_its_fresh_read(bench: Bench, kind: str) -> None:
    with pytest.raises(InvariantError, match="needs the fresh read"):
        bench.sender.send(bench.actions()[kind], position=None, tag=TAG)
    assert bench.terminal.requests == []


def test_a_hedge_on_the_parents_own_side_is_our_bug(bench: Bench) -> None:
    wrong = OpenHedge(ticket=Ticket(501), side=Side.BUY, volume=Lots(0.1), stop=Price(1.09), target=None)

    with pytest.raises(InvariantError, match="of the BUY position 501 is a BUY"):
        bench.sender.send(wrong, position=bench.hold(), tag=TAG)
    assert bench.terminal.requests == []


@pytest.mark.parametrize("tag", ["", "x" * 30, "naïve"])
def test_a_tag_that_the_terminal_would_not_keep_is_our_bug(bench: Bench, tag: str) -> None:
    with pytest.raises(InvariantError, match="tag"):
        bench.sender.send(Close(ticket=Ticket(501)), position=bench.hold(), tag=tag)
    assert bench.terminal.requests == []


def test_last_error_is_read_straight_after_the_order(bench: Bench) -> None:
    bench.terminal.silent["order_send"] = (-10004, "No IPC connection")
    stop = SetStop(ticket=Ticket(501), stop=Price(1.095), target=None)
    with pytest.raises(BrokerUnavailableError, match="-10004"):
        bench.sender.send(stop, position=bench.hold(), tag=TAG)

    assert bench.terminal.calls[-1] == "order_send"


@pytest.mark.parametrize("level", [0.0, -0.5, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["stop", "target"])
@pytest.mark.parametrize("kind", ["set_stop", "hedge", "re_add", "open"])
def test_a_level_that_the_terminal_reads_as_none_never_leaves(bench: Bench, kind: str, name: str, level: float) -> None:
    action: Any = replace(bench.actions()[kind], **{name: level})  # type: ignore[arg-type]
    receipt = bench.sender.send(action, position=None if kind == "open" else bench.hold(), tag=TAG)
    assert (receipt.outcome, receipt.rejection) == (Outcome.REJECTED, Rejection.INVALID_STOPS)
    assert (name in receipt.comment, bench.terminal.requests) == (True, [])

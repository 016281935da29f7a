"""The broker in a child process: the same answers, and a true word about every order when the child fails."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.only_posix import os_

from dtms.adapters.worker import faulty
from dtms.adapters.worker.broker import BrokerWorker
from dtms.adapters.worker.faults import KINDS
from dtms.adapters.worker.faulty import NOW, SYMBOL, Fault, FaultyBroker
from dtms.adapters.worker.pin import AccountPin
from dtms.domain.action import OpenTrade, SetStop
from dtms.domain.market import Timeframe
from dtms.domain.receipt import Outcome, Receipt
from dtms.domain.units import Lots, Millis, Price, Side, Ticket
from dtms.errors import (
    BrokerRejectedError,
    BrokerUnavailableError,
    DtmsError,
    InvariantError,
    OutcomeUnknownError,
    SettingsError,
)
from dtms.ports.broker import BrokerReads

if TYPE_CHECKING:
    from tests.worker.conftest import Bench

SHORT_S = 0.5


def everything(reads: BrokerReads) -> tuple[object, ...]:
    return (
        reads.account(),
        reads.instrument(SYMBOL),
        reads.positions(),
        reads.quote(SYMBOL),
        reads.bars(SYMBOL, Timeframe.M15, 3),
        reads.deals(501),
        reads.deals_between(NOW, NOW),
        reads.deals_between(Millis(0), Millis(1)),
    )


def test_the_child_answers_what_the_broker_would(bench: Bench) -> None:
    worker = bench.worker()
    assert everything(worker) == everything(FaultyBroker(str(bench.folder)))
    stop = SetStop(ticket=Ticket(501), stop=Price(1.09), target=None)
    receipt = worker.send(stop, position=faulty.position(), tag="a")
    assert receipt == Receipt(outcome=Outcome.APPLIED, code=10009, position=501, comment="SetStop")
    opening = OpenTrade(symbol=SYMBOL, side=Side.BUY, volume=Lots(0.1), stop=Price(1.09), target=None)
    assert worker.send(opening, position=None, tag="b").comment == "OpenTrade"
    assert bench.orders() == ["a", "b"]
    assert worker.report().starts == 1


def test_a_long_history_arrives_whole(bench: Bench) -> None:
    bars = bench.worker().bars(SYMBOL, Timeframe.M1, 20_000)
    assert bars == FaultyBroker(str(bench.folder)).bars(SYMBOL, Timeframe.M1, 20_000)


def test_a_read_that_hangs_with_the_interpreters_lock_is_killed_and_the_next_one_is_answered(bench: Bench) -> None:
    worker = bench.worker(call_timeout_s=SHORT_S)
    worker.start()
    pidfd = os_.pidfd_open(bench.pid(worker))
    bench.arm("quote", Fault.HANG_BEFORE)
    with pytest.raises(BrokerUnavailableError, match=r"quote: .* did not answer within 0\.5 s and was killed"):
        worker.quote(SYMBOL)
    assert bench.ended(pidfd)
    assert worker.quote(SYMBOL).bid == 1.1
    report = worker.report()
    assert (report.starts, report.failures) == (2, 1)
    assert report.failure == "quote: it did not answer within 0.5 s and was killed"


@pytest.mark.parametrize(("fault", "taken"), [(Fault.HANG_BEFORE, []), (Fault.HANG_AFTER, ["t1"])])
def test_a_send_that_hangs_is_unknown_and_never_sent_again(bench: Bench, fault: Fault, taken: list[str]) -> None:
    worker = bench.worker(call_timeout_s=SHORT_S)
    worker.start()
    bench.arm("send", fault)
    with pytest.raises(OutcomeUnknownError, match=r"close t1: .* was killed; it may have left, reconcile"):
        bench.close(worker)
    assert worker.positions().positions == (faulty.position(),)
    assert bench.orders() == taken
    bench.close(worker, "t2")
    assert bench.orders() == [*taken, "t2"]


@pytest.mark.parametrize(("fault", "taken"), [(Fault.DIE_BEFORE, []), (Fault.DIE_AFTER, ["t1"])])
def test_a_child_that_dies_in_a_send_leaves_the_outcome_unknown(bench: Bench, fault: Fault, taken: list[str]) -> None:
    worker = bench.worker()
    worker.start()
    bench.arm("send", fault)
    with pytest.raises(OutcomeUnknownError, match="it ended instead of answering, exit code 9; it may have left"):
        bench.close(worker)
    worker.account()
    assert bench.orders() == taken


def test_a_child_that_dies_in_a_read_makes_it_unavailable(bench: Bench) -> None:
    worker = bench.worker()
    bench.arm("deals", Fault.DIE_BEFORE)
    with pytest.raises(BrokerUnavailableError, match=r"deals: .* exit code 9"):
        worker.deals(501)
    assert worker.deals(501) == (faulty.deal(501),)


def test_a_child_that_died_while_nobody_asked_is_replaced_before_the_order_leaves(bench: Bench) -> None:
    worker = bench.worker()
    worker.start()
    bench.kill(worker)
    assert bench.close(worker).outcome is Outcome.APPLIED
    assert bench.orders() == ["t1"]
    assert worker.report().starts == 2


def test_an_answer_that_cannot_be_written_is_no_answer(bench: Bench) -> None:
    worker = bench.worker()
    bench.arm("quote", Fault.NOT_ENCODABLE)
    with pytest.raises(BrokerUnavailableError, match="object has no place in an answer of a broker"):
        worker.quote(SYMBOL)
    bench.arm("send", Fault.NOT_ENCODABLE)
    with pytest.raises(OutcomeUnknownError, match="it may have left, reconcile"):
        bench.close(worker)
    assert bench.orders() == ["t1"]


def test_a_foreign_error_tells_nothing_in_a_read_and_leaves_a_send_unknown(bench: Bench) -> None:
    worker = bench.worker()
    bench.arm("quote", Fault.FOREIGN_ERROR)
    with pytest.raises(BrokerUnavailableError, match="ZeroDivisionError: a bug of the library"):
        worker.quote(SYMBOL)
    bench.arm("send", Fault.FOREIGN_ERROR)
    with pytest.raises(OutcomeUnknownError, match="ZeroDivisionError: a bug of the library; it may have left"):
        bench.close(worker)
    assert bench.orders() == []
    assert worker.report().starts == 1
    assert bench.log.read_text().count("ZeroDivisionError: a bug of the library") == 2


def test_our_own_errors_pass_and_a_send_keeps_those_that_say_whether_it_left(bench: Bench) -> None:
    worker = bench.worker()
    said: dict[str, type[DtmsError]] = {}
    for name, kind in KINDS.items():
        bench.arm("quote", kind)
        with pytest.raises(kind) as read:
            worker.quote(SYMBOL)
        assert type(read.value) is kind
        bench.arm("send", kind)
        with pytest.raises(DtmsError) as sent:
            bench.close(worker)
        said[name] = type(sent.value)
    kept = (BrokerUnavailableError, OutcomeUnknownError, BrokerRejectedError, InvariantError)
    assert said == {name: kind if issubclass(kind, kept) else OutcomeUnknownError for name, kind in KINDS.items()}
    assert bench.orders() == []
    assert worker.report().starts == 1


def test_a_rejection_keeps_its_word_and_its_code(bench: Bench) -> None:
    worker = bench.worker()
    bench.arm("send", BrokerRejectedError)
    with pytest.raises(BrokerRejectedError) as sent:
        bench.close(worker)
    assert (sent.value.rejection, sent.value.code) == ("frozen", 10029)


def test_a_broker_that_cannot_send_sends_nothing(bench: Bench) -> None:
    worker = bench.worker(args={"folder": str(bench.folder), "can_send": False})
    with pytest.raises(BrokerUnavailableError, match="has no send; nothing was sent"):
        bench.close(worker)
    assert worker.quote(SYMBOL).bid == 1.1
    assert bench.orders() == []


def test_an_order_that_cannot_be_written_never_leaves(bench: Bench) -> None:
    worker = bench.worker()
    too_big = SetStop(ticket=Ticket(2**64), stop=Price(1.0), target=None)
    with pytest.raises(InvariantError, match=r"set_stop t1: the order cannot be written .* nothing was sent"):
        worker.send(too_big, position=None, tag="t1")
    with pytest.raises(InvariantError, match="deals"):
        worker.deals(2**64)
    with pytest.raises(InvariantError, match="at most 67108864 are allowed"):
        worker.quote("x" * 70_000_000)
    assert bench.orders() == []
    assert worker.quote(SYMBOL).bid == 1.1


@pytest.mark.parametrize(
    ("factory", "args", "why"),
    [
        ("nowhere.at_all:make", {}, "'nowhere.at_all:make' cannot be imported"),
        ("dtms.adapters.worker.faulty:no_such", {}, "has no attribute 'no_such'"),
    ],
)
def test_a_factory_that_is_none_stops_the_start_and_sends_nothing(
    bench: Bench, factory: str, args: dict[str, str], why: str
) -> None:
    worker = bench.worker(factory, args=args)
    with pytest.raises(SettingsError, match=why):
        worker.start()
    with pytest.raises(BrokerUnavailableError, match=f"{why}.* it was not sent"):
        bench.close(worker)
    bench.now_ns += 10**12
    with pytest.raises(BrokerUnavailableError, match="not ready"):
        worker.quote(SYMBOL)


def test_a_factory_that_fails_makes_the_broker_unavailable(bench: Bench) -> None:
    with pytest.raises(BrokerUnavailableError, match=r"factory failed .* with TypeError"):
        bench.worker(args={"no_such_argument": 1}).start()
    with pytest.raises(SettingsError, match="write it as module:function"):
        bench.worker("dtms.adapters.worker.faulty")


@pytest.mark.parametrize("limit_s", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["call", "start", "turn"])
def test_a_limit_that_never_comes_is_refused(bench: Bench, name: str, limit_s: float) -> None:
    options: dict[str, Any] = {f"{name}_timeout_s": limit_s}
    with pytest.raises(SettingsError, match=f"{name}_timeout_s is {limit_s}"):
        bench.worker(**options)


def test_restarts_pause_longer_each_time_up_to_a_bound(bench: Bench) -> None:
    worker = bench.worker(command=["/nonexistent/interpreter"])
    for pause_ms in (0, 250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000):
        with pytest.raises(BrokerUnavailableError, match="did not start: it cannot be started"):
            worker.account()
        bench.now_ns += max(0, pause_ms * 1_000_000 - 1)
        if pause_ms > 0:
            with pytest.raises(BrokerUnavailableError, match=r"times in a row .* started again in"):
                worker.account()
            bench.now_ns += 1
    assert worker.report().starts == 9


def test_an_answer_in_between_makes_the_next_failure_the_first_in_a_row(bench: Bench) -> None:
    worker = bench.worker()
    for starts in (1, 2, 3):
        assert worker.quote(SYMBOL).bid == 1.1
        assert worker.report().starts == starts
        bench.arm("quote", Fault.DIE_BEFORE)
        with pytest.raises(BrokerUnavailableError, match="exit code 9"):
            worker.quote(SYMBOL)


def test_a_child_that_fails_at_once_after_each_start_is_paused(bench: Bench) -> None:
    worker = bench.worker()
    for _ in range(2):
        bench.arm("quote", Fault.DIE_BEFORE)
        with pytest.raises(BrokerUnavailableError, match="exit code 9"):
            worker.quote(SYMBOL)
    with pytest.raises(BrokerUnavailableError, match=r"failed 2 times in a row .* started again in 0\.25 s"):
        worker.quote(SYMBOL)


def test_a_new_child_on_another_account_is_refused_before_anything_is_sent(bench: Bench) -> None:
    worker = bench.worker()
    account = worker.start()
    bench.kill(worker)
    bench.arm("account", Fault.ANOTHER_ACCOUNT)
    refusal = f"logged in to Faulty-Demo:{account.login + 1}, expected is {account.key}"
    with pytest.raises(BrokerUnavailableError, match=f"{refusal}.* it was not sent"):
        bench.close(worker)
    assert bench.orders() == []
    bench.now_ns += 10**9
    assert worker.account() == account
    bench.arm("account", Fault.ANOTHER_ACCOUNT)
    with pytest.raises(BrokerUnavailableError, match=refusal):
        worker.account()


def test_two_workers_of_one_account_agree_on_it(bench: Bench) -> None:
    pin = AccountPin()
    hand, eyes = bench.worker(pin=pin), bench.worker(pin=pin)
    hand.start()
    bench.arm("account", Fault.ANOTHER_ACCOUNT)
    with pytest.raises(BrokerUnavailableError, match="expected is Faulty-Demo:10000042"):
        eyes.quote(SYMBOL)
    with pytest.raises(BrokerUnavailableError, match="expected is Broker-Live:7"):
        bench.worker(pin=AccountPin("Broker-Live:7")).start()


def test_the_token_of_reads_goes_on_growing_in_a_new_child(bench: Bench) -> None:
    worker = bench.worker()
    assert [worker.positions().token for _ in range(2)] == [1, 2]
    bench.kill(worker)
    assert [worker.positions().token for _ in range(2)] == [3, 4]


def test_a_read_waits_no_longer_than_its_turn_behind_a_hanging_send_and_a_second_worker_not_at_all(
    bench: Bench,
) -> None:
    pin = AccountPin()
    hand, eyes = bench.worker(pin=pin, turn_timeout_s=0.05), bench.worker(pin=pin)
    hand.start()
    reached = bench.announce()
    bench.arm("send", Fault.HANG_AFTER)
    sent = bench.call(lambda: bench.close(hand))
    assert reached() == "hang_after"
    with pytest.raises(BrokerUnavailableError, match=r"busy for 0\.05 s, nothing was sent"):
        hand.quote(SYMBOL)
    assert eyes.quote(SYMBOL).bid == 1.1
    bench.kill(hand)
    with pytest.raises(OutcomeUnknownError, match="exit code -9; it may have left, reconcile"):
        sent.result()
    assert bench.orders() == ["t1"]


def test_threads_share_a_worker_without_mixing_their_answers(bench: Bench) -> None:
    worker = bench.worker()
    names = [f"SYM{number}" for number in range(8)]
    calls = [bench.call(lambda name=name: {worker.quote(name).symbol for _ in range(25)}) for name in names]  # type: ignore[misc]
    assert [call.result() for call in calls] == [{name} for name in names]
    assert worker.report().starts == 1


def test_what_the_library_prints_goes_to_the_log(bench: Bench) -> None:
    worker = bench.worker()
    worker.start()
    assert bench.log.read_text() == "the library says hello\n"
    assert bench.log.stat().st_mode & 0o777 == 0o600


def test_a_large_log_is_put_aside_and_one_that_cannot_be_written_costs_nothing_else(bench: Bench) -> None:
    bench.log.write_bytes(b"x" * 1_048_577)
    bench.worker().start()
    assert bench.log.read_text() == "the library says hello\n"
    assert (bench.folder / "log.1").stat().st_size == 1_048_577
    assert bench.worker(log=bench.folder).start().login == 10_000_042


def test_the_arguments_are_not_on_the_command_line(bench: Bench) -> None:
    worker = bench.worker()
    worker.start()
    place = Path(f"/proc/{bench.pid(worker)}")
    secret = str(bench.folder).encode()
    assert secret not in (place / "cmdline").read_bytes()
    assert secret not in (place / "environ").read_bytes()


def test_a_signal_for_the_whole_service_does_not_end_the_child(bench: Bench) -> None:
    worker = bench.worker()
    worker.start()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(bench.pid(worker), number)
    assert worker.quote(SYMBOL).bid == 1.1
    assert worker.report().starts == 1


def test_a_closed_worker_leaves_no_child_and_asks_nothing(bench: Bench) -> None:
    worker = bench.worker()
    worker.start()
    pidfd = os_.pidfd_open(bench.pid(worker))
    worker.close()
    assert bench.ended(pidfd)
    with pytest.raises(BrokerUnavailableError, match=r"the broker's worker is closed.* it was not sent"):
        bench.close(worker)
    assert bench.orders() == []
    worker.close()


def test_closing_does_not_wait_for_a_hang_longer_than_a_call_may_take(bench: Bench) -> None:
    worker = bench.worker(call_timeout_s=SHORT_S)
    worker.start()
    reached = bench.announce()
    bench.arm("send", Fault.HANG_BEFORE)
    sent = bench.call(lambda: bench.close(worker))
    assert reached() == "hang_before"
    worker.close()
    with pytest.raises(OutcomeUnknownError, match="it may have left"):
        sent.result()


def test_a_worker_is_named_by_its_factory_only(bench: Bench) -> None:
    assert str(bench.folder) not in repr(BrokerWorker(faulty.FACTORY, {"folder": str(bench.folder)}, now_ns=lambda: 0))

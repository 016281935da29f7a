"""A child that breaks the agreement: its answers are credited to nobody, and it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.only_posix import os_, signal_

from dtms.adapters.worker import faulty
from dtms.adapters.worker.broker import BrokerWorker
from dtms.adapters.worker.faulty import SYMBOL, Fault
from dtms.adapters.worker.frames import SETUP, Request, Setup, encode, frame_of
from dtms.adapters.worker.process import ChildProcess, NoAnswerError, NotDeliveredError
from dtms.adapters.worker.turns import Turns
from dtms.errors import BrokerUnavailableError, OutcomeUnknownError

if TYPE_CHECKING:
    from tests.worker.conftest import Bench

_BROKEN = """
import os, signal, sys
import msgspec
from dtms.adapters.worker import child
from dtms.adapters.worker.frames import *
how = sys.argv[1]
source, sink = child._private_pipes()
broker = child.build(read_setup(read_frame(source)))
nothing = msgspec.Raw(encode(None))
write_frame(sink, frame_of(Reply(SETUP, None, nothing)))
while (body := read_frame(source)) is not None:
    request = read_request(body)
    frame = child._answer(broker, request)
    if how == "deaf":
        os.close(source)
        write_frame(sink, frame)
        signal.pause()
    if request.method in ("quote", "send"):
        late = frame_of(Reply(request.number - 1, None, nothing))
        frame = {
            "late": late,
            "twice": frame + frame,
            "garbage": (1).to_bytes(4, "big") + bytes([0xC1]),
            "endless": b"\\xff" * 4,
            "half": frame[:-1],
            "wrong_value": frame_of(Reply(request.number, None, msgspec.Raw(encode({"outcome": "maybe"})))),
        }[how]
    write_frame(sink, frame)
    if how == "half" and request.method in ("quote", "send"):
        sys.exit(0)
"""

_OWN = (sys.executable, "-m", "dtms.adapters.worker.child", str(os.getpid()))


def broken(bench: Bench, how: str) -> BrokerWorker:
    return bench.worker(command=[sys.executable, "-c", _BROKEN, how])


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("late", "it answered request 1 when asked 2"),
        ("garbage", "its answer is broken"),
        ("endless", "a frame of 4294967295 bytes"),
        ("half", "the stream ended after"),
        ("wrong_value", "cannot be read"),
    ],
)
def test_a_broken_answer_leaves_a_send_unknown_and_tells_a_reader_nothing(bench: Bench, how: str, why: str) -> None:
    worker = broken(bench, how)
    with pytest.raises(OutcomeUnknownError, match=f"close t1: .*{why}.* reconcile"):
        bench.close(worker)
    assert bench.orders() == ["t1"]
    with pytest.raises(BrokerUnavailableError, match="quote: "):
        worker.quote(SYMBOL)
    assert (worker.report().starts, worker.report().failures) == (2, 2)


def test_an_answer_that_came_twice_is_not_credited_to_the_next_order(bench: Bench) -> None:
    worker = broken(bench, "twice")
    bench.close(worker, "t1")
    with pytest.raises(OutcomeUnknownError, match=r"close t2: .* it answered request 2 when asked 3"):
        bench.close(worker, "t2")
    assert bench.orders() in (["t1"], ["t1", "t2"])


def test_a_child_that_never_had_the_order_did_not_send_it(bench: Bench) -> None:
    worker = broken(bench, "deaf")
    with pytest.raises(BrokerUnavailableError, match=r"close t1: .* it takes no request .*; it was not sent"):
        bench.close(worker)
    assert bench.orders() == []


def test_a_child_that_says_nothing_at_its_start_is_killed(bench: Bench) -> None:
    script = "import signal; signal.pause()"
    worker = bench.worker(command=[sys.executable, "-c", script], start_timeout_s=0.2)
    with pytest.raises(BrokerUnavailableError, match=r"did not start: it did not answer within 0\.2 s and was killed"):
        worker.start()


def started(bench: Bench) -> ChildProcess:
    child = ChildProcess(_OWN, log=bench.log)
    child.exchange(SETUP, frame_of(Setup(faulty.FACTORY, {"folder": str(bench.folder)})), 20.0)
    return child


def quote(number: int, limit_s: float) -> bytes:
    return frame_of(Request(number, "quote", limit_s, msgspec.Raw(encode((SYMBOL,)))))


def test_a_child_whose_parent_does_not_kill_it_ends_its_hang_itself_and_leaves_the_stack(bench: Bench) -> None:
    child = started(bench)
    bench.arm("quote", Fault.HANG_BEFORE)
    with pytest.raises(NoAnswerError, match="it ended instead of answering, exit code 1"):
        child.exchange(1, quote(1, 0.01), 20.0)
    child.close()
    log = bench.log.read_text()
    assert "Timeout (0:00:01" in log
    assert "in hang" in log


def test_a_child_that_was_killed_takes_nothing_any_more(bench: Bench) -> None:
    child = started(bench)
    child.kill()
    child.close()
    assert child.has_ended
    with pytest.raises(NotDeliveredError, match="it has ended"):
        child.exchange(1, quote(1, 1.0), 20.0)


def test_an_asker_who_is_interrupted_leaves_no_answer_for_the_next_one(bench: Bench) -> None:
    child = started(bench)
    bench.arm("quote", Fault.HANG_BEFORE)
    previous = signal.signal(signal_.SIGALRM, _interrupt)
    try:
        signal_.setitimer(signal_.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            child.exchange(1, quote(1, 20.0), 20.0)
    finally:
        signal.signal(signal_.SIGALRM, previous)
    child.close()
    assert child.has_ended


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


_PARENT = """
import sys, time
from dtms.adapters.worker import faulty
from dtms.adapters.worker.broker import BrokerWorker
worker = BrokerWorker(faulty.FACTORY, {"folder": sys.argv[1]}, now_ns=time.monotonic_ns, call_timeout_s=600.0)
worker.start()
print(worker.report().pid, flush=True)
worker.quote("EURUSD")
"""


@pytest.mark.posix  # the kernel ends it; elsewhere the limit of its own call does
def test_a_hanging_child_does_not_outlive_its_parent(bench: Bench) -> None:
    reached = bench.announce()
    bench.arm("quote", Fault.HANG_BEFORE)
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(bench.folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout is not None
    pidfd = os_.pidfd_open(int(next(line for line in parent.stdout if line.strip().isdigit())))
    assert reached() == "hang_before"
    parent.kill()
    parent.communicate()
    assert bench.ended(pidfd)


def test_a_child_outlives_the_thread_that_first_asked(bench: Bench) -> None:
    worker = bench.worker()
    bench.call(worker.start).result()
    pidfd = os_.pidfd_open(bench.pid(worker))
    assert not bench.ended(pidfd, 0.1)
    assert worker.quote(SYMBOL).bid == 1.1
    assert worker.report().starts == 1


def test_an_order_goes_before_every_read_that_waits(bench: Bench) -> None:
    turns = Turns()
    done: list[str] = []

    def order() -> None:
        with turns.take(20.0, order=True):
            done.append("order")

    with turns.take(20.0, order=False):
        waiting = bench.call(order)
        while turns._orders_waiting == 0:
            pass
    with turns.take(20.0, order=False):
        done.append("read")
    waiting.result()
    assert done == ["order", "read"]


def test_an_order_that_gave_up_lets_the_reads_go_on() -> None:
    turns = Turns()
    with turns.take(20.0, order=False), pytest.raises(BrokerUnavailableError, match=r"busy for 0\.01 s"):
        turns.take(0.01, order=True).__enter__()
    with turns.take(0.01, order=False):
        pass

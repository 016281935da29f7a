"""Several writers at once: threads of one process, two ledgers over one database, processes that race or die."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dtms.adapters.sql import SqlLedger
from dtms.adapters.sql.writers import WriterQueue
from dtms.domain.action import Reduce
from dtms.domain.intent import Intent, IntentState
from dtms.domain.records import EventKind
from dtms.domain.trade import Trade
from dtms.domain.units import Lots, Millis, Ticket
from dtms.errors import LedgerUnavailableError, StaleWriteError

MakeTrade = Callable[..., Trade]
MakeIntent = Callable[..., Intent]
Opener = Callable[..., SqlLedger]

CLAIM_ALL = """
import sys
from dtms.adapters.sql import open_ledger
ledger = open_ledger(sys.argv[1], account=sys.argv[2], clock=lambda: 0)
print("ready", flush=True)
sys.stdin.readline()
with ledger.read() as read:
    planned = read.planned(limit=1_000)
for intent in planned:
    with ledger.write() as write:
        if write.claim(intent, epoch=1, now=9) is not None:
            print(intent.intent_id, flush=True)
ledger.close()
"""

CLAIM_THEN_HANG = """
import sys
from dataclasses import replace
from dtms.adapters.sql import open_ledger
from dtms.domain.intent import IntentState
ledger = open_ledger(sys.argv[1], account=sys.argv[2], clock=lambda: 0)
with ledger.read() as read:
    first, second = read.planned()
with ledger.write() as write:
    write.claim(first, epoch=1, now=9)
with ledger.write() as write:
    write.claim(second, epoch=1, now=9)
    write.save_trade(replace(write.trade(1), volume=0.1, version=2))
    write.set_fact("half", "done")
    print("inside", flush=True)
    sys.stdin.readline()
"""


def start(script: str, url: str, account: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, url, account], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_of_two_decisions_on_one_read_only_the_first_is_written(
    shared_url: str, opened: Opener, make_trade: MakeTrade
) -> None:
    one, two = opened(shared_url), opened(shared_url)
    with one.write() as write:
        write.add_trade(make_trade(1))
    together = threading.Barrier(2)

    def decide(ledger: SqlLedger, volume: float) -> str:
        with ledger.read() as read:
            trade = read.trade(Ticket(1))
        assert trade is not None
        together.wait()
        try:
            with ledger.write() as write:
                write.save_trade(replace(trade, volume=Lots(volume), version=trade.version + 1))
        except StaleWriteError:
            return "stale"
        return f"{volume}"

    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            answers = list(pool.map(decide, (one, two), (0.1, 0.2)))
            assert sorted(answers)[1] == "stale"
            with one.read() as read:
                trade = read.trade(Ticket(1))
            assert trade is not None
            assert f"{trade.volume}" == min(answers)


def test_threads_never_claim_an_intent_twice(ledger: SqlLedger, make_intent: MakeIntent) -> None:
    with ledger.write() as write:
        for number in range(20):
            write.add_intent(make_intent(number, position=number))
    together = threading.Barrier(4)

    def claim_all(_: int) -> list[str]:
        together.wait()
        mine = []
        with ledger.read() as read:
            planned = read.planned()
        for intent in planned:
            with ledger.write() as write:
                if write.claim(intent, epoch=1, now=Millis(9)) is not None:
                    mine.append(intent.intent_id)
        return mine

    with ThreadPoolExecutor(4) as pool:
        claimed = [key for keys in pool.map(claim_all, range(4)) for key in keys]
    assert sorted(claimed) == sorted(make_intent(number).intent_id for number in range(20))


def test_processes_never_claim_an_intent_twice(
    shared_url: str, account: str, opened: Opener, make_intent: MakeIntent
) -> None:
    ledger = opened(shared_url)
    with ledger.write() as write:
        for number in range(40):
            write.add_intent(make_intent(number, position=number))
    children = [start(CLAIM_ALL, shared_url, account) for _ in range(3)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    claimed = [line for line in _answers(children) if line]
    assert sorted(claimed) == sorted(make_intent(number).intent_id for number in range(40))
    with ledger.read() as read:
        assert {i.state for i in read.unfinished()} == {IntentState.SENDING}


def _answers(children: list[subprocess.Popen[str]]) -> list[str]:
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    return [line for child in children for line in child.communicate(timeout=60)[0].splitlines()]


def test_one_resource_of_a_position_is_claimed_once_by_racing_threads(
    shared_url: str, opened: Opener, make_intent: MakeIntent
) -> None:
    ledgers = [opened(shared_url) for _ in range(3)]
    reduce = Reduce(ticket=Ticket(1), remaining=Lots(0.2))
    intents = [make_intent(number, reduce) for number in range(3)]
    with ledgers[0].write() as write:
        for intent in intents:
            write.add_intent(intent)
    together = threading.Barrier(3)

    def claim(ledger: SqlLedger, intent: Intent) -> bool:
        together.wait()
        with ledger.write() as write:
            return write.claim(intent, epoch=1, now=Millis(9)) is not None

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(claim, ledgers, intents)) == [False, False, True]


def test_events_of_concurrent_writers_have_no_gap_and_no_double(shared_url: str, opened: Opener) -> None:
    ledgers = [opened(shared_url) for _ in range(3)]

    def add(ledger: SqlLedger) -> list[int]:
        seqs = []
        for _ in range(15):
            with ledger.write() as write:
                seqs.append(write.add_event(EventKind.ACTION, None, Millis(1), "{}"))
        return seqs

    with ThreadPoolExecutor(3) as pool:
        seqs = [seq for found in pool.map(add, ledgers) for seq in found]
    assert sorted(seqs) == list(range(1, 46))
    assert [ledger.revision() for ledger in ledgers] == [45, 45, 45]


def test_a_read_sees_one_instant_while_others_write(shared_url: str, opened: Opener) -> None:
    reader, writer = opened(shared_url), opened(shared_url)
    with reader.read() as read:
        assert read.fact("x") is None
        with ThreadPoolExecutor(1) as pool:
            pool.submit(_set_fact, writer).result()
        assert read.fact("x") is None
        assert read.meta().revision == 0
    with reader.read() as read:
        assert read.fact("x") == "y"


def _set_fact(ledger: SqlLedger) -> None:
    with ledger.write() as write:
        write.set_fact("x", "y")


def test_a_killed_writer_leaves_what_was_committed_and_nothing_of_the_rest(
    shared_url: str, account: str, opened: Opener, make_trade: MakeTrade, make_intent: MakeIntent
) -> None:
    ledger = opened(shared_url)
    first, second = make_intent(1, position=1), make_intent(2, position=2)
    with ledger.write() as write:
        write.add_trade(make_trade(1))
        write.add_intent(first)
        write.add_intent(second)
    ledger.close()
    child = start(CLAIM_THEN_HANG, shared_url, account)
    assert child.stdout is not None
    assert child.stdout.readline() == "inside\n"
    child.kill()
    child.communicate(timeout=60)
    ledger = opened(shared_url, create=False)
    with ledger.write() as write:
        claimed = write.intent(first.intent_id)
        assert claimed is not None
        assert claimed.state is IntentState.SENDING
        assert write.intent(second.intent_id) == second
        assert write.trade(Ticket(1)) == make_trade(1)
        assert write.fact("half") is None
        write.set_fact("after", "alive")
    assert ledger.revision() == 3


def test_a_writer_keeps_out_even_those_who_do_not_queue(tmp_path: Path, opened: Opener) -> None:
    ledger = opened(f"sqlite:///{tmp_path}/ledger.sqlite3")
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", timeout=0, isolation_level=None)) as stranger:
        with ledger.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
            stranger.execute("BEGIN IMMEDIATE")
        stranger.execute("BEGIN IMMEDIATE")


def test_a_writer_waits_no_longer_than_its_limit_and_comes_back_to_its_place(tmp_path: Path) -> None:
    first, second = WriterQueue(tmp_path / "lock", 5.0), WriterQueue(tmp_path / "lock", 0.02)
    first.acquire()
    for _ in range(2):
        with pytest.raises(LedgerUnavailableError, match=r"another process has been writing for 0\.02 s"):
            second.acquire()
    first.release()
    second_again = WriterQueue(tmp_path / "lock", 5.0)
    # Whoever gave up does not keep the lock that came too late.
    second_again.acquire()
    second_again.release()
    patient = WriterQueue(tmp_path / "lock", 5.0)
    patient.acquire()
    patient.release()
    for queue in (first, second_again, patient):
        queue.close()

"""Transactions that a PostgreSQL server itself ends in a conflict: the block runs again, and nothing is done twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from tests.app.rig import Rig
from tests.ledger.choice import CHOSEN

from dtms.adapters.sql import SqlLedger, open_ledger, verify_chain
from dtms.domain.records import EventKind
from dtms.domain.trade import Trade
from dtms.domain.units import Lots, Millis
from dtms.errors import StaleWriteError
from dtms.settings import load_policy
from dtms_lab.simulate import run as simulate
from dtms_lab.simulate import wire
from dtms_lab.simulate.entries import Every
from dtms_lab.simulate.run import findings, make_run
from dtms_lab.simulate.tapes import cut
from dtms_lab.tapes.weather import make_tape
from dtms_lab.terminal.recorder import AppliedKind

ACCOUNT = "DTMS-Simulated:10000042"
FALL = Millis(1_715_622_600_000)
BARS = 120
CODES = ("40001", "40P01", "23505")
"""Serialization failure, deadlock, unique violation: in turn."""


@contextmanager
def every_nth_commit_lost(url: str, nth: int) -> Iterator[Callable[[], int]]:
    """Let the server end every nth writing transaction with an error of its own, at its last statement.

    A sequence counts, for it is not rolled back: who runs the block again has another number.
    """
    make = f"""
        CREATE SEQUENCE tries;
        CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE number bigint := nextval('tries');
        BEGIN
            IF number % {nth} = 0 THEN
                RAISE EXCEPTION 'lost to a concurrent transaction'
                    USING ERRCODE = (ARRAY['{"','".join(CODES)}'])[1 + number / {nth} % {len(CODES)}];
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER lose BEFORE UPDATE ON meta FOR EACH ROW EXECUTE FUNCTION lose();
    """
    drop = "DROP TRIGGER lose ON meta; DROP FUNCTION lose; DROP SEQUENCE tries"
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(make.encode())

        def lost() -> int:
            row = admin.execute("SELECT last_value FROM tries").fetchone()
            assert row is not None
            return int(row[0]) // nth

        try:
            yield lost
        finally:
            admin.execute(drop.encode())


def ask_again(ask: Callable[..., tuple[int, dict[str, Any]]], *asked: Any) -> tuple[int, dict[str, Any]]:
    """What a client does that is told that somebody wrote first."""
    for _ in range(20):
        status, answer = ask(*asked)
        if answer.get("code") != "stale_write":
            break
    return status, answer


def test_a_system_whose_commits_are_lost_now_and_then_does_what_an_undisturbed_one_does(
    emptied_postgres: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = run("sqlite://")
    ask = wire.ask
    monkeypatch.setattr(simulate, "ask", lambda *asked: ask_again(ask, *asked))
    url = emptied_postgres(ACCOUNT)
    with every_nth_commit_lost(url, 5) as lost:
        disturbed = run(url)
        assert lost() >= 20
    assert disturbed == calm


def run(url: str) -> tuple[object, ...]:
    """Return what a piece of tape left behind, by trade: the broker's operations, the rows, and how each intent ended.

    Without instants and prices: whoever lost decides again at the next quote.
    """
    tape = cut(make_tape(1, 6), start=FALL, bars=BARS)
    made = make_run(tape, policies=load_policy(), signals=Every(15, 8.0), start=FALL, ledger_url=url)
    made.run()
    found = findings(made)
    ledger = made.world.ledger
    assert isinstance(ledger, SqlLedger)
    verify_chain(ledger)
    ledger.close()
    assert found.violations == ()
    operations = (e for e in made.world.oracle.entries if e.kind is not AppliedKind.POSITION)
    applied = sorted((e.identifier, e.kind.value, e.volume) for e in operations)
    rows = sorted((t.ticket, t.version, t.row) for t in found.transitions)
    ends = sorted((i.trade_id, i.kind.value, i.step, i.state.value) for i in found.intents)
    return applied, rows, ends


def test_a_deadlock_with_a_persons_query_is_a_lost_race_and_the_next_pass_goes_on() -> None:
    rig = Rig()
    trade = rig.managed()
    ledger = rig.ledger
    assert isinstance(ledger, SqlLedger)
    holding, waiting = threading.Event(), threading.Event()

    def person() -> str:
        with psycopg.connect(CHOSEN.url_of_last().replace("+psycopg", "")) as session:
            session.execute("SET deadlock_timeout = '10s'")
            session.execute("SELECT * FROM trades WHERE trade_id = %s FOR UPDATE", (trade.trade_id,))
            holding.set()
            assert waiting.wait(10)
            session.execute("SELECT * FROM meta FOR UPDATE")
            session.rollback()
        return "done"

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(person)
        assert holding.wait(10)
        with pytest.raises(StaleWriteError, match=r"deadlock detected .*; somebody wrote first"):
            _meet(ledger, trade, waiting)
        assert asked.result(20) == "done"
    with ledger.write() as tx:
        assert tx.fact("half") is None
        assert tx.trade(trade.ticket) == trade
        tx.save_trade(replace(trade, volume=Lots(0.5), version=trade.version + 1))
    assert rig.trade(trade.ticket).volume == 0.5


def _meet(ledger: SqlLedger, trade: Trade, waiting: threading.Event) -> None:
    """Write what the other session holds while it waits for what this one holds."""
    with ledger.write() as tx:
        waiting.set()
        tx.set_fact("half", "done")
        _until_waited_for(CHOSEN.url_of_last())
        tx.save_trade(replace(trade, volume=Lots(0.5), version=trade.version + 1))


def _until_waited_for(url: str) -> None:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as admin:
        for _ in range(2_000):
            row = admin.execute(sql).fetchone()
            if row is not None and row[0] > 0:
                return
    msg = "the other session never waited"
    raise AssertionError(msg)


def test_writers_who_decide_on_an_earlier_read_lose_often_and_lose_nothing() -> None:
    rig_trade = Rig().managed()
    ledgers = [open_ledger(CHOSEN.url_of_last(), account=ACCOUNT, clock=lambda: Millis(0)) for _ in range(3)]

    def add_up(ledger: SqlLedger) -> int:
        lost = 0
        for _ in range(10):
            while True:
                with ledger.read() as read:
                    trade = read.trade(rig_trade.ticket)
                assert trade is not None
                try:
                    with ledger.write() as write:
                        write.save_trade(replace(trade, version=trade.version + 1))
                        write.add_event(EventKind.ACTION, trade.ticket, Millis(1), "{}")
                    break
                except StaleWriteError:
                    lost += 1
        return lost

    with ThreadPoolExecutor(3) as pool:
        lost = sum(pool.map(add_up, ledgers))
    with ledgers[0].read() as read:
        after = read.trade(rig_trade.ticket)
        events = [e for e in read.events_since(0) if e.body == "{}"]
    assert after is not None
    assert after.version - rig_trade.version == 30
    assert len(events) == 30
    assert lost > 0
    for ledger in ledgers:
        ledger.close()

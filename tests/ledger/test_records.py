"""The contract for everything beside trades and intents, on every kind of ledger."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from dtms.adapters.sql import SqlLedger
from dtms.domain.position import Deal, DealEntry, DealReason
from dtms.domain.records import EventKind, OutboxKind, Reply, StopRecord, TransitionRecord
from dtms.domain.rules import StopOrigin
from dtms.domain.trade import Trade, TradeState
from dtms.domain.units import DAY, Millis, Side, Ticket, TradeId
from dtms.errors import InvalidDataError, InvariantError, LedgerUnavailableError, StaleWriteError

MakeTrade = Callable[..., Trade]
ONE = TradeId("1")


def transition(version: int, trade_id: TradeId = ONE) -> TransitionRecord:
    return TransitionRecord(
        trade_id=trade_id,
        ticket=Ticket(1),
        row="healthy_to_l1",
        source=TradeState.HEALTHY,
        target=TradeState.WARNING_L1,
        decision_id=f"d{version}",
        decided_at=Millis(5),
        committed_at=Millis(6),
        version=version,
        score=-2.5 if version % 2 else None,
        fallbacks=("none",),
        plan="[]",
    )


def deal(number: int, *, position: int = 1, at: int = 5) -> Deal:
    return Deal(
        deal_id=number,
        order_id=number + 1,
        position=position,
        symbol="EURUSD",
        side=Side.SELL,
        entry=DealEntry.OUT,
        reason=DealReason.STOP,
        volume=0.2,
        price=1.09,
        profit=-12.5,
        commission=-0.7,
        swap=0.0,
        fee=0.0,
        magic=77,
        comment="sl",
        at=Millis(at),
    )


def test_transitions_are_kept_in_order_and_the_newest_are_given(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    with ledger.write() as write:
        write.add_trade(make_trade(1))
        write.add_trade(make_trade(2))
        for version in (1, 2, 3):
            write.add_transition(transition(version))
        write.add_transition(transition(4, TradeId("2")))
    with ledger.read() as read:
        assert read.transitions(ONE) == (transition(1), transition(2), transition(3))
        assert read.transitions(ONE, limit=2) == (transition(2), transition(3))
        assert [t.version for t in read.transitions()] == [1, 2, 3, 4]


def test_a_transition_of_no_trade_is_not_kept(ledger: SqlLedger) -> None:
    with pytest.raises(InvariantError, match="does not belong"), ledger.write() as write:
        write.add_transition(transition(1))


def test_every_stop_that_was_seen_is_kept(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    record = StopRecord(
        trade_id=ONE,
        position=1,
        at=Millis(5),
        old=None,
        new=1.09,
        rule=StopOrigin.ADOPTED,
        intent_id=None,
        answer="by hand",
    )
    newer = replace(record, old=1.09, new=None, intent_id="i")
    with ledger.write() as write:
        write.add_trade(make_trade(1))
        write.add_stop(record)
        write.add_stop(newer)
    with ledger.read() as read:
        assert read.stops(ONE) == (record, newer)
        assert read.stops(TradeId("2")) == ()


def test_a_deal_is_counted_once(ledger: SqlLedger) -> None:
    with ledger.write() as write:
        assert write.add_deals([deal(3, at=9), deal(1), deal(3, at=9)]) == 2
        assert write.add_deals([deal(1), deal(2), deal(8, position=2)]) == 2
        assert write.add_deals([]) == 0
    with ledger.read() as read:
        assert read.deals(1) == (deal(1), deal(2), deal(3, at=9))
        assert read.deals(5) == ()


def test_a_deal_that_the_broker_has_corrected_is_as_it_was_told_last_and_still_one_deal(ledger: SqlLedger) -> None:
    told, corrected = deal(1), replace(deal(1), price=1.2345, profit=-7.5, commission=-1.0, swap=-0.25, fee=-0.5)
    with ledger.write() as write:
        assert write.add_deals([told, deal(2)]) == 2
        assert write.add_deals([corrected]) == 0
    with ledger.read() as read:
        assert read.deals(1) == (corrected, deal(2))
    before = ledger.revision()
    with ledger.write() as write:
        assert write.add_deals([corrected, deal(2)]) == 0
    assert ledger.revision() == before


def test_a_number_that_is_not_finite_is_never_written(ledger: SqlLedger) -> None:
    for broken in (float("nan"), float("inf")):
        with pytest.raises(InvalidDataError, match="not a finite number"), ledger.write() as write:
            write.add_deals([replace(deal(1), profit=broken)])
    with ledger.read() as read:
        assert read.deals(1) == ()


def test_events_are_numbered_without_a_gap(ledger: SqlLedger) -> None:
    with ledger.read() as read:
        assert read.last_event() == 0
    with ledger.write() as write:
        assert write.add_event(EventKind.STATE, Ticket(1), Millis(5), '{"a":1}') == 1
        assert write.last_event() == 1

    def interrupted() -> None:
        with ledger.write() as write:
            assert write.add_event(EventKind.STATE, None, Millis(6), "{}") == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    with ledger.write() as write:
        assert write.add_event(EventKind.ACTION, None, Millis(7), "{}") == 2
    with ledger.read() as read:
        assert read.last_event() == 2
        assert [(e.seq, e.kind, e.ticket, e.at, e.body) for e in read.events_since(0)] == [
            (1, EventKind.STATE, 1, 5, '{"a":1}'),
            (2, EventKind.ACTION, None, 7, "{}"),
        ]
        assert [e.seq for e in read.events_since(1)] == [2]
        assert [e.seq for e in read.events_since(0, limit=1)] == [1]


def test_a_message_is_kept_once_and_waits_until_it_is_done(ledger: SqlLedger) -> None:
    with ledger.write() as write:
        write.add_outbox(OutboxKind.REGISTER, "7", '{"t":7}', Millis(100))
        write.add_outbox(OutboxKind.REGISTER, "8", "{}", Millis(200))
        write.add_outbox(OutboxKind.REGISTER, "7", "other", Millis(300))
    with ledger.write() as write:
        first, second = write.waiting()
        assert (first.key, first.body, first.attempts, first.next_at) == ("7", '{"t":7}', 0, 100)
        assert write.due(Millis(99)) == ()
        assert write.due(Millis(150)) == (first,)
        write.retry_outbox(first, next_at=Millis(400), error="refused")
        assert write.due(Millis(399)) == (second,)
        retried = write.due(Millis(400))[0]
        assert (retried.attempts, retried.next_at, retried.last_error) == (1, 400, "refused")
        write.done_outbox(second)
        write.done_outbox(second)
        assert write.waiting() == (retried,)
        write.add_outbox(OutboxKind.REGISTER, "8", "{}", Millis(500))
        assert write.waiting() == (retried,)


def test_a_message_that_another_tried_since_is_not_counted_twice(ledger: SqlLedger) -> None:
    with ledger.write() as write:
        write.add_outbox(OutboxKind.REGISTER, "7", "{}", Millis(100))
        (item,) = write.waiting()
        write.retry_outbox(item, next_at=Millis(200), error="")
    with pytest.raises(StaleWriteError, match="outbox item"), ledger.write() as write:
        write.retry_outbox(item, next_at=Millis(300), error="")


def test_indicator_state_is_bytes_and_the_last_one_counts(ledger: SqlLedger) -> None:
    with ledger.write() as write:
        write.put_market_state("EURUSD", Millis(1), b"\x00\xff")
        write.put_market_state("EURUSD", Millis(2), b"\x01\x00")
    with ledger.read() as read:
        assert read.market_state("EURUSD") == b"\x01\x00"
        assert read.market_state("XAUUSD") is None


def test_a_fact_is_set_changed_and_removed(ledger: SqlLedger) -> None:
    with ledger.write() as write:
        assert write.fact("kill_switch") is None
        write.set_fact("kill_switch", "")
        assert write.fact("kill_switch") == ""
        write.set_fact("kill_switch", "flatten")
        assert write.fact("kill_switch") == "flatten"
        write.set_fact("kill_switch", None)
        assert write.fact("kill_switch") is None


def test_several_facts_are_read_in_one_question(ledger: SqlLedger) -> None:
    with ledger.write() as write:
        write.set_fact("a", "1")
        write.set_fact("b", "")
    with ledger.read() as read:
        assert read.facts("b", "never set", "a") == {"a": "1", "b": ""}
        assert read.facts("never set") == {}


def test_an_answer_is_kept_for_a_day_under_key_principal_and_route(ledger: SqlLedger, clock: list[Millis]) -> None:
    reply = Reply(key="k", principal="p", route="POST /x", body_hash="h", status=201, body="{}", created_at=clock[0])
    with ledger.write() as write:
        write.add_reply(reply)
        assert write.reply("k", "p", "POST /x") == reply
        assert write.reply("k", "q", "POST /x") is None
        assert write.reply("k", "p", "POST /y") is None
    with pytest.raises(StaleWriteError, match="idempotency key 'k'"), ledger.write() as write:
        write.add_reply(replace(reply, body="other"))
    clock[0] = Millis(clock[0] + DAY)
    renewed = replace(reply, body="new", created_at=clock[0])
    with ledger.write() as write:
        assert write.reply("k", "p", "POST /x") is None
        write.add_reply(renewed)
        assert write.reply("k", "p", "POST /x") == renewed


def test_a_block_that_raises_leaves_nothing(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    before = ledger.revision()

    class SimulatedCrash(BaseException):
        """Not an Exception, as the simulation's crash is not."""

    def interrupted() -> None:
        with ledger.write() as write:
            write.add_trade(make_trade(1))
            write.set_fact("a", "b")
            raise SimulatedCrash

    with pytest.raises(SimulatedCrash):
        interrupted()
    with ledger.read() as read:
        assert read.open_trades() == ()
        assert read.fact("a") is None
    assert ledger.revision() == before


def test_revision_grows_with_every_change_and_with_nothing_else(ledger: SqlLedger) -> None:
    seen = [ledger.revision()]
    for value in ("a", "b"):
        with ledger.write() as write:
            write.set_fact("x", value)
            write.set_fact("y", value)
        seen.append(ledger.revision())
    with ledger.write() as write:
        assert write.fact("x") == "b"
        write.set_fact("never set", None)
    with ledger.read() as read:
        assert read.fact("y") == "b"
    seen.append(ledger.revision())
    assert [later - seen[0] for later in seen] == [0, 1, 2, 2]


def test_a_failed_statement_never_commits_even_where_the_error_was_caught(
    ledger: SqlLedger, make_trade: MakeTrade
) -> None:
    with ledger.write() as write:
        write.add_trade(make_trade(1))
        write.add_trade(make_trade(2))

    def swallowed() -> None:
        with ledger.write() as write:
            write.set_fact("x", "y")
            with suppress(StaleWriteError):
                write.save_trade(make_trade(2, ticket=Ticket(1)))

    with pytest.raises(StaleWriteError):
        swallowed()
    with ledger.read() as read:
        assert read.fact("x") is None
        assert [t.ticket for t in read.open_trades()] == [1, 2]


def test_a_lost_race_is_caught_and_the_rest_of_the_block_holds(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    with ledger.write() as write:
        write.add_trade(make_trade(1))
    with ledger.write() as write:
        with pytest.raises(StaleWriteError):
            write.add_trade(make_trade(1))
        write.add_trade(make_trade(2))
    with ledger.read() as read:
        assert [t.ticket for t in read.open_trades()] == [1, 2]


def test_a_number_over_64_bits_is_refused_with_its_reason(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    with pytest.raises(InvalidDataError), ledger.write() as write:
        write.add_trade(make_trade(1, ticket=Ticket(2**63)))


def test_a_transaction_inside_another_is_our_bug(ledger: SqlLedger) -> None:
    with ledger.read(), pytest.raises(InvariantError, match="has a transaction open already"), ledger.write():
        pass
    with ledger.write() as write:
        write.set_fact("x", "y")


def test_a_closed_ledger_says_so(ledger: SqlLedger) -> None:
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerUnavailableError, match="was closed; open it again"), ledger.read():
        pass
    with pytest.raises(LedgerUnavailableError, match="was closed"):
        ledger.revision()


def test_the_epoch_is_new_at_creation_and_at_restore(ledger: SqlLedger) -> None:
    before, revision = ledger.epoch, ledger.revision()
    assert before
    ledger.renew_epoch("after-restore")
    assert ledger.epoch == "after-restore"
    assert ledger.revision() == revision + 1
    ledger.renew_epoch(before)


def test_what_nobody_decides_on_is_written_without_a_new_revision(ledger: SqlLedger) -> None:
    before = ledger.revision()
    with ledger.write() as write:
        write.touch("written.gateway", "1")
    with ledger.read() as read:
        assert read.fact("written.gateway") == "1"
    assert ledger.revision() == before
    with ledger.write() as write:
        write.touch("written.gateway", "2")
        write.set_fact("decided.on", "1")
    assert ledger.revision() == before + 1

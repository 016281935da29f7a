"""The contract for trades and their exit rules, on every kind of ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from dtms.adapters.sql import SqlLedger
from dtms.domain.exits import ExitState
from dtms.domain.policy.exits import PROFILES
from dtms.domain.trade import Trade, TradeState
from dtms.domain.units import DAY, Lots, Millis, Ticket, TradeId
from dtms.errors import IllegalTransitionError, InvariantError, StaleWriteError

MakeTrade = Callable[..., Trade]


def book_of(trade: Trade) -> ExitState:
    name, profile = next(iter(PROFILES.items()))
    return ExitState(trade_id=trade.trade_id, ticket=trade.ticket, profile_name=name, profile=profile)


def test_a_trade_is_found_by_ticket_and_by_key(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    trade = make_trade(7)
    with ledger.write() as write:
        write.add_trade(trade)
    with ledger.read() as read:
        assert read.trade(Ticket(7)) == trade
        assert read.trade_by_id(TradeId("7")) == trade
        assert read.trade(Ticket(8)) is None
        assert read.trade_by_id(TradeId("8")) is None
        assert read.trade(Ticket(2**63)) is None


def test_a_managed_ticket_is_not_added_twice(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    with ledger.write() as write:
        write.add_trade(make_trade(7))
    with pytest.raises(StaleWriteError, match=r"ticket 7 .* is managed already"), ledger.write() as write:
        write.add_trade(make_trade(7, trade_id=TradeId("other")))
    with ledger.read() as read:
        assert len(read.open_trades()) == 1


def test_a_write_on_what_was_read_holds_and_raises_seq(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    with ledger.write() as write:
        write.add_trade(make_trade(7))
    with ledger.write() as write:
        saved = write.save_trade(replace(make_trade(7), state=TradeState.WARNING_L1, version=2))
    assert (saved.seq, saved.version, saved.state) == (1, 2, TradeState.WARNING_L1)
    with ledger.read() as read:
        assert read.trade(Ticket(7)) == saved


def test_a_write_on_what_somebody_else_has_changed_is_refused(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    first = make_trade(7)
    with ledger.write() as write:
        write.add_trade(first)
    with ledger.write() as write:
        winner = write.save_trade(replace(first, volume=Lots(0.25), version=2))
    with pytest.raises(StaleWriteError, match=r"seq 1, read 0"), ledger.write() as write:
        write.save_trade(replace(first, volume=Lots(0.1), version=2))
    with ledger.read() as read:
        assert read.trade(Ticket(7)) == winner


def test_a_trade_that_was_never_added_is_not_saved(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    with pytest.raises(StaleWriteError, match="is not in the ledger"), ledger.write() as write:
        write.save_trade(make_trade(7))


def test_a_closed_trade_stays_closed(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    closed = make_trade(7, state=TradeState.CLOSED, closed_at=Millis(5), volume=0.0)
    with ledger.write() as write:
        write.add_trade(closed)
    with pytest.raises(IllegalTransitionError, match="CLOSED"), ledger.write() as write:
        write.save_trade(replace(closed, state=TradeState.HEALTHY))
    with ledger.write() as write:
        assert write.save_trade(replace(closed, close_reason="by hand")).close_reason == "by hand"


def test_a_version_never_falls(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    with ledger.write() as write:
        write.add_trade(make_trade(7, version=5))
    with pytest.raises(InvariantError, match="from 5 to 4"), ledger.write() as write:
        write.save_trade(make_trade(7, version=4))


def test_an_old_ticket_answers_for_a_day_and_the_exit_rules_follow(
    ledger: SqlLedger, make_trade: MakeTrade, clock: list[Millis]
) -> None:
    trade = make_trade(7)
    with ledger.write() as write:
        write.add_trade(trade)
        write.put_exit_book(book_of(trade))
    with ledger.write() as write:
        moved = write.save_trade(replace(trade, ticket=Ticket(70), version=2))
    with ledger.read() as read:
        assert read.trade(Ticket(7)) == read.trade(Ticket(70)) == moved
        book = read.exit_book(Ticket(70))
        assert book is not None
        assert (book.ticket, book.seq) == (70, 2)
        assert read.exit_book(Ticket(7)) is None
    clock[0] = Millis(clock[0] + DAY - 1)
    with ledger.read() as read:
        assert read.trade(Ticket(7)) == moved
    clock[0] = Millis(clock[0] + 1)
    with ledger.read() as read:
        assert read.trade(Ticket(7)) is None
        assert read.trade(Ticket(70)) == moved


def test_a_ticket_that_is_in_use_again_beats_the_old_one(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    trade = make_trade(7)
    with ledger.write() as write:
        write.add_trade(trade)
        write.save_trade(replace(trade, ticket=Ticket(70)))
        newer = make_trade(8, ticket=Ticket(7))
        write.add_trade(newer)
    with ledger.read() as read:
        assert read.trade(Ticket(7)) == newer


def test_a_ticket_answers_with_the_open_trade_then_with_the_last_closed(
    ledger: SqlLedger, make_trade: MakeTrade
) -> None:
    def closed(key: str, at: int) -> Trade:
        return make_trade(7, trade_id=TradeId(key), state=TradeState.CLOSED, closed_at=Millis(at))

    with ledger.write() as write:
        write.add_trade(closed("a", 50))
        write.add_trade(closed("b", 90))
        write.add_trade(closed("c", 70))
    with ledger.write() as write:
        assert write.trade(Ticket(7)) == closed("b", 90)
        write.add_trade(make_trade(7))
        assert write.trade(Ticket(7)) == make_trade(7)


def test_open_trades_are_those_not_closed_by_ticket(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    with ledger.write() as write:
        for number in (9, 3, 5):
            write.add_trade(make_trade(number))
        write.add_trade(make_trade(4, state=TradeState.CLOSED, closed_at=Millis(5)))
    with ledger.read() as read:
        assert [trade.ticket for trade in read.open_trades()] == [3, 5, 9]


def test_pages_of_trades_filter_and_go_on_behind_a_ticket(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    with ledger.write() as write:
        for number in range(1, 6):
            write.add_trade(make_trade(number, symbol="XAUUSD" if number % 2 else "EURUSD"))
        write.add_trade(make_trade(6, symbol="XAUUSD", state=TradeState.CLOSED, closed_at=Millis(5)))
    with ledger.read() as read:
        assert [t.ticket for t in read.trades(limit=2)] == [1, 2]
        assert [t.ticket for t in read.trades(after=2, limit=2)] == [3, 4]
        assert [t.ticket for t in read.trades(symbol="XAUUSD")] == [1, 3, 5, 6]
        assert [t.ticket for t in read.trades(symbol="XAUUSD", state="HEALTHY", after=1)] == [3, 5]
        assert [t.ticket for t in read.trades(state="CLOSED")] == [6]
        assert read.trades(after=2**63) == ()


def test_closed_since_counts_from_its_instant_on(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    with ledger.write() as write:
        for number, at in ((1, 300), (2, 100), (3, 200)):
            write.add_trade(make_trade(number, state=TradeState.CLOSED, closed_at=Millis(at)))
        write.add_trade(make_trade(4))
    with ledger.read() as read:
        assert [trade.ticket for trade in read.closed_since(Millis(200))] == [3, 1]


def test_exit_rules_are_written_only_on_what_was_read(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    trade = make_trade(7)
    with ledger.write() as write:
        write.add_trade(trade)
        first = write.put_exit_book(book_of(trade))
        second = write.put_exit_book(replace(first, best=1.2))
    assert (first.seq, second.seq) == (1, 2)
    for stale in (book_of(trade), replace(first, best=1.3)):
        with pytest.raises(StaleWriteError, match="exit rules of ticket 7"), ledger.write() as write:
            write.put_exit_book(stale)
    with ledger.read() as read:
        assert read.exit_book(Ticket(7)) == second


def test_exit_books_are_those_of_open_trades(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    trades = [make_trade(9), make_trade(3), make_trade(5, state=TradeState.CLOSED, closed_at=Millis(5))]
    with ledger.write() as write:
        for trade in trades:
            write.add_trade(trade)
            write.put_exit_book(book_of(trade))
    with ledger.write() as write:
        assert [book.ticket for book in write.exit_books()] == [3, 9]
        assert write.delete_exit_book(Ticket(3)) is True
        assert write.delete_exit_book(Ticket(3)) is False
        assert [book.ticket for book in write.exit_books()] == [9]


def test_exit_rules_of_no_trade_are_not_kept(ledger: SqlLedger, make_trade: MakeTrade) -> None:
    with pytest.raises(InvariantError, match="does not belong"), ledger.write() as write:
        write.put_exit_book(book_of(make_trade(7)))
    with ledger.read() as read:
        assert read.exit_book(Ticket(7)) is None

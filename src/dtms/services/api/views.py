"""What the main API shows: trades with their exit rules, from the ledger and what was seen of the broker. Blocking."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, TypeVar

import msgspec

from dtms.app.modes.kill_switch import KillState, kill_state
from dtms.app.reconcile.outcome import last_outcome
from dtms.app.reconcile.strays import strays
from dtms.app.views.queries import TradeFacts, is_released
from dtms.domain.exits import ExitState
from dtms.domain.intent import IntentState
from dtms.domain.trade import Trade, TradeState
from dtms.domain.units import Ticket, to_iso
from dtms.ports.ledger import LedgerRead
from dtms.services.api import wire
from dtms.services.api.parts import ApiSite
from dtms.services.server import encode
from dtms.services.web.problem import Problem

J = TypeVar("J", bound=wire.JoinedAnswer)

JSON = msgspec.json.Encoder()


class Views:
    """Shows what a site has."""

    def __init__(self, site: ApiSite) -> None:
        self._site = site

    @property
    def epoch(self) -> str:
        """Return the ledger's epoch, which every answer about a trade carries."""
        return self._site.parts.ledger.epoch

    def trade(self, ticket: int) -> wire.JoinedAnswer:
        """Return one trade with both views.

        Raises:
            Problem: 404, the trade is unknown.
        """
        facts = self._site.parts.queries.trade(Ticket(ticket))
        if facts is None:
            raise unknown_trade()
        return self._joined(facts, ticket, wire.JoinedAnswer)

    def opened(self, ticket: int, intent_id: str) -> wire.OpenedAnswer:
        """Return a trade that was just opened.

        Raises:
            Problem: 404, it was released in this moment.
        """
        facts = self._site.parts.queries.trade(Ticket(ticket))
        if facts is None:
            raise unknown_trade()
        return self._joined(facts, ticket, wire.OpenedAnswer, intent_id=intent_id, protection="active")

    def trades(self, state: TradeState | None, symbol: str | None, after: int, limit: int) -> wire.TradesAnswer:
        """Return a page of the managed trades, or with a `state` of those that are in it, closed ones too."""
        parts = self._site.parts
        if state is TradeState.CLOSED:
            page = parts.queries.page(state=state.value, symbol=symbol, after=after, limit=limit)
            facts, cursor = list(page.facts), page.after
        else:
            facts, cursor = self._open(state, symbol, after, limit)
        with parts.ledger.read() as tx:
            switch, unmanaged = kill_answer(tx, kill_state(tx)), encode.unmanaged(tx)
        return wire.TradesAnswer(
            epoch=self.epoch,
            kill_switch=switch,
            dtms=parts.dtms(),
            unmanaged=unmanaged,
            trades=[self._joined(each, each.trade.ticket, wire.JoinedAnswer) for each in facts],
            next_cursor=None if cursor is None else str(cursor),
        )

    def exits_of(self, ticket: int) -> wire.ExitsAnswer | None:
        """Return the exit rules of a trade, None where it has none or is unknown."""
        with self._site.parts.ledger.read() as tx:
            trade, book = tx.trade(Ticket(ticket)), tx.exit_book(Ticket(ticket))
        if trade is None or is_released(trade):
            return None
        return self._exits(trade, _own(trade, book))

    def managed_exits(self, ticket: int) -> wire.ExitsAnswer | None:
        """Return the exit rules of a managed trade, None where it has none.

        Raises:
            Problem: 404, the trade is unknown.
        """
        with self._site.parts.ledger.read() as tx:
            managed(tx, ticket)
        return self.exits_of(ticket)

    def all_exits(self) -> wire.ExitsListAnswer:
        """Return the exit rules of all open trades."""
        with self._site.parts.ledger.read() as tx:
            trades = {trade.trade_id: trade for trade in tx.open_trades()}
            books = tx.exit_books()
        found = [self.exits(trades[book.trade_id], book) for book in books if book.trade_id in trades]
        return wire.ExitsListAnswer(epoch=self.epoch, exits=found)

    def exits(self, trade: Trade, book: ExitState) -> wire.ExitsAnswer:
        """Return exit rules as they are shown."""
        return wire.ExitsAnswer(
            ticket=book.ticket,
            symbol=trade.symbol,
            version=trade.version,
            epoch=self.epoch,
            owner=trade.owner,
            profile=book.profile_name,
            numbers=asdict(book.profile),
            breakeven_done=book.breakeven_done,
            partial_done=book.partial_done,
            partial_remaining=book.partial_remaining,
            best=book.best,
            trail_moved_at=None if book.trail_moved_at is None else to_iso(book.trail_moved_at),
            tightened=book.tightened,
            widened=book.widened,
        )

    def registry(self, ticket: int) -> wire.RegistryAnswer:
        """Return who may change a trade.

        Raises:
            Problem: 404, the trade is unknown.
        """
        with self._site.parts.ledger.read() as tx:
            trade = managed(tx, ticket)
            book = _own(trade, tx.exit_book(Ticket(ticket)))
        return wire.RegistryAnswer(
            ticket=ticket,
            owner=trade.owner,
            version=trade.version,
            epoch=self.epoch,
            breakeven_done=None if book is None else book.breakeven_done,
            partial_done=None if book is None else book.partial_done,
        )

    def _open(
        self, state: TradeState | None, symbol: str | None, after: int, limit: int
    ) -> tuple[list[TradeFacts], int | None]:
        parts = self._site.parts
        with parts.ledger.read() as tx:
            found = [
                trade.ticket
                for trade in tx.open_trades()
                if trade.ticket > after and state in (None, trade.state) and symbol in (None, trade.symbol)
            ]
        facts = [parts.queries.trade(ticket) for ticket in found[:limit]]
        # One that was released since the list was read is not shown.
        return [each for each in facts if each is not None], found[limit - 1] if len(found) > limit else None

    def _joined(self, facts: TradeFacts, asked: int, kind: type[J], **more: Any) -> J:
        trade = facts.trade
        with self._site.parts.ledger.read() as tx:
            book = _own(trade, tx.exit_book(trade.ticket))
        told = encode.trade(facts, asked=asked, epoch=self.epoch)
        members = msgspec.structs.asdict(told)
        return kind(**members, exits=self._exits(trade, book), last_reason=_last_reason(facts), **more)

    def _exits(self, trade: Trade, book: ExitState | None) -> wire.ExitsAnswer | None:
        return None if book is None else self.exits(trade, book)


def managed(tx: LedgerRead, ticket: int) -> Trade:
    """Return the trade of a ticket.

    Raises:
        Problem: 404, it is unknown or was released.
    """
    trade = tx.trade(Ticket(ticket))
    if trade is None or is_released(trade):
        raise unknown_trade()
    return trade


def unknown_trade() -> Problem:
    """Return the answer to a ticket that is not managed."""
    return Problem(404, "trade_unknown", "DTMS does not manage a trade with this ticket.")


def kill_answer(tx: LedgerRead, state: KillState) -> wire.KillAnswer:
    """Return the kill switch as it is shown."""
    outcome = last_outcome(tx)
    left = wire.LeftAnswer(
        managed=tuple(trade.ticket for trade in tx.open_trades()),
        unmanaged=tuple(stray.ticket for stray in strays(tx)),
        foreign=None if outcome is None else outcome.foreign,
    )
    since = None if state.since is None else to_iso(state.since)
    return wire.KillAnswer(level=state.level, since=since, by=state.by, source=state.source, left=left)


def _own(trade: Trade, book: ExitState | None) -> ExitState | None:
    """Return a ticket's exit rules where they are this trade's: a ticket may have been managed before."""
    return book if book is not None and book.trade_id == trade.trade_id else None


def _last_reason(facts: TradeFacts) -> str:
    """Return the newest word about a trade: its last action with the outcome, else the row that led to its state."""
    if facts.actions:
        newest = facts.actions[-1]
        told = f"{newest.rule} {newest.state.value.lower()}"
        # What was done needs no reason; the broker's words for it are in the journal.
        return told if newest.state is IntentState.APPLIED or not newest.reason else f"{told}: {newest.reason}"
    return facts.trade.last_row or "registered"

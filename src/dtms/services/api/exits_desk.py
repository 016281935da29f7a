"""The exit rules of single trades: given, shown and taken away. Blocking.

Giving or taking rules raises the trade's version: what the exit manager decided on the old rules is not written any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from dtms.app.journal import journal
from dtms.domain.exits import ExitState
from dtms.domain.policy.exits import OWN_NUMBERS, ExitPolicy
from dtms.domain.trade import Trade
from dtms.domain.units import Millis, Ticket
from dtms.errors import StaleWriteError
from dtms.ports.ledger import LedgerWrite
from dtms.services.api.bodies import ExitsBody
from dtms.services.api.idempotency import Kept, Once, Replay, kept
from dtms.services.api.parts import ApiSite
from dtms.services.api.views import JSON, Views, managed
from dtms.services.web.problem import Problem

_TRIES = 3
"""A write that lost a race is tried again: the other one has committed meanwhile."""

Change = Callable[[LedgerWrite, Millis], tuple[int, bytes]]
"""One change inside a transaction: returns status and body."""


class ExitsHandler:
    """Writes exit rules for one site."""

    def __init__(self, site: ApiSite, views: Views) -> None:
        self._site = site
        self._views = views

    def put(self, ticket: int, body: ExitsBody, actor: str, once: Once | None) -> Kept:
        """Give a trade rules: 201 where it had none, else 200. What the old ones remember is kept.

        Raises:
            Problem: 404 unknown trade, 409 closed trade, 422 faulty numbers.
        """

        def change(tx: LedgerWrite, now: Millis) -> tuple[int, bytes]:
            trade = self._open(tx, ticket)
            name, profile = body.chosen(self._policy(trade))
            present = _own(tx, trade)
            fresh = ExitState(trade_id=trade.trade_id, ticket=trade.ticket, profile_name="", profile=profile)
            wanted = replace(
                fresh if present is None else present,
                profile_name=OWN_NUMBERS if name is None else name,
                profile=profile,
            )
            if present is not None and wanted == present:
                return 200, JSON.encode(self._views.exits(trade, present))
            saved = tx.put_exit_book(wanted)
            grown = self._changed(tx, trade, now, actor, "exits_given", wanted.profile_name)
            return (201 if present is None else 200), JSON.encode(self._views.exits(grown, saved))

        return self._once(ticket, once, change)

    def delete(self, ticket: int, actor: str, once: Once | None) -> Kept:
        """Take a trade's rules away: 204.

        Raises:
            Problem: 404 where the trade or its rules are unknown.
        """

        def change(tx: LedgerWrite, now: Millis) -> tuple[int, bytes]:
            trade = managed(tx, ticket)
            if _own(tx, trade) is None:
                raise no_exits()
            tx.delete_exit_book(trade.ticket)
            if trade.is_open:
                self._changed(tx, trade, now, actor, "exits_taken", "")
            return 204, b""

        return self._once(ticket, once, change)

    def _once(self, ticket: int, once: Once | None, change: Change) -> Kept:
        for _ in range(_TRIES - 1):
            try:
                return self._write(ticket, once, change)
            except StaleWriteError:
                continue
        return self._write(ticket, once, change)

    def _write(self, ticket: int, once: Once | None, change: Change) -> Kept:
        now = self._site.parts.clock.market_now()
        with self._site.parts.ledger.write() as tx:
            if once is not None:
                before = kept(tx, once)
                if before is not None:
                    replay = Replay(at=before.created_at, now=_rules_now(tx, ticket))
                    return Kept(status=before.status, body=before.body.encode(), replay=replay)
            status, body = change(tx, now)
            if once is not None:
                tx.add_reply(once.reply(status, body, now))
        return Kept(status=status, body=body)

    def _open(self, tx: LedgerWrite, ticket: int) -> Trade:
        trade = managed(tx, ticket)
        if not trade.is_open:
            raise Problem(409, "trade_closed", "The trade is closed; there is nothing left to take profit on.")
        return trade

    def _policy(self, trade: Trade) -> ExitPolicy:
        policies = self._site.parts.policies
        return policies.of(policies.canonical(trade.symbol)).exits

    def _changed(self, tx: LedgerWrite, trade: Trade, now: Millis, actor: str, what: str, profile: str) -> Trade:
        grown = tx.save_trade(replace(trade, version=trade.version + 1))
        journal.tell_state(tx, grown, now, row="rules")
        body = json.dumps({"ticket": trade.ticket, "profile": profile})
        tx.add_audit(at=now, actor=actor, what=what, trade_id=trade.trade_id, body=body)
        return grown


def no_exits() -> Problem:
    """Return the answer where a trade has no exit rules."""
    return Problem(404, "exits_unknown", "The trade has no exit rules; give it some with PUT.")


def _rules_now(tx: LedgerWrite, ticket: int) -> str:
    trade, book = tx.trade(Ticket(ticket)), tx.exit_book(Ticket(ticket))
    if trade is None or book is None or book.trade_id != trade.trade_id:
        return "no exit rules"
    return f"profile {book.profile_name}, version {trade.version}"


def _own(tx: LedgerWrite, trade: Trade) -> ExitState | None:
    book = tx.exit_book(Ticket(trade.ticket))
    return book if book is not None and book.trade_id == trade.trade_id else None

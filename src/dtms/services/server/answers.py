"""What the server answers to each question: gathered and encoded. Blocking; the routes run it off the loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from dtms.app.commands.registration import RefusalKind
from dtms.app.reconcile.outcome import Outcome, last_outcome
from dtms.app.views.explain import explain
from dtms.app.views.queries import is_released
from dtms.app.views.trade_cache import LedgerView
from dtms.domain.intent import Intent
from dtms.domain.trade import Trade, TradeState
from dtms.domain.units import Millis, Ticket, TradeId, to_iso
from dtms.errors import DtmsError
from dtms.ports.ledger import Ledger, LedgerRead
from dtms.services.server import encode, wire
from dtms.services.server.board import Encoded
from dtms.services.server.mode_desk import cause_answers
from dtms.services.server.parts import Site
from dtms.services.server.status import Numbers, mode_shown
from dtms.services.web.problem import Problem

MOST_OTHERS: Final = 100_000
"""Tickets that are no open trade and were asked about since the ledger last changed."""


@dataclass(slots=True)
class StateIndex:
    """The states of one revision of the ledger: all open trades, and what else was asked about."""

    revision: int = -1
    open: dict[int, wire.StateAnswer] = field(default_factory=dict)
    others: dict[int, wire.StateAnswer | None] = field(default_factory=dict)


class Answers:
    """Answers for one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._states: tuple[Ledger | None, StateIndex] = (None, StateIndex())

    def trade(self, ticket: int) -> Encoded:
        """Answer GET /dtms/trade/{ticket}.

        Raises:
            Problem: 404, the trade is unknown.
        """
        found = self._site.board.answer(ticket)
        if found is None:
            raise self._unknown()
        return found

    def registered(self, ticket: int, *, already: bool) -> bytes:
        """Answer POST /dtms/trade/enable.

        Raises:
            Problem: 404, the trade was released in this moment.
        """
        facts = self._site.queries.trade(Ticket(ticket))
        if facts is None:
            raise self._unknown()
        return encode.JSON.encode(encode.registered(facts, asked=ticket, epoch=self._epoch, already=already))

    def trades(self, state: TradeState | None, symbol: str | None, after: int, limit: int) -> bytes:
        """Answer GET /dtms/trades."""
        page = self._site.queries.page(
            state=None if state is None else state.value, symbol=symbol, after=after, limit=limit
        )
        told = [encode.trade(facts, asked=facts.trade.ticket, epoch=self._epoch) for facts in page.facts]
        cursor = None if page.after is None else str(page.after)
        with self._site.parts.ledger.read() as tx:
            unmanaged = encode.unmanaged(tx)
        answer = wire.TradesAnswer(epoch=self._epoch, trades=told, unmanaged=unmanaged, next_cursor=cursor)
        return encode.JSON.encode(answer)

    def states(self, tickets: Iterable[int]) -> bytes:
        """Answer POST /dtms/states: open trades from memory, the others from the ledger, once a revision."""
        wanted = dict.fromkeys(tickets)
        index = self._index(self._site.parts.monitor.book.page())
        missing = [ticket for ticket in wanted if ticket not in index.open and ticket not in index.others]
        if missing:
            with self._site.parts.ledger.read() as tx:
                index.others.update({ticket: _state_of(tx.trade(Ticket(ticket))) for ticket in missing})
        states: dict[int, wire.StateAnswer] = {}
        unknown: list[int] = []
        for ticket in wanted:
            found = index.open.get(ticket)
            if found is None:
                found = index.others.get(ticket)
            if found is None:
                unknown.append(ticket)
            else:
                states[ticket] = found
        return encode.JSON.encode(wire.StatesAnswer(epoch=self._epoch, states=states, unknown=unknown))

    def actions(self, ticket: int | None, since: Millis, after: str, limit: int) -> bytes:
        """Answer GET /dtms/actions.

        Raises:
            Problem: 404, the ticket was never managed.
        """
        with self._site.parts.ledger.read() as tx:
            asked = None if ticket is None else tx.trade(Ticket(ticket))
            if ticket is not None and asked is None:
                raise self._unknown()
            trade_id = None if asked is None else asked.trade_id
            page = tx.intents(trade_id=trade_id, since=since, after=after, limit=limit)
            told = _journal(tx, page)
        cursor = page[-1].intent_id if len(page) == limit else None
        return encode.JSON.encode(wire.ActionsAnswer(epoch=self._epoch, actions=told, next_cursor=cursor))

    def explain(self, ticket: int) -> bytes:
        """Answer GET /dtms/trade/{ticket}/explain.

        Raises:
            Problem: 404, the trade is unknown.
        """
        parts = self._site.parts
        now = parts.clock.market_now()
        with parts.ledger.read() as tx:
            trade = tx.trade(Ticket(ticket))
            if trade is None or is_released(trade):
                raise self._unknown()
            last = tx.transitions(trade.trade_id, limit=1)
            stops = tx.stops(trade.trade_id)
        desk = self._site.queries.desk_of(trade.symbol, now)
        policy = self._site.queries.policy_of(trade.symbol) if desk is None else desk.policy
        found = explain(trade, policy, desk, last[-1] if last else None, now, stops)
        return encode.JSON.encode(encode.explanation(found, asked=ticket, epoch=self._epoch))

    def status(self) -> bytes:
        """Answer GET /dtms/status."""
        parts = self._site.parts
        numbers = self.numbers()
        actions: Counter[str] = Counter()
        for (_kind, state), count in numbers.actions.items():
            actions[state.lower()] += count
        answer = wire.StatusAnswer(
            system_active=numbers.ready,
            epoch=self._epoch,
            uptime_s=numbers.uptime_s,
            active_trades=len(numbers.page.trades),
            trades_by_state=numbers.by_state,
            checks=wire.ChecksAnswer(
                passes=numbers.passes,
                decisions=numbers.decisions,
                transitions=numbers.transitions,
                refusals=numbers.refusals,
                errors=numbers.errors,
            ),
            actions=dict(actions),
            unfinished_intents=dict(Counter(intent.state.value.lower() for intent in numbers.page.unfinished)),
            last_check=None if numbers.last_check is None else to_iso(numbers.last_check),
            policy=parts.policy_digest,
            mode=mode_shown(numbers.present.mode, numbers.page.kill, ready=numbers.ready),
            causes=cause_answers(numbers.present),
            advisory=parts.advisory,
            kill_switch=numbers.page.kill,
            reconciled=encode.reconciled(self._last_outcome()),
            as_of=to_iso(parts.clock.market_now()),
        )
        return encode.JSON.encode(answer)

    def numbers(self) -> Numbers:
        """Return one look at the whole system."""
        parts, monitor = self._site.parts, self._site.parts.monitor
        page = monitor.book.page()
        now_ns = parts.clock.boot_ns()
        by_state: dict[TradeState, int] = {state: 0 for state in TradeState if state is not TradeState.CLOSED}
        for trade in page.trades:
            by_state[trade.state] += 1
        return Numbers(
            page=page,
            present=monitor.modes.standing(page),
            by_state=by_state,
            actions=self._site.actions.counts(),
            passes=monitor.stats.passes,
            decisions=monitor.stats.decisions,
            transitions=monitor.stats.transitions,
            refusals=monitor.stats.refusals,
            errors=monitor.stats.errors,
            last_check=monitor.stats.last_check,
            heartbeat_age_s=(now_ns - monitor.beat_ns) / 1e9 if monitor.beat_ns > 0 else None,
            uptime_s=(now_ns - self._site.started_ns) / 1e9,
            ready=self._is_ready(),
        )

    def _last_outcome(self) -> Outcome | None:
        with self._site.parts.ledger.read() as tx:
            return last_outcome(tx)

    @property
    def _epoch(self) -> str:
        return self._site.parts.ledger.epoch

    def _is_ready(self) -> bool:
        try:
            return self._site.parts.ready().ready
        except DtmsError:
            return False

    def _index(self, page: LedgerView) -> StateIndex:
        """Return the index of the page's revision; of this world, where a simulation has swapped another one."""
        present = self._site.parts.ledger
        ledger, index = self._states
        if ledger is not present or index.revision != page.revision or len(index.others) > MOST_OTHERS:
            index = StateIndex(page.revision, {trade.ticket: encode.state(trade) for trade in page.trades})
            self._states = (present, index)
        return index

    def _unknown(self) -> Problem:
        detail = "DTMS does not manage this ticket."
        return Problem(404, RefusalKind.TRADE_UNKNOWN.value, detail, extra={"epoch": self._epoch})


def _state_of(trade: Trade | None) -> wire.StateAnswer | None:
    return None if trade is None or is_released(trade) else encode.state(trade)


def _journal(tx: LedgerRead, page: Iterable[Intent]) -> list[wire.ActionAnswer]:
    trades: dict[TradeId, Trade | None] = {}
    scores: dict[TradeId, list[tuple[Millis, float]]] = {}
    told = []
    for intent in page:
        if intent.trade_id not in trades:
            trades[intent.trade_id] = tx.trade_by_id(intent.trade_id)
            scores[intent.trade_id] = _scores(tx, trades[intent.trade_id])
        told.append(encode.action(intent, trades[intent.trade_id], scores[intent.trade_id]))
    return told


def _scores(tx: LedgerRead, trade: Trade | None) -> list[tuple[Millis, float]]:
    """Return the scores that the ledger has of a trade, by time: those of its transitions and of its last bars."""
    if trade is None:
        return []
    points = {point.at: point.total for point in trade.recent}
    points.update({t.decided_at: t.score for t in tx.transitions(trade.trade_id) if t.score is not None})
    return sorted(points.items())

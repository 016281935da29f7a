"""Positions in our name that no trade manages: which there are, as the ledger tells, and the intent that closes one."""

from __future__ import annotations

from dataclasses import dataclass

from dtms.app.reconciled import last_outcome
from dtms.domain.action import Close, OpenTrade
from dtms.domain.intent import Intent, IntentState, Planner, Precondition, intent_id, tag_of
from dtms.domain.position import Position
from dtms.domain.trade import Trade
from dtms.domain.units import Millis, Ticket, TradeId
from dtms.ports.ledger import LedgerRead

_FILLED = frozenset({IntentState.APPLIED, IntentState.PARTIAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """One of them. `stop` is what the broker showed last; of an opening that was not looked at yet, what was ordered."""

    ticket: Ticket
    identifier: int
    symbol: str
    side: str
    volume: float
    stop: float | None
    why: str

    @property
    def trade_id(self) -> TradeId:
        """Return the name under which its closing stands in the journal; it is no trade's."""
        return TradeId(f"stray:{self.identifier}")


def strays(tx: LedgerRead) -> tuple[Stray, ...]:
    """Return what the last reconciliation found in our name, and what was opened and is not registered yet.

    What only may be ours (its mark was lost) is left out, and so is what a trade manages by now.
    """
    managed = {number for trade in tx.open_trades() for number in _numbers(trade)}
    found = {stray.identifier: stray for stray in (*_orphans(tx), *_openings(tx))}
    return tuple(found[number] for number in sorted(found) if number not in managed)


def stray_of(position: Position, why: str) -> Stray:
    """Return a position in our name as a stray."""
    return Stray(
        ticket=position.ticket,
        identifier=position.identifier,
        symbol=position.symbol,
        side=position.side.name,
        volume=position.volume,
        stop=position.stop,
        why=why,
    )


def closing(stray: Stray, *, decision_id: str, rule: str, now: Millis, attempt: int) -> Intent:
    """Return the PLANNED intent that closes a stray whole."""
    return Intent(
        intent_id=intent_id(stray.trade_id, decision_id, 0, attempt, now),
        trade_id=stray.trade_id,
        position=stray.identifier,
        decision_id=decision_id,
        step=0,
        attempt=attempt,
        action=Close(ticket=stray.ticket, symbol=stray.symbol),
        precondition=Precondition(),
        owner=Planner.COMMAND,
        rule=rule,
        state=IntentState.PLANNED,
        tag=tag_of(stray.trade_id, decision_id, 0, attempt),
        created_at=now,
        expires_at=None,
    )


def _numbers(trade: Trade) -> tuple[int, ...]:
    return (trade.identifier, *(leg.identifier for leg in trade.legs))


def _orphans(tx: LedgerRead) -> tuple[Stray, ...]:
    outcome = last_outcome(tx)
    return tuple(
        Stray(
            ticket=Ticket(orphan.ticket),
            identifier=orphan.identifier,
            symbol=orphan.symbol,
            side=orphan.side,
            volume=orphan.volume,
            stop=orphan.stop,
            why=orphan.why,
        )
        for orphan in (() if outcome is None else outcome.orphans)
        if orphan.in_our_name
    )


def _openings(tx: LedgerRead) -> tuple[Stray, ...]:
    found = []
    for item in tx.waiting():
        intent = tx.intent(item.key)
        receipt = None if intent is None else intent.receipt
        if intent is None or receipt is None or receipt.position is None or intent.state not in _FILLED:
            continue
        if isinstance(intent.action, OpenTrade):
            number = receipt.position if receipt.ticket is None else receipt.ticket
            found.append(
                Stray(
                    ticket=Ticket(number),
                    identifier=receipt.position,
                    symbol=intent.action.symbol,
                    side=intent.action.side.name,
                    volume=receipt.filled,
                    stop=intent.action.stop,
                    why=f"it was opened and its registration waits{_last_error(item.last_error)}",
                )
            )
    return tuple(found)


def _last_error(error: str) -> str:
    return f": {error}" if error else ""

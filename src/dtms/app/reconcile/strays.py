"""Positions in our name that no trade manages: which there are, as the ledger tells, and the intent that closes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dtms.app.journal.journal import new_intent
from dtms.app.journal.scan import each_intent
from dtms.app.reconcile.outcome import last_outcome
from dtms.app.reconcile.position_origin import NO_TRADE
from dtms.domain.action import Close, OpenTrade
from dtms.domain.intent import Intent, IntentState, Planner, Precondition, intent_id, tag_of
from dtms.domain.position import Position
from dtms.domain.rules import CommandRule
from dtms.domain.trade import Trade
from dtms.domain.units import SECOND, Millis, Ticket, TradeId
from dtms.ports.ledger import LedgerRead, LedgerWrite

BARE_RULE: Final = CommandRule.CLOSE_BARE
"""The closing of an opening whose stop the broker does not show and that nobody will put there."""

BARE_GRACE: Final = 20 * SECOND
"""So long whoever has opened may take to register it: the request itself, then the outbox. After that the gateway closes it."""

_FILLED: Final = frozenset({IntentState.APPLIED, IntentState.PARTIAL})


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
        return TradeId(f"{NO_TRADE}{self.identifier}")


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


def closing(stray: Stray, *, decision_id: str, rule: CommandRule, now: Millis, attempt: int) -> Intent:
    """Return the PLANNED intent that closes a stray whole."""
    return Intent(
        intent_id=intent_id(stray.trade_id, decision_id, 0, attempt, now),
        trade_id=stray.trade_id,
        position=stray.identifier,
        decision_id=decision_id,
        step=0,
        attempt=attempt,
        action=Close(ticket=stray.ticket, symbol=stray.symbol),
        precondition=Precondition(volume=stray.volume),
        owner=Planner.COMMAND,
        rule=rule,
        state=IntentState.PLANNED,
        tag=tag_of(stray.trade_id, decision_id, 0, attempt),
        created_at=now,
        expires_at=None,
    )


def close_bare(tx: LedgerWrite, position: Position, now: Millis, *, rejected: bool) -> bool:
    """Plan the closing of an opening of ours that stands without its stop; say whether it is being closed.

    Args:
        tx: The ledger.
        position: As the broker shows it.
        now: On the market's clock.
        rejected: Whether DTMS refuses to manage it. One that it manages gets its stop from DTMS, which tries again; where DTMS
            refuses, the price has passed the stop.
    """
    trade = tx.trade(position.ticket)
    managed = trade is not None and trade.is_open and trade.identifier == position.identifier
    if managed and not rejected:
        return False
    stray = stray_of(position, "it was opened and stands without its stop")
    trade_id = trade.trade_id if managed and trade is not None else stray.trade_id
    tried = [each for each in each_intent(tx, trade_id) if each.rule == BARE_RULE]
    if tried and tried[-1].unfinished:
        return True
    decision_id, attempt = f"bare:{position.identifier}", len(tried) + 1
    if trade is None or not managed:
        tx.add_intent(closing(stray, decision_id=decision_id, rule=BARE_RULE, now=now, attempt=attempt))
        return True
    tx.add_intent(
        new_intent(
            trade,
            Close(ticket=trade.ticket),
            decision_id=decision_id,
            owner=Planner.COMMAND,
            rule=BARE_RULE,
            now=now,
            priced_expiry_s=0.0,
            attempt=attempt,
        )
    )
    return True


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

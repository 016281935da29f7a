"""Taking a trade in and letting it go, with what must have happened at the broker before the answer is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from dtms.app.commands.registration import RefusalKind, Registered, Registration, RegistrationRefusedError
from dtms.app.journal import journal
from dtms.app.journal.scan import each_intent
from dtms.domain.action import Action, SetStop
from dtms.domain.intent import Intent, IntentState
from dtms.domain.trade import Trade
from dtms.domain.units import Ticket
from dtms.ports.ledger import LedgerWrite
from dtms.services.server.parts import ServerParts, Site
from dtms.services.web.offload import Offload
from dtms.services.web.problem import FieldFault, Problem

STOP_WAIT_S: Final = 5.0
HEDGE_WAIT_S: Final = 10.0
"""An open hedge is closed within this (behaviour.md section 4)."""

_ON_ITS_WAY: Final = frozenset({IntentState.SENDING, IntentState.ACKED, IntentState.UNKNOWN})
_CAME_TO_NOTHING: Final = frozenset({IntentState.REJECTED, IntentState.NOT_APPLIED, IntentState.CANCELLED})

# The refusal's own sentence goes to the log: it repeats what was sent, which no answer does.
_REFUSALS: Final[Mapping[RefusalKind, tuple[int, str]]] = {
    RefusalKind.NOT_OPEN: (
        404,
        "The ticket is not open at the broker; open the position first, or correct the ticket.",
    ),
    RefusalKind.TRADE_UNKNOWN: (404, "DTMS does not manage this ticket."),
    RefusalKind.CONFLICT: (409, "The position at the broker, or its registration here, has other facts; see fields."),
    RefusalKind.SYMBOL_TAKEN: (
        409,
        "The account nets, and a trade on this symbol is managed already; release it first.",
    ),
    RefusalKind.HEDGE_OPEN: (409, "The trade has an open hedge; close it first, or ask again with ?force=true."),
    RefusalKind.ON_ITS_WAY: (409, "An order of this trade is on its way; try again when it is decided."),
    RefusalKind.INTENT_UNKNOWN: (404, "There is no such order."),
    RefusalKind.NOT_QUARANTINED: (
        409,
        "The order is decided, or still being decided; only a quarantined one waits for you.",
    ),
    RefusalKind.OTHERWISE: (409, "The broker shows otherwise; see fields."),
    RefusalKind.RISK_UNKNOWN: (422, "The risk of the trade cannot be told from the stops; see fields."),
    RefusalKind.WRONG_SIDE: (422, "The stop must lie on the losing side of the present price; see fields."),
    RefusalKind.TARGET_WRONG_SIDE: (422, "The target must lie on the winning side of the present price; see fields."),
    RefusalKind.INVALID: (422, "A part of the request is not valid; see fields."),
    RefusalKind.UNKNOWN_PROFILE: (422, "There is no exit profile of this name; see fields."),
    RefusalKind.NOT_READY: (
        503,
        (
            "An opening by DTMS is still at work on the position; or there is no quote or no datable bars of the symbol yet: "
            "they come soon after the first question, or as its market opens; try again."
        ),
    ),
}
_CODES: Final[Mapping[RefusalKind, str]] = {RefusalKind.INVALID: "invalid_request"}
_REMEDIES: Final[Mapping[tuple[RefusalKind, str], str]] = {
    (RefusalKind.NOT_OPEN, "ticket"): "no open position has this ticket",
    (RefusalKind.CONFLICT, "ticket"): "this ticket is managed with another symbol, direction, entry or initial stop",
    (RefusalKind.CONFLICT, "direction"): "symbol or direction is not the position's at the broker",
    (RefusalKind.CONFLICT, "entry"): "the position was opened at another price",
    (RefusalKind.CONFLICT, "volume"): "the position has another volume",
    (RefusalKind.INVALID, "symbol"): "the broker does not know this symbol, or has no data of it",
    (RefusalKind.RISK_UNKNOWN, "initial_stop"): (
        "the first stop must lie on the losing side of the entry, by max(2 x spread, 0.25 ATR(M15)) at least"
    ),
    (RefusalKind.WRONG_SIDE, "stop_loss"): (
        "below the bid for a BUY, above the ask for a SELL, by the broker's stops level at least; where the price passed "
        "it while it was being set, close the position, or release the ticket and register it with another stop"
    ),
    (RefusalKind.TARGET_WRONG_SIDE, "take_profit"): (
        "above the bid for a BUY, below the ask for a SELL, by the broker's stops level at least"
    ),
    **{
        (RefusalKind.INVALID, field): "it rounds to no price at all: give one of the symbol's smallest step at least"
        for field in ("stop_loss", "initial_stop", "take_profit")
    },
    (RefusalKind.OTHERWISE, "applied"): "an open position or a deal carries the order's mark: it was applied",
    (RefusalKind.OTHERWISE, "ticket"): "name the open position that the order has opened, of its symbol and side",
    (RefusalKind.UNKNOWN_PROFILE, "profile"): "name one of the policy's profiles, or leave it out",
}

_log = structlog.get_logger("dtms.server")


async def enable(site: Site, offload: Offload, wanted: Registration) -> Registered:
    """Register a trade; return once its stop is at the broker.

    Raises:
        Problem: The registration is refused; or 503 `protection_pending`: it stands, but its stop has not been read back.
    """
    parts = site.parts
    done = await offload(partial(_register, parts, wanted))
    site.board.drop(wanted.ticket, done.trade.ticket)
    parts.wake()
    if parts.advisory:  # nothing is sent for this account, and no waiting would change that
        return done
    protected = partial(_is_protected, parts, done.trade.ticket)
    if not await offload(protected):
        await offload(partial(_try_again, parts, done.trade.ticket, "register", lambda trade: trade.stop is None))
        if not await parts.wait_until(protected, STOP_WAIT_S):
            raise Problem(
                503,
                "protection_pending",
                "The trade is registered, but its stop has not been seen at the broker yet; send the same again.",
                headers={"Retry-After": "1"},
                extra={"epoch": parts.ledger.epoch, "version": done.trade.version},
            )
        site.board.drop(wanted.ticket, done.trade.ticket)
    return done


async def release(site: Site, offload: Offload, ticket: Ticket, *, force: bool) -> None:
    """Stop managing a trade; with `force` an open hedge is closed first. The stop at the broker stays.

    Raises:
        Problem: 404 unknown; 409 a hedge is open, or an order of the trade is on its way to the broker.
    """
    parts = site.parts
    # What is on its way could still open a hedge, and nobody would own it afterwards.
    if not await parts.wait_until(lambda: not _on_its_way(parts, ticket), STOP_WAIT_S):
        raise Problem(
            409,
            "intent_on_its_way",
            "An order of this trade is on its way to the broker; ask again when it has been decided.",
            headers={"Retry-After": "5"},
        )
    if not await offload(partial(_release, parts, ticket, force)):
        parts.wake()
        await offload(partial(_close_hedge_again, parts, ticket))
        gone = await parts.wait_until(lambda: _hedge_is_gone(parts, ticket), HEDGE_WAIT_S)
        if not gone or not await offload(partial(_release, parts, ticket, force)):
            detail = "The hedge is being closed and is not gone yet; send the same again."
            raise Problem(409, RefusalKind.HEDGE_OPEN.value, detail, headers={"Retry-After": "1"})
    site.board.drop(ticket)


def _register(parts: ServerParts, wanted: Registration) -> Registered:
    children = (leg.ticket for trade in parts.monitor.book.page().trades for leg in trade.legs)
    if wanted.ticket in children:
        detail = "The ticket is a hedge or re-add of a managed trade; such are managed with their parent alone."
        fault = FieldFault(field="ticket", code="child_position", message="name a position of your own")
        raise Problem(409, "child_position", detail, fields=[fault], extra={"epoch": parts.ledger.epoch})
    try:
        with parts.lock:
            return parts.registry.register(wanted)
    except RegistrationRefusedError as error:
        raise refused(error, parts.ledger.epoch) from error


def _release(parts: ServerParts, ticket: Ticket, force: bool) -> bool:  # noqa: FBT001 - bound by `partial`
    try:
        return parts.registry.release(ticket, force=force)
    except RegistrationRefusedError as error:
        raise refused(error, parts.ledger.epoch) from error


def refused(error: RegistrationRefusedError, epoch: str) -> Problem:
    """Return the answer that a refusal is."""
    status, detail = _REFUSALS[error.kind]
    code = _CODES.get(error.kind, error.kind.value)
    _log.info("registration refused", kind=error.kind.value, field=error.field, reason=str(error))
    remedy = _REMEDIES.get((error.kind, error.field), "this value cannot be used")
    fields = [FieldFault(field=error.field, code=code, message=remedy)] if error.field else []
    headers = {"Retry-After": "1"} if status == 503 else {}  # noqa: PLR2004 - an HTTP status
    return Problem(status, code, detail, headers=headers, fields=fields, extra={"epoch": epoch})


def _is_protected(parts: ServerParts, ticket: Ticket) -> bool:
    """Say whether the stop is at the broker and the ledger has it: the journal's read-back is what writes it there."""
    with parts.ledger.read() as tx:
        trade = tx.trade(ticket)
    return trade is not None and trade.stop is not None and parts.registry.protected(ticket)


def _on_its_way(parts: ServerParts, ticket: Ticket) -> bool:
    with parts.ledger.read() as tx:
        trade = tx.trade(ticket)
        unfinished = () if trade is None or not trade.is_open else tx.unfinished(trade.trade_id)
    return any(intent.state in _ON_ITS_WAY for intent in unfinished)


def _hedge_is_gone(parts: ServerParts, ticket: Ticket) -> bool:
    with parts.ledger.read() as tx:
        trade = tx.trade(ticket)
    return trade is None or trade.hedge is None


def _close_hedge_again(parts: ServerParts, ticket: Ticket) -> None:
    with parts.ledger.read() as tx:
        trade = tx.trade(ticket)
    if trade is not None and trade.hedge is not None:
        hedge = trade.hedge.identifier
        _try_again(parts, ticket, f"release:{hedge}", lambda present: present.hedge is not None)


def _try_again(parts: ServerParts, ticket: Ticket, decision_id: str, wanted: Callable[[Trade], bool]) -> None:
    """Plan a further attempt of a command whose last one came to nothing and whose goal is not met."""
    with parts.ledger.write() as tx:
        trade = tx.trade(ticket)
        if trade is None or not trade.is_open or not wanted(trade):
            return
        attempts = (i for i in each_intent(tx, trade.trade_id) if i.decision_id == decision_id)
        last = max(attempts, key=lambda intent: intent.attempt, default=None)
        if last is not None and last.state in _CAME_TO_NOTHING:
            _plan_again(tx, trade, last, parts)


def _plan_again(tx: LedgerWrite, trade: Trade, last: Intent, parts: ServerParts) -> None:
    tx.add_intent(
        journal.new_intent(
            trade,
            _as_left_by_hand(trade, last),
            decision_id=last.decision_id,
            owner=last.owner,
            rule=last.rule,
            now=parts.clock.market_now(),
            priced_expiry_s=0.0,  # a command's target did not come from a price: it does not expire
            step=last.step,
            attempt=last.attempt + 1,
        )
    )


def _as_left_by_hand(trade: Trade, last: Intent) -> Action:
    """Return the action once more; a target that a hand has changed since it was first planned is kept."""
    action = last.action
    touched = isinstance(action, SetStop) and trade.target != last.precondition.target
    return replace(action, target=trade.target) if touched and isinstance(action, SetStop) else action

"""A person's decisions over HTTP: confirm a held trade, let go of a position in our name, settle a quarantined order."""

from __future__ import annotations

from functools import partial

from dtms.app.commands.operator import Person
from dtms.app.commands.registration import RefusalKind, RegistrationRefusedError
from dtms.domain.intent import Intent
from dtms.domain.trade import Trade
from dtms.domain.units import Ticket
from dtms.services.server.bodies import SettleBody
from dtms.services.server.parts import ServerParts, Site
from dtms.services.server.registration import refused, release
from dtms.services.web.offload import Offload
from dtms.services.web.problem import Problem


async def confirm(site: Site, offload: Offload, ticket: Ticket, *, actor: str) -> Trade:
    """Lift the hold of a trade.

    Raises:
        Problem: 404 unknown or not open at the broker; 409 an order is on its way.
    """
    parts = site.parts
    trade = await offload(partial(_confirm, parts, ticket, actor))
    site.board.drop(ticket, trade.ticket)
    parts.wake()
    return trade


async def release_or_let_go(site: Site, offload: Offload, ticket: Ticket, *, force: bool, actor: str) -> None:
    """Stop managing a trade; a position in our name that the ledger does not know is foreign from now on.

    Raises:
        Problem: As `release`.
    """
    try:
        await release(site, offload, ticket, force=force)
    except Problem as problem:
        if problem.code != RefusalKind.TRADE_UNKNOWN.value or not await offload(
            partial(_let_go, site.parts, ticket, actor)
        ):
            raise


async def settle(site: Site, offload: Offload, intent_id: str, body: SettleBody, *, actor: str) -> Intent:
    """Say what a quarantined order has done.

    Raises:
        Problem: 404 no such order; 409 not quarantined, or the broker shows otherwise.
    """
    intent = await offload(partial(_settle, site.parts, intent_id, body, actor))
    site.parts.wake()
    return intent


def _person(parts: ServerParts) -> Person:
    return Person(ledger=parts.ledger, reads=parts.registry.reads, clock=parts.clock, desk=parts.registry.desk)


def _confirm(parts: ServerParts, ticket: Ticket, actor: str) -> Trade:
    try:
        with parts.lock:
            return _person(parts).confirm(ticket, actor=actor)
    except RegistrationRefusedError as error:
        raise refused(error, parts.ledger.epoch) from error


def _let_go(parts: ServerParts, ticket: Ticket, actor: str) -> bool:
    try:
        _person(parts).let_go(ticket, actor=actor)
    except RegistrationRefusedError:
        return False
    return True


def _settle(parts: ServerParts, intent_id: str, body: SettleBody, actor: str) -> Intent:
    ticket = None if body.ticket is None else Ticket(body.ticket)
    try:
        with parts.lock:
            return _person(parts).settle(intent_id, applied=body.applied, ticket=ticket, actor=actor)
    except RegistrationRefusedError as error:
        raise refused(error, parts.ledger.epoch) from error

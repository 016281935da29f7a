"""`dtms audit`: whether the audit chain is whole, and what stands in it. It reads the ledger itself and changes nothing."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Annotated

import typer

from dtms.cli import options
from dtms.cli.output import NotFoundError, emit, line
from dtms.cli.own_ledger import own_ledger

if TYPE_CHECKING:
    from dtms.adapters.sql import SqlLedger
    from dtms.domain.records import AuditEntry

_PAGE = 1_000


def add(app: typer.Typer) -> None:
    """Add the commands."""
    audit = typer.Typer(
        name="audit", help="Verify or show the audit chain.", no_args_is_help=True, rich_markup_mode=None
    )
    audit.command()(verify)
    audit.command()(show)
    app.add_typer(audit)


def verify(config: options.Config = None, as_json: options.Json = False) -> None:
    """Check every link of the chain; ends with 1 where one was changed, removed or inserted."""
    from dtms.adapters.sql import verify_chain
    from dtms.errors import LedgerError, LedgerUnavailableError

    with own_ledger(options.settings_of(config)) as (ledger, account):
        try:
            links = verify_chain(ledger)
        except LedgerUnavailableError:
            raise
        except LedgerError as error:
            if not as_json:
                raise
            emit({"ok": False, "account": account, "error": str(error)})
            raise typer.Exit(1) from error
    if as_json:
        emit({"ok": True, "account": account, "links": links})
        return
    line(f"the audit chain of {account} is whole: {links} links")


def show(
    ticket: Annotated[int | None, typer.Option("--ticket", min=1, help="Only this trade's.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="The newest so many.")] = 50,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Show the newest links, oldest first."""
    from dtms.domain.units import to_iso

    with own_ledger(options.settings_of(config)) as (ledger, _account):
        links = _links(ledger, ticket, limit)
    told = [
        {"seq": e.seq, "at": to_iso(e.at), "actor": e.actor, "what": e.what, "trade_id": e.trade_id, "body": e.body}
        for e in links
    ]
    if as_json:
        emit({"links": told})
        return
    for link in told:
        line(f"{link['seq']:>6}  {link['at']}  {link['actor']:<10} {link['what']:<14} {link['body']}")


def _links(ledger: SqlLedger, ticket: int | None, limit: int) -> deque[AuditEntry]:
    """Return the newest links, oldest first: those of a ticket are looked for from the chain's beginning."""
    from dtms.domain.units import Ticket

    found: deque[AuditEntry] = deque(maxlen=limit)
    with ledger.read() as tx:
        trade = None if ticket is None else tx.trade(Ticket(ticket))
        if ticket is not None and trade is None:
            msg = f"ticket {ticket} was never managed"
            raise NotFoundError(msg)
        seq = max(0, tx.meta().audit_seq - limit) if trade is None else 0
        while page := tx.audit(after=seq, limit=_PAGE):
            seq = page[-1].seq
            found += [entry for entry in page if trade is None or entry.trade_id == trade.trade_id]
    return found

"""`dtms ledger`: backup, restore, and what a restored database needs before anybody acts on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtms.cli import options
from dtms.cli.output import emit, say

if TYPE_CHECKING:
    from dtms.adapters.sql.backup import Copied

_AFTER = (
    "Next: start dtms. It compares the broker with the ledger before it sends anything; "
    "what it finds in our name without a record it leaves alone and tells you."
)


def add(app: typer.Typer) -> None:
    """Add the commands."""
    ledger = typer.Typer(
        name="ledger", help="Back up or restore the ledger.", no_args_is_help=True, rich_markup_mode=None
    )
    ledger.command()(backup)
    ledger.command()(restore)
    ledger.command()(renew)
    app.add_typer(ledger)


def backup(
    path: Annotated[Path, typer.Argument(help="The new file; an existing one is refused.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Copy the ledger into one file while everything runs; the copy is opened and its audit chain walked."""
    from dtms.adapters.clocks import wall_ms
    from dtms.adapters.sql.backup import backup_file

    made = backup_file(options.settings_of(config).ledger, path, clock=wall_ms)
    _tell(made, f"backup {made.path} of account {made.account} made and checked", as_json=as_json)


def restore(
    path: Annotated[Path, typer.Argument(help="What `dtms ledger backup` wrote.")],
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Put a backup in the ledger's place; dtms must be stopped, the old file is kept, the epoch is new."""
    from dtms.adapters.clocks import wall_ms
    from dtms.adapters.sql.backup import restore_file

    made = restore_file(options.settings_of(config).ledger, path, clock=wall_ms)
    said = f"ledger {made.path} of account {made.account} restored; epoch {made.epoch}"
    if made.replaced is not None:
        said += f"; the old one is {made.replaced}"
    if made.in_doubt:
        said += f"; {made.in_doubt} planned actions are in doubt and will be settled by what the broker shows"
    _tell(made, said, as_json=as_json)
    say(_AFTER)


def renew(config: options.Config = None, as_json: options.Json = False) -> None:
    """Make a PostgreSQL ledger fit to act on after its database was restored or promoted; dtms must be stopped."""
    from dtms.adapters.clocks import wall_ms
    from dtms.adapters.sql import open_ledger
    from dtms.adapters.sql.backup import renew as renew_ledger
    from dtms.adapters.sql.opening import identity_of
    from dtms.adapters.sql.places import ROLES

    url = options.settings_of(config).ledger
    account = identity_of(url)[0]
    ledger = open_ledger(url, account=account, clock=wall_ms, create=False)
    try:
        places = [ledger.leases.place(role, "dtms ledger renew") for role in ROLES]
        in_doubt = renew_ledger(ledger, now=wall_ms())
        for place in places:
            place.release()
        epoch = ledger.epoch
    finally:
        ledger.close()
    if as_json:
        emit({"account": account, "epoch": epoch, "in_doubt": in_doubt})
    else:
        typer.echo(f"ledger of account {account} renewed; epoch {epoch}; {in_doubt} planned actions are in doubt")
    say(_AFTER)


def _tell(made: Copied, said: str, *, as_json: bool) -> None:
    if not as_json:
        typer.echo(said)
        return
    emit(
        {
            "path": str(made.path),
            "account": made.account,
            "epoch": made.epoch,
            "audit_links": made.audit_links,
            "in_doubt": made.in_doubt,
            "replaced": None if made.replaced is None else str(made.replaced),
        }
    )

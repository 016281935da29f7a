"""What only a person may decide: `confirm` a held trade, `settle` a quarantined order. `adopt` and `release` stand in `ask`."""

from __future__ import annotations

from typing import Annotated

import typer

from dtms.cli import options
from dtms.cli.output import emit, line

_SERVER = "DTMS server"


def add(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (confirm, settle):
        app.command()(command)


def confirm(ticket: options.Ticket, config: options.Config = None, as_json: options.Json = False) -> None:
    """Lift the hold of a trade: what the broker shows of it now is right, and it is decided on again."""
    from dtms.cli.figures import shown_members
    from dtms.cli.http import ask, read_token

    settings = options.settings_of(config)
    url = f"{settings.server_url}/dtms/trade/{ticket}/confirm"
    answer = ask("POST", url, service=_SERVER, token=read_token(settings.data_dir))
    if as_json:
        emit(answer)
        return
    told = shown_members(answer)
    now = f"{answer['state']}, {told['volume']} lots, stop {told['stop_loss']}"
    line(f"{answer['present_ticket']} is confirmed: {now}, hold {answer['hold']}")


def settle(
    intent: Annotated[str, typer.Argument(help="The order's id, as the alert names it.")],
    applied: Annotated[
        bool, typer.Option("--applied/--not-applied", help="Whether the broker has carried it out.", show_default=False)
    ],
    ticket: Annotated[
        int | None,
        typer.Option("--ticket", min=1, help="The position that an opening has opened, where its mark is lost."),
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Say what a quarantined order has done at the broker: nobody else can tell."""
    from dtms.cli.http import ask, read_token

    settings = options.settings_of(config)
    body = {"applied": applied} if ticket is None else {"applied": applied, "ticket": ticket}
    url = f"{settings.server_url}/dtms/intents/{intent}/settle"
    answer = ask("POST", url, service=_SERVER, body=body, token=read_token(settings.data_dir))
    if as_json:
        emit(answer)
        return
    line(f"{answer['id']} is {answer['state']}: {answer['reason']}")

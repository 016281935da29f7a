"""`dtms instruments`: what the broker says of its instruments, as a file for the simulated broker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtms.cli import options
from dtms.cli.output import FailedError, say

if TYPE_CHECKING:
    from dtms.ports.broker import BrokerReads

instruments = typer.Typer(no_args_is_help=True, help="Specifications of instruments for the simulated broker.")


def add(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(instruments, name="instruments")


@instruments.command()
def export(
    symbols: Annotated[
        list[str] | None, typer.Argument(help="The broker's names; those of all open positions without any.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write; never over a file that is there. stdout without it.")
    ] = None,
    config: options.Config = None,
) -> None:
    """Write the broker's specifications of symbols as an instrument file, asked of the running order gateway."""
    from dtms.adapters.gateway_client import GatewayClient
    from dtms.cli.http import read_token

    settings = options.settings_of(config)
    client = GatewayClient(settings.gateway_url, token=read_token(settings.data_dir))
    try:
        client.check_service()
        text = exported(client, symbols or ())
    finally:
        client.close()
    if out is None:
        typer.echo(text)
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        msg = f"{out} cannot be written ({error.strerror}); choose a new file in a folder that is yours"
        raise FailedError(msg) from error
    say(f"written to {out}; give it to a simulation with --instrument {out}")


def exported(broker: BrokerReads, symbols: Sequence[str]) -> str:
    """Return the instrument file of a broker's symbols; of all open positions' where none is named.

    Raises:
        FailedError: None is named and no position is open.
        InvalidDataError: The broker does not know a symbol.
        StaleDataError: A symbol has no quote yet.
    """
    from dtms_lab.instruments.export import Told, text_of

    names = tuple(symbols) or tuple(dict.fromkeys(each.symbol for each in broker.positions().positions))
    if not names:
        raise FailedError(
            "no position is open, so no symbol is known; name the symbols: dtms instruments export EURUSD"
        )
    return text_of([Told(instrument=broker.instrument(name), spread=broker.quote(name).spread) for name in names])

"""Commands that are one process of the product: the three services, and the simulated terminal."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtms.cli import options, tapes

if TYPE_CHECKING:
    from dtms.settings import Settings

Supervised = Annotated[
    bool, typer.Option("--supervised", hidden=True, help="End when stdin ends: the supervisor has gone.")
]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(gateway)
    app.command()(server)
    app.command()(api)
    app.command(hidden=True)(terminal)


def gateway(config: options.Config = None, supervised: Supervised = False) -> None:
    """Run the order gateway: the only process that holds the broker, and the only one that sends."""
    _run("gateway", options.settings_of(config), supervised=supervised)


def server(config: options.Config = None, supervised: Supervised = False) -> None:
    """Run the DTMS server: scores, decides, answers for the state of every trade."""
    _run("server", options.settings_of(config), supervised=supervised)


def api(config: options.Config = None, supervised: Supervised = False) -> None:
    """Run the main API with the exit manager and the dashboard."""
    _run("api", options.settings_of(config), supervised=supervised)


def terminal(
    tape: options.TapeFile,
    symbol: options.Symbol = None,
    tape_tz: options.TapeZone = None,
    start: options.From = None,
    speed: Annotated[float, typer.Option(min=0.001, help="How many times faster than the clock the tape runs.")] = 1.0,
    balance: Annotated[float, typer.Option(min=1.0, help="The account's first deposit.")] = 10_000.0,
    oracle: Annotated[Path | None, typer.Option(help="Where every applied operation is recorded.")] = None,
    books: Annotated[Path | None, typer.Option(help="Where the account is kept, to go on with after a death.")] = None,
    traits: Annotated[str, typer.Option(help="What differs from one terminal to another, as JSON.")] = "{}",
    frame: tapes.Frame = None,
    instrument: tapes.Instruments = None,
    config: options.Config = None,
    supervised: Supervised = False,
) -> None:
    """Run the simulated terminal over a tape; it stands at its start until it is told to begin.

    Started again with the same books it goes on with the account that it had, and with the tape where that has come to.
    """
    from dtms.adapters.clocks import origin_of
    from dtms_lab.simulate.tapes import covering, load_piece
    from dtms_lab.terminal.host_process import run_terminal
    from dtms_lab.terminal.records import AccountSpec
    from dtms_lab.terminal.traits import read_traits

    settings = options.settings_of(config)
    _prepare("terminal", supervised=supervised)
    begin = options.instant_of(start)
    source = tapes.source_of(tape, settings, symbol=symbol, tz=tape_tz, frame=frame, instruments=instrument)
    piece = load_piece(source, start=begin)
    run_terminal(
        [piece],
        settings.address_file,
        speed=speed,
        oracle_path=oracle,
        start=begin,
        account=AccountSpec(balance=balance),
        instruments=covering(piece, source.instruments),
        traits=read_traits(traits),
        books_path=books,
        origin_ns=None if settings.clock_file is None else origin_of(settings.clock_file),
    )


def _run(role: str, settings: Settings, *, supervised: bool) -> None:
    from dtms.services.preflight import ONE_SERVICE, require_startable

    require_startable(settings, ONE_SERVICE)
    _prepare(role, supervised=supervised)
    import_module(f"dtms.services.{role}.main").run(settings)


def _prepare(role: str, *, supervised: bool) -> None:
    from dtms.services.host import configure_logs, end_with_parent

    configure_logs(role)
    if supervised:
        end_with_parent()

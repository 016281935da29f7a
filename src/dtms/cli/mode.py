"""`dtms mode`: what the system may do by itself and why; `halt` and `resume` are a person's orders."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dtms.cli import options
from dtms.cli.output import emit, line

group = typer.Typer(name="mode", help="Show what the system may do by itself and why; halt it, or resume after a halt.")
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the audit.")]

_SERVER = "DTMS server"


def add(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group)


@group.callback(invoke_without_command=True)
def show(context: typer.Context, config: options.Config = None, as_json: options.Json = False) -> None:
    """Show what the system may do by itself and why; halt it, or resume after a halt."""
    if context.invoked_subcommand is not None:
        return
    from dtms.cli.http import ask

    settings = options.settings_of(config)
    _print(ask("GET", f"{settings.server_url}/dtms/mode", service=_SERVER), as_json=as_json)


@group.command()
def halt(reason: Reason, config: options.Config = None, as_json: options.Json = False) -> None:
    """Stop everything that is automatic; the stops at the broker remain."""
    _order("halt", reason, config, as_json=as_json)


@group.command()
def resume(reason: Reason, config: options.Config = None, as_json: options.Json = False) -> None:
    """Leave HALT; refused while its cause still holds."""
    _order("resume", reason, config, as_json=as_json)


def _order(what: str, reason: str, config: Any, *, as_json: bool) -> None:
    from dtms.cli.http import ask, read_token

    settings = options.settings_of(config)
    token = read_token(settings.data_dir)
    url = f"{settings.server_url}/dtms/mode/{what}"
    _print(ask("POST", url, service=_SERVER, body={"reason": reason}, token=token), as_json=as_json)


def _print(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit(answer)
        return
    line(f"mode {answer['mode']}")
    if answer["kill_switch"] is not None:
        line(f"the kill switch is at {answer['kill_switch']}")
    for cause in answer["causes"]:
        ended = "" if cause["ended"] is None else f", ended {cause['ended']}: waits for a clean full reconcile"
        line(f"{cause['cause']} ({cause['mode']}, told by the {cause['told_by']} since {cause['since']}{ended})")
        line(f"  seen: {cause['detail']}")
        line(f"  to do: {cause['remedy']}")
    if answer["halted"]:
        line("a person must resume: dtms mode resume --reason TEXT")

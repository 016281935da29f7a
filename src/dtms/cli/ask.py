"""Questions to the running services, and the two requests of an adopting person: `adopt` and `release`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dtms.cli import options
from dtms.cli.output import NotFoundError, UnreachableError, emit
from dtms.errors import SettingsError

StateName = Annotated[str | None, typer.Option("--state", help="Only trades in this state.")]
SymbolName = Annotated[str | None, typer.Option("--symbol", help="Only trades of this symbol.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=500, help="At most so many.")]

_SERVER = "DTMS server"
_API = "main API"
_GATEWAY = "order gateway"

_FIRST_QUOTE_S = 10.0
"""How long a terminal may take to show a symbol that was not in its Market Watch."""


def add(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (status, trades, trade, explain, actions, adopt, release):
        app.command()(command)


def status(config: options.Config = None, as_json: options.Json = False) -> None:
    """Tell whether the services work, and what the whole system is doing."""
    from dtms.cli.http import ask

    settings = options.settings_of(config)
    services = {
        "gateway": _readiness(f"{settings.gateway_url}/health/ready", _GATEWAY),
        "server": _readiness(f"{settings.server_url}/health/ready", _SERVER),
        "api": _readiness(f"{settings.api_url}/health/ready", _API),
    }
    answer = {**ask("GET", f"{settings.server_url}/dtms/status", service=_SERVER), "services": services}
    if as_json:
        emit(answer)
        return
    from dtms.cli.show import show_pairs

    causes = [f"{each['cause']} ({each['mode']}): {each['detail']}. {each['remedy']}" for each in answer["causes"]]
    pressed = answer["kill_switch"]
    if pressed is not None:
        causes.append(f"the kill switch is at {pressed}; let go of it with: dtms kill release")
    told = {**answer, "causes": "\n".join(causes) or "none", "uptime_s": round(answer["uptime_s"])}
    show_pairs("dtms", ((name.replace("_", " "), value) for name, value in told.items()))


def _readiness(url: str, service: str) -> str:
    from dtms.cli.http import ask

    try:
        ask("GET", url, service=service)
    except UnreachableError as error:
        _, said, why = str(error).partition(" said: ")
        return f"not ready: {why}" if said else "unreachable"
    return "ready"


def trades(
    state: StateName = None,
    symbol: SymbolName = None,
    limit: Limit = 100,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """List the trades."""
    from dtms.cli.http import ask

    settings = options.settings_of(config)
    query = {"state": state, "symbol": symbol, "limit": limit}
    answer = ask("GET", f"{settings.server_url}/dtms/trades", service=_SERVER, query=query)
    if as_json:
        emit(answer)
        return
    from dtms.cli.show import TRADE_COLUMNS, UNMANAGED_COLUMNS, show_rows, trade_row, unmanaged_row

    if answer["trades"]:
        show_rows("Trades", TRADE_COLUMNS, (trade_row(each) for each in answer["trades"]))
    else:
        typer.echo(
            "no trade is managed" if state is None and symbol is None else "no trade is managed that is asked for"
        )
    if answer["unmanaged"]:
        title = "In dtms's name, and managed by no trade: adopt, release or close each"
        show_rows(title, UNMANAGED_COLUMNS, (unmanaged_row(each) for each in answer["unmanaged"]))


def trade(ticket: options.Ticket, config: options.Config = None, as_json: options.Json = False) -> None:
    """Show one trade."""
    _one(ticket, "", config, as_json=as_json)


def explain(ticket: options.Ticket, config: options.Config = None, as_json: options.Json = False) -> None:
    """Tell why a trade is in its state, and what would change it."""
    _one(ticket, "/explain", config, as_json=as_json)


def _one(ticket: int, rest: str, config: Any, *, as_json: bool) -> None:
    from dtms.cli.http import ask

    settings = options.settings_of(config)
    answer = ask("GET", f"{settings.server_url}/dtms/trade/{ticket}{rest}", service=_SERVER)
    if as_json:
        emit(answer)
        return
    from dtms.cli.figures import shown_members
    from dtms.cli.show import show_explanation, show_pairs

    if rest:
        show_explanation(answer)
    else:
        members = shown_members(answer).items()
        show_pairs(f"Trade {ticket}", ((name.replace("_", " "), value) for name, value in members))


def actions(
    ticket: Annotated[int | None, typer.Option("--ticket", min=1, help="Only this trade's.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="From this instant on, ISO 8601.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="At most so many.")] = 100,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """List what was asked of the broker, and what came of it."""
    from dtms.cli.http import ask
    from dtms.domain.units import to_iso

    settings = options.settings_of(config)
    begin = options.instant_of(since, "--since")
    query = {"ticket": ticket, "since": None if begin is None else to_iso(begin), "limit": limit}
    answer = ask("GET", f"{settings.server_url}/dtms/actions", service=_SERVER, query=query)
    if as_json:
        emit(answer)
        return
    from dtms.cli.show import ACTION_COLUMNS, action_row, show_rows

    show_rows("Actions", ACTION_COLUMNS, (action_row(each) for each in answer["actions"]))


def adopt(
    ticket: options.Ticket,
    stop_loss: Annotated[
        float | None, typer.Option("--stop-loss", help="The stop; the position's own without it.")
    ] = None,
    initial_stop: Annotated[
        float | None, typer.Option("--initial-stop", help="The first stop, where the present one is past the entry.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="The exit rules; the policy's own choice without it.")
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Take an open position under management: its facts are read at the broker, its exits get a profile."""
    from dtms.cli.figures import shown_members
    from dtms.cli.http import ask, read_token

    settings = options.settings_of(config)
    token = read_token(settings.data_dir)
    found = ask("GET", f"{settings.gateway_url}/positions", service=_GATEWAY)["positions"]
    position = next((each for each in found if each["ticket"] == ticket), None)
    if position is None:
        msg = f"ticket {ticket} is not open at the broker; open are {', '.join(str(p['ticket']) for p in found) or 'none'}"
        raise NotFoundError(msg)
    if stop_loss is None and position["stop"] is None:
        msg = f"position {ticket} has no stop at the broker, and a trade needs one; say which: --stop-loss PRICE"
        raise SettingsError(msg)
    body = {
        "ticket": ticket,
        "symbol": position["symbol"],
        "direction": position["side"],
        "entry": position["entry"],
        "volume": position["volume"],
        "stop_loss": position["stop"] if stop_loss is None else stop_loss,
        "initial_stop": initial_stop,
        "take_profit": position["target"],
        "profile": profile,
    }
    given = {name: value for name, value in body.items() if value is not None}
    url = f"{settings.server_url}/dtms/trade/enable"
    answer = ask("POST", url, service=_SERVER, body=given, token=token, patience_s=_FIRST_QUOTE_S)
    rules = {"profile": answer["profile"]}
    exits = ask("PUT", f"{settings.api_url}/api/exits/{ticket}", service=_API, body=rules, token=token)
    if as_json:
        emit({**answer, "exits": exits})
        return
    before = "was under management already" if answer["already_registered"] else "is under management now"
    stop = shown_members(answer)["stop_loss"]
    known = ", uncalibrated: the general numbers apply" if answer["uncalibrated"] else ""
    typer.echo(f"{ticket} {before}: {answer['state']}, stop {stop}, exits {exits['profile']}{known}")


def release(
    ticket: options.Ticket,
    force: Annotated[bool, typer.Option("--force", help="Close an open hedge first.")] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Stop managing a trade; its stop at the broker stays."""
    from dtms.cli.http import ask, read_token

    settings = options.settings_of(config)
    token = read_token(settings.data_dir)
    query = {"force": "true"} if force else None
    ask("DELETE", f"{settings.server_url}/dtms/trade/{ticket}", service=_SERVER, query=query, token=token)
    if as_json:
        emit({"ticket": ticket, "released": True})
        return
    typer.echo(f"{ticket} is not managed any more; its stop at the broker stays")

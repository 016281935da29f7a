"""`dtms config`: the settings and the policy that are in force, and whether they can be used."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dtms.cli import options
from dtms.cli.output import FailedError, NotFoundError, UnreachableError, emit, say

if TYPE_CHECKING:
    from dtms.domain.policy import Policies
    from dtms.settings import Settings


Symbols = Annotated[
    list[str] | None,
    typer.Option("--symbol", help="Also tell which policy this symbol of the broker's gets; may be repeated."),
]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    config = typer.Typer(
        name="config", help="Show or check the settings and the policy.", no_args_is_help=True, rich_markup_mode=None
    )
    config.command()(show)
    config.command()(check)
    app.add_typer(config)


def show(policy: options.Policy = None, config: options.Config = None, as_json: options.Json = False) -> None:
    """Show the settings and the policy in force; secrets are not shown."""
    settings, policies = _loaded(policy, config)
    answer = {
        "settings": settings.model_dump(mode="json"),
        "policy": asdict(policies.default),
        "by_symbol": {name: each.digest for name, each in policies.by_symbol.items()},
    }
    if as_json:
        emit(answer)
        return
    from dtms.cli.show import show_pairs

    show_pairs("Settings", answer["settings"].items())
    for section, numbers in answer["policy"].items():
        show_pairs(f"Policy: {section}", numbers.items() if isinstance(numbers, dict) else ((section, numbers),))


def check(
    policy: options.Policy = None,
    symbol: Symbols = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Look at all that a start needs, as the start does; ends with its exit code where it would not start.

    Shows as well which policy each symbol gets: those in Market Watch and the open ones where the gateway runs, and those
    named.
    """
    from dtms.cli.output import exit_of
    from dtms.services.preflight import findings

    settings = options.settings_of(config, policy_file=policy)
    found = tuple(findings(settings))
    failed = [each.error for each in found if each.error is not None]
    policies = None if any(each.name == "policy" and each.error is not None for each in found) else _book(settings)
    symbols = [] if policies is None else policies_of(settings, policies, tuple(symbol or ()))
    answer: dict[str, Any] = {
        "ok": not failed,
        "broker": settings.broker,
        "armed": settings.armed,
        "policy": None if policies is None else policies.default.digest,
        "findings": [{"name": each.name, "ok": each.error is None, "said": each.said} for each in found],
        "symbols": symbols,
    }
    if as_json:
        emit(answer)
    elif not failed:
        _tell(answer)
    for error in failed:
        say(f"dtms: {error}")
    if failed:
        raise typer.Exit(exit_of(failed[0]))


def policies_of(settings: Settings, policies: Policies, named: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return which policy each symbol gets: as the gateway tells it where that runs, else as its name tells it."""
    from dtms.domain.symbols import asset_class

    seen = _seen(settings, named)
    told = []
    for symbol in dict.fromkeys((*seen, *named)):
        facts = seen.get(symbol)
        name = policies.canonical(symbol) if facts is None else facts["canonical"]
        chosen = policies.of(name)
        told.append(
            {
                "symbol": symbol,
                "canonical": name,
                "asset": asset_class(name).value if facts is None else facts["asset"],
                "told_by": "its name" if facts is None else "the broker",
                "uncalibrated": not policies.is_calibrated(name),
                "policy": chosen.digest,
                "own_policy": name in policies.by_symbol,
                "spread_typical": chosen.spread_typical,
            }
        )
    return told


def _seen(settings: Settings, named: tuple[str, ...]) -> dict[str, Any]:
    """Return the specifications that a running gateway gives: of the named symbols, the open ones, and Market Watch."""
    from urllib.parse import quote

    from dtms.cli.http import ask

    try:
        positions = ask("GET", f"{settings.gateway_url}/positions", service="order gateway")["positions"]
        watched = ask("GET", f"{settings.gateway_url}/symbols", service="order gateway")["symbols"]
    except (UnreachableError, FailedError, NotFoundError, KeyError):
        return {}
    found: dict[str, Any] = {}
    for symbol in dict.fromkeys((*(str(each["symbol"]) for each in positions), *map(str, watched), *named)):
        url = f"{settings.gateway_url}/instruments/{quote(symbol, safe='')}"
        try:
            found[symbol] = ask("GET", url, service="order gateway")["instrument"]
        except (UnreachableError, FailedError, NotFoundError, KeyError):
            say(f"the broker gives no specification of {symbol!r}; what is told of it is what its name says")
    return found


def _tell(answer: dict[str, Any]) -> None:
    from dtms.cli.show import show_rows

    show_rows("Settings", ("what", "", "found"), ((f["name"], f["ok"], f["said"]) for f in answer["findings"]))
    if answer["symbols"]:
        columns = ("symbol", "canonical", "asset", "told by", "calibrated", "policy", "typical spread")
        rows = (
            (
                *(each[name] for name in ("symbol", "canonical", "asset", "told_by")),
                "uncalibrated: the general numbers" if each["uncalibrated"] else "yes",
                f"{each['policy']} ({'its own' if each['own_policy'] else 'the general one'})",
                each["spread_typical"],
            )
            for each in answer["symbols"]
        )
        show_rows("Symbols", columns, rows)


def _book(settings: Settings) -> Policies:
    from dtms.settings import load_policy

    return load_policy(settings.policy_file)


def _loaded(policy: Any, config: Any) -> tuple[Settings, Policies]:
    from dtms.settings import load_policy

    settings = options.settings_of(config)
    return settings, load_policy(policy if policy is not None else settings.policy_file)

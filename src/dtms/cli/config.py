"""`dtms config`: the settings and the policy that are in force, and whether they can be used."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from dtms.cli import options
from dtms.cli.output import emit

if TYPE_CHECKING:
    from dtms.domain.policy import PolicyBook
    from dtms.settings import Settings


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


def check(policy: options.Policy = None, config: options.Config = None, as_json: options.Json = False) -> None:
    """Check the settings and the policy; ends with 2 and one sentence where they cannot be used."""
    settings, policies = _loaded(policy, config)
    answer: dict[str, Any] = {
        "ok": True,
        "broker": settings.broker,
        "armed": settings.armed,
        "policy": policies.default.digest,
    }
    if as_json:
        emit(answer)
        return
    typer.echo(f"settings and policy can be used (policy {policies.default.digest})")


def _loaded(policy: Any, config: Any) -> tuple[Settings, PolicyBook]:
    from dtms.settings import load_policy

    settings = options.settings_of(config)
    return settings, load_policy(policy if policy is not None else settings.policy_file)

"""Options that several commands have, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtms.cli.output import say
from dtms.errors import SettingsError

if TYPE_CHECKING:
    from dtms.domain.units import Millis
    from dtms.settings import Settings

CONFIG_VARIABLE = "DTMS_CONFIG"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on the last line of stdout.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", envvar=CONFIG_VARIABLE, help="Settings file (TOML); the environment (DTMS_*) wins over it."
    ),
]
Policy = Annotated[Path | None, typer.Option("--policy", help="Policy file (TOML); the shipped numbers without it.")]
TapeFile = Annotated[
    Path, typer.Option("--tape", help="Market tape: CSV (plain or gzip) or Parquet with M1 bars or quotes.")
]
Symbol = Annotated[
    str | None, typer.Option("--symbol", help="The tape's symbol; taken from the tape or its name without it.")
]
TapeZone = Annotated[
    str | None,
    typer.Option(
        "--tape-tz", help="Clock of the tape's rows: UTC, server, EST or an IANA name; inferred and said without it."
    ),
]
EntriesText = Annotated[
    str,
    typer.Option("--entries", help="Whose trades are protected: sma-cross:FAST,SLOW, or every:MINUTES,STOP_ATR."),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from", help="Where to begin, ISO 8601 (UTC where it names no offset); what lies before is history."
    ),
]
Bars = Annotated[
    int | None, typer.Option("--bars", min=1, help="How many M1 bars to run from there; all of them without it.")
]
Ticket = Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="The broker's number of the position.")]


def settings_of(config: Path | None, **given: object) -> Settings:
    """Return the checked settings; what is None was not given."""
    from dtms.settings import load_settings, unused_folder

    settings = load_settings(config, **{name: value for name, value in given.items() if value is not None})
    unused = unused_folder(settings)
    if unused is not None:
        say(f"dtms: {unused}")
    return settings


def instant_of(text: str | None, option: str = "--from") -> Millis | None:
    """Return the instant that an option names.

    Raises:
        SettingsError: It is no ISO 8601 instant.
    """
    from datetime import UTC, datetime

    from dtms.domain.units import from_utc

    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"{option} {text!r} is no instant; write it as 2025-05-20T12:00:00+00:00"
        raise SettingsError(msg) from error
    return from_utc(when if when.tzinfo is not None else when.replace(tzinfo=UTC))

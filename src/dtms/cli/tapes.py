"""What a person says of a tape and of its instruments, as options that the commands over tapes share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dtms.settings import Settings
    from dtms_lab.simulate.tapes import TapeSource

Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        help="Which column is what, by name or number: time=Date,open=O,high=H,low=L,close=5 (also bid=, ask=, volume=, "
        "spread=, symbol=); found out without it.",
    ),
]
SpreadUnit = Annotated[
    str | None,
    typer.Option(
        "--spread-unit", help="Unit of the tape's spread column: points or price; judged by its cost without it."
    ),
]
Frame = Annotated[
    str | None,
    typer.Option(
        "--frame", help="Play a tape of M5, M15 or H1 bars along an assumed path inside each; say which it is."
    ),
]
Instruments = Annotated[
    list[Path] | None,
    typer.Option(
        "--instrument",
        help="File of instrument specifications (TOML), may be given several times; instruments.toml in the data folder "
        "is read anyway.",
    ),
]


def source_of(
    path: Path,
    settings: Settings,
    *,
    symbol: str | None,
    tz: str | None,
    columns: str | None = None,
    spread_unit: str | None = None,
    frame: str | None = None,
    instruments: list[Path] | None = None,
) -> TapeSource:
    """Return the tape that options name.

    Raises:
        SettingsError: An option's value is none, or an instrument file cannot be used.
    """
    from dtms_lab.instruments import files_of, open_book
    from dtms_lab.simulate.tapes import TapeSource
    from dtms_lab.tapes.tape import parse_columns

    return TapeSource(
        path=path,
        symbol=symbol,
        tz=tz,
        columns=parse_columns(columns),
        spread_unit=spread_unit,
        frame=frame,
        instruments=open_book(files_of(settings.data_dir, instruments or ())),
    )

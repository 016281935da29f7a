"""What a person says about a tape: its symbol, its clock, its columns, its spread's unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dtms.errors import SettingsError
from dtms_lab.instruments import InstrumentBook, open_book

SPREAD_UNITS: Final = ("points", "price")
OHLC: Final = ("open", "high", "low", "close")
COLUMN_KINDS: Final = (
    "time",
    "date",
    *OHLC,
    *(f"bid_{name}" for name in OHLC),
    *(f"ask_{name}" for name in OHLC),
    *("bid", "ask", "volume", "buy_volume", "sell_volume", "spread", "symbol"),
)
"""What a column may be said to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeOptions:
    """What a person says of a tape beyond its path; what is None or empty is found out and said.

    `columns` are names or numbers (from 1) of columns by what they mean. `spread_unit` is points or price.
    """

    symbol: str | None = None
    tz: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    spread_unit: str | None = None
    instruments: InstrumentBook = field(default_factory=open_book)

    def __post_init__(self) -> None:
        unknown = sorted(self.columns.keys() - set(COLUMN_KINDS))
        if unknown:
            msg = f"--columns {unknown[0]}={self.columns[unknown[0]]}: a column is one of {', '.join(COLUMN_KINDS)}"
            raise SettingsError(msg)
        if self.spread_unit is not None and self.spread_unit not in SPREAD_UNITS:
            msg = f"--spread-unit {self.spread_unit!r} is none; say {' or '.join(SPREAD_UNITS)}"
            raise SettingsError(msg)


def parse_columns(text: str | None) -> dict[str, str]:
    """Return the columns of `time=Datum,open=O,close=5`, by what they mean.

    Raises:
        SettingsError: A part has no `=`, or a meaning comes twice.
    """
    found: dict[str, str] = {}
    for part in () if text is None else text.split(","):
        kind, mark, name = (piece.strip() for piece in part.partition("="))
        if not mark or not kind or not name or kind in found:
            msg = f"--columns {text!r}: {part.strip()!r} is not MEANING=COLUMN, once each; write time=Date,open=O,high=H,low=L,close=C"
            raise SettingsError(msg)
        found[kind] = name
    return found

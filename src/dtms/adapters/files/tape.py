"""Market tapes: one symbol's recorded or generated bars or quotes, read from and written to files.

A tape is what `simulate`, replay and the simulated terminal feed on. Reading is strict: what is not a tape, or is one with
a fault, is refused with file, line, reason and remedy. What had to be inferred or repaired is said in the tape's notes.
"""

from __future__ import annotations

from pathlib import Path

from dtms.adapters.files._model import Doubt, Tape, bars_from_quotes, require_m1
from dtms.adapters.files._own import write
from dtms.adapters.files._reader import read

__all__ = ["Doubt", "Tape", "bars_from_quotes", "read_tape", "require_m1", "write_tape"]


def read_tape(path: Path, *, symbol: str | None = None, tz: str | None = None) -> Tape:
    """Return the tape in a file: CSV, plain or gzip, or Parquet; the kind is found by its header or first row.

    Args:
        path: The file; the bid file of a pair finds its ask sibling, the ask file its bid sibling.
        symbol: The symbol; None takes it from the tape or its name.
        tz: The clock of rows that name none: UTC, server, EST or an IANA name; None infers it, and the notes say so.

    Raises:
        SettingsError: It is no tape, or one with a fault; the message names file, line, reason and remedy.
    """
    return read(path, symbol=symbol, tz=tz)


def write_tape(tape: Tape, path: Path) -> None:
    """Write a tape in our own format, which `read_tape` reads back identically; gzip where the name ends in .gz.

    Raises:
        SettingsError: The tape could not be read back: its rows are of several timeframes or not on the timeframe's grid.
    """
    write(tape, path)

"""The piece of a tape that a run plays: from an instant on, so many minutes of it; what lies before stays as history."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dtms.adapters.files.tape import Tape, read_tape, require_m1
from dtms.domain.units import MINUTE, Millis, to_iso
from dtms.errors import SettingsError


def load_piece(
    path: Path,
    *,
    symbol: str | None = None,
    tz: str | None = None,
    start: Millis | None = None,
    bars: int | None = None,
) -> Tape:
    """Read a tape and cut what lies behind the piece.

    Args:
        path: The file.
        symbol: The symbol; None takes it from the tape or its name.
        tz: The clock of its rows; None infers it.
        start: Where the run begins; None is the tape's first instant.
        bars: How many M1 bars (of a tape of quotes: minutes) the run has; None is all of them.

    Raises:
        SettingsError: It is no tape, is coarser than M1, or has nothing at or after `start`.
    """
    tape = read_tape(path, symbol=symbol, tz=tz)
    require_m1(tape)
    return cut(tape, start=start, bars=bars)


def cut(tape: Tape, *, start: Millis | None = None, bars: int | None = None) -> Tape:
    """Return the tape up to the end of the piece.

    Raises:
        SettingsError: The tape has nothing at or after `start`.
    """
    begin = tape.first if start is None else start
    if begin > tape.last:
        msg = (
            f"--from {to_iso(begin)} lies behind the tape of {tape.symbol}, which goes from {to_iso(tape.first)} to "
            f"{to_iso(tape.last)}; choose an earlier one"
        )
        raise SettingsError(msg)
    if bars is None:
        return tape
    if tape.quotes is not None:
        end = begin + bars * MINUTE
        return replace(tape, quotes=tuple(quote for quote in tape.quotes if quote.at < end))
    until = history_length(tape, begin) + bars
    return replace(tape, bars=tape.bars[:until], asks=None if tape.asks is None else tape.asks[:until])


def history_length(tape: Tape, start: Millis) -> int:
    """Return how many bars of a tape have ended at `start`: they are history when a run begins there."""
    return sum(bar.start + MINUTE <= start for bar in tape.bars)


def bars_run(tape: Tape, start: Millis) -> int:
    """Return how many M1 bars a run from `start` on is decided on: the tape's own, or the minutes that its quotes make."""
    if tape.quotes is None:
        return len(tape.bars) - history_length(tape, start)
    return len({quote.at // MINUTE for quote in tape.quotes if quote.at >= start})

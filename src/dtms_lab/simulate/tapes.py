"""The piece of a tape that a run plays: from an instant on, so many minutes of it; what lies before stays as history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dtms.domain.market import Timeframe
from dtms.domain.units import MINUTE, Millis, to_iso
from dtms.errors import SettingsError
from dtms_lab.instruments import InstrumentBook, open_book, said
from dtms_lab.tapes.tape import Doubt, Tape, read_tape, require_frame

_APPROXIMATE = (
    "a tape of {frame} bars says nothing of what happened inside them: the order in which stops and targets were reached, and "
    "every bar shorter than {frame} that is decided on, follow an assumed path; take the figures as a rough order of magnitude"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeSource:
    """Which tape a run plays, and what a person says about it.

    `frame` names the timeframe of a tape whose bars are longer than a minute and that is to be played all the same (M5, M15,
    H1); None plays M1 and quotes only. The other fields are those of `read_tape`.
    """

    path: Path
    symbol: str | None = None
    tz: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    spread_unit: str | None = None
    frame: str | None = None
    instruments: InstrumentBook = field(default_factory=open_book)


def load_piece(source: TapeSource, *, start: Millis | None = None, bars: int | None = None) -> Tape:
    """Read a tape and cut what lies behind the piece.

    Args:
        source: The tape, and what is said about it.
        start: Where the run begins; None is the tape's first instant.
        bars: How many M1 bars (of a tape of quotes or of longer bars: minutes) the run has; None is all of them.

    Raises:
        SettingsError: It is no tape, is coarser than its frame allows, or has nothing at or after `start`.
    """
    tape = read_tape(
        source.path,
        symbol=source.symbol,
        tz=source.tz,
        columns=source.columns,
        spread_unit=source.spread_unit,
        instruments=source.instruments,
    )
    require_frame(tape, source.frame)
    spec, is_derived = source.instruments.spec(tape.symbol, _price(tape))
    doubts = [Doubt("derived_instrument", said(spec))] if is_derived else []
    if tape.timeframe is not Timeframe.M1:
        doubts.append(Doubt("frame", _APPROXIMATE.format(frame=tape.timeframe.name)))
    tape = replace(tape, doubts=(*tape.doubts, *(doubt for doubt in doubts if doubt not in tape.doubts)))
    return cut(tape, start=start, bars=bars)


def covering(tape: Tape, instruments: InstrumentBook) -> InstrumentBook:
    """Return the book with a specification of the tape's symbol in it, derived where nobody gave one."""
    return instruments.covering(tape.symbol, _price(tape))


def _price(tape: Tape) -> float:
    """Return about where a tape's symbol stands: its first price, which each process of a run sees alike."""
    return tape.bars[0].open if tape.bars else next((quote.bid for quote in tape.quotes or ()), 1.0)


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
    until = history_length(tape, begin) + -(-bars * MINUTE // tape.timeframe.value)
    return replace(tape, bars=tape.bars[:until], asks=None if tape.asks is None else tape.asks[:until])


def history_length(tape: Tape, start: Millis) -> int:
    """Return how many bars of a tape have ended at `start`: they are history when a run begins there."""
    return sum(bar.start + tape.timeframe.value <= start for bar in tape.bars)


def bars_run(tape: Tape, start: Millis) -> int:
    """Return how many M1 bars a run from `start` on is decided on: the tape's own, or those that its quotes or bars make."""
    if tape.quotes is None:
        return (len(tape.bars) - history_length(tape, start)) * (tape.timeframe.value // MINUTE)
    return len({quote.at // MINUTE for quote in tape.quotes if quote.at >= start})

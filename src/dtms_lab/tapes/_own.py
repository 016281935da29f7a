"""Our own tape format: marked lines that say symbol, timeframe and notes, a header, rows; times in UTC, floats exact."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.units import Millis, to_utc
from dtms_lab.tapes._defects import defect
from dtms_lab.tapes._model import Doubt, Tape
from dtms_lab.tapes._table import OWN_MARK
from dtms_lab.tapes._timeframe import check_grid, check_timeframe

_VERSION = "1"
_NOTE = "#note="
_DOUBT = "#doubt="
_GZIP_LEVEL = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Preamble:
    """What the marked lines say."""

    symbol: str
    timeframe: Timeframe
    notes: tuple[str, ...]
    doubts: tuple[Doubt, ...]


def read_preamble(path: Path, lines: list[str]) -> Preamble:
    """Return what the marked lines of our own format say.

    Raises:
        SettingsError: The first line is of another version, or lacks symbol or timeframe.
    """
    words = dict(word.partition("=")[::2] for word in lines[0].strip().split(" ")[1:])
    if words.get("version") != _VERSION:
        why = f"tape version {words.get('version')!r} is not {_VERSION}, the one that is read here"
        raise defect(path, 1, why, "read it with the release that wrote it, or make the tape again")
    timeframe = next((t for t in Timeframe if t.name == words.get("timeframe")), None)
    symbol = words.get("symbol", "")
    if timeframe is None or not symbol:
        raise defect(path, 1, "symbol or timeframe is missing or unknown", "make the tape again")
    marked = []
    for line in lines:
        if not line.startswith("#"):
            break
        marked.append(line.rstrip("\r"))
    notes = tuple(line.removeprefix(_NOTE) for line in marked if line.startswith(_NOTE))
    doubts = tuple(Doubt(*line.removeprefix(_DOUBT).partition(" ")[::2]) for line in marked if line.startswith(_DOUBT))
    return Preamble(symbol=symbol, timeframe=timeframe, notes=notes, doubts=doubts)


def write(tape: Tape, path: Path) -> None:
    """Write a tape; see `dtms_lab.tapes.tape.write_tape`."""
    if tape.bars:
        starts = [bar.start for bar in tape.bars]
        lines = list(range(1, len(starts) + 1))
        check_timeframe(path, lines, [int(start) for start in starts], tape.timeframe)
        check_grid(path, lines, starts, tape.timeframe)
    text = "".join(f"{line}\n" for line in _lines(tape)).encode()
    if path.suffix == ".gz":
        # No time and no name inside: the same tape gives the same bytes.
        text = gzip.compress(text, compresslevel=_GZIP_LEVEL, mtime=0)
    path.write_bytes(text)


def _lines(tape: Tape) -> Iterator[str]:
    yield f"{OWN_MARK} version={_VERSION} symbol={tape.symbol} timeframe={tape.timeframe.name}"
    for note in tape.notes:
        yield _NOTE + note
    for doubt in tape.doubts:
        yield f"{_DOUBT}{doubt.code} {doubt.text}"
    if tape.quotes is not None:
        volumes = _volume_names(volume=any(quote.volume is not None for quote in tape.quotes), side=tape.has_side)
        yield ",".join(["timestamp", "bid", "ask", *volumes])
        for quote in tape.quotes:
            yield _quote_line(quote, volume="volume" in volumes, side=tape.has_side)
        return
    volumes = _volume_names(volume=tape.has_volume, side=tape.has_side)
    asks = [] if tape.asks is None else [f"ask_{name}" for name in ("open", "high", "low", "close")]
    yield ",".join(["timestamp", "open", "high", "low", "close", *volumes, *asks])
    for i, bar in enumerate(tape.bars):
        yield _bar_line(bar, None if tape.asks is None else tape.asks[i], volume=tape.has_volume, side=tape.has_side)


def _volume_names(*, volume: bool, side: bool) -> list[str]:
    return ["volume"] * volume + ["buy_volume", "sell_volume"] * side


def _bar_line(bar: Bar, ask: Bar | None, *, volume: bool, side: bool) -> str:
    asks = () if ask is None else _prices(ask)
    return ",".join((_time(bar.start), *_prices(bar), *_volumes(bar, volume=volume, side=side), *asks))


def _quote_line(quote: Quote, *, volume: bool, side: bool) -> str:
    return ",".join((_time(quote.at), repr(quote.bid), repr(quote.ask), *_volumes(quote, volume=volume, side=side)))


def _volumes(row: Bar | Quote, *, volume: bool, side: bool) -> list[str]:
    return [_volume(row.volume)] * volume + [_volume(row.buy_volume), _volume(row.sell_volume)] * side


def _prices(bar: Bar) -> tuple[str, str, str, str]:
    return repr(bar.open), repr(bar.high), repr(bar.low), repr(bar.close)


def _volume(volume: float | None) -> str:
    return "" if volume is None else repr(volume)


def _time(at: Millis) -> str:
    return to_utc(at).isoformat(timespec="milliseconds" if at % 1000 else "seconds").replace("+00:00", "Z")

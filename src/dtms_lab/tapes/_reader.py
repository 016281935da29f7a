"""From a file to a tape: content, table, layout, rows, times, prices; each step is a module and may refuse with a sentence."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

from dtms.domain.instrument import AssetClass
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.units import Millis
from dtms_lab.instruments import SymbolSpec
from dtms_lab.tapes._asks import Judge, Sibling, asks_of
from dtms_lab.tapes._bars import bars_of, has_volume, quotes_of
from dtms_lab.tapes._defects import defect
from dtms_lab.tapes._instants import Clocked, to_utc
from dtms_lab.tapes._layout import Layout, layout_of
from dtms_lab.tapes._model import Tape
from dtms_lab.tapes._naming import scale_of, sides_of, symbol_of
from dtms_lab.tapes._options import TapeOptions
from dtms_lab.tapes._own import Preamble, read_preamble
from dtms_lab.tapes._remarks import Remarks
from dtms_lab.tapes._rows import Rows, read_rows
from dtms_lab.tapes._source import Content, read_content
from dtms_lab.tapes._stamps import leave_dead_weekends, stamped_at_start
from dtms_lab.tapes._table import table_of
from dtms_lab.tapes._timeframe import check_grid, check_order, check_timeframe, infer_timeframe

_UNUSUAL: Final = 10.0
"""A spread this many times the usual one is doubted: quotes of it are taken for bad ones when the tape is played."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """One file, read as far as it says everything itself."""

    path: Path
    layout: Layout
    rows: Rows
    preamble: Preamble | None
    member: str = ""


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Keep the collector still: rows are millions of small objects without a cycle, and it would walk them all again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def read(path: Path, options: TapeOptions) -> Tape:
    """Return the tape in a file; see `dtms_lab.tapes.tape.read_tape`."""
    with _nothing_collected():
        return _read(path, options)


def _read(path: Path, options: TapeOptions) -> Tape:
    given = path
    path, sibling = sides_of(given)
    remarks = Remarks()
    if path != given:
        remarks.note(f"{given.name} is the ask side; its bid sibling {path.name} is the tape")
    loaded = _load(path, options, remarks)
    name = _name(loaded, options, remarks)
    rows, layout, preamble = loaded.rows, loaded.layout, loaded.preamble
    spec = _spec(name, rows, options)
    clocked = Clocked(path=path, asset=spec.asset, tz=options.tz, remarks=remarks)
    timeframe = Timeframe.M1
    if not layout.ticks:
        timeframe = infer_timeframe(path, rows.times) if preamble is None else preamble.timeframe
        stamped_at_start(rows, layout, timeframe, remarks)
    utc = to_utc(clocked, rows, layout)
    check_order(path, rows.lines, utc, ticks=layout.ticks)
    if layout.mid:
        remarks.doubt("mid_prices", "the prices are of the middle between bid and ask; they are read as bid prices")
    if layout.ticks:
        quotes = quotes_of(path, name, rows, utc)
        if preamble is None:
            _doubt_spread([quote.spread for quote in quotes], spec, remarks)
        return _tape(name, timeframe, loaded, remarks, quotes=quotes, volume=True)
    check_timeframe(path, rows.lines, rows.times, timeframe)
    check_grid(path, rows.lines, utc, timeframe)
    if preamble is None:
        utc = leave_dead_weekends(rows, utc, spec.asset, remarks)
    volume = has_volume(rows, own=preamble is not None)
    bars = bars_of(path, rows, utc, with_volume=volume)
    judge = Judge(spec=spec, spread_unit=options.spread_unit, remarks=remarks)
    asks = asks_of(path, rows, bars, _sibling(sibling, clocked, loaded, options), judge)
    if preamble is None:
        if asks is None:
            remarks.note("the tape has no ask prices")
        else:
            _doubt_spread([ask.close - bid.close for bid, ask in zip(bars, asks, strict=True)], spec, remarks)
    return _tape(name, timeframe, loaded, remarks, bars=bars, asks=asks, volume=volume)


def _tape(
    name: str,
    timeframe: Timeframe,
    loaded: _Loaded,
    remarks: Remarks,
    *,
    bars: tuple[Bar, ...] = (),
    asks: tuple[Bar, ...] | None = None,
    quotes: tuple[Quote, ...] | None = None,
    volume: bool,
) -> Tape:
    layout = loaded.layout
    return Tape(
        symbol=name,
        timeframe=timeframe,
        bars=bars,
        asks=asks,
        quotes=quotes,
        has_volume=volume,
        has_side=layout.buys is not None or layout.sells is not None,
        notes=tuple(remarks.notes),
        doubts=tuple(remarks.doubts),
    )


def _load(path: Path, options: TapeOptions, remarks: Remarks) -> _Loaded:
    content = read_content(path)
    table = table_of(path, content, remarks)
    preamble = _preamble(path, content) if table.own else None
    if preamble is not None:
        # What is ours says everything itself; nobody's word changes it.
        options = replace(options, columns={}, tz=None)
    layout = layout_of(path, table, options, remarks)
    rows = read_rows(path, table, layout, options, remarks)
    return _Loaded(path=path, layout=layout, rows=rows, preamble=preamble, member=content.member)


def _preamble(path: Path, content: Content) -> Preamble:
    return read_preamble(path, content.text.splitlines())


def _name(loaded: _Loaded, options: TapeOptions, remarks: Remarks) -> str:
    """Return the tape's symbol, and divide prices that are in points."""
    path, rows, preamble = loaded.path, loaded.rows, loaded.preamble
    if preamble is not None:
        symbol_of(path, options.symbol, (preamble.symbol,))
        remarks.notes += preamble.notes
        remarks.doubts += preamble.doubts
        return preamble.symbol
    said = rows.symbols or loaded.layout.symbols
    name, note = symbol_of(path, options.symbol, said, beside=(loaded.member, *path.parts[-3:-1]))
    if note is not None:
        remarks.note(note)
    divisor, note = scale_of(path, name, [prices[-1] for prices in rows.bids])
    if note is not None:
        remarks.note(note)
        rows.bids = [_divided(prices, divisor) for prices in rows.bids]
        rows.asks = [_divided(prices, divisor) for prices in rows.asks]
    return name


def _divided(prices: tuple[float, ...], divisor: float) -> tuple[float, ...]:
    """Rounded to hide the binary noise of the division."""
    return tuple(round(price / divisor, 10) for price in prices)


def _spec(name: str, rows: Rows, options: TapeOptions) -> SymbolSpec:
    sane = sorted(prices[-1] for prices in rows.bids if 0 < prices[-1] < float("inf"))
    return options.instruments.spec(name, sane[len(sane) // 2] if sane else 1.0)[0]


def _sibling(path: Path | None, bid: Clocked, loaded: _Loaded, options: TapeOptions) -> Sibling | None:
    """Return the rows of the ask file beside a bid file, with their instants."""
    if path is None or loaded.rows.asks:
        return None
    remarks = Remarks()
    other = _load(path, options, remarks)
    if other.layout.ticks is not loaded.layout.ticks:
        raise defect(path, None, "it holds quotes and its bid file bars", "give two files of one kind")
    utc: list[Millis] = to_utc(replace(bid, path=path, remarks=remarks), other.rows, other.layout)
    check_order(path, other.rows.lines, utc, ticks=False)
    return path, other.rows, utc


def _doubt_spread(spreads: list[float], spec: SymbolSpec, remarks: Remarks) -> None:
    usual = median(spreads)
    if usual > _UNUSUAL * spec.spread_typical and spec.asset is not AssetClass.OTHER:
        remarks.doubt(
            "spread",
            f"the spread in the middle, {usual:g}, is {usual / spec.spread_typical:.3g} times the usual {spec.spread_typical:g} of "
            f"{spec.name}: such quotes are dropped as bad ones while the tape is played; is it the right symbol and unit?",
        )

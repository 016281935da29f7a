"""From a file to a tape: sniff, read the rows, name symbol and zone, check, build; each step may refuse with a sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dtms.adapters.files._asks import asks_of
from dtms.adapters.files._defects import defect
from dtms.adapters.files._layout import Layout, from_names, sniff
from dtms.adapters.files._model import Tape
from dtms.adapters.files._naming import scale_of, sides_of, symbol_of
from dtms.adapters.files._own import Preamble, read_preamble
from dtms.adapters.files._rows import Rows, read_rows, rows_of_columns
from dtms.adapters.files._source import read_bytes, read_lines
from dtms.adapters.files._timeframe import check_grid, check_order, check_timeframe, infer_timeframe
from dtms.adapters.files._zones import Zone, hours_note, infer_zone, wall_clock, zone_named
from dtms.domain.instrument import AssetClass
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.symbols import asset_class, canonical
from dtms.domain.units import Millis
from dtms.errors import InvalidDataError

_PARQUET = (".parquet", ".pq")
_REMEDY = "cut the row, or export the tape again"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clocked:
    """What is needed to put one file's rows in time."""

    path: Path
    asset: AssetClass
    tz: str | None
    notes: list[str]


def read(path: Path, *, symbol: str | None, tz: str | None) -> Tape:
    """Return the tape in a file; see `dtms.adapters.files.tape.read_tape`."""
    given = path
    path, sibling = sides_of(given)
    layout, rows, preamble = _load(path)
    if not rows.lines:
        raise defect(path, None, "a header and no rows", "export the tape again, with rows")
    notes: list[str] = []
    if path != given:
        notes.append(f"{given.name} is the ask side; its bid sibling {path.name} is the tape")
    if preamble is None:
        name, note = symbol_of(path, symbol, tuple(sorted(rows.symbols)))
        if note is not None:
            notes.append(note)
        _rescale(path, name, rows, notes)
    else:
        symbol_of(path, symbol, (preamble.symbol,))
        name = preamble.symbol
        notes += preamble.notes
    clocked = _Clocked(path=path, asset=asset_class(canonical(name)), tz=tz, notes=notes)
    utc = _to_utc(clocked, rows, layout)
    check_order(path, rows.lines, utc, ticks=layout.ticks)
    has_side = layout.buys is not None or layout.sells is not None
    if layout.ticks:
        return Tape(
            symbol=name,
            timeframe=Timeframe.M1,
            bars=(),
            asks=None,
            quotes=_quotes(path, name, rows, utc),
            has_volume=True,
            has_side=has_side,
            notes=tuple(notes),
            doubts=() if preamble is None else preamble.doubts,
        )
    timeframe = infer_timeframe(path, rows.times) if preamble is None else preamble.timeframe
    check_timeframe(path, rows.lines, rows.times, timeframe)
    check_grid(path, rows.lines, utc, timeframe)
    bars = _bars(path, rows, utc, layout)
    asks = asks_of(path, rows, bars, _sibling(sibling, clocked, rows, layout), notes)
    if asks is None and not layout.own:
        notes.append("the tape has no ask prices")
    return Tape(
        symbol=name,
        timeframe=timeframe,
        bars=bars,
        asks=asks,
        quotes=None,
        has_volume=_has_volume(rows, layout),
        has_side=has_side,
        notes=tuple(notes),
        doubts=() if preamble is None else preamble.doubts,
    )


def _load(path: Path) -> tuple[Layout, Rows, Preamble | None]:
    if path.suffix in _PARQUET:
        return *_load_parquet(path), None
    lines = read_lines(path)
    layout = sniff(path, lines)
    preamble = read_preamble(path, lines) if layout.own else None
    return layout, read_rows(path, lines, layout), preamble


def _load_parquet(path: Path) -> tuple[Layout, Rows]:
    # Polars takes long to import, and most tapes are text.
    import polars as pl

    raw = read_bytes(path)
    try:
        frame = pl.read_parquet(raw)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise defect(path, None, f"is no Parquet ({error})", "copy or download the file again") from error
    layout = from_names(path, [name.lower() for name in frame.columns], line=None)
    return layout, rows_of_columns(path, frame.to_dict(as_series=False), layout)


def _rescale(path: Path, symbol: str, rows: Rows, notes: list[str]) -> None:
    divisor, note = scale_of(path, symbol, [prices[-1] for prices in rows.bids])
    if note is None:
        return
    notes.append(note)
    rows.bids = [_divided(prices, divisor) for prices in rows.bids]
    rows.asks = [_divided(prices, divisor) for prices in rows.asks]


def _divided(prices: tuple[float, ...], divisor: float) -> tuple[float, ...]:
    """Rounded to hide the binary noise of the division."""
    return tuple(round(price / divisor, 10) for price in prices)


def _to_utc(clocked: _Clocked, rows: Rows, layout: Layout) -> list[Millis]:
    """Return the rows' instants, with a note on how their clock was known where the rows do not say it themselves."""
    tz, notes = clocked.tz, clocked.notes
    if rows.aware and not (layout.label_may_lie and tz is not None):
        if tz is not None:
            notes.append(f"the rows name their offset from UTC, so the given time zone {tz} is not used")
        if layout.label_may_lie:
            notes.append(
                "the rows say UTC, but MetaTrader's API names the broker's clock so; say --tape-tz where they differ"
            )
        return [Millis(at) for at in rows.times]
    zone = _zone(clocked, rows, layout)
    starts = []
    earliest = 0
    for line, local in zip(rows.lines, rows.times, strict=True):
        at = zone.to_utc(local, earliest)
        if at is None:
            why = f"{wall_clock(local)} does not exist in {zone.name}: the clock is put forward then"
            raise defect(clocked.path, line, why, "name the right zone with --tape-tz")
        starts.append(at)
        # Two quotes may share an instant, two bars may not: that decides which of two equal wall clocks is meant.
        earliest = at if layout.ticks else at + 1
    if tz is not None or layout.zone is not None:
        note = hours_note(starts, clocked.asset)
        if note is not None:
            notes.append(note)
    return starts


def _zone(clocked: _Clocked, rows: Rows, layout: Layout) -> Zone:
    if clocked.tz is not None:
        return zone_named(clocked.tz)
    if layout.zone is not None:
        clocked.notes.append(f"times are {layout.zone}, as this format always is")
        return zone_named(layout.zone)
    inferred = infer_zone(rows.times, clocked.asset)
    if inferred.zone is None:
        why = f"the rows name no time zone and {inferred.note}"
        raise defect(clocked.path, None, why, "name the zone with --tape-tz")
    clocked.notes.append(inferred.note)
    return inferred.zone


def _sibling(path: Path | None, bid: _Clocked, rows: Rows, layout: Layout) -> tuple[Path, Rows, list[Millis]] | None:
    """Return the rows of the ask file beside a bid file, with their instants."""
    if path is None or rows.asks:
        return None
    other, asks, _ = _load(path)
    if other.ticks is not layout.ticks:
        raise defect(path, None, "it holds quotes and its bid file bars", "give two files of one kind")
    utc = _to_utc(replace(bid, path=path, notes=[]), asks, other)
    check_order(path, asks.lines, utc, ticks=False)
    return path, asks, utc


def _has_volume(rows: Rows, layout: Layout) -> bool:
    # A volume of 0 in every row is an exporter's word for "none"; our own format has no such word.
    return bool(rows.volumes) if layout.own else any(rows.volumes)


def _bars(path: Path, rows: Rows, starts: list[Millis], layout: Layout) -> tuple[Bar, ...]:
    bars: list[Bar] = []
    blank: list[float | None] = [None] * len(starts)
    volumes = rows.volumes if _has_volume(rows, layout) else blank
    columns = zip(starts, rows.bids, volumes, rows.buys or blank, rows.sells or blank, strict=True)
    try:
        for start, (opened, high, low, close), volume, buys, sells in columns:
            bars.append(
                Bar(
                    start=start,
                    open=opened,
                    high=high,
                    low=low,
                    close=close,
                    volume=volume,
                    buy_volume=buys,
                    sell_volume=sells,
                )
            )
    except InvalidDataError as error:
        raise defect(path, rows.lines[len(bars)], _reason(error), _REMEDY) from error
    return tuple(bars)


def _quotes(path: Path, symbol: str, rows: Rows, utc: list[Millis]) -> tuple[Quote, ...]:
    quotes: list[Quote] = []
    blank: list[float | None] = [None] * len(utc)
    columns = zip(
        utc, rows.bids, rows.asks, rows.volumes or blank, rows.buys or blank, rows.sells or blank, strict=True
    )
    try:
        for at, (bid,), (ask,), volume, buys, sells in columns:
            quotes.append(
                Quote(symbol=symbol, at=at, bid=bid, ask=ask, volume=volume, buy_volume=buys, sell_volume=sells)
            )
    except InvalidDataError as error:
        (bid,), (ask,) = rows.bids[len(quotes)], rows.asks[len(quotes)]
        why = f"crossed quotes: ask {ask!r} is below bid {bid!r}" if 0 < ask < bid else _reason(error)
        raise defect(path, rows.lines[len(quotes)], why, _REMEDY) from error
    return tuple(quotes)


def _reason(error: InvalidDataError) -> str:
    """The value's own sentence without its instant, which the line replaces."""
    return str(error).partition(": ")[2]

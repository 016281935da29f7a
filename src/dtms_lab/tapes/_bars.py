"""From checked rows to bars or quotes: each value's own check refuses what no market has, naming the line."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dtms.domain.market import Bar, Quote
from dtms.domain.units import Millis
from dtms.errors import InvalidDataError
from dtms_lab.tapes._defects import defect
from dtms_lab.tapes._rows import Rows

_REMEDY: Final = "cut the row, or export the tape again"


def has_volume(rows: Rows, *, own: bool) -> bool:
    """Say whether bars have volumes: a 0 in every row is an exporter's word for "none"; our own format has no such word."""
    return bool(rows.volumes) if own else any(rows.volumes)


def bars_of(path: Path, rows: Rows, starts: list[Millis], *, with_volume: bool) -> tuple[Bar, ...]:
    """Return the bid bars.

    Raises:
        SettingsError: A row is no bar.
    """
    bars: list[Bar] = []
    blank: list[float | None] = [None] * len(starts)
    volumes = rows.volumes if with_volume else blank
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


def quotes_of(path: Path, symbol: str, rows: Rows, utc: list[Millis]) -> tuple[Quote, ...]:
    """Return the quotes.

    Raises:
        SettingsError: A row is no quote.
    """
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

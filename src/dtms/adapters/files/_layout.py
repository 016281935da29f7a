"""Which columns a tape has: by its header, or by the shape of its first row where an exporter writes no header.

Known: FXCM, OANDA (Lean), MetaTrader 4 and 5 exports and API dumps, HistData, TrueFX, TradingView, and our own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from textwrap import shorten

from dtms.adapters.files._defects import defect

OWN_MARK = "#dtms-tape"
"""The first line of our own format begins so."""

_KNOWN = (
    "give bars with a header of time, open, high, low, close, quotes with timestamp, bid, ask, "
    "or an export of MetaTrader, FXCM, OANDA, HistData or TradingView"
)


class Clock(Enum):
    """How a row tells its time."""

    TEXT = "one column of ISO text, with or without offset"
    DATE_AND_TIME = "a date and a time column"
    DATE_AND_MS = "a date column and milliseconds of the day"
    HISTDATA_MS = "YYYYMMDD HHMMSSmmm"
    NANOSECONDS = "nanoseconds since the epoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a row keeps what; an index of None says that the format does not have it.

    `zone` is the zone of rows without offset where the format fixes it. `label_may_lie` marks the dump of MetaTrader's
    API, which prints the broker's clock as if it were UTC.
    """

    separator: str
    first_row: int
    clock: Clock
    time: int
    time_of_day: int | None
    bid: tuple[int, ...]
    ask: tuple[int, ...] | None
    volume: int | None = None
    buys: int | None = None
    sells: int | None = None
    spread: int | None = None
    symbol: int | None = None
    zone: str | None = None
    label_may_lie: bool = False
    own: bool = False

    @property
    def ticks(self) -> bool:
        """Say whether a row is a quote, not a bar."""
        return len(self.bid) == 1

    @property
    def width(self) -> int:
        """The columns a row must have for the layout to be read from it."""
        optional = (self.time_of_day, self.volume, self.buys, self.sells, self.spread, self.symbol)
        return 1 + max(self.time, *self.bid, *(self.ask or ()), *(i for i in optional if i is not None))


_OHLC = ("open", "high", "low", "close")
_TIME_NAMES = ("timestamp", "time", "time_utc", "date", "datetime", "ts_event_ns", "")
_VOLUME_NAMES = ("volume", "tick_volume", "tickvol", "tick volume")
_HEADERLESS = (
    (
        re.compile(r"\d{4}\.\d\d\.\d\d,\d\d:\d\d(?:,[^,]+){5}$"),
        Layout(
            separator=",",
            first_row=0,
            clock=Clock.DATE_AND_TIME,
            time=0,
            time_of_day=1,
            bid=(2, 3, 4, 5),
            ask=None,
            volume=6,
        ),
    ),
    (
        re.compile(r"\d{8} \d{6};[^;]+;[^;]+;[^;]+;[^;]+;"),
        Layout(
            separator=";",
            first_row=0,
            clock=Clock.TEXT,
            time=0,
            time_of_day=None,
            bid=(1, 2, 3, 4),
            ask=None,
            zone="EST",
        ),
    ),
    (
        re.compile(r"\d{8} \d{9},[^,]+,[^,]+,"),
        Layout(
            separator=",",
            first_row=0,
            clock=Clock.HISTDATA_MS,
            time=0,
            time_of_day=None,
            bid=(1,),
            ask=(2,),
            zone="EST",
        ),
    ),
)


def sniff(path: Path, lines: list[str]) -> Layout:
    """Return the layout of a text tape.

    Raises:
        SettingsError: Neither header nor first row is of a known kind.
    """
    own = lines[0].startswith(OWN_MARK)
    head = next((i for i, line in enumerate(lines) if not (own and line.startswith("#"))), None)
    if head is None:
        raise defect(path, len(lines), "the tape ends before its header", "write or copy it again")
    first = lines[head].strip()
    for shape, layout in _HEADERLESS:
        if shape.match(first):
            return layout
    separator = next((s for s in ("\t", ";", ",") if s in first), ",")
    names = [name.strip(' "<>').lower() for name in first.split(separator)]
    layout_found = from_names(path, names, line=head + 1, separator=separator, own=own)
    if head + 1 >= len(lines):
        raise defect(path, head + 1, "a header and no rows", "export the tape again, with rows")
    return layout_found


def from_names(path: Path, names: list[str], *, line: int | None, separator: str = "", own: bool = False) -> Layout:
    """Return the layout that a list of lower-case column names means; `line` is the header's, None for Parquet."""
    place: dict[str, int] = {}
    for i, name in enumerate(names):
        place.setdefault(name, i)
    bid, ask = _prices(path, place, line)
    time = next((place[name] for name in _TIME_NAMES if name in place), None)
    if time is None:
        raise defect(path, line, f"no time column among {_said(names)}", _KNOWN)
    clock, time_of_day = _clock(place, names[time])
    if time_of_day is not None:
        time = place["date"]
    volume = next((place[name] for name in _VOLUME_NAMES if name in place), None)
    return Layout(
        separator=separator,
        first_row=line or 0,
        clock=clock,
        time=time,
        time_of_day=time_of_day,
        bid=bid,
        ask=ask,
        volume=volume,
        buys=place.get("buy_volume"),
        sells=place.get("sell_volume"),
        spread=place.get("spread"),
        symbol=place.get("symbol"),
        zone="UTC" if names[time] in {"time_utc", "ts_event_ns"} or clock is Clock.DATE_AND_MS else None,
        label_may_lie={"time_epoch", "real_volume"} <= place.keys(),
        own=own,
    )


def _prices(path: Path, place: dict[str, int], line: int | None) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    bids = [f"bid_{name}" for name in _OHLC]
    asks = [f"ask_{name}" for name in _OHLC]
    plain = list(_OHLC)
    for wanted in (bids, plain):
        if all(name in place for name in wanted):
            ask = tuple(place[name] for name in asks) if all(name in place for name in asks) else None
            return tuple(place[name] for name in wanted), ask
    if "bid" in place and "ask" in place:
        return (place["bid"],), (place["ask"],)
    if "price" in place:
        why = "these are trades, with one price and no bid and ask"
        raise defect(path, line, why, "give the quotes of the same time, or bars")
    raise defect(path, line, f"no known header: {_said(list(place))}", _KNOWN)


def _clock(place: dict[str, int], time_name: str) -> tuple[Clock, int | None]:
    if "date" in place and "ms_of_day" in place:
        return Clock.DATE_AND_MS, place["ms_of_day"]
    if "date" in place and "time" in place:
        return Clock.DATE_AND_TIME, place["time"]
    if time_name == "ts_event_ns":
        return Clock.NANOSECONDS, None
    return Clock.TEXT, None


def _said(names: list[str]) -> str:
    return shorten(", ".join(name or "''" for name in names), width=120, placeholder=" ...")

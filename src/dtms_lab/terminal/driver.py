"""Drives the server with tapes: the quotes and closed bars of several symbols, in the order of time."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.units import MINUTE, Millis
from dtms.errors import SettingsError
from dtms_lab.terminal.inside import minutes_of
from dtms_lab.terminal.path import OFFSETS, low_first, quote_of
from dtms_lab.terminal.server import SimServer

_CLOSE = 0
_QUOTE = 1
"""At the same instant bars close before new quotes come."""


LONGEST_FRAME = Timeframe.H1
"""The longest bars that are played."""


class TapeLike(Protocol):
    """What the driver needs of a tape; `dtms.adapters.files` has the class."""

    @property
    def symbol(self) -> str:
        """The symbol, as the server spells it."""

    @property
    def timeframe(self) -> Timeframe:
        """The length of its bars."""

    @property
    def bars(self) -> Sequence[Bar]:
        """Bid bars, oldest first; empty for a tape of quotes."""

    @property
    def asks(self) -> Sequence[Bar] | None:
        """Ask bars of the same minutes."""

    @property
    def quotes(self) -> Sequence[Quote] | None:
        """Quotes, oldest first, for a tape of quotes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeEvent:
    """What the driver has just applied: a quote, or the close of an M1 bar."""

    at: Millis
    symbol: str
    quote: Quote | None = None
    bar: Bar | None = None


class _Cursor:
    """One tape and the place in it. Each bar is five steps: four quotes, then its close at the end of its minute."""

    def __init__(self, server: SimServer, tape: TapeLike, start: Millis | None) -> None:
        self._server = server
        self._symbol = tape.symbol
        self._inside = tape.timeframe.value // MINUTE
        self._long = (tape.bars, tape.asks)
        self._quotes = tape.quotes if not tape.bars else None
        spec = server.state.specs[tape.symbol]
        self._spread = spec.spread_typical
        self._digits = spec.digits
        self._bars = self._minutes(tape.bars)
        self._asks = None if tape.asks is None else self._minutes(tape.asks)
        self._low = True
        self._step = 0
        self._place = 0 if start is None else self._preload(start)
        self.symbol = tape.symbol
        self.history = self._bars[: self._place]

    def _preload(self, start: Millis) -> int:
        """Hand what ends before `start` to the server as history, and its last price as the last quote."""
        if self._quotes is not None:
            place = sum(1 for quote in self._quotes if quote.at < start)
            for quote in self._quotes[:place]:
                self._server.on_quote(quote)
            return place
        place = sum(1 for bar in self._bars if bar.start + MINUTE <= start)
        self._server.load_history(self._symbol, self._bars[:place])
        if place > 0:
            self._server.on_quote(self._bar_quote(place - 1, len(OFFSETS) - 1))
        return place

    def key(self) -> tuple[Millis, int] | None:
        """When the next event is, and of which kind; None at the end."""
        if self._quotes is not None:
            return (self._quotes[self._place].at, _QUOTE) if self._place < len(self._quotes) else None
        if self._place >= len(self._bars):
            return None
        start = self._bars[self._place].start
        if self._step == len(OFFSETS):
            return Millis(start + MINUTE), _CLOSE
        return Millis(start + OFFSETS[self._step]), _QUOTE

    def fire(self) -> TapeEvent:
        """Apply the next event."""
        if self._quotes is not None:
            return self._tell(self._quotes[self._place])
        if self._step == len(OFFSETS):
            bar = self._bars[self._place]
            self._server.on_m1_closed(self._symbol, bar)
            self._place, self._step = self._place + 1, 0
            return TapeEvent(at=Millis(bar.start + MINUTE), symbol=self._symbol, bar=bar)
        if self._step == 1:
            self._low = low_first(self._server.net_lots(self._symbol))
            self._take_path()
        return self._tell(self._bar_quote(self._place, self._step))

    def _take_path(self) -> None:
        """At the start of a bar that is longer than a minute: let its extreme against the open trades come first."""
        place, odd = divmod(self._place, self._inside)
        if self._inside == 1 or odd:
            return
        minutes = slice(self._place, self._place + self._inside)
        bars, asks = self._long
        self._bars[minutes] = minutes_of(bars[place], self._inside, low=self._low, digits=self._digits)
        if self._asks is not None and asks is not None:
            self._asks[minutes] = minutes_of(asks[place], self._inside, low=self._low, digits=self._digits)

    def _minutes(self, bars: Sequence[Bar]) -> list[Bar]:
        """Return the M1 bars of a tape's bars; in longer ones as they are where nothing is open, the low first."""
        if self._inside == 1:
            return list(bars)
        return [
            minute for bar in bars for minute in minutes_of(bar, self._inside, low=low_first(0.0), digits=self._digits)
        ]

    def _bar_quote(self, place: int, step: int) -> Quote:
        ask = None if self._asks is None else self._asks[place]
        return quote_of(
            self._symbol, step, self._bars[place], ask, spread=self._spread, digits=self._digits, low=self._low
        )

    def _tell(self, quote: Quote) -> TapeEvent:
        if self._quotes is None:
            self._step += 1
        else:
            self._place += 1
        self._server.on_quote(quote)
        return TapeEvent(at=quote.at, symbol=self._symbol, quote=quote)


class TapeDriver:
    """Feeds tapes to a server. The caller owns the clock: set it to `next_at`, then `step`.

    Args:
        server: The server to drive.
        tapes: One tape a symbol, M1 bars or quotes.
        start: Where to begin; what lies before it becomes history. The first event by default.

    Raises:
        SettingsError: A tape is coarser than H1, empty, twice for one symbol, or of a symbol that the broker has not.
    """

    def __init__(self, server: SimServer, tapes: Sequence[TapeLike], *, start: Millis | None = None) -> None:
        _require_usable(server, tapes)
        self._cursors = [_Cursor(server, tape, start) for tape in tapes]
        self.assumptions = _assumptions(server, tapes)
        self._heap: list[tuple[Millis, int, int]] = []
        for index in range(len(self._cursors)):
            self._push(index)
        if not self._heap:
            msg = f"no tape has anything at or after {start}; choose an earlier start"
            raise SettingsError(msg)
        self.start: Millis = self._heap[0][0] if start is None else start
        self.end: Millis = max(_last_instant(tape) for tape in tapes)

    def _push(self, index: int) -> None:
        key = self._cursors[index].key()
        if key is not None:
            heapq.heappush(self._heap, (*key, index))

    def history(self, symbol: str) -> Sequence[Bar]:
        """Return the bars that were handed to the server before the start; empty for a tape of quotes."""
        return next(cursor.history for cursor in self._cursors if cursor.symbol == symbol)

    @property
    def next_at(self) -> Millis | None:
        """When the next event is; None when the tapes have ended."""
        return self._heap[0][0] if self._heap else None

    def step(self) -> TapeEvent | None:
        """Apply the next event and return it; None when the tapes have ended."""
        if not self._heap:
            return None
        _, _, index = heapq.heappop(self._heap)
        event = self._cursors[index].fire()
        self._push(index)
        return event

    def advance(self, until: Millis) -> tuple[TapeEvent, ...]:
        """Apply every event up to and including `until`."""
        applied: list[TapeEvent] = []
        while self._heap and self._heap[0][0] <= until:
            event = self.step()
            if event is not None:
                applied.append(event)
        return tuple(applied)


def _require_usable(server: SimServer, tapes: Sequence[TapeLike]) -> None:
    symbols = [tape.symbol for tape in tapes]
    if not tapes or len(set(symbols)) != len(symbols):
        msg = f"tapes of {', '.join(symbols) or 'nothing'}; give one tape a symbol"
        raise SettingsError(msg)
    for tape in tapes:
        if tape.symbol not in server.state.specs:
            known = ", ".join(sorted(server.state.specs))
            msg = f"the simulated broker has no symbol {tape.symbol!r}; it has {known}"
            raise SettingsError(msg)
        if not tape.bars and not tape.quotes:
            msg = f"the tape of {tape.symbol} is empty; give one with M1 bars or quotes"
            raise SettingsError(msg)
        if tape.bars and tape.timeframe.value > LONGEST_FRAME.value:
            msg = (
                f"the tape of {tape.symbol} has {tape.timeframe.name} bars; the path inside them is unknown and what is decided "
                f"on would be made up; give M1, or at the longest {LONGEST_FRAME.name}"
            )
            raise SettingsError(msg)


def _last_instant(tape: TapeLike) -> Millis:
    if tape.bars:
        return Millis(tape.bars[-1].start + tape.timeframe.value)
    return tape.quotes[-1].at if tape.quotes else Millis(0)


def _assumptions(server: SimServer, tapes: Sequence[TapeLike]) -> tuple[str, ...]:
    found = []
    if any(tape.bars for tape in tapes):
        found.append(
            "Each M1 bar is four quotes, at 0, 15, 30 and 59 s: open, the extreme against the open trades (the low where "
            "they are flat or balanced), the other extreme, close."
        )
    for tape in tapes:
        if tape.bars and tape.timeframe is not Timeframe.M1:
            frame = tape.timeframe.name
            found.append(
                f"{tape.symbol}: bars of {frame} are made into M1 bars along one path: open, the extreme against the open trades, "
                f"the other extreme, close, a third of the bar each. {frame} and longer bars are as recorded; shorter ones, the "
                "order of events within a bar and what the score reads from M5 and M15 below it are approximate."
            )
    found.append("Stops and targets fill at the quote that reached them; a gap fills beyond the level.")
    for tape in tapes:
        if tape.bars and tape.asks is None:
            spread = server.state.specs[tape.symbol].spread_typical
            found.append(
                f"{tape.symbol}: the tape has no ask; ask = bid + {spread:g}, the instrument's typical spread."
            )
    return tuple(found)

"""The tape as a value: one symbol's bars or quotes, checked; files are read and written elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.units import Millis
from dtms.errors import InvalidDataError, SettingsError


@dataclass(frozen=True, slots=True)
class Doubt:
    """What was read one way and may mean another: a `code` for programs, one sentence for people with what to do."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape:
    """One symbol's bars, or its quotes; never both.

    `symbol` is in our spelling. `bars` are bid bars, ascending, empty for a tape of quotes, whose timeframe is M1: what
    `bars_from_quotes` makes of it. `asks` have the bars' length and starts and no volumes, None where the tape has no
    asks. `has_volume` says that the bars (built from quotes: always) have volumes, `has_side` that they have aggressor
    volumes. `notes` are sentences about what was inferred, assumed or repaired; `doubts` are what a person should look at
    before the run is believed.
    """

    symbol: str
    timeframe: Timeframe
    bars: tuple[Bar, ...]
    asks: tuple[Bar, ...] | None
    quotes: tuple[Quote, ...] | None
    has_volume: bool
    has_side: bool
    notes: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.bars) == bool(self.quotes):
            msg = f"tape of {self.symbol}: it has {len(self.bars)} bars and {len(self.quotes or ())} quotes; it needs one of both"
            raise InvalidDataError(msg)
        for before, bar in pairwise(self.bars):
            if bar.start <= before.start:
                msg = f"tape of {self.symbol}: bar {bar.start} follows bar {before.start}; bars ascend"
                raise InvalidDataError(msg)
        if self.asks is not None:
            self._check_asks(self.asks)
        if not self.symbol or self.symbol.split() != [self.symbol]:
            msg = f"tape of {self.symbol!r}: a symbol is one word"
            raise InvalidDataError(msg)
        said = (*self.notes, *(doubt.text for doubt in self.doubts))
        if any(sentence != " ".join(sentence.split()) for sentence in said):
            msg = f"tape of {self.symbol}: notes and doubts {said} are not all sentences on one line"
            raise InvalidDataError(msg)
        self._check_flags()

    def _check_flags(self) -> None:
        rows: tuple[Bar | Quote, ...] = (*self.bars, *self._quotes())
        volume = any(row.volume is not None for row in rows) or not self.bars
        side = any(row.buy_volume is not None or row.sell_volume is not None for row in rows)
        if (volume and not self.has_volume) or (side and not self.has_side):
            msg = f"tape of {self.symbol}: has_volume {self.has_volume} or has_side {self.has_side} denies volumes that it has"
            raise InvalidDataError(msg)

    def _check_asks(self, asks: tuple[Bar, ...]) -> None:
        if len(asks) != len(self.bars):
            msg = (
                f"tape of {self.symbol}: {len(self.bars)} bid bars and {len(asks)} ask bars; each needs its other side"
            )
            raise InvalidDataError(msg)
        for bid, ask in zip(self.bars, asks, strict=True):
            if bid.start != ask.start or ask.volume is not None:
                msg = f"tape of {self.symbol}: ask bar {ask.start} is not of bid bar {bid.start}, or has a volume of its own"
                raise InvalidDataError(msg)
            if crossed(bid, ask):
                msg = f"tape of {self.symbol}: at {bid.start} the ask bar lies below the bid bar"
                raise InvalidDataError(msg)

    @property
    def first(self) -> Millis:
        """The start of the first bar, or the instant of the first quote."""
        return self.bars[0].start if self.bars else self._quotes()[0].at

    @property
    def last(self) -> Millis:
        """The start of the last bar, or the instant of the last quote."""
        return self.bars[-1].start if self.bars else self._quotes()[-1].at

    def _quotes(self) -> tuple[Quote, ...]:
        return () if self.quotes is None else self.quotes


def crossed(bid: Bar, ask: Bar) -> bool:
    """Say whether an ask bar is below its bid bar in any of its four prices, which no market does."""
    return ask.open < bid.open or ask.high < bid.high or ask.low < bid.low or ask.close < bid.close


def require_m1(tape: Tape) -> None:
    """Refuse a tape that is too coarse to simulate as it is.

    Raises:
        SettingsError: The tape's bars are longer than a minute.
    """
    require_frame(tape, None)


def require_frame(tape: Tape, frame: str | None) -> None:
    """Refuse a tape whose bars are longer than a minute, unless a person has said that they are.

    Args:
        tape: The tape.
        frame: The timeframe of longer bars that are to be played, M5, M15 or H1; None where nobody asked for that.

    Raises:
        SettingsError: The tape's bars are too long, or not of that timeframe.
    """
    name = tape.timeframe.name
    if frame is not None and frame != name:
        msg = (
            f"--frame {frame}, and the tape of {tape.symbol} has {name} bars; say --frame {name} or give the other tape"
        )
        raise SettingsError(msg)
    if tape.timeframe is Timeframe.M1 or frame is not None:
        return
    msg = (
        f"tape of {tape.symbol} has {name} bars; simulate needs M1 or quotes, because decisions fall on M5 bars"
        " and the path inside a longer bar, which decides which stop was hit first, is not in it; export the tape as M1"
    )
    if tape.timeframe.value <= Timeframe.H1.value:
        msg += f", or say --frame {name} to play it along an assumed path"
    raise SettingsError(msg)


def bars_from_quotes(quotes: Iterable[Quote]) -> tuple[tuple[Bar, ...], tuple[Bar, ...]]:
    """Return the M1 bid bars and the M1 ask bars of quotes, which ascend; a minute without quotes has no bar.

    A bar's volume is the quotes' volume where they have one, else their number, as a terminal's tick volume is.
    """
    bids: list[Bar] = []
    asks: list[Bar] = []
    minute: list[Quote] = []
    for quote in quotes:
        if minute and Timeframe.M1.start_of(quote.at) != Timeframe.M1.start_of(minute[0].at):
            _close_minute(minute, bids, asks)
            minute = []
        minute.append(quote)
    if minute:
        _close_minute(minute, bids, asks)
    return tuple(bids), tuple(asks)


def _close_minute(minute: list[Quote], bids: list[Bar], asks: list[Bar]) -> None:
    start = Timeframe.M1.start_of(minute[0].at)
    prices = [quote.bid for quote in minute]
    volume = _sum(quote.volume for quote in minute)
    bids.append(
        Bar(
            start=start,
            open=prices[0],
            high=max(prices),
            low=min(prices),
            close=prices[-1],
            volume=float(len(minute)) if volume is None else volume,
            buy_volume=_sum(quote.buy_volume for quote in minute),
            sell_volume=_sum(quote.sell_volume for quote in minute),
        )
    )
    prices = [quote.ask for quote in minute]
    asks.append(Bar(start=start, open=prices[0], high=max(prices), low=min(prices), close=prices[-1]))


def _sum(volumes: Iterable[float | None]) -> float | None:
    known = [volume for volume in volumes if volume is not None]
    return sum(known) if known else None

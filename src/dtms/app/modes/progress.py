"""Whether the work gets done: which symbols of open trades cannot be read, and which trades are not decided.

A process that runs and errs looks alive; what a trader needs to know is whether each trade is looked after. Whether a
market is open is taken from the quotes that come, never from a calendar alone: a holiday is no fault.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from dtms.app.market.market_data import MarketData
from dtms.app.modes.error_trend import ErrorTrend
from dtms.app.modes.keeper import ModeKeeper
from dtms.app.modes.rate_limited_log import Seldom
from dtms.domain.calendar import MarketHours
from dtms.domain.modes import Cause
from dtms.domain.trade import Hold, Owner, Trade
from dtms.domain.units import SECOND, Millis
from dtms.errors import BrokerError, DtmsError, MarketDataError
from dtms.ports.broker import BrokerReads
from dtms.ports.clock import Clock

UNREAD_MS: Final = 60 * SECOND
SILENT_MS: Final = 60 * SECOND
"""A quote may be too old to act on long before a market counts as silent: many symbols quote a few times a minute."""

OWED_BARS: Final = 2
_GRACE: Final = 15 * SECOND
"""After its end a bar may still be on its way to the terminal, and a pass may be under way."""

_NAMED: Final = (Cause.UNDECIDED, Cause.MARKET_UNREAD, Cause.PASS_FAILING, Cause.LEDGER_DOWN)
"""Where one of these is told, the stream of errors has its name already."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """What one process has got done for the open trades, and the causes that follow from what it has not.

    `decides` says whether trades are decided here: the exits read the market and decide nothing on a bar.
    """

    modes: ModeKeeper
    clock: Clock
    desk: MarketData
    reads: BrokerReads
    said: Seldom
    decides: bool
    _dark: dict[str, tuple[Millis, str]] = field(default_factory=dict)
    _silent_at: dict[str, Millis] = field(default_factory=dict)
    _quoted: dict[str, deque[int]] = field(default_factory=dict)
    _trend: ErrorTrend = field(default_factory=ErrorTrend)

    def erred(self, what: str, subject: str, error: DtmsError) -> None:
        """Take note of an error that the pass survives: logged, and counted for whether such keep coming."""
        self._trend.count(self.clock.boot_ns())
        self.said.say(what, subject, error)

    def unread(self, symbol: str, error: MarketDataError | BrokerError, now: Millis) -> None:
        """Take note that a symbol's quotes or bars could not be read; while its market is closed that is no fault."""
        if not self._open(symbol, now):
            self._dark.pop(symbol, None)
            self.said.say("a symbol cannot be read; its market is closed", symbol, error)
            return
        if symbol not in self._dark:
            self._dark[symbol] = now, str(error)
            self._trend.count(self.clock.boot_ns())  # one that comes and goes is no 60 s dark, and no good either
        self.said.say("a symbol cannot be read", symbol, error)

    def read(self, symbol: str) -> None:
        """Take note that a symbol's quotes and bars were read."""
        self._dark.pop(symbol, None)

    def look(self, trades: Iterable[Trade], now: Millis) -> None:
        """Tell what is not done, and what is done again, as of a whole pass."""
        managed = tuple(trade for trade in trades if trade.owner is not Owner.NONE and trade.hold is Hold.NONE)
        self._tell(Cause.MARKET_UNREAD, self._unread_words({trade.symbol for trade in managed}, now))
        if self.decides:
            self._tell(Cause.UNDECIDED, self._undecided_words(managed, now))
        self.look_at_errors()

    def listen(self, trades: Iterable[Trade], now: Millis) -> None:
        """Tell whether a symbol with an open trade has no quote although its market is open.

        It stands until the symbol has quoted for a minute without such a silence: one that quotes each 70 s is told once.
        """
        watched = set(self.desk.symbols())
        symbols = [symbol for symbol in dict.fromkeys(trade.symbol for trade in trades) if symbol in watched]
        for symbol in symbols:
            found = self.desk.symbol(symbol, now)
            heard = found.feed.changed_at
            silent = heard is None or now - heard > SILENT_MS
            if not found.hours.is_open(now):
                self._silent_at.pop(symbol, None)
            elif silent and found.feed.is_stale(now):
                self._silent_at[symbol] = now
        silent_ones = [s for s in symbols if s in self._silent_at and now - self._silent_at[s] <= SILENT_MS]
        if silent_ones:
            self.modes.set(Cause.STALE_MARKET, f"{silent_ones[0]} has no fresh quote")
        else:
            self.modes.clear(Cause.STALE_MARKET)

    def look_at_errors(self) -> None:
        """Tell whether errors keep coming, where nothing else says why."""
        grows = self._trend.grows(self.clock.boot_ns()) and not self.modes.active().intersection(_NAMED)
        self._tell(Cause.ERRORS_GROW, "errors have kept coming for a minute; the log says which" if grows else "")

    def _tell(self, cause: Cause, words: str) -> None:
        if words:
            self.modes.restate(cause, words)
        else:
            self.modes.clear(cause)

    def _unread_words(self, symbols: set[str], now: Millis) -> str:
        dark = {
            symbol: why
            for symbol, (since, why) in sorted(self._dark.items())
            if symbol in symbols and now - since >= UNREAD_MS
        }
        if not dark:
            return ""
        first = next(iter(dark))
        undone = "are not decided" if self.decides else "have no exit rules at work"
        return f"{', '.join(dark)} could not be read for 60 s, so its trades {undone}; {first}: {dark[first]}"

    def _undecided_words(self, managed: tuple[Trade, ...], now: Millis) -> str:
        for symbol in {trade.symbol for trade in managed}.intersection(self.desk.symbols()):
            self._take_note_of_quotes(symbol, now)
        owing = sorted(trade.ticket for trade in managed if self._owes(trade, now))
        if not owing:
            return ""
        tickets = ", ".join(map(str, owing))
        return f"no decision on the last {OWED_BARS} closed bars, although quotes came, for: {tickets}"

    def _take_note_of_quotes(self, symbol: str, now: Millis) -> None:
        heard = self.desk.symbol(symbol, now).feed.changed_at
        if heard is None:
            return
        bars = self._quoted.setdefault(symbol, deque(maxlen=OWED_BARS + 1))
        start = heard - heard % self.desk.bar
        if not bars or start > bars[-1]:
            bars.append(start)

    def _owes(self, trade: Trade, now: Millis) -> bool:
        """Say whether two bars with quotes have closed since the last one that the trade was decided on."""
        decided = -1 if trade.last_bar is None else trade.last_bar
        bars = self._quoted.get(trade.symbol, ())
        owed = [
            start
            for start in bars
            if start >= max(decided, trade.registered_at) and start + self.desk.bar + _GRACE <= now
        ]
        return len(owed) >= OWED_BARS

    def _open(self, symbol: str, now: Millis) -> bool:
        """Say whether a symbol's market is believed open; where not even that can be told, it is."""
        try:
            if symbol in self.desk.symbols():
                return self.desk.symbol(symbol, now).hours.is_open(now)
            return MarketHours(self.reads.instrument(symbol).asset).is_open(now)
        except (BrokerError, MarketDataError):
            return True

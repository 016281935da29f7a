"""The drill's market: coarse quotes of violent weather, and what becomes of a quote on its way to a reader."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from dtms.domain.calendar import MarketHours
from dtms.domain.market import Quote
from dtms.domain.units import MINUTE, SECOND, Millis
from dtms_lab.drill.broker_changes import NEW_NAME
from dtms_lab.drill.dice import Dice
from dtms_lab.drill.instruments import Listing
from dtms_lab.drill.kinds import Kind
from dtms_lab.drill.ways import crossed
from dtms_lab.terminal.server import SimServer

_MOVE: Final = 0.22
"""Standard deviation of a minute's move, in ATR(M15)."""
_DRIFT: Final = 0.25
"""Greatest drift of a phase, ATR(M15) a minute."""
_LONG_TROUBLE: Final = 20 * SECOND
_SPIKE_PAUSE: Final = MINUTE
"""Two spikes in the same direction soon after each other are a market, not a bad tick."""


@dataclass(slots=True)
class _Symbol:
    """One symbol's price and its mood."""

    listing: Listing
    bid: float
    hours: MarketHours
    drift: float = 0.0
    drift_until: int = 0
    silent_until: int = 0
    wide_until: int = 0
    spiked_at: int = 0
    recent: list[Quote] = field(default_factory=list)


class Market:
    """Makes quotes at the broker, and spoils some for single readers; fulfils `QuoteTrouble`."""

    def __init__(self, sim: SimServer, listings: Sequence[Listing], dice: Dice, clock: Callable[[], Millis]) -> None:
        self._sim = sim
        self._dice = dice
        self._clock = clock
        self._symbols = {
            each.name: _Symbol(listing=each, bid=each.price, hours=MarketHours(each.spec.asset)) for each in listings
        }
        self._moved_at = clock()
        self.quoted: Callable[[str], None] = lambda _symbol: None
        self.spoilt: set[tuple[str, int, float, float]] = set()

    def is_open(self, symbol: str, at: Millis) -> bool:
        """Say whether the week's hours let the broker deal in a symbol at an instant."""
        return self._symbols[symbol.removesuffix(NEW_NAME)].hours.is_open(at)

    def hours(self, symbol: str) -> MarketHours:
        """Return the hours of a symbol."""
        return self._symbols[symbol.removesuffix(NEW_NAME)].hours

    def closed(self) -> tuple[str, ...]:
        """Return the symbols that are out of session now."""
        now = self._clock()
        return tuple(name for name in self._symbols if not self._sim.state.in_session(name, now))

    def move(self) -> None:
        """Let time since the last move show in the prices: one quote a symbol that is in session."""
        now = self._clock()
        elapsed = min(now - self._moved_at, 10 * MINUTE) / MINUTE
        self._moved_at = now
        for name, symbol in self._symbols.items():
            self._walk(symbol, elapsed, now)
            if symbol.hours.is_open(now) and now >= symbol.silent_until:
                self._quote(name, symbol, now)

    def nudge(self) -> None:
        """Let one quote more come at this instant: the market moves between two things that a process does."""
        now = self._clock()
        for name, symbol in self._symbols.items():
            self._walk(symbol, 0.05, now)
            if symbol.hours.is_open(now) and now >= symbol.silent_until:
                self._quote(name, symbol, now)

    def _walk(self, symbol: _Symbol, minutes: float, now: int) -> None:
        stream = self._dice.stream("market")
        atr, price = symbol.listing.atr, symbol.listing.price
        if now >= symbol.drift_until:
            symbol.drift = stream.uniform(-_DRIFT, _DRIFT)
            symbol.drift_until = now + stream.randrange(1, 12) * MINUTE
        move = stream.gauss(0.0, _MOVE) * math.sqrt(minutes) + symbol.drift * minutes
        if self._dice.strikes(Kind.GAP):
            move += stream.choice((-1.0, 1.0)) * stream.uniform(1.0, 3.0)
        if self._dice.strikes(Kind.SILENCE):
            symbol.silent_until = now + stream.randrange(1, 6) * _LONG_TROUBLE
        if self._dice.strikes(Kind.SPREAD):
            symbol.wide_until = now + _LONG_TROUBLE
        if self._dice.healed:
            symbol.silent_until = symbol.wide_until = 0
        # Prices stay within reach of where they began: a drill is about processes, not about fortunes.
        pull = 0.01 * (price - symbol.bid) / atr * minutes
        symbol.bid = max(0.5 * price, symbol.bid + (move + pull) * atr)

    def _quote(self, name: str, symbol: _Symbol, now: Millis) -> None:
        spec = self._sim.state.specs[name]
        wide = 8.0 if now < symbol.wide_until else 1.0
        bid = round(round(symbol.bid / spec.tick_size) * spec.tick_size, spec.digits)
        spread = max(spec.tick_size, round(wide * spec.spread_typical / spec.tick_size) * spec.tick_size)
        quote = Quote(symbol=name, at=now, bid=bid, ask=round(bid + spread, spec.digits))
        symbol.recent = [*symbol.recent[-2:], quote]
        self._sim.on_quote(quote)
        self.quoted(name)

    def spoiled(self, quote: Quote) -> Quote:
        """Return a quote as it arrives: most do unharmed.

        Raises:
            InvalidDataError: Its bid is above its ask.
        """
        if not self._dice.strikes(Kind.BAD_TICK):
            return quote
        stream = self._dice.stream("ticks")
        symbol = self._symbols[quote.symbol]
        choice = stream.randrange(3)
        if choice == 0:
            raise crossed(quote)
        if choice == 1 and symbol.recent:
            return symbol.recent[0]
        if quote.at - symbol.spiked_at < _SPIKE_PAUSE:
            return quote
        symbol.spiked_at = quote.at
        factor = stream.choice((100.0, 0.3, 1.4))
        bad = Quote(symbol=quote.symbol, at=quote.at, bid=quote.bid * factor, ask=quote.ask * factor)
        self.spoilt.add((bad.symbol, bad.at, bad.bid, bad.ask))
        return bad

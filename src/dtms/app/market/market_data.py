"""The market as the services see it: quotes and closed bars of every symbol, from the gateway's reads.

It gathers and remembers; it decides nothing. What it must not lose in a restart (the indicators' state) is saved with
the ledger and brought up to date from the broker's history.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from dtms.app.market.closures import spans_by_symbol
from dtms.app.market.quotes import QuoteFeed
from dtms.core.market_state import MarketState
from dtms.domain.calendar import MarketHours
from dtms.domain.closure import Closure, Span
from dtms.domain.instrument import Instrument
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.policy import Policies, Policy
from dtms.domain.score import MarketView
from dtms.domain.units import MINUTE, SECOND, Millis
from dtms.errors import InvalidDataError, StaleDataError
from dtms.ports.broker import BrokerReads
from dtms.ports.ledger import Ledger

WARM_UP_BARS = 30_000
"""M1 bars asked for when a symbol is first seen: 1,000 M15 bars for the extension's percentile, with room for gaps."""

_FEW_BARS = 8
"""What one M5 bar needs, with room; more only where these do not reach back far enough."""

_CLOSE_DELAY = 2 * SECOND
_AHEAD = 2 * MINUTE
"""A quote from further ahead than two clocks may differ is none."""
_SPREADS_EVERY = 500
"""New quotes after which the spreads are saved again."""

_M5 = Timeframe.M5.value
_LATE_HISTORY: Final = 10 * MINUTE
"""How long a terminal may take to load a history that it was asked for; from its server it comes within seconds to minutes."""


@dataclass(slots=True, kw_only=True)
class SymbolMarket:
    """One symbol: its quotes, its indicators, and when its next bar closes.

    `oldest` is the first bar of a history that was shorter than asked for, None where there was none; until `older_until`
    an older one is looked for.
    """

    instrument: Instrument
    hours: MarketHours
    policy: Policy
    feed: QuoteFeed
    state: MarketState
    view: MarketView | None = None
    next_close: Millis = Millis(0)
    dropped_bars: int = 0
    spreads_saved: int = 0
    oldest: Millis | None = None
    older_until: Millis = Millis(0)

    @property
    def atr(self) -> float | None:
        """Return the latest ATR(M15) in price units; None where it is not known."""
        return None if self.view is None else self.view.indicators.atr_m15


@dataclass(slots=True, kw_only=True)
class MarketData:
    """All symbols that somebody asked about; `bar` is how long the bars are that trades are decided on, ms."""

    reads: BrokerReads
    ledger: Ledger
    policies: Policies
    scored: bool = True
    bar: int = _M5
    _closures: tuple[Closure, ...] = ()
    _shut: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    _desks: dict[str, SymbolMarket] = field(default_factory=dict)

    def learn(self, closures: tuple[Closure, ...]) -> None:
        """Take in what the ledger says of markets that the broker showed as closed: hours leave these stretches out."""
        if closures == self._closures:
            return
        self._closures, self._shut = closures, spans_by_symbol(closures)
        for symbol, desk in self._desks.items():
            desk.hours = self._hours(symbol, desk.instrument)

    def _hours(self, symbol: str, instrument: Instrument) -> MarketHours:
        return MarketHours(instrument.asset, self._shut.get(symbol, ()))

    def symbol(self, symbol: str, now: Millis) -> SymbolMarket:
        """Return the desk of a symbol, warmed up from the saved state and the broker's history at first sight.

        Raises:
            InvalidDataError: The broker does not know the symbol.
            BrokerUnavailableError: It cannot be read now; ask again.
        """
        desk = self._desks.get(symbol)
        if desk is None:
            desk = self._open(symbol, now)
            self._desks[symbol] = desk
        return desk

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that are watched, in the order of first sight."""
        return tuple(self._desks)

    def quote(self, symbol: str, now: Millis) -> Quote | None:
        """Read the newest quote; return it where it was accepted and is new, else None."""
        desk = self.symbol(symbol, now)
        try:
            quote = _on_grid(self.reads.quote(symbol), desk.instrument)
        except StaleDataError:
            return None
        except InvalidDataError:
            desk.feed.refuse()  # no number, crossed, not positive: not a price that anybody could have had
            return None
        if quote.at > now + _AHEAD:
            # A broker's clock that jumped: believed, it would be the newest quote for as long as the jump.
            desk.feed.refuse()
            return None
        return quote if desk.feed.offer(quote, desk.atr, now) else None

    def doubt(self) -> None:
        """Hold every quote for stale until a new one comes: the machine has slept."""
        for desk in self._desks.values():
            desk.feed.forget_age()

    def poll_bars(self, symbol: str, now: Millis) -> tuple[MarketView, ...]:
        """Close the bars whose time has come; return the new views, oldest first (only the newest is to be decided)."""
        desk = self.symbol(symbol, now)
        if now < desk.next_close:
            return ()
        self._renew(desk)
        rebuilt = now < desk.older_until and self._found_older(desk)
        self._catch_up(desk, now)
        views = desk.state.advance(now) if not rebuilt else _only(desk.state.catch_up(now))
        if views:
            desk.view = views[-1]
            if self.scored:
                self._save(desk, views[-1].at)
        desk.next_close = Millis(Timeframe.M5.start_of(Millis(now - _CLOSE_DELAY)) + _M5 + _CLOSE_DELAY)
        return views

    def refresh(self, symbol: str, now: Millis) -> None:
        """Read the instrument again: levels, steps and contract may change under an open trade."""
        self._renew(self.symbol(symbol, now))

    def _renew(self, desk: SymbolMarket) -> None:
        """Read an instrument again, with each bar at the latest: tick value, contract, steps and levels do not stand still."""
        desk.instrument = self.reads.instrument(desk.instrument.symbol)

    def next_wake(self) -> Millis | None:
        """Return when the next bar closes, None where nothing is watched."""
        return min((desk.next_close for desk in self._desks.values()), default=None)

    def _save(self, desk: SymbolMarket, at: Millis) -> None:
        """Write what a restart must not lose: the indicators with each bar, the spreads when enough are new."""
        symbol, seen = desk.instrument.symbol, desk.feed.seen
        with self.ledger.write() as tx:
            tx.put_market_state(symbol, at, desk.state.dump())
            if seen - desk.spreads_saved >= _SPREADS_EVERY:
                tx.put_market_state(_spreads_of(symbol), at, desk.feed.dump_spreads())
                desk.spreads_saved = seen

    def _open(self, symbol: str, now: Millis) -> SymbolMarket:
        instrument = self.reads.instrument(symbol)
        policy = self.policies.of(instrument.canonical)
        hours = self._hours(symbol, instrument)
        state = self._restored(symbol, instrument, policy, now)
        anew = state.last_m1_start is None
        feed = QuoteFeed(symbol=symbol, hours=hours, policy=policy.rails, spread_typical=policy.spread_typical)
        self._recall_spreads(feed)
        desk = SymbolMarket(
            instrument=instrument, hours=hours, policy=policy, feed=feed, state=state, spreads_saved=feed.seen
        )
        fed = self._catch_up(desk, now)
        if anew and len(fed) < WARM_UP_BARS:
            desk.oldest = fed[0].start if fed else None
            desk.older_until = Millis(now + _LATE_HISTORY)
        newest = state.catch_up(now)
        desk.view = newest if newest is not None else state.score_now(now)
        if desk.view is not None:
            feed.reference = desk.view.close
        desk.next_close = Millis(Timeframe.M5.start_of(Millis(now - _CLOSE_DELAY)) + _M5 + _CLOSE_DELAY)
        return desk

    def _restored(self, symbol: str, instrument: Instrument, policy: Policy, now: Millis) -> MarketState:
        """Return the saved indicators, or fresh ones where what was saved is of another layout or ahead of the market.

        Either way the broker's history brings them up to date; fresh ones only take longer.
        """
        fresh = _new_state(instrument, policy)
        with self.ledger.read() as tx:
            saved = tx.market_state(symbol)
        if saved is None:
            return fresh
        state = _new_state(instrument, policy)
        try:
            state.load(saved)
        except InvalidDataError:
            return fresh
        ahead = state.last_m1_start is not None and state.last_m1_start > now
        return fresh if ahead else state

    def _recall_spreads(self, feed: QuoteFeed) -> None:
        """Go on with the spreads of before a restart, where there are any and they can be read."""
        with self.ledger.read() as tx:
            saved = tx.market_state(_spreads_of(feed.symbol))
        if saved is not None:
            with suppress(InvalidDataError):  # the typical spread stands in, as at the very first start
                feed.load_spreads(saved)

    def _found_older(self, desk: SymbolMarket) -> bool:
        """Begin anew with an older history where the terminal has loaded one since; say whether it has.

        A terminal answers the first question with what it holds and asks its server for the rest: indicators made of that
        alone would stay without their longest layers for hours.
        """
        bars = self.reads.bars(desk.instrument.symbol, Timeframe.M1, WARM_UP_BARS)
        if not bars or (desk.oldest is not None and bars[0].start >= desk.oldest):
            return False
        desk.oldest = bars[0].start
        if len(bars) >= WARM_UP_BARS:
            desk.older_until = Millis(0)
        desk.state = _new_state(desk.instrument, desk.policy)
        _feed(desk, bars)
        return True

    def _catch_up(self, desk: SymbolMarket, now: Millis) -> tuple[Bar, ...]:
        """Feed the M1 bars that were closed since the last one, and return them."""
        bars = self._bars_since(desk.instrument.symbol, desk.state.last_m1_start, now)
        _feed(desk, bars)
        return bars

    def _bars_since(self, symbol: str, last: Millis | None, now: Millis) -> tuple[Bar, ...]:
        """Return the closed M1 bars behind `last`; few are asked for first, for over a weekend there are none."""
        if last is None:
            return self.reads.bars(symbol, Timeframe.M1, WARM_UP_BARS)
        most = min(WARM_UP_BARS, (now - last) // MINUTE + 1)
        count = min(most, _FEW_BARS)
        while count > 0:
            bars = self.reads.bars(symbol, Timeframe.M1, count)
            if count == most or len(bars) < count or bars[0].start <= last:
                return tuple(bar for bar in bars if bar.start > last)
            count = min(most, count * _FEW_BARS)
        return ()


def _new_state(instrument: Instrument, policy: Policy) -> MarketState:
    return MarketState(instrument.symbol, instrument.asset, policy.score, policy.regime, canonical=instrument.canonical)


def _feed(desk: SymbolMarket, bars: tuple[Bar, ...]) -> None:
    """Take in bars; one off the minute is dropped, not the whole symbol."""
    for bar in bars:
        if bar.start % MINUTE:
            desk.dropped_bars += 1
            continue
        desk.state.on_m1(bar)


def _only(view: MarketView | None) -> tuple[MarketView, ...]:
    return () if view is None else (view,)


def _spreads_of(symbol: str) -> str:
    """Return under which name the spreads of a symbol are saved: no symbol has a space in it."""
    return f"spreads of {symbol}"


def _on_grid(quote: Quote, instrument: Instrument) -> Quote:
    """Return the quote at the nearest prices that the instrument has."""
    bid, ask = instrument.nearest(quote.bid), instrument.nearest(quote.ask)
    return quote if bid == quote.bid and ask == quote.ask else replace(quote, bid=bid, ask=ask)

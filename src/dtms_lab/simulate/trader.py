"""The other program of a run with real processes: it trades at the terminal by itself and asks dtms to protect its trades.

It does what any adopting program does: it opens at its own terminal connection under its own number, then registers over
HTTP, and again until it is told yes or no. It knows nothing of the inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from dtms.adapters.mt5.server_time import ServerClock
from dtms.adapters.sql import open_ledger
from dtms.app.market.market_data import MarketData
from dtms.domain.market import Quote, Timeframe
from dtms.domain.policy import Policies
from dtms.domain.position import Position
from dtms.domain.score import MarketView
from dtms.domain.units import SECOND, Lots, Millis, Price, Side
from dtms.errors import BrokerError, InvariantError, MarketDataError
from dtms.ports.clock import Clock
from dtms.services.broker_child import TerminalLink, link_to
from dtms.settings import Settings
from dtms_lab.instruments import InstrumentBook
from dtms_lab.simulate.entries import Entries, Order, order_for
from dtms_lab.simulate.entry import ENTRY_MAGIC, WARM_UP_BARS, Entry, open_at, views_of
from dtms_lab.simulate.registering import Registering
from dtms_lab.simulate.shadow import Shadow
from dtms_lab.terminal.named import named
from dtms_lab.terminal.remote import RemoteTerminal

CALL_LIMIT_S: Final = 10.0


AGAIN_AFTER_NS: Final = 300_000_000

_log = structlog.get_logger("dtms.trader")


@dataclass(slots=True)
class _Waiting:
    """A position that is not registered yet."""

    entry: Entry
    body: Mapping[str, Any]
    again_ns: int = 0


@dataclass(slots=True, kw_only=True)
class Trader:
    """Trades one symbol by entries, and has its trades protected.

    What closed before `since` is history to the entries. With `alternate` every second trade is opened by the main API, as a person would, the others at the terminal.
    """

    symbol: str
    signals: Entries
    terminal: RemoteTerminal
    broker: TerminalLink
    desk: MarketData
    registering: Registering
    clock: Clock
    shadow: Shadow
    since: Millis
    alternate: bool = False
    entries: list[Entry] = field(default_factory=list)
    views: list[MarketView] = field(default_factory=list)
    _signal: Side | None = None
    _waiting: list[_Waiting] = field(default_factory=list)
    _fed_to: Millis = Millis(0)
    _warm: bool = False
    _blind: str = ""

    def step(self) -> None:
        """Look at the market and do what is to be done now; called often."""
        now = self.clock.market_now()
        try:
            self._warm_up(now)
            quote = self.desk.quote(self.symbol, now)
            self._on_bars(now)
            if quote is not None and self._signal is not None:
                side, self._signal = self._signal, None
                self._enter(side, quote)
        except (BrokerError, MarketDataError) as error:
            if str(error) != self._blind:
                self._blind = str(error)
                _log.warning("the trader cannot see the market", error=repr(error))
        self._register_waiting()

    def _warm_up(self, now: Millis) -> None:
        """Show the entries the hours before the run, as a program sees them that has been running; nothing is opened."""
        if self._warm:
            return
        known = self.desk.symbol(self.symbol, now)
        for view in views_of(self.broker.bars(self.symbol, Timeframe.M1, WARM_UP_BARS), known, self.since):
            self.signals.on_bar(view)
        self._warm = True
        if known.view is not None and known.view.at > self.since:
            self._on_bar(known.view)  # closed while the market could not be seen yet

    def last_quote(self) -> Quote | None:
        """Return the quote that was seen last."""
        return self.desk.symbol(self.symbol, self.clock.market_now()).feed.last

    def feed_shadow(self) -> None:
        """Hand the quotes since the last time to the twins, once they can be dated; the terminal keeps many thousand."""
        if not self.broker.server_clock.known:
            return
        now = self.clock.market_now()
        self.shadow.feed(quotes_between(self.terminal, self.broker.server_clock, self.symbol, self._fed_to, now))
        self._fed_to = Millis(now + 1)

    def finish(self) -> None:
        """Feed the twins to the end, and open what was entered last."""
        self.feed_shadow()
        self.shadow.finish()
        for waiting in self._waiting:
            waiting.entry.refused = waiting.entry.refused or "the run ended before it was registered"

    def close(self) -> None:
        """Leave the terminal."""
        self.registering.close()
        self.broker.close()

    def _on_bars(self, now: Millis) -> None:
        for view in self.desk.poll_bars(self.symbol, now):
            self._on_bar(view)

    def _on_bar(self, view: MarketView) -> None:
        self.views.append(view)
        signal = self.signals.on_bar(view)
        if signal is not None:
            self._signal = signal

    def _enter(self, side: Side, quote: Quote) -> None:
        mine = {entry.identifier for entry in self.entries}
        held = [p for p in self.broker.positions().positions if p.identifier in mine]
        desk = self.desk.symbol(self.symbol, self.clock.market_now())
        if len(held) >= self.signals.max_open or desk.atr is None:
            return
        order = order_for(self.signals, side, quote, desk.atr, desk.instrument)
        if order is None:
            return
        if self.alternate and len(self.entries) % 2 == 1:
            self.ask(order, quote.spread)
        else:
            self.open(order, quote.spread)

    def open(self, order: Order, spread: float) -> Entry | None:
        """Open a position at the terminal and have it protected; None where the broker refuses it."""
        position = self._position(open_at(self.terminal, self.symbol, order))
        if position is None:
            return None
        entry = self._take(position, spread)
        self._waiting.append(_Waiting(entry, _body(position)))
        self._register_waiting()
        return entry

    def ask(self, order: Order, spread: float) -> Entry | None:
        """Have the main API open and protect a position; None where it refuses."""
        body = {
            "symbol": self.symbol,
            "direction": order.side.name,
            "volume": order.volume,
            "stop_loss": order.stop,
            "take_profit": order.target,
        }
        ticket, reason = self.registering.open(body, f"{self.symbol}-{len(self.entries)}-{self.clock.boot_ns()}")
        position = self._position(ticket)
        if position is None:
            _log.warning("the main API opened nothing", reason=reason)
            return None
        entry = self._take(position, spread)
        entry.registered = True
        return entry

    def _position(self, ticket: int | None) -> Position | None:
        if ticket is None:
            return None
        return next((p for p in self.broker.positions().positions if p.ticket == ticket), None)

    def _take(self, position: Position, spread: float) -> Entry:
        """Note a position that was opened, and open its twin that nobody manages."""
        if position.stop is None or position.target is None:
            msg = f"position {position.ticket} was opened without its stop or target"
            raise InvariantError(msg)
        order = Order(
            side=position.side, volume=Lots(position.volume), stop=Price(position.stop), target=Price(position.target)
        )
        entry = self._entry(position, order, spread)
        self.entries.append(entry)
        self.shadow.enter(entry, order)
        return entry

    def _entry(self, position: Position, order: Order, spread: float) -> Entry:
        instrument = self.desk.symbol(self.symbol, self.clock.market_now()).instrument
        return Entry(
            ticket=position.ticket,
            identifier=position.identifier,
            twin=0,
            side=position.side,
            volume=position.volume,
            risk_money=instrument.money(abs(position.entry - order.stop), position.volume),
            spread_money=instrument.money(spread, position.volume),
            opened_at=position.opened_at,
            registered=False,
        )

    def _register_waiting(self) -> None:
        now_ns = self.clock.boot_ns()
        for waiting in [each for each in self._waiting if each.again_ns <= now_ns]:
            settled, reason = self.registering.register(waiting.body)
            waiting.again_ns = self.clock.boot_ns() + AGAIN_AFTER_NS
            if settled:
                self._waiting.remove(waiting)
                waiting.entry.registered, waiting.entry.refused = not reason, reason
            else:
                _log.warning("registration waits", ticket=waiting.entry.ticket, reason=reason)


def _body(position: Position) -> dict[str, Any]:
    return {
        "ticket": position.ticket,
        "symbol": position.symbol,
        "direction": position.side.name,
        "entry": position.entry,
        "volume": position.volume,
        "stop_loss": position.stop,
        "take_profit": position.target,
        "profile": "intraday",
    }


def quotes_between(
    terminal: RemoteTerminal, server_clock: ServerClock, symbol: str, first: Millis, last: Millis
) -> tuple[Quote, ...]:
    """Return the quotes of [first, last] that a terminal remembers, oldest first."""
    start, end = (server_clock.to_server(at) / SECOND for at in (first, last))
    ticks = terminal.copy_ticks_range(symbol, start, end, RemoteTerminal.COPY_TICKS_ALL)
    found = () if ticks is None else tuple(ticks)
    dates = server_clock.all_to_utc([int(tick["time_msc"]) for tick in found])
    return tuple(
        Quote(symbol=symbol, at=at, bid=float(tick["bid"]), ask=float(tick["ask"]))
        for at, tick in zip(dates, found, strict=True)
    )


def make_trader(
    settings: Settings,
    *,
    symbol: str,
    signals: Entries,
    policies: Policies,
    instruments: InstrumentBook,
    clock: Clock,
    token: str,
    alternate: bool = False,
) -> Trader:
    """Return a trader with a terminal connection of its own.

    Raises:
        BrokerUnavailableError: The terminal does not answer.
    """
    terminal = RemoteTerminal(settings.address_file, timeout=CALL_LIMIT_S)
    with named(terminal) as module:
        broker = link_to(
            module, account=None, server=None, magic=ENTRY_MAGIC, clock=clock.market_now, aliases=policies.aliases
        )
    key = broker.connect().key
    # Its own view of the market: indicators only, kept in memory.
    ledger = open_ledger("sqlite://", account=key, clock=clock.market_now)
    now = clock.market_now()
    desk = MarketData(reads=broker, ledger=ledger, policies=policies, scored=False)
    return Trader(
        symbol=symbol,
        signals=signals,
        terminal=terminal,
        broker=broker,
        desk=desk,
        registering=Registering(settings, token),
        clock=clock,
        shadow=Shadow(symbol, now, signals.balance, instruments),
        since=now,
        alternate=alternate,
    )


@dataclass(slots=True)
class NoEntries:
    """A program that opens nothing: people do."""

    stop_atr: float = 1.0
    target_atr: float = 1.0
    max_open: int = 0
    balance: float = 10_000.0

    def on_bar(self, view: MarketView) -> Side | None:
        """Return None."""
        del view
        return None

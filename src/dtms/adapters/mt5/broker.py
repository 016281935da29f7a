"""What the MetaTrader 5 terminal knows, by our port `BrokerReads`; this class has no way to send an order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import count as counter
from itertools import islice
from typing import Any, TypeVar

from dtms.adapters.mt5 import constants, mapping
from dtms.adapters.mt5.link import ABSENT_OR_FAILED, Mt5Link
from dtms.adapters.mt5.server_time import ServerClock
from dtms.adapters.mt5.surface import AccountInfo, Mt5Module, SymbolInfo
from dtms.domain.instrument import Instrument
from dtms.domain.market import Bar, Quote, Timeframe
from dtms.domain.position import Account, Deal, DealEntry, PositionsRead, WorkingOrder
from dtms.domain.server_offset import SeenOffset
from dtms.domain.symbols import canonical
from dtms.domain.units import DAY, HOUR, MINUTE, SECOND, Millis
from dtms.errors import BrokerUnavailableError, InvalidDataError, NotEnoughBarsError, StaleDataError

Answer = TypeVar("Answer")

_LOOKED_AT = 16
"""Symbols whose ticks are looked at for the server's clock: one that moves is enough."""

_LIST_AGAIN = 10 * MINUTE
"""A broker may list thousands of symbols, and Market Watch changes seldom."""

_ASSUMED_OFFSET_SLACK = 14 * HOUR
"""How far a deal's instant may be off while the server's offset is an assumption."""


class Mt5Broker:
    """One account behind one terminal; calls are made one at a time, from one thread.

    Args:
        mt5: The MetaTrader5 module, or an object with its surface.
        expected_login: The account that must be behind it; None takes the first one seen and holds on to it.
        expected_server: Its trade server, likewise.
        magic: The number under which the orders of this installation are sent.
        clock: The market's clock, UTC.
        commission: Commission of both sides in account currency a lot, by canonical symbol, where it is known beforehand.
        aliases: Further symbol aliases of the policy.
        initialize: Opens the link, with path and login bound; None attaches to the running terminal.
    """

    def __init__(
        self,
        mt5: Mt5Module,
        *,
        expected_login: int | None,
        expected_server: str | None,
        magic: int,
        clock: Callable[[], Millis],
        commission: Mapping[str, float] | None = None,
        aliases: Mapping[str, str] | None = None,
        initialize: Callable[[], bool] | None = None,
    ) -> None:
        self.link = Mt5Link(mt5, expected_login=expected_login, expected_server=expected_server, initialize=initialize)
        self.magic = magic
        self.server_clock = ServerClock(clock)
        self._mt5 = mt5
        self._clock = clock
        self._commission = dict(commission) if commission is not None else {}
        self._aliases = dict(aliases) if aliases is not None else None
        self._tokens = counter(1)
        self._hedge_allowed: bool | None = None
        self._instruments: dict[str, tuple[tuple[object, ...], Instrument]] = {}
        self._watched: dict[str, None] = {}
        self._listed: tuple[str, ...] = ()
        self._listed_at: Millis | None = None

    def connect(self) -> Account:
        """Open the link anew and return the account behind it."""
        account, terminal = self.link.connect()
        return mapping.account_of(account, terminal)

    def close(self) -> None:
        """Close the link."""
        self.link.close()

    def now(self) -> Millis:
        """Return the instant that the adapter goes by."""
        return self._clock()

    def account(self) -> Account:
        """Return the account as it stands."""
        account, terminal = self.link.verify()
        self._remember(account)
        self._learn_offset()
        return mapping.account_of(account, terminal)

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument, from a fresh look at its specification."""
        info = self.symbol_info(symbol)
        if self._hedge_allowed is None:
            self._remember(self.link.verify()[0])
        facts = (*mapping.instrument_facts(info), self._hedge_allowed)
        known = self._instruments.get(symbol)
        if known is not None and known[0] == facts:
            return known[1]
        made = mapping.instrument_of(info, hedge_allowed=bool(self._hedge_allowed), aliases=self._aliases)
        self._instruments[symbol] = (facts, made)
        return made

    def positions(self) -> PositionsRead:
        """Return all open positions, connected to the same account before and after the read."""
        as_of = self._clock()
        raw = self._between_checks("positions_get", self._mt5.positions_get)
        self._learn_offset()
        found = tuple(mapping.position_of(position, self.server_clock) for position in raw)
        return PositionsRead(token=next(self._tokens), as_of=as_of, positions=found)

    def working_orders(self) -> tuple[WorkingOrder, ...]:
        """Return the orders at the market that are not finished."""
        return mapping.working_of(self._between_checks("orders_get", self._mt5.orders_get))

    def quote(self, symbol: str) -> Quote:
        """Return the last quote; `StaleDataError` says that there is none yet, or that it cannot be dated yet."""
        if symbol not in self._watched:
            self.symbol_info(symbol)
        tick = self.link.ask_known("symbol_info_tick", lambda: self._mt5.symbol_info_tick(symbol))
        if tick is None:
            self._watched.pop(symbol, None)  # somebody took it out of Market Watch, or there was no quote yet
            msg = f"quote of {symbol}: the terminal has none yet; the market may be closed"
            raise StaleDataError(msg)
        self.server_clock.observe(symbol, tick.time_msc)
        self._learn_offset()
        self.server_clock.require_known(f"quote of {symbol}")
        return mapping.quote_of(symbol, tick, self.server_clock)

    def bars(self, symbol: str, timeframe: Timeframe, count: int) -> tuple[Bar, ...]:
        """Return the last `count` closed bars; the forming one counts as closed from its end on.

        Raises:
            NotEnoughBarsError: The terminal has no history of this symbol yet; other symbols do not wait for it.
            StaleDataError: They cannot be dated: no fresh tick has shown the server's clock yet, or what it shows lies ahead.
        """
        if count < 1:
            msg = f"bars of {symbol}: count is {count}; ask for at least one"
            raise InvalidDataError(msg)

        def ask() -> Any:
            return self._mt5.copy_rates_from_pos(symbol, constants.TIMEFRAME[timeframe], 0, count + 1)

        rates = self.link.ask_known("copy_rates_from_pos", ask, ABSENT_OR_FAILED)
        if rates is None:
            self.symbol_info(symbol)
            rates = self.link.ask_known("copy_rates_from_pos", ask, ABSENT_OR_FAILED)
        if rates is None:
            code, text = self.link.last_error()
            msg = (
                f"bars of {symbol}: the terminal has not loaded its history yet (last_error {code}, {text}); ask again"
            )
            raise NotEnoughBarsError(msg)
        self._learn_offset()
        if len(rates):
            self.server_clock.require_past(f"bars of {symbol}", int(rates["time"][-1]) * SECOND)
        found = mapping.bars_of(rates, self.server_clock)
        if found and found[-1].start + timeframe.value > self._clock():
            found = found[:-1]
        return found[-count:]

    def seen_offset(self) -> SeenOffset | None:
        """Return how far the server's clock is ahead, as ticks have shown it; None where none has yet."""
        self._learn_offset()
        return self.server_clock.seen

    def recall_offset(self, last: SeenOffset) -> None:
        """Let an offset that was seen by an earlier process stand in until a tick shows it again."""
        self.server_clock.recall(last)

    def deals(self, position: int) -> tuple[Deal, ...]:
        """Return all deals of one position identifier, oldest first."""
        raw = self._between_checks("history_deals_get", lambda: self._mt5.history_deals_get(position=position))
        return mapping.deals_of(raw, self.server_clock)

    def deals_between(self, start: Millis, end: Millis) -> tuple[Deal, ...]:
        """Return all deals in [start, end]; more than these while the server's offset is only assumed."""
        first = (self.server_clock.to_server(start) - DAY) // 1_000
        last = (self.server_clock.to_server(end) + DAY) // 1_000
        raw = self._between_checks("history_deals_get", lambda: self._mt5.history_deals_get(first, last))
        slack = 0 if self.server_clock.known else _ASSUMED_OFFSET_SLACK
        return tuple(
            deal for deal in mapping.deals_of(raw, self.server_clock) if start - slack <= deal.at <= end + slack
        )

    def commission_per_lot(self, symbol: str, position: int) -> float:
        """Return the commission of both sides in account currency a lot, >= 0.

        It is the configured one, else twice what the position's own opening deals were charged.

        Raises:
            InvalidDataError: Neither is known.
        """
        name = canonical(symbol, self._aliases)
        if name in self._commission:
            return self._commission[name]
        opened = [deal for deal in self.deals(position) if deal.entry is DealEntry.IN and deal.volume > 0]
        if not opened:
            msg = f"commission of {name} is not known: position {position} has no opening deal; configure it"
            raise InvalidDataError(msg)
        return 2.0 * max(0.0, -sum(d.commission + d.fee for d in opened)) / sum(d.volume for d in opened)

    def symbol_info(self, symbol: str) -> SymbolInfo:
        """Return the specification of a symbol, which is in Market Watch afterwards: elsewhere it gets no ticks.

        Raises:
            InvalidDataError: The broker does not know the symbol.
            BrokerUnavailableError: The answer is of another symbol: the link is out of step, and opened anew.
        """
        info = self.link.ask_known("symbol_info", lambda: self._mt5.symbol_info(symbol))
        if info is None:
            msg = f"the broker does not know the symbol {symbol!r}; check its spelling in the terminal's symbol list"
            raise InvalidDataError(msg)
        self._check_name(symbol, info)
        if info.select:
            self._watched[symbol] = None
            return info
        self.link.ask("symbol_select", lambda: self._mt5.symbol_select(symbol, True) or None)
        self._watched[symbol] = None
        again = self.link.ask("symbol_info", lambda: self._mt5.symbol_info(symbol))
        self._check_name(symbol, again)
        return again

    def _learn_offset(self) -> None:
        """Look at the ticks of Market Watch where the server's clock was not seen lately, whoever asked for what.

        A look that fails costs nothing: the next question looks again, and what needs the offset says so.
        """
        if self.server_clock.wants_look():
            with suppress(BrokerUnavailableError):
                for symbol in islice(self._market_watch(), _LOOKED_AT):
                    tick = self.link.ask_known("symbol_info_tick", partial(self._mt5.symbol_info_tick, symbol))
                    if tick is not None:
                        self.server_clock.observe(symbol, tick.time_msc)

    def market_watch(self) -> tuple[str, ...]:
        """Return the names of the symbols that the terminal shows, as it spells them."""
        return tuple(info.name for info in self.link.ask("symbols_get", self._mt5.symbols_get) if info.select)

    def _market_watch(self) -> tuple[str, ...]:
        """Return the symbols that have ticks, those that were asked about first."""
        now = self._clock()
        if not self._listed or self._listed_at is None or not 0 <= now - self._listed_at < _LIST_AGAIN:
            self._listed = self.market_watch()
            self._listed_at = now
        return tuple(dict.fromkeys((*self._watched, *self._listed)))

    def _check_name(self, symbol: str, info: SymbolInfo) -> None:
        """Refuse a specification that is another symbol's: stops and volumes would be quantised by it."""
        if info.name == symbol:
            return
        if info.name.casefold() == symbol.casefold():
            msg = f"the broker does not know the symbol {symbol!r}; it spells it {info.name!r}"
            raise InvalidDataError(msg)
        self.link.drop()
        msg = f"symbol_info of {symbol} was answered with {info.name}; the link is opened anew at the next call"
        raise BrokerUnavailableError(msg)

    def _between_checks(self, name: str, call: Callable[[], Answer | None]) -> Answer:
        """Read with account and connection verified on both sides, so that "nothing there" cannot mean "not connected"."""
        account, _ = self.link.verify()
        answer = self.link.ask(name, call)
        self.link.verify()
        self._remember(account)
        return answer

    def _remember(self, account: AccountInfo) -> None:
        """Hedging needs a hedging account, and is not to be had where the oldest position must be closed first."""
        self._hedge_allowed = mapping.is_hedging(account) and not account.fifo_close

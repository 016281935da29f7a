"""The package: the functions and constants of the MetaTrader 5 module, over any link to a terminal.

An instance is what `import MetaTrader5 as mt5` is: pass it as `mt5=`. Nothing is raised: a failure is `None` or `False`, and
`last_error()` tells which; it belongs to the call before it, in the same thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal import structs
from dtms_lab.terminal.arguments import (
    ArgumentError,
    instant,
    number,
    optional_pattern,
    optional_text,
    optional_whole,
    parse_request,
    pattern,
    signed,
    text,
    whole,
)
from dtms_lab.terminal.link import IpcError, Link, no_connection
from dtms_lab.terminal.structs import Struct

_SUCCESS = (Mt5.RES_S_OK, "Success")
_FILTERS = frozenset(("symbol", "ticket", "group"))
_HISTORY_FILTERS = frozenset(("group", "ticket", "position"))

Array = npt.NDArray[np.void]
Date = datetime | float
Argument = tuple[Callable[[str, Any], Any], str, Any]
"""A parser, the argument's name in messages, and the value that was given."""


class TerminalSurface(Mt5):
    """The module, as an object."""

    __version__ = "5.0.6231"

    def __init__(self, link: Link) -> None:
        self._link = link
        self._open = False
        self._error: tuple[int, str] = _SUCCESS

    def _ask(self, op: str, *arguments: Argument) -> Any:
        """Parse the arguments, perform one call and keep its error; the data of the reply, None on failure."""
        try:
            values = tuple(parse(name, value) for parse, name, value in arguments)
        except ArgumentError as error:
            self._refused(error)
            return None
        return self._call(op, values)

    def _call(self, op: str, values: tuple[Any, ...]) -> Any:
        try:
            if not self._open:
                raise no_connection()
            reply = self._link.call(op, values)
        except IpcError as error:
            self._error = (error.code, error.text)
            return None
        self._error = (reply.code, reply.text)
        return reply.data if reply.code == Mt5.RES_S_OK else None

    def _refused(self, error: ArgumentError) -> None:
        self._error = (Mt5.RES_E_INVALID_PARAMS, str(error))

    def initialize(self, path: str | None = None, **options: Any) -> bool:
        """Attach to the terminal. `login`, `password` and `server` are checked where given; other options do nothing."""
        try:
            optional_pattern("path", path)
            values = (
                optional_whole("login", options.get("login")),
                optional_pattern("password", options.get("password")),
                optional_pattern("server", options.get("server")),
            )
            self._link.open()
        except ArgumentError as error:
            self._refused(error)
            return False
        except IpcError as error:
            self._error = (error.code, error.text)
            return False
        self._open = True
        if self._call("initialize", values) is True:
            return True
        kept = self._error
        self.shutdown()
        self._error = kept
        return False

    def login(self, login: int, password: str | None = None, server: str | None = None, **_options: Any) -> bool:
        """Log in to an account; this terminal has one."""
        given = (whole, "login", login), (optional_pattern, "password", password), (optional_pattern, "server", server)
        return self._ask("login", *given) is True

    def shutdown(self) -> None:
        """Leave the terminal; it lives on."""
        self._link.close()
        self._open = False
        self._error = _SUCCESS

    def last_error(self) -> tuple[int, str]:
        """Return code and text of the last call."""
        return self._error

    def version(self) -> tuple[int, int, str] | None:
        """Return version, build and release date."""
        found = self._ask("version")
        return None if found is None else (int(found[0]), int(found[1]), str(found[2]))

    def terminal_info(self) -> Struct | None:
        """Return the terminal's state."""
        return _one(structs.TerminalInfo, self._ask("terminal_info"))

    def account_info(self) -> Struct | None:
        """Return the account."""
        return _one(structs.AccountInfo, self._ask("account_info"))

    def symbols_total(self) -> int | None:
        """Return how many symbols the broker has."""
        return _count(self._ask("symbols_total"))

    def symbols_get(self, group: str | None = None) -> tuple[Struct, ...] | None:
        """Return the symbols, all or those of a group such as `*USD*,!EUR*`."""
        return _many(structs.SymbolInfo, self._ask("symbols_get", (optional_pattern, "group", group)))

    def symbol_info(self, symbol: str) -> Struct | None:
        """Return one symbol."""
        return _one(structs.SymbolInfo, self._ask("symbol_info", (text, "symbol", symbol)))

    def symbol_info_tick(self, symbol: str) -> Struct | None:
        """Return the last tick of a watched symbol."""
        return _one(structs.Tick, self._ask("symbol_info_tick", (text, "symbol", symbol)))

    def symbol_select(self, symbol: str, enable: bool = True) -> bool:  # noqa: FBT001, FBT002 - the package's signature
        """Watch a symbol, or no longer."""
        return self._ask("symbol_select", (text, "symbol", symbol), (_as_is, "enable", bool(enable))) is True

    def market_book_add(self, symbol: str) -> bool:
        """Refuse: this broker shows no depth of market."""
        return self._ask("market_book_add", (text, "symbol", symbol)) is True

    def market_book_get(self, symbol: str) -> tuple[Struct, ...] | None:
        """Refuse: this broker shows no depth of market."""
        return _many(structs.BookInfo, self._ask("market_book_get", (text, "symbol", symbol)))

    def market_book_release(self, symbol: str) -> bool:
        """Refuse: this broker shows no depth of market."""
        return self._ask("market_book_release", (text, "symbol", symbol)) is True

    def copy_rates_from(self, symbol: str, timeframe: int, date_from: Date, count: int) -> Array | None:
        """Return `count` bars that opened at a date or before."""
        date: Argument = (instant, "date_from", date_from)
        return _array(self._ask("copy_rates_from", *_bars_of(symbol, timeframe), date, (whole, "count", count)))

    def copy_rates_from_pos(self, symbol: str, timeframe: int, start_pos: int, count: int) -> Array | None:
        """Return `count` bars up to a position counted from the running bar, 0."""
        start: Argument = (whole, "start_pos", start_pos)
        return _array(self._ask("copy_rates_from_pos", *_bars_of(symbol, timeframe), start, (whole, "count", count)))

    def copy_rates_range(self, symbol: str, timeframe: int, date_from: Date, date_to: Date) -> Array | None:
        """Return the bars that opened in a span."""
        return _array(self._ask("copy_rates_range", *_bars_of(symbol, timeframe), *_span_of(date_from, date_to)))

    def copy_ticks_from(self, symbol: str, date_from: Date, count: int, flags: int) -> Array | None:
        """Return `count` ticks from a date on."""
        date: Argument = (instant, "date_from", date_from)
        rest: tuple[Argument, Argument] = ((whole, "count", count), (signed, "flags", flags))
        return _array(self._ask("copy_ticks_from", (text, "symbol", symbol), date, *rest))

    def copy_ticks_range(self, symbol: str, date_from: Date, date_to: Date, flags: int) -> Array | None:
        """Return the ticks of a span."""
        span = _span_of(date_from, date_to)
        return _array(self._ask("copy_ticks_range", (text, "symbol", symbol), *span, (signed, "flags", flags)))

    def orders_total(self) -> int | None:
        """Return how many orders are active."""
        return _count(self._ask("orders_total"))

    def orders_get(self, *args: Any, **filters: Any) -> tuple[Struct, ...] | None:
        """Return the active orders: all, or those of `symbol=`, `ticket=` or `group=`."""
        return _many(structs.TradeOrder, self._ask("orders_get", *_filters_of(args, filters)))

    def positions_total(self) -> int | None:
        """Return how many positions are open."""
        return _count(self._ask("positions_total"))

    def positions_get(self, *args: Any, **filters: Any) -> tuple[Struct, ...] | None:
        """Return the open positions: all, or those of `symbol=`, `ticket=` or `group=`; an empty tuple where none is."""
        return _many(structs.TradePosition, self._ask("positions_get", *_filters_of(args, filters)))

    def history_orders_total(self, date_from: Date, date_to: Date) -> int | None:
        """Return how many past orders a span has."""
        found = self.history_orders_get(date_from, date_to)
        return None if found is None else len(found)

    def history_orders_get(self, *dates: Any, **filters: Any) -> tuple[Struct, ...] | None:
        """Return past orders: of a span of server time (with `group=`), of `ticket=` or of `position=`."""
        return _many(structs.TradeOrder, self._ask("history_orders", *_history_of(dates, filters)))

    def history_deals_total(self, date_from: Date, date_to: Date) -> int | None:
        """Return how many deals a span has."""
        found = self.history_deals_get(date_from, date_to)
        return None if found is None else len(found)

    def history_deals_get(self, *dates: Any, **filters: Any) -> tuple[Struct, ...] | None:
        """Return deals: of a span of server time (with `group=`), of the order `ticket=` or of `position=`."""
        return _many(structs.TradeDeal, self._ask("history_deals", *_history_of(dates, filters)))

    def order_calc_margin(self, action: int, symbol: str, volume: float, price: float) -> float | None:
        """Return the margin of an order."""
        given = (signed, "action", action), (text, "symbol", symbol), (number, "volume", volume)
        found = self._ask("order_calc_margin", *given, (number, "price", price))
        return None if found is None else float(found)

    def order_calc_profit(
        self, action: int, symbol: str, volume: float, price_open: float, price_close: float
    ) -> float | None:
        """Return the result of a round trip."""
        given = (signed, "action", action), (text, "symbol", symbol), (number, "volume", volume)
        prices = (number, "price_open", price_open), (number, "price_close", price_close)
        found = self._ask("order_calc_profit", *given, *prices)
        return None if found is None else float(found)

    def order_check(self, *args: Any, **request: Any) -> Struct | None:
        """Return what the server would say of a request; its success code is 0."""
        return self._request(structs.OrderCheckResult, "order_check", args, request)

    def order_send(self, *args: Any, **request: Any) -> Struct | None:
        """Send a request: one dictionary, or its keys as keywords."""
        return self._request(structs.OrderSendResult, "order_send", args, request)

    def _request(self, kind: type[Struct], op: str, args: tuple[Any, ...], given: Mapping[str, Any]) -> Struct | None:
        try:
            request = parse_request(args, given)
        except ArgumentError as error:
            self._refused(error)
            return None
        row = self._call(op, (request,))
        return None if row is None else kind((*row[:-1], structs.TradeRequest(row[-1])))


def _as_is(_name: str, value: Any) -> Any:
    return value


def _one(kind: type[Struct], row: Sequence[Any] | None) -> Struct | None:
    return None if row is None else kind(row)


def _many(kind: type[Struct], found: Sequence[Sequence[Any]] | None) -> tuple[Struct, ...] | None:
    return None if found is None else tuple([kind(row) for row in found])


def _count(found: Any) -> int | None:
    return None if found is None else int(found)


def _array(found: Any) -> Array | None:
    if found is None or isinstance(found, np.ndarray):
        return found
    msg = f"the terminal sent {type(found).__name__} where an array belongs"
    raise TypeError(msg)


def _bars_of(symbol: str, timeframe: int) -> tuple[Argument, Argument]:
    return (text, "symbol", symbol), (whole, "timeframe", timeframe)


def _span_of(first: Date, last: Date) -> tuple[Argument, Argument]:
    return (instant, "date_from", first), (instant, "date_to", last)


def _filters_of(args: tuple[Any, ...], filters: Mapping[str, Any]) -> tuple[Argument, ...]:
    """Only named filters; one that the function does not know is an error here, not "all"."""
    return (
        *_unexpected(args, filters, _FILTERS),
        (optional_text, "symbol", filters.get("symbol")),
        (optional_whole, "ticket", filters.get("ticket")),
        (optional_pattern, "group", filters.get("group")),
    )


def _history_of(dates: tuple[Any, ...], filters: Mapping[str, Any]) -> tuple[Argument, ...]:
    by = next((key for key in ("ticket", "position") if filters.get(key) is not None), None)
    return (
        *_unexpected((), filters, _HISTORY_FILTERS),
        (_history_span, "date_from", (dates, by is not None)),
        (_history_key, "ticket", None if by is None else (by, filters[by])),
        (optional_pattern, "group", filters.get("group")),
    )


def _unexpected(args: tuple[Any, ...], filters: Mapping[str, Any], known: frozenset[str]) -> tuple[Argument, ...]:
    strange = sorted(set(filters) - known)
    if args or strange:
        return ((_never, strange[0] if strange else "unnamed", None),)
    return ()


def _never(name: str, _value: Any) -> Any:
    return pattern(name, None)


def _history_span(name: str, given: tuple[tuple[Any, ...], bool]) -> tuple[float, float] | None:
    """Two dates, or none where a ticket or a position says what is meant."""
    dates, keyed = given
    if keyed and not dates:
        return None
    first, last = dates if len(dates) == 2 else (None, None)  # noqa: PLR2004 - from, to
    return instant(name, first), instant("date_to", last)


def _history_key(_name: str, given: tuple[str, Any] | None) -> tuple[str, int] | None:
    return None if given is None else (given[0], whole(given[0], given[1]))

"""The terminal process: it answers the package's calls from its view of the server, in plain rows and arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from dtms.domain.units import SECOND
from dtms_lab.mt5_constants import CHECK_PASSED, RETCODE_TEXT, Mt5
from dtms_lab.terminal import rows
from dtms_lab.terminal.catalogue import SymbolSpec
from dtms_lab.terminal.history import Rates
from dtms_lab.terminal.link import Reply
from dtms_lab.terminal.market_data import rates_from, rates_from_pos, rates_range, ticks
from dtms_lab.terminal.market_watch import MarketWatch
from dtms_lab.terminal.records import SIDE_OF_TYPE, Outcome, Request, SimDeal, SimOrder
from dtms_lab.terminal.rows import Row
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.state import Figures
from dtms_lab.terminal.structs import FIELDS
from dtms_lab.terminal.timeframes import seconds_of
from dtms_lab.terminal.traits import RUNNING, Traits
from dtms_lab.terminal.view import TerminalView

BUILD = 6231
"""Build of the wheel that constants and structs were read from."""

_VERSION = (500, BUILD, "")
_TERMINAL: dict[str, Any] = dict.fromkeys(FIELDS["TerminalInfo"])
"""The fields in their order."""

_CALL_FAILED = Reply(Mt5.RES_E_FAIL, "Terminal: Call failed")
_NOT_FOUND = Reply(Mt5.RES_E_NOT_FOUND, "Terminal: Not found")
_UNSUPPORTED = Reply(Mt5.RES_E_UNSUPPORTED, "Unsupported")
_INVALID = Reply(Mt5.RES_E_INVALID_PARAMS, "Terminal: Invalid params")
_REFUSED_LOGIN = Reply(Mt5.RES_E_AUTH_FAILED, "Terminal: Authorization failed")
_API_DISABLED = Reply(Mt5.RES_E_AUTO_TRADING_DISABLED, "Auto-Trading using Python API disabled in Terminal")


def _ok(data: Any) -> Reply:
    return Reply(Mt5.RES_S_OK, "Success", data)


@dataclass(slots=True, kw_only=True)
class TerminalFlags:
    """The terminal's own switches; a test or drill turns them."""

    connected: bool = True
    trade_allowed: bool = True
    tradeapi_disabled: bool = False
    ping_us: int = 20_000
    path: str = "C:\\Program Files\\DTMS Simulated Terminal"


class TerminalBackend:
    """One terminal, logged in to one account. `call` is its only door: the other end of the pipe.

    `traits` are those of a terminal that has run for long by default; one that is started has `Traits()`.
    """

    def __init__(self, server: SimServer, *, traits: Traits = RUNNING) -> None:
        self.server = server
        self.view = TerminalView(server)
        self.flags = TerminalFlags()
        self._watch = MarketWatch(server, traits)
        self._templates = {name: rows.symbol_template(spec) for name, spec in server.state.specs.items()}
        self._requests = 0
        self._ops: dict[str, Callable[..., Reply]] = {
            name.removeprefix("op_"): getattr(self, name) for name in dir(type(self)) if name.startswith("op_")
        }

    def call(self, op: str, args: tuple[Any, ...]) -> Reply:
        """Perform one call; what the server has to do until now is done before."""
        self.server.working.pump(self.server.now())
        found = self._ops.get(op)
        return _UNSUPPORTED if found is None else found(*args)

    def op_initialize(self, login: int | None, password: str | None, server: str | None) -> Reply:
        """Attach; with a login, only where it is this terminal's."""
        return _ok(True) if login is None else self.op_login(login, password, server)

    def op_login(self, login: int, password: str | None, server: str | None) -> Reply:
        """Check a login against the one account of this terminal."""
        account = self.server.state.account
        fits = (
            login == account.login
            and server in (None, "", account.server)
            and (account.password is None or password is None or password == account.password)
        )
        return _ok(True) if fits else _REFUSED_LOGIN

    def op_version(self) -> Reply:
        """Return version, build and release date, which this terminal does not have."""
        return _ok(_VERSION)

    def op_terminal_info(self) -> Reply:
        """Return a `TerminalInfo` row."""
        flags = self.flags
        values: dict[str, Any] = {
            "community_account": False,
            "community_connection": False,
            "connected": flags.connected,
            "dlls_allowed": False,
            "trade_allowed": flags.trade_allowed,
            "tradeapi_disabled": flags.tradeapi_disabled,
            "email_enabled": False,
            "ftp_enabled": False,
            "notifications_enabled": False,
            "mqid": False,
            "build": BUILD,
            "maxbars": 100_000,
            "codepage": 1252,
            "ping_last": flags.ping_us,
            "community_balance": 0.0,
            "retransmission": 0.0,
            "company": self.server.state.account.company,
            "name": "DTMS Simulated Terminal",
            "language": "English",
            "path": flags.path,
            "data_path": flags.path,
            "commondata_path": flags.path,
        }
        return _ok(tuple((_TERMINAL | values).values()))

    def op_account_info(self) -> Reply:
        """Return an `AccountInfo` row."""
        state = self.server.state
        return _ok(rows.account_row(state, state.account, self._figures()))

    def _figures(self) -> Figures:
        return self.server.state.figures(self.view.positions(), self.view.balance())

    def _symbol(self, symbol: str) -> Row:
        state, watch = self.server.state, self._watch
        rates = self.server.rates[symbol]
        quote = watch.quote(symbol)
        template = self._templates[symbol]
        row = rows.symbol_row(state, template, state.specs[symbol], rates, quote, selected=watch.selected(symbol))
        return tuple(row)

    def op_symbols_total(self) -> Reply:
        """Return how many symbols the broker has."""
        return _ok(len(self.server.state.specs))

    def op_symbols_get(self, group: str | None) -> Reply:
        """Return `SymbolInfo` rows."""
        return _ok([self._symbol(name) for name in self.server.state.specs if group is None or _in_group(name, group)])

    def op_symbol_info(self, symbol: str) -> Reply:
        """Return a `SymbolInfo` row."""
        return _ok(self._symbol(symbol)) if symbol in self.server.state.specs else _NOT_FOUND

    def op_symbol_info_tick(self, symbol: str) -> Reply:
        """Return a `Tick` row: of zeros for a symbol that has no quote yet, none for one outside of Market Watch."""
        if symbol not in self.server.state.specs or not self._watch.selected(symbol):
            return _NOT_FOUND
        quote = self._watch.quote(symbol)
        return _ok(rows.NO_TICK if quote is None else rows.tick_row(self.server.state, quote))

    def op_symbol_select(self, symbol: str, enable: bool) -> Reply:  # noqa: FBT001 - the package's own signature
        """Watch a symbol or not; one with open positions stays watched."""
        if symbol not in self.server.state.specs:
            return _NOT_FOUND
        if enable:
            self._watch.select(symbol)
        elif not self._watch.remove(symbol):
            return _CALL_FAILED
        return _ok(True)

    def op_copy_rates_from(self, symbol: str, timeframe: int, date: float, count: int) -> Reply:
        """Return bars up to a date."""
        return self._rates(symbol, timeframe, lambda bars: rates_from(bars, date, count))

    def op_copy_rates_from_pos(self, symbol: str, timeframe: int, start: int, count: int) -> Reply:
        """Return bars by position, 0 the running one."""
        return self._rates(symbol, timeframe, lambda bars: rates_from_pos(bars, start, count))

    def op_copy_rates_range(self, symbol: str, timeframe: int, first: float, last: float) -> Reply:
        """Return the bars of a span."""
        return self._rates(symbol, timeframe, lambda bars: rates_range(bars, first, last))

    def _rates(self, symbol: str, timeframe: int, select: Callable[[Rates], Rates]) -> Reply:
        """The terminal answers from what it has loaded, and asks its server for the rest."""
        seconds = seconds_of(timeframe)
        if seconds is None:
            return _INVALID
        store = self.server.rates.get(symbol)
        held = 0 if store is None else self._watch.loaded(symbol, seconds)
        if store is None or held == 0:
            return _CALL_FAILED
        bars = store.rates(seconds)
        return _ok(select(bars if held is None else bars[-held:]))

    def op_copy_ticks_from(self, symbol: str, date: float, count: int, flags: int) -> Reply:
        """Return `count` ticks from a date on."""
        store = self.server.rates.get(symbol)
        if store is None:
            return _CALL_FAILED
        return _ok(ticks(store, self.server.state.offset, first=date, last=None, count=count, flags=flags))

    def op_copy_ticks_range(self, symbol: str, first: float, last: float, flags: int) -> Reply:
        """Return the ticks of a span."""
        store = self.server.rates.get(symbol)
        if store is None:
            return _CALL_FAILED
        return _ok(ticks(store, self.server.state.offset, first=first, last=last, count=None, flags=flags))

    def op_positions_total(self) -> Reply:
        """Return how many positions are open."""
        return _ok(len(self.view.positions()))

    def op_positions_get(self, symbol: str | None, ticket: int | None, group: str | None) -> Reply:
        """Return `TradePosition` rows; a symbol goes before a ticket, a ticket before a group."""
        state = self.server.state
        positions = self.view.positions()
        if symbol is None and ticket is not None:
            found = positions.get(ticket)
            return _ok([] if found is None else [rows.position_row(state, found)])
        wanted = (p for p in positions.values() if _wanted(p.symbol, symbol, group))
        return _ok([rows.position_row(state, p) for p in wanted])

    def op_orders_total(self) -> Reply:
        """Return how many orders are active."""
        return _ok(len(self.view.orders()))

    def op_orders_get(self, symbol: str | None, ticket: int | None, group: str | None) -> Reply:
        """Return `TradeOrder` rows of active orders; filters as for positions."""
        state = self.server.state
        orders = self.view.orders()
        if symbol is None and ticket is not None:
            found = orders.get(ticket)
            return _ok([] if found is None else [rows.order_row(state, found)])
        return _ok([rows.order_row(state, o) for o in orders.values() if _wanted(o.symbol, symbol, group)])

    def op_history_deals(
        self, span: tuple[float, float] | None, by: tuple[str, int] | None, group: str | None
    ) -> Reply:
        """Return `TradeDeal` rows: of an order ("ticket"), of a position ("position"), or of a span of server time."""
        state = self.server.state
        deals: Iterable[SimDeal] = self.view.deals()
        if by is not None:
            key, number = by
            deals = (d for d in deals if (d.order if key == "ticket" else d.position_id) == number)
        elif span is not None:
            first, last = span
            deals = (
                d for d in deals if first <= state.server_ms(d.at) / SECOND <= last and _wanted(d.symbol, None, group)
            )
        return _ok([rows.deal_row(state, d) for d in deals])

    def op_history_orders(
        self, span: tuple[float, float] | None, by: tuple[str, int] | None, group: str | None
    ) -> Reply:
        """Return `TradeOrder` rows of past orders, selected like deals."""
        state = self.server.state
        orders: Iterable[SimOrder] = self.view.past_orders()
        if by is not None:
            key, number = by
            orders = (o for o in orders if (o.ticket if key == "ticket" else o.position_id) == number)
        elif span is not None:
            first, last = span
            orders = (
                o
                for o in orders
                if first <= state.server_ms(o.setup_at) / SECOND <= last and _wanted(o.symbol, None, group)
            )
        return _ok([rows.order_row(state, o) for o in orders])

    def op_order_calc_margin(self, action: int, symbol: str, volume: float, price: float) -> Reply:
        """Return the margin of an order in account currency."""
        state = self.server.state
        spec = state.specs.get(symbol)
        if spec is None or action not in (Mt5.ORDER_TYPE_BUY, Mt5.ORDER_TYPE_SELL):
            return _INVALID
        return _ok(state.money.round(volume * state.money.margin_per_lot(spec, price)))

    def op_order_calc_profit(self, action: int, symbol: str, volume: float, opened: float, closed: float) -> Reply:
        """Return the result of a round trip in account currency."""
        state = self.server.state
        spec = state.specs.get(symbol)
        if spec is None or action not in (Mt5.ORDER_TYPE_BUY, Mt5.ORDER_TYPE_SELL):
            return _INVALID
        return _ok(state.money.profit(spec, SIDE_OF_TYPE[action], volume, opened=opened, closed=closed))

    def _refusal(self) -> int:
        """What the terminal itself says no to, before a server is asked."""
        if not self.flags.trade_allowed:
            return Mt5.TRADE_RETCODE_CLIENT_DISABLES_AT
        if not self.flags.connected:
            return Mt5.TRADE_RETCODE_CONNECTION
        return CHECK_PASSED

    def op_order_check(self, values: Sequence[Any]) -> Reply:
        """Return an `OrderCheckResult` row; its success is 0."""
        if self.flags.tradeapi_disabled:
            return _API_DISABLED
        request = Request._make(values)
        code = self._refusal() or self.server.check(request)
        figures = self._figures()
        margin = figures.margin if code != CHECK_PASSED else self._margin_after(request, figures)
        level = round(100.0 * figures.equity / margin, 2) if margin > 0 else 0.0
        free = self.server.state.money.round(figures.equity - margin)
        text = RETCODE_TEXT.get(code, "")
        return _ok((code, figures.balance, figures.equity, figures.profit, margin, free, level, text, tuple(request)))

    def _margin_after(self, request: Request, figures: Figures) -> float:
        state = self.server.state
        opens = request.action == Mt5.TRADE_ACTION_DEAL and (request.position == 0 or not state.account.hedging)
        if not opens:
            return figures.margin
        side = SIDE_OF_TYPE[request.type]
        price = state.quotes[request.symbol].opening(side)
        return state.margin_with(request.symbol, side, request.volume, price)

    def op_order_send(self, values: Sequence[Any]) -> Reply:
        """Send a request to the server and return an `OrderSendResult` row."""
        if self.flags.tradeapi_disabled:
            return _API_DISABLED
        request = Request._make(values)
        refusal = self._refusal()
        return self.answered(values, self.server.send(request) if refusal == CHECK_PASSED else Outcome(refusal))

    def answered(self, values: Sequence[Any], outcome: Outcome) -> Reply:
        """Return an outcome as the row of an `OrderSendResult`, with the request that it answers."""
        self._requests += 1
        text = RETCODE_TEXT.get(outcome.retcode, "")
        return _ok((*outcome, text, self._requests, 0, tuple(values)))

    def respecify(self, spec: SymbolSpec) -> None:
        """Let the broker change an instrument, for server and terminal at once."""
        self.server.state.specs[spec.name] = spec
        self._templates[spec.name] = rows.symbol_template(spec)


def _wanted(name: str, symbol: str | None, group: str | None) -> bool:
    if symbol is not None:
        return name == symbol
    return group is None or _in_group(name, group)


def _in_group(name: str, group: str) -> bool:
    """Comma-separated patterns with `*`; a leading `!` takes out, whatever stands before or after it."""
    parts = [part.strip() for part in group.split(",")]
    taken = any(fnmatchcase(name, part) for part in parts if not part.startswith("!"))
    return taken and not any(fnmatchcase(name, part[1:]) for part in parts if part.startswith("!"))

"""A scripted stand-in for the vendor's package: it answers what the test wrote, in the package's own struct types.

The simulated terminal plays a broker; this one plays what no simulation produces on demand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dtms.adapters.mt5 import Mt5Broker, Mt5Sender
from dtms.adapters.mt5.surface import Request
from dtms.domain.action import Action, Close, CloseHedge, OpenHedge, OpenTrade, ReAdd, Reduce, SetStop
from dtms.domain.position import Position
from dtms.domain.server_offset import SeenOffset
from dtms.domain.units import HOUR, Lots, Millis, Price, Side, Ticket
from dtms_lab.terminal import structs

NOW = Millis(1_700_000_000_000)
OFFSET = 2 * HOUR
SEEN = SeenOffset(ahead=OFFSET, at=NOW)
"""What an earlier process has seen of the server's clock; None is the very first start."""

LOGIN = 10_000_042
SERVER = "Broker-Live"
RATES = np.dtype(
    [
        ("time", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("tick_volume", "<u8"),
        ("spread", "<i4"),
        ("real_volume", "<u8"),
    ]
)
_TEXT = ("name", "path", "server", "currency", "symbol", "comment", "external_id", "currency_base", "currency_profit")

EURUSD: dict[str, Any] = {
    "name": "EURUSD",
    "select": True,
    "digits": 5,
    "point": 0.00001,
    "trade_tick_size": 0.00001,
    "trade_tick_value": 1.0,
    "trade_tick_value_loss": 1.0,
    "trade_contract_size": 100_000.0,
    "trade_mode": 4,
    "trade_exemode": 2,
    "filling_mode": 3,
    "trade_stops_level": 10,
    "trade_freeze_level": 5,
    "volume_min": 0.01,
    "volume_max": 100.0,
    "volume_step": 0.01,
    "currency_base": "EUR",
    "currency_profit": "USD",
}
BUY: dict[str, Any] = {
    "ticket": 501,
    "identifier": 501,
    "symbol": "EURUSD",
    "type": 0,
    "volume": 0.3,
    "price_open": 1.1,
    "sl": 1.09,
    "tp": 1.12,
    "price_current": 1.101,
    "profit": 30.0,
    "swap": -1.5,
    "magic": 77,
    "comment": "by hand",
    "time_msc": NOW - HOUR + OFFSET,
}


def struct(kind: str, **values: Any) -> Any:
    """Make one of the package's structs; a field that it does not have is an error of the test."""
    fields = structs.FIELDS[kind]
    unknown = set(values) - set(fields)
    if unknown:
        pytest.fail(f"{kind} has no {unknown}")
    blank = {name: "" if name in _TEXT else 0 for name in fields}
    return getattr(structs, kind)(tuple({**blank, **values}[name] for name in fields))


class ScriptedTerminal:
    """The package's surface over values that a test sets."""

    def __init__(self) -> None:
        self.terminal: dict[str, Any] = {"connected": True, "trade_allowed": True, "tradeapi_disabled": False}
        self.account: dict[str, Any] = {
            "login": LOGIN,
            "server": SERVER,
            "trade_mode": 2,
            "margin_mode": 2,
            "trade_allowed": True,
            "trade_expert": True,
            "currency": "USD",
            "currency_digits": 2,
            "balance": 10_000.0,
            "equity": 10_030.0,
            "margin": 110.0,
            "margin_free": 9_920.0,
            "margin_level": 9_118.2,
        }
        self.symbols: dict[str, dict[str, Any]] = {"EURUSD": dict(EURUSD)}
        self.ticks: dict[str, dict[str, Any]] = {
            "EURUSD": {"bid": 1.10100, "ask": 1.10110, "time_msc": NOW + OFFSET - 500}
        }
        self.open: list[dict[str, Any]] = []
        self.active: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.rates: list[tuple[int, float, float, float, float, int]] = []
        self.silent: dict[str, tuple[int, str]] = {}
        """Functions that give None (or False), with what `last_error` says then."""
        self.raising: dict[str, Exception] = {}
        self.answer: dict[str, Any] = {"retcode": 10009, "order": 900, "deal": 901, "price": 1.101}
        self.echo: dict[str, Any] = {}
        self.requests: list[Request] = []
        self.calls: list[str] = []
        self.on_call: dict[str, Callable[[], None]] = {}
        self._error = (1, "Success")

    def last_error(self) -> tuple[int, str]:
        if "last_error" in self.raising:
            raise self.raising["last_error"]
        return self._error

    def initialize(self) -> bool:
        return self._give("initialize", lambda: True) is True

    def shutdown(self) -> None:
        self.calls.append("shutdown")

    def terminal_info(self) -> Any:
        return self._give("terminal_info", lambda: struct("TerminalInfo", **self.terminal))

    def account_info(self) -> Any:
        return self._give("account_info", lambda: struct("AccountInfo", **self.account))

    def symbols_get(self) -> Any:
        return self._give("symbols_get", lambda: tuple(struct("SymbolInfo", **each) for each in self.symbols.values()))

    def symbol_info(self, symbol: str) -> Any:
        return self._give("symbol_info", lambda: struct("SymbolInfo", **self.symbols[symbol]), symbol)

    def symbol_info_tick(self, symbol: str) -> Any:
        return self._give("symbol_info_tick", lambda: struct("Tick", **self.ticks[symbol]), symbol)

    def symbol_select(self, symbol: str, enable: bool) -> bool:
        self.symbols[symbol]["select"] = enable
        return self._give("symbol_select", lambda: True) is True

    def copy_rates_from_pos(self, symbol: str, timeframe: int, start: int, count: int) -> Any:
        rows = [(*row, 0, 0) for row in self.rates[-count:]]
        return self._give("copy_rates_from_pos", lambda: np.array(rows, dtype=RATES), symbol)

    def positions_get(self, *, symbol: str | None = None, ticket: int | None = None) -> Any:
        found = [p for p in self.open if symbol in (None, p["symbol"]) and ticket in (None, p["ticket"])]
        return self._give("positions_get", lambda: tuple(struct("TradePosition", **p) for p in found))

    def orders_get(self) -> Any:
        return self._give("orders_get", lambda: tuple(struct("TradeOrder", **order) for order in self.active))

    def history_deals_get(
        self, first: int = 0, last: int = 0, *, position: int | None = None, ticket: int | None = None
    ) -> Any:
        self.window = (first, last)
        found = [d for d in self.history if position in (None, d["position_id"]) and ticket in (None, d["order"])]
        return self._give("history_deals_get", lambda: tuple(struct("TradeDeal", **d) for d in found))

    def order_send(self, request: Request) -> Any:
        self.requests.append(request)
        fields = structs.FIELDS["TradeRequest"]
        echoed = {name: value for name, value in request.items() if name in fields} | self.echo
        values = {"volume": request.get("volume", 0.3), **self.answer, "request": struct("TradeRequest", **echoed)}
        return self._give("order_send", lambda: struct("OrderSendResult", **values))

    def _give(self, name: str, make: Callable[[], Any], symbol: str | None = None) -> Any:
        self.calls.append(name)
        if name in self.raising:
            raise self.raising[name]
        if name in self.silent:
            self._error = self.silent[name]
            return None
        if symbol is not None and symbol not in self.symbols:
            self._error = (-4, "Terminal: Not found")
            return None
        self._error = (1, "Success")
        made = make()
        if name in self.on_call:
            self.on_call[name]()
        return made


class Bench:
    """One scripted terminal with the adapter on it, and the actions that tests send."""

    def __init__(self) -> None:
        self.terminal = ScriptedTerminal()
        self.now = NOW
        self.broker = self.make_broker()
        self.sender = Mt5Sender(self.broker)

    def make_broker(self, *, seen: SeenOffset | None = SEEN, **changes: Any) -> Mt5Broker:
        given: dict[str, Any] = {
            "expected_login": LOGIN,
            "expected_server": SERVER,
            "magic": 77,
            "clock": lambda: self.now,
        }
        broker = Mt5Broker(self.terminal, **(given | changes))
        if seen is not None:
            broker.recall_offset(seen)
        return broker

    def hold(self, **changes: Any) -> Position:
        """Put a position into the terminal and return the adapter's read of it."""
        self.terminal.open.append({**BUY, **changes})
        return self.broker.positions().positions[-1]

    def make_netting(self) -> None:
        self.terminal.account["margin_mode"] = 0

    @staticmethod
    def actions() -> dict[str, Action]:
        """One action of each class, of the position `BUY` (and of its hedge 502)."""
        return {
            "set_stop": SetStop(ticket=Ticket(501), stop=Price(1.095), target=Price(1.12)),
            "reduce": Reduce(ticket=Ticket(501), remaining=Lots(0.1)),
            "close": Close(ticket=Ticket(501)),
            "close_by": Close(ticket=Ticket(501), by=Ticket(502)),
            "hedge": OpenHedge(
                ticket=Ticket(501), side=Side.SELL, volume=Lots(0.15), stop=Price(1.11), target=Price(1.09)
            ),
            "unhedge": CloseHedge(ticket=Ticket(9), hedge=Ticket(501)),
            "re_add": ReAdd(ticket=Ticket(501), side=Side.BUY, volume=Lots(0.1), stop=Price(1.09), target=Price(1.12)),
            "open": OpenTrade(symbol="EURUSD", side=Side.BUY, volume=Lots(0.2), stop=Price(1.09), target=None),
        }


@pytest.fixture
def bench() -> Bench:
    return Bench()

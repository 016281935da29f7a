"""A simulated terminal on a clock of its own, for tests and drills: set a price, send a request, look at the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dtms.domain.market import Quote
from dtms.domain.units import SECOND, Millis
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.catalogue import CATALOGUE, SymbolSpec
from dtms_lab.terminal.dealer import Dealer
from dtms_lab.terminal.oracle import OracleLog
from dtms_lab.terminal.records import AccountSpec
from dtms_lab.terminal.server import SimServer, always_open
from dtms_lab.terminal.structs import Struct
from dtms_lab.terminal.terminal import SimTerminal

MONDAY_NOON = Millis(1_704_715_200_000)
"""Monday 2024-01-08 12:00 UTC, 14:00 on the broker's clock."""


class SimDesk:
    """Server, oracle and an initialised terminal; `now` moves only when told."""

    def __init__(
        self,
        *,
        account: AccountSpec | None = None,
        specs: Mapping[str, SymbolSpec] | None = None,
        dealer: Dealer | None = None,
        market_open: Callable[[str, Millis], bool] = always_open,
        start: Millis = MONDAY_NOON,
    ) -> None:
        self.now: Millis = start
        self.oracle = OracleLog()
        self.server = SimServer(
            now=lambda: self.now,
            account=account,
            specs=CATALOGUE if specs is None else specs,
            recorder=self.oracle,
            dealer=dealer,
            market_open=market_open,
        )
        self.terminal = SimTerminal(self.server)
        self.terminal.initialize()

    def quote(self, symbol: str, bid: float, ask: float | None = None, *, after: int = SECOND) -> Quote:
        """Let `after` ms pass and a quote come; without an ask it has the instrument's typical spread."""
        self.now = Millis(self.now + after)
        spec = self.server.state.specs[symbol]
        offered = round(bid + spec.spread_typical, spec.digits) if ask is None else ask
        made = Quote(symbol=symbol, at=self.now, bid=bid, ask=offered)
        self.server.on_quote(made)
        return made

    def send(self, **request: Any) -> Struct:
        """Send a request that the package accepts, and return the result."""
        result = self.terminal.order_send(request)
        if result is None:
            msg = f"the package refused {request}: {self.terminal.last_error()}"
            raise ValueError(msg)
        return result

    def buy(self, symbol: str, volume: float, **more: Any) -> Struct:
        """Send a market order to buy."""
        return self._market(symbol, volume, Mt5.ORDER_TYPE_BUY, more)

    def sell(self, symbol: str, volume: float, **more: Any) -> Struct:
        """Send a market order to sell."""
        return self._market(symbol, volume, Mt5.ORDER_TYPE_SELL, more)

    def _market(self, symbol: str, volume: float, kind: int, more: Mapping[str, Any]) -> Struct:
        request: dict[str, Any] = {"action": Mt5.TRADE_ACTION_DEAL, "symbol": symbol, "volume": volume, "type": kind}
        return self.send(**(request | {"type_filling": Mt5.ORDER_FILLING_IOC} | dict(more)))

    def position(self, ticket: int) -> Struct | None:
        """Return the open position with this ticket, None where it is not open."""
        found = self.terminal.positions_get(ticket=ticket)
        return found[0] if found else None

    def deals(self, position: int) -> tuple[Struct, ...]:
        """Return the deals of a position, oldest first."""
        return self.terminal.history_deals_get(position=position) or ()

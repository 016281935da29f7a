"""What the terminal believes: its cached view of the server, which may lag behind the truth."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from dtms.domain.units import Millis
from dtms_lab.terminal.records import SimDeal, SimOrder, SimPosition
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.state import ServerState


@dataclass(frozen=True, slots=True)
class _Seen:
    """The server's books as they were from `at` on; the lists only grow, so their lengths are enough."""

    at: int
    positions: Mapping[int, SimPosition]
    orders: Mapping[int, SimOrder]
    deals: int
    past_orders: int
    balance: float


class TerminalView:
    """Reads of positions, orders, history and balance go through here; quotes and bars do not lag.

    Without lag it looks straight at the server. With `set_lag` it keeps the server's books after each change and shows the
    newest that is old enough.
    """

    def __init__(self, server: SimServer) -> None:
        self._server = server
        self._lag = 0
        self.history_lag = 0
        """How much later than positions the history shows what was done, in ms."""
        self._seen: deque[_Seen] = deque()
        server.state.listeners.append(self._on_change)

    @property
    def lag(self) -> int:
        """How far behind the server the view is, in ms."""
        return self._lag

    def set_lag(self, lag: int) -> None:
        """Set the lag in ms, from now on: what is seen now stays seen until a change is old enough."""
        if lag <= 0:
            self._seen.clear()
        elif not self._seen:
            self._seen.append(self._snapshot(0))
        self._lag = max(lag, 0)

    def _snapshot(self, at: int) -> _Seen:
        state = self._server.state
        return _Seen(
            at, dict(state.positions), dict(state.orders), len(state.deals), len(state.past_orders), state.balance
        )

    def _on_change(self, at: Millis) -> None:
        if self._lag > 0:
            self._seen.append(self._snapshot(at))

    def _current(self) -> _Seen | None:
        if self._lag == 0:
            return None
        visible = self._server.now() - self._lag
        while len(self._seen) > 1 and self._seen[1].at <= visible:
            self._seen.popleft()
        return self._seen[0]

    @property
    def _state(self) -> ServerState:
        return self._server.state

    def positions(self) -> Mapping[int, SimPosition]:
        """Return the open positions by ticket, oldest first."""
        seen = self._current()
        return self._state.positions if seen is None else seen.positions

    def orders(self) -> Mapping[int, SimOrder]:
        """Return the active orders by ticket, oldest first."""
        seen = self._current()
        return self._state.orders if seen is None else seen.orders

    def deals(self) -> tuple[SimDeal, ...]:
        """Return the deals, oldest first."""
        seen = self._current()
        found = self._state.deals if seen is None else islice(self._state.deals, seen.deals)
        if self.history_lag <= 0:
            return tuple(found)
        shown = self._server.now() - self.history_lag
        return tuple(deal for deal in found if deal.at <= shown)

    def past_orders(self) -> tuple[SimOrder, ...]:
        """Return the orders of the history, oldest first."""
        seen = self._current()
        found = self._state.past_orders if seen is None else islice(self._state.past_orders, seen.past_orders)
        if self.history_lag <= 0:
            return tuple(found)
        shown = self._server.now() - self.history_lag
        return tuple(order for order in found if order.done_at is not None and order.done_at <= shown)

    def balance(self) -> float:
        """Return the balance."""
        seen = self._current()
        return self._state.balance if seen is None else seen.balance

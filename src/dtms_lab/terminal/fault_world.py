"""What a fault changes around a call: the terminal's view, its clock and switches, the market, the account.

Whatever has an end is undone by itself when the market's clock gets there, or at once by `heal`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, assert_never

from dtms.domain.units import Millis
from dtms_lab.terminal import triggers
from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.fault_kinds import (
    ClockShift,
    HistoryLag,
    Moved,
    Reopened,
    Respecified,
    StaleView,
    StopOut,
    Switch,
    Switched,
    WorldFault,
)
from dtms_lab.terminal.records import SIDE_OF_TYPE, Request, SimPosition
from dtms_lab.terminal.server_time import ServerOffset

_PROPERTIES = ("stops_level", "freeze_level", "volume_min", "volume_step", "tick_size", "trade_mode")
_SPARE = 0.99
"""Share of the stop-out level at which a forced stop-out leaves the equity."""


@dataclass(frozen=True, slots=True)
class _End:
    """When something is undone; None is "when healed"."""

    at: int | None
    undo: Callable[[], None]


class FaultyWorld:
    """The terminal and the server behind it, with the hands to disturb them."""

    def __init__(self, backend: TerminalBackend) -> None:
        self._backend = backend
        self._server = backend.server
        self._ends: dict[str, _End] = {}
        self._shifts: list[tuple[int, int | None, int]] = []
        self._base: ServerOffset = backend.server.state.offset

    def apply(self, fault: WorldFault, request: Request | None) -> bool:
        """Do what a fault says; False where there is nothing that it could change."""
        match fault:
            case StaleView():
                self._backend.view.set_lag(fault.lag_ms)
                return self._until("view", fault.for_ms, lambda: self._backend.view.set_lag(0))
            case HistoryLag():
                return self._lag_history(fault)
            case ClockShift():
                return self._shift_clock(fault)
            case Reopened():
                return self._reopen(request)
            case Switched():
                return self._switch(fault)
            case Respecified():
                return self._respecify(fault)
            case Moved():
                return self._move(fault, request)
            case StopOut():
                return self._stop_out()
            case _:
                assert_never(fault)

    def pump(self, now: Millis) -> None:
        """Undo what has come to its end."""
        for name, end in tuple(self._ends.items()):
            if end.at is not None and now >= end.at:
                del self._ends[name]
                end.undo()

    def heal(self) -> None:
        """Undo everything but what cannot be: tickets, prices, closed positions, and a broker's clock that was put."""
        for end in self._ends.values():
            end.undo()
        self._ends.clear()

    def _until(self, name: str, for_ms: int | None, undo: Callable[[], None]) -> bool:
        at = None if for_ms is None else self._server.now() + for_ms
        self._ends[name] = _End(at, undo)
        return True

    def _lag_history(self, fault: HistoryLag) -> bool:
        def undo() -> None:
            self._backend.view.history_lag = 0

        self._backend.view.history_lag = fault.lag_ms
        return self._until("history", fault.for_ms, undo)

    def _shift_clock(self, fault: ClockShift) -> bool:
        now = self._server.now()
        self._shifts.append((now, None if fault.for_ms is None else now + fault.for_ms, fault.shift_ms))
        shifts = tuple(self._shifts)
        base = self._base

        def offset(at: Millis) -> int:
            return base(at) + sum(ms for since, end, ms in shifts if since <= at and (end is None or at < end))

        self._server.set_offset(offset)
        return True

    def _reopen(self, request: Request | None) -> bool:
        positions = self._server.state.positions
        touched = request is not None and request.position in positions
        tickets = (request.position,) if touched and request is not None else tuple(positions)
        for ticket in tickets:
            self._server.reopen(ticket)
        return bool(tickets)

    def _switch(self, fault: Switched) -> bool:
        flags, state = self._backend.flags, self._server.state
        owner, field, off = {
            Switch.BUTTON: (flags, "trade_allowed", False),
            Switch.API: (flags, "tradeapi_disabled", True),
            Switch.PROGRAMS: (state, "expert_allowed", False),
            Switch.ACCOUNT: (state, "trade_allowed", False),
            Switch.CONNECTION: (flags, "connected", False),
        }[fault.switch]
        setattr(owner, field, off)
        return self._until(f"switch {fault.switch}", fault.for_ms, lambda: setattr(owner, field, not off))

    def _respecify(self, fault: Respecified) -> bool:
        state = self._server.state
        held = dict.fromkeys(position.symbol for position in state.positions.values())
        names = tuple(held) if fault.symbol is None else (fault.symbol,)
        given: dict[str, Any] = {name: getattr(fault, name) for name in _PROPERTIES}
        changes = {name: value for name, value in given.items() if value is not None}
        for symbol in names:
            before = state.specs[symbol]
            self._backend.respecify(replace(before, **changes))
            old = {name: getattr(before, name) for name in changes}
            known = self._ends.get(f"symbol {symbol}")
            self._until(f"symbol {symbol}", fault.for_ms, self._restoring(symbol, old, known))
        return bool(names)

    def _restoring(self, symbol: str, old: dict[str, Any], before: _End | None) -> Callable[[], None]:
        """Return what puts properties back; a change upon a change goes back to the first."""

        def undo() -> None:
            self._backend.respecify(replace(self._server.state.specs[symbol], **old))
            if before is not None:
                before.undo()

        return undo

    def _move(self, fault: Moved, request: Request | None) -> bool:
        state = self._server.state
        aim = self._aim(request)
        if aim is None or aim[0] not in state.quotes:
            return False
        symbol, direction = aim
        spec, quote = state.specs[symbol], state.quotes[symbol]
        move = direction * fault.points * spec.point
        bid, ask = round(quote.bid + move, spec.digits), round(quote.ask + move, spec.digits)
        if bid <= 0:
            return False
        self._server.on_quote(replace(quote, at=self._server.now(), bid=bid, ask=ask))
        return True

    def _aim(self, request: Request | None) -> tuple[str, int] | None:
        """Return the symbol and the sign of what hurts: the touched position, the opening's fill, the oldest position."""
        positions = self._server.state.positions
        held: SimPosition | None
        if request is None:
            held = next(iter(positions.values()), None)
        elif request.position == 0:
            side = SIDE_OF_TYPE.get(request.type)
            return None if side is None else (request.symbol, int(side))
        else:
            held = positions.get(request.position)
        return None if held is None else (held.symbol, -held.side)

    def _stop_out(self) -> bool:
        """Take so much money out that the equity is under the stop-out level, and let the server look."""
        state = self._server.state
        figures = state.figures()
        spare = figures.equity - _SPARE * figures.margin * state.account.stop_out / 100.0
        if figures.margin <= 0 or spare <= 0:
            return False
        now = self._server.now()
        state.deposit(-spare, now)
        for symbol in tuple(dict.fromkeys(position.symbol for position in state.positions.values())):
            triggers.on_quote(state, replace(state.quotes[symbol], at=now))
        return True

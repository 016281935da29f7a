"""What a quote does at the server on its own: stops and targets, activation of orders, stop-out, swap at the rollover."""

from __future__ import annotations

from dataclasses import replace

from dtms.domain.market import Quote
from dtms.domain.units import Millis, Side
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal import pending
from dtms_lab.terminal.catalogue import SymbolSpec
from dtms_lab.terminal.execution import Trade, deal
from dtms_lab.terminal.recorder import AppliedKind
from dtms_lab.terminal.records import SimPosition
from dtms_lab.terminal.server_time import new_york_weekday, next_rollover
from dtms_lab.terminal.state import ServerState

_WEDNESDAY = 2
_FRIDAY = 4
_TRIPLE = 3


def on_quote(state: ServerState, quote: Quote) -> None:
    """Apply everything that a quote, already stored in the state, sets off."""
    book = state.books[quote.symbol]
    changed = False
    if book.positions and book.touched(quote):
        for position in tuple(book.positions.values()):
            changed |= _hit(state, position, quote)
    if book.orders:
        changed |= pending.on_quote(state, quote)
    if state.positions and _below_stop_out(state):
        changed |= _stop_out(state, quote.at)
    if changed:
        state.changed(quote.at)


def _hit(state: ServerState, position: SimPosition, quote: Quote) -> bool:
    """Close a position whose stop or target the quote has reached, at the quote: a gap fills beyond the level."""
    price = quote.executable(position.side)
    digits = state.specs[position.symbol].digits
    if position.stop is not None and position.side * (price - position.stop) <= 0:
        comment = _level("sl", position.stop, digits)
        _close_at(state, position, price, reason=Mt5.DEAL_REASON_SL, comment=comment, at=quote.at)
        return True
    if position.target is not None and position.side * (price - position.target) >= 0:
        comment = _level("tp", position.target, digits)
        _close_at(state, position, price, reason=Mt5.DEAL_REASON_TP, comment=comment, at=quote.at)
        return True
    return False


def _level(word: str, level: float, digits: int) -> str:
    """The server overwrites the comment of what it closes itself."""
    return f"[{word} {level:.{digits}f}]"


def _close_at(
    state: ServerState, position: SimPosition, price: float, *, reason: int, comment: str, at: Millis
) -> None:
    """Close a whole position at a price, for a reason of the server's own."""
    trade = Trade(
        symbol=position.symbol,
        side=position.side.opposite,
        volume=position.volume,
        price=price,
        at=at,
        reason=reason,
        magic=position.magic,
        comment=comment,
    )
    deal(state, trade, position)


def _below_stop_out(state: ServerState) -> bool:
    equity = state.balance + state.floating()
    return equity < state.margin() * state.account.stop_out / 100.0 or equity < 0


def _stop_out(state: ServerState, at: Millis) -> bool:
    """Close the worst position, again and again, until the margin level is above the stop-out or nothing is left."""
    changed = False
    while True:
        quoted = [p for p in state.positions.values() if p.symbol in state.quotes]
        figures = state.figures()
        fine = figures.equity >= figures.margin * state.account.stop_out / 100.0 and figures.equity >= 0
        if fine or not quoted:
            return changed
        worst = min(quoted, key=lambda p: (state.current_profit(p) + p.swap, p.ticket))
        comment = f"[so {figures.margin_level:.2f}%/{figures.equity:.2f}/{figures.margin:.2f}]"
        price = state.quotes[worst.symbol].executable(worst.side)
        _close_at(state, worst, price, reason=Mt5.DEAL_REASON_SO, comment=comment, at=at)
        changed = True


class Rollover:
    """Charges swap at 17:00 New York, on the first quote at or after it."""

    def __init__(self, start: Millis) -> None:
        self._next = next_rollover(start)

    def due(self, at: Millis) -> bool:
        """Say whether a rollover has passed."""
        return at >= self._next

    def charge(self, state: ServerState, at: Millis) -> None:
        """Charge every rollover up to `at`; the swap stays on the position until it is closed."""
        while self.due(at):
            instant, self._next = self._next, next_rollover(self._next)
            for position in tuple(state.positions.values()):
                spec = state.specs[position.symbol]
                nights = _nights(spec, instant)
                if nights > 0 and position.opened_at < instant:
                    _charge(state, spec, position, nights, instant)
        state.changed(at)


def _nights(spec: SymbolSpec, rollover: Millis) -> int:
    """A trade settles two days later, so Wednesday's night counts for the weekend too."""
    if spec.swap_every_day:
        return 1
    weekday = new_york_weekday(rollover)
    if weekday == _WEDNESDAY:
        return _TRIPLE
    return 1 if weekday <= _FRIDAY else 0


def _charge(state: ServerState, spec: SymbolSpec, position: SimPosition, nights: int, at: Millis) -> None:
    per_lot = spec.swap_long if position.side is Side.BUY else spec.swap_short
    amount = state.money.round(per_lot * position.volume * nights)
    charged = replace(position, swap=state.money.round(position.swap + amount))
    state.put(charged)
    state.note(AppliedKind.SWAP, at=at, before=position, after=charged, volume=position.volume, price=amount)

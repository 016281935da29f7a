"""What a caller says of a position against what the broker shows: the stops and target that follow, or a refusal. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dtms.app.commands.registration import RefusalKind, Registration, RegistrationRefusedError
from dtms.app.market.market_data import SymbolMarket
from dtms.domain.action import OpenTrade
from dtms.domain.figures import plain
from dtms.domain.intent import Intent, IntentState
from dtms.domain.position import Position
from dtms.domain.trade import Trade
from dtms.domain.units import Price

_PRICE_TOLERANCE_TICKS = 1.5
"""How far the caller's entry may lie from the broker's own: a rounding apart, never another trade."""

_TICK_NOISE = 1e-6
"""Share of a tick: the noise of binary fractions."""


def stops(wanted: Registration, position: Position, desk: SymbolMarket) -> tuple[Price, Price]:
    """Return the initial stop, which fixes R, and the stop that the position shall have at the broker.

    Raises:
        RegistrationRefusedError: The broker shows another position, or the stop or the risk cannot be.
    """
    instrument, side = desk.instrument, wanted.side
    _check_facts(wanted, position, desk)
    given = wanted.stop if wanted.stop is not None else position.stop
    if given is None:
        raise RegistrationRefusedError(
            RefusalKind.INVALID, "a stop_loss is required: the position has none", "stop_loss"
        )
    stop = instrument.stop(side, given)
    if position.stop is not None and instrument.is_tighter(side, position.stop, stop):
        stop = Price(position.stop)
    quote = desk.feed.last
    if quote is None:
        raise RegistrationRefusedError(RefusalKind.NOT_READY, f"there is no quote of {wanted.symbol} yet")
    _check_side(stop, position, desk)
    initial = _initial_stop(wanted, position, stop, desk)
    _check_r(abs(position.entry - initial), desk, quote.spread)
    return initial, stop


def not_worked_on(position: Position, orders: Iterable[Intent], *, hedging: bool) -> None:
    """Check that no order of ours is still at work on a position: what came of it would be booked to no trade.

    What an opening adds later would look as if a person had added to the trade, which is then only observed. Where the
    account nets, an opening of the symbol that was sent lands on whatever position is there by then. What closes a position
    that had no trade is booked to none.

    Args:
        position: What a caller wants managed, and no trade manages.
        orders: Intents that were unfinished when it was read, or later.
        hedging: Whether the account can hold more than one position in a symbol.

    Raises:
        RegistrationRefusedError: One is; it is settled or given to a person within the policy's `quarantine_s`, and what
            waits for the market's opening ends with the kill switch's `flatten` that has planned it.
    """
    for intent in orders:
        action, sent = intent.action, intent.state is not IntentState.PLANNED
        opens = intent.receipt is not None and intent.receipt.position == position.identifier
        joins = not hedging and sent and isinstance(action, OpenTrade) and action.symbol == position.symbol
        if intent.position == position.identifier or opens or joins or position.comment == intent.tag:
            detail = (
                f"order {intent.intent_id} ({intent.rule}), which may still change ticket {position.ticket}, is "
                f"{intent.state}; ask again when it is decided"
            )
            raise RegistrationRefusedError(RefusalKind.NOT_READY, detail)


def still_settable(wanted: Registration, trade: Trade, position: Position, desk: SymbolMarket) -> None:
    """Check that the first stop of a registered trade, which is not there yet, can be set at the present price.

    Raises:
        RegistrationRefusedError: The price has passed it while it was on its way: no further try would set it.
    """
    _check_levels(wanted, desk)
    asked = trade.initial_stop if wanted.stop is None else desk.instrument.stop(wanted.side, wanted.stop)
    _check_side(asked, position, desk)


def _check_side(stop: Price, position: Position, desk: SymbolMarket) -> None:
    instrument, side, quote = desk.instrument, position.side, desk.feed.last
    shown = instrument.shown
    if quote is None:
        raise RegistrationRefusedError(RefusalKind.NOT_READY, f"there is no quote of {position.symbol} yet")
    there = position.stop is not None and instrument.same_price(stop, position.stop)
    distance = side * (quote.executable(side) - stop)
    if distance < max(instrument.stops_level, instrument.tick_size) and not (there and distance > 0):
        raise RegistrationRefusedError(
            RefusalKind.WRONG_SIDE,
            f"stop_loss {shown(stop)} must lie on the losing side of {shown(quote.executable(side))} by "
            f"{shown(instrument.stops_level)}",
            "stop_loss",
        )


def _check_facts(wanted: Registration, position: Position, desk: SymbolMarket) -> None:
    instrument = desk.instrument
    if (position.symbol, position.side) != (wanted.symbol, wanted.side):
        detail = f"ticket {wanted.ticket} is a {position.side.name} of {position.symbol} at the broker"
        raise RegistrationRefusedError(RefusalKind.CONFLICT, detail, "direction")
    if abs(position.entry - wanted.entry) > _PRICE_TOLERANCE_TICKS * instrument.tick_size:
        detail = (
            f"ticket {wanted.ticket} was opened at {instrument.shown(position.entry)}, not at {plain(wanted.entry)}"
        )
        raise RegistrationRefusedError(RefusalKind.CONFLICT, detail, "entry")
    if not instrument.same_lots(position.volume, wanted.volume):
        detail = f"ticket {wanted.ticket} has {instrument.shown_lots(position.volume)} lots, not {plain(wanted.volume)}"
        raise RegistrationRefusedError(RefusalKind.CONFLICT, detail, "volume")
    _check_levels(wanted, desk)
    if wanted.profile not in desk.policy.exits.names:
        names = ", ".join(desk.policy.exits.names)
        raise RegistrationRefusedError(
            RefusalKind.UNKNOWN_PROFILE, f"there is no such profile; known: {names}", "profile"
        )


def _check_levels(wanted: Registration, desk: SymbolMarket) -> None:
    """Refuse a level that rounding would make another one, or none: a tick is the least that any price can be."""
    tick = desk.instrument.tick_size
    levels = {"stop_loss": wanted.stop, "initial_stop": wanted.initial_stop, "take_profit": wanted.target}
    for field, value in levels.items():
        if value is not None and not tick * (1 - _TICK_NOISE) <= value < math.inf:
            raise RegistrationRefusedError(
                RefusalKind.INVALID, f"{field} must be a price, {desk.instrument.shown(tick)} at least", field
            )


def _initial_stop(wanted: Registration, position: Position, stop: Price, desk: SymbolMarket) -> Price:
    given = wanted.initial_stop
    initial = stop if given is None else desk.instrument.nearest(given)
    if wanted.side * (position.entry - initial) <= 0:
        shown = desk.instrument.shown
        raise RegistrationRefusedError(
            RefusalKind.RISK_UNKNOWN,
            f"initial_stop {shown(initial)} is not on the losing side of the entry {shown(position.entry)}; give the first stop",
            "initial_stop",
        )
    return initial


def _check_r(r: float, desk: SymbolMarket, spread: float) -> None:
    atr, shown = desk.atr, desk.instrument.shown
    least = max(2 * spread, 0.25 * atr if atr is not None else 0.0)
    if r < least:
        raise RegistrationRefusedError(
            RefusalKind.RISK_UNKNOWN,
            f"R is {shown(r)}, less than max(2 x spread, 0.25 ATR(M15)) = {shown(least)}; the stop is too near",
            "initial_stop",
        )


def first_target(wanted: Registration, position: Position, desk: SymbolMarket) -> Price | None:
    """Return the target that the position shall have: what is at the broker stays, a missing one is put there.

    Raises:
        RegistrationRefusedError: It cannot be set at the present price; the broker would refuse the stop with it.
    """
    if position.target is not None:
        return Price(position.target)
    if wanted.target is None:
        return None
    target, quote = desk.instrument.nearest(wanted.target), desk.feed.last
    least = max(desk.instrument.stops_level, desk.instrument.tick_size)
    if quote is not None and wanted.side * (target - quote.executable(wanted.side)) < least:
        shown = desk.instrument.shown
        price = shown(quote.executable(wanted.side))
        detail = f"take_profit {shown(target)} must lie on the winning side of {price} by {shown(least)}"
        raise RegistrationRefusedError(RefusalKind.TARGET_WRONG_SIDE, detail, "take_profit")
    return target


def same_facts(wanted: Registration, trade: Trade, position: Position) -> bool:
    """Say whether a caller registers a trade again that is managed already, as it is."""
    return (
        trade.symbol == wanted.symbol
        and trade.side is wanted.side
        and _close(trade.entry, wanted.entry)
        and (wanted.initial_stop is None or _close(trade.initial_stop, wanted.initial_stop))
        and trade.identifier == position.identifier
    )


def _close(a: float, b: float) -> bool:
    """Say whether two prices given by a caller mean the same: equal to nine digits."""
    return math.isclose(a, b, rel_tol=1e-9)

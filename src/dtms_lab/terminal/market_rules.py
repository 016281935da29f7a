"""Grids, distances and permissions of one instrument: the questions that the server's checks are made of."""

from __future__ import annotations

from dtms.domain.market import Quote
from dtms.domain.units import Side
from dtms_lab.mt5_constants import CHECK_PASSED, FILLING_MASK_FOK, FILLING_MASK_IOC, Mt5
from dtms_lab.terminal.catalogue import SymbolSpec

GRID_TOLERANCE = 1e-6
"""Share of one step within which a float is on the grid: the noise of binary fractions."""


def on_grid(value: float, step: float) -> bool:
    """Say whether a value is a multiple of the step."""
    steps = value / step
    return abs(steps - round(steps)) < GRID_TOLERANCE


def same_price(spec: SymbolSpec, a: float | None, b: float | None) -> bool:
    """Say whether two levels are the same tick, or both absent."""
    if a is None or b is None:
        return a is b
    return abs(a - b) < 0.5 * spec.tick_size


def level_ok(spec: SymbolSpec, distance: float) -> bool:
    """Say whether a level is far enough from the price that activates it: at the stops level or beyond, and never at it."""
    slack = GRID_TOLERANCE * spec.tick_size
    return distance > slack and distance >= spec.stops_distance - slack


def stops_ok(spec: SymbolSpec, side: Side, activation: float, *, stop: float | None, target: float | None) -> bool:
    """Say whether stop and target may stand against the price that activates them.

    For an open position that is the bid of a BUY and the ask of a SELL; for a pending order its own price.
    """
    for level, sign in ((stop, -1), (target, 1)):
        if level is None:
            continue
        if level <= 0 or not on_grid(level, spec.tick_size):
            return False
        distance = sign * side * (level - activation)
        if not level_ok(spec, distance):
            return False
    return True


def frozen(spec: SymbolSpec, side: Side, quote: Quote, *, stop: float | None, target: float | None) -> bool:
    """Say whether the price is so near one of the levels that the server lets nobody touch the position."""
    if spec.freeze_level == 0:
        return False
    price = quote.executable(side)
    levels = [level for level in (stop, target) if level is not None]
    return any(abs(price - level) <= spec.freeze_distance + GRID_TOLERANCE * spec.tick_size for level in levels)


def filling_ok(spec: SymbolSpec, filling: int, *, pending: bool) -> bool:
    """Say whether a filling policy is allowed; `filling` is the enumeration, not the symbol's mask."""
    if filling == Mt5.ORDER_FILLING_FOK:
        return bool(spec.filling_mask & FILLING_MASK_FOK)
    if filling == Mt5.ORDER_FILLING_IOC:
        return bool(spec.filling_mask & FILLING_MASK_IOC)
    if filling == Mt5.ORDER_FILLING_RETURN:
        return pending or spec.execution != Mt5.SYMBOL_TRADE_EXECUTION_MARKET
    return False


def entry_permission(spec: SymbolSpec, side: Side) -> int:
    """Return whether the symbol's trade mode lets this side be opened."""
    mode = spec.trade_mode
    if mode == Mt5.SYMBOL_TRADE_MODE_CLOSEONLY:
        return Mt5.TRADE_RETCODE_CLOSE_ONLY
    if mode == Mt5.SYMBOL_TRADE_MODE_LONGONLY and side is Side.SELL:
        return Mt5.TRADE_RETCODE_LONG_ONLY
    if mode == Mt5.SYMBOL_TRADE_MODE_SHORTONLY and side is Side.BUY:
        return Mt5.TRADE_RETCODE_SHORT_ONLY
    return CHECK_PASSED


def opening_volume_ok(spec: SymbolSpec, volume: float) -> bool:
    """Say whether a volume may be opened: on the step grid, between minimum and maximum."""
    slack = GRID_TOLERANCE * spec.volume_step
    return on_grid(volume, spec.volume_step) and spec.volume_min - slack <= volume <= spec.volume_max + slack

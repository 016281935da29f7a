"""From an action to the request that the terminal takes: one small function an action, no call is made here.

Targets are absolute and were quantised when they were decided; here they only become the terminal's fields. Both levels
are in every request that has levels: a field left out is a level removed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dtms.adapters.mt5 import constants as c
from dtms.adapters.mt5.surface import Request
from dtms.domain.action import Action, OpenHedge, OpenTrade, ReAdd, SetStop
from dtms.domain.position import Position
from dtms.domain.units import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a symbol is dealt in at this moment.

    `fillings` is the symbol's bitmask; `refused_fillings` and `lifetime` are what it has taught us: the modes that it does
    not take although its mask has them, and the lifetime that it takes. `price_of` gives the price of a buy and of a sell
    where an order must name it, else None; `deviation` is in points; `expires` is a day ahead, in seconds of the server.
    `volume_step` is the step that volumes are cut to, `volume_max` the most that one order takes.
    """

    execution: int
    fillings: int
    price_of: dict[Side, float] | None
    deviation: int
    volume_step: float
    volume_max: float
    refused_fillings: frozenset[int] = frozenset()
    lifetime: int = c.ORDER_TIME_GTC
    expires: int = 0


def lost_level(action: Action) -> str:
    """Return what is wrong with an action's levels, "" where the terminal would take them as they are meant.

    It reads 0 as "no level": a stop or target that became 0 would leave the position without one, and the answer is DONE.
    """
    if not isinstance(action, (SetStop, OpenHedge, ReAdd, OpenTrade)):
        return ""
    named = {"stop": action.stop, "target": action.target}
    wrong = {name: level for name, level in named.items() if level is not None and not 0 < level < math.inf}
    return "; ".join(f"its {name} is {level!r}, which is no price" for name, level in wrong.items())


def set_levels(position: Position, stop: float, target: float | None) -> Request:
    """Amend stop and target in place."""
    return {
        "action": c.TRADE_ACTION_SLTP,
        "symbol": position.symbol,
        "position": position.ticket,
        "sl": float(stop),
        "tp": _level(target),
    }


def close(position: Position, volume: float, terms: Terms) -> Request:
    """Close so much of a position, as far as one order may; never without its ticket.

    A closed one answers that with "closed" and not with a reversal.
    """
    side = position.side.opposite
    return {
        "action": c.TRADE_ACTION_DEAL,
        "symbol": position.symbol,
        "position": position.ticket,
        "type": c.ORDER_TYPE[side],
        "volume": min(float(volume), terms.volume_max),
        "type_filling": filling(terms, whole=False),
        **_lifetime(terms),
        **_pricing(side, terms),
    }


def close_by(position: Position, opposite: int) -> Request:
    """Close a position against an opposite one: one step at the server, and no spread is paid."""
    return {
        "action": c.TRADE_ACTION_CLOSE_BY,
        "symbol": position.symbol,
        "position": position.ticket,
        "position_by": opposite,
    }


def open_position(symbol: str, action: OpenHedge | ReAdd | OpenTrade, volume: float, terms: Terms) -> Request:
    """Open a position with its levels; a hedge, whose size must match, all or nothing where the symbol has that."""
    return {
        "action": c.TRADE_ACTION_DEAL,
        "symbol": symbol,
        "type": c.ORDER_TYPE[action.side],
        "volume": float(volume),
        "sl": float(action.stop),
        "tp": _level(action.target),
        "type_filling": filling(terms, whole=isinstance(action, OpenHedge)),
        **_lifetime(terms),
        **_pricing(action.side, terms),
    }


def fillings(mask: int, execution: int, *, whole: bool) -> tuple[int, ...]:
    """Return every filling mode in the order in which they are tried: those of the symbol's bitmask first.

    Where the mask has neither bit, `RETURN` is meant, which market execution does not know.
    """
    offered = {
        c.ORDER_FILLING_FOK: bool(mask & c.SYMBOL_FILLING_FOK),
        c.ORDER_FILLING_IOC: bool(mask & c.SYMBOL_FILLING_IOC),
    }
    pair = (c.ORDER_FILLING_FOK, c.ORDER_FILLING_IOC) if whole else (c.ORDER_FILLING_IOC, c.ORDER_FILLING_FOK)
    market = execution == c.EXECUTION_MARKET
    others = (*c.ORDER_FILLINGS, c.ORDER_FILLING_RETURN) if market else (c.ORDER_FILLING_RETURN, *c.ORDER_FILLINGS)
    return tuple(dict.fromkeys((*(mode for mode in pair if offered[mode]), *others)))


def filling(terms: Terms, *, whole: bool) -> int:
    """Return the first filling mode that the symbol has not refused; the first of all where it has refused each."""
    modes = fillings(terms.fillings, terms.execution, whole=whole)
    return next((mode for mode in modes if mode not in terms.refused_fillings), modes[0])


def _lifetime(terms: Terms) -> Request:
    if terms.lifetime == c.ORDER_TIME_SPECIFIED:
        return {"type_time": terms.lifetime, "expiration": terms.expires}
    return {"type_time": terms.lifetime}


def _pricing(side: Side, terms: Terms) -> Request:
    if terms.price_of is None:
        return {}
    return {"price": float(terms.price_of[side]), "deviation": terms.deviation}


def _level(price: float | None) -> float:
    """The terminal reads 0.0 as "none"."""
    return 0.0 if price is None else float(price)

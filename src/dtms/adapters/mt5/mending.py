"""What one order has learnt from its refusals, and what a symbol has: how the next request of the same order differs.

Only after an answer that says "not applied", a few times, and never after none: nothing here can do an order twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, assert_never

from dtms.adapters.mt5 import constants as c
from dtms.adapters.mt5.retcodes import Mend
from dtms.adapters.mt5.surface import Request
from dtms.domain.units import SECOND, Millis

MOST_TRIES: Final = 4
"""Requests of one order. The reference bounds the answer to a requote to three."""
LONGEST: Final = 3 * SECOND
"""No further try so long after the first: a call of the gateway that lasts too long is killed, and its outcome unknown."""
_PRICES: Final = 1
"""A price that moves on is the next attempt's, a second later: nobody wins a race against a storm of requotes."""
_COARSER: Final = 10.0
_COARSEST: Final = 100.0


@dataclass(slots=True)
class Habits:
    """What the symbols have refused since this process started; learnt anew after a restart, at one refused try each."""

    fillings: dict[str, frozenset[int]] = field(default_factory=dict)
    lifetimes: dict[str, frozenset[int]] = field(default_factory=dict)

    def lifetime(self, symbol: str) -> int:
        """Return the first lifetime that the symbol has not refused."""
        refused = self.lifetimes.get(symbol, frozenset())
        return next((kind for kind in c.LIFETIMES if kind not in refused), c.ORDER_TIME_GTC)

    def refuse_filling(self, symbol: str, mode: int) -> bool:
        """Remember it; False where the symbol has refused every mode now, which are all forgotten then."""
        return _refuse(self.fillings, symbol, mode, len(c.ORDER_FILLINGS) + 1)

    def refuse_lifetime(self, symbol: str, kind: int) -> bool:
        """Remember it; False where the symbol has refused every lifetime now, which are all forgotten then."""
        return _refuse(self.lifetimes, symbol, kind, len(c.LIFETIMES))


def _refuse(memory: dict[str, frozenset[int]], symbol: str, value: int, of: int) -> bool:
    refused = memory.get(symbol, frozenset()) | {value}
    if len(refused) >= of:
        memory.pop(symbol, None)
        return False
    memory[symbol] = refused
    return True


@dataclass(slots=True, kw_only=True)
class Tries:
    """The tries of one order. `coarser` is how many steps of the symbol a volume is cut to."""

    habits: Habits
    since: Millis
    coarsens: bool
    count: int = 0
    coarser: float = 1.0
    _prices: int = 0
    _volume: bool = False
    _last: Request | None = None

    def again(self, mend: Mend | None, request: Request, now: Millis) -> bool:
        """Learn from a refusal; say whether another request may mend it."""
        self.count += 1
        self._last, self._volume = request, False
        if mend is None or now - self.since > LONGEST:
            return False
        return self._learn(mend, request) and self.count < MOST_TRIES

    def coarsen(self) -> bool:
        """Take the next coarser step; False where the order must not be made smaller, or no step is left."""
        self._volume = self.coarsens and self.coarser < _COARSEST
        self.coarser *= _COARSER if self._volume else 1.0
        return self._volume

    @property
    def coarsening(self) -> bool:
        """Say whether the last refusal was of the volume."""
        return self._volume

    def is_new(self, request: Request) -> bool:
        """Say whether a request differs from the one that was refused, or names no price that could differ."""
        return request != self._last or ("price" not in request and self._prices > 0)

    def _learn(self, mend: Mend, request: Request) -> bool:
        symbol = str(request.get("symbol", ""))
        match mend:
            case Mend.FILLING:
                return "type_filling" in request and self.habits.refuse_filling(symbol, int(request["type_filling"]))
            case Mend.EXPIRATION:
                return "type_time" in request and self.habits.refuse_lifetime(symbol, int(request["type_time"]))
            case Mend.PRICE:
                self._prices += 1
                return "type_filling" in request and self._prices <= _PRICES
            case Mend.VOLUME:
                return self.coarsen()
            case _:
                assert_never(mend)

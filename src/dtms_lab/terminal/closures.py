"""When the simulated broker is closed although the week's hours say open: holidays, early closes, other session tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dtms.domain.units import Millis


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """One closed stretch, UTC, [start, end).

    `symbols` names whose market is closed, every symbol's where it is empty. While it lasts each request of these symbols
    is answered MARKET_CLOSED, and no stop, target or pending order is triggered. Where it is `quoted` the prices go on all
    the same, as at brokers that show them out of session; else there is not one tick.
    """

    start: Millis
    end: Millis
    symbols: frozenset[str] = frozenset()
    quoted: bool = False

    def holds(self, symbol: str, at: Millis) -> bool:
        """Say whether it closes a symbol's market at an instant."""
        return self.start <= at < self.end and (not self.symbols or symbol in self.symbols)


def closed_by(closures: Iterable[Closure], symbol: str, at: Millis) -> Closure | None:
    """Return the closure that holds for a symbol at an instant, None where there is none."""
    return next((closure for closure in closures if closure.holds(symbol, at)), None)

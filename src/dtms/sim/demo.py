"""`dtms demo`: a piece of generated weather in which trades meet everything, opened by a person and by a program in turn."""

from __future__ import annotations

from dataclasses import dataclass

from dtms.domain.score import MarketView
from dtms.domain.units import MINUTE, Side

_EVERY = 10 * MINUTE
_WIDE, _NARROW = 8.0, 3.0
"""Stops in ATR(M15): a wide one leaves room for the defence to hedge and recover, a near one lets profit be taken."""


@dataclass(slots=True)
class DemoEntries:
    """A trade every ten minutes: both sides, with wide and near stops in turn."""

    stop_atr: float = _WIDE
    target_atr: float = 2 * _WIDE
    max_open: int = 10
    balance: float = 100_000.0
    _turn: int = -1

    def on_bar(self, view: MarketView) -> Side | None:
        """Return the next side when its time has come."""
        if view.at % _EVERY != 0:
            return None
        self._turn += 1
        self.stop_atr = _WIDE if self._turn % 4 < 2 else _NARROW  # noqa: PLR2004 - two wide ones, two near ones
        self.target_atr = 2 * self.stop_atr
        return Side.BUY if self._turn % 2 == 0 else Side.SELL

"""What of the market has reached one terminal: the symbols that it has selected, their quotes, and the histories it has loaded."""

from __future__ import annotations

from dtms.domain.market import Quote
from dtms.domain.units import Millis
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.traits import Traits


class MarketWatch:
    """One terminal's Market Watch and its store of bars."""

    def __init__(self, server: SimServer, traits: Traits) -> None:
        self._server = server
        self._traits = traits
        self._started = server.now()
        self._selected = dict.fromkeys(traits.market_watch, self._started)
        self._asked: dict[tuple[str, int], Millis] = {}

    def selected(self, symbol: str) -> bool:
        """Say whether a symbol is in Market Watch."""
        return symbol in self._selected or (self._traits.watches_positions and self._held(symbol))

    def _held(self, symbol: str) -> bool:
        return bool(self._server.state.books[symbol].positions)

    def select(self, symbol: str) -> None:
        """Put a symbol into Market Watch; one that is there already stays as it is."""
        self._selected.setdefault(symbol, self._server.now())

    def remove(self, symbol: str) -> bool:
        """Take a symbol out; False where a position is open in it, as the package answers then."""
        if self._held(symbol):
            return False
        self._selected.pop(symbol, None)
        return True

    def quote(self, symbol: str) -> Quote | None:
        """Return the last quote that has reached the terminal; None where it has none to show."""
        quote = self._server.state.quotes.get(symbol)
        if quote is None or not self.selected(symbol):
            return None
        since = self._selected.get(symbol, self._started)
        late = self._server.now() < since + self._traits.quotes_after
        old = quote.at < self._started and not self._traits.last_ticks
        return None if late or old else quote

    def loaded(self, symbol: str, seconds: int) -> int | None:
        """Return how many of the newest bars the terminal has, 0 while it is still asking for them; None means all."""
        now, after = self._server.now(), self._traits.history_after
        waited = now - self._asked.setdefault((symbol, seconds), now)
        if waited >= after:
            return None
        return 0 if waited < after / 2 else self._traits.history_first

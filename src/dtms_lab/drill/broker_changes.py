"""What a broker makes of positions and instruments by itself: another contract, a corrected deal, another name or number.

None of it is an operation: nothing is dealt. Each is done to a managed position without children, whose story stays simple
enough to be judged: a changed contract or tick value is to be lived with, the rest to be seen, held and told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from dtms_lab.drill.dice import Dice
from dtms_lab.drill.kinds import Kind
from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.catalogue import SymbolSpec
from dtms_lab.terminal.history import RateStore
from dtms_lab.terminal.records import SimPosition
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.symbol_book import SymbolBook

NEW_NAME: Final = ".new"
_TIMES: Final = (0.5, 2.0, 10.0)
_TICKS: Final = (-40, -3, 3, 40)


@dataclass(slots=True, kw_only=True)
class BrokerChanges:
    """Changes facts at the broker.

    Args:
        sim: The server.
        backend: The terminal, which shows instruments.
        dice: When, and which.
        specs: The dealer's instruments.
        lonely: The identifiers of managed positions that have no children.
    """

    sim: SimServer
    backend: TerminalBackend
    dice: Dice
    specs: dict[str, SymbolSpec]
    lonely: Callable[[], frozenset[int]]
    renumbered: set[int] = field(default_factory=set)

    def act(self) -> None:
        """Do what strikes."""
        if self.dice.strikes(Kind.CONTRACT):
            self._on_some(self._contract)
        if self.dice.strikes(Kind.CORRECTED):
            self._on_some(self._corrected)
        if self.dice.strikes(Kind.RENAMED):
            self._on_some(self._renamed)
        if self.dice.strikes(Kind.RENUMBERED):
            self._on_some(self._renumbered)

    def mirror(self, symbol: str) -> None:
        """Quote a renamed symbol as the one that it was, where there is one."""
        alias, quote = symbol + NEW_NAME, self.sim.state.quotes.get(symbol)
        if alias in self.sim.state.specs and quote is not None:
            self.sim.on_quote(replace(quote, symbol=alias))

    def _on_some(self, change: Callable[[SimPosition, Random], None]) -> None:
        held = [p for p in self.sim.state.positions.values() if p.identifier in self.lonely()]
        if held:
            stream = self.dice.stream("changes")
            change(stream.choice(held), stream)

    def _contract(self, held: SimPosition, stream: Random) -> None:
        """Let a lot be another size, and so a tick's value and the floating result."""
        spec = self.sim.state.specs[held.symbol]
        self.backend.respecify(replace(spec, contract_size=spec.contract_size * stream.choice(_TIMES)))

    def _corrected(self, held: SimPosition, stream: Random) -> None:
        """Book an opening deal anew at another price; the position's entry follows."""
        state, spec = self.sim.state, self.sim.state.specs[held.symbol]
        price = round(held.price_open + stream.choice(_TICKS) * spec.tick_size, spec.digits)
        if price <= 0:
            return
        own = [deal for deal in state.deals if deal.position_id == held.identifier]
        if own:
            state.deals[own[0].place] = replace(own[0], price=price, commission=own[0].commission - 1.0)
        state.put(replace(held, price_open=price))
        state.changed(self.sim.now())

    def _renamed(self, held: SimPosition, _stream: Random) -> None:
        """Move a position to the symbol's new name; the old one goes on being quoted."""
        state = self.sim.state
        if held.symbol.endswith(NEW_NAME):
            return
        alias = held.symbol + NEW_NAME
        if alias not in state.specs:
            spec = replace(state.specs[held.symbol], name=alias)
            state.books[alias] = SymbolBook()
            self.specs[alias] = spec
            self.sim.rates[alias] = RateStore(spec.point, state.offset)
            self.backend.respecify(spec)
            self.mirror(held.symbol)
        self._replaced(held, replace(held, symbol=alias))

    def _renumbered(self, held: SimPosition, _stream: Random) -> None:
        """Show a position under another number altogether, as after a move to another server: no deal tells of it."""
        number = self.sim.state.next_order()
        self.renumbered.add(number)
        self._replaced(held, replace(held, ticket=number, identifier=number))

    def _replaced(self, held: SimPosition, now: SimPosition) -> None:
        self.sim.state.drop(held)
        self.sim.state.put(now)
        self.sim.state.changed(self.sim.now())

"""The account beside the managed one: the same entries at the same quotes, left to their stop and target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dtms.adapters.clocks import VirtualClock
from dtms.domain.market import Quote
from dtms.domain.units import Millis
from dtms.errors import InvariantError
from dtms_lab.instruments import InstrumentBook
from dtms_lab.simulate.entries import Order
from dtms_lab.simulate.entry import Entry, open_at
from dtms_lab.terminal.oracle import OracleLog
from dtms_lab.terminal.records import AccountSpec
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.terminal import SimTerminal


@dataclass(frozen=True, slots=True)
class _Due:
    entry: Entry
    order: Order


class Shadow:
    """Unmanaged twins; fed with the quotes of the managed account, as late as one likes."""

    def __init__(self, symbol: str, start: Millis, balance: float, instruments: InstrumentBook) -> None:
        self._symbol = symbol
        self._clock = VirtualClock(start)
        self._server = SimServer(
            now=self._clock.market_now,
            account=AccountSpec(balance=balance),
            specs=instruments.specs,
            usd_rates=instruments.usd_rates,
            recorder=OracleLog(),
        )
        self.terminal = SimTerminal(self._server)
        self.terminal.initialize()
        self._due: list[_Due] = []

    def enter(self, entry: Entry, order: Order) -> None:
        """Open the twin of an entry at the quote at which that one was opened."""
        self._due.append(_Due(entry, order))

    def feed(self, quotes: Iterable[Quote]) -> None:
        """Take the next quotes in, oldest first."""
        for quote in quotes:
            self._open_before(quote.at)
            self._clock.now = quote.at
            self._server.on_quote(quote)

    def finish(self) -> None:
        """Open what was entered at the last quote."""
        self._open_before(None)

    def _open_before(self, at: Millis | None) -> None:
        ripe = [due for due in self._due if at is None or due.entry.opened_at < at]
        for due in ripe:
            self._due.remove(due)
            self._clock.now = max(self._clock.now, due.entry.opened_at)
            twin = open_at(self.terminal, self._symbol, due.order)
            if twin is None:
                msg = f"the unmanaged twin of {due.entry.ticket} was refused at the quote that opened the managed one"
                raise InvariantError(msg)
            due.entry.twin = twin

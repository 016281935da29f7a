"""The trade server's books in a file, as a broker keeps them: a terminal's host that was killed goes on where it stood.

They are written whole before any answer that follows from them leaves the host. What came of quotes after the last writing is
worked out again from the tape, and comes to the same. Orders that the server was still working on are not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from dtms.domain.units import Millis
from dtms.errors import SettingsError
from dtms.private_files import write_whole
from dtms_lab.terminal.records import SimDeal, SimOrder, SimPosition
from dtms_lab.terminal.server import SimServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What is known of one account at an instant; `recorded` is how many operations its recorder was told."""

    at: Millis
    balance: float
    numbers: tuple[int, int]
    positions: list[SimPosition]
    orders: list[SimOrder]
    deals: list[SimDeal]
    past_orders: list[SimOrder]
    gone: list[int]
    recorded: int


def read_books_file(path: Path) -> Books | None:
    """Return the books of a file, None where there is none.

    Raises:
        SettingsError: It cannot be read as books.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Books)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        msg = f"{path} holds no books of the simulated broker ({error}); delete it to begin with a fresh account"
        raise SettingsError(msg) from error


class BooksFile:
    """Keeps a server's books. `save` is cheap where nothing has changed."""

    def __init__(self, path: Path, server: SimServer) -> None:
        self._path = path
        self._state = server.state
        self._changed = True
        self._state.listeners.append(self._on_change)

    def _on_change(self, _at: Millis) -> None:
        self._changed = True

    def save(self) -> None:
        """Write the books where they have changed."""
        if not self._changed:
            return
        state = self._state
        books = Books(
            at=state.now(),
            balance=state.balance,
            numbers=state.numbers,
            positions=list(state.positions.values()),
            orders=list(state.orders.values()),
            deals=state.deals,
            past_orders=state.past_orders,
            gone=sorted(state.gone),
            recorded=state.recorded,
        )
        write_whole(self._path, msgspec.json.encode(books))
        self._changed = False


def restore(server: SimServer, books: Books) -> None:
    """Put the books into a server that is new; the quotes come from the tape."""
    server.charge_swaps_from(books.at)
    state = server.state
    state.balance, state.numbers = books.balance, books.numbers
    state.deals[:], state.past_orders[:] = books.deals, books.past_orders
    state.recorded = books.recorded
    state.gone.update(books.gone)
    for position in books.positions:
        state.put(position)
    for order in books.orders:
        state.put_order(order)

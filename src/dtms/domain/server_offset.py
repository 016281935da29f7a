"""How far a trade server's clock was seen to be ahead of UTC; the terminal never says it."""

from __future__ import annotations

from dataclasses import dataclass

from dtms.domain.units import HOUR, Millis
from dtms.errors import InvalidDataError

_WEST, _EAST = -12 * HOUR, 14 * HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenOffset:
    """An offset that fresh ticks have shown.

    Attributes:
        ahead: How far the server's clock is ahead of UTC, in ms, from -12 h to 14 h.
        at: When a tick last showed it.

    Raises:
        InvalidDataError: There is no such clock on earth.
    """

    ahead: int
    at: Millis

    def __post_init__(self) -> None:
        if not _WEST <= self.ahead <= _EAST:
            msg = f"a server's clock {self.ahead} ms ahead of UTC; clocks on earth are from {_WEST} to {_EAST}"
            raise InvalidDataError(msg)

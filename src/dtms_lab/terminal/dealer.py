"""How the server answers a request that its checks let through: the place for requotes, part fills and slippage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dtms.domain.market import Quote
from dtms_lab.terminal.records import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """An answer: a `retcode` refuses; `volume` is what is filled at most, `price` overrides the quote, `comment` and `magic`
    replace the request's in the server's books, `says` replaces the retcode of a part fill; `None` leaves each as it is.

    `parts` are delays in ms and shares of the volume: the order is worked on, and filled so. Of a change of levels
    `stop_ticks` is how far the server puts the stop away from where it was asked for, `drops_target` leaves the target out.
    """

    retcode: int | None = None
    volume: float | None = None
    price: float | None = None
    comment: str | None = None
    magic: int | None = None
    says: int | None = None
    parts: tuple[tuple[int, float], ...] = ()
    stop_ticks: int = 0
    drops_target: bool = False


AS_ASKED = Fill()
"""A full fill at the quote."""


class Dealer(Protocol):
    """Decides on requests that passed the checks."""

    def answer(self, request: Request, quote: Quote | None) -> Fill:
        """Return what becomes of the request."""


class HonestDealer:
    """Fills everything, at the quote."""

    def answer(self, request: Request, quote: Quote | None) -> Fill:  # noqa: ARG002 - it looks at nothing
        """Return a full fill at the quote."""
        return AS_ASKED

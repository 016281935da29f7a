"""How one M1 bar becomes four quotes.

Within a bar nobody knows the order of its extremes. The extreme against the open trades comes first, so that a bar which
holds both a stop and a target always ends at the stop: the assumption flatters no result.
"""

from __future__ import annotations

from dtms.domain.market import Bar, Quote
from dtms.domain.units import SECOND, Millis

OFFSETS = (0, 15 * SECOND, 30 * SECOND, 59 * SECOND)
"""When in its minute each of the four quotes comes, in ms: open, first extreme, second extreme, close."""


def low_first(net_lots: float) -> bool:
    """Say whether the low comes before the high: where the open volume is net long, and where it is flat or balanced."""
    return net_lots >= 0


def quote_of(symbol: str, step: int, bar: Bar, ask_bar: Bar | None, *, spread: float, digits: int, low: bool) -> Quote:
    """Return the quote of one step, 0 to 3.

    The ask is the ask bar's matching price, never under the bid; without an ask bar it is the bid plus `spread`.
    `low` says that the low is step 1 and the high step 2.
    """
    bid = _price(bar, step, low=low)
    asked = round(bid + spread, digits) if ask_bar is None else _price(ask_bar, step, low=low)
    return Quote(symbol=symbol, at=Millis(bar.start + OFFSETS[step]), bid=bid, ask=max(asked, bid))


def _price(bar: Bar, step: int, *, low: bool) -> float:
    if step == 0:
        return bar.open
    if step == len(OFFSETS) - 1:
        return bar.close
    return bar.low if low is (step == 1) else bar.high

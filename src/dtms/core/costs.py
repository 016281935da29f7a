"""What a trade has cost, as a distance in price: where a stop no longer loses."""

from __future__ import annotations

from dtms.domain.instrument import Instrument
from dtms.domain.units import Price, Side


def breakeven_level(
    *,
    side: Side,
    entry: float,
    volume: float,
    spread: float,
    commission_per_lot: float,
    swap: float,
    instrument: Instrument,
) -> Price:
    """Return the stop at which the rest of a trade ends without a loss, rounded away from loss.

    Args:
        side: The trade's direction.
        entry: The price it was opened at.
        volume: Lots still open, > 0.
        spread: The present spread in price units; half of it is the allowance for slippage.
        commission_per_lot: Account currency per lot for opening and closing together, >= 0.
        swap: Account currency booked on the position so far, negative when debited; a credit counts 0.
        instrument: Converts money to price and rounds.

    Source:
        entry + side x (commission of both sides + swap debited + 0.5 x spread) per remaining unit.
    """
    commission = commission_per_lot / instrument.value_per_unit
    debited = max(0.0, -swap) / (volume * instrument.value_per_unit)
    return instrument.stop(side, entry + side * (commission + debited + 0.5 * spread))

"""What a trade has cost, as a distance in price: where a stop no longer loses."""

from __future__ import annotations

from dtms.domain.instrument import Instrument
from dtms.domain.units import Price, Side

SLIPPAGE_SPREADS = 0.5
"""The allowance for slippage at a breakeven stop, in spreads (behaviour.md section 5)."""


def unit_costs(*, volume: float, commission_per_lot: float, swap: float, instrument: Instrument) -> float:
    """Return commission of both sides and swap debited per remaining unit, in price units, >= 0.

    Args:
        volume: Lots still open, > 0.
        commission_per_lot: Account currency per lot for opening and closing together, >= 0.
        swap: Account currency booked on the position so far, negative when debited; a credit counts 0.
        instrument: Converts money to price.
    """
    debited = max(0.0, -swap) / volume
    return (commission_per_lot + debited) / instrument.value_per_unit


def breakeven_level(*, side: Side, entry: float, costs: float, allowance: float, instrument: Instrument) -> Price:
    """Return the stop at which the rest of a trade ends without a loss, rounded away from loss.

    Args:
        side: The trade's direction.
        entry: The price it was opened at.
        costs: `unit_costs`, in price units.
        allowance: What slippage may take, in price units, >= 0.
        instrument: Rounds to its grid.

    Source:
        entry + side x (commission of both sides + swap debited + slippage allowance) per remaining unit.
    """
    return instrument.stop(side, entry + side * (costs + allowance))

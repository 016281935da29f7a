"""Numbers as a person reads them where no instrument is at hand; with one, `Instrument.shown` and `shown_lots` go first."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

SAME: Final = 1e-9
"""Share of a figure within which its digits tell all of it: noise of binary fractions."""


def plain(value: float) -> str:
    """Return a number with all digits that matter: no noise of binary fractions, no exponent, nothing rounded away.

    >>> plain(0.1 + 0.2), plain(1234567.0), plain(1e-08)
    ('0.3', '1234567', '0.00000001')
    """
    short = f"{Decimal(f'{value:.12g}'):f}"
    return short if abs(float(short) - value) <= SAME * abs(value) else repr(value)


def rough(value: float) -> str:
    """Return a worked-out number with six figures, without an exponent: a limit, a distance; never a stop or a volume.

    >>> rough(0.00026499999), rough(12.5)
    ('0.000265', '12.5')
    """
    return f"{Decimal(f'{value:.6g}'):f}"

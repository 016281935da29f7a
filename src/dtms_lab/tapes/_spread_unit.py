"""In which unit a spread column is: told by a person, else by what the spread would cost; never by the text alone.

A terminal's spread is a whole number of points, and the prices' decimals tell the point only where no exporter has dropped
zeros: `39000.00` is `39000.0` in most tables of Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from dtms_lab.instruments import SymbolSpec
from dtms_lab.tapes._remarks import Remarks

_BELIEVABLE: Final = 5.0
"""A reading that is within this factor of the symbol's usual spread is believed over one that is out of the next bounds."""

_TOO_WIDE: Final = 8.0
_TOO_NARROW: Final = 1 / 20
"""Beyond these factors of the usual spread the plain reading is not believed where another one is: raw accounts have a
tenth of the usual spread at quiet hours, and news ten times."""

_WHOLE: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadUnit:
    """What a spread of 1 in the column is in price units, and what that is called."""

    value: float
    name: str


def spread_unit(
    spreads: Sequence[float], spec: SymbolSpec, digits: int, given: str | None, remarks: Remarks
) -> SpreadUnit:
    """Return the unit of a spread column.

    Args:
        spreads: The known spreads, all above 0.
        spec: The instrument; its point and usual spread judge.
        digits: The most decimals that the tape's prices have.
        given: `points` or `price`, where a person says it.
        remarks: Told what was chosen and how sure it is.
    """
    usual = median(spreads)
    whole = all(abs(spread - round(spread)) < _WHOLE for spread in spreads)
    plain = _points(max(digits, spec.digits))
    fewer = False
    if given is not None:
        unit = _price() if given == "price" else plain
        remarks.note(f"asks are the bid plus the spread column, in {unit.name}, as --spread-unit says")
        return unit
    others = (
        [_points(place) for place in range(spec.digits - 1, spec.digits + 2) if place >= max(digits, 0)]
        if whole
        else []
    )
    others.append(_price())
    if whole and digits < spec.digits:
        # Dropped zeros, or a broker with fewer digits: what the spread would cost tells.
        plain = min((plain, _points(digits)), key=lambda unit: _distance(usual, unit, spec))
        fewer = plain.value > spec.point
    if not whole:
        plain = min((_price(), _pips(spec), plain), key=lambda unit: _distance(usual, unit, spec))
    ratio = usual * plain.value / spec.spread_typical
    better = min(others, key=lambda unit: _distance(usual, unit, spec))
    far = ratio > _TOO_WIDE or ratio < _TOO_NARROW
    if far and _distance(usual, better, spec) <= _BELIEVABLE:
        remarks.doubt(
            "spread_unit",
            f"the spread column ({usual:g} in the middle) would be {usual * plain.value:g} in {plain.name}, {ratio:.3g} times the usual "
            f"{spec.spread_typical:g} of {spec.name}; it is read in {better.name}: {usual * better.value:g}; say --spread-unit "
            "points or price where that is wrong, or the symbol's digits with --instrument",
        )
        unit = better
    else:
        unit = plain
        if far or not whole or fewer:
            remarks.doubt(
                "spread_unit",
                f"the spread column ({usual:g} in the middle), read in {unit.name}, is {usual * unit.value:g}: {ratio:.3g} times the "
                f"usual {spec.spread_typical:g} of {spec.name}; say --spread-unit points or price where that is wrong",
            )
    remarks.note(f"asks are the bid plus the spread column, in {unit.name}")
    return unit


def _points(digits: int) -> SpreadUnit:
    return SpreadUnit(value=10.0**-digits, name=f"points of {10.0**-digits:.{digits}f}")


def _price() -> SpreadUnit:
    return SpreadUnit(value=1.0, name="price units")


def _pips(spec: SymbolSpec) -> SpreadUnit:
    return SpreadUnit(value=10 * spec.point, name=f"pips of {10 * spec.point:g}")


def _distance(spread: float, unit: SpreadUnit, spec: SymbolSpec) -> float:
    """By which factor a spread is away from the usual one, in either direction."""
    ratio = spread * unit.value / spec.spread_typical
    return max(ratio, 1 / ratio)

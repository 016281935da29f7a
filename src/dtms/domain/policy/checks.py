"""One sentence for every value of a policy that cannot be: the field, the value, the range."""

from __future__ import annotations

import itertools
import math

from dtms.errors import SettingsError


def number(name: str, value: object, low: float, high: float, unit: str = "") -> None:
    """Refuse a number outside [low, high].

    Raises:
        SettingsError: Names the field, the value and the range; set it inside the range.
    """
    if (
        not isinstance(value, bool)
        and isinstance(value, (int, float))
        and math.isfinite(value)
        and low <= value <= high
    ):
        return
    shown = f" {unit}" if unit else ""
    msg = f"policy {name} is {value!r}; set it between {low:g} and {high:g}{shown}"
    raise SettingsError(msg)


def ascending(names: str, *values: float) -> None:
    """Refuse thresholds that do not rise strictly.

    Raises:
        SettingsError: Names the thresholds and their values; put them in order.
    """
    if any(a >= b for a, b in itertools.pairwise(values)):
        msg = f"policy {names} are {values}; they must rise strictly in this order"
        raise SettingsError(msg)


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a word that is not one of `allowed`.

    Raises:
        SettingsError: Names the field, the value and the words that are allowed.
    """
    if value not in allowed:
        msg = f"policy {name} is {value!r}; choose one of {', '.join(allowed)}"
        raise SettingsError(msg)

"""Figures as a person reads them: a price with its instrument's digits, a volume with its step's, money with two.

A figure of which nothing is known is shown whole: what is rounded away may be the stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dtms.domain.figures import SAME, plain

PRICES: Final = frozenset(
    [
        "entry",
        "stop_loss",
        "initial_stop",
        "take_profit",
        "r",
        "current_price",
        "price",
        "best",
        "stop",
        "target",
        "widened_stop",
        "bid",
        "ask",
    ]
)
VOLUMES: Final = frozenset(["volume", "initial_volume", "filled", "remaining", "partial_remaining"])
MONEY: Final = frozenset(
    [
        "profit",
        "realised",
        "net_profit",
        "unmanaged_net_profit",
        "balance",
        "equity",
        "commission",
        "swap",
        "costs",
        "risk_money",
    ]
)
RATIOS: Final = frozenset(["total_r", "r_multiple", "expectancy_r", "cost_r", "managed_minus_unmanaged_r"])


def figure(value: float, digits: int | None = None) -> str:
    """Return a number with so many digits, more where fewer would tell another number; all that matter without digits."""
    if digits is not None:
        text = f"{value:.{digits}f}"
        if abs(float(text) - value) <= SAME * max(1.0, abs(value)):
            return text
    return plain(value)


def digits_of(answer: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the digits of prices and of volumes that an answer tells, None where it does not."""
    return answer.get("digits"), answer.get("volume_digits")


def shown(name: str, value: Any, digits: tuple[int | None, int | None] = (None, None)) -> Any:
    """Return a named value of an answer with its numbers as text; what is no number stays what it is.

    Args:
        name: The member's name, which says what its number is.
        value: The value; members of members are shown by their own names.
        digits: Of prices and of volumes.
    """
    if isinstance(value, Mapping):
        return {key: shown(str(key), inner, digits) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(name, inner, digits) for inner in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    if name in PRICES:
        return figure(value, digits[0])
    if name in VOLUMES:
        return figure(value, digits[1])
    if name in MONEY:
        return f"{value:,.2f}"
    if name in RATIOS:
        return f"{value:+.2f}"
    return figure(value) if isinstance(value, float) else value


def shown_members(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of one trade's answer, shown with the digits that it tells itself."""
    digits = digits_of(answer)
    return {name: shown(name, value, digits) for name, value in answer.items()}

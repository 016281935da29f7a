"""The limits of common sense that an opening has to keep: a slip of the keyboard, or of a program, is no order."""

from __future__ import annotations

from dataclasses import dataclass

from dtms.domain.policy import checks


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningPolicy:
    """What is refused before it is planned. The least distance of a stop is behaviour.md's (section 1); its limits on volume
    are `operation.max_lots_per_action` and `operation.max_lots_account`.

    Attributes:
        max_stop_atr: A stop further from the price than so many ATR(M15) is refused; some weeks of an ordinary market.
        max_stop_share: A stop further from the price than this share of it is refused; it also holds without an ATR.
        max_risk_share: An opening that would lose more than this share of the account's equity at its stop is refused.
    """

    max_stop_atr: float = 200.0
    max_stop_share: float = 0.3
    max_risk_share: float = 0.1

    def __post_init__(self) -> None:
        checks.number("opening.max_stop_atr", self.max_stop_atr, 1, 10_000, "ATR")
        checks.number("opening.max_stop_share", self.max_stop_share, 0.001, 1, "of the price")
        checks.number("opening.max_risk_share", self.max_risk_share, 0.0001, 1, "of the equity")

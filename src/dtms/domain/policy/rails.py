"""The numbers of the rails, which guard what adds risk (behaviour.md section 4)."""

from __future__ import annotations

from dataclasses import dataclass

from dtms.domain.policy import checks


@dataclass(frozen=True, slots=True, kw_only=True)
class RailsPolicy:
    """Limits that an action which adds risk must keep.

    Attributes:
        enabled: Whether the rails are on.
        day_loss, hour_loss: Greatest loss as a fraction of the equity at the day's start, realised and floating.
        losing_trades, losing_r: So many trades running stopped at or below `losing_r` deny.
        news_before_minutes, news_after_minutes: The closed window around a high-impact event of either currency.
        spread_factor: Denied above so many medians.
        spread_min_quotes: Quotes that a median needs; before that the symbol's typical spread counts.
        margin_level: Percent that must be left after the action.
        stale_min_s, stale_max_s, stale_gaps: A quote is stale after min(max, max(min, gaps x the median gap)).
    """

    enabled: bool = True
    day_loss: float = 0.02
    hour_loss: float = 0.01
    losing_trades: int = 3
    losing_r: float = -0.5
    news_before_minutes: float = 30.0
    news_after_minutes: float = 15.0
    spread_factor: float = 2.0
    spread_min_quotes: int = 1_000
    margin_level: float = 200.0
    stale_min_s: float = 5.0
    stale_max_s: float = 60.0
    stale_gaps: float = 5.0

    def __post_init__(self) -> None:
        checks.number("rails.day_loss", self.day_loss, 0.0001, 1, "of equity")
        checks.number("rails.hour_loss", self.hour_loss, 0.0001, 1, "of equity")
        checks.number("rails.losing_trades", self.losing_trades, 1, 1_000, "trades")
        checks.number("rails.losing_r", self.losing_r, -10, 0, "R")
        checks.number("rails.news_before_minutes", self.news_before_minutes, 0, 1_440, "min")
        checks.number("rails.news_after_minutes", self.news_after_minutes, 0, 1_440, "min")
        checks.number("rails.spread_factor", self.spread_factor, 1, 100, "medians")
        checks.number("rails.spread_min_quotes", self.spread_min_quotes, 1, 1_000_000, "quotes")
        checks.number("rails.margin_level", self.margin_level, 0, 10_000, "%")
        checks.number("rails.stale_min_s", self.stale_min_s, 0.1, 3_600, "s")
        checks.number("rails.stale_max_s", self.stale_max_s, self.stale_min_s, 3_600, "s")
        checks.number("rails.stale_gaps", self.stale_gaps, 1, 1_000, "median gaps")

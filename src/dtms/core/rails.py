"""The rails: limits that an action which adds risk must keep. What reduces risk never comes here.

Each rail says what an unknown input means: news allow and flag it, every other one denies.
"""

from __future__ import annotations

from dataclasses import dataclass

from dtms.domain.figures import rough
from dtms.domain.policy.rails import RailsPolicy
from dtms.domain.verdict import RailFacts


@dataclass(frozen=True, slots=True)
class RailAnswer:
    """What one rail says: whether it lets the action pass, and the sentence for the record."""

    rail: str
    allowed: bool
    reason: str
    flag: str = ""


def ask(facts: RailFacts, policy: RailsPolicy) -> tuple[RailAnswer, ...]:
    """Return the answer of every rail, in one fixed order; empty where the rails are off."""
    if not policy.enabled:
        return ()
    return (
        _at_most("rail_day_loss", "day's loss", facts.day_loss, policy.day_loss),
        _at_most("rail_hour_loss", "hour's loss", facts.hour_loss, policy.hour_loss),
        _streak(facts, policy),
        _news(facts),
        _spread(facts, policy),
        _margin(facts, policy),
        _stale(facts),
    )


def _at_most(rail: str, what: str, value: float | None, limit: float) -> RailAnswer:
    if value is None:
        return RailAnswer(rail, allowed=False, reason=f"the {what} is unknown")
    return RailAnswer(rail, allowed=value < limit, reason=f"the {what} is {value:.4%} of equity, limit {limit:.2%}")


def _streak(facts: RailFacts, policy: RailsPolicy) -> RailAnswer:
    rail = "rail_losing_streak"
    if facts.losing_streak is None:
        return RailAnswer(rail, allowed=False, reason="the last closed trades are unknown")
    reason = f"{facts.losing_streak} trades running stopped at <= {policy.losing_r:g} R, limit {policy.losing_trades}"
    return RailAnswer(rail, allowed=facts.losing_streak < policy.losing_trades, reason=reason)


def _news(facts: RailFacts) -> RailAnswer:
    if not facts.news_known:
        return RailAnswer("rail_news", allowed=True, reason="no calendar", flag="news_unknown")
    return RailAnswer("rail_news", allowed=facts.news == "", reason=f"high-impact news: {facts.news or 'none'}")


def _spread(facts: RailFacts, policy: RailsPolicy) -> RailAnswer:
    rail = "rail_spread"
    if facts.spread is None or facts.spread_median is None:
        return RailAnswer(rail, allowed=False, reason="the spread or its median is unknown")
    limit = policy.spread_factor * facts.spread_median
    return RailAnswer(
        rail, allowed=facts.spread <= limit, reason=f"the spread is {rough(facts.spread)}, limit {rough(limit)}"
    )


def _margin(facts: RailFacts, policy: RailsPolicy) -> RailAnswer:
    rail = "rail_margin"
    if facts.margin_level is None:
        return RailAnswer(rail, allowed=False, reason="the margin level after the action is unknown")
    reason = f"the margin level after the action is {facts.margin_level:.0f} %, limit {policy.margin_level:.0f} %"
    return RailAnswer(rail, allowed=facts.margin_level >= policy.margin_level, reason=reason)


def _stale(facts: RailFacts) -> RailAnswer:
    if facts.quote_stale is None:
        return RailAnswer("rail_stale_quote", allowed=False, reason="the quote's age is unknown")
    return RailAnswer("rail_stale_quote", allowed=not facts.quote_stale, reason="the quote is stale")

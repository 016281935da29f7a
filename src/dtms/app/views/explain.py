"""Why a trade is in its state and what leads out of it, as data and as one English sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dtms.app.market.market_data import SymbolMarket
from dtms.app.positions.manual_changes import BY_HAND
from dtms.app.views.outlook import Foresight, PossibleTransition, Reach, Trigger, present_score
from dtms.domain.policy import Policy
from dtms.domain.records import StopRecord, TransitionRecord
from dtms.domain.score import Score
from dtms.domain.trade import Hold, Trade
from dtms.domain.transitions import ROWS, Cause, Row, rows_from
from dtms.domain.units import Millis, to_iso


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The present state with its reason and its ways out; `because` is None where it is the state of the registration."""

    trade: Trade
    as_of: Millis
    score: Score | None
    because: TransitionRecord | None
    ways: tuple[PossibleTransition, ...]
    sentence: str
    policy: Policy
    """The symbol's, whose numbers the words of its rows have."""


def explain(
    trade: Trade,
    policy: Policy,
    desk: SymbolMarket | None,
    because: TransitionRecord | None,
    now: Millis,
    stops: Sequence[StopRecord] = (),
) -> Explanation:
    """Return why the trade is in its state and what leads out of it, by the symbol's policy; `stops` tells what a hand did.

    Without a desk (nobody watches the symbol, a closed trade's for example) the ways are those of the table alone.
    """
    score = None if desk is None else present_score(trade, desk, now)
    rows = rows_from(trade.state)
    if desk is None:
        ways = tuple(
            PossibleTransition(row=row, holds=False, triggers=(), events=(), at=None, blocked_by=()) for row in rows
        )
    else:
        asked = Foresight(trade, desk, score, now)
        ways = tuple(asked.way(row) for row in rows)
    return Explanation(
        trade=trade,
        as_of=now,
        score=score,
        because=because,
        ways=ways,
        sentence=_sentence(trade, score, _reason(because, policy), ways, _hand_words(trade, desk, stops)),
        policy=policy,
    )


def clock_ways(trade: Trade, desk: SymbolMarket, now: Millis) -> tuple[tuple[Row, Millis], ...]:
    """Return the rows that the clock leads to, with their instants."""
    asked = Foresight(trade, desk, present_score(trade, desk, now), now)
    found = [(row, asked.by_clock(row)[0]) for row in rows_from(trade.state) if row.cause is Cause.DEADLINE]
    return tuple((row, at) for row, at in found if at is not None)


def _sentence(trade: Trade, score: Score | None, reason: str, ways: Sequence[PossibleTransition], by_hand: str) -> str:
    head = f"{trade.symbol} {trade.side.name} {trade.ticket} is {trade.state} since {to_iso(trade.state_since)}"
    parts = [f"{head} {reason}", *([by_hand] if by_hand else []), _score_words(score)]
    if trade.hold is not Hold.NONE:
        parts.insert(1, f"it is observed only ({trade.hold}) until a person has looked")
    nearest = [words for way in ways if (words := _way_words(way))]
    if trade.pending is not None:
        parts.append(f"the way to {trade.pending.to} ({trade.pending.row}) is under way")
    if nearest:
        parts.append(", ".join(nearest))
    if not trade.calibrated:
        parts.append(f"{trade.symbol} is uncalibrated: no numbers of its own are known, the general ones apply")
    return "; ".join(parts) + "."


def _hand_words(trade: Trade, desk: SymbolMarket | None, stops: Sequence[StopRecord]) -> str:
    """Return what the newest record of the main leg's stop tells of a hand, "" where it is another rule's."""
    last = next((record for record in reversed(stops) if record.position == trade.identifier), None)
    if last is None or not last.rule.startswith(BY_HAND):
        return ""
    old, new = (
        "none" if price is None else f"{price:.10g}" if desk is None else desk.instrument.shown(price)
        for price in (last.old, last.new)
    )
    at = to_iso(last.at)
    if last.rule == BY_HAND:
        return f"its stop was moved from {old} to {new} by hand at {at}"
    return f"its stop was moved to {old} by hand and put back to {new} at {at} ({last.rule})"


def _reason(because: TransitionRecord | None, policy: Policy) -> str:
    if because is None:
        return "because it was registered and nothing has changed its state"
    row = ROWS.get(because.row)
    words = because.row if row is None else row.when_by(policy)
    at = "" if because.score is None else f" (score {because.score:.2f} then)"
    instead = f", with {' and '.join(because.fallbacks)} instead of the plan" if because.fallbacks else ""
    return f"because {words}{at}{instead}"


def _score_words(score: Score | None) -> str:
    if score is None:
        return "there is no score yet"
    if score.total is None:
        return f"there is no score now: {score.missing}"
    told = [(r.layer.value, c) for r in score.layers if (c := r.contribution) is not None and c != 0]
    told.sort(key=lambda pair: -abs(pair[1]))
    absent = [reading.layer.value for reading in score.layers if reading.raw is None]
    layers = ", ".join(f"{name} {value:+.2f}" for name, value in told) or "no layer speaks"
    missing = f"; unavailable: {', '.join(absent)}" if absent else ""
    return f"the score is {score.total:.2f} ({layers}{missing})"


_REACH_WORDS = {
    Reach.AT_MOST: "at or below",
    Reach.BELOW: "below",
    Reach.AT_LEAST: "at or above",
    Reach.ABOVE: "above",
}


def _way_words(way: PossibleTransition) -> str:
    target = way.row.target.value
    held = f" (held back by {' and '.join(way.blocked_by)})" if way.blocked_by else ""
    if way.at is not None:
        need = "".join(f" with a score {_REACH_WORDS[t.reach]} {t.score:g}" for t in way.triggers if t.bars == 0)
        return f"at {to_iso(way.at)}{need} it goes to {target}{held}"
    if not way.triggers:
        return ""
    each = " or ".join(_trigger_words(trigger) for trigger in way.triggers)
    return f"{each} leads to {target}{held}"


def _trigger_words(trigger: Trigger) -> str:
    bars = "" if trigger.bars == 1 else f" on {trigger.bars} bars running"
    away = "" if trigger.distance is None else f" ({trigger.distance:.2f} points away)"
    return f"a score {_REACH_WORDS[trigger.reach]} {trigger.score:g}{bars}{away}"

"""The state machine: which row of the transition table holds now. Conditions only; plans are made in ``plans``.

Pure and total: the same trade and snapshot give the same row, whoever asks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

from dtms.domain.calendar import MarketHours
from dtms.domain.market import Timeframe
from dtms.domain.policy.machine import MachinePolicy
from dtms.domain.score import MarketView
from dtms.domain.trade import Hold, Pending, ScorePoint, Trade, TradeState
from dtms.domain.transitions import ROWS, Cause, Row, rows_from
from dtms.domain.units import HOUR, MINUTE, SECOND, Millis
from dtms.domain.verdict import Snapshot

_REMEMBERED = 6
_RUNNING_GAP = 2 * Timeframe.M5.value


def observe(trade: Trade, view: MarketView) -> Trade:
    """Return the trade with one more decided bar counted and its score remembered; a bar seen before changes nothing."""
    if (trade.last_bar is not None and view.at <= trade.last_bar) or view.at <= trade.registered_at:
        return trade
    total = view.score(trade.side).total
    recent = trade.recent if total is None else (*trade.recent, ScorePoint(at=view.at, total=total))[-_REMEMBERED:]
    return replace(
        trade,
        last_bar=view.at,
        recent=recent,
        bars_in_state=trade.bars_in_state + 1,
        bars_since_registration=trade.bars_since_registration + 1,
    )


def deadline_of(state: TradeState, now: Millis, hours: MarketHours, policy: MachinePolicy) -> Millis | None:
    """Return the absolute deadline of a state entered now, in open-market time; None where it has none."""
    minutes = {
        TradeState.WARNING_L1: policy.l1_minutes,
        TradeState.WARNING_L2: policy.l2_minutes,
        TradeState.HEDGED: policy.hedged_minutes,
        TradeState.RECOVERING: policy.recovering_minutes,
    }.get(state)
    return None if minutes is None else hours.after_open(now, round(minutes * MINUTE))


def overdue(trade: Trade, now: Millis, hours: MarketHours) -> bool:
    """Say whether a trade's deadline has passed in open time: none passes while the broker shows the market as closed."""
    if trade.deadline is None or now < trade.deadline or hours.shut_at(now):
        return False
    return now >= hours.put_off(trade.deadline, trade.state_since, now)


def before_long_close(now: Millis, hours: MarketHours, minutes: float, policy: MachinePolicy) -> bool:
    """Say whether the market closes for long within so many minutes."""
    close = hours.next_close(now, round(policy.long_close_hours * HOUR))
    return close is not None and now >= close - round(minutes * MINUTE)


def in_grace(trade: Trade, snap: Snapshot, policy: MachinePolicy) -> bool:
    """Say whether registration is too fresh for a score transition."""
    if trade.bars_since_registration >= policy.grace_bars:
        return False
    if snap.hours.open_between(trade.registered_at, snap.now) >= policy.grace_s * SECOND:
        return False
    r_multiple = None if snap.quote is None else trade.r_multiple(snap.quote.executable(trade.side))
    return r_multiple is None or r_multiple > policy.grace_r


def next_row(trade: Trade, snap: Snapshot, policy: MachinePolicy) -> Row | None:
    """Return the first row of the table that holds, None where the state stays.

    While a transition is under way, only the way to CLOSED may overtake it; a trade that is only observed leaves its
    state by its end at the broker alone.
    """
    return next((row for row in candidates(trade, snap, policy)), None)


def candidates(trade: Trade, snap: Snapshot, policy: MachinePolicy) -> tuple[Row, ...]:
    """Return every row that holds now, in the order in which they are asked."""
    rows = rows_from(trade.state)
    if trade.hold is not Hold.NONE:
        rows = tuple(row for row in rows if row.cause is Cause.GONE)
    if trade.pending is not None:
        overtaken = trade.pending
        rows = tuple(row for row in rows if row.target is TradeState.CLOSED and _overtakes(row, overtaken))
    return tuple(row for row in rows if _holds(row, trade, snap, policy))


def _overtakes(row: Row, pending: Pending) -> bool:
    """Say whether a way to CLOSED may replace what is under way: another way there only where the end is proved now."""
    if pending.to is not TradeState.CLOSED:
        return True
    return row.cause is Cause.GONE and ROWS[pending.row].cause is not Cause.GONE


def _holds(row: Row, trade: Trade, snap: Snapshot, policy: MachinePolicy) -> bool:
    match row.cause:
        case Cause.GONE:
            return snap.gone
        case Cause.HEDGE_GONE:
            return snap.hedge_gone and trade.hedge is not None
        case Cause.CHARACTER:
            return snap.view is not None and any(event.changes_against(trade.side) for event in snap.view.events)
        case Cause.DEADLINE:
            return _DEADLINES[row.name](trade, snap, policy)
        case Cause.ESCALATION | Cause.DE_ESCALATION:
            return _SCORED[row.name](trade, snap, policy)


_Condition = Callable[[Trade, Snapshot, MachinePolicy], bool]


def _overdue(trade: Trade, snap: Snapshot, _policy: MachinePolicy) -> bool:
    return overdue(trade, snap.now, snap.hours)


def _l1_timeout(trade: Trade, snap: Snapshot, policy: MachinePolicy) -> bool:
    return _overdue(trade, snap, policy) and snap.score is not None and snap.score > policy.l1_score


def _before_close(_trade: Trade, snap: Snapshot, policy: MachinePolicy) -> bool:
    return before_long_close(snap.now, snap.hours, policy.before_close_minutes, policy)


def _before_close_recovering(trade: Trade, snap: Snapshot, policy: MachinePolicy) -> bool:
    """Say whether a supported trade goes on over the close: its hedge is lifted, or it was reduced and has none."""
    supported = snap.score is not None and snap.score >= policy.healthy_score
    return supported and _before_close(trade, snap, policy)


_DEADLINES: dict[str, _Condition] = {
    "l1_timeout": _l1_timeout,
    "l2_timeout": _overdue,
    "hedged_timeout": _overdue,
    "hedged_before_close": _before_close,
    "hedged_before_close_recovering": _before_close_recovering,
    "recovering_timeout": _overdue,
}


def _free_score(trade: Trade, snap: Snapshot, policy: MachinePolicy) -> float | None:
    """Return the score of the bar being decided, None where grace or the wait after a change holds it back."""
    if snap.view is None or trade.bars_in_state < policy.dwell_bars or in_grace(trade, snap, policy):
        return None
    return snap.view.score(trade.side).total


def _at_most(threshold: Callable[[MachinePolicy], float]) -> _Condition:
    def holds(trade: Trade, snap: Snapshot, policy: MachinePolicy) -> bool:
        score = _free_score(trade, snap, policy)
        return score is not None and score <= threshold(policy)

    return holds


def _running(trade: Trade, snap: Snapshot, bars: int, fits: Callable[[float], bool]) -> bool:
    """Say whether the last `bars` scored bars, the present one included, follow each other and all fit."""
    points = trade.recent[-bars:]
    if snap.view is None or len(points) < bars or points[-1].at != snap.view.at:
        return False
    together = all(
        snap.hours.open_between(earlier.at, later.at) <= _RUNNING_GAP for earlier, later in itertools.pairwise(points)
    )
    return together and all(fits(point.total) for point in points)


def _healthy_to_l2(trade: Trade, snap: Snapshot, policy: MachinePolicy) -> bool:
    if _free_score(trade, snap, policy) is None:
        return False
    return _running(trade, snap, policy.running_bars, lambda score: score <= policy.hedge_score)


def _l1_to_healthy(trade: Trade, snap: Snapshot, policy: MachinePolicy) -> bool:
    score = _free_score(trade, snap, policy)
    return score is not None and score >= policy.healthy_score


def _l2_to_l1(trade: Trade, snap: Snapshot, policy: MachinePolicy) -> bool:
    score = _free_score(trade, snap, policy)
    if score is None:
        return False
    released = _running(trade, snap, policy.l2_release_bars, lambda total: total > policy.l2_score)
    return score >= policy.l2_release_score or released


def _l2_to_hedged(trade: Trade, snap: Snapshot, policy: MachinePolicy) -> bool:
    score = _free_score(trade, snap, policy)
    if score is None or snap.view is None:
        return False
    reading = snap.view.score(trade.side)
    flipped = reading.flip_against and reading.opposite_share_high is True
    return score <= policy.hedge_score or (flipped and score <= policy.l2_score)


def _hedged_to_recovering(trade: Trade, snap: Snapshot, policy: MachinePolicy) -> bool:
    if snap.view is None:
        return False
    since = trade.marks.hedge_filled_at if trade.hedge is not None else trade.state_since
    if since is not None and any(e.breaks_with(trade.side) and e.at > since for e in snap.view.events):
        return True
    if _free_score(trade, snap, policy) is None:
        return False
    return _running(trade, snap, policy.running_bars, lambda score: score >= policy.recover_score)


def _recovering_to_healthy(trade: Trade, snap: Snapshot, policy: MachinePolicy) -> bool:
    if _free_score(trade, snap, policy) is None:
        return False
    return _running(trade, snap, policy.running_bars, lambda score: score >= policy.confirm_score)


_SCORED: dict[str, _Condition] = {
    "healthy_to_l2": _healthy_to_l2,
    "healthy_to_l1": _at_most(lambda policy: policy.l1_score),
    "l1_to_l2": _at_most(lambda policy: policy.l2_score),
    "l2_to_hedged": _l2_to_hedged,
    "recovering_to_l2": _at_most(lambda policy: policy.l2_score),
    "l1_to_healthy": _l1_to_healthy,
    "l2_to_l1": _l2_to_l1,
    "hedged_to_recovering": _hedged_to_recovering,
    "recovering_to_healthy": _recovering_to_healthy,
}

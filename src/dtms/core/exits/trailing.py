"""Trailing: from breakeven on the stop follows the best price at a distance in ATR, and never turns back.

The level that counts is a whole step: one that is less than a step better than the stop at the broker is left alone. Where
the price is at or past that level before a stop could be put there, the trade is closed on the second such quote.
"""

from __future__ import annotations

from dataclasses import replace

from dtms.core.exits import _gates
from dtms.core.exits._case import Case, stop_change
from dtms.domain.action import Action, Close, SetStop
from dtms.domain.exits import ExitState, Proposal, Skipped
from dtms.domain.rules import ExitRule
from dtms.domain.units import SECOND, Millis, Price

_GATES_TO_FAIL = 2


def observe(case: Case) -> ExitState:
    """Remember the best price, and count the quotes running on which the price was past the level; a quote counts once."""
    book, quote = case.book, case.market.quote
    best = _best(case)
    newer = book.quote_at is None or quote.at > book.quote_at
    if not newer:
        return book if best == book.best else replace(book, best=best)
    level = _level(case, best)
    past = level is not None and case.beyond(level) <= case.noise
    return replace(book, best=best, quote_at=quote.at, beyond_quotes=book.beyond_quotes + 1 if past else 0)


def propose(case: Case) -> Proposal | Skipped | None:
    """Propose the next step of the stop, or to close where the price has overtaken it."""
    profile, book = case.profile, case.book
    if not _active(case, _best(case)):
        return None
    if _atr(case) is None:
        return Skipped(rule=ExitRule.TRAILING, reason="ATR(M15) is not known yet; the stop stays where it is")
    level = _level(case, _best(case))
    if level is None:
        return None
    if book.beyond_quotes >= profile.trail_close_quotes:
        return _close(case, level)
    if case.beyond(level) <= case.noise:
        counted = f"{book.beyond_quotes} of {profile.trail_close_quotes} quotes"
        return Skipped(rule=ExitRule.TRAILING, reason=f"price is past the level {case.shown(level)} on {counted}")
    moved = book.trail_moved_at
    if moved is not None and case.market.now - moved < profile.trail_every_s * SECOND:
        return None
    return stop_change(case, ExitRule.TRAILING, level, _reason(case, level))


def applied(book: ExitState, action: Action, at: Millis) -> ExitState:
    """Remember when the broker took the step."""
    if not isinstance(action, SetStop):
        return book
    return replace(book, trail_moved_at=at, beyond_quotes=0, tightened=True)


def _best(case: Case) -> float:
    known = case.book.best
    if known is None or case.trade.side * (case.price - known) > 0:
        return case.price
    return known


def _active(case: Case, best: float) -> bool:
    """From breakeven on; where the profile has none, from where it would have been, once and for all."""
    if not case.profile.trail:
        return False
    if case.book.breakeven_done:
        return True
    return not case.profile.breakeven and case.reached(best, case.profile.breakeven_r)


def _atr(case: Case) -> float | None:
    return None if case.market.indicators is None else case.market.indicators.atr_m15


def _level(case: Case, best: float) -> Price | None:
    """Return the level where the trail is active and at least a step better than the present stop, else None."""
    atr = _atr(case)
    if atr is None or not _active(case, best):
        return None
    trade, instrument = case.trade, case.market.instrument
    level = instrument.stop(trade.side, best - trade.side * _multiple(case) * atr)
    if trade.stop is None:
        return level
    step = max(instrument.tick_size, case.profile.trail_step_atr * atr)
    return level if trade.side * (level - trade.stop) >= step - case.noise else None


def _multiple(case: Case) -> float:
    profile, policy = case.profile, case.policy
    own = profile.trail_atr
    base = policy.trail_multiple(case.market.instrument.canonical) if own is None else own
    failed = sum(reading is True for _, reading in _readings(case))
    gates = profile.trail_gates_factor if failed >= _GATES_TO_FAIL else 1.0
    return base * policy.session_factors.of(case.market.session) * gates


def _readings(case: Case) -> tuple[tuple[str, bool | None], ...]:
    """Return the three gates, True where one fails.

    Room is given on what is known only: a gate that cannot be read does not count as failed, and the reason names it.
    """
    side, seen = case.trade.side, case.market.indicators
    return (
        ("squeeze", _gates.squeezed(seen)),
        ("extended", _gates.extended(side, seen, case.policy, case.market.instrument.canonical)),
        ("EMA50(H1) against", _gates.ema50_h1_against(side, seen)),
    )


def _close(case: Case, level: Price) -> Proposal:
    return Proposal(
        rule=ExitRule.TRAILING,
        action=Close(ticket=case.trade.ticket),
        reason=f"{case.at_r} the price {case.shown(case.price)} is past the trail's level {case.shown(level)} on "
        f"{case.book.beyond_quotes} accepted quotes",
        price_based=False,
    )


def _reason(case: Case, level: Price) -> str:
    failed = [name for name, reading in _readings(case) if reading is True]
    unknown = [name for name, reading in _readings(case) if reading is None]
    notes = [f"gates failing: {', '.join(failed)}"] if failed else []
    notes += [f"gates not known, not counted: {', '.join(unknown)}"] if unknown else []
    moves = (
        f"{case.at_r} the stop follows to {case.shown(level)}: best {case.shown(_best(case))} less "
        f"{_multiple(case):.2f} ATR"
    )
    return "; ".join([moves, *notes])

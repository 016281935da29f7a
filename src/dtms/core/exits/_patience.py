"""How soon a refused exit may be asked for again: on a later bar, and later each time it is refused. No I/O.

Counted by what is asked of the trade (its stop, a wider stop, a share of its volume, its close), not by who asks and not
by decision: two rules that want the same refused close are one refusal, and a restart finds the count in the book.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, assert_never

from dtms.core.settle import StepEnd
from dtms.domain.action import Action, Reduce, SetStop
from dtms.domain.exits import ExitState
from dtms.domain.market import Timeframe
from dtms.domain.receipt import Rejection
from dtms.domain.units import Millis

_M5: Final = Timeframe.M5.value
_MOST_BARS: Final = 12
"""The longest wait: an hour. Longer, and the first hour after a holiday could pass without the exit."""
_RUN_ENDS: Final = 24 * _M5
"""A refusal so long after the last one begins a new run."""

_OF_THE_PRICE: Final = frozenset({Rejection.PRICE_MOVED, Rejection.INVALID_STOPS, Rejection.FROZEN})
"""Refusals that another price ends: one attempt a bar, however many there were (behaviour.md section 5)."""
_NOT_OF_THE_BROKER: Final = frozenset({Rejection.PRECONDITION, Rejection.NOT_SENT})
"""Refusals that say nothing about the exit: somebody else was first, or the request never left."""


class Claim(StrEnum):
    """What an exit asks of a trade."""

    STOP = "stop"
    WIDER_STOP = "wider stop"
    SHARE = "share of the volume"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class _Run:
    """The refusals running of one claim: how many, and the M5 bar up to which it is given up."""

    times: int
    bar: Millis | None


def claim_of(action: Action) -> Claim:
    """Return what an exit's action asks for."""
    match action:
        case SetStop(widens=True):
            return Claim.WIDER_STOP
        case SetStop():
            return Claim.STOP
        case Reduce():
            return Claim.SHARE
        case _:
            return Claim.CLOSE


def given_up(book: ExitState, action: Action, bar_at: Millis) -> str:
    """Return why an action must not be asked for on this bar, "" where it may be."""
    claim = claim_of(action)
    run = _run(book, claim)
    if run.bar is None or bar_at > run.bar:
        return ""
    if run.times <= 1:
        return f"the {claim} was refused on this bar; the next bar decides anew"
    return f"the {claim} was refused {run.times} times running; it is tried again on a later bar"


def refused(book: ExitState, action: Action, end: StepEnd, rejection: Rejection | None, now: Millis) -> ExitState:
    """Return the book after a refusal: given up until the next bar, twice as long with each one running.

    What was not the broker's word is asked for again at once the first time, and waits a bar from then on.
    """
    claim, bar = claim_of(action), Timeframe.M5.start_of(now)
    run = _run(book, claim)
    running = run.bar is not None and bar - run.bar <= _RUN_ENDS
    times = run.times + 1 if running else 1
    unheard = end is not StepEnd.REJECTED or rejection in _NOT_OF_THE_BROKER
    if unheard:
        bars = 0 if times == 1 else 1
    elif rejection in _OF_THE_PRICE:
        bars = 1
    else:
        bars = min(_MOST_BARS, 2 ** min(times - 1, 10))
    return _with(book, claim, _Run(times, Millis(bar + (bars - 1) * _M5)))


def denied(book: ExitState, action: Action, now: Millis) -> ExitState:
    """Return the book after the arbiter has refused: nothing has left, so it is asked again on the next bar."""
    claim = claim_of(action)
    return _with(book, claim, replace(_run(book, claim), bar=Timeframe.M5.start_of(now)))


def done(book: ExitState, action: Action) -> ExitState:
    """Return the book after the broker has taken an action: the next refusal is the first one again."""
    return _with(book, claim_of(action), _Run(0, None))


def _run(book: ExitState, claim: Claim) -> _Run:
    match claim:
        case Claim.STOP:
            return _Run(book.stop_refusals, book.given_up_bar)
        case Claim.WIDER_STOP:
            return _Run(book.widening_refusals, book.widening_given_up_bar)
        case Claim.SHARE:
            return _Run(book.volume_refusals, book.volume_given_up_bar)
        case Claim.CLOSE:
            return _Run(book.close_refusals, book.close_given_up_bar)
        case _:
            assert_never(claim)


def _with(book: ExitState, claim: Claim, run: _Run) -> ExitState:
    if run == _run(book, claim):
        return book
    match claim:
        case Claim.STOP:
            return replace(book, stop_refusals=run.times, given_up_bar=run.bar)
        case Claim.WIDER_STOP:
            return replace(book, widening_refusals=run.times, widening_given_up_bar=run.bar)
        case Claim.SHARE:
            return replace(book, volume_refusals=run.times, volume_given_up_bar=run.bar)
        case Claim.CLOSE:
            return replace(book, close_refusals=run.times, close_given_up_bar=run.bar)
        case _:
            assert_never(claim)

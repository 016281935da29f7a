"""Which proposals of one cycle survive: a close alone, else the tightest stop and one volume change."""

from __future__ import annotations

from dtms.domain.action import Close, Reduce, SetStop
from dtms.domain.exits import Proposal, Skipped
from dtms.domain.units import Side


def choose(side: Side, wanted: tuple[Proposal, ...]) -> tuple[tuple[Proposal, ...], tuple[Skipped, ...]]:
    """Return the proposals that survive, the stop first, and a record of each that does not."""
    close = next((each for each in wanted if isinstance(each.action, Close)), None)
    if close is not None:
        chosen: tuple[Proposal, ...] = (close,)
    else:
        stop = _tightest(side, wanted)
        volume = next((each for each in wanted if isinstance(each.action, Reduce)), None)
        chosen = tuple(each for each in (stop, volume) if each is not None)
    beaten_by = " and ".join(each.rule for each in chosen)
    dropped = tuple(
        Skipped(rule=each.rule, reason=f"{beaten_by} of the same cycle goes first")
        for each in wanted
        if each not in chosen
    )
    return chosen, dropped


def _tightest(side: Side, wanted: tuple[Proposal, ...]) -> Proposal | None:
    stops = [(side * each.action.stop, each) for each in wanted if isinstance(each.action, SetStop)]
    return max(stops, key=lambda pair: pair[0])[1] if stops else None

"""A market of bars for the laws: a trade is decided on each, and the broker answers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from tests.core_machine.bench import BAR, CALM, POLICY, T0, Broker, make_trade, make_view, snapshot

from dtms.core import machine
from dtms.domain.policy import Policy
from dtms.domain.score import StructureEventKind
from dtms.domain.trade import Trade
from dtms.domain.units import SECOND, Side
from dtms.domain.verdict import RailFacts, Snapshot, Verdict

_UP = {StructureEventKind.BREAK_UP, StructureEventKind.CHARACTER_UP}
_MIRRORED = {
    StructureEventKind.BREAK_UP: StructureEventKind.BREAK_DOWN,
    StructureEventKind.BREAK_DOWN: StructureEventKind.BREAK_UP,
    StructureEventKind.CHARACTER_UP: StructureEventKind.CHARACTER_DOWN,
    StructureEventKind.CHARACTER_DOWN: StructureEventKind.CHARACTER_UP,
}
CENTRE = 2_000.0
THRESHOLDS = (-7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar as a BUY sees it: its score, the executable price in ticks from the centre, events, bars since the last."""

    score: float | None
    ticks: int
    event: StructureEventKind | None = None
    gap: int = 1
    flip: bool = False
    denied: bool = False


_scores = st.one_of(st.none(), st.sampled_from(THRESHOLDS), st.floats(-9, 9, allow_nan=False))
bars = st.builds(
    Bar,
    score=_scores,
    ticks=st.integers(-1_500, 1_500),
    event=st.one_of(st.none(), st.none(), st.sampled_from(list(StructureEventKind))),
    gap=st.sampled_from((1, 1, 1, 2, 3, 12)),
    flip=st.booleans(),
    denied=st.booleans(),
)
rides = st.lists(bars, min_size=1, max_size=40)
DENIED: RailFacts = replace(CALM, day_loss=None)


def seen(bar: Bar, side: Side, at: int, **changes: Any) -> Snapshot:
    """Return what a trade of this side sees on a bar; for a SELL the market is reflected about the centre."""
    event = bar.event if bar.event is None or side is Side.BUY else _MIRRORED[bar.event]
    price = round(CENTRE + side * bar.ticks / 100, 2)
    view = make_view(
        side,
        bar.score,
        at=at,
        events=() if event is None else (event,),
        flip_against=bar.flip,
        opposite_share_high=bar.flip,
    )
    rails = DENIED if bar.denied else CALM
    given: dict[str, Any] = {"rails": rails, **changes}
    return snapshot(side, price, now=at + 2 * SECOND, view=view, **given)


def decided(
    market: Sequence[Bar],
    side: Side = Side.BUY,
    *,
    policy: Policy = POLICY,
    broker: Broker | None = None,
    change: Callable[[Snapshot], Snapshot] = lambda snap: snap,
    **first: Any,
) -> Iterator[tuple[Trade, Verdict, Snapshot]]:
    """Yield the trade after each bar, with its verdict; the ride ends with the trade, or where its stop is hit."""
    trade = make_trade(side=side, bars_in_state=2, bars_since_registration=0, registered_at=T0, **first)
    hand = Broker(policy=policy) if broker is None else broker
    at = int(T0)
    for bar in market:
        at += bar.gap * BAR
        snap = change(seen(bar, side, at))
        if snap.quote is None or not trade.is_open:
            return
        hit = trade.stop is not None and side * (snap.quote.executable(side) - trade.stop) <= 0
        if hit:
            snap = replace(snap, gone=True)
        assert snap.view is not None
        trade = machine.observe(trade, snap.view)
        trade, verdict = hand.decide(trade, snap)
        yield trade, verdict, snap

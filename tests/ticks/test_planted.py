"""Bad ticks planted into recorded ones never move a stop at the broker: the same ride, once clean and once planted."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from tests.ticks.drive import ATR, Bad, Ride, recorded

from dtms.domain.market import Quote
from dtms.domain.units import Millis, Side
from dtms.errors import InvalidDataError

WAYS = {Side.BUY: (200, 13_000), Side.SELL: (515_064, 12_000)}
"""Where a position of each side earned something: the night of the 5th of May 2014, and the fall of the 7th."""


def nothing(_dice: random.Random, _tick: Quote, _last: Quote) -> tuple[Bad, ...]:
    return ()


def moved(tick: Quote, by: float, later: int = 0) -> Quote:
    return replace(tick, at=Millis(tick.at + later), bid=round(tick.bid + by, 2), ask=round(tick.ask + by, 2))


def spike(dice: random.Random, tick: Quote, last: Quote) -> tuple[Bad, ...]:
    """One tick far away, up or down, and the same one looked at again."""
    size = dice.choice((5.1 * ATR, 10 * ATR, 100.0, 99 * tick.bid)) * dice.choice((-1, 1))
    if size <= -tick.bid:
        size = -0.99 * tick.bid
    base = max(tick.bid, last.bid) if size > 0 else min(tick.bid, last.bid)
    far = moved(tick, base - tick.bid + size, dice.randrange(40))
    return (far, far)


def widened(dice: random.Random, tick: Quote, _last: Quote) -> tuple[Bad, ...]:
    """The spread of a rollover, on the side of the ask."""
    return (replace(tick, at=Millis(tick.at + 3), ask=round(tick.ask + dice.uniform(20, 60) * 0.2, 2)),)


def doubled(dice: random.Random, tick: Quote, _last: Quote) -> tuple[Bad, ...]:
    """The tick again, and one of its instant that is far away."""
    return (tick, moved(tick, dice.choice((-1, 1)) * dice.uniform(6.1, 50)), tick)


def backward(dice: random.Random, _tick: Quote, last: Quote) -> tuple[Bad, ...]:
    """Ticks from before the last one, at any price."""
    return tuple(
        moved(last, dice.uniform(-30, 30), -later)
        for later in sorted(dice.choices(range(1, 90_000), k=4), reverse=True)
    )


def ahead(dice: random.Random, tick: Quote, _last: Quote) -> tuple[Bad, ...]:
    """A tick from a clock that is far ahead."""
    return (moved(tick, dice.uniform(-3, 3), dice.choice((121_000, 3_600_000))),)


def no_price(_dice: random.Random, tick: Quote, _last: Quote) -> tuple[Bad, ...]:
    """What the adapter says of zero, negative, NaN, infinite and crossed prices."""
    return (InvalidDataError(f"quote of {tick.symbol} at {tick.at}: not finite, positive and bid <= ask"),)


def foreign(_dice: random.Random, tick: Quote, _last: Quote) -> tuple[Bad, ...]:
    """Another symbol's price."""
    return (replace(moved(tick, 2.0, 5), symbol="EURUSD"),)


PLANTS = (spike, widened, doubled, backward, ahead, no_price, foreign)


def mixed(dice: random.Random, tick: Quote, last: Quote) -> tuple[Bad, ...]:
    return dice.choice(PLANTS)(dice, tick, last)


@cache
def ticks_of(folder: Path, side: Side) -> list[Quote]:
    return recorded(folder, *WAYS[side])


@cache
def clean(folder: Path, side: Side) -> Ride:
    ride = Ride(side)
    ride.run(ticks_of(folder, side), nothing, seed=1)
    return ride


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_the_clean_ride_moves_its_stop_often(shared_data: Path, side: Side) -> None:
    stops = [stop for stop in clean(shared_data, side).stops if stop is not None]
    assert len(stops) >= 5
    assert stops == sorted(stops, reverse=side is Side.SELL)


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@pytest.mark.parametrize("plant", [*PLANTS, mixed], ids=lambda plant: plant.__name__)
def test_what_is_planted_never_moves_a_stop(shared_data: Path, side: Side, plant: object) -> None:
    assert callable(plant)
    ride = Ride(side)
    ride.run(ticks_of(shared_data, side), plant, seed=1)
    assert ride.planted > 100
    assert (ride.stops, ride.ended) == (clean(shared_data, side).stops, clean(shared_data, side).ended)


def with_gaps(ticks: list[Quote]) -> list[Quote]:
    """Take out thirty pieces of the recording, of 6 to 90 seconds each."""
    dice = random.Random(7)
    kept, until = [], 0
    starts = sorted(dice.sample(range(1_000, len(ticks)), 30))
    for place, tick in enumerate(ticks):
        if starts and place >= starts[0]:
            starts.pop(0)
            until = tick.at + dice.randrange(6_000, 90_000)
        if tick.at >= until:
            kept.append(tick)
    return kept


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_a_spike_that_is_the_first_tick_after_a_gap_moves_no_stop(shared_data: Path, side: Side) -> None:
    ticks = with_gaps(ticks_of(shared_data, side))
    rides = [Ride(side), Ride(side)]
    for ride, plant in zip(rides, (nothing, spike), strict=True):
        ride.run(ticks, plant, seed=3)
    bare, planted = rides
    assert planted.after_gaps >= 15
    assert len(bare.stops) >= 3
    assert (planted.stops, planted.ended) == (bare.stops, bare.ended)


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_without_the_checks_the_same_spikes_move_the_stop(shared_data: Path, side: Side) -> None:
    ride = Ride(side, checked=False)
    ride.run(ticks_of(shared_data, side), spike, seed=1)
    assert (ride.stops, ride.ended) != (clean(shared_data, side).stops, clean(shared_data, side).ended)

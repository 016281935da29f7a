"""The quantiser as a machine: one position whose stop is moved and whose volume is reduced through `Instrument` alone."""

from __future__ import annotations

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.machines.sizes import sized

from dtms.domain.instrument import AssetClass, Instrument
from dtms.domain.units import Side

GRIDS = ((5, 0.00001), (3, 0.001), (2, 0.01), (2, 0.25), (1, 0.1), (1, 0.5), (0, 1.0), (2, 0.05))
STEPS = ((0.01, 0.01), (0.1, 0.1), (1.0, 1.0), (0.001, 0.001), (0.05, 0.01), (0.1, 0.02), (0.5, 0.25))
NOISE = st.sampled_from((0.0, 2.3e-16, -2.3e-16, 5e-16, -5e-16))
"""What binary fractions leave over in a price: no reason to move a tick."""

MOST_STEPS = 1e12
"""Far beyond any real price in ticks: from 1e9 on the grid's tolerance follows a double's own noise."""


class Quantiser(RuleBasedStateMachine):
    """A position on grids that brokers have."""

    @initialize(
        grid=st.sampled_from(GRIDS), step=st.sampled_from(STEPS), side=st.sampled_from(Side), lots=st.integers(1, 4_000)
    )
    def begin(self, grid: tuple[int, float], step: tuple[float, float], side: Side, lots: int) -> None:
        digits, tick = grid
        least, volume_step = step
        self.side = side
        self.instrument = Instrument(
            symbol="X",
            canonical="X",
            asset=AssetClass.OTHER,
            digits=digits,
            point=10.0**-digits,
            tick_size=tick,
            contract_size=1.0,
            value_per_unit=1.0,
            volume_min=least,
            volume_max=1e6,
            volume_step=volume_step,
        )
        self.volume = self.instrument.lots_down(least + lots * volume_step)
        self.first = self.volume
        self.closed = 0.0
        self.wanted = 900.0
        self.stop = self.instrument.stop(side, self.wanted)

    @rule(price=st.floats(1.0, 2e5), noise=NOISE)
    def move_the_stop(self, price: float, noise: float) -> None:
        """Put the stop where a rule wants it."""
        self.wanted = min(price, MOST_STEPS * self.instrument.tick_size) * (1 + noise)
        self.stop = self.instrument.stop(self.side, self.wanted)

    @rule(ticks=st.integers(-500, 500), noise=NOISE)
    def move_by_ticks(self, ticks: int, noise: float) -> None:
        """Put the stop a whole number of ticks away, with the noise of floats: it must land there exactly."""
        before = self.stop
        target = before + ticks * self.instrument.tick_size
        if not 0 < target <= MOST_STEPS * self.instrument.tick_size:
            return
        self.wanted = target * (1 + noise)
        self.stop = self.instrument.stop(self.side, self.wanted)
        assert self.instrument.same_price(self.stop, target)

    @rule(share=st.floats(0.01, 0.99))
    def reduce(self, share: float) -> None:
        """Take a share off, rounded down, unless too little would be left or taken."""
        off = self.instrument.lots_down(self.volume * share)
        left = self.instrument.lots_down(self.volume - off)
        assert off <= self.volume * share + 1e-9
        if off <= 0 or left <= 0:
            return
        assert self.instrument.tradable(off)
        assert self.instrument.tradable(left)
        assert self.instrument.same_lots(off + left, self.volume)
        self.closed += off
        self.volume = left

    @rule()
    def ask_again(self) -> None:
        """What was rounded is left where it is, however often."""
        assert self.instrument.stop(self.side, self.stop) == self.stop
        assert self.instrument.nearest(self.stop) == self.stop
        assert self.instrument.lots_down(self.volume) == self.volume

    @invariant()
    def the_stop_never_means_a_larger_loss(self) -> None:
        if not hasattr(self, "instrument"):
            return
        tick = self.instrument.tick_size
        away = self.side * (self.stop - self.wanted)
        assert -1e-5 * tick <= away + 1e-9 * self.wanted
        assert away < tick * (1 + 1e-5) + 1e-9 * self.wanted

    @invariant()
    def the_stop_is_on_the_grid(self) -> None:
        if hasattr(self, "instrument"):
            steps = self.stop / self.instrument.tick_size
            assert abs(steps - round(steps)) < 1e-3
            assert math.isclose(round(self.stop, self.instrument.digits), self.stop, abs_tol=1e-12)

    @invariant()
    def no_volume_comes_from_nowhere(self) -> None:
        if hasattr(self, "instrument"):
            assert 0 < self.volume <= self.first
            assert self.volume >= self.instrument.volume_min - 1e-9
            assert math.isclose(self.volume + self.closed, self.first, abs_tol=0.4 * self.instrument.volume_step)


def test_whatever_is_asked_stops_round_away_from_danger_and_volumes_down() -> None:
    run_state_machine_as_test(Quantiser, settings=sized(150, 30))

"""The rig of the app's tests on a machine whose wall clock is set, that sleeps and boots; the market's time runs on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.app.rig import T0, Rig

from dtms.adapters.clocks import AnchoredClock, MemoryAnchor, VirtualClock
from dtms.bootstrap import Parts
from dtms.domain.modes import Cause
from dtms.domain.trade import Trade
from dtms.domain.units import MINUTE, Millis
from dtms.ports.clock import Clock


class RigMachine:
    """A machine beside the rig's true time. Fulfils `Machine`."""

    def __init__(self, true: VirtualClock) -> None:
        self._true = true
        self.wall_shift = 0
        self.slept = 0
        self.booted = T0 - 3_600_000

    def wall_now(self) -> Millis:
        return Millis(self._true.now + self.wall_shift)

    def boot_ns(self) -> int:
        return (self._true.now - self.booted) * 1_000_000

    def awake_ns(self) -> int:
        return self.boot_ns() - self.slept * 1_000_000

    def boot_id(self) -> str:
        return str(self.booted)


class WallClock:
    """What the market's clock must not be: the wall clock. For showing that a jump would be seen."""

    def __init__(self, machine: RigMachine) -> None:
        self._machine = machine

    def market_now(self) -> Millis:
        return self._machine.wall_now()

    def wall_now(self) -> Millis:
        return self._machine.wall_now()

    def boot_ns(self) -> int:
        return self._machine.boot_ns()


class TimeRig(Rig):
    """Every service of one account over an anchored clock."""

    def __init__(self, *, follows_wall: bool = False, **given: Any) -> None:
        self.anchor = MemoryAnchor()
        self.follows_wall = follows_wall
        self._machine: RigMachine | None = None
        super().__init__(**given)

    @property
    def machine(self) -> RigMachine:
        if self._machine is None:
            self._machine = RigMachine(self.clock)
        return self._machine

    @property
    def parts(self) -> Parts:
        base = super().parts
        if self.follows_wall:
            clock: Clock = WallClock(self.machine)
            return replace(base, clock=clock)
        anchored = AnchoredClock(self.anchor, self.machine)
        return replace(base, clock=anchored, anchor=anchored)

    def market_now(self) -> Millis:
        """What the server takes for the market's instant."""
        return self.server.monitor.clock.market_now()

    def causes(self) -> frozenset[Cause]:
        return self.server.monitor.modes.active()

    def suspend(self, seconds: float) -> None:
        self.wait(seconds)
        self.machine.slept += round(seconds * 1_000)

    def warned(self) -> Trade:
        """Return a trade in WARNING_L2 whose deadline comes in half an hour."""
        trade = self.fall(self.managed(), -2.0, -4.0)
        assert trade.deadline is not None
        self.clock.now = Millis(trade.deadline - 30 * MINUTE)
        self.price(2_000.0)
        self.settle()
        return self.trade(trade.ticket)

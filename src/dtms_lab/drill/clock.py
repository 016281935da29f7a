"""The drill's clock: the market's time runs on, the wall clock may step, the boot-time clock begins anew with a reboot."""

from __future__ import annotations

from dataclasses import dataclass

from dtms.domain.units import Millis

_NS_A_MS = 1_000_000


@dataclass(slots=True)
class DrillClock:
    """Fulfils `Clock` for the world outside, and `Machine` for the processes: each anchors its own clock to it."""

    now: Millis
    wall_shift: int = 0
    booted: int = 0
    slept: int = 0

    def market_now(self) -> Millis:
        """Return the market's instant."""
        return self.now

    def wall_now(self) -> Millis:
        """Return what the wall clock shows."""
        return Millis(self.now + self.wall_shift)

    def boot_ns(self) -> int:
        """Return nanoseconds since the last boot."""
        return (self.now - self.booted) * _NS_A_MS

    def awake_ns(self) -> int:
        """Return nanoseconds since the last boot, without those slept through."""
        return self.boot_ns() - self.slept * _NS_A_MS

    def boot_id(self) -> str:
        """Return a word that is another one after each boot."""
        return str(self.booted)

    def reboot(self) -> None:
        """Boot: the boot-time clock begins anew, and the time service has set the wall clock."""
        self.booted, self.wall_shift, self.slept = self.now, 0, 0

    def suspend(self, seconds: float) -> None:
        """Let time pass asleep."""
        before = self.now
        self.sleep(seconds)
        self.slept += self.now - before

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now = Millis(round(self.now + seconds * 1_000))

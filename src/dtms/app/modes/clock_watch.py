"""Watches the machine's clocks on each pass: a wall clock that was set, a machine that slept.

The market's clock does not follow a step (`Anchor`), so no trigger can fire from one. Beside that whatever depends on time
is held back for one whole pass, and after a sleep every quote is stale until a new one comes: what happened meanwhile is
reconciled before anything is decided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from dtms.domain.modes import Cause
from dtms.domain.units import Millis
from dtms.ports.causes import Causes
from dtms.ports.clock import Anchor, Clock

STEP_MS: Final = 500
"""The wall clock was set where it moved against boot-time by more than this between two looks (reliability.md 5)."""

SLEEP_NS: Final = 1_000_000_000
"""The machine slept where boot-time ran on by more than this while the other clock stood."""

_NS_A_MS: Final = 1_000_000
_RIGHT: Final = (
    "where the new time is the right one: stop dtms, delete clock-anchor.json in the data folder, start again"
)


class Jump(Enum):
    """What a look at the clocks found."""

    NONE = auto()
    STEPPED = auto()
    SLEPT = auto()


@dataclass(frozen=True, slots=True)
class _Seen:
    wall: Millis
    boot_ns: int
    awake_ns: int


class ClockWatch:
    """Looks at the clocks of one process.

    Args:
        clock: What the process goes by.
        causes: Told of steps and sleeps.
        anchor: What ties the market's clock to the machine; None on a tape and on virtual time.
        on_sleep: Called once for each sleep, before anything else is done.

    Attributes:
        frozen: Whether what depends on time is to wait: since a jump, until a whole pass.
        steps, sleeps: How many were found.
    """

    def __init__(
        self,
        clock: Clock,
        causes: Causes,
        *,
        anchor: Anchor | None = None,
        on_sleep: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._causes = causes
        self._anchor = anchor
        self._on_sleep = on_sleep
        self._last: _Seen | None = None
        self.frozen = False
        self.steps = 0
        self.sleeps = 0

    def look(self) -> Jump:
        """Compare the clocks with the last look; to be called at the beginning of each pass."""
        if self._anchor is not None:
            self._anchor.refresh()
        boot_ns = self._clock.boot_ns()
        awake_ns = boot_ns if self._anchor is None else self._anchor.awake_ns()
        seen = _Seen(self._clock.wall_now(), boot_ns, awake_ns)
        last, self._last = self._last, seen
        if last is None:
            self._say_off()
            return Jump.NONE
        passed_ns = seen.boot_ns - last.boot_ns
        slept_ns = passed_ns - (seen.awake_ns - last.awake_ns)
        if passed_ns < 0:
            return self._slept("the boot-time clock began anew: every age counts as expired")
        if slept_ns > SLEEP_NS:
            return self._slept(f"the machine slept for {slept_ns / 1e9:.1f} s; what is known is as old")
        stepped = seen.wall - last.wall - passed_ns // _NS_A_MS
        if abs(stepped) > STEP_MS:
            self.steps += 1
            self.frozen = True
            self._causes.set(Cause.CLOCK_STEPPED, f"the wall clock was set by {stepped / 1e3:+.3f} s; {_RIGHT}")
            return Jump.STEPPED
        return Jump.NONE

    def passed(self) -> None:
        """Say that a whole pass was made since the look."""
        self.frozen = False
        self._causes.clear(Cause.SUSPENDED)
        if self._anchor is None or abs(self._anchor.off_by()) <= STEP_MS:
            self._causes.clear(Cause.CLOCK_STEPPED)

    def _slept(self, detail: str) -> Jump:
        self.sleeps += 1
        self.frozen = True
        self._on_sleep()
        self._causes.set(Cause.SUSPENDED, detail)
        return Jump.SLEPT

    def _say_off(self) -> None:
        """Tell of a step that was before this process began."""
        off = 0 if self._anchor is None else self._anchor.off_by()
        if abs(off) > STEP_MS:
            self._causes.set(Cause.CLOCK_STEPPED, f"the wall clock is {off / 1e3:+.3f} s from the market's; {_RIGHT}")

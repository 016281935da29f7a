"""What must hold once all trouble has ended and the system has come to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtms.domain.units import Millis

if TYPE_CHECKING:
    from dtms.sim.drill.world import World


def converged(world: World) -> Millis | None:
    """Return the instant at which the system is at rest: now, or when something that waits comes due; None: not yet."""
    watch = world.watch
    if watch.unfinished or not world.operator.at_rest:
        return None
    waiting = [trade.pending.retry_at for trade in watch.trades if trade.pending is not None]
    if any(at is None for at in waiting):
        return None
    return max([at for at in waiting if at is not None], default=world.clock.now)


def last_checks(world: World) -> None:
    """Check the end of a run."""
    if world.watch.unfinished:
        world.watch.report("I2 nothing lost", f"unfinished at the end: {world.watch.unfinished[0]}")

"""I16, progress: each armed trade is decided on each bar, and where the work is not done the mode says so.

What is judged is what a person relies on: the trades on the disk, the mode that the disk and the process itself tell, and
whether the gateway compared everything anew after a pass that failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dtms.app.journal.mode_facts import read_modes
from dtms.app.modes.keeper import ModeKeeper
from dtms.app.reconcile.outcome import last_outcome
from dtms.core.modes import mode_of, worst
from dtms.domain.modes import Mode
from dtms.domain.trade import Hold, Owner, Trade
from dtms.domain.units import MINUTE, SECOND, Millis
from dtms.errors import LedgerError
from dtms_lab.drill.processes import DtmsServer, Gateway
from dtms_lab.drill.script import BAR

if TYPE_CHECKING:
    from dtms_lab.drill.world import World

TWICE: Final = 2
FAILING_MS: Final = 5 * SECOND
STARTING_MS: Final = 31 * SECOND
"""A start waits for the others; after half a minute it is a failing one."""

CALLED_MS: Final = 90 * SECOND
"""Of time in which the server could work: a minute to call somebody in, and a process may miss a few turns."""

COMPARED_MS: Final = 12 * SECOND
_WHOLE_PASSES: Final = 3
_SETTLED_MS: Final = 15 * SECOND
_STEP_S: Final = 5.0
_A_STEP_MS: Final = 2 * SECOND


@dataclass(slots=True)
class _Failing:
    """The passes of one process that have failed running, and the whole ones since the last of them."""

    process: Gateway | DtmsServer
    count: int = 0
    since: Millis = Millis(0)
    failed_at: Millis | None = None
    whole: int = 0


@dataclass(slots=True)
class ProgressLaws:
    """Judges one run."""

    world: World
    _passes: dict[str, _Failing] = field(default_factory=dict)
    _behind: dict[str, int] = field(default_factory=dict)
    _compared: tuple[Millis, Millis] = (Millis(-1), Millis(-1))
    """What the last whole comparison says of its instant, and when it was first seen here."""

    def turn(self, process: Gateway | DtmsServer) -> Exception | None:
        """Let a process make its pass, and judge what came of it."""
        found = process.turn()
        now = self.world.clock.now
        kept = self._passes.get(process.who)
        if kept is None or kept.process is not process:
            kept = self._passes[process.who] = _Failing(process)
        if found is None:
            kept.count, kept.whole = 0, kept.whole + 1
        else:
            kept.since = now if kept.count == 0 else kept.since
            kept.count, kept.failed_at, kept.whole = kept.count + 1, now, 0
            self._not_green(kept, found)
        if isinstance(process, Gateway):
            self._is_compared(kept)
        return found

    def passed(self, able_ms: int) -> None:
        """Check, after a step in which the system could act for so long, that nobody is left undecided in silence."""
        server = self.world.server
        late = {trade.trade_id: trade for trade in self.world.record.open if self._late(trade)}
        step_ms = min(able_ms, _A_STEP_MS)
        self._behind = {trade_id: self._behind.get(trade_id, 0) + step_ms for trade_id in late}
        for trade_id, lasted in self._behind.items():
            if lasted > CALLED_MS and server is not None and self._mode(server) is Mode.NORMAL:
                detail = f"trade {trade_id} was not decided for {lasted / 1e3:.0f} s, and the mode said NORMAL"
                self.world.record.report("I16 called", detail, trade_id)

    def fault_free(self) -> None:
        """Let a stretch without any fault pass, with a closed bar in it: each armed trade is decided on that bar."""
        world = self.world
        ready = world.clock.now + _SETTLED_MS
        end = Millis((ready // BAR + 1) * BAR)
        armed = {trade.trade_id for trade in world.record.open}
        while world.clock.now < end + _SETTLED_MS and not world.record.found:
            world.calm_step(_STEP_S)
        for trade in world.record.open:
            behind = trade.last_bar is None or trade.last_bar < end
            if trade.trade_id in armed and behind and _is_armed(trade) and self._was_open(trade, end):
                detail = f"trade {trade.trade_id} was not decided on the bar of {end}, its last one is {trade.last_bar}"
                world.record.report("I16 decided", detail, trade.trade_id)

    def _late(self, trade: Trade) -> bool:
        """Say whether two bars with a market have ended since a trade was decided, or taken in."""
        now = self.world.clock.now
        last = max(trade.registered_at, trade.last_bar or trade.registered_at)
        return (
            _is_armed(trade) and now - last > 2 * BAR + _SETTLED_MS and self._was_open(trade, Millis(now - now % BAR))
        )

    def _was_open(self, trade: Trade, end: Millis) -> bool:
        hours = self.world.market.hours(trade.symbol)
        return hours.open_between(Millis(end - MINUTE), Millis(end + _SETTLED_MS)) == MINUTE + _SETTLED_MS

    def _not_green(self, kept: _Failing, error: Exception) -> None:
        patience = FAILING_MS if kept.process.recovered else STARTING_MS
        lasted = self.world.clock.now - kept.since
        if kept.count >= TWICE and lasted >= patience and self._mode(kept.process) is Mode.NORMAL:
            who = kept.process.who
            detail = f"{kept.count} passes of the {who} failed running ({error!r}), and the mode said NORMAL"
            self.world.record.report("I16 green", detail, who)

    def _is_compared(self, kept: _Failing) -> None:
        """A gateway whose pass has failed knows nothing any more, until it has compared everything."""
        now = self.world.clock.now
        with self.world.ground.disk.ledger.read() as tx:
            outcome = last_outcome(tx)
        if outcome is not None and outcome.full and outcome.at != self._compared[0]:
            self._compared = outcome.at, now
        failed_at = kept.failed_at
        if failed_at is None or kept.whole < _WHOLE_PASSES or now - failed_at < COMPARED_MS:
            return
        if self._compared[1] < failed_at:
            self.world.record.report("I16 compared", f"no whole comparison since the pass that failed at {failed_at}")
        kept.failed_at = None

    def _mode(self, process: Gateway | DtmsServer) -> Mode:
        """Return what a person is shown: the worse of what the process remembers and what the disk says."""
        keeper = _keeper(process)
        mine = () if keeper is None else tuple(told.cause for told in keeper.told())
        try:
            with self.world.ground.disk.ledger.read() as tx:
                return worst((mode_of(mine), read_modes(tx).mode))
        except LedgerError:
            return mode_of(mine)


def _keeper(process: Gateway | DtmsServer) -> ModeKeeper | None:
    if isinstance(process, DtmsServer):
        return process.server.monitor.modes
    return None if process.work is None else process.work.executor.modes


def _is_armed(trade: Trade) -> bool:
    return trade.is_open and trade.owner is not Owner.NONE and trade.hold is Hold.NONE

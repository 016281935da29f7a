"""What the server's application is made of, and the place where a simulation swaps one world for another."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from dtms.app.commands.registry import Registry
from dtms.app.defence.monitor import Monitor
from dtms.app.views.queries import Sight, TradeQueries
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger
from dtms.services.server.board import TradeBoard
from dtms.services.server.status import ActionCounts
from dtms.services.web.health import ReadyReport
from dtms.services.web.offload import Offload, Sleep

WaitUntil = Callable[[Callable[[], bool], float], Awaitable[bool]]
"""Waits until a blocking question is answered yes, at most so many seconds; returns the last answer."""

POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerParts:
    """One world: ledger, brain and broker of one account.

    Attributes:
        ledger: Where everything stands.
        clock: The market's and the machine's.
        monitor: The brain; its book of open trades answers /dtms/states.
        registry: Takes trades in and lets them go.
        sight: What was last seen of the broker; never waits.
        ready: Whether the service can do its work, for the health paths; may block.
        recovered: Whether recovery has ended; until then no answer about a trade is given.
        wait_until: How the gateway's work is waited for.
        lock: Held by whoever uses the market desk: the monitor's passes and registrations take turns.
        wake: Asks for a pass at once.
        advisory: Whether this account is only observed.
        policy_digest: Names the default policy.
    """

    ledger: Ledger
    clock: Clock
    monitor: Monitor
    registry: Registry
    sight: Sight
    ready: Callable[[], ReadyReport]
    recovered: Callable[[], bool]
    wait_until: WaitUntil
    lock: threading.Lock = field(default_factory=threading.Lock)
    wake: Callable[[], None] = lambda: None
    advisory: bool = False
    policy_digest: str = ""


class Site:
    """The world behind an application. An application takes long to build: simulations build it once and `use` another."""

    def __init__(self, parts: ServerParts) -> None:
        self.use(parts)

    def use(self, parts: ServerParts) -> None:
        """Answer for another world from now on; nothing of the last one is remembered."""
        self.parts = parts
        self.queries = TradeQueries(ledger=parts.ledger, clock=parts.clock, desk=parts.monitor.desk, sight=parts.sight)
        self.board = TradeBoard(self.queries, parts.clock, parts.ledger.epoch)
        self.actions = ActionCounts(parts.ledger)
        self.started_ns = parts.clock.boot_ns()


def polling(offload: Offload, sleep: Sleep, now_ns: Callable[[], int]) -> WaitUntil:
    """Return how a live service waits: it asks every 50 ms."""

    async def wait(question: Callable[[], bool], timeout_s: float) -> bool:
        end_ns = now_ns() + round(timeout_s * 1e9)
        while not await offload(question):
            if now_ns() >= end_ns:
                return False
            await sleep(POLL_S)
        return True

    return wait


def acting(act: Callable[[], object]) -> WaitUntil:
    """Return how a simulation waits: what would happen elsewhere meanwhile is done here and now."""

    async def wait(question: Callable[[], bool], timeout_s: float) -> bool:
        del timeout_s  # no time passes
        if not question():
            act()
        return question()

    return wait

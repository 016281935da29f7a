"""What the main API's application is made of, and the place where a simulation swaps one world for another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dtms.app.commands.opening import Opening
from dtms.app.commands.outbox import Outbox
from dtms.app.modes.kill_switch import KillSwitch
from dtms.app.views.queries import TradeQueries
from dtms.domain.policy import Policies
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger
from dtms.services.api.dtms_link import DtmsLink
from dtms.services.server.parts import WaitUntil
from dtms.services.web.health import ReadyReport

OPEN_TIMEOUT_S: Final = 12.0
"""How long POST /api/trades waits for the gateway: its longest send is 10 s (reliability.md section 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """One world.

    Attributes:
        ledger: Where everything stands.
        clock: The market's and the machine's.
        policies: For the profiles of the exit rules.
        opening: Plans what is opened.
        outbox: Registers what was opened.
        kill: The kill switch.
        queries: What is shown of trades.
        link: The way to the DTMS server.
        ready: Whether the service can do its work; may block.
        dtms: How the DTMS server was met last ("ok", "unreachable", "foreign", "unknown"); never blocks.
        wait_until: How the gateway's work is waited for.
        open_timeout_s: For how long.
    """

    ledger: Ledger
    clock: Clock
    policies: Policies
    opening: Opening
    outbox: Outbox
    kill: KillSwitch
    queries: TradeQueries
    link: DtmsLink
    ready: Callable[[], ReadyReport]
    dtms: Callable[[], str]
    wait_until: WaitUntil
    open_timeout_s: float = OPEN_TIMEOUT_S


class ApiSite:
    """The world behind an application. An application takes long to build: simulations build it once and `use` another."""

    def __init__(self, parts: ApiParts) -> None:
        self.parts = parts

    def use(self, parts: ApiParts) -> None:
        """Answer for another world from now on."""
        self.parts = parts

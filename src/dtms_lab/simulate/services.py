"""The three processes of an installation in one, on virtual time: what each thread runs live is run here in turn.

A pass is the one that runs live, with what is done about its failures; it is tried again after the pause that it has live.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from starlette.types import ASGIApp

from dtms import bootstrap
from dtms.adapters.clocks import VirtualClock
from dtms.app.commands.registry import Registry
from dtms.app.defence.cycle import MonitorPass
from dtms.app.exits.cycle import ExitPass
from dtms.app.gateway.cycle import GatewayPass
from dtms.app.market.market_data import MarketData
from dtms.bootstrap import Exits, Parts
from dtms.client import StateCache
from dtms.domain.score import MarketView
from dtms.domain.trade import Trade
from dtms.domain.units import SECOND, Millis
from dtms.domain.verdict import Refusal, Verdict
from dtms.errors import BrokerError, LedgerError, MarketDataError
from dtms.services.api.app import make_api_app
from dtms.services.api.live import simulated_parts as simulated_api_parts
from dtms.services.api.loop import CYCLE_NS
from dtms.services.broker_child import TerminalLink
from dtms.services.gateway.main import next_epoch
from dtms.services.server.live import make_simulated_app, simulated_parts
from dtms.services.server.parts import Site
from dtms.services.server.sight import LastSeenReads
from dtms.services.web.access import OneToken
from dtms.services.web.guard import Gate, loopback_policy
from dtms.services.web.offload import inline
from dtms_lab.simulate.wire import InProcessDtms

MAGIC = 20_010_800
SERVER_PORT = 8001
API_PORT = 8000
API_URL = f"http://127.0.0.1:{API_PORT}"
SERVER_URL = f"http://127.0.0.1:{SERVER_PORT}"
TOKEN = "simulated-simulated-simulated-simulated-sim"  # noqa: S105 - guards nothing
"""The bearer token inside a simulation: it protects nothing, the same guard is just passed the same way."""

MOST_ROUNDS: Final = 20
PERIODIC: Final = 30 * SECOND
"""A service that has nothing new to look at looks all the same so often."""

_EXITS_AGAIN_S: Final = CYCLE_NS / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Whoever listens to what the services decide."""

    verdict: Callable[[Verdict, MarketView | None], None] = lambda _verdict, _view: None
    deferral: Callable[[Trade], None] = lambda _trade: None
    refusal: Callable[[Refusal], None] = lambda _refusal: None


@dataclass(frozen=True, slots=True)
class Failure:
    """A pass that failed, and on what; `own` where that is a fault of ours and no trouble outside."""

    at: Millis
    who: str
    error: Exception

    @property
    def own(self) -> bool:
        """Say whether nothing outside explains it."""
        return not isinstance(self.error, LedgerError | BrokerError | MarketDataError)


@dataclass(slots=True, kw_only=True)
class Services:
    """Gateway, DTMS server and main API over one ledger and one broker.

    Attributes:
        failures: The passes that failed, oldest first.
    """

    clock: VirtualClock
    desk: MarketData
    registry: Registry
    gateway: GatewayPass
    defence: MonitorPass
    exits: Exits
    dtms: InProcessDtms
    api: ASGIApp
    failures: list[Failure] = field(default_factory=list)
    _again_at: Millis | None = None
    _gateway_at: Millis = field(default=Millis(0))
    _gateway_saw: int = -1

    def turn(self) -> None:
        """Let each run, until nothing changes any more at this instant."""
        self._again_at = None
        self._run("dtms-server", self.defence)
        self.dtms.push(self.exits.client, self.clock.boot_ns())
        self._run("dtms-api", self.exits.work)
        for _ in range(MOST_ROUNDS):
            if not self._gateway_is_due():
                break
            self._run("dtms-gateway", self.gateway)
            self._gateway_at, self._gateway_saw = self.clock.now, self.gateway.ledger.revision()
            if not self.gateway.changed:
                break
            self._run("dtms-server", self.defence)

    def next_wake(self) -> Millis | None:
        """Return the next instant at which one may have something to do without a new quote, None where there is none."""
        wanted = self.defence.monitor.next_wake()
        again = self._again_at
        return min((at for at in (wanted, again) if at is not None), default=None)

    def _gateway_is_due(self) -> bool:
        """Return whether the gateway may have something to do: a pass that would find nothing new is skipped for a while."""
        if self.clock.now - self._gateway_at >= PERIODIC or self._again_at is not None:
            return True
        page = self.gateway.executor.book.page()
        return page.revision != self._gateway_saw or bool(page.unfinished) or bool(page.causes)

    def _run(self, who: str, work: GatewayPass | MonitorPass | ExitPass[StateCache]) -> None:
        error = work.run()
        if error is None:
            return
        self.failures.append(Failure(self.clock.now, who, error))
        pause_s = _EXITS_AGAIN_S if isinstance(work, ExitPass) else work.pause_s
        again = Millis(self.clock.now + round(pause_s * SECOND))
        self._again_at = again if self._again_at is None else min(self._again_at, again)


def start_services(parts: Parts, broker: TerminalLink, *, clock: VirtualClock, told: Told | None = None) -> Services:
    """Return the services, started and not yet recovered: that is their first turn.

    Args:
        parts: Ledger, policies, notifier, and `clock`.
        broker: The terminal, connected.
        clock: The time that is set.
        told: Whoever listens.
    """
    listener = Told() if told is None else told
    account = broker.connect().key
    executor = bootstrap.make_executor(parts, broker, broker, epoch=next_epoch(parts.ledger))
    reconciler = bootstrap.make_reconciler(
        parts, broker, account=account, magic=MAGIC, causes=executor.modes, book=executor.book
    )
    gateway = bootstrap.make_gateway_pass(parts, executor, reconciler, broker)
    seen = LastSeenReads(broker, clock.boot_ns)
    desk = bootstrap.make_desk(parts, seen, scored=False)
    server = bootstrap.make_server(parts, seen, desk, advisory=False, on_verdict=listener.verdict)
    lock = threading.RLock()
    defence = bootstrap.make_monitor_pass(parts, server.monitor, seen, lock=lock)
    site = Site(simulated_parts(parts, server, broker, act=gateway.run))
    app = make_simulated_app(site, gate=Gate(loopback_policy(SERVER_PORT), OneToken(TOKEN)))
    dtms = InProcessDtms(ledger=parts.ledger, app=app)
    api_parts = simulated_api_parts(
        parts, broker, desk, server=app, server_url=SERVER_URL, token=TOKEN, act=gateway.run
    )
    exits = bootstrap.make_exit_manager(
        parts,
        seen,
        desk,
        server_url=SERVER_URL,
        sleep=clock.sleep,
        transport=dtms,
        on_deferral=listener.deferral,
        on_refusal=listener.refusal,
    )
    return Services(
        clock=clock,
        desk=desk,
        registry=server.registry,
        gateway=gateway,
        defence=defence,
        exits=exits,
        dtms=dtms,
        api=make_api_app(api_parts, gate=Gate(loopback_policy(API_PORT), OneToken(TOKEN)), offload=inline),
    )

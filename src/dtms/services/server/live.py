"""The server put together: live over a gateway, and inside a simulation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp

from dtms import bootstrap
from dtms.bootstrap import Parts, Server
from dtms.domain.score import MarketView
from dtms.domain.verdict import Verdict
from dtms.ports.broker import BrokerReads
from dtms.services.server.app import make_server_app
from dtms.services.server.loop import MonitorLoop, Readiness
from dtms.services.server.parts import ServerParts, Site, acting, polling
from dtms.services.server.sight import DirectSight, LastSeenReads, SeenSight
from dtms.services.web.guard import Gate
from dtms.services.web.health import ReadyReport
from dtms.services.web.metrics import Metrics
from dtms.services.web.offload import in_thread, inline


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveServer:
    """What a process runs: the application on a socket, and the loop beside it.

    Start the loop, serve the application, stop the loop when serving has ended.
    """

    app: ASGIApp
    loop: MonitorLoop
    server: Server
    readiness: Readiness


def make_live_server(
    parts: Parts,
    reads: BrokerReads,
    *,
    gate: Gate,
    advisory: bool,
    metrics: Metrics | None = None,
    on_verdict: Callable[[Verdict, MarketView | None], None] = lambda _verdict, _view: None,
) -> LiveServer:
    """Return the DTMS server of one account, not yet running.

    Args:
        parts: Ledger, clock, policies and notifier.
        reads: The broker, by the gateway.
        gate: Host, Origin and token.
        advisory: Whether the account is only observed.
        metrics: Where requests are counted; one of its own when None.
        on_verdict: Told of every decision.
    """
    clock = parts.clock
    seen = LastSeenReads(reads, clock.boot_ns)
    desk = bootstrap.make_desk(parts, seen, scored=True)
    server = bootstrap.make_server(parts, seen, desk, advisory=advisory, on_verdict=on_verdict)
    lock = threading.Lock()
    work = bootstrap.make_monitor_pass(parts, server.monitor, seen, lock=lock)
    readiness = Readiness(work)
    loop = MonitorLoop(work)
    site = Site(
        ServerParts(
            ledger=parts.ledger,
            clock=clock,
            monitor=server.monitor,
            registry=server.registry,
            sight=SeenSight(seen),
            ready=readiness.report,
            recovered=lambda: readiness.recovered,
            wait_until=polling(in_thread, asyncio.sleep, clock.boot_ns),
            lock=lock,
            wake=loop.wake,
            advisory=advisory,
            policy_digest=parts.policies.default.digest,
        )
    )
    app = make_server_app(site, gate=gate, metrics=metrics)
    return LiveServer(app=app, loop=loop, server=server, readiness=readiness)


def simulated_parts(
    parts: Parts, server: Server, reads: BrokerReads, *, act: Callable[[], object], advisory: bool = False
) -> ServerParts:
    """Return one world of a simulation: ready from its first instant, and a broker that answers at once.

    Args:
        parts: Ledger, clock and policies.
        server: The brain, which the simulation wakes itself.
        reads: The broker in the same process.
        act: Lets the gateway's executor do what is planned.
        advisory: Whether the account is only observed.
    """
    return ServerParts(
        ledger=parts.ledger,
        clock=parts.clock,
        monitor=server.monitor,
        registry=server.registry,
        sight=DirectSight(reads),
        ready=lambda: ReadyReport(ready=True, dependencies={"simulation": "ok"}),
        recovered=lambda: True,
        wait_until=acting(act),
        advisory=advisory,
        policy_digest=parts.policies.default.digest,
    )


def make_simulated_app(site: Site, *, gate: Gate) -> ASGIApp:
    """Return the application on virtual time: no thread, no event loop. Swap its world by `site.use`."""

    async def no_wait(_seconds: float) -> None:
        """Let no time pass: event streams are not served here."""

    return make_server_app(site, gate=gate, offload=inline, sleep=no_wait)

"""The main API put together: live over a gateway, and inside a simulation."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import requests
from starlette.types import ASGIApp

from dtms import bootstrap
from dtms.app.commands.opening import Opening
from dtms.app.commands.outbox import Outbox, Registrar
from dtms.app.market.market_data import MarketData
from dtms.app.modes.kill_switch import KillSwitch
from dtms.app.views.queries import Sight, TradeQueries
from dtms.bootstrap import Exits, Parts
from dtms.ports.broker import BrokerReads
from dtms.services.api.app import make_api_app
from dtms.services.api.dtms_link import DtmsLink
from dtms.services.api.feed import FeedReader, StateFeed, http_feed
from dtms.services.api.loop import LOOK_S, ApiReadiness, DtmsWatch, ExitPace, Periodic, look_at_broker
from dtms.services.api.parts import ApiParts
from dtms.services.api.registrar import HttpRegistrar
from dtms.services.server.parts import WaitUntil, acting, polling
from dtms.services.server.sight import DirectSight, LastSeenReads, SeenSight
from dtms.services.web.guard import Gate
from dtms.services.web.health import ReadyReport
from dtms.services.web.in_process import InProcessAdapter, InProcessTransport
from dtms.services.web.metrics import Metrics
from dtms.services.web.offload import in_thread

_KILL_EVERY_S = 0.5
_OUTBOX_EVERY_S = 1.0
_SIGHT_EVERY_S = 1.0
_DTMS_EVERY_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveApi:
    """What a process runs: the application on a socket, and the work beside it.

    Start, serve the application, stop when serving has ended.
    """

    app: ASGIApp
    exits: Exits
    pace: Periodic
    kill: KillSwitch
    loops: tuple[Periodic | StateFeed, ...]
    registrar: HttpRegistrar

    def start(self) -> None:
        """Begin the work beside the answers."""
        for loop in self.loops:
            loop.start()

    def stop(self) -> None:
        """End it; what is under way is finished first."""
        for loop in self.loops:
            loop.stop()
        self.registrar.close()


def make_live_api(
    parts: Parts,
    reads: BrokerReads,
    *,
    gate: Gate,
    server_url: str,
    token: str,
    advisory: bool,
    sentinel: Path | None = None,
    metrics: Metrics | None = None,
) -> LiveApi:
    """Return the main API of one account, not yet running.

    Args:
        parts: Ledger, clock, policies and notifier.
        reads: The broker, by the gateway.
        gate: Host, Origin and token.
        server_url: The DTMS server, on this host.
        token: What the DTMS server wants for writes.
        advisory: Whether the account is only observed.
        sentinel: The kill switch's file.
        metrics: Where requests are counted; one of its own when None.
    """
    clock, notifier = parts.clock, parts.notifier
    seen = LastSeenReads(reads, clock.boot_ns)
    desk = bootstrap.make_desk(parts, seen, scored=False)
    exits = bootstrap.make_exit_manager(parts, seen, desk, server_url=server_url, sleep=time.sleep, token=token)
    lock = threading.RLock()
    watch = DtmsWatch(exits.client, clock, notifier, relied_on=lambda: exits.manager.watches)
    readiness = ApiReadiness(
        ledger=parts.ledger,
        work=exits.work,
        seen=seen,
        clock=clock,
        dtms=lambda: watch.word,
        advisory=advisory,
    )
    http = httpx.AsyncClient(trust_env=False)
    registrar = HttpRegistrar(server_url, token=token)
    world = _parts(
        parts,
        seen,
        desk,
        registrar=registrar,
        link=DtmsLink(http, server_url, now_ns=clock.boot_ns, token=token),
        lock=lock,
        advisory=advisory,
        sentinel=sentinel,
        sight=SeenSight(seen),
        ready=readiness.report,
        dtms=lambda: watch.word,
        wait_until=polling(in_thread, asyncio.sleep, clock.boot_ns),
    )
    pace = ExitPace(exits.work, desk, clock, lock)
    works = (
        ("exits", pace.step, LOOK_S),
        ("kill-switch", world.kill.enforce, _KILL_EVERY_S),
        ("outbox", world.outbox.deliver_due, _OUTBOX_EVERY_S),
        ("sight", lambda: look_at_broker(seen), _SIGHT_EVERY_S),
        ("dtms-watch", watch.step, _DTMS_EVERY_S),
    )
    loops = tuple(Periodic(name, work, every_s=every_s, notifier=notifier) for name, work, every_s in works)
    feed = StateFeed(FeedReader(exits.client), http_feed(server_url, token=token))
    return LiveApi(
        app=make_api_app(world, gate=gate, metrics=metrics, on_end=http.aclose),
        exits=exits,
        pace=loops[0],
        kill=world.kill,
        loops=(*loops, feed),
        registrar=registrar,
    )


def simulated_parts(
    parts: Parts,
    reads: BrokerReads,
    desk: MarketData,
    *,
    server: ASGIApp,
    server_url: str,
    token: str,
    act: Callable[[], object],
    advisory: bool = False,
    sentinel: Path | None = None,
) -> ApiParts:
    """Return one world of a simulation: ready from its first instant, the DTMS server's application in the same process.

    Args:
        parts: Ledger, clock, policies and notifier.
        reads: The broker in the same process.
        desk: The market as the exit manager sees it.
        server: The DTMS server's application, or what stands in for it.
        server_url: Under which it is asked.
        token: What it wants for writes.
        act: Lets the gateway's executor do what is planned.
        advisory: Whether the account is only observed.
        sentinel: The kill switch's file.
    """
    session = requests.Session()
    session.mount(server_url, InProcessAdapter(server))
    http = httpx.AsyncClient(transport=InProcessTransport(server), trust_env=False)
    return _parts(
        parts,
        reads,
        desk,
        registrar=HttpRegistrar(server_url, token=token, session=session),
        link=DtmsLink(http, server_url, now_ns=parts.clock.boot_ns, token=token),
        lock=threading.RLock(),
        advisory=advisory,
        sentinel=sentinel,
        sight=DirectSight(reads),
        ready=lambda: ReadyReport(ready=True, dependencies={"simulation": "ok"}),
        dtms=lambda: "ok",
        wait_until=acting(act),
    )


def _parts(
    parts: Parts,
    reads: BrokerReads,
    desk: MarketData,
    *,
    registrar: Registrar,
    link: DtmsLink,
    lock: AbstractContextManager[object],
    advisory: bool,
    sentinel: Path | None,
    sight: Sight,
    ready: Callable[[], ReadyReport],
    dtms: Callable[[], str],
    wait_until: WaitUntil,
) -> ApiParts:
    opening = Opening(
        ledger=parts.ledger,
        reads=reads,
        clock=parts.clock,
        desk=desk,
        new_rails=lambda: bootstrap.make_rails(parts),
        lock=lock,
        advisory=advisory,
    )
    outbox = Outbox(
        ledger=parts.ledger,
        reads=reads,
        clock=parts.clock,
        policies=parts.policies,
        registrar=registrar,
        notifier=parts.notifier,
    )
    return ApiParts(
        ledger=parts.ledger,
        clock=parts.clock,
        policies=parts.policies,
        opening=opening,
        outbox=outbox,
        kill=KillSwitch(ledger=parts.ledger, clock=parts.clock, notifier=parts.notifier, sentinel=sentinel),
        queries=TradeQueries(ledger=parts.ledger, clock=parts.clock, desk=desk, sight=sight),
        link=link,
        ready=ready,
        dtms=dtms,
        wait_until=wait_until,
    )

"""The main API as a process: exit manager, proxies and dashboard over the gateway's reads and the ledger."""

from __future__ import annotations

from contextlib import ExitStack

from dtms.adapters.gateway_client import GatewayClient
from dtms.adapters.sql import open_ledger
from dtms.services.api.live import make_live_api
from dtms.services.api.loop import Periodic
from dtms.services.host import claimed, serve
from dtms.services.leasing import keep_place
from dtms.services.run_log import SAMPLE_EVERY_S, ExitLog
from dtms.services.watchdog import Watchdog, end_process
from dtms.services.wiring import (
    account_through_gateway,
    clock_of,
    gate_of,
    is_advisory,
    notifier_of,
    parts_of,
    sentinel_of,
    token_of,
)
from dtms.settings import Settings


def run(settings: Settings) -> None:
    """Run the main API until SIGTERM.

    Raises:
        SettingsError: The port or the ledger is taken, or a setting cannot be used; nothing was changed.
        BrokerUnavailableError: The gateway does not answer.
    """
    with (
        claimed(settings.host, settings.api_port, settings.data_dir, role="api", variable="DTMS_API_PORT") as bound,
        ExitStack() as ending,
    ):
        clock = clock_of(settings)
        gate = gate_of(settings, settings.api_port)
        gateway = GatewayClient(settings.gateway_url)
        ending.callback(gateway.close)
        account = account_through_gateway(settings, gateway)
        ledger = open_ledger(settings.ledger, account=account.key, clock=clock.market_now)
        ending.callback(ledger.close)
        notifier = notifier_of(settings, clock)
        ending.callback(notifier.close)
        keeper = keep_place(settings, ledger, "api", notifier)
        ending.callback(keeper.end)
        parts = parts_of(settings, clock, ledger, notifier, role="api")
        live = make_live_api(
            parts,
            gateway,
            gate=gate,
            server_url=settings.server_url,
            token=token_of(settings),
            advisory=is_advisory(settings, account.kind),
            sentinel=sentinel_of(settings),
        )
        counted = ExitLog(settings, lambda: live.exits.manager.stats)
        sampling = Periodic("run-log", counted.sample, every_s=SAMPLE_EVERY_S, notifier=notifier)
        ending.callback(counted.sample)
        keeper.start()
        live.start()
        parts.crash.reach("api.started")
        ending.callback(live.stop)
        sampling.start()
        ending.callback(sampling.stop)
        watchdog = Watchdog("api", "exit cycle", lambda: live.pace.runs, notifier, end_process)
        watchdog.start()
        ending.callback(watchdog.stop)
        serve(live.app, bound)
        keeper.require_place()
        watchdog.require_progress()

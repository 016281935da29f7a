"""The DTMS server as a process: its brain over the gateway's reads and the ledger, its answers on a loopback port."""

from __future__ import annotations

from contextlib import ExitStack

from dtms.adapters.gateway_client import GatewayClient
from dtms.adapters.sql import open_ledger
from dtms.services.host import claimed, serve
from dtms.services.leasing import keep_place
from dtms.services.run_log import VerdictLog
from dtms.services.server.live import make_live_server
from dtms.services.watchdog import Watchdog, end_process
from dtms.services.wiring import (
    account_through_gateway,
    clock_of,
    gate_of,
    is_advisory,
    notifier_of,
    pacemaker,
    parts_of,
)
from dtms.settings import Settings


def run(settings: Settings) -> None:
    """Run the server until SIGTERM.

    Raises:
        SettingsError: The port or the ledger is taken, or a setting cannot be used; nothing was changed.
        BrokerUnavailableError: The gateway does not answer.
    """
    with (
        claimed(
            settings.host, settings.server_port, settings.data_dir, role="server", variable="DTMS_SERVER_PORT"
        ) as bound,
        ExitStack() as ending,
    ):
        clock = clock_of(settings)
        gate = gate_of(settings, settings.server_port)
        gateway = GatewayClient(settings.gateway_url)
        ending.callback(gateway.close)
        account = account_through_gateway(settings, gateway)
        ledger = open_ledger(settings.ledger, account=account.key, clock=clock.market_now)
        ending.callback(ledger.close)
        notifier = notifier_of(settings, clock)
        ending.callback(notifier.close)
        keeper = keep_place(settings, ledger, "server", notifier)
        ending.callback(keeper.end)
        live = make_live_server(
            parts_of(settings, clock, ledger, notifier, role="server"),
            gateway,
            gate=gate,
            advisory=is_advisory(settings, account.kind),
            on_verdict=VerdictLog(settings).on_verdict,
        )
        keeper.start()
        live.loop.start()
        ending.callback(live.loop.stop)
        # A loop that fails backs off: it is not woken then.
        ending.callback(pacemaker(settings, lambda: live.loop.wake() if live.loop.failures == 0 else None))
        watchdog = Watchdog("server", "monitor", lambda: live.loop.progress, notifier, end_process)
        watchdog.start()
        ending.callback(watchdog.stop)
        serve(live.app, bound)
        keeper.require_place()
        watchdog.require_progress()

"""The order gateway as a process: the only one that holds the broker, and the only code that sends."""

from __future__ import annotations

import importlib
import threading
import time
from contextlib import ExitStack
from typing import Any, Final

import structlog

from dtms import bootstrap
from dtms.adapters.mt5 import Mt5Broker, Mt5Sender
from dtms.adapters.sql import open_ledger
from dtms.adapters.terminal.remote import RemoteTerminal
from dtms.adapters.terminal.server_time import eet_new_york_dst
from dtms.errors import BrokerUnavailableError, SettingsError
from dtms.ports.clock import Clock
from dtms.ports.ledger import Ledger
from dtms.services.gateway.app import make_gateway_app
from dtms.services.gateway.loop import ExecutorLoop
from dtms.services.gateway.turns import TurnReads, TurnWrites
from dtms.services.host import claimed, serve
from dtms.services.wiring import clock_of, gate_of, is_advisory, notifier_of, parts_of
from dtms.settings import Settings

EPOCH_FACT: Final = "gateway_epoch"

BROKER_PATIENCE_S: Final = 20.0
"""How long a starting gateway waits for its terminal, which may be starting too."""

SEND_LIMIT_S: Final = 10.0
"""A call to the terminal that takes longer has an unknown outcome (reliability.md section 1, rule 9)."""

_log = structlog.get_logger("dtms.gateway")


def run(settings: Settings) -> None:
    """Run the gateway until SIGTERM.

    Raises:
        SettingsError: The port or the account is taken, or a setting cannot be used; nothing was changed.
        BrokerUnavailableError: No terminal answers.
    """
    clock = clock_of(settings)
    with (
        claimed(
            settings.host, settings.gateway_port, settings.data_dir, role="gateway", variable="DTMS_GATEWAY_PORT"
        ) as bound,
        ExitStack() as ending,
    ):
        gate = gate_of(settings, settings.gateway_port)
        broker = make_broker(settings, clock)
        ending.callback(broker.close)
        ledger = open_ledger(settings.ledger, account=_connected(broker), clock=clock.market_now)
        ending.callback(ledger.close)
        notifier = notifier_of(settings, clock)
        ending.callback(notifier.close)
        parts = parts_of(settings, clock, ledger, notifier)
        lock = threading.Lock()
        reads = TurnReads(broker, lock)
        writes = None if is_advisory(settings) else TurnWrites(Mt5Sender(broker), lock)
        executor = bootstrap.make_executor(parts, reads, writes, epoch=next_epoch(ledger))
        loop = ExecutorLoop(executor=executor, ledger=ledger, clock=clock, notifier=notifier)
        app = make_gateway_app(
            broker,
            ready=lambda: loop.report(reads.account),
            ledger=ledger,
            clock=clock,
            gate=gate,
            lock=lock,
        )
        loop.start()
        ending.callback(loop.stop)
        serve(app, bound)


def next_epoch(ledger: Ledger) -> int:
    """Return this start's fencing number: one more than the last start's, written before anything is sent."""
    with ledger.write() as tx:
        last = tx.fact(EPOCH_FACT)
        epoch = 1 if last is None else int(last) + 1
        tx.set_fact(EPOCH_FACT, str(epoch))
    return epoch


def make_broker(settings: Settings, clock: Clock) -> Mt5Broker:
    """Return the broker of this installation, not yet connected.

    Raises:
        SettingsError: MetaTrader 5 is asked for and not installed, or its account is not named.
    """
    simulated = settings.broker == "simulated"
    if not simulated and (settings.account is None or settings.server_name is None):
        msg = "broker mt5 needs the account that it must find: set DTMS_ACCOUNT (the login) and DTMS_SERVER_NAME"
        raise SettingsError(msg)
    return Mt5Broker(
        RemoteTerminal(settings.socket, timeout=SEND_LIMIT_S) if simulated else _metatrader(),
        expected_login=settings.account,
        expected_server=settings.server_name,
        magic=settings.magic,
        clock=clock.market_now,
        server_offset=eet_new_york_dst if simulated else None,
        simulated=simulated,
    )


def _metatrader() -> Any:
    try:
        return importlib.import_module("MetaTrader5")
    except ImportError as error:
        msg = "broker mt5 needs the MetaTrader5 package, which exists for Windows; install dtms[mt5] or set DTMS_BROKER"
        raise SettingsError(msg) from error


def _connected(broker: Mt5Broker) -> str:
    """Connect, waiting for a terminal that is starting; return the account's key."""
    end = time.monotonic() + BROKER_PATIENCE_S
    while True:
        try:
            return broker.connect().key
        except BrokerUnavailableError as error:
            if time.monotonic() >= end:
                raise
            _log.warning("waiting for the terminal", error=str(error))
            time.sleep(0.2)

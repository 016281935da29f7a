"""The order gateway as a process: the only one that holds the broker, and the only code that sends."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from random import Random
from typing import Final

import structlog

from dtms import bootstrap
from dtms.adapters.sql import SqlLedger, open_ledger, verify_chain
from dtms.app.gateway.server_offset import OffsetKeeper
from dtms.app.modes.keeper import ModeKeeper
from dtms.domain.modes import Cause
from dtms.domain.position import Account
from dtms.errors import BrokerUnavailableError, LedgerError, LedgerUnavailableError
from dtms.ports.ledger import Ledger
from dtms.services.gateway.app import make_gateway_app
from dtms.services.gateway.loop import ExecutorLoop
from dtms.services.gateway.way import BrokerConnection, way_of
from dtms.services.host import claimed, serve
from dtms.services.leasing import keep_gateway
from dtms.services.watchdog import Watchdog, end_process
from dtms.services.web.health import ReadyReport
from dtms.services.wiring import clock_of, gate_of, is_advisory, notifier_of, parts_of, sentinel_of
from dtms.settings import Settings

EPOCH_FACT: Final = "gateway_epoch"

NEWEST_LINKS: Final = 20_000
"""Audited at a start: some weeks of one account, in 0.2 s."""

BROKER_PATIENCE_S: Final = 20.0
"""How long a starting gateway waits for its terminal, which may be starting too."""

_log = structlog.get_logger("dtms.gateway")


def run(settings: Settings) -> None:
    """Run the gateway until SIGTERM.

    Raises:
        SettingsError: The port, the account or its ledger is taken, or a setting cannot be used; nothing was changed.
        BrokerUnavailableError: No terminal answers.
        FencedError: Another gateway took the account over; this one has ended.
        StalledError: The executor stood still; this process has ended for it.
    """
    with (
        claimed(
            settings.host, settings.gateway_port, settings.data_dir, role="gateway", variable="DTMS_GATEWAY_PORT"
        ) as bound,
        ExitStack() as ending,
    ):
        clock = clock_of(settings)
        way = way_of(settings, clock)
        gate = gate_of(settings, settings.gateway_port)
        ending.callback(way.close)
        account = _connected(way)
        ledger = open_ledger(settings.ledger, account=account.key, clock=clock.market_now)
        ending.callback(ledger.close)
        notifier = notifier_of(settings, clock)
        ending.callback(notifier.close)
        parts = parts_of(settings, clock, ledger, notifier, role="gateway")
        settle_s = parts.policies.default.operation.settle_s
        keeper, lease = keep_gateway(settings, ledger, clock, notifier, settle_s=settle_s)
        ending.callback(keeper.end)
        sender = way.writes if lease is None else way.leased(lease)
        executor = bootstrap.make_executor(
            parts,
            way.reads,
            None if is_advisory(settings, account.kind) else sender,
            epoch=next_epoch(ledger) if lease is None else lease.epoch,
            lease=None if lease is None else lease.name,
            sentinel=sentinel_of(settings),
            random=Random(),  # noqa: S311 - jitter, no secret
        )
        look_for_damage(ledger, executor.modes)
        reconciler = bootstrap.make_reconciler(
            parts, executor.reads, account=account.key, magic=settings.magic, causes=executor.modes, book=executor.book
        )
        loop = ExecutorLoop(
            bootstrap.make_gateway_pass(parts, executor, reconciler, way.offset, lease=lease, on_fenced=keeper.fence)
        )
        app = make_gateway_app(
            way.served,
            ready=lambda: _told(loop.report(way.reads.account), loop.work.offset),
            ledger=ledger,
            clock=clock,
            gate=gate,
        )
        keeper.start()
        loop.start()
        ending.callback(loop.stop)
        watchdog = Watchdog("gateway", "executor", lambda: loop.progress, notifier, end_process)
        watchdog.start()
        ending.callback(watchdog.stop)
        serve(app, bound)
        keeper.require_place()
        watchdog.require_progress()


def _told(report: ReadyReport, offset: OffsetKeeper) -> ReadyReport:
    """Add what is known of the server's clock: whether bars can be had, and by what they are dated."""
    return replace(report, details={**report.details, "server_clock": offset.words()})


def next_epoch(ledger: Ledger) -> int:
    """Return this start's fencing number: one more than the last start's, written before anything is sent."""
    with ledger.write() as tx:
        last = tx.fact(EPOCH_FACT)
        epoch = 1 if last is None else int(last) + 1
        tx.set_fact(EPOCH_FACT, str(epoch))
    return epoch


def look_for_damage(ledger: SqlLedger, modes: ModeKeeper) -> None:
    """Verify the newest links of the audit chain; a broken one halts the system. The file's own check was made at its opening.

    A start must not take longer each week: `dtms audit verify` walks the whole chain.
    """
    try:
        verify_chain(ledger, newest=NEWEST_LINKS)
    except LedgerUnavailableError:
        raise
    except LedgerError as error:
        modes.set(Cause.LEDGER_DAMAGED, str(error))
    else:
        modes.clear(Cause.LEDGER_DAMAGED)


def _connected(way: BrokerConnection) -> Account:
    """Connect, waiting for a terminal that is starting; return the account."""
    end = time.monotonic() + BROKER_PATIENCE_S
    while True:
        try:
            return way.connect()
        except BrokerUnavailableError as error:
            if time.monotonic() >= end:
                raise
            _log.warning("waiting for the terminal", error=str(error))
            time.sleep(0.2)

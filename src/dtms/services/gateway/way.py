"""The gateway's way to its broker: a library that may hang is kept in child processes, the simulated terminal is not.

MetaTrader 5 holds the interpreter's lock and has no time-out: two children under a watchdog, one that sends and one for the
reads that are served, so that nobody who reads waits behind an order that hangs. The simulated terminal is a process of
its own already, behind a socket with a time-out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from dtms.adapters.mt5 import Mt5Broker, Mt5Sender
from dtms.adapters.terminal.remote import RemoteTerminal
from dtms.adapters.terminal.server_time import eet_new_york_dst
from dtms.adapters.worker.broker import BrokerWorker
from dtms.adapters.worker.pin import AccountPin
from dtms.app.lease import LeasedWrites
from dtms.errors import SettingsError
from dtms.ports.broker import BrokerReads, BrokerWrites, GatewayReads
from dtms.ports.clock import Clock
from dtms.ports.lease import SendingRight
from dtms.services.broker_child import FACTORY, metatrader
from dtms.services.gateway.turns import TurnReads, TurnWrites
from dtms.services.wiring import anchor_of, on_sent
from dtms.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The broker as the gateway uses it.

    Attributes:
        served: The reads that are served over HTTP.
        reads: The executor's own.
        writes: The sender.
        leased: The same sender, which asks for the right to send with the link in its hand.
        lock: Under which `served` is asked; it is the executor's too where both share one link.
        connect: Connects and returns the account's key; `BrokerUnavailableError` where nobody answers.
        close: Leaves the broker.
    """

    served: BrokerReads
    reads: GatewayReads
    writes: BrokerWrites
    leased: Callable[[SendingRight], BrokerWrites]
    lock: threading.Lock
    connect: Callable[[], str]
    close: Callable[[], None]


def way_of(settings: Settings, clock: Clock) -> Way:
    """Return the way to this installation's broker, not yet connected.

    Raises:
        SettingsError: MetaTrader 5 is asked for and not installed, or its account is not named.
    """
    return _simulated(settings, clock) if settings.broker == "simulated" else _metatrader(settings, clock)


def _simulated(settings: Settings, clock: Clock) -> Way:
    broker = Mt5Broker(
        RemoteTerminal(settings.socket, timeout=settings.send_limit_s, on_sent=on_sent(settings, clock)),
        expected_login=settings.account,
        expected_server=settings.server_name,
        magic=settings.magic,
        clock=clock.market_now,
        server_offset=eet_new_york_dst,
        simulated=True,
    )
    lock = threading.Lock()
    sender = Mt5Sender(broker)
    return Way(
        served=broker,
        reads=TurnReads(broker, lock),
        writes=TurnWrites(sender, lock),
        leased=lambda right: TurnWrites(LeasedWrites(sender, right), lock),
        lock=lock,
        connect=lambda: broker.connect().key,
        close=broker.close,
    )


def require_account(settings: Settings) -> None:
    """Make sure that the broker's package is there and its account named.

    Raises:
        SettingsError: One of them is missing.
    """
    if settings.broker == "simulated":
        return
    if settings.account is None or settings.server_name is None:
        msg = "broker mt5 needs the account that it must find: set DTMS_ACCOUNT (the login) and DTMS_SERVER_NAME"
        raise SettingsError(msg)
    metatrader()  # here, where its absence is one sentence, before a child needs it


def _metatrader(settings: Settings, clock: Clock) -> Way:
    require_account(settings)
    return in_children(settings, clock, socket=None)


def in_children(settings: Settings, clock: Clock, *, socket: str | None) -> Way:
    """Return a way through two children; `socket` names a simulated terminal instead of MetaTrader 5, for tests."""
    key = None if settings.account is None else f"{settings.server_name}:{settings.account}"
    pin = AccountPin(key)
    args = {
        "account": settings.account,
        "server": settings.server_name,
        "magic": settings.magic,
        "socket": socket,
        "anchor_file": str(anchor_of(settings)),
        "clock_file": None if settings.clock_file is None else str(settings.clock_file),
    }
    reader, sender = (
        BrokerWorker(
            FACTORY,
            args,
            now_ns=clock.boot_ns,
            call_timeout_s=settings.send_limit_s,
            pin=pin,
            log=settings.data_dir / "log" / f"{name}.log",
        )
        for name in ("broker-reads", "broker-orders")
    )

    def connect() -> str:
        (settings.data_dir / "log").mkdir(mode=0o700, parents=True, exist_ok=True)
        sender.start()
        return reader.start().key

    def close() -> None:
        sender.close()
        reader.close()

    return Way(
        served=reader,
        reads=sender,
        writes=sender,
        leased=lambda right: LeasedWrites(sender, right),
        lock=threading.Lock(),
        connect=connect,
        close=close,
    )

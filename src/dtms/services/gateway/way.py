"""The gateway's one way to its broker: two children that hold the broker's module, under a watchdog.

The package holds the interpreter's lock and has no time-out: one child sends and one serves the reads, so that nobody who
reads waits behind an order that hangs. Which module the children import is a name in the settings and makes no other
difference: the simulated terminal stands in for that module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dtms.adapters.worker.broker import BrokerWorker
from dtms.adapters.worker.frames import JSON
from dtms.adapters.worker.pin import AccountPin
from dtms.app.gateway.lease import LeasedWrites
from dtms.domain.position import Account
from dtms.domain.server_offset import SeenOffset
from dtms.errors import SettingsError
from dtms.ports.broker import BrokerWrites, GatewayReads, OffsetSource, ServedReads
from dtms.ports.clock import Clock
from dtms.ports.lease import SendingRight
from dtms.services.broker_child import FACTORY, require_module
from dtms.services.wiring import anchor_of, on_carried
from dtms.settings import Settings, load_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConnection:
    """The broker as the gateway uses it.

    Attributes:
        served: The reads that are served over HTTP.
        reads: The executor's own.
        writes: The sender.
        leased: The same sender, which asks for the right to send with the link in its hand.
        offset: Who learns how far the server's clock is ahead: both children.
        connect: Connects and returns the account; `BrokerUnavailableError` where nobody answers.
        close: Leaves the broker.
    """

    served: ServedReads
    reads: GatewayReads
    writes: BrokerWrites
    leased: Callable[[SendingRight], BrokerWrites]
    offset: OffsetSource
    connect: Callable[[], Account]
    close: Callable[[], None]


def require_account(settings: Settings) -> None:
    """Make sure that the broker's module is there and its account named.

    Raises:
        SettingsError: One of them is missing.
    """
    if settings.broker == "mt5" and (settings.account is None or settings.server_name is None):
        msg = "broker mt5 needs the account that it must find: set DTMS_ACCOUNT (the login) and DTMS_SERVER_NAME"
        raise SettingsError(msg)
    require_module(settings.module)


class _BothOffsets:
    """The offset of both children: the reader looks at quotes, the sender at what the reader saw before it started."""

    def __init__(self, reader: BrokerWorker, sender: BrokerWorker) -> None:
        self._reader = reader
        self._sender = sender

    def seen_offset(self) -> SeenOffset | None:
        """Return what the reader has seen."""
        return self._reader.seen_offset()

    def recall_offset(self, last: SeenOffset) -> None:
        """Hand the last known offset to both."""
        self._reader.recall_offset(last)
        self._sender.recall_offset(last)


def way_of(settings: Settings, clock: Clock) -> BrokerConnection:
    """Return the way to this installation's broker, not yet connected.

    Raises:
        SettingsError: The module is not installed, or the account that it must find is not named.
    """
    require_account(settings)
    key = None if settings.account is None else f"{settings.server_name}:{settings.account}"
    pin = AccountPin(key)
    args: dict[str, JSON] = {
        "module": settings.module,
        "path": settings.terminal,
        "account": settings.account,
        "server": settings.server_name,
        "magic": settings.magic,
        "anchor_file": str(anchor_of(settings)),
        "clock_file": None if settings.clock_file is None else str(settings.clock_file),
        "aliases": dict(load_policy(settings.policy_file).aliases),
    }
    reader, sender = (
        BrokerWorker(
            FACTORY,
            args,
            now_ns=clock.boot_ns,
            call_timeout_s=settings.send_limit_s,
            pin=pin,
            on_carried=on_carried(settings, clock),
            log=settings.data_dir / "log" / f"{name}.log",
        )
        for name in ("broker-reads", "broker-orders")
    )

    def connect() -> Account:
        (settings.data_dir / "log").mkdir(mode=0o700, parents=True, exist_ok=True)
        sender.start()
        return reader.start()

    def close() -> None:
        sender.close()
        reader.close()

    return BrokerConnection(
        served=reader,
        reads=sender,
        writes=sender,
        leased=lambda right: LeasedWrites(sender, right),
        offset=_BothOffsets(reader, sender),
        connect=connect,
        close=close,
    )

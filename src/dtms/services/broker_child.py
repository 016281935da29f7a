"""What the broker's child process builds: reads and sender over one terminal link. Named, not imported, by the gateway.

Light to import, for an order may be waiting for a new child.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

from dtms.adapters.clocks import AnchoredClock, FileAnchor, TapeClock
from dtms.adapters.mt5 import Mt5Broker, Mt5Sender
from dtms.domain.action import Action
from dtms.domain.position import Position
from dtms.domain.receipt import Receipt
from dtms.errors import SettingsError

FACTORY: Final = "dtms.services.broker_child:build"


class TerminalLink(Mt5Broker):
    """Reads and sender of one account in one object, as a worker's child wants it."""

    def __init__(self, mt5: Any, **facts: Any) -> None:
        super().__init__(mt5, **facts)
        self._sender = Mt5Sender(self)

    def send(self, action: Action, *, position: Position | None, tag: str) -> Receipt:
        """Send one action and return the broker's answer."""
        return self._sender.send(action, position=position, tag=tag)


def build(
    *,
    account: int | None,
    server: str | None,
    magic: int,
    anchor_file: str,
    socket: str | None = None,
    clock_file: str | None = None,
) -> TerminalLink:
    """Return the link, not yet connected.

    Args:
        account: The login that must be found; None takes the first one seen.
        server: Its trade server, likewise.
        magic: The number under which this installation sends.
        anchor_file: Where the installation's anchor of the market's clock is kept: a child that starts later goes by it.
        socket: The simulated terminal's socket; None is MetaTrader 5 itself.
        clock_file: The tape's clock; None is the machine's.

    Raises:
        SettingsError: The MetaTrader5 package is not installed.
    """
    anchored = FileAnchor(Path(anchor_file))
    clock = AnchoredClock(anchored) if clock_file is None else TapeClock(Path(clock_file))
    facts: dict[str, Any] = {
        "expected_login": account,
        "expected_server": server,
        "magic": magic,
        "clock": clock.market_now,
    }
    if socket is None:
        return TerminalLink(metatrader(), **facts)
    from dtms.adapters.terminal.remote import RemoteTerminal
    from dtms.adapters.terminal.server_time import eet_new_york_dst

    return TerminalLink(RemoteTerminal(Path(socket)), server_offset=eet_new_york_dst, simulated=True, **facts)


def metatrader() -> Any:
    """Return the MetaTrader5 module.

    Raises:
        SettingsError: It is not installed; it exists for Windows only.
    """
    try:
        return importlib.import_module("MetaTrader5")
    except ImportError as error:
        msg = (
            "broker mt5 needs the MetaTrader5 package, which exists for Windows; install dtms[mt5] or unset DTMS_BROKER"
        )
        raise SettingsError(msg) from error

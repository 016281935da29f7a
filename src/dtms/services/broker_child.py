"""What a broker's process builds: reads and sender over one terminal link. Named, not imported, by the gateway.

Every way to a broker ends here: live in a child process, with the package found by its name, a simulation in its own.
Light to import, for an order may be waiting for a new child.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from dtms.adapters.clocks import AnchoredClock, FileAnchor, TapeClock
from dtms.adapters.mt5 import Mt5Broker, Mt5Sender
from dtms.domain.action import Action
from dtms.domain.position import Position
from dtms.domain.receipt import Receipt
from dtms.domain.units import Millis
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


def link_to(
    module: str,
    *,
    account: int | None,
    server: str | None,
    magic: int,
    clock: Callable[[], Millis],
    path: str | None = None,
    aliases: Mapping[str, str] | None = None,
) -> TerminalLink:
    """Return the link over a module that is found by its name, not yet connected: the one factory of every run.

    Args:
        module: The module's name, `MetaTrader5` for the package.
        account: The login that must be found; None takes the first one seen.
        server: Its trade server, likewise.
        magic: The number under which this installation sends.
        clock: The market's clock, UTC.
        path: Which terminal to attach to; None is the one that runs.
        aliases: The policy's words for what the broker's symbols are.

    Raises:
        SettingsError: The module cannot be imported.
    """
    mt5 = find_module(module)
    return TerminalLink(
        mt5,
        expected_login=account,
        expected_server=server,
        magic=magic,
        clock=clock,
        aliases=aliases,
        initialize=None if path is None else partial(mt5.initialize, path),
    )


def build(
    *,
    module: str,
    path: str | None,
    account: int | None,
    server: str | None,
    magic: int,
    anchor_file: str,
    clock_file: str | None,
    aliases: dict[str, str],
) -> TerminalLink:
    """Return the link of a child process, not yet connected; its clock is the installation's.

    Args:
        module: As for `link_to`.
        path: As for `link_to`.
        account: As for `link_to`.
        server: As for `link_to`.
        magic: As for `link_to`.
        anchor_file: Where the installation's anchor of the market's clock is kept: a child that starts later goes by it.
        clock_file: The tape's clock; None is the machine's.
        aliases: As for `link_to`.

    Raises:
        SettingsError: The module cannot be imported.
    """
    anchored = FileAnchor(Path(anchor_file))
    clock = AnchoredClock(anchored) if clock_file is None else TapeClock(Path(clock_file))
    return link_to(
        module, account=account, server=server, magic=magic, clock=clock.market_now, path=path, aliases=aliases
    )


def find_module(name: str) -> Any:
    """Return the broker's module.

    Raises:
        SettingsError: It cannot be imported; MetaTrader5 exists for Windows only.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _not_there(name, str(error)) from error


def require_module(name: str) -> None:
    """Make sure that there is such a module, before a child needs it; it is not imported here.

    Raises:
        SettingsError: There is none.
    """
    try:
        found = importlib.util.find_spec(name)
    except ImportError as error:
        raise _not_there(name, str(error)) from error
    if found is None:
        raise _not_there(name, "there is none of this name")


def _not_there(name: str, why: str) -> SettingsError:
    return SettingsError(
        f"the broker's module {name!r} cannot be imported ({why}); the MetaTrader5 package exists for Windows: "
        "install dtms[mt5] there, or unset DTMS_BROKER and DTMS_BROKER_MODULE"
    )

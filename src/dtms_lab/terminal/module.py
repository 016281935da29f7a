"""The stand-in for the MetaTrader5 package: importable by name, with the package's functions and constants.

`import dtms_lab.terminal.module as mt5` is used as `import MetaTrader5 as mt5` is. It finds its terminal as the
package does: by the path that `initialize` is given, else by what the machine knows of a running one. Here the path is the
address file of the terminal's host, and the environment variable `DTMS_TERMINAL_FILE` names the running one's. Like the
package it holds one link a process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from dtms_lab.terminal.link import Reply, init_failed, no_connection
from dtms_lab.terminal.remote import HostLink
from dtms_lab.terminal.surface import TerminalSurface

FILE_VARIABLE: Final = "DTMS_TERMINAL_FILE"


class _NoTerminal:
    """The pipe before a terminal was found."""

    def open(self) -> None:
        """Fail as the package does where no terminal is installed."""
        raise init_failed()

    def close(self) -> None:
        """Do nothing."""

    def call(self, op: str, args: tuple[Any, ...]) -> Reply:
        """Fail: nothing was sent."""
        del op, args
        raise no_connection()


class TerminalModule(TerminalSurface):
    """The module, as an object: `initialize` chooses the terminal."""

    def __init__(self) -> None:
        super().__init__(_NoTerminal())

    def initialize(self, path: str | None = None, **options: Any) -> bool:
        """Attach to the terminal at a path, or to the one that runs."""
        found = os.environ.get(FILE_VARIABLE, "") if path is None else path
        self.shutdown()
        self._link = HostLink(Path(found)) if found else _NoTerminal()
        return super().initialize(path, **options)


_module: Final = TerminalModule()


def __getattr__(name: str) -> Any:
    """Return a function or constant of the package."""
    try:
        return getattr(_module, name)
    except AttributeError:
        msg = f"module {__name__!r} has no attribute {name!r}: neither has MetaTrader5 {_module.__version__}"
        raise AttributeError(msg) from None

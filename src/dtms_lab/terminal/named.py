"""A terminal in the same process under a module's name, for runs that have no processes: it is found as the package is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, cast

from dtms_lab.terminal.surface import TerminalSurface

_numbers = count(1)


@contextmanager
def named(terminal: TerminalSurface) -> Iterator[str]:
    """Return a name under which a terminal is imported for as long as the context lasts; whoever has it keeps it.

    Each terminal has a name of its own, for one process may play many.
    """
    name = f"{__name__}_{next(_numbers)}"
    modules = cast("dict[str, Any]", sys.modules)
    modules[name] = terminal
    try:
        yield name
    finally:
        del modules[name]

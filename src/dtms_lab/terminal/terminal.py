"""The simulated terminal in the same process: the package, the pipe and the terminal over one server."""

from __future__ import annotations

from dtms_lab.terminal.backend import TerminalBackend
from dtms_lab.terminal.link import DirectLink, Link
from dtms_lab.terminal.server import SimServer
from dtms_lab.terminal.surface import TerminalSurface


class SimTerminal(TerminalSurface):
    """Usable as `mt5=`.

    `backend` is the terminal behind the pipe, with its switches and its view's lag. A drill gives a `link` of its own,
    built over the same backend, that loses, delays or repeats calls.
    """

    def __init__(self, server: SimServer, *, backend: TerminalBackend | None = None, link: Link | None = None) -> None:
        self.backend = TerminalBackend(server) if backend is None else backend
        super().__init__(DirectLink(self.backend) if link is None else link)

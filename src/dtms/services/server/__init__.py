"""The DTMS server: the authority on every trade's state, its HTTP side and the loop that keeps its brain awake."""

from dtms.services.server.app import make_server_app
from dtms.services.server.live import LiveServer, make_live_server, make_simulated_app, simulated_parts
from dtms.services.server.loop import MonitorLoop, Readiness
from dtms.services.server.parts import ServerParts, Site
from dtms.services.server.sight import DirectSight, LastSeenReads

__all__ = [
    "DirectSight",
    "LastSeenReads",
    "LiveServer",
    "MonitorLoop",
    "Readiness",
    "ServerParts",
    "Site",
    "make_live_server",
    "make_server_app",
    "make_simulated_app",
    "simulated_parts",
]
